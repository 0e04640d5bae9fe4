"""Every view of attention maps in a real browser: what is drawn is compared with the numbers."""

from __future__ import annotations

import csv
import io
import json
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from view_figures import random_maps, soft

from qkv.view import AttentionMaps, Figure, words
from qkv.view.colours import PAPER_SIGNED, rgb, top
from qkv.view.words import merge
from view_pages import SIZES, download, hover, painted, tip, until

TOKENS = ["the", "atten", "##tion", "日本", "שלום", "e\u0301", "</s>"]
DOCS = Path(__file__).parents[2] / "docs" / "viewer"


@pytest.fixture
def maps() -> AttentionMaps:
    """Two layers of three heads of a decoder, in which a token is two pieces."""
    allowed = np.tri(7, dtype=bool)
    weights = np.stack([soft(7, 7, seed) for seed in range(6)]).reshape(2, 3, 7, 7) * allowed
    weights /= weights.sum(-1, keepdims=True)
    axis = words(TOKENS, [0, 1, 1, 2, 3, 4, None])
    return AttentionMaps(
        weights, TOKENS, TOKENS, "Maps", "decoder self-attention", allowed, (axis, axis)
    )


def picture(page, name: str) -> None:
    """Keep a picture of the page in docs/ if QKV_SCREENSHOTS is set."""
    if os.environ.get("QKV_SCREENSHOTS"):
        DOCS.mkdir(exist_ok=True)
        page.screenshot(path=DOCS / f"{name}.png")


def table(page) -> list[list[str]]:
    return list(csv.reader(io.StringIO(download(page, "csv").decode())))


def links(page) -> dict[tuple[int, int], np.float32]:
    """Return the lines of the exported SVG: (target, source) to weight."""
    root = ElementTree.fromstring(download(page, "svg"))
    lines = [line for line in root.iter() if line.get("class") == "link"]
    return {
        (int(line.get("data-target")), int(line.get("data-source"))): np.float32(
            line.get("data-weight")
        )
        for line in lines
    }


def expected_links(weights: np.ndarray, share: float) -> dict[tuple[int, int], np.float32]:
    least = share * top(weights)
    return {tuple(map(int, at)): weights[tuple(at)] for at in np.argwhere(weights >= least)}


@pytest.mark.parametrize("size", SIZES)
def test_the_overview_opens_the_head_that_is_clicked_and_the_title_says_which(
    open_page, maps, size
):
    page = open_page(maps, size)
    pictures = page.locator("td button")
    assert pictures.count() == 6
    assert page.locator("canvas").count() == 6
    if size == SIZES[0]:
        picture(page, "overview")
    pictures.nth(4).click()
    assert page.locator("main h2").inner_text() == (
        "Maps · decoder self-attention, layer 1, head 1, tokens"
    )
    hover(page, 5, 2)
    shown = tip(page)
    assert shown[:2] == [TOKENS[5], TOKENS[2]]
    assert np.float32(shown[2]) == np.float32(maps.head(1, 1)[5, 2])
    if size == SIZES[0]:
        picture(page, "matrix")


def test_what_is_not_allowed_is_said_drawn_and_exported_as_such(open_page, maps):
    page = open_page(maps.select([0], [0]))
    hover(page, 2, 5)
    assert tip(page)[2] == "not allowed"
    colours = painted(page, 7, 7)[..., 3]
    np.testing.assert_array_equal(colours == 255, np.tri(7, dtype=bool))
    rows = table(page)
    assert [[cell == "" for cell in row[1:]] for row in rows[1:]] == (
        ~np.tri(7, dtype=bool)
    ).tolist()
    given = json.loads(download(page, "json"))["weights"]
    assert [[cell is None for cell in row] for row in given] == (~np.tri(7, dtype=bool)).tolist()
    root = ElementTree.fromstring(download(page, "svg"))
    barred = [cell for cell in root.iter() if cell.get("data-allowed") == "false"]
    assert len(barred) == 21
    assert "not allowed" in page.locator(".legend").text_content()


def test_words_and_means_are_those_of_numpy_and_the_title_says_so(open_page, maps):
    page = open_page(maps)
    page.click("[data-view=matrix]")
    page.select_option("select.layer", "1")
    page.select_option("select.head", "-1")
    page.check("input.words")
    until(page, "document.querySelectorAll('text.target').length === 6")
    assert page.locator("main h2").inner_text() == (
        "Maps · decoder self-attention, layer 1, mean of 3 heads, words"
    )
    assert "target tokens averaged" in page.locator(".note").inner_text()
    rows = table(page)
    assert rows[0][1:] == ["the", "attention", "日本", "שלום", "e\u0301", "</s>"]
    expected = merge(maps.weights[1].mean(0, dtype=np.float64), *maps.words)
    found = np.array([[float(cell or 0) for cell in row[1:]] for row in rows[1:]])
    # both add at most 3 heads x 2 x 2 tokens of numbers below 1, in another order: 12 eps
    np.testing.assert_allclose(found, expected, rtol=0, atol=12 * np.finfo(np.float64).eps)
    np.testing.assert_allclose(found.sum(1), 1, atol=12 * np.finfo(np.float32).eps)


