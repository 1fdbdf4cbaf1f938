"""The page to send: what stands on it, that nothing is fetched from elsewhere, and its warnings."""

import html.parser
import unittest
from unittest import mock

import h5py
import numpy

from fedcell_results import Runs, open_folder, open_run
from fedcell_results.checks import complaints
from fedcell_results.report import gather, make_report
from fixtures import FolderTest, real_results, rounds_with, run_main, write_run


class Page(html.parser.HTMLParser):
    """The page's text, images and whatever it refers to."""

    VOID = {"meta", "img", "br", "link"}

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.references, self.words = [], [], [], []
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        attrs = dict(attrs)
        self.references += [attrs[name] for name in ("src", "href") if name in attrs]
        if tag == "img":
            self.images.append(attrs)

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            raise AssertionError(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def not_drawn(draw, alt, size_in=None):
    """Stands in for report._panel where a test is about the words: drawing takes seconds."""
    return {"alt": alt, "source": "data:image/svg+xml;base64,"}


class ReportTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.drawing = mock.patch("fedcell_results.report._panel", not_drawn)
        self.drawing.start()
        self.addCleanup(mock.patch.stopall)

    def write_four(self):
        for seed, last in ((1, 0.7), (2, 0.8)):
            rounds = rounds_with(test_accuracy=[0.5, numpy.nan, 0.6, last])
            write_run(self.folder / f"fedlora-{seed}.h5", seed, rounds=rounds)
            still = rounds_with(test_accuracy=[0.5, numpy.nan, 0.5, 0.5])
            write_run(self.folder / f"local-{seed}.h5", seed, method="local", rounds=still)

    def page(self, *options):
        code, out, err = run_main("report", self.folder, *options)
        self.assertEqual((code, out), (0, f"{self.folder}/report.html\n"), err)
        return Page((self.folder / "report.html").read_text(encoding="utf-8"))

    def test_the_page_is_whole_and_needs_nothing_from_elsewhere(self):
        self.write_four()
        self.drawing.stop()
        page = self.page()
        self.assertEqual(page.open, [])
        self.assertGreater(len(page.images), 12)
        for reference in page.references:
            self.assertTrue(reference.startswith("data:image/svg+xml;base64,"), reference[:80])
        self.assertTrue(all(image["alt"] for image in page.images))

    def test_results_and_differences_have_intervals(self):
        self.write_four()
        page = self.page("--baseline", "local", "--target", "0.6")
        self.assertIn("fedlora 2 75 ± 64 %", page.text)
        self.assertIn("Difference from local, seed by seed", page.text)
        self.assertIn("fedlora 2 25 ± 64 %", page.text)
        self.assertIn("Until test accuracy ≥ 60 %", page.text)
        self.assertIn("federation.method fedlora local", page.text)
        self.assertIn("bandwidth_hz 2e+07", page.text)
        self.assertIn("git commit 0123abcd", page.text)
        self.assertNotIn("Please note", page.text)

    def test_names_are_text_not_markup(self):
        write_run(self.folder / "a.h5", experiment="'<script>x</script> & co'")
        page = self.page("--title", "<b>")
        self.assertIn("<b>", page.text)
        self.assertIn("<script>x</script> & co", page.text)

    def test_one_run_has_no_interval_and_no_comparison(self):
        write_run(self.folder / "a.h5")
        page = self.page()
        self.assertIn("One run only, hence no interval: toy, fedlora.", page.text)
        self.assertIn("toy, fedlora 1 75 % 80 %", page.text)
        self.assertNotIn("Difference from", page.text)
        self.assertNotIn("Trade-offs", page.text)

    def test_what_is_left_out_stands_on_the_page_and_on_stderr(self):
        self.write_four()
        (self.folder / "foreign.h5").write_text("not HDF5")
        write_run(self.folder / "more.ckpt.h5", seed=3, checkpoint=True)
        write_run(
            self.folder / "twin.h5",
            1,
            rounds=rounds_with(test_accuracy=[0.5, 0.5, 0.5, 0.5]),
            method="local",
        )
        code, _, err = run_main("report", self.folder)
        self.assertEqual(code, 0)
        self.assertIn(f"left out {self.folder}/foreign.h5: not an HDF5 file\n", err)
        text = Page((self.folder / "report.html").read_text(encoding="utf-8")).text
        self.assertIn("foreign.h5 is left out: not an HDF5 file.", text)
        self.assertIn("more.ckpt.h5 is left out: unfinished: round 3 of 3.", text)
        self.assertIn("twin.h5 is left out: same settings and seed as local-1.", text)
        self.assertIn("local 2 50 %", text)

    def test_missing_columns_are_left_out_not_zero(self):
        write_run(self.folder / "a.h5", rounds=rounds_with(energy_j=None, test_loss=None))
        page = self.page()
        self.assertNotIn("Test loss", page.text)
        self.assertNotIn("Energy of all devices", " ".join(image["alt"] for image in page.images))

    def test_a_loss_alone_makes_a_page_too(self):
        write_run(self.folder / "a.h5", rounds=rounds_with(test_accuracy=None))
        self.assertIn("Until test loss ≤", self.page().text)

    def test_another_metric_to_compare_by(self):
        write_run(self.folder / "a.h5")
        self.assertIn(
            "Until test loss ≤ 0.5 nat", self.page("--metric", "test_loss", "--target", "0.5").text
        )
        self.assertEqual(run_main("report", self.folder, "--metric", "speed")[0], 2)
        write_run(self.folder / "a.h5", rounds=rounds_with(test_loss=None))
        code, _, err = run_main("report", self.folder, "--metric", "test_loss")
        self.assertEqual((code, err), (2, "fedcell_results: no run has measured test_loss\n"))

    def test_a_wrong_baseline_is_told(self):
        self.write_four()
        code, _, err = run_main("report", self.folder, "--baseline", "lokal")
        self.assertEqual(code, 2)
        self.assertIn("no run with group = lokal; there are: ['fedlora', 'local']", err)
        self.assertFalse((self.folder / "report.html").exists())
        self.assertEqual(run_main("report", self.folder, "--target", "high")[0], 2)

    def test_damaged_participation_costs_the_map_only(self):
        path = write_run(self.folder / "a.h5")
        with h5py.File(path, "a") as file:
            file["participation/extra"] = [1.0]
        page = self.page()
        self.assertIn("No map of the devices: ", page.text)
        self.assertNotIn("Distances are", page.text)

    def test_files_without_a_configuration_still_make_a_page(self):
        for name in ("a", "b"):
            with h5py.File(write_run(self.folder / f"{name}.h5"), "a") as file:
                del file["provenance"]
                file["rounds/flop"] = [0.0, 1.0, 1.0, 1.0 if name == "a" else 2.0]
        page = self.page()
        self.assertIn("2 runs", page.text)

    def test_seeds_of_several_kinds_are_paired_by_all_of_them(self):
        for method in ("fedlora", "local"):
            for name, data_seed in (("a", 1), ("b", 2)):
                path = write_run(self.folder / f"{method}-{name}.h5", method=method)
                with h5py.File(path, "a") as file:
                    attributes = file["provenance"].attrs
                    text = attributes["config"].replace(
                        "data:\n  seed: 1", f"data:\n  seed: {data_seed}"
                    )
                    attributes["config"] = text
        self.assertIn("Difference from fedlora, seed by seed", self.page().text)

    def test_another_place(self):
        write_run(self.folder / "a.h5")
        code, out, _ = run_main("report", self.folder / "a.h5", "-o", self.folder / "x.html")
        self.assertEqual((code, out), (0, f"{self.folder}/x.html\n"))
        self.assertEqual(
            run_main("report", self.folder, "-o", self.folder / "none" / "x.html")[0], 1
        )


class ComplaintsTest(FolderTest):
    def complaints(self):
        return complaints(open_folder(self.folder))

    def write_two(self, **second):
        write_run(self.folder / "a.h5", 1)
        write_run(self.folder / "b.h5", 2, **second)

    def test_all_is_well(self):
        self.write_two()
        self.assertEqual(self.complaints(), [])

    def test_different_versions(self):
        self.write_two(version="0.2.0", without="noise_dbm_per_hz")
        self.assertEqual(
            self.complaints(),
            [
                "The runs are of different versions of fedcell: 0.1.0, 0.2.0.",
                "Not every file knows these options, compared where known: cell.noise_dbm_per_hz.",
            ],
        )

    def test_losses_that_are_no_numbers(self):
        self.write_two(
            rounds=rounds_with(
                train_loss=[numpy.nan, 0.7, numpy.nan, numpy.nan],
                test_loss=[0.69, numpy.nan, numpy.nan, 0.5],
            )
        )
        self.assertEqual(
            self.complaints(),
            [
                "b: the test loss is not a number in round 2.",
                "b: the training loss is not a number in 2 rounds, first in round 2.",
            ],
        )

    def test_different_seeds(self):
        self.write_two()
        write_run(self.folder / "c.h5", 1, method="local")
        write_run(self.folder / "d.h5", 3, method="local")
        self.assertEqual(
            self.complaints(),
            ["The groups have different seeds; differences are over those that both have."],
        )

    def test_a_checkpoint_that_was_named_itself(self):
        path = write_run(self.folder / "a.h5", checkpoint=True)
        self.assertIn("a is unfinished: round 3 of 3.", complaints(Runs([open_run(path)])))

    def test_nothing_arrived(self):
        nothing = {"participants": ("", [0, 5, 5, 5]), "delivered": ("", [0, 0, 0, 0])}
        self.write_two(rounds={**rounds_with(), **nothing})
        self.assertEqual(self.complaints(), ["b: not one update arrived."])


class RealResultsTest(unittest.TestCase):
    @mock.patch("fedcell_results.report._panel", not_drawn)  # drawn in test_readme.py
    def test_a_page_from_the_program_s_own_results(self):
        runs = open_folder(real_results())
        self.assertEqual(Page(make_report(runs)).open, [])
        found = gather(runs)
        groups = [row["group"] for row in found["results"]["rows"]]
        self.assertEqual(groups, ["centralised", "fedlora", "local"])
        maps = [section["title"] for section in found["devices"]]
        self.assertEqual(maps, ["fedlora, fedlora-1", "local, local-1"])
        self.assertEqual(found["warnings"], [])


if __name__ == "__main__":
    unittest.main()
