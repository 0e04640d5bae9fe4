"""`qkv saliency`: from lines to values, and to a page beside the attention."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import qkv as package
from small_runs import qkv

EPS = torch.finfo(torch.float32).eps


def records(outcome) -> list[dict]:
    assert outcome.status == 0, outcome.err
    return [json.loads(line) for line in outcome.lines]


def test_each_pair_and_method_is_a_json_line_with_signed_values_and_shares(trained: Path):
    methods = ["gradient-input", "leave-one-out"]
    found = records(
        qkv("saliency", trained, "--method", *methods, stdin="a b c\tc b a\n\nd e\te d\n")
    )
    assert [(one["source"], one["method"]) for one in found] == [
        (source, method) for source in ("a b c", "d e") for method in methods
    ]
    values = torch.tensor(found[0]["values"])
    assert values.shape == (4, 4) and values.min() < 0 < values.max()
    shares = torch.tensor(found[0]["shares"])
    # a share is one division of a sum of 4 magnitudes
    assert_close(shares, values.abs() / values.abs().sum(1, keepdim=True), rtol=8 * EPS, atol=0)
    assert found[0]["source_tokens"] == ["a", "b", "c"]
    assert found[0]["target_tokens"] == ["c", "b", "a"]


def test_a_source_alone_is_translated_first(trained: Path):
    (found,) = records(qkv("saliency", trained, stdin="a b c\n"))
    best = package.load(trained).translate(["a b c"])[0][0]
    assert found["target"] == best.text
    assert found == records(qkv("saliency", trained, stdin=f"a b c\t{best.text}\n"))[0]


def test_the_input_is_named_as_by_the_other_verbs(trained: Path, tmp_path: Path):
    (tmp_path / "pairs.tsv").write_text("a b\tb a\n")
    found = qkv("saliency", trained, "--input", tmp_path / "pairs.tsv")
    assert records(found) == records(qkv("saliency", trained, stdin="a b\tb a\n"))


def test_leaving_one_out_finds_the_letter_that_each_output_copies(trained: Path):
    """The run turns sequences round, so that output i hangs on source token n - 1 - i."""
    run = package.load(trained)
    sources = ["a b c d", "g e c", "f a d b"]
    outputs = [best.ids for (best,) in run.translate(sources)]
    for found in package.explain.saliency(run, sources, outputs, method="leave-one-out"):
        read, written = found.source.text.split(), found.target.text.split()
        assert written == read[::-1]
        count = len(read)
        picked = found.values.abs()[:count, :count].argmax(1).tolist()
        assert picked == list(range(count - 1, -1, -1))


def test_integrated_gradients_say_their_gap(trained: Path):
    (found,) = records(
        qkv("saliency", trained, "--method", "integrated-gradients", stdin="a b\tb a\n")
    )
    assert "completeness gap at most" in found["note"] and len(found["gap"]) == 3


@pytest.mark.parametrize("suffix", ["html", "svg", "json"])
def test_a_file_is_written_as_its_suffix_says(suffix: str, trained: Path, tmp_path: Path):
    file = tmp_path / f"out.{suffix}"
    outcome = qkv("saliency", trained, "--output", file, stdin="a b\tb a\n")
    assert (outcome.status, outcome.out) == (0, "")
    written = sorted(tmp_path.iterdir())
    # pictures have a file each: of the attention, and of the method
    assert len(written) == (2 if suffix == "svg" else 1)
    assert outcome.err == "".join(f"qkv saliency: wrote {one}\n" for one in written)
    if suffix == "json":
        printed = qkv("saliency", trained, stdin="a b\tb a\n").out
        assert file.read_text(encoding="utf-8") == printed


def test_a_model_without_attention_has_its_saliency_too(without_attention: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    outcome = qkv("saliency", without_attention, "--output", page, stdin="a b\tb a\n")
    assert outcome.status == 0 and "gradient · a b → b a" in page.read_text(encoding="utf-8")
    outcome = qkv("saliency", without_attention, "--method", "rollout", stdin="a b\tb a\n")
    assert outcome.status == 1 and "RNNenc has no attention" in outcome.err


@pytest.mark.parametrize(
    ("words", "stdin", "status", "said"),
    [
        (["--method", "gradients"], "a\n", 2, "gradient"),
        (["--output", "page.pdf"], "a\n", 2, "must end in one of .html, .svg, .png, .json"),
        (["--output", "nowhere/page.html"], "a\n", 2, "there is no folder nowhere"),
        ([], "a\tb\tc\n", 1, "line 1 of those with text: 3 columns"),
        ([], "\n\n", 1, "standard input holds no line with text"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(words, stdin, status, said, trained: Path):
    outcome = qkv("saliency", trained, *words, stdin=stdin)
    assert (outcome.status, outcome.out) == (status, "") and said in outcome.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            (["a"], ["a"], "gradiant"),
            "unknown saliency method .*Did you mean 'gradient'",
        ),
        ((["a"], []), "1 sources, but 0 targets"),
        (("a", ["a"]), r"saliency takes a list of texts; for one, write \['a'\]"),
    ],
)
def test_what_python_gives_wrong_is_refused(given, said, trained: Path):
    with pytest.raises(ValueError, match=said):
        package.explain.saliency(package.load(trained), *given)
