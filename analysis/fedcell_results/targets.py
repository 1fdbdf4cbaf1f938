"""What it costs until a metric reaches a target, and which costs are worth it (Pareto fronts).

The target counts as reached at the first evaluation that meets it; nothing is interpolated, so
`round_before`, the evaluation before, tells how coarse that is. A run that does not reach it has no
cost (NaN), and it is not left out of its group's mean: the group then gets a lower bound, in which
that run counts with all that it has spent.
"""

import math

import numpy
import pandas

from .quantities import COSTS, METRICS, costs_of, measured
from .stats import LEVEL, interval

START_TO_BEST = 0.9


def cost_to_target(runs, metric, target):
    """One row a run: group, seed, reached, round_before, the costs until then and, as spent_*, all
    that the run has spent."""
    rows = []
    for run in runs:
        values, spent = measured(run.rounds, metric), costs_of(run.rounds)
        met = values.index[METRICS[metric].reaches(values, target)]
        before = values.index[values.index < met[0]] if len(met) else values.index
        row = {
            "run": runs.name_of(run),
            "group": runs.group_of(run),
            "seed": run.option("seed"),
            "reached": len(met) > 0,
            "round_before": before[-1] if len(before) else numpy.nan,
        }
        for cost in COSTS:
            known = cost in spent and len(spent) > 0
            row[cost] = spent[cost].loc[met[0]] if known and len(met) else numpy.nan
            row[f"spent_{cost}"] = spent[cost].iloc[-1] if known else numpy.nan
        rows.append(row)
    table = pandas.DataFrame(rows)
    units = {name: cost.unit for name, cost in COSTS.items()}
    table.attrs["units"] = {**units, **{f"spent_{name}": unit for name, unit in units.items()}}
    return table


def target_intervals(table, level=LEVEL):
    """One row a group and cost from cost_to_target: runs n, how many reached it, and the mean with
    its interval if all did; if not, `at_least`, a lower bound of the mean."""
    rows = []
    for group, part in table.groupby("group", sort=False):
        for name, cost in COSTS.items():
            found = interval(part[name], level)  # NaN unless all have reached it
            bound = part[name].where(part["reached"], part[f"spent_{name}"]).mean(skipna=False)
            rows.append(
                {
                    "group": group,
                    "quantity": name,
                    "unit": cost.unit,
                    "reached": int(part["reached"].sum()),
                    **found._asdict(),
                    "at_least": numpy.nan if part["reached"].all() else bound,
                }
            )
    return pandas.DataFrame(rows)


def default_target(runs, metric):
    """Nine tenths of the way from the start to the best of the middle group (of two, the better),
    in thousandths: some groups reach it, and it is not reached at once. NaN if nothing was measured.
    """
    table, best = runs.table(), METRICS[metric].best
    by_group = table.groupby("group")[f"{metric}_best"].mean().dropna()
    if not len(by_group):
        return numpy.nan
    middle = by_group.sort_values(ascending=best == "max").iloc[len(by_group) // 2]
    start = table[f"{metric}_first"].mean()
    return round(float(start + START_TO_BEST * (middle - start)), 3)


def common_target(runs, metric):
    """The strictest target that every run reaches, that is the worst run's best value, in
    thousandths to the lax side: costs until then are of all runs. NaN if nothing was measured."""
    best = METRICS[metric].best
    found = [getattr(measured(run.rounds, metric), best)() for run in runs]
    if not found or not numpy.isfinite(found).all():
        return numpy.nan
    if best == "max":
        return math.floor(1000 * min(found)) / 1000
    return math.ceil(1000 * max(found)) / 1000


def pareto_front(cost, value, best="max"):
    """True for the points that no other beats: none costs as little and is better, none is as good
    and costs less. Points with a NaN are never on the front."""
    cost, value = numpy.asarray(cost, dtype=float), numpy.asarray(value, dtype=float)
    value = value if best == "max" else -value
    on_front = numpy.zeros(len(cost), dtype=bool)
    for i in range(len(cost)):
        as_good = (cost <= cost[i]) & (value >= value[i])
        better = (cost < cost[i]) | (value > value[i])
        on_front[i] = not numpy.isnan(cost[i] + value[i]) and not (as_good & better).any()
    return on_front
