"""What a reader does with a page, and what can be seen on it."""

from __future__ import annotations

import numpy as np

SIZES = [(1280, 900), (480, 800)]


def hover(page, row: int, column: int) -> None:
    """Move the pointer to a cell, scrolling there if it is out of sight."""
    canvas = page.locator("canvas")
    rows, columns = (page.locator(f"text.{axis}").count() for axis in ("target", "source"))
    box = canvas.bounding_box()
    x, y = (column + 0.5) * box["width"] / columns, (row + 0.5) * box["height"] / rows
    canvas.hover(position={"x": x, "y": y}, force=True)


def press(page, times: int, key: str) -> None:
    """Press a key of the map many times without a round trip for each."""
    page.evaluate(
        """([times, key]) => {
            const plot = document.querySelector(".plot");
            for (let i = 0; i < times; i++)
                plot.dispatchEvent(new KeyboardEvent("keydown", { key }));
        }""",
        [times, key],
    )


def tip(page) -> list[str]:
    return page.locator(".tip dd").all_inner_texts()


def painted(page, rows: int, columns: int, nth: int = 0) -> np.ndarray:
    """Return the colour at the centre of every cell of a canvas."""
    colours = page.evaluate(
        """([rows, columns, nth]) => {
            const canvas = document.querySelectorAll("canvas")[nth], ink = canvas.getContext("2d");
            const { data, width, height } = ink.getImageData(0, 0, canvas.width, canvas.height);
            const at = (i, count, length) => Math.floor((i + 0.5) * length / count);
            return Array.from({ length: rows * columns }, (_, i) => {
                const y = at(Math.floor(i / columns), rows, height);
                const place = 4 * (y * width + at(i % columns, columns, width));
                return [...data.slice(place, place + 4)];
            });
        }""",
        [rows, columns, nth],
    )
    return np.array(colours).reshape(rows, columns, 4)


def until(page, condition: str) -> None:
    """Wait for an expression of the page to be true (its policy forbids the usual way)."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {condition}")


def download(page, button: str) -> bytes:
    with page.expect_download() as waiting:
        page.click(f"button.{button}")
    return waiting.value.path().read_bytes()
