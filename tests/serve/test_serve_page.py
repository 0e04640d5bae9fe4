"""The page at /, in a real browser."""

from __future__ import annotations

import pytest
from serving import BARE, HEADS, output

from browser import launched


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


def test_two_models_are_laid_beside_each_other(page, client):
    page.select_option("#second", BARE)  # it has no attention
    page.fill("#text", "g f")
    page.click("text=Translate")
    page.wait_for_selector("#outputs li:nth-child(2)")
    assert page.locator("#outputs small").all_inner_texts() == [HEADS, BARE]
    assert page.locator("#outputs span").first.inner_text() == output(client, "g f")


def test_what_the_server_refuses_is_said_on_the_page(page):
    page.fill("#text", "a " * 600)
    page.click("text=Translate")
    page.wait_for_selector("#said.wrong")
    assert "600 tokens" in page.inner_text("#said")
