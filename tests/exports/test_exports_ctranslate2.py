from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from export_runs import run_of, saved

import qkv
from qkv.config import AttentionConfig, LuongConfig, ModelConfig, TransformerConfig
from qkv.config.search import SearchConfig
from qkv.exports.compare import search_ids
from qkv.search.forced import force
from qkv.text import Side, Vocabulary
from qkv.text.words import Words
from small_runs import qkv as command

ctranslate2 = pytest.importorskip("ctranslate2", reason="the extra ctranslate2 is not installed")

SMALL = TransformerConfig(
    width=21, heads=3, feedforward=13, encoder_layers=2, decoder_layers=2, max_positions=23
)
CASES: dict[str, tuple[TransformerConfig, bool]] = {
    "pre": (SMALL, False),
    "post, untied": (replace(SMALL, norm="post", tie_embeddings=False), False),
    "learned, all tied": (replace(SMALL, positions="learned"), True),
    "rotary": (replace(SMALL, positions="rotary", width=24), False),
    "no positions": (replace(SMALL, positions="none"), False),
    "one head of keys": (replace(SMALL, kv_heads=1), False),
    "uneven depth": (replace(SMALL, encoder_layers=3, decoder_layers=1), False),
}


def drawn(sizes: list[int], vocabulary: int, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(4, vocabulary, (n,), generator=generator).tolist() for n in sizes]


@pytest.mark.parametrize("name", CASES)
def test_ctranslate2_finds_the_same_tokens_in_any_batch(name: str, tmp_path: Path):
    model, shared = CASES[name]
    run = run_of(model, shared=shared)
    folder = qkv.export(run, tmp_path / "out", "ctranslate2")
    translator = ctranslate2.Translator(str(folder), compute_type="float32", intra_threads=1)
    index = {symbol: i for i, symbol in enumerate(run.target.vocabulary.symbols)}
    for seed, sizes in enumerate([[1], [19, 2, 7], [5, 5, 1, 11, 3]]):
        sources = drawn(sizes, len(run.source.vocabulary), seed)
        results = translator.translate_batch(
            [run.source.vocabulary.spell(ids) for ids in sources],
            beam_size=1,
            min_decoding_length=0,
            max_decoding_length=13,
            suppress_sequences=[["<pad>"], ["<s>"]],
        )
        found = [tuple(index[token] for token in one.hypotheses[0]) for one in results]
        assert found == search_ids(run.model, sources, 13, limit=None)


def test_ctranslate2_gives_the_attention_of_the_head_that_the_config_names(tmp_path: Path):
    run = run_of(replace(SMALL, alignment="0.2"))
    folder = qkv.export(run, tmp_path / "out", "ctranslate2")
    translator = ctranslate2.Translator(str(folder), compute_type="float32", intra_threads=1)
    sources = drawn([7], len(run.source.vocabulary), 1)
    (result,) = translator.translate_batch(
        [run.source.vocabulary.spell(ids) for ids in sources],
        beam_size=1,
        max_decoding_length=5,
        suppress_sequences=[["<pad>"], ["<s>"], ["</s>"]],
        return_attention=True,
    )
    index = {symbol: i for i, symbol in enumerate(run.target.vocabulary.symbols)}
    target = [index[token] for token in result.hypotheses[0]]
    (ours,) = force(run.model, sources, [target])
    assert ours.attention is not None
    # It leaves out the column of the end symbol. A weight is e^x / sum of 8 such: 64 eps each.
    torch.testing.assert_close(
        torch.tensor(result.attention[0]),
        ours.attention[: len(target), :7],
        rtol=0,
        atol=64 * 8 * torch.finfo(torch.float32).eps,
    )


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (LuongConfig(embedding=5, hidden=7), 'model.kind = "luong"'),
        *(
            (replace(SMALL, **{which: AttentionConfig(**slots)}), f"model.{which}.{key} = ")
            for which, slots, key in (
                ("encoder_attention", {"score": "additive"}, "score"),
                ("decoder_attention", {"score": "scaled_dot", "scope": "local-m"}, "scope"),
                ("cross_attention", {"score": "scaled_dot", "normalizer": "entmax"}, "normalizer"),
                ("encoder_attention", {"score": "scaled_dot", "bias": "alibi"}, "bias"),
                ("encoder_attention", {"score": "scaled_dot", "features": "elu"}, "features"),
                ("decoder_attention", {"score": "scaled_dot", "temperature": 0.5}, "temperature"),
                (
                    "cross_attention",
                    {"score": "scaled_dot", "layer_scores": ("scaled_dot", "dot")},
                    "score",
                ),
            )
        ),
    ],
)
def test_what_ctranslate2_cannot_express_is_refused_by_its_key(
    model: ModelConfig, said: str, tmp_path: Path
):
    with pytest.raises(ValueError, match="CTranslate2") as error:
        qkv.export(run_of(model), tmp_path / "out", "ctranslate2")
    assert said in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_symbol_that_is_spelled_as_a_special_is_refused(tmp_path: Path):
    run = run_of(SMALL)
    words = [*run.source.vocabulary.symbols[4:-1], "</s>"]
    twisted = replace(run, source=Side(Words(), Vocabulary(words)))
    with pytest.raises(ValueError, match=r"source vocabulary has '</s>' as an ordinary symbol"):
        qkv.export(twisted, tmp_path / "out", "ctranslate2")


