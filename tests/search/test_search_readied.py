"""What a model is searched with is laid out once, and again when it has changed."""

from __future__ import annotations

import torch

from qkv.config import TransformerConfig
from qkv.models.build import build_model
from qkv.search.readied import Readied


def test_the_layout_is_kept_until_a_parameter_or_the_precision_changes():
    model = build_model(TransformerConfig(width=12, heads=3, feedforward=10), 11, 13).eval()
    readied = Readied(model)
    first = readied.decoder("float32")
    assert readied.decoder("float32") is first
    with torch.no_grad():
        next(model.parameters()).add_(1)
    second = readied.decoder("float32")
    assert second is not first and second is readied.decoder("float32")
    assert readied.decoder("bfloat16") is not second
