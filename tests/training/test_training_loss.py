from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_trainer import build_trainer
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from qkv.data import collate
from qkv.text import PAD
from qkv.training.loss import SequenceLoss
from small_runs import MODELS, small

EPS = torch.finfo(torch.float32).eps


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.37])
@pytest.mark.parametrize("model", MODELS)
def test_the_loss_is_the_cross_entropy_of_the_real_tokens(
    model: str, smoothing: float, corpus: Path, tmp_path: Path
):
    trainer = build_trainer(small(corpus, model), tmp_path / "run")
    trainer.model.eval()
    batch = collate(trainer.task.train, [0, 3, 5, 7, 11])
    assert (batch.target_out == PAD).any(), "the batch must have padding to leave out"

    smoothed, plain = SequenceLoss(trainer.model, smoothing)(
        batch.source, batch.source_lengths, batch.target_in, batch.target_out
    )

    logits = trainer.model(batch.source, batch.source_lengths, batch.target_in).flatten(0, 1)
    settings = {"ignore_index": PAD, "reduction": "sum"}
    target = batch.target_out.flatten()
    expected = cross_entropy(logits, target, label_smoothing=smoothing, **settings)
    # A sum of a term a token, each the difference of two numbers of the size of the logits.
    tokens = int(batch.target_lengths.sum())
    tolerance = {"rtol": 0.0, "atol": 4 * EPS * tokens * float(logits.detach().abs().max() + 3)}
    assert_close(smoothed, expected, **tolerance)
    assert_close(plain, cross_entropy(logits, target, **settings), **tolerance)
    assert smoothed.requires_grad and not plain.requires_grad


def test_padding_changes_neither_the_loss_nor_its_gradient(corpus: Path, tmp_path: Path):
    trainer = build_trainer(small(corpus, "transformer"), tmp_path / "run")
    trainer.model.eval()
    loss = SequenceLoss(trainer.model, 0.1)
    batch = collate(trainer.task.train, [0, 3, 5])
    pads = torch.full((3, 4), PAD)

    def gradient(*given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value, _ = loss(*given)
        grads = torch.autograd.grad(value, list(trainer.model.parameters()))
        return value, torch.cat([grad.flatten() for grad in grads])

    value, grad = gradient(batch.source, batch.source_lengths, batch.target_in, batch.target_out)
    padded_value, padded_grad = gradient(
        batch.source,
        batch.source_lengths,
        torch.cat([batch.target_in, pads], 1),
        torch.cat([batch.target_out, pads], 1),
    )
    tokens = int(batch.target_lengths.sum())
    assert_close(padded_value, value, rtol=EPS * tokens, atol=0.0)
    assert_close(padded_grad, grad, rtol=0.0, atol=EPS * tokens * float(grad.abs().max()) * 10)
