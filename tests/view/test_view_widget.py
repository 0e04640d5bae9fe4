"""The notebook's widget: its script beside a stand-in of the kernel, and its kernel side."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from view_figures import random_maps

from qkv.view import Viewer
from qkv.view.bundle import bundle
from qkv.view.document import part
from qkv.view.html import contents
from qkv.view.pack import pack
from view_pages import tip, until

# What a notebook's front end does for a module: two views on two models, each with a kernel that
# answers late, and says what it was asked.
HOST = """<!doctype html><meta charset="utf-8"><style>%s</style><body style="margin:9px">
<div id="one"></div><div id="two"></div>
<script type="module">%s
globalThis.asked = [];
class Model {
  constructor(contents, heads) {
    Object.assign(this, { state: { contents, held: "", wanted: "" }, calls: [], last: "", heads });
  }
  get(name) { return this.state[name]; }
  set(name, value) { this.state[name] = value; }
  on(name, call) { this.calls.push(call); }
  off(name, call) { this.calls = this.calls.filter((one) => one !== call); }
  save_changes() {
    const { wanted } = this.state;
    if (wanted === this.last) return;
    this.last = wanted;
    asked.push(wanted.split(" ").slice(1).join(" "));
    setTimeout(() => {
      const [, , layer, head] = wanted.split(" ");
      const bytes = Uint8Array.from(atob(this.heads[`${layer} ${head}`]), (c) => c.charCodeAt(0));
      Object.assign(this.state, { held: wanted, weights: new DataView(bytes.buffer) });
      for (const call of this.calls) call();
    }, 5);
  }
}
for (const [id, [contents, heads]] of Object.entries(%s))
  render({ model: new Model(contents, heads), el: document.getElementById(id) });
</script>"""


def test_two_widgets_fetch_one_head_at_a_time_and_do_not_disturb_each_other(open_page):
    shown = {"one": random_maps(2, 3, 5, 7), "two": random_maps(1, 2, 4, 4)}
    given = {
        name: [
            json.dumps(contents([maps], name, "exact")),
            {
                f"{layer} {head}": base64.b64encode(pack(maps, layer, head)).decode()
                for layer, head in np.ndindex(maps.shape[:2])
            },
        ]
        for name, maps in shown.items()
    }
    script = bundle("widget.js").replace("export default { render };", "")
    page = open_page([], text=HOST % (part("viewer.css"), script, json.dumps(given)))
    assert page.evaluate("asked") == []  # the overview needs no head
    page.locator("#one td button").nth(5).click()
    page.locator("#one .map").wait_for()
    assert page.evaluate("asked") == ["0 1 2"]
    assert page.locator("#two td button").count() == 2
    page.locator("#one .plot").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert np.float32(tip(page)[2]) == shown["one"].head(1, 2)[1, 1]
    page.select_option("#one select.head", "-1")
    until(page, "document.querySelector('#one h2').textContent.includes('mean')")
    assert page.evaluate("asked") == ["0 1 2", "0 1 0", "0 1 1"]  # the third was still there
    assert page.locator("#two h2").inner_text() == "Maps · 1 layers × 2 heads"


def test_the_kernel_answers_with_the_bytes_of_the_head_that_was_asked_for():
    pytest.importorskip("anywidget", reason="the extra qkv[notebook] is not installed")
    from qkv.view.widget import Widget

    maps = random_maps(2, 3, 5, 7)
    widget = Widget(Viewer([maps]))
    widget.wanted = "key 0 1 2"
    assert widget.held == "key 0 1 2"
    found = np.frombuffer(widget.weights, np.float32).reshape(5, 7)
    np.testing.assert_array_equal(found, maps.head(1, 2))
    assert "application/vnd.jupyter.widget-view+json" in maps._repr_mimebundle_()[0]
