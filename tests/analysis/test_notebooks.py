"""Every notebook of analysis/ is stored without outputs and runs from small results."""

import functools
import json
import os
import pathlib
import shutil
import tempfile
import unittest
from unittest import mock

import nbclient
import nbformat

from fedcell_results import open_folder
from fixtures import PROGRAM, ROOT, jcpba_results, real_results

NOTEBOOKS = sorted((ROOT / "analysis").glob("*.ipynb"))
RESULTS = {"quickstart.ipynb": real_results, "jcpba.ipynb": jcpba_results}
JCPBA = ROOT / "analysis" / "jcpba.ipynb"
SECONDS_A_CELL = 120


@functools.cache
def execute(path, results, program=PROGRAM):
    """The notebook with its outputs, run in its own folder as a person would."""
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    with tempfile.TemporaryDirectory() as home:  # no profile of the user's own
        with mock.patch.dict(
            os.environ,
            FEDCELL=str(program),
            FEDCELL_CLIENTS="8",
            FEDCELL_RESULTS=str(results),
            IPYTHONDIR=home,
            PYDEVD_DISABLE_FILE_VALIDATION="1",
        ):
            client.execute()
    return notebook


def outputs(notebook):
    return [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]


def texts(notebook, cell=None):
    """What it shows as Markdown and as tables, of one cell or of all."""
    found = [c for c in notebook.cells if c.cell_type == "code" and cell in (None, c.id)]
    shown = [output.get("data", {}) for c in found for output in c.outputs]
    return "\n".join(data.get(k, "") for data in shown for k in ("text/markdown", "text/html"))


class NotebooksTest(unittest.TestCase):
    def test_there_are_some(self):
        self.assertIn("quickstart.ipynb", [path.name for path in NOTEBOOKS])

    def test_are_stored_without_outputs(self):
        for path in NOTEBOOKS:
            with self.subTest(path.name):
                for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                    self.assertFalse(cell.get("outputs"), cell["id"])
                    self.assertIsNone(cell.get("execution_count"), cell["id"])

    def test_run_and_complain_about_nothing(self):
        for path in NOTEBOOKS:
            with self.subTest(path.name):
                found = outputs(execute(path, RESULTS[path.name]()))
                images = [o for o in found if "image/png" in o.get("data", {})]
                self.assertGreaterEqual(len(images), 5)
                streams = [o["text"] for o in found if o.output_type == "stream"]
                self.assertEqual(streams, [], "warnings are to be mended, not shown")
        self.assertTrue((real_results() / "curves.pdf").is_file())

    def test_quickstart_without_results_says_how_to_make_them(self):
        with tempfile.TemporaryDirectory() as empty:
            with self.assertRaises(nbclient.exceptions.CellExecutionError) as caught:
                execute(ROOT / "analysis" / "quickstart.ipynb", pathlib.Path(empty) / "none")
            self.assertIn(
                "none: no results yet; the commands above make them", str(caught.exception)
            )


class JcpbaTest(unittest.TestCase):
    def test_without_results_says_how_to_make_them_and_goes_on(self):
        with tempfile.TemporaryDirectory() as empty:
            shown = texts(execute(JCPBA, empty, program=pathlib.Path(empty) / "fedcell"))
        for name in ("loss", "overhead", "heterogeneity"):
            self.assertIn(f"`jobs/sweep-local.sh jobs/sweeps/jcpba-{name}.yaml` makes them", shown)
        self.assertIn("fedcell is not there**; build it", shown)

    def test_some_methods_only(self):
        """A sweep that has just begun: no baseline here, no jcpba there, one range of speeds."""
        with tempfile.TemporaryDirectory() as begun:
            for name in (
                "loss/jcpba-1-problems",
                "overhead/ubfp-1-problems",
                "heterogeneity/ubfp-1-low",
            ):
                there = pathlib.Path(begun) / f"jcpba-{name}.h5"
                there.parent.mkdir()
                shutil.copy(jcpba_results() / f"jcpba-{name}.h5", there)
            notebook = execute(JCPBA, begun, program=pathlib.Path(begun) / "fedcell")
        self.assertIn("361", texts(notebook, "overhead-table"))
        self.assertNotIn("against the best", texts(notebook))

    def test_figures_are_those_of_the_files(self):
        notebook = execute(JCPBA, jcpba_results())
        run = open_folder(jcpba_results() / "jcpba-overhead").where({"federation.method": "ubfp"})[
            0
        ]
        rows = run.participation  # all prune alike, so that there is no deviation
        flop = rows["flop"].mean() / run.option("federation.local.iterations")
        bits = (rows["uplink_bits"] + rows["downlink_bits"]).mean()
        shown = texts(notebook, "overhead-table")
        self.assertIn(f"<td>{flop / 1e9:.4g}</td>", shown)
        self.assertIn(f"<td>{bits / 8e6:.4g}</td>", shown)
        self.assertIn("against the best", texts(notebook, "saving-table"))
        self.assertIn("The least growth has `jcpba`", texts(notebook, "heterogeneity-table"))
        self.assertIn("above its bound", texts(notebook, "optimality-table"))


if __name__ == "__main__":
    unittest.main()
