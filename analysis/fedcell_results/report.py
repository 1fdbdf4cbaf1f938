"""One HTML page about a folder of runs, with all figures inside: to send, to print, to read on a
phone. The page's text and looks are in report.html; what stands in it is gathered here."""

import base64
import datetime
import io

import jinja2

from .checks import complaints
from .devices import DEVICE_QUANTITIES, MAP_NOTE, device_table, draw_device_map
from .figures import (
    draw_curves,
    draw_pareto,
    draw_target,
    group_names,
    measured_metrics,
    require_metrics,
    target_title,
    told_costs,
)
from .quantities import COSTS, METRICS
from .run import ResultError, option_text
from .runs import SEED, is_seed
from .stats import intervals, paired_differences
from .style import look_of, new_figure, styled
from .summary import FIGURE_LABELS
from .tables import text_table
from .targets import cost_to_target, default_target, target_intervals

PANEL_IN = (2.9, 2.1)
MAP_IN = (2.9, 3.2)
SHORT_NAME, WIDE_IN = 14, 5.4  # bars of groups with longer names have wider panels
MAPS_AT_MOST = 4  # groups whose devices are drawn
# Facts of a file's provenance that differ from run to run by nature.
OF_EACH_RUN = {
    "config",
    "written",
    "command_line",
    "seed",
    "method",
    "experiment",
    "peak_rank_bytes",
    "peak_total_bytes",
}


def _panel(draw, alt, size_in=PANEL_IN):
    """What `draw(axes)` draws, as an image that stands in the page itself."""
    with styled():
        figure, grid = new_figure(1, 1, *size_in)
        draw(grid[0][0])
        page = io.BytesIO()
        figure.savefig(page, format="svg", metadata={"Date": None})
    return {
        "alt": alt,
        "source": "data:image/svg+xml;base64," + base64.b64encode(page.getvalue()).decode(),
    }


def _table(found, labels):
    """A row a group, a column a quantity, from a long table of intervals."""
    counts = found.groupby("group")["n"].max()
    texts = text_table(found)[list(labels)]
    rows = [{"group": g, "n": counts[g], "cells": list(cells)} for g, *cells in texts.itertuples()]
    return {"head": list(labels.values()), "rows": rows}


def _curve_sections(runs):
    sections = []
    for metric in measured_metrics(runs):
        panels = [
            _panel(
                lambda axes, m=metric, c=cost: draw_curves(axes, runs, m, c),
                f"{METRICS[metric].label} over {COSTS[cost].label.lower()}",
            )
            for cost in told_costs(runs, metric)
        ]
        sections.append({"title": METRICS[metric].label, "panels": panels})
    return sections


def _target_section(runs, metric, target):
    found = target_intervals(cost_to_target(runs, metric, target))
    wide = max(map(len, runs.groups)) > SHORT_NAME
    size = (WIDE_IN if wide else PANEL_IN[0], 0.6 + 0.22 * len(runs.groups))
    panels = [
        _panel(
            lambda axes, c=cost: draw_target(axes, runs, found, c),
            f"{COSTS[cost].label} {target_title(metric, target).lower()}",
            size,
        )
        for cost in COSTS
        if found[found["quantity"] == cost][["mean", "at_least"]].notna().any(axis=None)
    ]
    return {"title": target_title(metric, target), "panels": panels, "wide": wide}


def _pareto_panels(runs, metric):
    if len(runs.groups) < 2:
        return []
    return [
        _panel(
            lambda axes, c=cost: draw_pareto(axes, runs, metric, c),
            f"{METRICS[metric].label} over {COSTS[cost].label.lower()} in all",
        )
        for cost in told_costs(runs, metric)
        if cost != "rounds"
    ]


def _device_sections(runs, warnings):
    sections = []
    for label, part in runs.groups.items():
        if len(sections) == MAPS_AT_MOST:
            break
        try:
            table = device_table(part[0])
        except ResultError as error:
            warnings.append(f"No map of the devices: {error}.")
            continue
        names = [name for name in DEVICE_QUANTITIES if name in table]
        if "distance_m" not in table or not names:
            continue
        panels = [
            _panel(
                lambda axes, t=table, n=name: draw_device_map(axes, t, n),
                f"{label}: {DEVICE_QUANTITIES[name][0].lower()} of each device",
                MAP_IN,
            )
            for name in names
        ]
        sections.append({"title": f"{label}, {runs.name_of(part[0])}", "panels": panels})
    return sections


