"""Numbers with units as a person reads them: 12.3 MJ, 4.5 ms, 79.1 %."""

import math

import pandas

PREFIXES = (
    (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"),
    (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"),
)  # fmt: skip
PREFIXED = {"s", "J", "bit", "B", "FLOP", "FLOP/s", "Hz", "W"}
COUNTED = {"bit", "B", "FLOP"}  # never cut into thousandths
PER_CENT = "%"
TEN_HOURS_S = 36000.0


def scale(largest, unit):
    """(factor, unit) for a readable number: values / factor are in that unit."""
    if unit not in PREFIXED or not math.isfinite(largest) or largest <= 0:
        return 1.0, unit
    if unit == "s" and largest >= 1.0:
        return (3600.0, "h") if largest >= TEN_HOURS_S else (1.0, "s")
    for factor, prefix in PREFIXES:
        if largest >= factor or (factor == 1.0 and unit in COUNTED):
            return factor, prefix + unit
    return PREFIXES[-1][0], PREFIXES[-1][1] + unit


def quantity(value, unit="", digits=4):
    """`value` with its unit; "-" for what is not known."""
    if pandas.isna(value):
        return "-"
    factor, unit = scale(abs(value), unit)
    return f"{value / factor:.{digits}g} {unit}".rstrip()


def plus_minus(mean, half, unit=""):
    """ "530 ± 180 µs": both in one unit, to two digits of the uncertainty; the mean alone where
    there is no interval."""
    if pandas.isna(half) or half == 0 or pandas.isna(mean):
        return quantity(mean, unit)
    factor, unit = scale(max(abs(mean), half), unit)
    decimals = max(0, 1 - math.floor(math.log10(half / factor)))
    return f"{mean / factor:.{decimals}f} ± {half / factor:.{decimals}f} {unit}".rstrip()


def with_unit(label, unit):
    """The text of an axis: "Energy (kJ)"."""
    return f"{label} ({unit})" if unit else label


def units_table(frame):
    """The units and descriptions of a frame's columns as a frame of its own."""
    units, descriptions = frame.attrs.get("units", {}), frame.attrs.get("descriptions", {})
    names = [name for name in [*frame.index.names, *frame.columns] if name in units]
    rows = {name: (units[name], descriptions.get(name, "")) for name in names}
    return pandas.DataFrame.from_dict(rows, orient="index", columns=["unit", "description"])
