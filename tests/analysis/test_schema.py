"""The files that these tests write are like the program's: same groups, columns and units."""

import unittest

import fixtures
from fedcell_results import device_table, open_folder


class SchemaTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.runs = open_folder(fixtures.real_results())

    def check(self, frame, columns):
        units = frame.attrs["units"]
        for name, (unit, _) in columns.items():
            self.assertIn(name, units)
            self.assertEqual(units[name], unit, name)
            self.assertTrue(frame.attrs["descriptions"][name])

    def test_columns_and_units(self):
        run = self.runs.where({"federation.method": "fedlora"})[0]
        self.check(run.rounds, fixtures.ROUNDS)
        self.check(run.participation, fixtures.PARTICIPATION)
        self.check(run.profile, fixtures.PROFILE)

    def test_provenance_and_settings(self):
        run = self.runs[0]
        for name in ("version", "git_commit", "written", "command_line", "ranks"):
            self.assertIn(name, run.provenance)
        self.assertEqual(run.settings["population.compute_flops"], "{uniform: [5e+11, 2e+12]}")
        self.assertEqual(run.settings["adapter.targets"], "[query, value]")
        self.assertEqual(self.runs.factors, ["federation.method"])
        self.assertEqual({len(part) for part in self.runs.groups.values()}, {2})

    def test_devices_energy_is_the_rounds_energy(self):
        run = self.runs.where({"federation.method": "fedlora"})[0]
        table = device_table(run)
        self.assertEqual(len(table), 12)
        self.assertAlmostEqual(table["energy_j"].sum(), run.rounds["energy_j"].sum(), places=12)
        self.assertEqual(table["participations"].sum(), run.rounds["participants"].sum())


if __name__ == "__main__":
    unittest.main()
