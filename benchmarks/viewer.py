"""The viewer in a browser: first paint and interaction at 100, 500 and 2,000 tokens.

    python benchmarks/viewer.py [--tokens 100 500 2000] [--heads 12] [--runs 3]

Two hosts. `file`: an exported page with one head, opened from disk. `served`: 12 layers x 12
heads, fetched one at a time from this process, as a notebook or a server does it. First paint is
when the browser has painted the map (two frames after it was drawn), counted from the start of
navigation; a zoom and a hover are counted from the call to the second frame after it.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright
from report import RESULTS, result, save, table
from rounds import summary

from qkv.view import AttentionMaps
from qkv.view.bundle import bundle
from qkv.view.document import part
from qkv.view.html import contents, html
from qkv.view.pack import pack

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FRAMES = (
    "new Promise((done) => requestAnimationFrame(() =>"
    " requestAnimationFrame(() => done(performance.now()))))"
)
PAGE = """<!doctype html><meta charset="utf-8"><style>{style}</style><div id="viewer"></div>
<script type="module">{script}
const page = await (await fetch("contents")).json();
mount(document.getElementById("viewer"), page, async (map, layer, head) =>
  new Uint8Array(await (await fetch(`head/${{layer}}/${{head}}`)).arrayBuffer()));</script>"""


def maps_of(tokens: int, layers: int, heads: int) -> AttentionMaps:
    """Return maps whose heads share their memory: 144 of 2,000 tokens would take 2.3 GB."""
    names = [f"token{i}" for i in range(tokens)]
    place = np.arange(tokens, dtype=np.float32)
    energies = np.exp(-np.abs(place[:, None] - place) / 20 + np.sin(place * 1.7))
    weights = (energies / energies.sum(1, keepdims=True)).astype(np.float32)
    return AttentionMaps(
        [np.broadcast_to(weights, (heads, tokens, tokens))] * layers, names, names
    )


def serve(maps: AttentionMaps) -> http.server.ThreadingHTTPServer:
    """Serve the viewer's page, its contents, and each head by itself."""
    script = bundle("viewer.js")
    page = PAGE.format(style=part("viewer.css"), script=script).encode()
    names = json.dumps(contents([maps], "benchmark", "exact")).encode()
    packed = pack(maps, 0, 0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = {"/": page, "/contents": names}.get(self.path, packed)
            self.send_response(200)
            kind = "text/html" if self.path == "/" else "application/octet-stream"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def timed(page: Any, action: str) -> float:
    """Milliseconds from an action in the page to the second frame after it."""
    return page.evaluate(
        f"async () => {{ const begin = performance.now(); {action};"
        f" return await {FRAMES} - begin; }}"
    )


def visit(browser: Any, url: str, many: bool) -> dict[str, float]:
    """Open a page once, and return the milliseconds of what a reader does."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(url)
    seen = ".overview canvas" if many else ".map canvas"
    page.locator(seen).first.wait_for(state="attached")
    times = {"first paint": page.evaluate(FRAMES)}
    if many:  # open a head: fetch, unpack, paint
        times["open a head"] = page.evaluate(
            "async () => { const begin = performance.now();"
            "document.querySelector('td button').click();"
            "while (!document.querySelector('.map canvas')?.width)"
            "  await new Promise((done) => setTimeout(done, 1));"
            f"return await {FRAMES} - begin; }}"
        )
    times["zoom"] = timed(page, "document.querySelector('button.larger').click()")
    hover = (
        "const map = document.querySelector('.map'), box = map.getBoundingClientRect();"
        "map.dispatchEvent(new PointerEvent('pointermove',"
        " {clientX: box.left + 99, clientY: box.top + 99}))"
    )
    times["hover"] = timed(page, hover)
    scroll = "document.querySelector('.plot').scrollBy(1500, 1500)"
    times["scroll far"] = timed(page, scroll)
    page.close()
    return times


def rows_of(browser: Any, tokens: int, given: argparse.Namespace, folder: Path) -> list[dict]:
    """Measure both hosts at a number of tokens."""
    file = folder / "page.html"
    file.write_text(html([maps_of(tokens, 1, 1)], "benchmark"), encoding="utf-8")
    server = serve(maps_of(tokens, given.heads, given.heads))
    size = file.stat().st_size / 1e6
    hosts = {
        f"file of {size:.2f} MB": (file.as_uri(), False),
        f"served, {given.heads} x {given.heads} heads": (
            f"http://127.0.0.1:{server.server_port}/",
            True,
        ),
    }
    rows = []
    for host, (url, many) in hosts.items():
        runs = [visit(browser, url, many) for _ in range(given.runs)]
        for name in runs[0]:
            times = summary([run[name] for run in runs])
            rows.append({"task": f"{tokens:,} tokens, {name}", "way": host, "unit": "ms", **times})
    server.shutdown()
    server.server_close()
    return rows


def main() -> None:
    """Measure, and leave a result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    program = next(filter(None, map(shutil.which, BROWSERS)))
    rows: list[dict] = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        for tokens in given.tokens:
            rows += rows_of(browser, tokens, given, Path(folder))
        browser.close()
    script, style = len(bundle("page.js").encode()), len(part("viewer.css").encode())
    note = f"The page's script has {script:,} bytes, its style {style:,}."
    found = result(
        "The viewer in headless Chromium", os.cpu_count() or 1, {}, rows=rows, notes=[note]
    )
    print(table(found))
    print(save(given.results / "viewer.json", found))


if __name__ == "__main__":
    main()
