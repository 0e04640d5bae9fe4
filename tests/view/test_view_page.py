"""The page in a real browser, opened from a file, with no network at all."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from view_figures import random_figure, soft

from qkv.view import Figure, save
from qkv.view.colours import NIGHT, PAPER, rgb, top
from qkv.view.labels import isolate, visible
from view_pages import SIZES, download, hover, painted, press, tip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("scheme", "ramp"), [("light", PAPER), ("dark", NIGHT)])
def test_every_cell_and_label_is_drawn_in_both_schemes_and_sizes(open_page, size, scheme, ramp):
    figure = random_figure(30, 40)
    page = open_page(figure, size, scheme)
    for axis, labels in (("target", figure.target), ("source", figure.source)):
        assert page.locator(f"text.{axis}").all_text_contents() == list(labels)
    scale = top(figure.weights)
    expected = [[rgb(float(weight) / scale, ramp) for weight in row] for row in figure.weights]
    found = painted(page, 30, 40)
    assert (found[..., 3] == 255).all()
    # the page rounds a weight to one of 4096 colours: at most 1 of 255 levels away
    assert np.abs(found[..., :3] - np.array(expected)).max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_hovering_shows_both_tokens_and_the_exact_weight(open_page, size):
    figure = random_figure(7, 11)
    page = open_page(figure, size)
    for row, column in [(0, 0), (6, 10), (2, 5), (5, 2)]:
        hover(page, row, column)
        target, source, weight = tip(page)
        assert (target, source) == (f"t{row}", f"s{column}")
        assert np.float32(weight) == figure.weights[row, column]
        assert page.locator("text.on").all_text_contents() == [source, target]


def test_hovering_shows_float64_to_its_last_digit(open_page):
    page = open_page(Figure([[1 / 3, 2 / 3]], ["a"], ["x", "y"], "thirds"))
    hover(page, 0, 1)
    assert float(tip(page)[2]) == 2 / 3


def test_a_figure_that_fits_has_no_scroll_bars(open_page):
    figures = [Figure(soft(8, 9), list("abcdefgh"), list("ijklmnopq"), "small")] * 20
    page = open_page(figures, size=(1100, 800))
    over = page.evaluate(
        "() => { const plot = document.querySelector('.plot');"
        " return [plot.scrollHeight - plot.clientHeight, plot.scrollWidth - plot.clientWidth]; }"
    )
    assert over == [0, 0]


def test_leaving_the_map_hides_the_tip(open_page):
    page = open_page(random_figure(3, 3))
    hover(page, 1, 1)
    assert page.locator(".tip").is_visible()
    page.mouse.move(1, 1)
    assert page.locator(".tip").is_hidden()


def test_labels_of_all_scripts_arrive_in_order_and_isolated(open_page, scripts):
    page = open_page(scripts)
    assert page.locator("text.target").all_text_contents() == [
        isolate(visible(label)) for label in scripts.target
    ]
    hover(page, 1, 0)
    assert tip(page)[0] == isolate("שלום!")


def test_arrow_keys_move_the_cell_and_bring_it_into_sight(open_page):
    figure = random_figure(60, 60)
    page = open_page(figure, (700, 500))
    page.locator(".plot").focus()
    for key in ["ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"]:
        page.keyboard.press(key)
    assert tip(page)[:2] == ["t1", "s0"]
    press(page, 1, "End")
    press(page, 70, "ArrowDown")
    assert tip(page)[:2] == ["t59", "s59"]
    cell, plot = (page.locator(name).bounding_box() for name in ("i.cell", ".plot"))
    assert plot["x"] <= cell["x"] <= plot["x"] + plot["width"] - cell["width"]
    assert plot["y"] <= cell["y"] <= plot["y"] + plot["height"] - cell["height"]
    press(page, 70, "ArrowLeft")
    press(page, 70, "ArrowUp")
    assert tip(page)[:2] == ["t0", "s0"]
    cell, names = (page.locator(name).bounding_box() for name in ("i.cell", "svg.corner"))
    assert cell["x"] >= names["x"] + names["width"]  # not behind the labels
    assert cell["y"] >= names["y"] + names["height"]
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()


def test_the_exported_svg_has_the_weights_bit_for_bit_and_all_labels(open_page, scripts):
    page = open_page(scripts)
    root = ElementTree.fromstring(download(page, "svg"))
    count = len(scripts.target)
    found = np.full((count, count), np.nan, np.float32)
    for cell in (e for e in root.iter() if e.get("class") == "cell"):
        place = int(cell.get("data-target")), int(cell.get("data-source"))
        found[place] = np.float32(cell.get("data-weight"))
    np.testing.assert_array_equal(found, scripts.weights)
    for axis, labels in (("target", scripts.target), ("source", scripts.source)):
        texts = [e.text for e in root.iter() if e.get("class") == axis]
        assert texts == [isolate(visible(label)) for label in labels]


def test_the_exported_csv_and_png_hold_the_same_figure(open_page, cat):
    page = open_page(cat)
    table = list(csv.reader(io.StringIO(download(page, "csv").decode())))
    assert table[0] == ["", "c", "a", "t"]
    assert [row[0] for row in table[1:]] == ["K", "AE", "T"]
    np.testing.assert_array_equal(np.array([row[1:] for row in table[1:]], float), cat.weights)
    assert download(page, "png").startswith(b"\x89PNG")


def test_the_scale_follows_the_figure_until_the_reader_wants_0_to_1(open_page):
    page = open_page(Figure(np.full((1, 40), 1 / 40), ["x"], ["s"] * 40, "uniform"))
    ticks = page.locator(".legend text.scale")
    assert ticks.all_text_contents() == ["0", "0.025", "0.05", "weight"]
    page.check("input.whole")
    assert ticks.all_text_contents() == ["0", "0.5", "1", "weight"]
    # the page rounds a weight to one of 4096 colours: at most 1 of 255 levels away
    assert np.abs(painted(page, 1, 40)[0, 0, :3] - np.array(rgb(1 / 40, PAPER))).max() <= 1


def test_the_theme_button_turns_page_and_map_dark_and_back(open_page):
    page = open_page(Figure([[1.0]], ["a"], ["x"], "one"))
    paper = "getComputedStyle(document.querySelector('.viewer')).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.click("button.theme")
    assert page.evaluate(paper) == "rgb(20, 23, 28)"
    assert tuple(painted(page, 1, 1)[0, 0, :3]) == rgb(1, NIGHT)
    page.click("button.theme")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"


def test_thousands_of_figures_are_listed_searched_and_drawn_on_demand(open_page):
    weights = soft(4, 5)
    figures = [
        Figure(weights, list("abcd"), [*"wxyz", f"token{i}"], f"Sentence {i}", "head 1")
        for i in range(3000)
    ]
    page = open_page(figures)
    assert page.locator(".count").inner_text() == "3000 figures"
    assert page.locator("main h2").inner_text() == "Sentence 0"
    assert page.locator("ol li").count() < 500  # the rest is made when it is scrolled to
    page.evaluate(
        """async () => {
            const list = document.querySelector("ol");
            for (let i = 0; i < 1000 && list.children.length < 3000; i++) {
                list.scrollTo(0, 1e9);
                await new Promise((done) => requestAnimationFrame(done));
            }
        }"""
    )
    page.locator("ol li").last.click()
    assert page.locator("main h2").inner_text() == "Sentence 2999"
    page.fill("input[type=search]", "token1234 sentence-nowhere")
    assert page.locator(".found").inner_text() == "0 of 3000"
    page.fill("input[type=search]", "TOKEN1234 head")
    assert page.locator(".found").inner_text() == "1 of 3000"
    page.click("ol li")
    assert page.locator("main h2").inner_text() == "Sentence 1234"
    assert page.locator("text.source").last.text_content() == "token1234"


def test_page_keys_turn_the_figures(open_page):
    page = open_page([random_figure(2, 2, "first"), random_figure(2, 2, "second")])
    page.locator(".plot").focus()
    page.keyboard.press("PageDown")
    assert page.locator("main h2").inner_text() == "second"
    page.keyboard.press("PageUp")
    assert page.locator("main h2").inner_text() == "first"
    page.locator("ol").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("li[aria-selected=true]").inner_text().startswith("second")


def test_two_frames_work_in_one_notebook(open_page):
    frames = [random_figure(3, 4, "left"), random_figure(5, 6, "right")]
    body = "".join(figure._repr_html_() for figure in frames)
    page = open_page([], text=f"<!doctype html><meta charset=utf-8><body>{body}")
    for place, figure in enumerate(frames):
        frame = page.frame_locator("iframe").nth(place)
        frame.locator("text.source").first.wait_for()
        assert frame.locator("text.source").count() == len(figure.source)
        assert frame.locator("h1").inner_text() == figure.title


def test_hostile_labels_are_text(open_page):
    attack = "</script><img src=x onerror=document.title='broken'>"
    page = open_page(Figure([[1.0]], [attack], [attack], attack, attack))
    assert page.locator("text.target").text_content() == attack
    assert page.locator("img").count() == 0
    hover(page, 0, 0)
    assert tip(page)[0] == attack
    assert page.title() == attack


def test_the_policy_stops_a_request_before_the_network_does(browser, tmp_path):
    (path,) = save(random_figure(2, 2), tmp_path / "page.html")
    page = browser.new_page()
    page.goto(path.as_uri())
    blocked = page.evaluate(
        """() => new Promise((done) => {
            addEventListener("securitypolicyviolation", (event) => done(event.violatedDirective));
            fetch("https://example.org/").catch(() => {});
        })"""
    )
    page.close()
    assert blocked == "connect-src"


def test_a_large_matrix_is_painted_whole_and_its_labels_are_thinned_not_crammed(open_page):
    figure = random_figure(600, 700)
    page = open_page(figure)
    assert 20 < page.locator("text.source").count() < 200
    corner = page.evaluate(
        """() => { const c = document.querySelector("canvas");
            return [...c.getContext("2d").getImageData(c.width - 1, c.height - 1, 1, 1).data]; }"""
    )
    expected = rgb(float(figure.weights[-1, -1]) / top(figure.weights), PAPER)
    assert np.abs(np.array(corner[:3]) - expected).max() <= 1
    page.click("button.larger")
    page.click("button.smaller")
    page.click("button.fit")


def test_figures_without_rows_or_columns_break_nothing(open_page):
    nothing = [
        Figure(np.zeros((0, 2)), [], ["a", "b"], "no rows"),
        Figure(np.zeros((2, 0)), ["a", "b"], [], "no columns"),
    ]
    page = open_page(nothing)
    assert page.locator("text.source").count() == 2
    page.locator("ol li").last.click()
    assert page.locator("text.target").count() == 2
