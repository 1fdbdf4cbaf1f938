"""One result file: reading, refusing, summing up; and the command line."""

import unittest

import h5py
import numpy

from fedcell_results import ResultError, open_folder, open_run, summary_table, units_table
from fedcell_results.summary import format_summary
from fedcell_results.units import plus_minus, quantity, scale
from fixtures import FolderTest, rounds_with, run_main, write_run


class PolicyTest(FolderTest):
    """A policy's file: two trials of two rounds, each with a round 0."""

    def setUp(self):
        super().setUp()
        rounds = {
            "trial": ("", [0, 0, 0, 1, 1, 1]),
            "round": ("", [0, 1, 2, 0, 1, 2]),
            "cwpem": ("", [0.0, 0.2, 0.5, 0.0, 0.4, 0.9]),
            "test_accuracy": ("", [0.1, 0.3, 0.4, 0.1, 0.5, 0.6]),
            "sim_time_s": ("s", [0.0, 10.0, 20.0, 0.0, 8.0, 20.0]),
            "energy_j": ("J", [0.0, 1.0, 2.0, 0.0, 3.0, 4.0]),
            "reward": ("", [0.0, 0.2, 0.3, 0.0, numpy.nan, 0.5]),
        }
        self.path = write_run(self.folder / "a.h5", rounds=rounds)
        with h5py.File(self.path, "a") as file:
            config = file["provenance"].attrs["config"]
            file["provenance"].attrs["config"] = config + "policy:\n  agent: grpo\n"
            file["profile/labels"] = numpy.arange(8).reshape(4, 2)
        self.run_ = open_run(self.path)

    def test_rounds_are_means_over_trials(self):
        rounds = self.run_.rounds
        self.assertEqual(list(rounds.index), [0, 1, 2])
        self.assertAlmostEqual(rounds.loc[2, "cwpem"], 0.7)
        self.assertEqual(rounds.loc[1, "energy_j"], 2.0)
        # not the mean of those that are known
        self.assertTrue(numpy.isnan(rounds.loc[1, "reward"]))
        self.assertEqual(rounds.attrs["units"]["energy_j"], "J")
        self.assertEqual(self.run_.last_round, 2)

    def test_trials_are_all_there(self):
        self.assertEqual(self.run_.trials.loc[(1, 2), "cwpem"], 0.9)
        self.assertEqual(len(self.run_.trials), 6)
        self.assertEqual(self.run_.labels.shape, (4, 2))

    def test_trials_of_many(self):
        write_run(self.folder / "b.h5", method="local")  # no policy
        table = open_folder(self.folder).trials("policy.agent")
        self.assertEqual(len(table), 6)
        self.assertEqual(list(table["trial"]), [0, 0, 0, 1, 1, 1])
        self.assertEqual(list(table["round"]), [0, 1, 2, 0, 1, 2])
        self.assertEqual(set(table["policy.agent"]), {"grpo"})
        self.assertEqual(table.attrs["units"]["energy_j"], "J")

    def test_a_checkpoint_tells_its_trials(self):
        with h5py.File(self.path, "a") as file:
            config = file["provenance"].attrs["config"].replace("federation:", "ours:")
            config += "evaluation: {trials: 5, rounds: 0}\nenvironment: {rounds: 2}\n"
            file["provenance"].attrs["config"] = config
            file.create_group("state")
        run = open_run(self.path)
        self.assertEqual(run.progress, "trial 2 of 5")
        self.assertEqual(run.planned_rounds, 2)
        self.assertEqual(
            dict(open_folder(self.folder).set_aside)[self.path], "unfinished: trial 2 of 5"
        )

    def test_the_agent_is_the_method(self):
        self.assertEqual(self.run_.label, "toy, grpo")
        self.assertIn("cwpem_last", summary_table([self.run_]))
        self.assertAlmostEqual(summary_table([self.run_])["cwpem_last"][0], 0.7)
        self.assertEqual(summary_table([self.run_])["method"][0], "grpo")

    def test_other_runs_have_no_trials(self):
        other = open_run(write_run(self.folder / "b.h5"))
        self.assertIsNone(other.trials)
        self.assertIsNone(other.labels)


class ReadingTest(FolderTest):
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

    def test_settings_are_flat_and_can_be_grouped_by(self):
        settings = self.run_.settings
        self.assertEqual(settings["federation.method"], "fedlora")
        self.assertEqual(settings["adapter.targets"], "[query, value]")
        self.assertEqual(settings["population.compute_flops"], "{uniform: [5e+11, 2e+12]}")
        self.assertEqual(settings["cell.bandwidth_hz"], 2e7)
        self.assertNotIn("federation", settings)

    def test_units_table_lists_index_and_columns(self):
        table = units_table(self.run_.rounds)
        self.assertEqual(table.loc["energy_j", "unit"], "J")
        self.assertEqual(table.loc["round", "description"], "what round means")

    def test_an_absent_group_is_an_empty_frame(self):
        with h5py.File(self.folder / "a.h5", "a") as file:
            del file["participation"]
        self.assertTrue(open_run(self.folder / "a.h5").participation.empty)


