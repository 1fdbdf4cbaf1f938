"""Intervals as a person reads them."""

from .quantities import METRICS
from .units import PER_CENT, plus_minus


def interval_text(row):
    """ "68.4 ± 3.8 %" for a row of stats.intervals, stats.paired_differences: quantity, unit, mean,
    low, high."""
    half = (row["high"] - row["low"]) / 2
    metric = METRICS.get(row["quantity"].rpartition("_")[0])  # test_accuracy_last
    if metric and row["unit"] != PER_CENT:
        return metric.text(row["mean"], half)
    return plus_minus(row["mean"], half, row["unit"])


def text_table(found, by="group"):
    """A row a group, a column a quantity, with mean ± half of the interval."""
    texts = found.assign(text=found.apply(interval_text, axis=1))
    table = texts.pivot(index=by, columns="quantity", values="text")
    return table.loc[found[by].unique(), found["quantity"].unique()]
