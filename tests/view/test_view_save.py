"""Files appear whole, under the names that are returned, or not at all."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from view_figures import random_figure, random_maps

from qkv.view import AttentionMaps, Figure, html, png, save, svg
from qkv.view import save as save_function
from qkv.view.svg import svg_size

FIGURES = [random_figure(2, 3, "one"), random_figure(3, 2, "two")]


def test_the_suffix_chooses_the_format(tmp_path):
    one = FIGURES[0]
    assert save(one, tmp_path / "a.svg") == [tmp_path / "a.svg"]
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == svg(one)
    save([one], str(tmp_path / "a.PNG"))
    assert (tmp_path / "a.PNG").read_bytes() == png(one)
    save([one], tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == html([one], "one")


def test_several_figures_make_one_page_or_numbered_images(tmp_path):
    assert save(FIGURES, tmp_path / "all.html") == [tmp_path / "all.html"]
    assert (tmp_path / "all.html").read_text(encoding="utf-8") == html(FIGURES, "all")
    written = save(FIGURES, tmp_path / "all.svg")
    assert written == [tmp_path / "all-1.svg", tmp_path / "all-2.svg"]
    assert [path.read_text(encoding="utf-8") for path in written] == list(map(svg, FIGURES))
    assert not (tmp_path / "all.svg").exists()


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.svg.gz"])
def test_another_suffix_is_refused_with_the_allowed_ones(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.html, \.svg, \.png"):
        save(FIGURES, tmp_path / name)


def test_no_figure_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no figure to save"):
        save([], tmp_path / "a.html")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.svg"
    path.write_text("old")

    def fail(self, target):
        raise OSError("disk")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk"):
        save_function(FIGURES[0], path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.svg"]
    assert path.read_text() == "old"


def test_a_file_gets_the_permissions_that_any_new_file_gets(tmp_path):
    (tmp_path / "plain").touch()
    save(FIGURES[0], tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_svg_that_would_be_huge_is_refused_with_its_size_unless_it_is_asked_for(tmp_path):
    figure = random_figure(30, 40)
    size = len(svg(figure).encode())
    for name in ("a.svg", "a.png"):
        with pytest.raises(ValueError, match=r"MB for 30 x 40 cells.*draw fewer rows.*most_bytes"):
            save(figure, tmp_path / name, most_bytes=size // 3)
        assert not (tmp_path / name).exists()
    save(figure, tmp_path / "a.svg", most_bytes=2 * size)
    save(figure, tmp_path / "a.html", most_bytes=30 * 40 * 4 * 4 // 3)


def test_a_page_over_its_budget_is_refused_before_anything_is_packed_or_written(
    tmp_path, monkeypatch
):
    def packed(*_):
        raise AssertionError("packed")

    monkeypatch.setattr(sys.modules["qkv.view.html"], "pack", packed)
    one = np.broadcast_to(np.float32(1 / 2000), (12, 2000, 2000))  # 144 heads: 2.3 GB if it were
    names = [f"token{i}" for i in range(2000)]
    maps = AttentionMaps([one] * 12, names, names, "large")
    for precision, size in [("exact", "3,072"), ("float16", "1,536"), ("uint8", "768")]:
        with pytest.raises(ValueError, match=rf"about {size} MB.*\.select\(.*uint8.*most_bytes"):
            save(maps, tmp_path / "a.html", precision=precision)
    assert not (tmp_path / "a.html").exists()
    with pytest.raises(ValueError, match="precision is 'int4'; allowed: exact, float16, uint8"):
        save(maps, tmp_path / "a.html", precision="int4")


def test_an_image_of_several_heads_is_refused_and_of_one_is_drawn(tmp_path):
    maps = random_maps(2, 3, 5, 7)
    with pytest.raises(ValueError, match=r"2 layers of 3; choose with \.figure\(layer, head\)"):
        save(maps, tmp_path / "a.svg")
    save(maps.figure(1, 2), tmp_path / "a.svg")
    assert "layer 1; head 2" in (tmp_path / "a.svg").read_text()


def test_the_size_of_an_svg_is_known_before_it_is_drawn():
    figure = random_figure(40, 50)
    assert svg_size(figure) == pytest.approx(len(svg(figure).encode()), rel=0.2)


def test_four_million_cells_are_too_many_by_default(tmp_path):
    names = [f"token{i}" for i in range(2000)]
    figure = Figure(np.full((2000, 2000), 1 / 2000), names, names, "")
    with pytest.raises(ValueError, match="2,000 x 2,000 cells"):
        save(figure, tmp_path / "a.svg")


def test_a_folder_that_is_not_there_is_named_and_no_inner_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none/a\.html'$"):
        save(FIGURES, tmp_path / "none" / "a.html")
