"""What Python packs is what the page unpacks: the bits of masks, and the bytes of heads."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import qkv.view
from qkv.view import AttentionMaps
from qkv.view.pack import PRECISIONS, entry, pack

WEB = Path(qkv.view.__file__).parent / "web"
LAYERS, HEADS, ROWS, COLUMNS = 2, 3, 5, 7  # 35 cells a head: the last byte is not full

PROGRAM = """
import { readFileSync } from "node:fs";
import { loader } from "./model.js";
const { maps, heads } = JSON.parse(readFileSync(0, "utf8"));
const bytes = (layer, head) => Uint8Array.from(Buffer.from(heads[layer][head], "base64"));
const load = loader({ maps: [maps] }, async (map, layer, head) => bytes(layer, head));
const found = [];
for (let layer = 0; layer < maps.layers; layer++)
  for (let head = -1; head < maps.heads; head++) {
    const { values, allowed } = await load({ map: 0, layer, head, words: false });
    found.push([layer, head, Array.from(values), Array.from(allowed)]);
  }
console.log(JSON.stringify(found));
"""


@pytest.fixture
def maps() -> AttentionMaps:
    """Each head has a mask of its own, without a symmetry that a turned order would keep."""
    random = np.random.default_rng(3)
    allowed = random.random((LAYERS, HEADS, ROWS, COLUMNS)) < 0.4
    weights = random.random(allowed.shape, dtype=np.float32) * allowed
    return AttentionMaps(weights, list("abcde"), list("tuvwxyz"), allowed=allowed)


def test_bit_i_of_a_packed_mask_is_bit_i_mod_8_from_the_lowest_of_byte_i_div_8(maps):
    packed = entry(maps)["allowed"]
    assert (packed["layers"], packed["heads"]) == (LAYERS, HEADS)
    for place, text in zip(np.ndindex(LAYERS, HEADS), packed["bits"], strict=True):
        whole = base64.b64decode(text)
        assert len(whole) == -(-ROWS * COLUMNS // 8)
        found = [whole[i >> 3] >> (i & 7) & 1 for i in range(ROWS * COLUMNS)]
        assert found == maps.allowed[place].astype(int).ravel().tolist()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_pages_own_code_reads_the_masks_and_weights_that_python_packed(
    maps, precision, tmp_path
):
    if not (node := shutil.which("node")):
        pytest.skip("no node found: it runs the page's code without a browser")
    for file in WEB.glob("*.js"):
        shutil.copy(file, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "read.js").write_text(PROGRAM)
    heads = [
        [base64.b64encode(pack(maps, i, j, precision)).decode() for j in range(HEADS)]
        for i in range(LAYERS)
    ]
    given = json.dumps({"maps": entry(maps, precision), "heads": heads})
    done = subprocess.run(
        [node, tmp_path / "read.js"], input=given, capture_output=True, text=True, check=True
    )

    every = json.loads(done.stdout)
    assert len(every) == LAYERS * (HEADS + 1)
    # half a step: of 11 bits of a number below 1, or of 255 levels
    step = {"exact": 0.0, "float16": 2.0**-12, "uint8": 0.5 / 255}[precision]
    for layer, head, values, allowed in every:
        mean = head < 0
        weights, may = maps.weights[layer].astype(float), maps.allowed[layer]
        weights, may = (weights.mean(0), may.any(0)) if mean else (weights[head], may[head])
        assert allowed == may.astype(int).ravel().tolist()
        np.testing.assert_allclose(values, weights.ravel(), rtol=0, atol=step + 1e-8)