def _settings(runs):
    """What differs, a row an option; what is common, by the part of the configuration."""
    differing = []
    for name in runs.differing:
        values = [
            ", ".join(dict.fromkeys(option_text(run.settings.get(name, "-")) for run in part))
            for part in runs.groups.values()
        ]
        differing.append({"name": name, "values": values})
    common = {}
    for name, value in runs.common.items():
        section, _, short = name.rpartition(".")
        common.setdefault(section or "run", []).append((short, option_text(value)))
    return {"differing": differing, "common": common}


def _provenance(runs):
    """{fact: the values found}"""
    facts = {}
    for run in runs:
        for name, value in run.provenance.items():
            if name not in OF_EACH_RUN:
                text = f"{value:g}" if isinstance(value, float) else str(value)
                facts.setdefault(name, {})[text] = None
    return {name.replace("_", " "): " | ".join(values) for name, values in facts.items()}


def _run_rows(runs, figures):
    texts = text_table(intervals(runs.table().reset_index(), "run", figures), "run")
    return [
        {
            "name": runs.name_of(run),
            "group": runs.group_of(run),
            "seed": run.option("seed", "-"),
            "rounds": f"{run.last_round} of {run.planned_rounds}",
            "cells": list(texts.loc[runs.name_of(run)]),
            "written": run.provenance.get("written", "-"),
        }
        for run in runs
    ]


def _heading(runs, title):
    experiments = dict.fromkeys(str(run.option("experiment", run.path.stem)) for run in runs)
    days = sorted(run.provenance["written"][:10] for run in runs if "written" in run.provenance)
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "title": title or ", ".join(experiments),
        "made": now.strftime("%Y-%m-%d %H:%M UTC"),
        "runs": len(runs),
        "written": list(dict.fromkeys([days[0], days[-1]])) if days else [],
        "versions": sorted({str(run.provenance.get("version", "unknown")) for run in runs}),
    }


def _legend(runs):
    looks = look_of(runs.groups)
    return [
        {"text": text, "colour": looks[label]["color"], "line": looks[label]["linestyle"]}
        for label, text in group_names(runs).items()
    ]


def _differences(runs, table, baseline, labels):
    """None where there is nothing to compare, or no seed by which to pair."""
    pair = [name for name in runs.differing if is_seed(name)] or [SEED]
    if len(runs.groups) < 2 or not set(pair) <= set(table):
        return None
    return _table(paired_differences(table, baseline, columns=list(labels), pair=pair), labels)


def gather(runs, title=None, baseline=None, metric=None, target=None):
    """All that stands on the page, as a dict."""
    runs = runs.distinct()
    metric = metric or require_metrics(runs)[0]
    if metric not in require_metrics(runs):
        raise ResultError(f"no run has measured {metric}")
    target = default_target(runs, metric) if target is None else target
    table = runs.table()
    labels = {name: text for name, text in FIGURE_LABELS.items() if table[name].notna().any()}
    if "test_loss_last" in labels:
        labels.pop("train_loss_last", None)  # says little beside the other, and the table is wide
    baseline = baseline or next(iter(runs.groups))
    warnings = complaints(runs)
    devices = _device_sections(runs, warnings)
    return {
        **_heading(runs, title),
        "warnings": warnings,
        "legend": _legend(runs),
        "groups": list(runs.groups),
        "results": _table(intervals(table, columns=list(labels)), labels),
        "baseline": baseline,
        "differences": _differences(runs, table, baseline, labels),
        "curves": _curve_sections(runs),
        "target": _target_section(runs, metric, target),
        "pareto": _pareto_panels(runs, metric),
        "devices": devices,
        "map_note": MAP_NOTE,
        "settings": _settings(runs),
        "run_head": list(labels.values()),
        "run_rows": _run_rows(runs, labels),
        "provenance": _provenance(runs),
        "commands": [r.provenance["command_line"] for r in runs if "command_line" in r.provenance],
    }


def make_report(runs, **options):
    """The page as text; options as in gather()."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(gather(runs, **options))
