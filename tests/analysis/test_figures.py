"""What the figures draw: the lines' and bars' own numbers, labels with units, files."""

import unittest

import numpy

from fedcell_results import (
    ResultError, device_table, figure_curves, figure_devices, figure_pareto, figure_target, open_folder, open_run, save,
)  # fmt: skip
from fixtures import PROFILE, FolderTest, rounds_with, run_main, write_run


class CurvesTest(FolderTest):
    def test_curves_are_what_was_measured(self):
        figure = figure_curves([open_run(write_run(self.folder / "a.h5"))])
        self.assertEqual(len(figure.axes), 12)  # three metrics over four costs
        by_round, by_time, by_energy, by_bytes = (axes.lines[0] for axes in figure.axes[:4])
        self.assertEqual(list(by_round.get_xdata()), [0, 2, 3])
        self.assertEqual(list(by_round.get_ydata()), [0.5, 0.8, 0.75])
        self.assertEqual(list(by_time.get_xdata()), [0.0, 25.0, 30.0])
        self.assertEqual(list(by_energy.get_xdata()), [0.0, 1.5, 2.0])  # kJ, summed up
        self.assertEqual(list(by_bytes.get_xdata()), [0.0, 3.0, 4.5])  # MB
        self.assertEqual(
            [axes.get_xlabel() for axes in figure.axes[-4:]],
            [
                "Rounds",
                "Simulated time (s)",
                "Energy of all devices (kJ)",
                "Traffic, up and down (MB)",
            ],
        )
        labels = [figure.axes[i].get_ylabel() for i in (0, 4, 8)]
        self.assertEqual(labels, ["Test accuracy (%)", "Test loss (nat)", "Training loss (nat)"])

    def test_seeds_are_one_line_with_a_band_and_methods_differ_in_colour(self):
        write_run(self.folder / "a.h5")
        write_run(
            self.folder / "b.h5",
            seed=2,
            rounds=rounds_with(test_accuracy=[0.5, numpy.nan, 0.6, 0.85]),
        )
        write_run(self.folder / "c.h5", method="local")
        figure = figure_curves(open_folder(self.folder), metrics=["test_accuracy"])
        axes = figure.axes[0]
        fedlora, local = axes.lines
        numpy.testing.assert_allclose(fedlora.get_ydata(), [0.5, 0.7, 0.8])
        self.assertNotEqual(fedlora.get_color(), local.get_color())
        highest = axes.collections[0].get_paths()[0].vertices[:, 1].max()
        self.assertAlmostEqual(
            highest, 0.7 + 12.7062 * 0.2 / 2, places=4
        )  # s = 0.2 / sqrt 2, n = 2
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        self.assertEqual(names, ["fedlora (2 seeds)", "local"])

    def test_a_wide_interval_does_not_push_the_lines_together(self):
        write_run(self.folder / "a.h5", rounds=rounds_with(test_accuracy=[0.5, 0.5, 0.6, 0.8]))
        write_run(
            self.folder / "b.h5", seed=2, rounds=rounds_with(test_accuracy=[0.5, 0.5, 0.4, 0.9])
        )
        axes = figure_curves(open_folder(self.folder)).axes[
            0
        ]  # means 0.5 to 0.85, bands far beyond 0 and 1
        numpy.testing.assert_allclose(axes.get_ylim(), [0.15 - 0.0425, 1.0 + 0.0425])

    def test_seeds_that_never_evaluated_the_same_round_have_no_mean_over_rounds(self):
        nan = numpy.nan
        write_run(self.folder / "a.h5", rounds=rounds_with(test_accuracy=[nan, 0.6, nan, 0.8]))
        write_run(
            self.folder / "b.h5", seed=2, rounds=rounds_with(test_accuracy=[0.5, nan, 0.7, nan])
        )
        figure = figure_curves(open_folder(self.folder), metrics=["test_accuracy"])
        self.assertEqual([len(axes.lines) for axes in figure.axes], [0, 1, 1, 1])

    def test_nothing_measured_is_told(self):
        path = write_run(
            self.folder / "a.h5", rounds={"round": ("", [0]), "test_loss": ("", [numpy.nan])}
        )
        code, out, err = run_main("plot", path)
        self.assertEqual((code, out), (2, ""))
        self.assertEqual(err, f"fedcell_results: {path}: no accuracy and no loss to plot\n")

    def test_missing_columns_leave_their_panels_out(self):
        path = write_run(
            self.folder / "a.h5",
            rounds=rounds_with(energy_j=None, uplink_bits=None, test_loss=None),
        )
        self.assertEqual(len(figure_curves([open_run(path)]).axes), 4)  # two metrics over two costs


