"""The README is true: its blocks run, one after another, in one empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    """Return the language and the text of every block."""
    return BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def run(command: list[str], folder: Path) -> None:
    """Run a command as a user would, with the verbs of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_every_block_of_the_readme_runs(tmp_path):
    for language, text in blocks():
        if text.startswith("make "):
            continue  # the targets set up environments and train for minutes; see the next test
        shell = (
            ["bash", "-euo", "pipefail", "-c"] if language == "bash" else [sys.executable, "-c"]
        )
        run([*shell, text], tmp_path)
    assert (tmp_path / "attention.html").stat().st_size > 10_000


def test_the_make_targets_of_the_readme_exist():
    targets = [
        line.split()[1]
        for _, text in blocks()
        if text.startswith("make ")
        for line in text.splitlines()
    ]
    assert targets == ["demo", "test"]
    for target in targets:
        run(["make", "--dry-run", target], ROOT)


def test_no_block_is_of_a_language_that_the_test_does_not_run():
    assert {language for language, _ in blocks()} == {"bash", "python"}


def test_the_files_that_the_readme_links_to_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target
