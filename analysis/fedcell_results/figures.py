"""The standard figures over many runs: curves, Pareto fronts, cost to target.

draw_* fills one panel, figure_* makes a whole figure of panels for a paper; style.save writes it.
Each group of runs (Runs.groups) has one colour; lines are means over its seeds, bands and bars the
95 % interval of the mean.
"""

import pandas

from .quantities import COSTS, METRICS, curve
from .run import ResultError
from .runs import Runs
from .stats import band, intervals
from .style import (
    ONE_COLUMN_IN,
    TWO_COLUMNS_IN,
    legend_above,
    legend_rows,
    look_of,
    metric_axis,
    new_figure,
    styled,
    whole_numbers,
)
from .targets import cost_to_target, default_target, pareto_front, target_intervals
from .units import plus_minus, quantity, scale, with_unit

PANEL_HEIGHT_IN = 1.75
MANY_POINTS = 30  # from here on, markers hide the line


def as_runs(runs):
    return runs if isinstance(runs, Runs) else Runs(runs)


def group_names(runs):
    """{group: "fedlora (3 seeds)"}"""
    return {
        label: f"{label} ({len(part)} seeds)" if len(part) > 1 else label
        for label, part in runs.groups.items()
    }


def measured_metrics(runs):
    return [name for name in METRICS if any(len(curve(run, name, "rounds")) for run in runs)]


def told_costs(runs, metric):
    return [name for name in COSTS if any(len(curve(run, metric, name)) for run in runs)]


def require_metrics(runs):
    metrics = measured_metrics(runs)
    if not metrics:
        raise ResultError(f"{runs[0].path}: no accuracy and no loss to plot")
    return metrics


def _cost_axis(axis, cost, largest):
    """Labels the axis; returns what to divide the values by."""
    factor, unit = scale(largest, COSTS[cost].unit)
    axis.set_label_text(with_unit(COSTS[cost].label, unit))
    if cost == "rounds":
        whole_numbers(axis)
    return factor


# ---- curves ---------------------------------------------------------------------------------------


def draw_curves(axes, runs, metric, cost):
    """The metric over the cost. A group that spends nothing of it (centralised training: no energy
    of devices) is not drawn."""
    names, looks = group_names(runs), look_of(runs.groups)
    found = {label: band(part, metric, cost) for label, part in runs.groups.items()}
    bands = {label: frame for label, frame in found.items() if len(frame)}
    if not bands:
        return
    factor = _cost_axis(axes.xaxis, cost, max(frame["x"].max() for frame in bands.values()))
    for label, frame in bands.items():
        look, x = looks[label], frame["x"] / factor
        marker = look["marker"] if len(frame) <= MANY_POINTS else None
        axes.plot(x, frame["mean"], label=names[label], **{**look, "marker": marker})
        shade = {"color": look["color"], "alpha": min(0.2, 0.8 / len(bands)), "linewidth": 0}
        axes.fill_between(x, frame["low"], frame["high"], **shade)
    # the same limits over every cost: those of all groups, also of the ones not drawn here
    points = pandas.concat([band(part, metric, "rounds") for part in runs.groups.values()])
    metric_axis(axes, METRICS[metric], points["mean"], points["low"], points["high"])


def figure_curves(runs, metrics=None, costs=None, width_in=TWO_COLUMNS_IN):
    """A row of panels a metric, a column a cost."""
    runs = as_runs(runs)
    metrics = metrics or require_metrics(runs)
    costs = costs or [c for c in COSTS if any(c in told_costs(runs, m) for m in metrics)]
    rows = legend_rows(list(group_names(runs).values()), width_in)
    with styled():
        figure, grid = new_figure(
            len(metrics), len(costs), width_in, PANEL_HEIGHT_IN, rows, sharex="col", sharey="row"
        )
        for row, metric in zip(grid, metrics):
            for axes, cost in zip(row, costs):
                draw_curves(axes, runs, metric, cost)
                axes.label_outer()
        legend_above(figure, grid, rows)
    return figure


# ---- Pareto fronts --------------------------------------------------------------------------------


