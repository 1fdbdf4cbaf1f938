"""fedcell_results on files of the program's layout, made here with h5py."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import h5py
import numpy

from fedcell_results import ResultError, open_folder, open_run, summary_table
from fedcell_results.__main__ import main
from fedcell_results.summary import format_summary, scale

CONFIG = """experiment: toy
seed: {seed}
cell: {{bandwidth_hz: 2e+07, noise_dbm_per_hz: -174}}
federation: {{method: {method}, rounds: 3}}
"""

ROUNDS = {
    "round": ("", [0, 1, 2, 3]),
    "train_loss": ("", [numpy.nan, 0.7, 0.5, 0.4]),
    "test_loss": ("", [0.69, numpy.nan, 0.45, 0.5]),
    "test_accuracy": ("", [0.5, numpy.nan, 0.8, 0.75]),
    "sim_time_s": ("s", [0.0, 10.0, 25.0, 30.0]),
    "energy_j": ("J", [0.0, 1000.0, 500.0, 500.0]),
    "uplink_bits": ("bit", [0.0, 4e6, 4e6, 4e6]),
}
PARTICIPATION = {
    "round": ("", [1, 1, 2, 3]),
    "device": ("", [0, 5, 2, 0]),
    "bandwidth_hz": ("Hz", [1e6, 1e6, 2e6, 2e6]),
    "delivered": ("", numpy.array([1, 0, 1, 1], dtype=numpy.uint8)),
}
PROFILE = {"device": ("", [0, 1, 2, 5]), "compute_flops": ("FLOP/s", [1e12, 2e12, 1e12, 5e11])}


def write_columns(file, group, columns):
    for name, (unit, values) in columns.items():
        dataset = file.create_dataset(f"{group}/{name}", data=numpy.asarray(values))
        dataset.attrs["unit"] = unit
        dataset.attrs["description"] = f"what {name} means"


def write_run(path, seed=1, method="fedlora", rounds=None):
    with h5py.File(path, "w") as file:
        file.attrs["fedcell_format"] = 1.0
        write_columns(file, "rounds", ROUNDS if rounds is None else rounds)
        write_columns(file, "participation", PARTICIPATION)
        write_columns(file, "profile", PROFILE)
        provenance = file.create_group("provenance")
        provenance.attrs["config"] = CONFIG.format(seed=seed, method=method)
        provenance.attrs["version"] = numpy.bytes_("0.1.0")  # a fixed-length string
        provenance.attrs["ranks"] = 2.0
        provenance["git_commit"] = "0123abcd"  # a scalar dataset
    return path


def run_main(*arguments):
    """(exit code, stdout, stderr) of the command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(a) for a in arguments])
    return code, out.getvalue(), err.getvalue()


class ResultsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)


class ReadingTest(ResultsTest):
    def setUp(self):
        super().setUp()
        self.run_ = open_run(write_run(self.folder / "a.h5"))

    def test_rounds_are_indexed_by_round_with_units_and_descriptions(self):
        rounds = self.run_.rounds
        self.assertEqual(list(rounds.index), [0, 1, 2, 3])
        self.assertEqual(rounds.index.name, "round")
        self.assertEqual(rounds.loc[2, "test_accuracy"], 0.8)
        self.assertTrue(numpy.isnan(rounds.loc[1, "test_accuracy"]))
        self.assertEqual(rounds.attrs["units"]["energy_j"], "J")
        self.assertEqual(rounds.attrs["descriptions"]["energy_j"], "what energy_j means")

    def test_participation_is_a_long_table_in_the_types_of_the_file(self):
        participation = self.run_.participation
        self.assertEqual(len(participation), 4)
        self.assertEqual(participation["delivered"].dtype, numpy.uint8)
        self.assertEqual(list(participation[participation["round"] == 1]["device"]), [0, 5])
        self.assertEqual(participation.attrs["units"]["bandwidth_hz"], "Hz")

    def test_profile_is_indexed_by_device(self):
        self.assertEqual(self.run_.profile.loc[5, "compute_flops"], 5e11)

    def test_provenance_holds_attributes_and_scalar_datasets_as_plain_values(self):
        provenance = self.run_.provenance
        self.assertEqual(provenance["version"], "0.1.0")
        self.assertEqual(provenance["git_commit"], "0123abcd")
        self.assertEqual(provenance["ranks"], 2.0)

    def test_config_reads_exponents_without_a_point_as_numbers(self):
        self.assertEqual(self.run_.option("cell.bandwidth_hz"), 2e7)
        self.assertEqual(self.run_.config["cell"]["noise_dbm_per_hz"], -174)
        self.assertEqual(self.run_.option("federation.method"), "fedlora")
        self.assertEqual(self.run_.option("federation.none", "absent"), "absent")
        self.assertIsNone(self.run_.option("seed.deeper"))

    def test_an_absent_group_is_an_empty_frame(self):
        with h5py.File(self.folder / "a.h5", "a") as file:
            del file["participation"]
        self.assertTrue(open_run(self.folder / "a.h5").participation.empty)