@pytest.mark.parametrize(
    ("name", "said"),
    [("decoder.0.around_cross.norm.bias", "it gives"), ("output.project.bias", "it gives")],
)
def test_an_export_that_says_something_else_is_not_kept(name: str, said: str, tmp_path: Path):
    """What is written differs from what is asked: as a wrong weight in the export would."""
    run = run_of(replace(SMALL, tie_embeddings=False))
    from qkv.exports import ctranslate2 as module

    def twisted(model: Any, config: Any) -> Any:
        with torch.no_grad():
            parameter = dict(model.named_parameters())[name]
            before = parameter.clone()
            parameter.add_(torch.linspace(-1, 1, parameter.numel()))
            try:
                return specification(model, config)
            finally:
                parameter.copy_(before)

    specification = module.specification
    with (
        patch.object(module, "specification", twisted),
        pytest.raises(ValueError, match="is wrong and was not kept") as error,
    ):
        qkv.export(run, tmp_path / "out", "ctranslate2")
    assert said in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_folder_that_holds_all_that_texts_need(tmp_path: Path):
    run = run_of(SMALL)
    path = saved(run, tmp_path / "run")
    texts = tmp_path / "texts"
    texts.write_text("s0 s1 s2\ns3 unheard-of\n")
    outcome = command("export", path, tmp_path / "out", "--to", "ctranslate2", "--check", texts)
    assert (outcome.status, outcome.out) == (0, f"{tmp_path / 'out'}\n")
    assert outcome.err == "qkv export: it finds the model's tokens for all of 9 sources\n"
    facts = json.loads((tmp_path / "out" / "qkv.json").read_text())
    assert facts["format"] == "ctranslate2" and facts["checked"]["sources"] == 9
    source = Side.load(tmp_path / "out" / facts["source"]["file"])
    target = Side.load(tmp_path / "out" / facts["target"]["file"])
    assert (source.digest, target.digest) == (run.source.digest, run.target.digest)


def test_the_readme_of_an_export_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = run_of(SMALL)
    folder = qkv.export(run, tmp_path / "out", "ctranslate2")
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(folder)
    exec(code.replace('["..."]', '["s0 s3 s1", "s5"]'), {})
    expected = run.translate(
        ["s0 s3 s1", "s5"],
        search=SearchConfig(beam=5, alpha=1.0, max_ratio=0.0, max_extra=250),
    )
    assert len(eval(capsys.readouterr().out)) == len(expected)


def test_a_folder_that_holds_something_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    outcome = command(
        "export", saved(run_of(SMALL), tmp_path / "run"), tmp_path, "--to", "ctranslate2"
    )
    assert outcome.status == 1
    assert f"{tmp_path} is not an empty folder" in outcome.err


def test_an_unknown_format_is_refused_with_the_nearest_one(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no format 'ctranslate'.*Did you mean 'ctranslate2'"):
        qkv.export(run_of(SMALL), tmp_path / "out", "ctranslate")


@pytest.mark.parametrize(
    ("to", "package"), [("ctranslate2", "ctranslate2"), ("onnx", "onnxruntime")]
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    to: str, package: str, tmp_path: Path
):
    with (
        patch.dict(sys.modules, {package: None}),
        pytest.raises(
            ValueError, match=rf"needs the package {package}: pip install 'qkv\[{to}\]'"
        ),
    ):
        qkv.export(run_of(SMALL), tmp_path / "out", to)
