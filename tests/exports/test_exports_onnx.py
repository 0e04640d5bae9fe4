from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from export_runs import run_of, saved

import qkv
from qkv.config import (
    AttentionConfig,
    ModelConfig,
    NTMConfig,
    RNNencConfig,
    RNNsearchConfig,
    SearchConfig,
    TransformerConfig,
)
from qkv.search import search_all
from qkv.text import EOS
from small_runs import qkv as command

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="the extra onnx is not installed")

CASES: dict[str, ModelConfig] = {
    "rnnenc": RNNencConfig(embedding=5, hidden=7),
    "rnnsearch": RNNsearchConfig(embedding=5, hidden=7, maxout=11),
    "linear transformer": TransformerConfig(
        width=12,
        heads=3,
        feedforward=20,
        encoder_layers=1,
        decoder_layers=2,
        attention_dropout=0.0,
        decoder_attention=AttentionConfig(score="scaled_dot", features="elu"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_onnx_finds_the_same_hypotheses_in_any_batch_and_any_search(name: str, tmp_path: Path):
    from qkv.exports.onnx_decoder import OnnxDecoder

    run = run_of(CASES[name])
    folder = qkv.export(run, tmp_path / "out", "onnx")
    decoder = OnnxDecoder(folder)
    generator = torch.Generator().manual_seed(3)
    for sizes in ([1], [19, 2, 7], [5, 5, 1, 11, 3]):
        ids = [[*torch.randint(4, 17, (n,), generator=generator).tolist(), EOS] for n in sizes]
        for method in ("greedy", "beam"):
            search = SearchConfig(method=method, beam=3, max_ratio=0.0, max_extra=13)
            with torch.inference_mode():
                ours = search_all(run.model, ids, search)
                theirs = search_all(decoder, ids, search)
            assert [[one.tokens for one in best] for best in theirs] == [
                [one.tokens for one in best] for best in ours
            ]
    facts = json.loads((folder / "qkv.json").read_text())
    told = [output.name for output in decoder._step.get_outputs()]
    assert told == list(facts["step"]["outputs"])
    assert ("attention" in told) == run.model.attends


def test_a_loop_over_the_source_is_refused(tmp_path: Path):
    run = run_of(NTMConfig(embedding=5, hidden=7, slots=11, slot_width=3))
    with pytest.raises(ValueError, match=r'model.kind = "ntm": its encoder is a loop'):
        qkv.export(run, tmp_path / "out", "onnx")


def test_what_torch_says_of_packages_that_nobody_needs_is_kept_from_the_user():
    from qkv.exports.onnx import quiet

    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.isEnabledFor(logging.WARNING)
    with quiet():
        assert not logger.isEnabledFor(logging.WARNING)
        assert logger.isEnabledFor(logging.ERROR)
    assert logger.isEnabledFor(logging.WARNING) == before


def test_the_command_says_that_recording_takes_a_while_before_it_does(tmp_path: Path):
    path = saved(
        run_of(NTMConfig(embedding=5, hidden=7, slots=11, slot_width=3)), tmp_path / "run"
    )
    outcome = command("export", path, tmp_path / "out", "--to", "onnx")
    assert outcome.status == 1
    assert outcome.err.splitlines()[0].startswith("qkv export: recording the graphs takes a while")
