"""Intervals, paired differences and bands against values worked out by hand.

Student's t at 97.5 %: 12.7062 with one degree of freedom, 4.30265 with two."""

import math
import unittest

import numpy
import pandas

from fedcell_results import (
    ResultError,
    band,
    interval,
    intervals,
    open_folder,
    paired_differences,
    text_table,
)
from fixtures import FolderTest, rounds_with, write_run


class IntervalTest(unittest.TestCase):
    def test_three_values(self):
        found = interval([1.0, 2.0, 3.0])  # s = 1
        self.assertEqual((found.mean, found.n), (2.0, 3))
        self.assertAlmostEqual(found.half, 4.30265 / math.sqrt(3), places=5)
        self.assertAlmostEqual(found.low, 2.0 - 2.48414, places=5)

    def test_another_level(self):
        self.assertAlmostEqual(
            interval([1.0, 2.0, 3.0], level=0.9).half, 2.91999 / math.sqrt(3), places=5
        )

    def test_one_value_has_no_interval(self):
        found = interval([5.0])
        self.assertEqual((found.mean, found.n), (5.0, 1))
        self.assertTrue(math.isnan(found.low) and math.isnan(found.high) and math.isnan(found.half))

    def test_no_value(self):
        self.assertTrue(math.isnan(interval([]).mean))

    def test_an_unknown_value_is_not_dropped(self):
        found = interval([1.0, math.nan, 3.0])
        self.assertTrue(math.isnan(found.mean) and math.isnan(found.low))
        self.assertEqual(found.n, 3)


def accuracies(last):
    return rounds_with(test_accuracy=[0.5, numpy.nan, 0.6, last])


class TablesTest(FolderTest):
    """fedlora: 0.7 and 0.8; local: 0.5 and 0.5, on the seeds 1 and 2."""

    def setUp(self):
        super().setUp()
        for method, ends in (("fedlora", (0.7, 0.8)), ("local", (0.5, 0.5))):
            for seed, last in enumerate(ends, start=1):
                write_run(self.folder / f"{method}{seed}.h5", seed, method, accuracies(last))
        self.table = open_folder(self.folder).table()

    def test_intervals_by_group(self):
        found = intervals(self.table, columns=["test_accuracy_last", "energy_j"])
        row = found.set_index(["group", "quantity"]).loc[("fedlora", "test_accuracy_last")]
        self.assertAlmostEqual(row["mean"], 0.75)
        # s = 0.1 / sqrt 2, so half = 12.7062 s / sqrt 2 = 0.63531
        self.assertAlmostEqual((row["high"] - row["low"]) / 2, 0.63531, places=5)
        self.assertEqual(set(found["unit"]), {"", "J"})

    def test_intervals_by_any_setting_over_all_figures(self):
        found = intervals(self.table, by=["federation.method", "seed"])
        self.assertEqual(set(found["n"]), {1})
        self.assertIn("wall_time_s", set(found["quantity"]))
        self.assertNotIn("adapter.rank", set(found["quantity"]))

    def test_readable_with_units_and_shares_in_per_cent(self):
        found = text_table(
            intervals(self.table, columns=["test_accuracy_last", "energy_j", "flop"])
        )
        self.assertEqual(list(found.index), ["fedlora", "local"])
        self.assertEqual(list(found.loc["fedlora"]), ["75 ± 64 %", "2 kJ", "-"])

    def test_paired_differences(self):
        found = paired_differences(self.table, "local", columns=["test_accuracy_last"])
        self.assertEqual(len(found), 1)
        row = found.iloc[0]
        self.assertEqual((row["group"], row["baseline"], row["n"]), ("fedlora", "local", 2))
        self.assertAlmostEqual(row["mean"], 0.25)  # of 0.2 and 0.3
        self.assertAlmostEqual(row["high"] - row["mean"], 0.63531, places=5)

    def test_relative_differences_are_in_per_cent_of_the_baselines_run(self):
        columns = ["test_accuracy_last", "energy_j"]
        found = paired_differences(self.table, "fedlora", columns=columns, relative=True)
        row = found.iloc[0]
        self.assertEqual((row["group"], row["unit"], row["n"]), ("local", "%", 2))
        first, second = -100 * 0.2 / 0.7, -100 * 0.3 / 0.8  # pairs, not the ratio of the means
        self.assertAlmostEqual(row["mean"], (first + second) / 2)
        half = 12.7062 * abs(first - second) / 2  # s / sqrt 2 = |a - b| / 2
        self.assertAlmostEqual(row["high"] - row["mean"], half, places=3)
        self.assertEqual(list(text_table(found).loc["local"]), ["-33 ± 57 %", "0 %"])

    def test_what_the_arithmetic_alone_makes_is_no_difference(self):
        self.table["energy_j"] = [0.1, 0.7, 0.1 * 3 / 3, 0.7 * 3 / 3]
        row = paired_differences(self.table, "fedlora", columns=["energy_j"], relative=True).iloc[0]
        self.assertEqual((row["mean"], row["low"], row["high"]), (0.0, 0.0, 0.0))

    def test_nothing_is_no_base_to_compare_with(self):
        self.table["energy_j"] = self.table["energy_j"].where(self.table["group"] == "local", 0.0)
        found = paired_differences(self.table, "fedlora", columns=["energy_j"], relative=True)
        self.assertTrue(math.isnan(found.iloc[0]["mean"]))

    def test_pairs_are_the_seeds_that_both_have(self):
        table = self.table.drop(index="local2")
        row = paired_differences(table, "local", columns=["test_accuracy_last"]).iloc[0]
        self.assertEqual(row["n"], 1)
        self.assertAlmostEqual(row["mean"], 0.2)
        self.assertTrue(math.isnan(row["low"]))

    def test_an_unknown_baseline_is_told(self):
        with self.assertRaises(ResultError) as caught:
            paired_differences(self.table, "lokal")
        self.assertEqual(
            str(caught.exception), "no run with group = lokal; there are: ['fedlora', 'local']"
        )

    def test_ambiguous_pairs_are_told(self):
        twice = pandas.concat([self.table, self.table])
        twice.attrs = self.table.attrs
        with self.assertRaises(ResultError) as caught:
            paired_differences(twice, "local")
        self.assertIn("several runs with the same group and seed", str(caught.exception))


