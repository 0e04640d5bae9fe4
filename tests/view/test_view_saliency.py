"""Saliency beside attention on one page, in a real browser: the numbers are those of Python."""

from __future__ import annotations

import csv
import io

import numpy as np
import torch
from model_cases import stir

from qkv.config import RNNsearchConfig, TokenizerConfig
from qkv.configfile import make_config
from qkv.explain import saliency
from qkv.figures import alignment_of, saliency_map
from qkv.models.build import build_model
from qkv.run import Run
from qkv.text import Side
from view_pages import download, hover, tip, until


def small_run() -> Run:
    """An RNNsearch between letters, with noise for parameters."""
    side = Side.train(TokenizerConfig(kind="characters"), ["abcdefg"])
    config = RNNsearchConfig(embedding=5, hidden=7, maxout=6, dropout=0.0)
    torch.manual_seed(1)
    size = len(side.vocabulary)
    model = build_model(config, size, size).eval()
    stir(model)
    tree = {"data": {"train": ["x.tsv"]}, "model": {"kind": "rnnsearch"}}
    return Run(make_config(tree), side, side, model)


def test_saliency_and_attention_lie_side_by_side_with_their_difference(open_page):
    run = small_run()
    (pair,) = run.force(["abcd"], ["dcb"])
    (found,) = saliency(run, ["abcd"], ["dcb"], method="gradient-input")
    attention, shown = alignment_of(run, pair), saliency_map(run, found)
    assert shown.kind == "saliency" and "gradient-input" in shown.title
    signed = found.signed_shares.numpy()
    np.testing.assert_array_equal(shown.head(0, 0), signed)
    np.testing.assert_array_equal(np.abs(signed), found.shares.numpy())
    assert (signed < 0).any() and (signed > 0).any()

    page = open_page([shown, attention])
    assert "gradient-input · abcd → dcb" in page.locator("body").inner_text()
    assert page.locator("text.target").all_text_contents() == ["d", "c", "b", "</s>"]
    assert page.locator("text.source").all_text_contents() == ["a", "b", "c", "d", "</s>"]
    for row, column in [(0, 3), (2, 4), (3, 0)]:
        hover(page, row, column)
        assert np.float32(tip(page)[2]) == signed[row, column]

    page.click("[data-view=compare]")
    until(page, "document.querySelectorAll('.three canvas').length === 3")
    rows = list(csv.reader(io.StringIO(download(page, "csv").decode())))
    written = np.array([row[2:] for row in rows[1:]], float).T
    shares, weights = signed.ravel(), attention.head(0, 0).ravel()
    np.testing.assert_array_equal(written[:2].astype(np.float32), [shares, weights])
    np.testing.assert_array_equal(written[2], shares.astype(np.float64) - weights)
