"""The PNG is the SVG, drawn with fonts that have every character."""

from __future__ import annotations

import struct
import sys
import xml.etree.ElementTree as ElementTree
import zlib

import numpy as np
import pytest
from view_figures import SCRIPTS, random_figure

from qkv.view import Figure, png, svg
from qkv.view import fonts as font_module
from qkv.view.colours import PAPER, rgb, top

pytest.importorskip("resvg_py", reason="the extra qkv[png] is not installed")
needs_fontconfig = pytest.mark.skipif(
    not font_module.installed(), reason="fontconfig (fc-list) is not installed"
)


def pixels(image: bytes) -> np.ndarray:
    """Decode an 8-bit RGBA PNG, filters of the standard (ISO 15948, section 9) included."""
    width, height, depth, kind = struct.unpack(">IIBB", image[16:26])
    assert (depth, kind) == (8, 6)
    place, data = 8, b""
    while place < len(image):
        length, name = struct.unpack(">I4s", image[place : place + 8])
        data += image[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        place += 12 + length
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 4 * width + 1)
    above = np.zeros(4 * width, np.uint8)
    rows = []
    for line in lines:
        above = _unfilter(int(line[0]), line[1:].copy(), above)
        rows.append(above)
    return np.stack(rows).reshape(height, width, 4)


def _unfilter(method: int, line: np.ndarray, above: np.ndarray) -> np.ndarray:
    if method == 2:
        return line + above
    out = line.astype(int)
    for i in range(len(out)) if method else ():
        left = out[i - 4] if i >= 4 else 0
        up, corner = int(above[i]), int(above[i - 4]) if i >= 4 else 0
        nearest = min((left, up, corner), key=lambda value: abs(left + up - corner - value))
        out[i] = (out[i] + (0, left, 0, (left + up) // 2, nearest)[method]) % 256
    return out.astype(np.uint8)


def test_each_cell_of_the_image_has_the_colour_of_its_weight():
    figure = random_figure(3, 5)
    image = pixels(png(figure, scale=1))
    root = ElementTree.fromstring(svg(figure))
    cells = [element for element in root.iter() if element.get("class") == "cell"]
    assert len(cells) == 15
    for cell in cells:
        x, y = float(cell.get("x")) + 10, float(cell.get("y")) + 10
        weight = figure.weights[int(cell.get("data-target")), int(cell.get("data-source"))]
        expected = rgb(float(weight) / top(figure.weights), PAPER)
        assert tuple(image[int(y), int(x), :3]) == expected


def test_scale_multiplies_the_size_of_the_svg():
    figure = random_figure(2, 3)
    root = ElementTree.fromstring(svg(figure))
    for scale in (1, 3):
        width, height = struct.unpack(">II", png(figure, scale)[16:24])
        assert (width, height) == (scale * int(root.get("width")), scale * int(root.get("height")))


@needs_fontconfig
@pytest.mark.parametrize("label", SCRIPTS)
def test_every_script_is_drawn_and_differs_from_a_blank(label):
    try:
        drawn = png(Figure([[0.0]], [label], ["x"], "t"), 1)
    except ValueError as error:
        pytest.skip(str(error))
    labelled = pixels(drawn)[:, :, :3]
    assert (labelled < 100).any()


@needs_fontconfig
def test_a_character_that_no_font_has_is_refused_by_name():
    with pytest.raises(ValueError, match=r"no installed font can draw U\+E123 unnamed.*\.svg"):
        png(Figure([[1.0]], ["\ue123"], ["x"], "private"))


@needs_fontconfig
def test_a_sentencepiece_mark_is_drawn_with_the_font_of_its_word():
    if not {"Noto Sans", "DejaVu Sans"} <= {face.family for face in font_module.installed()}:
        pytest.skip("Noto Sans, or DejaVu Sans, which has the mark, is not installed")
    chosen = font_module.fonts("▁the cat", ("Noto Sans", "DejaVu Sans"))
    assert chosen.runs("▁the") == [("DejaVu Sans", "▁the")]


@needs_fontconfig
def test_han_characters_are_japanese_beside_kana_and_chinese_otherwise():
    families = {face.family for face in font_module.installed()}
    if not {"Noto Sans CJK JP", "Noto Sans CJK SC"} <= families:
        pytest.skip("Noto Sans CJK is not installed")
    preferred = ("Noto Sans", "DejaVu Sans")
    japanese, chinese = (font_module.fonts(text, preferred) for text in ("語は", "語"))
    assert japanese.runs("語") == [("Noto Sans CJK JP", "語")]
    assert chinese.runs("語") == [("Noto Sans CJK SC", "語")]


def test_without_fontconfig_all_fonts_of_the_system_are_used(monkeypatch):
    monkeypatch.setattr(font_module.shutil, "which", lambda name: None)
    font_module.installed.cache_clear()
    assert png(random_figure(1, 2)).startswith(b"\x89PNG")
    font_module.installed.cache_clear()


def test_without_resvg_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(ImportError, match=r"pip install 'qkv\[png\]'"):
        png(random_figure(1, 2))


def test_a_scale_below_one_is_refused():
    with pytest.raises(ValueError, match="scale is 0"):
        png(random_figure(1, 2), scale=0)


@needs_fontconfig
def test_a_label_that_resvg_cannot_lay_out_is_an_error_not_a_crash():
    figure = Figure([[1.0]], ["😀नमस्ते"], ["x"], "mixed")
    try:
        assert png(figure).startswith(b"\x89PNG")
    except ValueError as error:
        assert "mixed" in str(error)
        assert ".svg or .html" in str(error)
