"""fedcell_results - reads the result files of fedcell as pandas frames.

    from fedcell_results import open_run, open_folder

    run = open_run("results/quickstart/quickstart.h5")
    run.rounds["test_accuracy"]                 # one row a round, indexed by round
    run.rounds.attrs["units"]["energy_j"]       # "J"
    run.participation                           # one row a participant and round
    run.profile                                 # one row a device
    run.config["federation"]["method"], run.provenance["git_commit"]

    for run in open_folder("results"): ...

From the shell: python3 -m fedcell_results summary|plot FILE...
Nothing else in the project reads result files, so their layout is known here only.
"""

from .run import ResultError, Run, open_folder, open_run
from .summary import summary_row, summary_table

__all__ = ["ResultError", "Run", "open_folder", "open_run", "summary_row", "summary_table"]