def draw_pareto(axes, runs, metric, cost):
    """Each group's final metric over what it spent in all, with intervals; the line joins those
    that no other beats in both."""
    table = runs.table()
    value = f"{metric}_last"
    found = intervals(table, "group", [cost, value]).pivot(index="group", columns="quantity")
    factor = _cost_axis(axes.xaxis, cost, found["mean"][cost].max())
    names, looks = group_names(runs), look_of(runs.groups)
    for label in runs.groups:
        x, y = found["mean"].loc[label, cost], found["mean"].loc[label, value]
        half = ((found["high"].loc[label] - found["low"].loc[label]) / 2).fillna(0.0)
        bars = {"xerr": half[cost] / factor, "yerr": half[value]} if half.any() else {}
        look = {**looks[label], "linestyle": "none"}
        axes.errorbar(x / factor, y, **bars, label=names[label], zorder=3, **look)
    x, y = found["mean"][cost], found["mean"][value]
    front = pareto_front(x, y, METRICS[metric].best)
    order = x[front].sort_values().index
    axes.step(x[order] / factor, y[order], where="post", color="0.5", linewidth=0.8, zorder=1)
    ends = found.xs(value, axis=1, level="quantity")
    metric_axis(axes, METRICS[metric], ends["mean"], ends["low"], ends["high"])


def figure_pareto(
    runs, metric=None, costs=("sim_time_s", "energy_j", "traffic_bytes"), width_in=TWO_COLUMNS_IN
):
    runs = as_runs(runs)
    metric = metric or require_metrics(runs)[0]
    rows = legend_rows(list(group_names(runs).values()), width_in)
    with styled():
        figure, grid = new_figure(1, len(costs), width_in, PANEL_HEIGHT_IN, rows, sharey="row")
        for axes, cost in zip(grid[0], costs):
            draw_pareto(axes, runs, metric, cost)
        for axes in grid[0][1:]:
            axes.set_ylabel("")
        legend_above(figure, grid, rows)
    return figure


# ---- cost to target -------------------------------------------------------------------------------


def draw_target(axes, runs, found, cost):
    """A bar a group, from target_intervals. A group of which some run did not reach the target has
    a hatched bar as long as what its runs spent at the least."""
    found = found[found["quantity"] == cost].set_index("group")
    length = found["mean"].fillna(found["at_least"])
    largest = max(length.max(), found["high"].max()) if length.notna().any() else 0.0
    factor = _cost_axis(axes.xaxis, cost, largest)
    looks = look_of(runs.groups)
    for place, label in enumerate(runs.groups):
        row, colour = found.loc[label], looks[label]["color"]
        bound = {"facecolor": "none", "edgecolor": colour, "hatch": "////"}
        look = {"color": colour} if row["reached"] == row["n"] else bound
        axes.barh(place, length[label] / factor, height=0.6, **look)
        if pandas.notna(row["high"]):
            half = (row["high"] - row["low"]) / 2 / factor
            axes.errorbar(row["mean"] / factor, place, xerr=half, color="0.2", linewidth=0.8)
        beside = ("axes fraction", "data")
        axes.annotate(target_text(row), (1.02, place), xycoords=beside, va="center", fontsize=6.5)
    axes.set_yticks(range(len(runs.groups)), list(runs.groups))
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.grid(False, axis="y")


def target_text(row):
    """ "1.20 ± 0.10 kJ"; where not all runs reached the target, "≥ 1.5 kJ (1 of 3)"."""
    if row["reached"] == row["n"]:
        return plus_minus(row["mean"], (row["high"] - row["low"]) / 2, row["unit"])
    if row["reached"] == 0:
        return "not reached"
    return f"≥ {quantity(row['at_least'], row['unit'], 3)} ({row['reached']} of {row['n']})"


def target_title(metric, target):
    sign = "≥" if METRICS[metric].best == "max" else "≤"
    return f"Until {METRICS[metric].label.lower()} {sign} {METRICS[metric].text(target)}"


def figure_target(runs, metric=None, target=None, width_in=TWO_COLUMNS_IN):
    """Bars of rounds, simulated time, energy and traffic until the metric reaches the target
    (default: targets.default_target)."""
    runs = as_runs(runs)
    metric = metric or require_metrics(runs)[0]
    target = default_target(runs, metric) if target is None else target
    found = target_intervals(cost_to_target(runs, metric, target))
    columns = 2 if width_in > ONE_COLUMN_IN else 1
    with styled():
        height = 0.55 + 0.22 * len(runs.groups)
        figure, grid = new_figure(-(-len(COSTS) // columns), columns, width_in, height)
        for axes, cost in zip(grid.flat, COSTS):
            draw_target(axes, runs, found, cost)
        figure.suptitle(target_title(metric, target))
    return figure
