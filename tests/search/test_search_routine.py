"""Search against loops: enumeration, a beam in lists, forced decoding."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import Fixed, Tiny, enumerate_all, force, naive_beam, padded, sentences
from torch.testing import assert_close

from qkv.config import SearchConfig
from qkv.models.decoder import Step
from qkv.search import Scoring, search, search_all
from qkv.text import BOS, EOS, PAD, UNK

ALPHAS = [-1.0, 0.0, 0.6, 1.0, 2.0]
METHODS = ["beam", "greedy", "sample"]
# The models work in float64; sums of at most 40 terms of size below 100 differ by less than this.
EXACT = {"rtol": 0.0, "atol": 40 * 100 * torch.finfo(torch.float64).eps}


def run(model, ids, config, n_best=1):
    return search(model, *padded(ids), config, n_best)


def test_a_coverage_penalty_ranks_by_the_attention_of_all_rows():
    """Without it, the enumeration below could pass with a penalty that is never computed."""
    model, ids = Tiny(6, seed=3), [[7, 8, EOS]]
    config = SearchConfig(beam=200, alpha=1.0, max_ratio=0, max_extra=4)
    without = run(model, ids, config, 40)[0]
    penalised = run(model, ids, replace(config, coverage=0.7), 40)[0]
    assert [one.tokens for one in without] != [one.tokens for one in penalised]


@pytest.mark.parametrize("coverage", [0.0, 0.7])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_beam_as_wide_as_all_prefixes_equals_enumeration(alpha, coverage):
    config = SearchConfig(beam=200, alpha=alpha, coverage=coverage, max_ratio=0, max_extra=4)
    for seed, ids in enumerate(sentences(5, seed=1)):
        model = Tiny(6, seed=seed, end=-1.0 + seed)
        expected = enumerate_all(model, 6, ids, config)
        found = run(model, [ids], config, 12)[0]
        assert [one.tokens for one in found] == [one.tokens for one in expected[:12]]
        for one, other in zip(found, expected, strict=False):
            assert_close(one.score, other.score, **EXACT)
            assert_close(one.log_prob, other.log_prob, **EXACT)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_stopping_early_finds_what_a_beam_that_never_stops_finds(alpha):
    config = SearchConfig(beam=3, alpha=alpha, max_ratio=1.0, max_extra=5)
    stopped = 0
    for seed, ids in enumerate(sentences(5, seed=2, longest=4)):
        model = Tiny(9, seed=seed, end=1.0)
        found = run(model, [ids], config, 3)[0]
        stopped += len(model.batches) < len(ids) - 1 + 5
        expected = naive_beam(model, 9, ids, config)[:3]
        assert [one.tokens for one in found] == [one.tokens for one in expected]
        assert_close([one.score for one in found], [one.score for one in expected], **EXACT)
    assert stopped > 0 or alpha == 2.0  # some stop before the limit, or the test shows nothing


@pytest.mark.parametrize("alpha", [-2.0, *ALPHAS])
def test_beam_1_equals_greedy_equals_a_loop_of_argmax(alpha):
    model, ids = Tiny(seed=5, end=0.5), sentences(30, seed=3)
    config = SearchConfig(beam=1, alpha=alpha, max_extra=8)
    beam = run(model, ids, config)
    greedy = run(model, ids, replace(config, method="greedy", beam=5))
    assert beam == greedy
    for source, (found,) in zip(ids, greedy, strict=True):
        state = model.start(*padded([source]))
        token, output = BOS, []
        while token != EOS and len(output) < 3 * (len(source) - 1) + 8:
            log_probs, state, _ = model.step(torch.tensor([[token]]), state)
            log_probs[..., [PAD, BOS]] = -torch.inf
            token = int(log_probs.argmax())
            output.append(token)
        assert found.complete == (token == EOS)
        assert found.tokens == tuple(output[: len(output) - found.complete])


@pytest.mark.parametrize("alpha", ALPHAS)
def test_fewer_of_the_n_best_are_the_first_of_more(alpha):
    ids = sentences(20, seed=4)
    config = SearchConfig(beam=5, alpha=alpha, max_extra=6)
    five = run(Tiny(seed=6, end=1.0), ids, config, 5)
    for n_best in range(1, 5):
        fewer = run(Tiny(seed=6, end=1.0), ids, config, n_best)
        assert fewer == [found[:n_best] for found in five]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_neither_batch_nor_order_changes_a_result(batch, method):
    model, ids = Tiny(seed=7, end=1.0, dtype=torch.float32), sentences(200, seed=5)
    config = SearchConfig(method=method, beam=4, coverage=0.1, top_p=0.9)
    together = run(model, ids, config)
    order = list(range(len(ids)))
    random.Random(batch).shuffle(order)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        for i, (found,) in zip(rows, run(model, [ids[i] for i in rows], config), strict=True):
            (expected,) = together[i]
            assert found.tokens == expected.tokens
            # float32: up to 40 steps, each off by a few eps of numbers around 10
            assert_close(found.score, expected.score, rtol=0, atol=1e-5)
            assert_close(found.attention, expected.attention, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_padding_is_invisible(method):
    model, ids = Tiny(seed=8, end=1.0), sentences(9, seed=6)
    config = SearchConfig(method=method, beam=3, coverage=0.2)
    plain = search(model, *padded(ids), config)
    more = search(model, *padded(ids, extra=5), config)
    for (found,), (expected,) in zip(more, plain, strict=True):
        assert found.tokens == expected.tokens
        assert_close(found.score, expected.score, **EXACT)
        assert_close(found.attention, expected.attention, **EXACT)


@pytest.mark.parametrize(("method", "beam", "n_best"), [
    ("greedy", 1, 1), ("beam", 1, 1), ("beam", 2, 2), ("beam", 13, 13), ("sample", 1, 5),
])  # fmt: skip
def test_recorded_rows_and_log_p_equal_forced_decoding(method, beam, n_best):
    model, ids = Tiny(seed=9, end=1.0), sentences(15, seed=7)
    config = SearchConfig(method=method, beam=beam, temperature=1.3)
    several = 0
    for source, found in zip(ids, run(model, ids, config, n_best), strict=True):
        several += len(found) > 1
        for one in found:
            output = [*one.tokens, *([EOS] if one.complete else [])]
            log_prob, rows = force(model, source, output)
            assert one.attention.shape == (one.length, len(source)) == rows.shape
            assert_close(one.attention, rows, **EXACT)
            assert_close(one.log_prob, log_prob, **EXACT)
    assert several > 0 or n_best == 1


def test_a_score_is_recomputable_from_the_hypothesis():
    config = SearchConfig(alpha=0.6, coverage=0.3)
    for found in run(Tiny(seed=1, end=1.0), sentences(9, seed=8), config, 5):
        for one in found:
            again = Scoring(0.6, 0.3).of(one.log_prob, one.length, one.attention)
            assert_close(again, one.score, **EXACT)


@pytest.mark.parametrize("method", METHODS)
def test_pad_and_bos_are_never_emitted_and_unk_may_be(method):
    likely = Fixed([0.4, 0.4, 0.05, 0.1, 0.05])
    config = SearchConfig(method=method, beam=4, max_extra=6, alpha=-1.0)
    found = search(likely, *padded([[4, EOS]] * 3), config)
    tokens = {token for (one,) in found for token in one.tokens}
    assert tokens <= {UNK, 4}
    best = search(likely, *padded([[EOS]]), replace(config, method="greedy"))[0][0]
    assert set(best.tokens) == {UNK}


def test_what_never_ends_is_cut_at_the_longest_length_and_flagged():
    endless = Fixed([0, 0, 0, 0.4, 0.6])
    config = SearchConfig(beam=3, max_ratio=1.5, max_extra=2)
    short, long = search(endless, *padded([[EOS], [4, 4, 4, EOS]]), config, 2)
    assert short[0].tokens == (4, 4)
    assert [one.length for one in long] == [6, 6]  # floor(1.5 * 3) + 2
    assert not any(one.complete for one in [*short, *long])
    assert_close(short[0].score, short[0].log_prob / (7 / 6), **EXACT)


def test_what_ends_at_the_longest_length_is_complete_and_hides_what_was_cut():
    config = SearchConfig(beam=4, max_ratio=0, max_extra=1)
    found = search(Fixed([0, 0, 0.01, 0.5, 0.49]), *padded([[EOS]]), config, 4)[0]
    assert [(one.tokens, one.complete, one.length) for one in found] == [((), True, 1)]


def test_finished_sentences_leave_the_batch():
    model = Tiny(seed=7, end=1.0)
    run(model, sentences(64, seed=5), SearchConfig(beam=2))
    assert model.batches == sorted(model.batches, reverse=True)
    assert model.batches[0] == 64 and model.batches[-1] < 8


def test_greedy_search_copies_the_state_only_when_a_sentence_leaves():
    model = Tiny(seed=7, end=1.0)
    run(model, sentences(8, seed=5), SearchConfig(method="greedy"))
    left = sum(a != b for a, b in zip(model.batches, model.batches[1:], strict=False))
    assert model.copies == left


def test_a_model_without_attention_has_none_and_refuses_a_coverage_penalty():
    model = Tiny(attends=False)
    assert run(model, [[5, EOS]], SearchConfig())[0][0].attention is None
    with pytest.raises(ValueError, match=r"coverage needs attention.*search\.coverage = 0"):
        run(model, [[5, EOS]], SearchConfig(coverage=0.1))


def test_an_empty_batch_gives_nothing_and_the_empty_sentence_an_output():
    empty = torch.zeros(0, 3, dtype=torch.long)
    assert search(Tiny(), empty, torch.zeros(0, dtype=torch.long), SearchConfig()) == []
    (found,) = run(Tiny(end=1.0), [[EOS]], SearchConfig())[0]
    assert found.attention.shape == (found.length, 1)


@pytest.mark.parametrize(
    ("config", "n_best", "message"),
    [
        (SearchConfig(beam=2), 3, "3 hypotheses were asked of a beam of 2"),
        (SearchConfig(beam=0), 1, r"search\.beam = 0"),
        (SearchConfig(), 0, "n_best = 0"),
        (SearchConfig(method="greedy"), 2, "greedy search finds one"),
        (SearchConfig(method="best"), 1, "unknown search.method 'best'; allowed: beam, greedy"),
        (SearchConfig(method="sample", temperature=0), 1, r"search\.temperature = 0.*> 0"),
        (SearchConfig(method="sample", top_k=-1), 1, r"search\.top_k = -1"),
        (SearchConfig(method="sample", top_p=0), 1, r"search\.top_p = 0.*\(0, 1\]"),
        (SearchConfig(method="sample", seed=-1), 1, r"search\.seed = -1"),
        (SearchConfig(coverage=-0.1), 1, r"coverage penalty must be >= 0"),
        (SearchConfig(max_ratio=0.4, max_extra=0), 1, "no room for an output of a source of 1"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(config, n_best, message):
    with pytest.raises(ValueError, match=message):
        run(Tiny(), [[5, EOS]], config, n_best)


class Broken(Fixed):
    def step(self, tokens, state):
        return Step(self.log_probs.expand(*tokens.shape, -1) * torch.nan, self, None)


@pytest.mark.parametrize("method", METHODS)
def test_nan_and_a_model_without_a_possible_token_are_refused(method):
    config = SearchConfig(method=method)
    with pytest.raises(ValueError, match="the model gives NaN in step 1"):
        search(Broken([0.2] * 5), *padded([[EOS]]), config)
    with pytest.raises(ValueError, match="probability 0"):
        search(Fixed([0.5, 0.5, 0, 0, 0]), *padded([[EOS]]), config)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 999),
    beam=st.integers(1, 9),
    vocabulary=st.integers(4, 12),
    alpha=st.sampled_from([-2.0, *ALPHAS]),
    method=st.sampled_from(["beam", "sample"]),
    end=st.floats(-9.0, 3.0),
)
def test_whatever_the_model_hypotheses_are_sorted_distinct_and_well_formed(
    seed, beam, vocabulary, alpha, method, end
):
    model, ids = Tiny(vocabulary, seed=seed, end=end), sentences(4, seed=seed, longest=5)
    config = SearchConfig(method=method, beam=beam, alpha=alpha, max_ratio=1.5, max_extra=3)
    for source, found in zip(ids, run(model, ids, config, beam), strict=True):
        assert 1 <= len(found) <= beam
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        assert method == "sample" or len({(one.tokens, one.complete) for one in found}) == len(
            found
        )
        assert len({one.complete for one in found}) == 1
        for one in found:
            assert not {PAD, BOS, EOS} & set(one.tokens)
            assert 1 <= one.length <= int(1.5 * (len(source) - 1)) + 3
            assert_close(one.attention.sum(1), torch.ones(one.length).double(), **EXACT)


def test_search_all_restores_the_order_and_reports_every_sentence_once():
    model, ids = Tiny(seed=2, end=1.0), sentences(40, seed=9)
    done: list[int] = []
    found = search_all(model, ids, SearchConfig(), 2, tokens_per_batch=30, progress=done.append)
    assert sum(done) == 40 and len(done) > 3
    for source, several in zip(ids, found, strict=True):
        alone = run(model, [source], SearchConfig(), 2)[0]
        assert [one.tokens for one in several] == [one.tokens for one in alone]


def test_search_all_keeps_to_its_budget_except_for_a_sentence_that_exceeds_it_alone():
    model = Tiny(end=20.0)  # every output ends in the first step: one step a batch
    search_all(model, sentences(50, longest=9), SearchConfig(beam=1), tokens_per_batch=4)
    longest_first = sorted((len(ids) for ids in sentences(50, longest=9)), reverse=True)
    assert sum(model.batches) == 50
    position = 0
    for count in model.batches:
        assert count == 1 or count * longest_first[position] <= 4
        position += count


def test_search_all_takes_no_sentences_and_refuses_one_without_its_end():
    assert search_all(Tiny(), [], SearchConfig()) == []
    with pytest.raises(ValueError, match="source 1 does not end with EOS"):
        search_all(Tiny(), [[5, EOS], [5, 6]], SearchConfig())
    with pytest.raises(ValueError, match="source 0 does not end with EOS"):
        search_all(Tiny(), [[]], SearchConfig())
    with pytest.raises(ValueError, match="tokens_per_batch = 0"):
        search_all(Tiny(), [[EOS]], SearchConfig(), tokens_per_batch=0)