def test_the_alignment_draws_the_weights_above_the_threshold_and_no_others(open_page, maps):
    weights = maps.head(0, 0)
    page = open_page(maps)
    page.click("[data-view=alignment]")
    assert links(page) == expected_links(weights, 0.1)
    picture(page, "alignment")
    page.locator("text.token[data-side=source]").nth(1).hover()
    lit = page.locator(".link.lit")
    assert lit.count() == sum(source == 1 for _, source in expected_links(weights, 0.1))
    page.locator("input[aria-label='Least weight of a line']").fill("40")
    assert links(page) == expected_links(weights, 0.4)
    assert len(table(page)) == 1 + len(expected_links(weights, 0.4))


def test_the_graph_has_an_arrow_for_every_weight_above_the_threshold(open_page, maps):
    weights = maps.head(0, 0)
    page = open_page(maps)
    page.click("[data-view=graph]")
    assert links(page) == expected_links(weights, 0.1)
    assert page.locator("circle.token").count() == 7
    page.locator(".plot").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert tip(page)[0] == TOKENS[1]
    assert "lit" in page.locator("text.token").nth(1).get_attribute("class")
    picture(page, "graph")


def test_the_steps_unfold_the_target_and_say_where_each_token_looked(open_page, maps):
    page = open_page(maps.select([0], [0]))
    page.click("[data-view=steps]")
    page.locator(".plot").focus()
    for key in ["ArrowRight", "ArrowRight", "ArrowRight"]:
        page.keyboard.press(key)
    assert page.locator("text.written").all_text_contents() == TOKENS[:4]
    weights = maps.head(0, 0)[3]
    said = page.locator(".said").inner_text()
    assert said.startswith(f"日本 looked at: {TOKENS[int(weights.argmax())]} ")
    drawn = {
        int(box.get_attribute("data-source")): np.float32(box.get_attribute("data-weight"))
        for box in page.locator("rect.read").all()
    }
    assert drawn == {place: np.float32(weights[place]) for place in range(4)}  # the rest is barred
    assert len(table(page)) == 1 + 4
    picture(page, "steps")
    page.locator(".plot").focus()  # a click on a button took it
    page.keyboard.press("Space")
    until(page, "document.querySelectorAll('text.written').length === 7")
    page.keyboard.press("Home")
    assert page.locator("text.written").count() == 1


def test_side_by_side_shows_the_difference_and_marks_the_same_cell_in_all(open_page):
    one, other = Figure(soft(5, 7), list("abcde"), list("tuvwxyz"), "one"), soft(5, 7, seed=1)
    figures = [one, Figure(other, list("abcde"), list("tuvwxyz"), "other")]
    page = open_page(figures)
    page.click("[data-view=compare]")
    until(page, "document.querySelectorAll('.three canvas').length === 3")
    rows = table(page)
    assert rows[0] == ["target", "source", "first", "second", "difference"]
    found = np.array([row[2:] for row in rows[1:]], float).T.reshape(3, 5, 7)
    np.testing.assert_array_equal(found[0].astype(np.float32), one.weights)
    np.testing.assert_array_equal(found[1].astype(np.float32), other)
    difference = one.weights.astype(np.float64) - other
    np.testing.assert_array_equal(found[2], difference)
    scale = top(np.abs(difference))
    expected = [[rgb(0.5 + d / scale / 2, PAPER_SIGNED) for d in row] for row in difference]
    colours = painted(page, 5, 7, nth=2)[..., :3]
    # the page rounds a weight to one of 4096 colours: at most 1 of 255 levels away
    assert np.abs(colours - np.array(expected)).max() <= 1
    page.locator(".plot").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.locator("text.on").count() == 6
    picture(page, "compare")


def test_a_zoom_keeps_what_is_under_the_pointer_and_a_drag_moves_it(open_page):
    page = open_page(random_maps(1, 1, 150, 150), (900, 700))
    box = page.locator(".plot").bounding_box()
    x, y = box["x"] + 220, box["y"] + 200  # no edge is met on the way
    page.mouse.move(x, y)
    cell = page.locator("i.cell").bounding_box()
    x, y = round(cell["x"] + cell["width"] / 2), round(cell["y"] + cell["height"] / 2)
    page.mouse.move(x, y)
    before = tip(page)
    page.keyboard.down("Control")
    for _ in range(8):
        page.mouse.wheel(0, -120)
    page.keyboard.up("Control")
    until(page, "document.querySelector('.map').offsetWidth > 150 * 20")
    page.mouse.move(x + 1, y)
    assert tip(page) == before
    page.mouse.down()
    page.mouse.move(x - 150, y - 80, steps=5)
    page.mouse.up()
    page.mouse.move(x - 149, y - 80)
    assert tip(page) == before
    page.click("button.fit")
    until(page, "document.querySelector('.map').offsetWidth < 900")


def test_of_a_thousand_tokens_only_what_is_in_sight_is_painted_and_labelled(open_page):
    maps = random_maps(1, 2, 1000, 1000)
    page = open_page(maps.select([0], [1]), (1000, 700))
    assert page.locator("canvas").evaluate("canvas => canvas.width") == 500  # two cells a pixel
    page.locator(".plot").focus()
    for _ in range(10):
        page.keyboard.press("+")
    page.keyboard.press("End")
    assert page.locator("text.source").count() < 200
    assert page.locator("canvas").evaluate("canvas => canvas.width * canvas.height") < 8e6
    target, source, weight = tip(page)
    assert (target, source) == ("t0", "s999")
    assert np.float32(weight) == maps.head(0, 1)[0, 999]
    assert page.locator("text.source.on").text_content() == "s999"
