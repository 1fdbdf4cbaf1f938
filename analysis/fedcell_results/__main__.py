"""python3 -m fedcell_results summary|plot|report PATH... - a PATH: a result file or a folder of them.

Exit code: 0 done, 2 a wrong call or nothing readable there, 1 any other failure.
"""

import argparse
import pathlib
import sys

from .devices import figure_devices
from .figures import figure_curves, figure_pareto, figure_target
from .quantities import METRICS
from .report import make_report
from .run import ResultError, open_run
from .runs import Runs, open_folder
from .style import save
from .summary import format_summary, summary_table

BAD_INPUT = 2


def open_all(paths):
    """The runs of all paths. What is left out in a folder is told, and the work goes on; a file
    that was named itself has to be readable."""
    runs, aside = [], []
    for path in map(pathlib.Path, paths):
        found = open_folder(path) if path.is_dir() else [open_run(path)]
        for left_out, reason in getattr(found, "set_aside", ()):
            print(f"fedcell_results: left out {left_out}: {reason}", file=sys.stderr)
            aside.append((left_out, reason))
        if not found:
            raise ResultError(f"{path}: no finished result in this folder")
        runs.extend(found)
    return Runs({run.path.resolve(): run for run in runs}.values(), aside)


def command_summary(arguments):
    runs = open_all(arguments.paths)
    if arguments.csv:
        summary_table(runs).to_csv(sys.stdout, index=False)
    else:
        print(format_summary(runs))


def command_plot(arguments):
    figures = {
        "curves": figure_curves,
        "pareto": figure_pareto,
        "target": figure_target,
        "devices": lambda runs: figure_devices(runs[0]),
    }
    runs = open_all(arguments.paths)
    first = pathlib.Path(arguments.paths[0])
    beside = first / arguments.figure if first.is_dir() else first.with_suffix("")
    prefix = arguments.output or beside
    for path in save(figures[arguments.figure](runs), prefix):
        print(path)


def command_report(arguments):
    runs = open_all(arguments.paths)
    first = pathlib.Path(arguments.paths[0])
    folder = first if first.is_dir() else first.parent
    named = ("title", "baseline", "metric", "target")
    page = make_report(runs, **{name: getattr(arguments, name) for name in named})
    output = pathlib.Path(arguments.output or folder / "report.html")
    output.write_text(page, encoding="utf-8")
    print(output)


def parse(argv):
    parser = argparse.ArgumentParser(prog="fedcell_results", description=__doc__.split(" - ")[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, run, text):
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument(
            "paths", nargs="+", metavar="PATH", help="a result file or a folder of them"
        )
        added.set_defaults(run=run)
        return added

    summary = command("summary", command_summary, "totals and final metrics, a column a run")
    summary.add_argument("--csv", action="store_true", help="comma-separated, a row a run")
    plot = command("plot", command_plot, "a figure as PREFIX.png and PREFIX.pdf")
    kinds = ["curves", "pareto", "target", "devices"]
    plot.add_argument("--figure", choices=kinds, default=kinds[0], help="default: %(default)s")
    plot.add_argument("--output", "-o", metavar="PREFIX", help="default: beside the results")
    report = command("report", command_report, "one self-contained HTML page about all runs")
    report.add_argument("--output", "-o", metavar="FILE", help="default: report.html in the folder")
    report.add_argument("--title", help="default: the experiment's name")
    report.add_argument(
        "--baseline", metavar="GROUP", help="compare with this one (default: the first)"
    )
    report.add_argument(
        "--metric",
        choices=METRICS,
        help="to compare costs by (default: the first that was measured)",
    )
    report.add_argument(
        "--target", type=float, metavar="X", help="for the cost to target, e.g. 0.75"
    )
    return parser.parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    try:
        arguments.run(arguments)
    except ResultError as error:
        print(f"fedcell_results: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"fedcell_results: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
