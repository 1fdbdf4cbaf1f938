"""What became of each device of a run, as a table and as maps of the cell."""

import numpy

from .run import ResultError
from .style import TWO_COLUMNS_IN, new_figure, styled
from .units import scale, with_unit

MAP_HEIGHT_IN = 3.1
MANY = 500  # devices: small points, and the map becomes an image within the page or the PDF
GOLDEN_ANGLE = numpy.pi * (3 - numpy.sqrt(5))  # spreads device numbers evenly around the circle
MAP_NOTE = "Distances are the run's; directions are not stored and drawn by device number."
DEVICE_QUANTITIES = {
    "participations": ("Rounds taken part in", ""),
    "latency_s": ("Mean latency of a round", "s"),
    "energy_j": ("Energy in all", "J"),
}


def device_table(run):
    """One row a device: its profile, participations, share delivered, mean latency and energy in
    all. A device that never took part spent nothing (0 J) and has no latency (NaN)."""
    profile, rows = run.profile, run.participation
    table = profile.copy()
    units = dict(profile.attrs["units"])
    if len(rows):
        by_device = rows.groupby("device")
        table["participations"] = by_device.size().reindex(table.index, fill_value=0)
        if "delivered" in rows:
            table["delivered_share"] = by_device["delivered"].mean().reindex(table.index)
        if "latency_s" in rows:
            table["latency_s"] = by_device["latency_s"].mean().reindex(table.index)
        if "energy_j" in rows:
            total = by_device["energy_j"].agg(lambda e: e.sum(skipna=False))
            table["energy_j"] = total.reindex(table.index, fill_value=0.0)
    units |= {"participations": "", "delivered_share": "", "latency_s": "s", "energy_j": "J"}
    table.attrs["units"] = {
        name: units[name] for name in [table.index.name, *table] if name in units
    }
    return table


def draw_device_map(axes, table, name):
    """Each device as a point at its distance from the base station, coloured by a quantity; hollow
    where it has none. Files hold the distance only: the direction is drawn by device number."""
    angle = table.index.to_numpy() * GOLDEN_ANGLE
    x, y = table["distance_m"] * numpy.cos(angle), table["distance_m"] * numpy.sin(angle)
    label, unit = DEVICE_QUANTITIES.get(name, (name, table.attrs["units"].get(name, "")))
    factor, unit = scale(table[name].abs().max(), unit)
    known = table[name].notna()
    look = {
        "s": float(numpy.clip(2500 / max(len(table), 1), 2, 36)),
        "rasterized": len(table) > MANY,
    }
    edge = 0.3 if len(table) <= MANY else 0.0  # outlines would hide the colours of many
    axes.scatter(x[~known], y[~known], facecolors="none", edgecolors="0.6", linewidths=0.5, **look)
    colours = table[name][known] / factor
    points = axes.scatter(x[known], y[known], c=colours, edgecolors="0.3", linewidths=edge, **look)
    axes.plot(0, 0, marker="^", color="#D55E00", markersize=6)
    edge = 1.05 * table["distance_m"].max()
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), box_aspect=1)
    axes.set_xlabel("m")
    axes.set_ylabel("m")
    axes.figure.colorbar(
        points, ax=axes, location="top", label=with_unit(label, unit), aspect=25, pad=0.02
    )


def figure_devices(run, names=tuple(DEVICE_QUANTITIES), width_in=TWO_COLUMNS_IN):
    """One map a quantity."""
    table = device_table(run)
    names = [name for name in names if name in table]
    if "distance_m" not in table or not names:
        raise ResultError(f"{run.path}: no devices with a distance and participations to map")
    with styled():
        figure, grid = new_figure(1, len(names), width_in, MAP_HEIGHT_IN, sharey="row")
        for axes, name in zip(grid[0], names):
            draw_device_map(axes, table, name)
        for axes in grid[0][1:]:
            axes.set_ylabel("")
        figure.supxlabel(MAP_NOTE, fontsize=6.5, color="0.35")
    return figure
