"""The SVG says the numbers it shows, and stays valid whatever the labels are."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from view_figures import SCRIPTS, random_figure

from qkv.view import Figure, svg
from qkv.view.colours import NIGHT, PAPER, hexadecimal, rgb, top
from qkv.view.labels import isolate, visible

SVG = "{http://www.w3.org/2000/svg}"
ANY_LABEL = st.text(st.characters(exclude_categories=()), max_size=6)


def parse(drawing: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawing)


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in root.iter() if element.get("class") == name]


@pytest.mark.parametrize("share", [1.0, 0.05])
def test_every_cell_carries_its_exact_weight_its_tokens_and_its_colour(share):
    names = random_figure(5, 7)
    figure = Figure(names.weights * np.float32(share), names.target, names.source, "")
    assert (top(figure.weights) < 1) == (share < 1)
    found = np.full((5, 7), np.nan, np.float32)
    for cell in of_class(parse(svg(figure)), "cell"):
        row, column = int(cell.get("data-target")), int(cell.get("data-source"))
        found[row, column] = np.float32(cell.get("data-weight"))
        fraction = float(figure.weights[row, column]) / top(figure.weights)
        assert cell.get("fill") == hexadecimal(fraction, PAPER)
        tooltip = f"target: t{row}\nsource: s{column}\nweight: {figure.number(row, column)}"
        assert cell.find(f"{SVG}title").text == tooltip
    np.testing.assert_array_equal(found, figure.weights)


def test_rows_are_targets_from_the_top_and_columns_sources_from_the_left():
    cells = of_class(parse(svg(random_figure(3, 5))), "cell")
    place = {(c.get("data-target"), c.get("data-source")): c for c in cells}
    x = [float(place["0", str(column)].get("x")) for column in range(5)]
    y = [float(place[str(row), "0"].get("y")) for row in range(3)]
    assert x == sorted(x)
    assert y == sorted(y)
    assert len(set(x)) == 5
    assert len(set(y)) == 3


def test_each_label_is_there_once_in_order_and_bound_to_its_row_or_column(scripts):
    root = parse(svg(scripts))
    for axis, labels in (("target", scripts.target), ("source", scripts.source)):
        texts = of_class(root, axis)
        assert [text.text for text in texts] == [isolate(label) for label in labels]
        assert [text.get(f"data-{axis}") for text in texts] == [str(i) for i in range(len(labels))]


def test_a_label_stands_at_the_middle_of_its_row_or_column():
    root = parse(svg(random_figure(2, 3)))
    cells = of_class(root, "cell")
    side = 22
    for text in of_class(root, "source"):
        cell = next(c for c in cells if c.get("data-source") == text.get("data-source"))
        middle = float(cell.get("x")) + side / 2
        assert abs(float(text.get("x")) - middle) < side / 4
    for text in of_class(root, "target"):
        cell = next(c for c in cells if c.get("data-target") == text.get("data-target"))
        middle = float(cell.get("y")) + side / 2
        assert 0 < float(text.get("y")) - middle < side / 2  # the baseline is below the middle


def test_long_labels_are_slanted_and_single_characters_stand():
    long = parse(svg(Figure([[1.0, 0.0]], ["x"], ["Donaudampf", "schiff"], "")))
    assert all("rotate(-55 " in text.get("transform") for text in of_class(long, "source"))
    short = parse(svg(Figure([[1.0, 0.0]], ["x"], ["語", "a"], "")))
    assert all(text.get("transform") is None for text in of_class(short, "source"))


def test_title_description_and_role_are_there_for_screen_readers():
    root = parse(svg(random_figure(2, 3, "RNNsearch", "layer 1, mean of heads")))
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == "RNNsearch"
    description = root.find(f"{SVG}desc").text
    assert description == (
        "Heat map of attention weights: 2 target tokens (rows) by 3 source tokens (columns). "
        "layer 1, mean of heads"
    )


def test_the_scale_is_printed_with_its_ends():
    texts = of_class(parse(svg(Figure(np.full((1, 40), 1 / 40), ["x"], ["s"] * 40, ""))), "scale")
    assert [text.text for text in texts] == ["0", "0.025", "0.05", "weight"]


@pytest.mark.parametrize("ramp", [PAPER, NIGHT])
def test_colours_run_evenly_from_one_end_of_lightness_to_the_other(ramp):
    lightness = [np.dot(rgb(i / 100, ramp), [0.2126, 0.7152, 0.0722]) for i in range(101)]
    steps = np.diff(lightness) if ramp is NIGHT else -np.diff(lightness)
    assert (steps > 0).all()  # no two weights share a grey
    assert steps.max() < 6 * steps.min()  # luma is not lightness, so even only within a factor


def test_colours_hit_the_stops_and_clamp_what_exceeds_them():
    assert hexadecimal(0, PAPER) == "#" + PAPER[0]
    assert hexadecimal(0.5, PAPER) == "#" + PAPER[4]
    assert hexadecimal(1, PAPER) == hexadecimal(1.00001, PAPER) == "#" + PAPER[-1]


def test_the_heading_is_folded_to_the_drawing_and_nothing_of_it_is_lost():
    title = " ".join(["attention"] * 30)
    texts = of_class(parse(svg(random_figure(2, 3, title, ""))), "heading")
    assert len(texts) > 1
    assert " ".join(text.text for text in texts) == title


@settings(deadline=None)
@given(
    target=st.lists(ANY_LABEL, max_size=4),
    source=st.lists(ANY_LABEL, max_size=6),
    title=ANY_LABEL,
    note=ANY_LABEL,
)
def test_any_unicode_gives_valid_xml_with_every_label(target, source, title, note):
    figure = Figure(np.ones((len(target), len(source))), target, source, title, note)
    root = ElementTree.fromstring(svg(figure).encode())
    assert len(of_class(root, "cell")) == len(target) * len(source)
    shown = [text.text for text in of_class(root, "target") + of_class(root, "source")]
    assert shown == [isolate(visible(label)) for label in [*target, *source]]


@pytest.mark.parametrize(
    "labels",
    [
        SCRIPTS,
        ["W" * 40],
        ["i"],
        ["Ǆ" * 9, "щ" * 20],
        ["\ufdfd"],
        ["ओ" * 20],
        ["ஔ" * 20],
        ["😀" * 9],
    ],
)
@pytest.mark.parametrize("title", ["", "WWWW MMMM " * 12])
def test_a_browser_cuts_no_label(browser, tmp_path, labels, title):
    count = len(labels)
    figure = Figure(np.eye(count), labels, labels, title, title)
    (tmp_path / "figure.svg").write_text(svg(figure), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "figure.svg").as_uri())
    outside = page.evaluate(
        """() => {
            const paper = document.documentElement.viewBox.baseVal;
            const corners = (text) => {
                const { x, y, width, height } = text.getBBox(), matrix = text.getCTM();
                return [[x, y], [x + width, y], [x, y + height], [x + width, y + height]]
                    .map(([x, y]) => new DOMPoint(x, y).matrixTransform(matrix));
            };
            const inside = (p) =>
                p.x >= 0 && p.y >= 0 && p.x <= paper.width && p.y <= paper.height;
            return [...document.querySelectorAll("text")]
                .filter((text) => !corners(text).every(inside))
                .map((text) => text.textContent);
        }"""
    )
    page.close()
    assert outside == []


def test_without_details_every_cell_is_still_there_in_its_colour():
    figure = random_figure(5, 7)
    root, scale = parse(svg(figure, details=False)), top(figure.weights)
    whole = {(c.get("x"), c.get("y")): c.get("fill") for c in of_class(parse(svg(figure)), "cell")}
    found = {}
    for path in of_class(root, "cells"):
        for square in path.get("d").removesuffix("z").split("z"):
            place, side = square.removeprefix("M").split("h", 1)
            assert side == "21v21h-21"
            found[tuple(place.split(" "))] = path.get("fill")
    assert found == whole
    assert [text.text for text in of_class(root, "scale")] == [
        "0",
        f"{scale / 2:g}",
        f"{scale:g}",
        "weight",
    ]
    assert not of_class(root, "cell")
