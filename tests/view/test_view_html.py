"""What the page carries, without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from view_figures import random_figure, soft

from qkv.view import Figure, html, show
from qkv.view.labels import isolate, visible

DATA = re.compile('<script id="figures" type="application/json">(.*?)</script>', re.DOTALL)
ANY_LABEL = st.text(st.characters(exclude_categories=()), max_size=6)


def data_of(page: str) -> dict:
    (found,) = DATA.findall(page)
    return json.loads(found)


def head_of(page: str, number: int = 0, layer: int = 0, head: int = 0) -> bytes:
    """Return the packed weights of one head, which stand in an element of their own."""
    (found,) = re.findall(f'<script id="head-{number}-{layer}-{head}" [^>]*>([^<]*)<', page)
    return base64.b64decode(found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_travel_bit_for_bit(dtype):
    weights = soft(3, 5).astype(dtype)
    page = html([Figure(weights, list("abc"), list("vwxyz"), "t")], "page")
    entry = data_of(page)["maps"][0]
    assert entry["bits"] == 8 * weights.itemsize
    np.testing.assert_array_equal(np.frombuffer(head_of(page), dtype).reshape(3, 5), weights)


def test_the_page_names_no_address_and_forbids_all():
    page = html([random_figure(2, 3)], "page")
    without_namespaces = page.replace("http://www.w3.org/2000/svg", "")
    pictures = 'href="${'  # drawn by the script itself, as data
    assert not re.search(
        r"https?:|//[a-z]+\.|\bsrc=|\bhref=|@import|url\(",
        without_namespaces.replace(pictures, ""),
    )
    assert set(re.findall(r'href="\$\{.*?\}"', page)) == set(
        re.findall(r'href="\$\{[^}]*\.toDataURL\(\)\}"', page)
    )
    policy = re.search('Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_the_policy_allows_exactly_the_script_and_the_style_that_are_there():
    page = html([random_figure(2, 3)], "page")
    script = page.split('<script type="module">')[1].split("</script>")[0]
    style = page.split("<style>")[1].split("</style>")[0]
    for part in (script, style):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in page
    assert "import {" not in script


@settings(deadline=None)
@given(st.lists(ANY_LABEL, min_size=1, max_size=4), ANY_LABEL)
def test_any_unicode_survives_as_one_json_element(labels, title):
    labels = [*labels, "</script><!--", "<script>"]
    figure = Figure(np.ones((1, len(labels))), ["x"], labels, title, title)
    page = html([figure], title)
    assert page.encode()
    (entry,) = data_of(page)["maps"]
    assert entry["source"] == [isolate(visible(label)) for label in labels]


def test_no_figure_is_refused():
    with pytest.raises(ValueError, match="at least one figure"):
        html([], "empty")


def test_a_notebook_gets_a_sandboxed_frame_with_the_page_inside():
    figure = show([[1.0]], ["<b>"], ["y"], 'a "quoted" title')
    frame = figure._repr_html_()
    assert re.match(r'<iframe title="a &quot;quoted&quot; title" sandbox="allow-scripts ', frame)
    assert "allow-same-origin" not in frame
    assert frame.count("<") == 2  # the page is an attribute: nothing of it is markup here
