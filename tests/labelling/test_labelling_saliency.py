"""Saliency of runs that give labels: a row a label, a column a word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import qkv as package
from qkv.figures import saliency_map
from small_runs import qkv


def records(outcome) -> list[dict]:
    assert outcome.status == 0, outcome.err
    return [json.loads(line) for line in outcome.lines]


def test_a_text_is_classified_and_its_label_hangs_on_its_words(classifier: Path, labels: Path):
    run = package.load(classifier)
    text, _ = (labels / "dev.tsv").read_text().splitlines()[0].split("\t")
    methods = ("gradient", "leave-one-out", "integrated-gradients", "rollout")
    found = records(qkv("saliency", classifier, "--method", *methods, stdin=f"{text}\n"))
    (answer,) = run.classify([text])
    words = len(answer.source.ids)
    for one in found:
        assert one["target"] == answer.label
        assert torch.tensor(one["values"]).shape == (1, words)
    # the only attention there is; both are float32 sums of the same softmax
    assert_close(torch.tensor(found[3]["values"][0]), answer.attention, rtol=1e-6, atol=1e-7)


def test_leaving_a_word_out_is_the_change_of_the_label_given(classifier: Path):
    run = package.load(classifier)
    text = "a b c d"
    given = run.target.vocabulary.symbols[-1]
    (found,) = package.explain.saliency(run, [text], [given], method="leave-one-out")
    ids, lengths = torch.tensor([run.source.ids(text)]), torch.tensor([4])
    with torch.no_grad():
        whole = run.network(ids, lengths).logits.log_softmax(-1)[0, -1]
        silenced = ids.clone()
        silenced[0, 2] = 0
        without = run.network(silenced, lengths).logits.log_softmax(-1)[0, -1]
    # float32 log-probabilities of a few units, through some 50 operations
    assert_close(found.values[0, 2], whole - without, rtol=0, atol=50 * 4 * 2.0**-23)


def test_each_tag_hangs_on_words_and_lies_beside_the_attention(tagger: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    outcome = qkv("saliency", tagger, "--output", page, stdin="a b c\n")
    assert outcome.status == 0 and "gradient · a b c → " in page.read_text(encoding="utf-8")
    run = package.load(tagger)
    (tags,) = run.tag(["a b c"])
    (found,) = package.explain.saliency(run, ["a b c"], [tags.text])
    shown = saliency_map(run, found)
    assert shown.shape == (1, 1, 3, 3) and list(shown.target) == list(tags.tags)


def test_a_texts_label_hangs_on_its_words_through_its_sentences(hierarchical: Path):
    run, text = package.load(hierarchical), "a b . c up d . e"
    methods = ("gradient", "gradient-input", "leave-one-out", "rollout")
    found = records(qkv("saliency", hierarchical, "--method", *methods, stdin=f"{text}\n"))
    (answer,) = run.classify([text])
    assert {one["target"] for one in found} == {answer.label} == {"up"}
    assert all(len(one["values"][0]) == 8 for one in found)
    # both are float32 products of the same two weights
    assert_close(torch.tensor(found[3]["values"][0]), answer.attention, rtol=1e-6, atol=1e-7)
    assert torch.tensor(found[2]["values"][0]).argmax() == 4  # the word that says the label


def test_what_cannot_be_asked_of_labels_is_refused(classifier: Path, tagger: Path):
    for run, line, said in (
        (classifier, "a b\tnolabel", "'nolabel' is not 1 label that the model knows"),
        (tagger, "a b\tX", "'X' is not 2 labels that the model knows"),
    ):
        outcome = qkv("saliency", run, stdin=f"{line}\n")
        assert (outcome.status, outcome.out) == (1, "") and said in outcome.err
    with pytest.raises(ValueError, match="without a token"):
        package.explain.saliency(package.load(classifier), [""], ["x"])
