"""Cost to target and Pareto fronts against values worked out by hand (costs: see fixtures.ROUNDS)."""

import math
import unittest

import numpy

from fedcell_results import (
    common_target,
    cost_to_target,
    default_target,
    open_folder,
    pareto_front,
    target_intervals,
)
from fixtures import FolderTest, rounds_with, write_run


class TargetTest(FolderTest):
    def setUp(self):
        super().setUp()
        late = rounds_with(test_accuracy=[0.5, numpy.nan, 0.6, 0.75])
        write_run(self.folder / "a.h5", 1)  # 0.5, -, 0.8, 0.75
        write_run(self.folder / "b.h5", 2, rounds=late)
        write_run(
            self.folder / "c.h5",
            1,
            method="local",
            rounds=rounds_with(test_accuracy=[0.5, 0.5, 0.5, 0.5]),
        )
        self.runs = open_folder(self.folder)

    def test_costs_up_to_the_first_evaluation_that_meets_it(self):
        table = cost_to_target(self.runs, "test_accuracy", 0.75).set_index("run")
        a, b = table.loc["a"], table.loc["b"]
        self.assertEqual(
            (a["rounds"], a["sim_time_s"], a["energy_j"], a["traffic_bytes"]),
            (2, 25.0, 1500.0, 3e6),
        )
        self.assertEqual(
            (b["rounds"], b["sim_time_s"], b["energy_j"], b["traffic_bytes"]),
            (3, 30.0, 2000.0, 4.5e6),
        )
        self.assertEqual(
            (a["round_before"], b["round_before"]), (0, 2)
        )  # round 1 was not evaluated

    def test_a_loss_is_reached_from_above(self):
        table = cost_to_target(self.runs, "test_loss", 0.5).set_index("run")
        self.assertEqual(table.loc["a", "rounds"], 2)
        self.assertTrue(table["reached"].all())

    def test_met_before_training_costs_nothing(self):
        row = cost_to_target(self.runs, "test_accuracy", 0.5).iloc[0]
        self.assertEqual((row["rounds"], row["energy_j"]), (0, 0.0))
        self.assertTrue(math.isnan(row["round_before"]))

    def test_not_reached_has_no_cost_but_what_was_spent(self):
        row = cost_to_target(self.runs, "test_accuracy", 0.75).set_index("run").loc["c"]
        self.assertFalse(row["reached"])
        self.assertTrue(math.isnan(row["energy_j"]) and math.isnan(row["rounds"]))
        self.assertEqual(
            (row["spent_rounds"], row["spent_energy_j"], row["round_before"]), (3, 2000.0, 3)
        )

    def test_groups_that_all_reach_it_have_a_mean_and_an_interval(self):
        found = target_intervals(cost_to_target(self.runs, "test_accuracy", 0.75))
        row = found.set_index(["group", "quantity"]).loc[("fedlora", "energy_j")]
        self.assertEqual((row["mean"], row["reached"], row["n"], row["unit"]), (1750.0, 2, 2, "J"))
        # s = 500 / sqrt 2; half = 12.7062 s / sqrt 2 = 3176.55
        self.assertAlmostEqual(row["high"] - row["mean"], 3176.55, places=1)
        self.assertTrue(math.isnan(row["at_least"]))

    def test_groups_with_a_run_that_does_not_have_a_lower_bound_only(self):
        found = target_intervals(cost_to_target(self.runs, "test_accuracy", 0.8))
        row = found.set_index(["group", "quantity"]).loc[("fedlora", "energy_j")]
        self.assertEqual((row["reached"], row["n"]), (1, 2))
        self.assertTrue(math.isnan(row["mean"]) and math.isnan(row["low"]))
        self.assertEqual(row["at_least"], (1500.0 + 2000.0) / 2)

    def test_units_are_kept(self):
        units = cost_to_target(self.runs, "test_accuracy", 0.75).attrs["units"]
        self.assertEqual((units["sim_time_s"], units["spent_traffic_bytes"]), ("s", "B"))

    def test_a_missing_cost_is_not_zero(self):
        write_run(self.folder / "a.h5", rounds=rounds_with(energy_j=None))
        row = cost_to_target(open_folder(self.folder), "test_accuracy", 0.75).iloc[0]
        self.assertEqual(row["rounds"], 2)
        self.assertTrue(math.isnan(row["energy_j"]) and math.isnan(row["spent_energy_j"]))

    def test_default_target_is_nine_tenths_of_the_way_of_the_better_of_two(self):
        # best of fedlora: the mean of 0.8 and 0.75; all start at 0.5
        self.assertEqual(default_target(self.runs, "test_accuracy"), round(0.5 + 0.9 * 0.275, 3))
        self.assertEqual(default_target(self.runs, "test_loss"), round(0.69 - 0.9 * 0.24, 3))

    def test_no_default_target_where_nothing_was_measured(self):
        nothing = rounds_with(test_accuracy=[numpy.nan] * 4)
        for name in "abc":
            write_run(self.folder / f"{name}.h5", rounds=nothing)
        self.assertTrue(math.isnan(default_target(open_folder(self.folder), "test_accuracy")))

    def test_the_common_target_is_the_worst_runs_best(self):
        self.assertEqual(common_target(self.runs, "test_accuracy"), 0.5)  # of the run "c"
        self.assertEqual(common_target(self.runs.where({"seed": 2}), "test_accuracy"), 0.75)

    def test_the_common_target_is_rounded_so_that_all_reach_it(self):
        close = rounds_with(
            test_loss=[0.69, numpy.nan, 0.45, 0.45049], test_accuracy=[0.5, 0.5, 0.7, 0.75049]
        )
        worse = rounds_with(
            test_loss=[0.69, numpy.nan, 0.47012, 0.6], test_accuracy=[0.5, 0.5, 0.7, 0.76]
        )
        for name, rounds in (("a", close), ("b", close), ("c", worse)):
            write_run(self.folder / f"{name}.h5", rounds=rounds)
        runs = open_folder(self.folder)
        for metric, target in (("test_loss", 0.471), ("test_accuracy", 0.75)):
            self.assertEqual(common_target(runs, metric), target)
            self.assertTrue(cost_to_target(runs, metric, target)["reached"].all())

    def test_no_common_target_where_a_run_measured_nothing(self):
        write_run(self.folder / "c.h5", rounds=rounds_with(test_accuracy=[numpy.nan] * 4))
        self.assertTrue(math.isnan(common_target(open_folder(self.folder), "test_accuracy")))
        self.assertTrue(math.isnan(common_target(self.runs.where({"seed": 9}), "test_accuracy")))


class ParetoTest(unittest.TestCase):
    def test_front(self):
        cost, value = [1, 2, 3, 4, 2], [0.5, 0.7, 0.6, 0.9, 0.6]
        self.assertEqual(list(pareto_front(cost, value)), [True, True, False, True, False])

    def test_where_less_is_better(self):
        self.assertEqual(
            list(pareto_front([1, 2, 3], [0.5, 0.4, 0.45], "min")), [True, True, False]
        )

    def test_twins_are_both_on_it_and_nan_never(self):
        self.assertEqual(
            list(pareto_front([1, 1, math.nan, 0], [0.5, 0.5, 0.9, math.nan])),
            [True, True, False, False],
        )


if __name__ == "__main__":
    unittest.main()