class BandTest(FolderTest):
    def open_two(self, first, second):
        write_run(self.folder / "a.h5", 1, rounds=first)
        write_run(self.folder / "b.h5", 2, rounds=second)
        return open_folder(self.folder)

    def test_over_rounds_at_those_that_all_evaluated(self):
        runs = self.open_two(
            rounds_with(test_accuracy=[0.5, 0.6, 0.7, 0.9]),
            rounds_with(test_accuracy=[0.5, numpy.nan, 0.8, 0.9]),
        )
        found = band(runs, "test_accuracy", "rounds")
        self.assertEqual(list(found["x"]), [0, 2, 3])
        numpy.testing.assert_allclose(found["mean"], [0.5, 0.75, 0.9])
        # s = 0.1 / sqrt 2 in round 2
        numpy.testing.assert_allclose(found["high"] - found["low"], [0, 2 * 0.63531, 0], atol=1e-5)

    def test_over_time_linear_between_and_only_as_far_as_all_go(self):
        line = [0.0, 0.1, 0.2, 0.3]
        runs = self.open_two(
            rounds_with(test_accuracy=line, sim_time_s=[0.0, 10.0, 20.0, 30.0]),
            rounds_with(test_accuracy=line, sim_time_s=[0.0, 20.0, 40.0, 60.0]),
        )
        found = band(runs, "test_accuracy", "sim_time_s")
        self.assertEqual((found["x"].iloc[0], found["x"].iloc[-1]), (0.0, 30.0))
        self.assertAlmostEqual(found["mean"].iloc[-1], (0.3 + 0.15) / 2)
        middle = found.iloc[(found["x"] - 15.0).abs().argmin()]
        self.assertAlmostEqual(middle["mean"], middle["x"] * (0.01 + 0.005) / 2)

    def test_one_run_is_its_own_points_without_band(self):
        write_run(self.folder / "a.h5")
        found = band(open_folder(self.folder), "test_accuracy", "energy_j")
        self.assertEqual(list(found["x"]), [0.0, 1500.0, 2000.0])
        self.assertTrue(found["low"].isna().all())

    def test_a_cost_that_is_not_spent_or_not_told_gives_no_curve(self):
        runs = self.open_two(rounds_with(energy_j=[0, 0, 0, 0]), rounds_with(energy_j=None))
        self.assertEqual(len(band(runs, "test_accuracy", "energy_j")), 0)
        self.assertEqual(len(band(runs, "no_such_metric")), 0)

    def test_after_an_unknown_energy_the_curve_ends(self):
        line = [0.5, 0.6, 0.7, 0.8]
        runs = self.open_two(
            rounds_with(test_accuracy=line, energy_j=[0.0, 1000.0, numpy.nan, 500.0]), rounds_with()
        )
        self.assertEqual(band(runs, "test_accuracy", "energy_j")["x"].iloc[-1], 1000.0)

    def test_a_run_without_the_curve_is_not_left_out_of_the_mean(self):
        runs = self.open_two(rounds_with(energy_j=None), rounds_with())
        self.assertEqual(len(band(runs, "test_accuracy", "energy_j")), 0)


if __name__ == "__main__":
    unittest.main()
