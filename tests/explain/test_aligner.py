"""Alignments of all attentions of a model: planted weights, and small models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from qkv.config import Config, TokenizerConfig
from qkv.data import Pair
from qkv.explain import Looked, Reading, align, align_words, every_head, joined, look, rank
from qkv.explain import aligner as aligner_module
from qkv.explain import ranking as ranking_module
from qkv.explain.ranking import best_reading, dev_pairs
from qkv.models.build import build_model
from qkv.run import Run
from qkv.text import Side
from small_runs import small

EPS = torch.finfo(torch.float32).eps
TEXTS = ["a b c d", "c b a", "d d a", "b"]


def words(text: str) -> Side:
    return Side.train(TokenizerConfig(kind="words"), [text])


def planted(*heads: list[list[int]]) -> Looked:
    """Heads of one layer, each given as where every row looks; the last row and column are EOS."""
    source, target = words("a b c").encode("a b c"), words("x y").encode("x y")
    rows = torch.full((1, len(heads), 3, 4), 0.01)
    for n, places in enumerate(heads):
        for i, place in enumerate(places):
            rows[0, n, i, place] = 0.97
    return Looked(source, target, rows[0, 0], rows)


def links(reading: str, looked: Looked) -> str:
    rows = Reading(reading).rows(looked)
    return align_words(rows, looked.source, looked.target).pharaoh()


def test_each_reading_of_planted_heads_gives_the_links_that_were_planted():
    looked = planted([0, 1, 2], [2, 2, 0], [2, 0, 3])
    assert links("0.0", looked) == links("model", looked) == "0-0 1-1"
    assert links("0.1", looked) == "2-0 2-1"
    assert links("0.2", looked) == "0-1 2-0"
    assert links("mean", looked) == links("0", looked) == "0-1 2-0"
    assert links("0.0+shift", looked) == "1-0 2-1"
    assert links("0.1+shift", looked) == "0-1 2-0"
    heavy = planted([0, 1, 2], [2, 2, 0])
    heavy.heads[0, 1, 0, 2] = 0.98  # larger than any other weight of its row
    assert links("max", heavy) == "1-1 2-0"


def test_every_reading_keeps_the_mass_of_a_row():
    looked = planted([0, 1, 2], [2, 2, 0], [2, 0, 3])
    looked = looked._replace(heads=looked.heads / looked.heads.sum(-1, keepdim=True))
    for name in ("mean", "max", "0", "0.2", "mean+shift", "max+shift"):
        rows = Reading(name).rows(looked)
        assert_close(rows.sum(-1), torch.ones(len(rows)), rtol=0, atol=8 * EPS)
        assert len(rows) == (2 if name.endswith("+shift") else 3)


@pytest.mark.parametrize("name", ["", "men", "1.", "1.2.3", "-1", "mean+shifted", "auto", "head"])
def test_a_reading_of_another_form_is_refused(name: str):
    with pytest.raises(ValueError, match=r"is not known; allowed: model, mean, max, a layer"):
        Reading(name)


@pytest.mark.parametrize("name", ["1", "1.0", "0.3", "7.7+shift"])
def test_a_head_out_of_range_is_refused_with_those_that_are_there(name: str):
    with pytest.raises(ValueError, match=r"1 layers of 3 heads.*0 to 0, or 0\.0 to 0\.2"):
        Reading(name).rows(planted([0, 1, 2], [2, 2, 0], [2, 0, 3]))


def untrained(kind: str, seed: int = 1) -> Run:
    torch.manual_seed(seed)
    side = words(" ".join(TEXTS))
    config = small(Path("nowhere"), kind)
    size = len(side.vocabulary)
    return Run(config, side, side, build_model(config.model, size, size, shared=False).eval())


@pytest.mark.parametrize("kind", ["rnnsearch", "luong", "transformer", "hard"])
def test_what_a_batch_looks_at_is_what_each_pair_looks_at_alone(kind: str):
    run = untrained(kind)
    pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
    for looked, (source, target) in zip(look(run, *zip(*pairs, strict=True)), pairs, strict=True):
        alone = every_head(run.model, looked.source.ids, looked.target.ids)
        across_alone = [rows for name, rows in alone.items() if "encoder" not in name]
        across_alone = [w for n, w in alone.items() if n.endswith("cross_attention")] or (
            across_alone
        )
        assert (looked.source.text, looked.target.text) == (source, target)
        expected = torch.stack([rows if rows.dim() == 3 else rows[None] for rows in across_alone])
        # Padding changes no output, but the order of some sums.
        assert_close(looked.heads, expected.view_as(looked.heads), rtol=0, atol=64 * EPS)
        own = run.force([source], [target])[0].attention
        assert own is not None
        assert_close(looked.own, own, rtol=0, atol=64 * EPS)


def test_align_joins_both_directions_over_words():
    forward, backward = untrained("transformer"), untrained("luong", seed=2)
    sources, targets = TEXTS, TEXTS[::-1]
    there = align(forward, sources, targets, attention="1.2")
    back = align(backward, targets, sources)
    for how in ("intersection", "union", "grow-diag-final-and"):
        found = align(
            forward,
            sources,
            targets,
            attention="1.2",
            reverse=backward,
            reverse_attention="model",
            symmetrize=how,
        )
        for one, two, both in zip(there, back, found, strict=True):
            first = {(link.source, link.target) for link in one.links}
            second = {(link.target, link.source) for link in two.links}
            given = {(link.source, link.target) for link in both.links}
            if how == "intersection":
                assert given == first & second
            elif how == "union":
                assert given == first | second
            assert first & second <= given <= first | second
            assert_close(both.matrix, (one.matrix + two.matrix.T) / 2)
            assert both.method == f"argmax, {how}"


def test_alignments_of_other_words_are_not_joined():
    run = untrained("luong")
    one, other = align(run, ["a b"], ["c"])[0], align(run, ["a"], ["c"])[0]
    with pytest.raises(ValueError, match="not of the same words"):
        joined(one, other, "union")


def test_a_threshold_is_part_of_the_methods_name():
    run = untrained("luong")
    found = align(run, TEXTS, TEXTS[::-1], method="threshold 0.2")
    assert {one.method for one in found} == {"threshold 0.2"}
    for one in found:
        assert len(one.links) == int((one.matrix >= 0.2).sum())
    with pytest.raises(ValueError, match="a threshold is a number, as in"):
        align(run, TEXTS, TEXTS, method="threshold high")
    with pytest.raises(ValueError, match="unknown alignment method 'argmin'"):
        align(run, TEXTS, TEXTS, method="argmin")


def test_what_cannot_be_aligned_is_refused():
    with pytest.raises(ValueError, match="RNNenc has no attention to align by"):
        align(untrained("rnnenc"), ["a"], ["a"])
    run = untrained("luong")
    with pytest.raises(ValueError, match="2 sources, but 1 targets"):
        align(run, ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="unknown symmetrisation 'grow'"):
        align(run, ["a"], ["a"], symmetrize="grow")
    with pytest.raises(ValueError, match="1 layers of 1 heads"):
        align(run, ["a"], ["a"], attention="1.0")
    for texts in (("abc", "cba"), (["abc"], "c"), ("c", ["abc"])):
        with pytest.raises(ValueError, match="takes a list of texts; for one, write"):
            align(run, *texts)
    assert align(run, [], []) == []


def plant(monkeypatch: pytest.MonkeyPatch, **heads: list[list[list[int]]]) -> None:
    """Let models look where the heads that belong to their kind say, for every pair of 3 words."""

    def looked(run, sources, targets):
        for source, target in zip(sources, targets, strict=True):
            rows = torch.full((1, len(heads[run.config.model.kind]), 4, 4), 0.01)
            for n, places in enumerate(heads[run.config.model.kind]):
                for i, place in enumerate(places):
                    rows[0, n, i, place] = 0.9 + 0.01 * i
            yield Looked(run.source.encode(source), run.target.encode(target), rows[0, 0], rows)

    monkeypatch.setattr(ranking_module, "look", looked)
    monkeypatch.setattr(aligner_module, "look", looked)


MUDDLED, TURNED, STRAIGHT = [0, 0, 0, 3], [2, 1, 0, 3], [0, 1, 2, 3]
PAIRS = [Pair("a b c", "c b a", 1), Pair("b c a", "d b b", 2)]


def test_agreement_prefers_a_head_that_is_a_permutation(monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch, transformer=[MUDDLED, TURNED])
    ranked = rank(untrained("transformer"), PAIRS)
    assert (ranked[0].attention, ranked[0].value) == ("0.1", 1.0)
    value = {one.attention: one.value for one in ranked}
    assert value["0.0"] == pytest.approx(2 * 1 / 6)  # F: 0-0 0-1 0-2, B: 0-2, and first of equals


def test_gold_links_choose_the_head_that_has_them(monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch, transformer=[MUDDLED, TURNED, STRAIGHT])
    run = untrained("transformer")
    for places, name in ((TURNED, "0.1"), (STRAIGHT, "0.2"), ([1, 2, 3], "0.2+shift")):
        gold = frozenset((j, i) for i, j in enumerate(places[:3]) if j < 3)
        pairs = [Pair(pair.source, pair.target, 1, links=gold) for pair in PAIRS]
        assert best_reading(run, pairs).attention == name
    turned = [Pair(p.source, p.target, 1, links=frozenset({(2, 0), (1, 1)})) for p in PAIRS]
    best = best_reading(run, turned, by="aer")
    assert best.value == pytest.approx(1 - (2 + 2) / (3 + 2))


def test_a_possible_link_may_be_found_but_need_not_be(monkeypatch: pytest.MonkeyPatch):
    """Turned finds 2-0 1-1 0-2; of S = {1-1} and P = {1-1, 2-0}: 1 - (1 + 2) / (3 + 1)."""
    plant(monkeypatch, transformer=[TURNED])
    sure, links = frozenset({(1, 1)}), frozenset({(1, 1), (2, 0)})
    pairs = [Pair(pair.source, pair.target, 1, links=links, sure=sure) for pair in PAIRS]
    ranked = {one.attention: one.value for one in rank(untrained("transformer"), pairs)}
    assert ranked["0.0"] == pytest.approx(1 / 4)
    other = best_reading(untrained("transformer"), [pair.turned() for pair in pairs])
    assert other.value == pytest.approx(1 / 4)  # both are their own mirrors


def test_with_the_other_direction_the_two_that_agree_are_chosen(monkeypatch: pytest.MonkeyPatch):
    """Reading 0.1 of one is a circle, and 0.2 of the other is the same circle backwards."""
    circle, back = [1, 2, 0, 3], [2, 0, 1, 3]
    plant(monkeypatch, transformer=[STRAIGHT, circle], luong=[MUDDLED, circle, back])
    best = best_reading(untrained("transformer"), PAIRS, reverse=untrained("luong"))
    assert best == (1.0, "0.1", "0.2")
    found = align(
        untrained("transformer"),
        ["a b c"],
        ["c b a"],
        attention=best.attention,
        reverse=untrained("luong"),
        reverse_attention=best.reverse,
        symmetrize="intersection",
    )
    assert found[0].pharaoh() == "0-2 1-0 2-1"


def test_what_cannot_be_ranked_is_refused():
    run = untrained("luong")
    with pytest.raises(ValueError, match="these pairs have none; rank by agreement"):
        rank(run, PAIRS, by="aer")
    with pytest.raises(ValueError, match="no pairs to rank"):
        rank(run, [])
    with pytest.raises(ValueError, match="no data"):
        dev_pairs(Config())


def test_auto_ranks_on_the_dev_data_of_the_run(corpus: Path):
    run = untrained("transformer")
    told = Run(small(corpus, "transformer"), run.source, run.target, run.model)
    best = best_reading(told, dev_pairs(told.config))
    found = align(told, TEXTS, TEXTS, attention="auto")
    expected = align(told, TEXTS, TEXTS, attention=best.attention)
    assert [one.pharaoh() for one in found] == [one.pharaoh() for one in expected]


def test_what_is_ranked_on_is_pairs_or_pairs_of_texts():
    run = untrained("luong")
    texts = [(text, text) for text in TEXTS]
    assert rank(run, texts) == rank(run, [Pair(text, text, 1) for text in TEXTS])
    with pytest.raises(ValueError, match=r"pairs are .*\('source', 'target'\), but .* a str"):
        rank(run, TEXTS)
