"""Every notebook of analysis/ is stored without outputs and runs from small results."""

import functools
import json
import os
import pathlib
import re
import shutil
import tempfile
import unittest
from unittest import mock

import h5py
import nbclient
import nbformat

from fedcell_results import open_folder, open_run
from fixtures import PROGRAM, ROOT, jcpba_results, real_results, switching_results, tellm_results

NOTEBOOKS = sorted((ROOT / "analysis").glob("*.ipynb"))
RESULTS = {
    "quickstart.ipynb": real_results,
    "jcpba.ipynb": jcpba_results,
    "switching.ipynb": switching_results,
    "tellm.ipynb": tellm_results,
}
JCPBA = ROOT / "analysis" / "jcpba.ipynb"
SWITCHING = ROOT / "analysis" / "switching.ipynb"
TELLM = ROOT / "analysis" / "tellm.ipynb"
SECONDS_A_CELL = 120


@functools.cache
def execute(path, results, program=PROGRAM):
    """The notebook with its outputs, run in its own folder as a person would."""
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    with tempfile.TemporaryDirectory() as home:  # no profile of the user's own
        with mock.patch.dict(
            os.environ,
            FEDCELL=str(program),
            FEDCELL_CLIENTS="8",
            FEDCELL_RESULTS=str(results),
            IPYTHONDIR=home,
            PYDEVD_DISABLE_FILE_VALIDATION="1",
        ):
            client.execute()
    return notebook


def outputs(notebook):
    return [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]


def texts(notebook, cell=None):
    """What it shows as Markdown and as tables, of one cell or of all."""
    found = [c for c in notebook.cells if c.cell_type == "code" and cell in (None, c.id)]
    shown = [output.get("data", {}) for c in found for output in c.outputs]
    return "\n".join(data.get(k, "") for data in shown for k in ("text/markdown", "text/html"))


class NotebooksTest(unittest.TestCase):
    def test_there_are_some(self):
        self.assertIn("quickstart.ipynb", [path.name for path in NOTEBOOKS])

    def test_are_stored_without_outputs(self):
        for path in NOTEBOOKS:
            with self.subTest(path.name):
                for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                    self.assertFalse(cell.get("outputs"), cell["id"])
                    self.assertIsNone(cell.get("execution_count"), cell["id"])

    def test_run_and_complain_about_nothing(self):
        for path in NOTEBOOKS:
            with self.subTest(path.name):
                found = outputs(execute(path, RESULTS[path.name]()))
                images = [o for o in found if "image/png" in o.get("data", {})]
                self.assertGreaterEqual(len(images), 5)
                streams = [o["text"] for o in found if o.output_type == "stream"]
                self.assertEqual(streams, [], "warnings are to be mended, not shown")
        self.assertTrue((real_results() / "curves.pdf").is_file())

    def test_quickstart_without_results_says_how_to_make_them(self):
        with tempfile.TemporaryDirectory() as empty:
            with self.assertRaises(nbclient.exceptions.CellExecutionError) as caught:
                execute(ROOT / "analysis" / "quickstart.ipynb", pathlib.Path(empty) / "none")
            self.assertIn(
                "none: no results yet; the commands above make them", str(caught.exception)
            )


class JcpbaTest(unittest.TestCase):
    def test_without_results_says_how_to_make_them_and_goes_on(self):
        with tempfile.TemporaryDirectory() as empty:
            shown = texts(execute(JCPBA, empty, program=pathlib.Path(empty) / "fedcell"))
        for name in ("loss", "overhead", "heterogeneity"):
            self.assertIn(f"`jobs/sweep-local.sh jobs/sweeps/jcpba-{name}.yaml` makes them", shown)
        self.assertIn("fedcell is not there**; build it", shown)

    def test_some_methods_only(self):
        """A sweep that has just begun: no baseline here, no jcpba there, one range of speeds."""
        with tempfile.TemporaryDirectory() as begun:
            for name in (
                "loss/jcpba-1-problems",
                "overhead/ubfp-1-problems",
                "heterogeneity/ubfp-1-low",
            ):
                there = pathlib.Path(begun) / f"jcpba-{name}.h5"
                there.parent.mkdir()
                shutil.copy(jcpba_results() / f"jcpba-{name}.h5", there)
            notebook = execute(JCPBA, begun, program=pathlib.Path(begun) / "fedcell")
        self.assertIn("361", texts(notebook, "overhead-table"))
        self.assertNotIn("against the best", texts(notebook))

    def test_figures_are_those_of_the_files(self):
        notebook = execute(JCPBA, jcpba_results())
        run = open_folder(jcpba_results() / "jcpba-overhead").where({"federation.method": "ubfp"})[
            0
        ]
        rows = run.participation  # all prune alike, so that there is no deviation
        flop = rows["flop"].mean() / run.option("federation.local.iterations")
        bits = (rows["uplink_bits"] + rows["downlink_bits"]).mean()
        shown = texts(notebook, "overhead-table")
        self.assertIn(f"<td>{flop / 1e9:.4g}</td>", shown)
        self.assertIn(f"<td>{bits / 8e6:.4g}</td>", shown)
        self.assertIn("against the best", texts(notebook, "saving-table"))
        self.assertIn("The least growth has `jcpba`", texts(notebook, "heterogeneity-table"))
        self.assertIn("above its bound", texts(notebook, "optimality-table"))


