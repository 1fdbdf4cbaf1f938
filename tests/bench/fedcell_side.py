"""fedcell's side of compare.py: `fedcell bench NAME --case FILE.json`, one process a sample; it warms up before it times."""

import json
import os
import subprocess


class Fedcell:
    def __init__(self, program, threads):
        self.program = program
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        self.provenance = {}  # of the last run: version, commit, CPU, kernels

    def bench(self, name, case):
        """The one row of figures."""
        command = [self.program, "bench", name, "--case", str(case), "--quick", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
        told = json.loads(done.stdout)
        self.provenance = told["provenance"]
        return told["rows"][0]
