"""One look for all figures: sizes, colours, formats. No window is ever opened."""

import contextlib
import pathlib

import matplotlib.style
import numpy
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

STYLE = pathlib.Path(__file__).with_name("fedcell.mplstyle")
ONE_COLUMN_IN, TWO_COLUMNS_IN = 3.5, 7.16  # of a page of two columns
LEGEND_ROW_IN = 0.2
MARKERS = "osD^vP*"
LINES = ("solid", "dashed", "dotted")


def styled():
    """The style as a context."""
    return matplotlib.style.context(str(STYLE))


def new_figure(rows, columns, width_in, row_height_in, legend_rows=0, **options):
    """(figure, grid of axes) with room for a legend above."""
    height = rows * row_height_in + legend_rows * LEGEND_ROW_IN
    figure = Figure(figsize=(width_in, height))
    top = 1 - legend_rows * LEGEND_ROW_IN / height
    figure.set_layout_engine("constrained", rect=(0, 0, 1, top))
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def look_of(labels):
    """{label: line options}: colours first, then markers and dashes, so that many methods are told
    apart too."""
    with styled():
        colours = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    return {
        label: {
            "color": colours[i % len(colours)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": LINES[i // len(colours) % len(LINES)],
        }
        for i, label in enumerate(labels)
    }


def legend_above(figure, grid, rows):
    """One legend for all panels, in the room that new_figure left."""
    found = {}
    for axes in grid.flat:
        handles, names = axes.get_legend_handles_labels()
        found.update({n: h for h, n in zip(handles, names) if n not in found})
    columns = -(-len(found) // max(rows, 1))
    figure.legend(found.values(), found.keys(), loc="upper center", ncol=columns)


def legend_rows(labels, width_in):
    """How many rows a legend of these labels takes."""
    per_row = max(1, int(width_in / (0.55 + 0.065 * max(map(len, labels), default=0))))
    return -(-len(labels) // per_row)


def metric_axis(axes, metric, means, lows, highs):
    """Labels the y axis, shares in per cent, and sets its limits. Means are always to be seen;
    their intervals, which two seeds can make wider than anything measured, only within the metric's
    bounds and one more range of the means."""
    if metric.is_share:
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g}")
    axes.set_ylabel(metric.axis_label)
    if not len(means):
        return
    lowest, highest = numpy.nanmin(means), numpy.nanmax(means)
    room = (highest - lowest) or 0.1 * abs(highest) or 0.1
    least, most = metric.bounds
    low = max(numpy.nanmin([*lows, *means]), lowest - room, least)
    high = min(numpy.nanmax([*highs, *means]), highest + room, most)
    edge = 0.05 * ((high - low) or room)
    axes.set_ylim(low - edge, high + edge)


def whole_numbers(axis):
    axis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def save(figure, prefix, formats=("png", "pdf")):
    """Writes PREFIX.png and PREFIX.pdf (or others); returns their paths."""
    prefix = pathlib.Path(prefix)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    paths = [prefix.with_name(f"{prefix.name}.{kind}") for kind in formats]
    with styled():
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()  # never half of an old figure
            figure.savefig(path)
    return paths