class FaultsTest(FolderTest):
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

    def test_a_newer_format_is_refused(self):
        path = write_run(self.folder / "a.h5")
        with h5py.File(path, "a") as file:
            file.attrs["fedcell_format"] = 2.0
        self.check_refused(path, "of format 2; this reader knows formats up to 1")

    def test_columns_of_different_length(self):
        rounds = {"round": ("", [0, 1]), "flop": ("FLOP", [1.0])}
        path = write_run(self.folder / "a.h5", rounds=rounds)
        self.check_refused(path, "columns of /rounds differ in length: {'flop': 1, 'round': 2}")

    def test_truncated_file_is_an_error_not_a_crash(self):
        path = write_run(self.folder / "a.h5")
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with self.assertRaises(ResultError) as caught:
            open_run(path).rounds
        self.assertIn(f"{path}: cannot be read: ", str(caught.exception))

    def test_folder_lists_what_it_leaves_out(self):
        write_run(self.folder / "b.h5")
        (self.folder / "deep").mkdir()
        write_run(self.folder / "deep" / "a.h5")
        h5py.File(self.folder / "other.h5", "w").close()
        damaged = write_run(self.folder / "damaged.h5")
        damaged.write_bytes(damaged.read_bytes()[:3000])
        write_run(self.folder / "c.ckpt.h5", checkpoint=True)
        runs = open_folder(self.folder)
        self.assertEqual([run.path.name for run in runs], ["b.h5", "a.h5"])
        reasons = {path.name: reason for path, reason in runs.set_aside}
        self.assertEqual(reasons["other.h5"], "not a fedcell result (no group /rounds)")
        self.assertEqual(reasons["c.ckpt.h5"], "unfinished: round 3 of 3")
        self.assertTrue(reasons["damaged.h5"].startswith("cannot be read: "), reasons)
        self.assertEqual(len(reasons), 3)
        with self.assertRaises(ResultError):
            open_folder(self.folder / "none")


class SummaryTest(FolderTest):
    def test_totals_are_sums_the_clock_is_its_last_value(self):
        table = summary_table([open_run(write_run(self.folder / "a.h5"))])
        row = table.iloc[0]
        self.assertEqual(row["rounds"], 3)
        self.assertEqual(row["sim_time_s"], 30.0)
        self.assertEqual(row["energy_j"], 2000.0)
        self.assertEqual(row["uplink_bits"], 12e6)
        self.assertEqual(row["traffic_bytes"], 4.5e6)  # 3 rounds of (4 + 8) Mbit
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

    def test_a_total_with_an_unknown_part_is_unknown(self):
        rounds = rounds_with(energy_j=[0.0, 1000.0, numpy.nan, 500.0])
        row = summary_table([open_run(write_run(self.folder / "a.h5", rounds=rounds))]).iloc[0]
        self.assertTrue(numpy.isnan(row["energy_j"]))
        self.assertEqual(row["traffic_bytes"], 4.5e6)

    def test_scale_finds_the_prefix(self):
        self.assertEqual(scale(999.0, "J"), (1.0, "J"))
        self.assertEqual(scale(2.5e9, "bit"), (1e9, "Gbit"))
        self.assertEqual(scale(36000.0, "s"), (3600.0, "h"))
        self.assertEqual(scale(1e9, ""), (1.0, ""))
        self.assertEqual(scale(0.02, "s"), (1e-3, "ms"))
        self.assertEqual(scale(3599.0, "s"), (1.0, "s"))
        self.assertEqual(scale(0.0, "J"), (1.0, "J"))
        self.assertEqual(scale(0.5, "bit"), (1.0, "bit"))
        self.assertEqual(scale(numpy.nan, "J"), (1.0, "J"))

    def test_numbers_as_a_person_reads_them(self):
        self.assertEqual(quantity(1234567.0, "J"), "1.235 MJ")
        self.assertEqual(quantity(numpy.nan, "J"), "-")
        self.assertEqual(plus_minus(530e-6, 182e-6, "s"), "530 ± 182 µs")
        self.assertEqual(plus_minus(1.23456, 0.0123), "1.235 ± 0.012")
        self.assertEqual(plus_minus(1500.0, numpy.nan, "J"), "1.5 kJ")
        self.assertEqual(plus_minus(numpy.nan, 1.0, "J"), "-")
        self.assertEqual(plus_minus(0.0, 0.0, "J"), "0 J")

    def test_command_line(self):
        write_run(self.folder / "a.h5")
        write_run(self.folder / "b.h5", seed=2)
        code, out, _ = run_main("summary", "--csv", self.folder)
        self.assertEqual(code, 0)
        self.assertEqual(len(out.splitlines()), 3)
        code, out, err = run_main("summary", self.folder / "none.h5")
        self.assertEqual((code, out), (2, ""))
        self.assertEqual(err, f"fedcell_results: {self.folder}/none.h5: no such file\n")

    def test_command_line_goes_on_after_a_damaged_file_of_a_folder(self):
        write_run(self.folder / "a.h5")
        (self.folder / "b.h5").write_text("nothing")
        code, out, err = run_main("summary", "--csv", self.folder)
        self.assertEqual((code, len(out.splitlines())), (0, 2))
        self.assertEqual(err, f"fedcell_results: left out {self.folder}/b.h5: not an HDF5 file\n")

    def test_command_line_refuses_an_empty_folder_and_wrong_calls(self):
        text = f"fedcell_results: {self.folder}: no finished result in this folder\n"
        for command in ("summary", "plot", "report"):
            self.assertEqual(run_main(command, self.folder), (2, "", text))
        self.assertEqual(run_main("reprot", self.folder)[0], 2)
        self.assertEqual(run_main("summary")[0], 2)


if __name__ == "__main__":
    unittest.main()
