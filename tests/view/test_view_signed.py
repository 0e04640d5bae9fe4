"""Signed values: two colours with zero between them, in every view, export and drawing."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from test_view_views import picture

from qkv.view import VALUE, AttentionMaps, Figure, html, show, svg, terminal
from qkv.view.colours import NIGHT_SIGNED, PAPER_SIGNED, hexadecimal, rgb
from qkv.view.measure import rounded
from view_pages import download, hover, painted, tip, until

TARGET, SOURCE = list("abcd"), list("uvwxyz")


def values(rows: int = 4, columns: int = 6, seed: int = 0, size: float = 3.0) -> np.ndarray:
    """Values of both signs; the first cell is zero."""
    found = size * np.random.default_rng(seed).standard_normal((rows, columns))
    found[0, 0] = 0
    return found.astype(np.float32)


def signed(seed: int = 0, title: str = "gradient-input") -> Figure:
    return Figure(values(seed=seed), TARGET, SOURCE, title, measure=VALUE)


@pytest.mark.parametrize(("scheme", "ramp"), [("light", PAPER_SIGNED), ("dark", NIGHT_SIGNED)])
def test_both_signs_are_painted_with_zero_between_them(open_page, scheme, ramp):
    figure = signed()
    page = open_page(figure, scheme=scheme)
    top = VALUE.top(figure.weights)
    expected = np.array([[rgb(0.5 + v / top / 2, ramp) for v in row] for row in figure.weights])
    colours = painted(page, 4, 6)[..., :3]
    # the page rounds a value to one of 4096 colours: at most 1 of 255 levels away
    assert np.abs(colours.astype(int) - expected).max() <= 1
    zero = (255, 255, 255) if scheme == "light" else (33, 39, 48)
    assert tuple(colours[0, 0]) == zero
    ticks = page.locator(".legend text.scale").all_text_contents()
    assert ticks == [f"{-top:g}", "0", f"{top:g}", "value"]
    hover(page, 1, 2)
    assert np.float32(tip(page)[2]) == figure.weights[1, 2]
    assert page.locator(".tip dt").all_inner_texts() == ["target", "source", "value"]
    picture(page, f"signed-{scheme}")


def test_exports_hold_the_signed_values_to_the_last_digit(open_page):
    figure = signed()
    page = open_page(figure)
    rows = list(csv.reader(io.StringIO(download(page, "csv").decode())))
    found = np.array([row[1:] for row in rows[1:]], float).astype(np.float32)
    np.testing.assert_array_equal(found, figure.weights)
    given = json.loads(download(page, "json"))["values"]
    np.testing.assert_array_equal(np.array(given, np.float32), figure.weights)
    root = ElementTree.fromstring(download(page, "svg"))
    cells = [cell for cell in root.iter() if cell.get("class") == "cell"]
    drawn = np.array([cell.get("data-weight") for cell in cells], np.float32).reshape(4, 6)
    np.testing.assert_array_equal(drawn, figure.weights)
    top = VALUE.top(figure.weights)
    fills = [hexadecimal(0.5 + float(v) / top / 2, PAPER_SIGNED) for v in figure.weights.flat]
    assert [cell.get("fill") for cell in cells] == fills
    text = "".join(root.itertext())
    assert f"{-top:g}" in text and "signed values (value)" in text and "weight:" not in text
    assert download(page, "png").startswith(b"\x89PNG")


def test_lines_show_magnitudes_and_colours_the_sign(open_page):
    figure = signed()
    page = open_page(figure)
    page.click("[data-view=alignment]")
    least = 0.1 * VALUE.top(figure.weights)
    root = ElementTree.fromstring(download(page, "svg"))
    lines = {
        (int(line.get("data-target")), int(line.get("data-source"))): line
        for line in root.iter()
        if (line.get("class") or "").startswith("link")
    }
    expected = {tuple(map(int, at)) for at in np.argwhere(np.abs(figure.weights) >= least)}
    assert set(lines) == expected
    for at, line in lines.items():
        value = figure.weights[at]
        assert np.float32(line.get("data-weight")) == value
        assert line.get("stroke") == ("#b0500a" if value < 0 else "#1a5399")
    assert "blue above 0, orange below" in page.locator(".drawn").inner_text()
    picture(page, "signed-alignment")


def test_the_steps_say_what_a_token_hangs_on_most(open_page):
    figure = signed()
    page = open_page(figure)
    page.click("[data-view=steps]")
    strongest = int(np.abs(figure.weights[0]).argmax())
    value = f"{float(f'{figure.weights[0, strongest]:.3g}'):g}"
    assert (
        page.locator(".said").inner_text().startswith(f"a hangs on: {SOURCE[strongest]} {value}")
    )
    fill = page.locator("rect.read").nth(strongest).get_attribute("fill")
    top = VALUE.top(figure.weights)
    assert fill == hexadecimal(0.5 + float(figure.weights[0, strongest]) / top / 2, PAPER_SIGNED)


def test_two_signed_figures_lie_on_one_scale_beside_their_difference(open_page):
    figures = [signed(0, "one"), Figure(10 * values(seed=1), TARGET, SOURCE, "two", measure=VALUE)]
    page = open_page(figures)
    page.click("[data-view=compare]")
    until(page, "document.querySelectorAll('.three canvas').length === 3")
    top = max(VALUE.top(figure.weights) for figure in figures)
    expected = [[rgb(0.5 + v / top / 2, PAPER_SIGNED) for v in row] for row in figures[0].weights]
    assert np.abs(painted(page, 4, 6)[..., :3].astype(int) - np.array(expected)).max() <= 1
    difference = figures[0].weights.astype(np.float64) - figures[1].weights
    rows = list(csv.reader(io.StringIO(download(page, "csv").decode())))
    np.testing.assert_array_equal(
        np.array([row[4] for row in rows[1:]], float), difference.ravel()
    )
    hover_third = page.locator(".matrix").nth(2).locator("canvas")
    hover_third.hover(position={"x": 5, "y": 5}, force=True)
    assert page.locator(".tip dt").all_inner_texts()[2] == "difference"


@pytest.mark.parametrize("precision", ["float16", "uint8"])
def test_rounded_pages_keep_the_signs(open_page, precision):
    weights = np.stack([values(seed=seed) for seed in range(2)])[None]
    maps = AttentionMaps(weights, TARGET, SOURCE, "Maps", measure=VALUE)
    page = open_page([], text=html([maps], "Maps", precision=precision))
    pictures = page.locator("td canvas").first.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, 6, 4).data]"
    )
    largest = np.abs(weights[0, 0]).max()
    steps = np.rint(127 * weights[0, 0] / largest) / 127
    expected = [rgb(0.5 + share / 2, PAPER_SIGNED) for share in steps.flat]
    found = np.array(pictures).reshape(-1, 4)[:, :3]
    assert np.abs(found.astype(int) - np.array(expected)).max() <= 1
    page.locator("td button").first.click()
    rows = list(csv.reader(io.StringIO(download(page, "csv").decode())))
    found = np.array([row[1:] for row in rows[1:]], float)
    # uint8: half of 1/127 of the largest, and three digits; float16: eleven bits, and four digits
    slack = largest * (0.5 / 127 + 5e-3) if precision == "uint8" else largest * (2**-11 + 5e-4)
    np.testing.assert_allclose(found, weights[0, 0], rtol=0, atol=slack)


@pytest.mark.parametrize(
    ("largest", "end"),
    [(0, 1), (1, 1), (0.7, 1), (1.01, 2), (4.5, 5), (7, 10), (123, 200), (3e-7, 5e-7)],
)
def test_the_scale_of_values_is_as_wide_as_they_are(largest, end):
    assert rounded(largest) == pytest.approx(end, rel=1e-12)


def test_svg_and_terminal_show_the_sign():
    figure = signed()
    top = VALUE.top(figure.weights)
    drawn = ElementTree.fromstring(svg(figure))
    fills = [cell.get("fill") for cell in drawn.iter() if cell.get("class") == "cell"]
    expected = [hexadecimal(0.5 + float(v) / top / 2, PAPER_SIGNED) for v in figure.weights.flat]
    assert fills == expected and fills[0] == "#ffffff"
    assert {f"{-top:g}", "0", f"{top:g}", "value"} <= set(drawn.itertext())
    lines = terminal(figure, width=60, colour=False).splitlines()
    row = next(line for line in lines if line.startswith("b "))
    cells = [row[2:][2 * i : 2 * i + 2] for i in range(6)]
    strong = np.abs(figure.weights[1]) > top / 8
    assert [cell.startswith("-") for cell in cells] == (strong & (figure.weights[1] < 0)).tolist()
    assert f"-█ {-top:g}" in lines[-1] and f"██ {top:g}" in lines[-1]


def test_what_is_no_number_is_refused_and_weights_are_told_of_values():
    with pytest.raises(ValueError, match=r"weights\[0, 1\] is nan, which has no colour"):
        Figure([[0, np.nan]], ["a"], ["x", "y"], "t", measure=VALUE)
    with pytest.raises(ValueError, match=r"measure=qkv\.view\.VALUE"):
        Figure([[0, -0.5]], ["a"], ["x", "y"], "t")
    shown = show(np.array([[0, -0.5]]), ["x", "y"], ["a"], measure=VALUE)
    assert shown.measure is VALUE
    large = AttentionMaps([[[[1e6]]]], ["a"], ["x"], measure=VALUE)
    with pytest.raises(ValueError, match="1e\\+06 is more than float16 holds"):
        html([large], "t", precision="float16")


def test_figures_keep_what_their_numbers_are():
    maps = AttentionMaps([values()[None]], TARGET, SOURCE, measure=VALUE)
    assert maps.figure().measure is VALUE and maps.figure(0, None).measure is VALUE
    assert maps.figure().maps().measure is VALUE
