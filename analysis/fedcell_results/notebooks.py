"""What the notebooks about the papers share: opening a sweep's results, words, tables side by side.

FEDCELL_RESULTS names the folder that holds the sweeps' folders (default: results), FEDCELL_SIZE the
size they were run at, as the option --size of sweep-local.sh. Needs IPython."""

import os
import pathlib

import pandas
from IPython.display import Markdown, display

from .runs import Runs, open_folder

PROJECT = pathlib.Path(__file__).resolve().parents[2]


def tell(text):
    display(Markdown(text))


def open_sweep(name):
    """Its finished runs; what is missing is told."""
    size = os.environ.get("FEDCELL_SIZE", "")
    results = pathlib.Path(os.environ.get("FEDCELL_RESULTS", PROJECT / "results"))
    folder = results / (f"{name}-{size}" if size else name)
    runs = open_folder(folder) if folder.is_dir() else Runs([])
    if not runs:
        command = f"jobs/sweep-local.sh jobs/sweeps/{name}.yaml" + (
            f" --size {size}" if size else ""
        )
        tell(f"**{folder.name}: no results yet.** `{command}` makes them.")
    for path, reason in runs.set_aside:
        tell(f"Left out: `{path.name}`: {reason}.")
    return runs


def beside(*tables):
    """Tables with rows of the same names as one, "-" where one of them has no such row."""
    return pandas.concat(tables, axis=1).fillna("-")