class FilesTest(FolderTest):
    def test_files_are_written_beside_the_result(self):
        write_run(self.folder / "a.h5")
        code, out, _ = run_main("plot", self.folder / "a.h5")
        self.assertEqual(code, 0)
        self.assertEqual(out.split(), [str(self.folder / "a.png"), str(self.folder / "a.pdf")])
        self.assertEqual((self.folder / "a.png").read_bytes()[:4], b"\x89PNG")
        self.assertEqual((self.folder / "a.pdf").read_bytes()[:5], b"%PDF-")

    def test_files_of_a_folder_go_into_it(self):
        write_run(self.folder / "a.h5")
        out = run_main("plot", self.folder, "--figure", "target")[1]
        self.assertEqual(out.split(), [f"{self.folder}/target.png", f"{self.folder}/target.pdf"])

    def test_every_kind_of_figure_can_be_asked_for(self):
        write_run(self.folder / "a.h5")
        write_run(self.folder / "b.h5", method="local")
        for kind in ("curves", "pareto", "target", "devices"):
            prefix = self.folder / "figures" / kind
            code, _, err = run_main("plot", self.folder, "--figure", kind, "--output", prefix)
            self.assertEqual((code, err), (0, ""))
            self.assertTrue(prefix.with_suffix(".pdf").is_file())
        self.assertEqual(run_main("plot", self.folder, "--figure", "pie")[0], 2)

    def test_a_place_that_cannot_be_written_is_another_failure(self):
        write_run(self.folder / "a.h5")
        (self.folder / "file").write_text("")
        code, _, err = run_main(
            "plot", self.folder / "a.h5", "--output", self.folder / "file" / "x"
        )
        self.assertEqual(code, 1)
        self.assertTrue(err.startswith("fedcell_results: "), err)

    def test_size_in_inches_and_the_same_svg_again(self):
        figure = figure_curves([open_run(write_run(self.folder / "a.h5"))], width_in=3.5)
        self.assertEqual(figure.get_size_inches()[0], 3.5)
        self.assertTrue(save(figure, self.folder / "x.y", formats=["svg"])[0].name == "x.y.svg")


class OtherFiguresTest(FolderTest):
    def setUp(self):
        super().setUp()
        write_run(self.folder / "a.h5")
        never = rounds_with(
            test_accuracy=[0.5, 0.5, 0.5, 0.5], energy_j=[0.0, 3000.0, 3000.0, 3000.0]
        )
        write_run(self.folder / "b.h5", method="local", rounds=never)
        self.runs = open_folder(self.folder)

    def test_bars_to_a_target_tell_who_did_not_reach_it(self):
        figure = figure_target(self.runs, "test_accuracy", 0.75)
        energy = figure.axes[2]
        self.assertEqual(energy.get_xlabel(), "Energy of all devices (kJ)")
        self.assertEqual([bar.get_width() for bar in energy.patches], [1.5, 9.0])
        self.assertEqual([bar.get_hatch() for bar in energy.patches], [None, "////"])
        self.assertEqual([text.get_text() for text in energy.texts], ["1.5 kJ", "not reached"])
        self.assertEqual(figure._suptitle.get_text(), "Until test accuracy ≥ 75 %")

    def test_a_cost_that_one_run_does_not_tell_has_no_bar(self):
        write_run(self.folder / "c.h5", seed=2, rounds=rounds_with(energy_j=None))
        figure = figure_target(open_folder(self.folder), "test_accuracy", 0.75)
        texts = [text.get_text() for text in figure.axes[2].texts]
        self.assertEqual(texts, ["-", "not reached"])

    def test_a_pareto_front_joins_the_undominated(self):
        write_run(self.folder / "c.h5", rank=4, rounds=rounds_with(
            test_accuracy=[0.5, 0.5, 0.5, 0.9], energy_j=[0.0, 1500.0, 1500.0, 1000.0]))  # fmt: skip
        figure = figure_pareto(open_folder(self.folder), costs=["energy_j"])
        front = figure.axes[0].lines[-1]
        self.assertEqual(list(front.get_xdata()), [2.0, 4.0])  # kJ; local's 9 kJ for 0.5 is beaten
        self.assertEqual(list(front.get_ydata()), [0.75, 0.9])

    def test_each_device_is_where_its_distance_says(self):
        figure = figure_devices(self.runs[0])
        points = figure.axes[0].collections[1].get_offsets()
        numpy.testing.assert_allclose(numpy.hypot(*points.T), [100.0, 200.0, 300.0, 400.0])

    def test_devices_without_a_distance_are_told(self):
        import h5py

        with h5py.File(self.folder / "a.h5", "a") as file:
            del file["profile/distance_m"]
        with self.assertRaises(ResultError) as caught:
            figure_devices(open_run(self.folder / "a.h5"))
        self.assertEqual(
            str(caught.exception),
            f"{self.folder}/a.h5: no devices with a distance and participations to map",
        )


class DeviceTableTest(FolderTest):
    def test_what_became_of_each_device(self):
        table = device_table(open_run(write_run(self.folder / "a.h5")))
        self.assertEqual(list(table.index), PROFILE["device"][1])
        self.assertEqual(list(table["participations"]), [2, 0, 1, 1])
        self.assertEqual(table.loc[0, "latency_s"], 6.0)  # of 8 and 4
        self.assertEqual(table.loc[0, "energy_j"], 1100.0)
        self.assertEqual(table.loc[5, "delivered_share"], 0.0)
        self.assertEqual(table.loc[1, "energy_j"], 0.0)  # never asked: spent nothing,
        self.assertTrue(numpy.isnan(table.loc[1, "latency_s"]))  # and has no latency
        self.assertEqual(table.attrs["units"]["latency_s"], "s")
        self.assertEqual(table.attrs["units"]["compute_flops"], "FLOP/s")


if __name__ == "__main__":
    unittest.main()
