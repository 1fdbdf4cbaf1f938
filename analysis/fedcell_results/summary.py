"""The table that a run ends with: one row a result file."""

import pandas

from .quantities import COSTS, METRICS, costs_of, measured
from .units import quantity

# What a round consumed is summed over the rounds. Simulated time, energy and traffic: quantities.py.
SUMMED = {"uplink_bits": "bit", "downlink_bits": "bit", "flop": "FLOP", "wall_time_s": "s"}
MOMENTS = ("first", "last", "best")
# The columns that a reader wants first, in this order.
FIGURE_LABELS = {
    "test_accuracy_last": "Test accuracy",
    "cwpem_last": "CWPEM",
    "test_accuracy_best": "Best test accuracy",
    "test_loss_last": "Test loss",
    "train_loss_last": "Training loss",
    "sim_time_s": "Simulated time",
    "energy_j": "Energy",
    "traffic_bytes": "Traffic",
    "flop": "Local work",
    "wall_time_s": "Wall time",
}


def summary_figures(run):
    """Totals and first, last and best metrics of one run, as a dict; NaN where not measured."""
    rounds, row = run.rounds, {"rounds": run.last_round}
    for name, metric in METRICS.items():
        values = measured(rounds, name)
        best = getattr(values, metric.best)
        for moment, pick in zip(MOMENTS, (lambda: values.iloc[0], lambda: values.iloc[-1], best)):
            row[f"{name}_{moment}"] = pick() if len(values) else float("nan")
    spent = costs_of(rounds)
    for name in COSTS:
        if name != "rounds":
            row[name] = spent[name].iloc[-1] if name in spent and len(spent) else float("nan")
    for name in SUMMED:
        row[name] = rounds[name].sum(skipna=False) if name in rounds else float("nan")
    return row


def figure_units(figures):
    """{column: unit} of the columns of summary_figures."""
    units = {"rounds": "", **SUMMED, **{name: cost.unit for name, cost in COSTS.items()}}
    units |= {
        f"{name}_{moment}": metric.unit for name, metric in METRICS.items() for moment in MOMENTS
    }
    return {name: units[name] for name in figures}


def summary_row(run):
    """What run it is, and its figures."""
    return {
        "run": run.path.stem,
        "experiment": run.option("experiment", ""),
        "method": run.method,
        "seed": run.option("seed", ""),
        **summary_figures(run),
    }


def summary_table(runs):
    """One row a run; units in attrs["units"]."""
    table = pandas.DataFrame([summary_row(run) for run in runs])
    figures = table.columns[4:]
    table.attrs["units"] = figure_units(figures)
    return table


def format_summary(runs):
    """The table as text, each run a column of `name  value unit` lines side by side."""
    table = summary_table(runs)
    units = table.attrs["units"]
    shown = table[[c for c in table.columns if c == "run" or not table[c].isna().all()]]
    lines = []
    for column in shown.columns:
        cells = shown[column]
        text = [
            quantity(v, units.get(column, "")) if isinstance(v, float) else str(v) for v in cells
        ]
        lines.append([column, *text])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))])
        for line in lines
    )