class SwitchingTest(unittest.TestCase):
    def test_without_results_says_how_to_make_them_and_goes_on(self):
        with tempfile.TemporaryDirectory() as empty:
            shown = texts(execute(SWITCHING, empty))
        for name in ("convergence", "bandwidth", "accuracy", "power"):
            self.assertIn(
                f"`jobs/sweep-local.sh jobs/sweeps/switching-{name}.yaml` makes them", shown
            )

    def test_some_runs_only(self):
        """A sweep that has just begun: no switching here, one power there."""
        with tempfile.TemporaryDirectory() as begun:
            for name in ("convergence/fedlora-4-1", "accuracy/energy-1", "power/1e6-5-1"):
                there = pathlib.Path(begun) / f"switching-{name}.h5"
                there.parent.mkdir()
                shutil.copy(switching_results() / f"switching-{name}.h5", there)
            notebook = execute(SWITCHING, begun)
        self.assertIn("<td>", texts(notebook, "convergence-table"))
        self.assertEqual(texts(notebook, "saving-table"), "")
        self.assertNotIn("beside switching", texts(notebook, "accuracy-table"))
        self.assertNotIn("Beside maximum power", texts(notebook, "power-table"))

    def test_a_target_that_some_run_misses_gives_a_lower_bound(self):
        """Of two seeds of fedlora one is made to end below the target, after 3 rounds."""
        with tempfile.TemporaryDirectory() as changed:
            folder = pathlib.Path(changed) / "switching-convergence"
            shutil.copytree(switching_results() / folder.name, folder)
            with h5py.File(folder / "fedlora-8-1.h5", "r+") as file:
                accuracy = file["rounds/test_accuracy"]
                self.assertEqual(len(accuracy), 4)  # rounds 0 to 3
                accuracy[...] = [0.1, 0.1, 0.1, 0.1]
            notebook = execute(SWITCHING, changed)
        self.assertIn("<td>≥ 2 (1 of 2)</td>", texts(notebook, "convergence-table"))
        row = texts(notebook, "saving-table").split("<th>fedlora</th>")[1].split("</tr>")[0]
        self.assertEqual(row.count("<td>-</td>"), 2)  # at K = 8 and over all K

    def test_figures_are_those_of_the_files(self):
        notebook = execute(SWITCHING, switching_results())
        saved = []
        for seed in (1, 2):
            mean = {}
            for name in ("1e6", "max"):
                path = switching_results() / "switching-power" / f"{name}-5-{seed}.h5"
                mean[name] = open_run(path).participation["power_w"].mean()
            saved.append(100 * (1 - mean["1e6"] / mean["max"]))
        self.assertGreater(min(saved), 0)
        self.assertIn(f"<td>-{sum(saved) / 2:.0f} ±", texts(notebook, "power-table"))
        steps = open_folder(switching_results() / "switching-bandwidth").rounds()["bandwidth_steps"]
        self.assertIn(f"At most {steps.max():g} trial delays", texts(notebook, "bandwidth-table"))
        self.assertEqual(texts(notebook, "bound-table").count("<td>100 %</td>"), 5)


