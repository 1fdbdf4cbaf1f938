"""Curves of one or several runs: accuracy and loss over rounds, simulated time and energy."""

import collections
import pathlib

import matplotlib

matplotlib.use("Agg")  # files only: no display on a cluster

import matplotlib.pyplot as pyplot  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

from .run import ResultError  # noqa: E402
from .summary import measured, scale  # noqa: E402

# Okabe and Ito's colours, told apart also by the colour-blind.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.4,
    "lines.markersize": 3,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text stays text in the PDF
}

METRICS = {"test_accuracy": "Test accuracy", "test_loss": "Test loss", "train_loss": "Training loss"}


def _axes_of_cost(run):
    """What a metric is drawn over: {name: (series indexed by round, label, unit)}."""
    rounds = run.rounds
    costs = {"round": (rounds.index.to_series(), "Round", "")}
    if "sim_time_s" in rounds:
        costs["time"] = (rounds["sim_time_s"], "Simulated time", "s")
    if "energy_j" in rounds:
        costs["energy"] = (rounds["energy_j"].fillna(0.0).cumsum(), "Energy of all devices", "J")
    return costs


def _styles(runs):
    """{path: (colour, name)}: one for each experiment and method, so runs that differ in their seed
    share it; runs that would be alike even in the seed go by their file's name."""
    kinds = collections.Counter((run.label, run.option("seed")) for run in runs)
    names = {
        run.path: run.label if kinds[run.label, run.option("seed")] == 1 else run.path.stem
        for run in runs
    }
    order = list(dict.fromkeys(names.values()))
    return {path: (COLOURS[order.index(name) % len(COLOURS)], name) for path, name in names.items()}


def _draw(axes, runs, styles, metric, cost):
    """One panel; the unit of the cost axis is chosen from the largest value of all runs."""
    curves = []
    for run in runs:
        values = measured(run.rounds, metric)
        if cost in _axes_of_cost(run) and len(values):
            x, label, unit = _axes_of_cost(run)[cost]
            curves.append((run, x.loc[values.index], values, label, unit))
    if not curves:
        axes.set_visible(False)
        return
    largest = max(float(x.max()) for _, x, *_ in curves)
    factor, unit = scale(largest, curves[0][4])
    seen = set()
    for run, x, values, *_ in curves:
        colour, name = styles[run.path]
        marker = "o" if len(values) <= 30 else None
        axes.plot(x / factor, values, color=colour, marker=marker, label=None if name in seen else name)
        seen.add(name)
    axes.set_xlabel(f"{curves[0][3]} ({unit})" if unit else curves[0][3])
    axes.set_ylabel(METRICS[metric])
    if cost == "round":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def make_figure(runs):
    """A row of panels a metric (those that were measured), a column a cost."""
    metrics = [m for m in METRICS if any(len(measured(run.rounds, m)) for run in runs)]
    if not metrics:
        raise ResultError(f"{runs[0].path}: no accuracy and no loss to plot")
    costs = ["round", "time", "energy"]
    styles = _styles(runs)
    with pyplot.rc_context(STYLE):
        figure, grid = pyplot.subplots(
            len(metrics), len(costs), figsize=(8.0, 2.3 * len(metrics)), squeeze=False, sharey="row"
        )
        for row, metric in zip(grid, metrics):
            for axes, cost in zip(row, costs):
                _draw(axes, runs, styles, metric, cost)
            for axes in row[1:]:
                axes.set_ylabel("")
        handles, names = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="upper center", ncol=min(4, len(names)))
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.22 / (2.3 * len(metrics)) * -(-len(names) // 4) - 0.01))
    return figure


def save_plot(runs, prefix):
    """Writes PREFIX.png and PREFIX.pdf; returns their paths."""
    prefix = pathlib.Path(prefix)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    figure = make_figure(runs)
    paths = [prefix.with_name(prefix.name + suffix) for suffix in (".png", ".pdf")]
    with pyplot.rc_context(STYLE):
        for path in paths:
            figure.savefig(path)
    pyplot.close(figure)
    return paths
