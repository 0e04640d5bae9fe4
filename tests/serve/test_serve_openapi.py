"""The description of the paths holds for what a fuzzer makes of it."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed")
def test_what_the_description_allows_and_what_it_does_not_gets_an_answer_it_names(
    server, tmp_path
):
    # One check is left out: that a description cannot say how many tokens a text may have, so
    # that some requests which fit it are refused.
    words = ("run", f"{server.url}/openapi.json", "--exclude-checks", "positive_data_acceptance")
    options = ("--max-examples", "10", "--seed", "1", "--generation-database", "none")
    found = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), *words, *options, "--no-color"],
        capture_output=True,
        text=True,
        cwd=tmp_path,  # it keeps notes where it runs
    )
    assert found.returncode == 0, found.stdout[-3000:]