class FaultsTest(ResultsTest):
    def check_refused(self, path, text):
        with self.assertRaises(ResultError) as caught:
            open_run(path).rounds
        self.assertEqual(str(caught.exception), f"{path}: {text}")

    def test_missing_file(self):
        self.check_refused(self.folder / "none.h5", "no such file")

    def test_not_hdf5(self):
        path = self.folder / "text.h5"
        path.write_text("rounds")
        self.check_refused(path, "not an HDF5 file")

    def test_hdf5_of_another_program(self):
        path = self.folder / "other.h5"
        h5py.File(path, "w").close()
        self.check_refused(path, "not a fedcell result (no group /rounds)")

    def test_columns_of_different_length(self):
        path = write_run(self.folder / "a.h5", rounds={"round": ("", [0, 1]), "flop": ("FLOP", [1.0])})
        self.check_refused(path, "columns of /rounds differ in length: {'flop': 1, 'round': 2}")

    def test_truncated_file_is_an_error_not_a_crash(self):
        path = write_run(self.folder / "a.h5")
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with self.assertRaises(ResultError) as caught:
            open_run(path).rounds
        self.assertIn(f"{path}: cannot be read: ", str(caught.exception))

    def test_folder_passes_over_other_files(self):
        write_run(self.folder / "b.h5")
        (self.folder / "deep").mkdir()
        write_run(self.folder / "deep" / "a.h5")
        h5py.File(self.folder / "other.h5", "w").close()
        self.assertEqual([run.path.name for run in open_folder(self.folder)], ["b.h5", "a.h5"])
        with self.assertRaises(ResultError):
            open_folder(self.folder / "none")


class SummaryTest(ResultsTest):
    def test_totals_are_sums_the_clock_is_its_last_value(self):
        table = summary_table([open_run(write_run(self.folder / "a.h5"))])
        row = table.iloc[0]
        self.assertEqual(row["rounds"], 3)
        self.assertEqual(row["sim_time_s"], 30.0)
        self.assertEqual(row["energy_j"], 2000.0)
        self.assertEqual(row["uplink_bits"], 12e6)
        self.assertEqual(row["test_accuracy_first"], 0.5)
        self.assertEqual(row["test_accuracy_last"], 0.75)
        self.assertEqual(row["test_accuracy_best"], 0.8)
        self.assertEqual(row["test_loss_best"], 0.45)
        self.assertTrue(numpy.isnan(row["flop"]), "a column that is not there is not zero")
        self.assertEqual(table.attrs["units"]["energy_j"], "J")

    def test_text_has_units_and_leaves_out_what_nobody_measured(self):
        text = format_summary([open_run(write_run(self.folder / "a.h5"))])
        lines = dict(line.split(None, 1) for line in text.splitlines())
        self.assertEqual(lines["energy_j"].strip(), "2 kJ")
        self.assertEqual(lines["uplink_bits"].strip(), "12 Mbit")
        self.assertEqual(lines["sim_time_s"].strip(), "30 s")
        self.assertNotIn("flop", lines)

    def test_scale_keeps_small_numbers_in_their_unit(self):
        self.assertEqual(scale(999.0, "J"), (1.0, "J"))
        self.assertEqual(scale(2.5e9, "bit"), (1e9, "Gbit"))
        self.assertEqual(scale(36000.0, "s"), (3600.0, "h"))
        self.assertEqual(scale(1e9, ""), (1.0, ""))

    def test_command_line(self):
        write_run(self.folder / "a.h5")
        write_run(self.folder / "b.h5", seed=2)
        code, out, _ = run_main("summary", "--csv", self.folder)
        self.assertEqual(code, 0)
        self.assertEqual(len(out.splitlines()), 3)
        code, out, err = run_main("summary", self.folder / "none.h5")
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(err, f"fedcell_results: {self.folder}/none.h5: no such file\n")


class PlotTest(ResultsTest):
    def figure(self, *runs):
        from fedcell_results.plot import make_figure, pyplot

        figure = make_figure(list(runs))
        self.addCleanup(pyplot.close, figure)
        return figure

    def test_curves_are_what_was_measured(self):
        figure = self.figure(open_run(write_run(self.folder / "a.h5")))
        self.assertEqual(len(figure.axes), 9)  # three metrics over three costs
        by_round, by_time, by_energy = (axes.lines[0] for axes in figure.axes[:3])
        self.assertEqual(list(by_round.get_xdata()), [0, 2, 3])
        self.assertEqual(list(by_round.get_ydata()), [0.5, 0.8, 0.75])
        self.assertEqual(list(by_time.get_xdata()), [0.0, 25.0, 30.0])
        self.assertEqual(list(by_energy.get_xdata()), [0.0, 1.5, 2.0])  # kJ, summed up
        self.assertEqual(figure.axes[1].get_xlabel(), "Simulated time (s)")
        self.assertEqual(figure.axes[2].get_xlabel(), "Energy of all devices (kJ)")

    def test_seeds_share_a_colour_methods_do_not(self):
        runs = [
            open_run(write_run(self.folder / "a.h5")),
            open_run(write_run(self.folder / "b.h5", seed=2)),
            open_run(write_run(self.folder / "c.h5", method="local")),
        ]
        figure = self.figure(*runs)
        colours = [line.get_color() for line in figure.axes[0].lines]
        self.assertEqual(colours[0], colours[1])
        self.assertNotEqual(colours[0], colours[2])
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        self.assertEqual(names, ["toy, fedlora", "toy, local"])

    def test_files_are_written_beside_the_result(self):
        write_run(self.folder / "a.h5")
        code, out, _ = run_main("plot", self.folder / "a.h5")
        self.assertEqual(code, 0)
        self.assertEqual(out.split(), [str(self.folder / "a.png"), str(self.folder / "a.pdf")])
        self.assertEqual((self.folder / "a.png").read_bytes()[:4], b"\x89PNG")
        self.assertEqual((self.folder / "a.pdf").read_bytes()[:5], b"%PDF-")

    def test_nothing_measured_is_told(self):
        path = write_run(self.folder / "a.h5", rounds={"round": ("", [0]), "test_loss": ("", [numpy.nan])})
        code, out, err = run_main("plot", path)
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(err, f"fedcell_results: {path}: no accuracy and no loss to plot\n")


if __name__ == "__main__":
    unittest.main()
