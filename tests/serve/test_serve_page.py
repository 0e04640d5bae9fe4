"""The page at /, in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from serving import BARE, HEADS, output

from browser import launched
from view_pages import hover, tip, until

DOCS = Path(__file__).parents[2] / "docs" / "server"


def picture(page, name: str) -> None:
    """Keep a picture of the page in docs/ if QKV_SCREENSHOTS is set."""
    if os.environ.get("QKV_SCREENSHOTS"):
        DOCS.mkdir(exist_ok=True)
        page.screenshot(path=DOCS / f"{name}.png")


@pytest.fixture(scope="module")
def page(server):
    with launched() as browser:
        page = browser.new_page()
        complaints = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: complaints.extend(
                [request.url] if not request.url.startswith((server.url, "data:", "blob:")) else []
            ),
        )
        page.goto(server.url)
        yield page
        assert [one for one in complaints if "status of 422" not in one] == []


def test_a_text_is_translated_and_every_kind_of_attention_is_shown(page, client):
    page.fill("#text", "a b c")
    page.click("text=Translate")
    page.wait_for_selector("#views canvas")
    assert page.inner_text("#outputs span") == output(client, "a b c")
    assert page.locator("#views nav li").count() == 3


def test_a_text_is_classified_with_every_probability_and_its_map(page, client):
    page.select_option("#first", "classifier")
    assert page.inner_text("#ask") == "Classify"
    page.fill("#text", "a b up . c")
    page.click("#ask")
    page.wait_for_selector("#outputs meter")
    asked = {"text": "a b up . c", "model": "classifier", "attention": True}
    (want,) = client.post("/classify", json=asked).json()["results"]
    assert page.inner_text("#outputs span") == want["label"]
    rows = page.locator("#outputs tr").all_inner_texts()
    assert [row.split() for row in rows] == [
        [label, f"{probability:.4f}"] for label, probability in want["probabilities"].items()
    ]
    page.wait_for_selector("#views canvas")
    assert page.locator("text.source").all_text_contents() == ["a", "b", "up", ".", "c"]
    hover(page, 0, 2)
    assert np.float32(tip(page)[2]) == np.float32(want["attention"][2])
    picture(page, "classified")


def test_a_texts_words_are_tagged_beside_each_other_and_another_models_map(page, client):
    page.select_option("#first", "tagger")
    page.select_option("#second", "hierarchical")
    assert page.inner_text("#ask") == "Tag"
    page.fill("#text", "a g up .")
    page.click("#ask")
    page.wait_for_selector("#outputs ruby")
    (want,) = client.post("/tag", json={"text": "a g up ."}).json()["results"]
    assert page.locator("#outputs rt").all_inner_texts() == want["tags"]
    assert page.locator("#outputs small").all_inner_texts() == ["tagger", "hierarchical"]
    assert page.locator("#views nav li").count() == 2
    picture(page, "tagged")
    page.select_option("#first", HEADS)
    page.select_option("#second", "")


def test_two_models_are_laid_beside_each_other(page, client):
    page.select_option("#second", BARE)  # it has no attention
    page.fill("#text", "g f")
    page.click("text=Translate")
    until(page, f"document.querySelector('#outputs small').textContent === '{HEADS}'")
    assert page.locator("#outputs small").all_inner_texts() == [HEADS, BARE]
    assert page.locator("#outputs span").first.inner_text() == output(client, "g f")


def test_what_the_server_refuses_is_said_on_the_page(page):
    page.fill("#text", "a " * 600)
    page.click("text=Translate")
    page.wait_for_selector("#said.wrong")
    assert "600 tokens" in page.inner_text("#said")
