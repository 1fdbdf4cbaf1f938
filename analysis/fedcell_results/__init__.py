"""fedcell_results - reads the result files of fedcell as pandas frames.

    from fedcell_results import open_run, open_folder

    run = open_run("results/quickstart/quickstart.h5")
    run.rounds["test_accuracy"]                 # one row a round, indexed by round
    run.rounds.attrs["units"]["energy_j"]       # "J"; units_table(run.rounds) shows them all
    run.participation                           # one row a participant and round
    run.profile                                 # one row a device
    run.settings["federation.method"], run.provenance["git_commit"]

    runs = open_folder("results/sst2")          # many files; runs.set_aside: what was left out, why
    runs.table()                                # one row a run: every setting and the final figures
    runs.rounds()                               # one row a run and round
    text_table(intervals(runs.table()))         # means over the seeds with Student's t interval
    paired_differences(runs.table(), "local")   # seed by seed against one method
    cost_to_target(runs, "test_accuracy", 0.75) # or common_target(...), which all runs reach
    save(figure_curves(runs), "curves")         # curves.png, curves.pdf

From the shell: python3 -m fedcell_results summary|plot|report FILE-OR-FOLDER...
Nothing else in the project reads result files, so their layout is known here only.
"""

from .devices import device_table, figure_devices
from .figures import figure_curves, figure_pareto, figure_target
from .run import ResultError, Run, open_run
from .runs import Runs, open_files, open_folder
from .stats import Interval, band, interval, intervals, paired_differences
from .style import ONE_COLUMN_IN, STYLE, TWO_COLUMNS_IN, save
from .summary import summary_row, summary_table
from .tables import text_table
from .targets import common_target, cost_to_target, default_target, pareto_front, target_intervals
from .units import units_table

__all__ = [
    "Interval", "ONE_COLUMN_IN", "ResultError", "Run", "Runs", "STYLE", "TWO_COLUMNS_IN", "band",
    "common_target", "cost_to_target", "default_target", "device_table", "figure_curves",
    "figure_devices", "figure_pareto", "figure_target", "interval", "intervals", "open_files",
    "open_folder", "open_run", "paired_differences", "pareto_front", "save", "summary_row",
    "summary_table", "target_intervals", "text_table", "units_table",
]  # fmt: skip
