"""The report as a page, in a real browser, opened from a file, with no network at all."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from browser import launched
from qkv.examine.charts import by_sharpness, histogram
from qkv.examine.page import page
from qkv.examine.report import Report
from qkv.explain.faithfulness.finding import Estimate, Finding

SVG = "{http://www.w3.org/2000/svg}"
POINT = Estimate(0.25, 0.1, 4, 0.2, 0.3)


def finding(values=(0.0, 0.0, 0.5, 1.0), test="permutation", **facts) -> Finding:
    return Finding(
        test, "moved <far>", POINT, POINT, "drawn & random", "open", "It may be.",
        np.array(values), np.array([0.5, 0.5]), (0.0, 1.0), facts,
    )  # fmt: skip


def report(*findings: Finding) -> Report:
    about = {"run": "runs/<b>x", "split": "test", "n": 4, "accuracy": 0.5, "seconds": {}}
    return Report(findings or (finding(),), about)


def test_the_bars_are_the_shares_of_the_examples():
    tree = ElementTree.fromstring(histogram(finding()))
    bars = [float(one.get("height")) for one in tree.iter(f"{SVG}rect")]
    # the tallest of all is the baseline's, whose examples are all at 0.5: bars are shares of it
    full = 114.0
    assert bars == pytest.approx([full / 2, full / 4, full / 4], abs=0.11)  # one decimal
    assert tree.find(f"{SVG}title").text.startswith("moved <far>: mean 0.250 [0.200, 0.300]")


def test_what_lies_outside_of_the_axis_counts_at_its_end():
    tree = ElementTree.fromstring(histogram(finding(values=(-3.0, 7.0))))
    places = [float(one.get("x")) for one in tree.iter(f"{SVG}rect")]
    assert len(places) == 2 and places[0] < 40 and places[1] > 340


def test_quartiles_are_drawn_where_examples_are():
    table = [
        {"from": 0.0, "to": 0.5, "n": 3, "q1": 0.1, "median": 0.2, "q3": 0.4},
        {"from": 0.5, "to": 1.0, "n": 0},
    ]
    tree = ElementTree.fromstring(by_sharpness(finding(by_largest_weight=table)))
    (box,) = tree.iter(f"{SVG}rect")
    assert float(box.get("height")) == pytest.approx(0.3 * 114, abs=0.1)
    assert by_sharpness(finding()) == ""


def test_text_of_the_user_stays_text():
    found = page(report())
    assert "runs/&lt;b&gt;x" in found and "<b>" not in found
    assert "drawn &amp; random" in found


def test_the_report_is_json_and_a_table_with_all_that_a_reader_must_know():
    tree = json.loads(json.dumps(report().json()))
    assert tree["findings"][0]["value"] == {
        "mean": 0.25, "sd": 0.1, "n": 4, "low": 0.2, "high": 0.3,
    }  # fmt: skip
    assert "95%" in tree["interval"] and "bootstrap" in tree["interval"]
    said = str(report())
    for part in ("0.250 [0.200, 0.300]", "mean [95 %]", "It may be.", "no proof"):
        assert part in said


def test_the_page_opens_from_a_file_without_errors_or_requests(tmp_path):
    path = tmp_path / "index.html"
    path.write_text(page(report(finding(), finding(test="gradient"))), encoding="utf-8")
    complaints = []
    with launched() as chromium:
        context = chromium.new_context(offline=True)
        shown = context.new_page()
        shown.on("console", lambda message: complaints.append(message.text))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on("request", lambda request: complaints.append(request.url))
        complaints.clear()
        shown.goto(path.as_uri())
        assert shown.locator("tbody tr").count() == 2
        assert shown.locator("svg").count() == 2
        box = shown.locator("svg").first.bounding_box()
        assert (box["width"], box["height"]) == (360, 150)
        fill = shown.locator("svg rect").first.evaluate("e => getComputedStyle(e).fill")
        assert fill == "rgb(45, 111, 179)"
        context.close()
    assert [one for one in complaints if not one.startswith("file:")] == []
