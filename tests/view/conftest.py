"""Figures with known numbers, and a browser that may reach nothing but files."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from view_figures import SCRIPTS, soft

from browser import launched
from qkv.view import Figure, save
from view_pages import SIZES

Open = Callable[..., object]


@pytest.fixture
def cat() -> Figure:
    """A transduction of three letters, with one weight a shade away from the diagonal."""
    weights = [[0.75, 0.25, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    return Figure(weights, ["K", "AE", "T"], ["c", "a", "t"], "cat", "additive")


@pytest.fixture
def scripts() -> Figure:
    """All kinds of labels on both axes."""
    count = len(SCRIPTS)
    return Figure(soft(count, count), SCRIPTS, SCRIPTS[::-1], "日本語 → العربية", "head 3")


@pytest.fixture(scope="module")  # a longer one would leave its event loop to other tests
def browser() -> Iterator[object]:
    with launched() as chromium:
        yield chromium


@pytest.fixture
def open_page(browser, tmp_path) -> Iterator[Open]:
    """Open figures as a page; on leaving, no error and no request may have happened."""
    contexts, complaints = [], []

    def watch(page):
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))

    def block(route):
        if route.request.url.startswith("file:"):
            return route.continue_()
        complaints.append(f"request: {route.request.url}")
        return route.abort()

    def open_(figures, size=SIZES[0], scheme="light", text=None):
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            offline=True,
            accept_downloads=True,
        )
        contexts.append(context)
        context.route("**/*", block)
        page = context.new_page()
        watch(page)
        path = tmp_path / "page.html"
        if text is None:
            save(figures, path)
        else:
            path.write_text(text, encoding="utf-8")
        page.goto(path.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
