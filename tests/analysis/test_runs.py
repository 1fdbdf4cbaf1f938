"""Many files: what tells the runs apart, groups over seeds, tables of all runs."""

import math
import unittest

from fedcell_results import open_folder, units_table
from fixtures import FolderTest, write_run


class RunsTest(FolderTest):
    def write(self, name, **settings):
        write_run(self.folder / f"{name}.h5", **settings)

    def open(self):
        return open_folder(self.folder)


class GroupingTest(RunsTest):
    def test_runs_that_differ_in_their_seed_are_one_group(self):
        self.write("a", seed=1)
        self.write("b", seed=2)
        runs = self.open()
        self.assertEqual(runs.differing, ["seed"])
        self.assertEqual(runs.factors, [])
        self.assertEqual([len(part) for part in runs.groups.values()], [2])
        self.assertEqual(list(runs.groups), ["toy, fedlora"])

    def test_an_option_that_follows_from_the_method_is_no_factor(self):
        self.write("a", method="fedlora", rank=8)
        self.write("b", method="local", rank=4)
        runs = self.open()
        self.assertEqual(runs.differing, ["adapter.rank", "federation.method"])
        self.assertEqual(runs.factors, ["federation.method"])
        self.assertEqual(list(runs.groups), ["fedlora", "local"])

    def test_an_option_that_splits_a_method_is_one_and_numbers_are_sorted_as_numbers(self):
        self.write("a", method="fedlora", rank=16)
        self.write("b", method="fedlora", rank=8)
        self.write("c", method="local", rank=8)
        runs = self.open()
        self.assertEqual(runs.factors, ["federation.method", "adapter.rank"])
        self.assertEqual(
            list(runs.groups), ["fedlora, rank 8", "fedlora, rank 16", "local, rank 8"]
        )
        self.assertEqual(runs.group_of(runs[0]), "fedlora, rank 16")

    def test_an_option_that_older_files_lack_splits_nothing(self):
        self.write("a", seed=1)
        self.write("b", seed=2, without="noise_dbm_per_hz")
        runs = self.open()
        self.assertEqual(runs.differing, ["seed"])
        self.assertEqual(len(runs.groups), 1)
        self.assertEqual(runs.common["cell.noise_dbm_per_hz"], -174)

    def test_runs_alike_even_in_the_seed_go_by_their_name_and_count_once(self):
        self.write("a")
        self.write("b")
        self.write("c", seed=2)
        runs = self.open()
        self.assertEqual(list(runs.groups), ["a", "b", "c"])
        distinct = runs.distinct()
        self.assertEqual([run.path.stem for run in distinct], ["a", "c"])
        self.assertEqual(
            distinct.set_aside, ((self.folder / "b.h5", "same settings and seed as a"),)
        )
        self.assertEqual([len(part) for part in distinct.groups.values()], [2])

    def test_files_of_one_name_go_by_their_path(self):
        for name in ("x", "y"):
            (self.folder / name).mkdir()
        self.write("x/run", seed=1)
        self.write("y/run", seed=2)
        runs = self.open()
        self.assertEqual([runs.name_of(run) for run in runs], ["x/run", "y/run"])

    def test_where_selects_by_any_option(self):
        self.write("a", seed=1, rank=4)
        self.write("b", seed=2, rank=8)
        found = self.open().where({"adapter.rank": 8})
        self.assertEqual([run.path.stem for run in found], ["b"])
        self.assertEqual(len(self.open().where({"adapter.rank": 8, "seed": 1})), 0)


class TablesTest(RunsTest):
    def setUp(self):
        super().setUp()
        self.write("a", seed=1)
        self.write("b", seed=2, method="local")
        self.runs = self.open()

    def test_table_has_settings_and_figures_of_each_run(self):
        table = self.runs.table()
        self.assertEqual(list(table.index), ["a", "b"])
        self.assertEqual(table.loc["b", "federation.method"], "local")
        self.assertEqual(table.loc["a", "energy_j"], 2000.0)
        self.assertEqual(table.attrs["units"]["energy_j"], "J")
        self.assertNotIn("adapter.rank", table.attrs["units"])
        self.assertEqual(table.groupby("adapter.rank")["test_accuracy_last"].mean()[8], 0.75)

    def test_rounds_of_all_runs_are_headed_by_what_they_are_of(self):
        rounds = self.runs.rounds()
        self.assertEqual(len(rounds), 8)
        self.assertEqual(list(rounds)[:5], ["run", "group", "seed", "federation.method", "round"])
        self.assertEqual(rounds.groupby("federation.method")["energy_j"].sum()["local"], 2000.0)
        self.assertEqual(rounds.attrs["units"]["energy_j"], "J")
        self.assertEqual(units_table(rounds).loc["sim_time_s", "unit"], "s")

    def test_rows_of_a_group_are_together(self):
        self.write("c", seed=2)
        self.assertEqual(list(self.open().table().index), ["a", "c", "b"])

    def test_other_options_can_be_asked_for(self):
        self.assertIn("adapter.rank", self.runs.rounds("adapter.rank"))

    def test_participants_and_devices_too(self):
        self.assertEqual(len(self.runs.participation()), 8)
        self.assertEqual(
            self.runs.profile().query("run == 'b' and device == 5")["distance_m"].iloc[0], 400.0
        )

    def test_no_runs_give_empty_tables(self):
        none = self.runs.where({"seed": 3})
        self.assertEqual((len(none), len(none.rounds()), len(none.groups)), (0, 0, 0))

    def test_a_setting_that_a_version_lacks_is_not_a_number(self):
        self.write("c", seed=3, without="rank")
        table = self.open().table()
        self.assertTrue(math.isnan(table.loc["c", "adapter.rank"]))


if __name__ == "__main__":
    unittest.main()
