"""What the README says about the analysis can be typed in: its Python lines and its commands."""

import os
import re
import shutil
import subprocess
import unittest

from fixtures import ROOT, FolderTest, real_results


class ReadmeTest(FolderTest):
    def setUp(self):
        super().setUp()
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        self.section = re.search(r"^## Analysis$(.*?)^## ", readme, re.MULTILINE | re.DOTALL).group(
            1
        )
        shutil.copytree(real_results(), self.folder / "results" / "sst2")
        shutil.copy(real_results() / "fedlora-1.h5", self.folder / "mine.h5")
        (self.folder / "analysis").symlink_to(ROOT / "analysis")

    def blocks(self, language):
        found = re.findall(rf"^```{language}\n(.*?)^```$", self.section, re.MULTILINE | re.DOTALL)
        self.assertTrue(found)
        return found

    def test_python_lines(self):
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        for block in self.blocks("python"):
            exec(compile(block, "README.md", "exec"), {})
        self.assertTrue((self.folder / "curves.pdf").is_file())

    def test_commands(self):
        for block in self.blocks("sh"):
            done = subprocess.run(
                ["bash", "-euc", block], cwd=self.folder, capture_output=True, text=True
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue((self.folder / "results" / "sst2" / "report.html").is_file())
        self.assertTrue((self.folder / "target.png").is_file())


if __name__ == "__main__":
    unittest.main()
