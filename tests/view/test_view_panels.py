"""Heat maps side by side: as text, and in a real browser without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from view_figures import SCRIPTS, random_figure, soft

from qkv.view import Figure, Panel, Strip, side_by_side
from qkv.view.colours import PAPER, hexadecimal
from qkv.view.labels import isolate, visible

HEAD = ["score", "parameters"]
ROWS = [["dot", "1,917"], ["additive", "3,417 (+78.2 %)"]]


def page_of(*figures: Figure | None, text: str = "it writes: x") -> str:
    panels = [Panel(f"variant {i}", text, figure) for i, figure in enumerate(figures)]
    return side_by_side("scores", HEAD, ROWS, ["a note"], [Strip("a b → b a", panels)])


@pytest.fixture
def open_page(browser, tmp_path) -> Iterator[Callable[[str], object]]:
    """Open a page; on leaving, no error, no message and no request may have happened."""
    contexts, complaints = [], []

    def open_(text: str):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        page.on("request", lambda request: complaints.append(request.url))
        page.goto(path.as_uri())
        complaints.remove(path.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def test_the_variants_stand_side_by_side_below_the_table(open_page):
    page = open_page(page_of(random_figure(3, 5), random_figure(3, 5), None))
    assert page.locator("th").all_inner_texts() == HEAD
    assert page.locator("tbody tr").nth(1).locator("td").all_inner_texts() == ROWS[1]
    boxes = [article.bounding_box() for article in page.locator("article").all()]
    assert page.locator("h3").all_inner_texts() == ["variant 0", "variant 1", "variant 2"]
    assert len({box["y"] for box in boxes}) == 1
    for left, right in pairwise(boxes):
        assert left["x"] + left["width"] <= right["x"]
    assert boxes[0]["y"] > page.locator("table").bounding_box()["y"]
    assert page.locator("svg").count() == 2
    assert page.evaluate("getComputedStyle(document.querySelector('.strip')).display") == "flex"


def test_more_variants_than_fit_scroll_within_their_strip_alone(open_page):
    page = open_page(page_of(*[random_figure(4, 9)] * 8))
    wide, window = page.evaluate(
        "() => [document.querySelector('.strip').scrollWidth, document.body.scrollWidth]"
    )
    assert wide > 1280 >= window


def test_all_heat_maps_share_the_scale_of_the_largest_weight(open_page):
    faint = Figure(np.full((2, 40), 1 / 40), list("ab"), [f"s{i}" for i in range(40)], "faint")
    sharp = Figure([[0.45, 0.55], [1 / 40, 0.975]], list("ab"), list("xy"), "sharp")
    page = open_page(page_of(faint, sharp))
    maps = page.locator("svg").all()
    scales = [one.locator("text.scale").all_text_contents() for one in maps]
    assert scales[0] == scales[1] == ["0", "0.5", "1", "weight"]
    same = [
        maps[0].locator("rect.cell").first.get_attribute("fill"),
        maps[1].locator("rect.cell").nth(2).get_attribute("fill"),
    ]
    assert same == [hexadecimal(1 / 40, PAPER)] * 2


def test_labels_of_all_scripts_and_hostile_ones_are_text(open_page):
    attack = "</style><img src=x onerror=document.title='broken'>"
    count = len(SCRIPTS)
    panels = [
        Panel(attack, attack, Figure([[1.0]], [attack], [attack], attack, attack)),
        Panel("scripts", "日本語", Figure(soft(count, count), SCRIPTS, SCRIPTS, "")),
    ]
    page = open_page(side_by_side(attack, [attack], [[attack]], [attack], [Strip(attack, panels)]))
    assert page.locator("img").count() == 0
    assert page.title() == attack
    for place in ("h1", "h2", "td", "li"):
        assert page.locator(place).first.inner_text() == attack
    labels = page.locator("article").nth(1).locator("text.target").all_text_contents()
    assert labels == [isolate(visible(label)) for label in SCRIPTS]


def test_a_page_without_drawings_has_its_table(open_page):
    page = open_page(side_by_side("nothing", HEAD, ROWS, [], []))
    assert page.locator("tbody tr").count() == 2
    assert page.locator("section").count() == 0


def test_the_page_may_load_nothing():
    text = page_of(random_figure(2, 2))
    assert "default-src 'none'" in text
    assert "<script" not in text and "http://" not in text.replace("http://www.w3.org", "")
