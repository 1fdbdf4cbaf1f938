"""python3 -m fedcell_results summary|plot FILE... - a FILE may also be a folder of result files."""

import argparse
import pathlib
import sys

from .run import ResultError, open_folder, open_run


def open_all(paths):
    runs = []
    for path in map(pathlib.Path, paths):
        found = open_folder(path) if path.is_dir() else [open_run(path)]
        if not found:
            raise ResultError(f"{path}: no result file in this folder")
        runs.extend(found)
    return runs


def command_summary(arguments):
    from .summary import format_summary, summary_table

    runs = open_all(arguments.files)
    if arguments.csv:
        summary_table(runs).to_csv(sys.stdout, index=False)
    else:
        print(format_summary(runs))


def command_plot(arguments):
    from .plot import save_plot

    runs = open_all(arguments.files)
    prefix = arguments.output or runs[0].path.with_suffix("")
    for path in save_plot(runs, prefix):
        print(path)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="fedcell_results", description=__doc__.split(" - ")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    summary = commands.add_parser("summary", help="totals and final metrics, a column a run")
    summary.add_argument("files", nargs="+", metavar="FILE")
    summary.add_argument("--csv", action="store_true", help="comma-separated, a row a run")
    summary.set_defaults(run=command_summary)
    plot = commands.add_parser("plot", help="accuracy and loss over rounds, simulated time, energy")
    plot.add_argument("files", nargs="+", metavar="FILE")
    plot.add_argument("--output", metavar="PREFIX", help="writes PREFIX.png and PREFIX.pdf")
    plot.set_defaults(run=command_plot)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except (ResultError, OSError) as error:
        print(f"fedcell_results: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
