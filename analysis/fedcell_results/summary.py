"""The table that a run ends with: one row a result file."""

import pandas

# How a column of /rounds becomes one number. What a round consumed is summed over the rounds; the
# simulated clock runs on from round to round, so its last value is the total.
SUMMED = ["energy_j", "uplink_bits", "downlink_bits", "flop", "wall_time_s"]
LAST = ["sim_time_s"]


def measured(rounds, name):
    """The column without the rounds that were not evaluated; empty if there is none."""
    if name not in rounds:
        return pandas.Series(dtype=float)
    return rounds[name].dropna()


def summary_row(run):
    """Totals and first, last and best metrics of one run, as a dict; NaN where not measured."""
    rounds = run.rounds
    row = {
        "run": run.path.stem,
        "experiment": run.option("experiment", ""),
        "method": run.option("federation.method", ""),
        "seed": run.option("seed", ""),
        "rounds": int(rounds.index.max()) if len(rounds) else 0,
    }
    for name, best in (("test_accuracy", "max"), ("test_loss", "min")):
        values = measured(rounds, name)
        row[f"{name}_first"] = values.iloc[0] if len(values) else float("nan")
        row[f"{name}_last"] = values.iloc[-1] if len(values) else float("nan")
        row[f"{name}_best"] = getattr(values, best)() if len(values) else float("nan")
    for name in LAST:
        values = measured(rounds, name)
        row[name] = values.iloc[-1] if len(values) else float("nan")
    for name in SUMMED:
        row[name] = rounds[name].sum(min_count=1) if name in rounds else float("nan")
    return row


def summary_table(runs):
    """One row a run; units in attrs["units"]."""
    table = pandas.DataFrame([summary_row(run) for run in runs])
    units = {}
    for run in runs:
        units.update(run.rounds.attrs["units"])
    table.attrs["units"] = {
        column: units.get(column.removesuffix("_first").removesuffix("_last").removesuffix("_best"), "")
        for column in table.columns
    }
    return table


def scale(largest, unit):
    """(factor, unit) for a readable number: values / factor are in that unit."""
    if unit == "s":
        return (3600.0, "h") if largest >= 36000 else (1.0, "s")
    if unit in ("J", "bit", "FLOP"):
        for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if largest >= factor:
                return factor, prefix + unit
    return 1.0, unit


def _quantity(value, unit):
    if pandas.isna(value):
        return "-"
    factor, unit = scale(abs(value), unit)
    return f"{value / factor:.4g} {unit}".rstrip()


def format_summary(runs):
    """The table as text, each run a column of `name  value unit` lines side by side."""
    table = summary_table(runs)
    units = table.attrs["units"]
    units = {**{"energy_j": "J", "sim_time_s": "s", "wall_time_s": "s"}, **{k: v for k, v in units.items() if v}}
    shown = table[[c for c in table.columns if c == "run" or not table[c].isna().all()]]
    lines = []
    for column in shown.columns:
        cells = shown[column]
        text = [
            _quantity(v, units.get(column, "")) if isinstance(v, float) else str(v) for v in cells
        ]
        lines.append([column, *text])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))])
        for line in lines
    )
