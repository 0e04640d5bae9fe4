"""Attention that learns from word links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainer import build_trainer
from torch.testing import assert_close

from qkv.config import Config
from qkv.configfile import make_config
from qkv.data import collate
from qkv.training.loss import SequenceLoss, guided
from small_runs import fit, tree

GUIDED = ("rnnsearch", "luong", "transformer", "hard")


def with_links(corpus: Path, model: str, links: Path, weight: float = 1.0) -> dict[str, Any]:
    """Return a config of the corpus of reversed letters, with the links that reversal means."""
    lines = (corpus / "train.tsv").read_text().splitlines()
    words = [len(line.split("\t")[0].split()) for line in lines]
    links.write_text("".join(" ".join(f"{n - 1 - i}-{i}" for i in range(n)) + "\n" for n in words))
    return tree(corpus, model, guided={"weight": weight, "links": str(links)})


def config(corpus: Path, model: str, tmp_path: Path, weight: float = 1.0) -> Config:
    return make_config(with_links(corpus, model, tmp_path / "links", weight))


def test_the_guided_loss_is_the_cross_entropy_of_the_rows_that_have_links():
    torch.manual_seed(1)
    attention = torch.rand(2, 3, 5, dtype=torch.float64).softmax(-1).requires_grad_()
    wanted = torch.zeros(2, 3, 5, dtype=torch.float64)
    wanted[0, 1, 2] = 1
    wanted[1, 0, :2] = 0.5
    expected = 0.0
    for b, i, j in wanted.nonzero().tolist():
        expected = expected - wanted[b, i, j] * attention[b, i, j].log()
    # The sum is in float32: three terms below 4.
    assert_close(guided(attention, wanted), expected, rtol=0, atol=16e-7, check_dtype=False)
    (gradient,) = torch.autograd.grad(guided(attention, wanted), attention)
    assert (gradient[wanted == 0] == 0).all()


def test_a_weight_of_0_where_there_should_be_some_is_finite_and_has_no_gradient():
    attention = torch.tensor([[[0.0, 1.0]]], requires_grad=True)
    loss = guided(attention, torch.tensor([[[1.0, 0.0]]]))
    assert_close(loss, -torch.tensor(1e-8).log())
    (gradient,) = torch.autograd.grad(loss, attention)
    assert (gradient == 0).all()