class TellmTest(unittest.TestCase):
    def test_without_results_says_how_to_make_them_and_goes_on(self):
        with tempfile.TemporaryDirectory() as empty:
            shown = texts(execute(TELLM, empty))
        for name in ("main", "training", "scenario2", "qos", "generality", "fidelity"):
            self.assertIn(f"`jobs/sweep-local.sh jobs/sweeps/tellm-{name}.yaml` makes them", shown)

    def test_some_runs_only(self):
        """Sweeps that have just begun: one agent here, another there, one setting."""
        with tempfile.TemporaryDirectory() as begun:
            for name in (
                "main/fedavg",
                "scenario2/grpo",
                "training/ppo",
                "generality/alpha",
                "fidelity/learned-grpo",
            ):
                there = pathlib.Path(begun) / f"tellm-{name}.h5"
                there.parent.mkdir()
                shutil.copy(tellm_results() / f"tellm-{name}.h5", there)
            notebook = execute(TELLM, begun)
        self.assertIn("<th>fedavg</th>", texts(notebook, "main-table"))
        self.assertEqual(texts(notebook, "claims-table"), "")
        self.assertIn("No results of `exhaustive`", texts(notebook, "exhaustive-table"))
        self.assertNotIn("Change from Fig. 5", texts(notebook))
        self.assertIn("`evaluation.alpha`, trained with **0.5**. \n", texts(notebook) + "\n")
        self.assertNotIn("`evaluation.deadline_s`", texts(notebook))
        self.assertIn("No agent has results of both", texts(notebook, "drift-figure"))
        self.assertEqual(texts(notebook, "drift-table"), "")

    def test_claims_and_bounds_are_judged(self):
        """With CWPEM of three trials that a person can compare, and a bound that is sound or not."""
        ends = {
            "grpo": [1.0, 1.2, 1.4],  # 1.2 ± 0.50
            "ppo": [0.1, 0.2, 0.3],  # 0.2 ± 0.25
            "fedavg": [1.1, 1.1, 1.1],
            "eps-greedy": [0.5, 0.5, 0.51],
            "fldlt3": [0.25, 0.25, 0.25],
        }
        with tempfile.TemporaryDirectory() as changed:
            for name in ("main", "training"):
                folder = pathlib.Path(changed) / f"tellm-{name}"
                shutil.copytree(tellm_results() / folder.name, folder)
            for agent, values in ends.items():
                with h5py.File(folder.parent / "tellm-main" / f"{agent}.h5", "r+") as file:
                    file["rounds/cwpem"][4::5] = values  # rounds 0 to 4 of each trial
            with h5py.File(folder / "grpo.h5", "r+") as file:
                file["fidelity/return_mae"][...] = [0.1, 0.5, 2.0]
                file["fidelity/bound"][...] = [0.0, 10.0, 60.0]
                file["fidelity/vacuous"][...] = [0, 0, 1]
            notebook = execute(TELLM, changed)
        claims = texts(notebook, "claims-table")
        row = claims.split("<th>highest CWPEM</th>")[1].split("</tr>")[0]
        self.assertIn("<td>yes; overlap: fedavg</td>", row)
        self.assertIn("<td>behind fldlt3 (overlap), eps-greedy, fedavg</td>", row)
        row = claims.split("<th>fedavg</th>")[1].split("</tr>")[0]
        self.assertRegex(row, r"<td>-0.10 ± 0.50</td>\s*<td>overlap</td>")  # 0.1, -0.1, -0.3
        row = claims.split("<th>eps-greedy</th>")[1].split("</tr>")[0]
        self.assertRegex(row, r"<td>-0.70 ± 0.48</td>\s*<td>apart</td>")
        bounds = texts(notebook, "fidelity-table")
        self.assertIn("says something up to 2 rounds", bounds)
        for row, said in zip(bounds.split("<tr>")[2:], ("no no", "yes no", "yes yes")):
            holds, vacuous = said.split()
            self.assertRegex(row, rf"<td>{holds}</td>\s*<td>{vacuous}</td>")

    def test_drift_is_learned_less_real(self):
        """With CWPEM of three trials that a person can compare; the order turns round."""
        ends = {
            "real-fedavg": [1.0, 2.0, 3.0],  # 2.0 ± 2.5
            "learned-fedavg": [1.5, 2.6, 3.7],  # 0.5, 0.6, 0.7 more; 50, 30, 23.3 %
            "real-grpo": [1.5, 2.5, 3.5],
            "learned-grpo": [1.5, 2.5, 3.5],
        }
        with tempfile.TemporaryDirectory() as changed:
            folder = pathlib.Path(changed) / "tellm-fidelity"
            shutil.copytree(tellm_results() / folder.name, folder)
            for name, values in ends.items():
                with h5py.File(folder / f"{name}.h5", "r+") as file:
                    file["rounds/cwpem"][4::5] = values
            notebook = execute(TELLM, changed)
        shown = texts(notebook, "drift-table")
        row = shown.split("<th>fedavg</th>")[1].split("</tr>")[0]
        cells = re.findall("<td>(.*?)</td>", row)
        self.assertEqual(cells[:4], ["2.0 ± 2.5", "2.6 ± 2.7", "0.60 ± 0.25", "34 ± 34 %"])
        row = shown.split("<th>grpo</th>")[1].split("</tr>")[0]
        self.assertEqual(re.findall("<td>(.*?)</td>", row)[2:4], ["0", "0 %"])
        self.assertIn("real `grpo`, `fedavg`; learned `fedavg`, `grpo`.", shown)

    def test_figures_are_those_of_the_files(self):
        notebook = execute(TELLM, tellm_results())
        folder = tellm_results() / "tellm-main"
        ends = {
            name: open_run(folder / f"{name}.h5").trials["cwpem"].to_numpy()[4::5]
            for name in ("fedavg", "exhaustive")
        }
        far = (100 * (ends["fedavg"] / ends["exhaustive"] - 1)).mean()
        self.assertLess(far, -1)
        row = texts(notebook, "exhaustive-table").split("<th>fedavg</th>")[1].split("</tr>")[0]
        self.assertRegex(row, rf"<td>{far:.0f} ± \d+ %</td>")
        samples = open_run(folder / "grpo.h5").profile["samples"]
        text = texts(notebook, "data-figure")
        self.assertIn(f"6 devices hold {samples.min()} to {samples.max()} samples", text)
        self.assertIn("From 10 to 15: accuracy 0 %, energy -", texts(notebook, "generality-table"))
        self.assertIn("`fldlt3` takes", texts(notebook, "scenario2-figure"))
        self.assertIn("<td>100 %</td>", texts(notebook, "main-table"))  # invalid answers
        self.assertIn(
            "0 % of the likeliest answers are valid", texts(notebook, "diagnostics-table")
        )


if __name__ == "__main__":
    unittest.main()
