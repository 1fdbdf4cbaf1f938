"""Intervals over seeds: means with Student's t, paired differences, bands around curves.

A value that is not known (NaN) is never dropped: a mean over the runs that happened to end well
would flatter, so the mean is then unknown too.
"""

import typing

import numpy
import pandas
from scipy.special import stdtrit  # quantile of Student's t: (degrees of freedom, probability)

from .quantities import curve
from .run import ResultError
from .units import PER_CENT

LEVEL = 0.95
BAND_POINTS = 100
ROUNDING = 9  # decimals of per cent; beyond, differences are the arithmetic's own


class Interval(typing.NamedTuple):
    mean: float
    low: float
    high: float
    n: int

    @property
    def half(self):
        """Half the interval's width: mean ± half."""
        return (self.high - self.low) / 2


def interval(values, level=LEVEL):
    """Mean and its confidence interval, mean ± t(n - 1) s / sqrt(n); one value has no interval."""
    values = numpy.asarray(values, dtype=float)
    n = len(values)
    mean = values.mean() if n else numpy.nan
    if n < 2:
        return Interval(mean, numpy.nan, numpy.nan, n)
    half = stdtrit(n - 1, (1 + level) / 2) * values.std(ddof=1) / numpy.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def _figures(table, columns, without):
    """The columns to take: those named, or all that hold measured numbers and units."""
    if columns is not None:
        return list(columns)
    units = table.attrs.get("units", {})
    numbers = table.select_dtypes("number").columns
    return [name for name in numbers if name in units and name not in without]


def _long(rows, units):
    frame = pandas.DataFrame(rows)
    if len(frame):
        frame.insert(len(frame.columns) - 4, "unit", frame["quantity"].map(units).fillna(""))
    return frame


def intervals(table, by="group", columns=None, level=LEVEL):
    """One row a group and quantity: mean, low, high, n. `table` has a row a run (Runs.table());
    `by` is a column or several: any setting, or the label that Runs gives each group."""
    by = [by] if isinstance(by, str) else list(by)
    rows = []
    for key, part in table.groupby(by if len(by) > 1 else by[0], sort=False, dropna=False):
        key = key if len(by) > 1 else (key,)
        for name in _figures(table, columns, by):
            found = interval(part[name], level)._asdict()
            rows.append({**dict(zip(by, key)), "quantity": name, **found})
    return _long(rows, table.attrs.get("units", {}))


def paired_differences(
    table, baseline, by="group", columns=None, pair=("seed",), level=LEVEL, relative=False
):
    """How far each other value of `by` lies from the baseline, run by run: the interval of the
    differences between runs that agree in the columns `pair`. Runs of one seed share devices, data
    and channels, so their difference varies less than they do. `relative`: each difference in per
    cent of the baseline's run, -40 for two fifths less; not known where that run has a zero."""
    pair = list(pair)
    if baseline not in set(table[by]):
        raise ResultError(f"no run with {by} = {baseline}; there are: {sorted(set(table[by]))}")
    twice = table[table.duplicated([by, *pair])]
    if len(twice):
        raise ResultError(
            f"several runs with the same {by} and {', '.join(pair)}: name in `pair` what else differs"
        )
    names, rows = _figures(table, columns, [by, *pair]), []
    parts = {key: part.set_index(pair)[names] for key, part in table.groupby(by, sort=False)}
    for key, part in parts.items():
        if key == baseline:
            continue
        both = part.index.intersection(parts[baseline].index)
        bases = parts[baseline].loc[both]
        differences = part.loc[both] - bases
        if relative:
            differences = 100 * differences / bases.where(bases != 0)
            differences = differences.round(ROUNDING)
        for name in names:
            found = interval(differences[name], level)._asdict()
            rows.append({by: key, "baseline": baseline, "quantity": name, **found})
    units = table.attrs.get("units", {})
    return _long(rows, dict.fromkeys(names, PER_CENT) if relative else units)


def band(runs, metric, cost="rounds", level=LEVEL):
    """The mean curve of runs that differ in their seed, with its interval at every point: columns
    x, mean, low, high, n.

    Over rounds: the rounds that all runs evaluated. Over another cost the runs' points differ;
    between its evaluations each run is taken as linear, and the mean goes only as far as all of
    them do - beyond, it would be over fewer runs. Empty if some run has no such curve."""
    curves = [curve(run, metric, cost) for run in runs]
    if not curves or not all(map(len, curves)):
        return pandas.DataFrame(columns=["x", *Interval._fields])
    if cost == "rounds" or len(curves) == 1:
        table = pandas.concat(curves, axis=1, join="inner")
    else:
        first, last = max(c.index[0] for c in curves), min(c.index[-1] for c in curves)
        x = numpy.linspace(first, last, BAND_POINTS) if first <= last else numpy.empty(0)
        columns = [numpy.interp(x, c.index, c.to_numpy()) for c in curves]
        table = pandas.DataFrame(numpy.transpose(columns), index=x)
    rows = [interval(row, level) for row in table.to_numpy()]
    frame = pandas.DataFrame(rows, columns=Interval._fields)
    frame.insert(0, "x", table.index)
    return frame
