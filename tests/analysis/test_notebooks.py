"""Every notebook of analysis/ is stored without outputs and runs from small results."""

import json
import os
import pathlib
import tempfile
import unittest
from unittest import mock

import nbclient
import nbformat

from fixtures import ROOT, real_results

NOTEBOOKS = sorted((ROOT / "analysis").glob("*.ipynb"))
SECONDS_A_CELL = 120


def execute(path, results):
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
                found = outputs(execute(path, real_results()))
                images = [o for o in found if "image/png" in o.get("data", {})]
                self.assertGreaterEqual(len(images), 5)
                streams = [o["text"] for o in found if o.output_type == "stream"]
                self.assertEqual(streams, [], "warnings are to be mended, not shown")
        self.assertTrue((real_results() / "curves.pdf").is_file())

    def test_without_results_say_how_to_make_them(self):
        with tempfile.TemporaryDirectory() as empty:
            for path in NOTEBOOKS:
                with self.subTest(path.name), self.assertRaises(
                    nbclient.exceptions.CellExecutionError
                ) as caught:
                    execute(path, pathlib.Path(empty) / "none")
                self.assertIn(
                    "none: no results yet; the commands above make them", str(caught.exception)
                )


if __name__ == "__main__":
    unittest.main()
