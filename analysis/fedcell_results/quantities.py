"""What a run is judged by (metrics) and what it spends (costs), each defined in one place."""

import dataclasses

import numpy
import pandas

from .units import plus_minus, with_unit

BITS_PER_BYTE = 8


@dataclasses.dataclass(frozen=True)
class Metric:
    """A column of /rounds. `best` is "max" where more is better, "min" where less is; shares are
    shown in per cent."""

    label: str
    unit: str
    best: str
    is_share: bool = False

    def reaches(self, values, target):
        return values >= target if self.best == "max" else values <= target

    @property
    def bounds(self):
        """What the metric cannot go beyond: a share is 0 to 1, a loss not negative."""
        return (0.0, 1.0 if self.is_share else numpy.inf)

    def text(self, value, half=numpy.nan):
        """ "79.1 ± 0.8 %"."""
        if self.is_share:
            return plus_minus(100 * value, 100 * half, "%")
        return plus_minus(value, half, self.unit)

    @property
    def axis_label(self):
        return with_unit(self.label, "%" if self.is_share else self.unit)


METRICS = {
    "test_accuracy": Metric("Test accuracy", "", "max", is_share=True),
    "cwpem": Metric("CWPEM", "", "max"),  # rewards since the start: learning against energy
    "test_loss": Metric("Test loss", "nat", "min"),
    "train_loss": Metric("Training loss", "nat", "min"),
}


@dataclasses.dataclass(frozen=True)
class Cost:
    """What has been spent by the end of a round."""

    label: str
    unit: str


COSTS = {
    "rounds": Cost("Rounds", ""),
    "sim_time_s": Cost("Simulated time", "s"),
    "energy_j": Cost("Energy of all devices", "J"),
    "traffic_bytes": Cost("Traffic, up and down", "B"),
}


def measured(rounds, metric):
    """The column without the rounds that were not evaluated; empty if there is none."""
    if metric not in rounds:
        return pandas.Series(dtype=float)
    return rounds[metric].dropna()


def running_total(column):
    """Sums a column up from round to round. Once a value is not known, neither is any later sum;
    only round 0, before the training, may lack one."""
    spent = column.copy()
    if len(spent) and spent.index[0] == 0 and pandas.isna(spent.iloc[0]):
        spent.iloc[0] = 0.0
    return spent.cumsum(skipna=False)


def costs_of(rounds):
    """What a run has spent by the end of each round, one column a cost that the file tells."""
    spent = {"rounds": rounds.index.to_series()}
    if "sim_time_s" in rounds:
        spent["sim_time_s"] = rounds["sim_time_s"]  # a clock: runs on from round to round
    if "energy_j" in rounds:
        spent["energy_j"] = running_total(rounds["energy_j"])
    if {"uplink_bits", "downlink_bits"} <= set(rounds):
        bits = rounds["uplink_bits"] + rounds["downlink_bits"]
        spent["traffic_bytes"] = running_total(bits) / BITS_PER_BYTE
    frame = pandas.DataFrame(spent, index=rounds.index)
    frame.attrs["units"] = {name: COSTS[name].unit for name in frame}
    return frame


def curve(run, metric, cost):
    """The metric over what had been spent when it was measured: a series indexed by the cost.
    Empty where the file lacks one of them or the run spends nothing of that kind."""
    values, spent = measured(run.rounds, metric), costs_of(run.rounds)
    if cost not in spent or not len(values):
        return pandas.Series(dtype=float)
    spent = spent[cost].loc[values.index].dropna()
    if not len(spent) or spent.max() <= 0:
        return pandas.Series(dtype=float)
    return pandas.Series(values.loc[spent.index].to_numpy(), index=spent.to_numpy())
