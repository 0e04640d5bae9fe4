"""The viewer where most people meet it: two cells of a notebook in a real JupyterLab."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from view_pages import tip

pytest.importorskip("jupyterlab", reason="the extra dev is not installed")
pytest.importorskip("anywidget", reason="the extra qkv[notebook] is not installed")

OPTIONS = (
    "--no-browser",
    "--allow-root",
    "--port=0",
    "--ServerApp.ip=127.0.0.1",
    "--IdentityProvider.token=secret",
    "--LabApp.news_url=",
)
WAIT = 120_000  # ms: the first start of a kernel imports torch on a busy machine
SETUP = """import numpy as np
from qkv.view import show
random = np.random.default_rng(1)
weights = random.random((2, 3, 5, 7))
weights = weights / weights.sum(-1, keepdims=True)
source, target = list("ABCDEFG"), list("vwxyz")"""
CELLS = [SETUP, "show(weights, source, target)", "show(weights[:1, :2], source, target)"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[str]:
    """A JupyterLab of its own, with nothing of the user's; the address of a notebook in it."""
    folder: Path = tmp_path_factory.mktemp("lab")
    cells = [
        {
            "cell_type": "code",
            "id": f"cell{number}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(CELLS)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "two.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    homes = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    log = folder / "log"
    with log.open("w") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *OPTIONS, f"--ServerApp.root_dir={folder}"],
            env=os.environ | {name: str(folder / name.lower()) for name in homes},
            stderr=told,
        )
    try:
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text())):
            assert process.poll() is None, f"JupyterLab ended: {log.read_text()}"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{found[1]}/lab/tree/two.ipynb?token=secret&reset"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def page(browser, lab):
    context = browser.new_context(viewport={"width": 1400, "height": 1800})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(lab)
    page.locator(".jp-Notebook .jp-CodeCell").nth(2).wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.locator(".jp-OutputArea-output td button").nth(7).wait_for()
    yield page
    context.close()


def test_two_viewers_in_one_notebook_show_the_heads_of_their_own_kernel_values(page):
    random = np.random.default_rng(1)
    weights = random.random((2, 3, 5, 7))
    weights = weights / weights.sum(-1, keepdims=True)
    first, second = (page.locator(".jp-CodeCell").nth(cell) for cell in (1, 2))
    assert first.locator("td button").count() == 6
    assert second.locator("td button").count() == 2
    first.locator("td button").nth(5).click()  # layer 1, head 2: fetched from the kernel
    first.locator(".map canvas").wait_for()
    first.locator(".plot").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert tip(page)[:2] == ["w", "B"]
    assert float(tip(page)[2]) == pytest.approx(weights[1, 2, 1, 1], rel=1e-5)
    assert second.locator("td button").count() == 2  # not disturbed
