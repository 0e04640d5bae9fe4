"""Attention that learns from word links."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_trainer import build_trainer, weights
from torch.testing import assert_close

from qkv import load
from qkv.config import Config, TokenizerConfig
from qkv.configfile import make_config
from qkv.data import Pair, collate
from qkv.data.links import LinkedWords
from qkv.evaluate import aer
from qkv.explain import align, align_words
from qkv.folder import write_json
from qkv.models.weights import load_tensors
from qkv.text import Side
from qkv.training.loss import SequenceLoss, guided
from small_runs import fit, tree

GUIDED = ("rnnsearch", "luong", "transformer", "hard")
READ = {  # parameters that attention is made of, near its end and far from it
    "rnnsearch": ["attention.score.v", "encoder.embedding.weight", "cell.weight_hh"],
    "luong": ["recurrence.weight_hh_l0", "encoder.embedding.weight"],
    "transformer": ["decoder.1.cross_attention.project_query.weight", "source_embedding.weight"],
    "hard": ["recurrence.weight_hh_l0", "encoder.embedding.weight"],
}
WORDS, LETTERS = TokenizerConfig(kind="words"), TokenizerConfig(kind="characters")
EPS = torch.finfo(torch.float32).eps


def with_links(corpus: Path, model: str, links: Path, weight: float = 1.0) -> dict[str, Any]:
    """Return a config of the corpus of reversed letters, with planted links: place by place."""
    lines = (corpus / "train.tsv").read_text().splitlines()
    words = [len(line.split("\t")[0].split()) for line in lines]
    links.write_text("".join(" ".join(f"{i}-{i}" for i in range(n)) + "\n" for n in words))
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


@pytest.mark.parametrize("model", GUIDED)
def test_a_guided_loss_adds_its_weight_times_that_of_the_attention_that_the_model_reports(
    model: str, corpus: Path, tmp_path: Path
):
    trainer = build_trainer(config(corpus, model, tmp_path, weight=0.7), tmp_path / "run")
    trainer.model.eval()
    batch = collate(trainer.task.train, [0, 3, 5, 7])
    given = (batch.source, batch.source_lengths, batch.target_in, batch.target_out)
    assert batch.wanted is not None
    plain, _ = SequenceLoss(trainer.model, 0.1)(*given)

    found, nll = trainer.loss(*given, batch.wanted)

    rows = trainer.model.force(*given[:3], need_attention=True).attention
    assert rows is not None
    asked = -(batch.wanted * rows.clamp(min=1e-8).log()).sum()
    tokens = int(batch.target_lengths.sum())
    # A sum of a term a token, each below 8.
    assert_close(found, plain + 0.7 * asked, rtol=0, atol=8 * 8 * tokens * EPS)
    assert_close(nll, SequenceLoss(trainer.model, 0.0)(*given)[1])


@pytest.mark.parametrize("model", GUIDED)
def test_the_gradient_of_the_attention_alone_is_that_of_its_rows(
    model: str, corpus: Path, tmp_path: Path
):
    """By differences: the fused and the written-out recurrences must let it through."""
    trainer = build_trainer(config(corpus, model, tmp_path), tmp_path / "run")
    net = trainer.model.double().eval()
    if model == "rnnsearch":  # at first v = 0, and attention is uniform whatever it is made of
        torch.nn.init.normal_(net.attention.score.v)
    batch = collate(trainer.task.train, [0, 3])
    assert batch.wanted is not None
    given = (batch.source, batch.source_lengths, batch.target_in)

    def asked() -> torch.Tensor:
        rows = net.force(*given, need_attention=True).attention
        return -(batch.wanted * rows.clamp(min=1e-8).log()).sum()

    for name in READ[model]:
        parameter = dict(net.named_parameters())[name]
        (gradient,) = torch.autograd.grad(asked(), parameter)
        direction = torch.randn_like(parameter)
        with torch.no_grad():
            parameter += 1e-6 * direction
            up = asked()
            parameter -= 2e-6 * direction
            slope = (up - asked()) / 2e-6
            parameter += 1e-6 * direction
        # Third derivatives times 1e-12, and 1e-16 * the loss / 1e-6 by rounding.
        assert_close((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-7)
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("model", ["luong", "transformer"])
def test_shifted_guidance_asks_the_row_that_has_read_the_word(
    model: str, corpus: Path, tmp_path: Path
):
    values = with_links(corpus, model, tmp_path / "links")
    values["training"]["guided"]["shifted"] = True
    trainer = build_trainer(make_config(values), tmp_path / "run")
    trainer.model.eval()
    batch = collate(trainer.task.train, [0, 3, 5])
    assert batch.wanted is not None
    given = (batch.source, batch.source_lengths, batch.target_in, batch.target_out)
    found, _ = trainer.loss(*given, batch.wanted)
    rows = trainer.model.force(*given[:3], need_attention=True).attention
    assert rows is not None
    expected, _ = SequenceLoss(trainer.model, 0.1)(*given)
    for b, i, j in batch.wanted.nonzero().tolist():
        expected = expected - batch.wanted[b, i, j] * rows[b, i + 1, j].log()
    tokens = int(batch.target_lengths.sum())
    assert_close(found, expected, rtol=0, atol=8 * 8 * tokens * EPS)


def aligned(run: Path, corpus: Path) -> float:
    """Return the AER of a run's alignments of the test set, against links place by place."""
    loaded = load(run)
    pairs = [line.split("\t") for line in (corpus / "test.tsv").read_text().splitlines()]
    found = align(loaded, [one for one, _ in pairs], [two for _, two in pairs])
    predicted = [{(link.source, link.target) for link in one.links} for one in found]
    gold = [{(i, i) for i in range(n)} for n in (len(one.split()) for one, _ in pairs)]
    return aer(predicted, gold, gold).aer


@pytest.mark.parametrize("model", ["rnnsearch", "luong", "transformer"])
def test_guided_attention_learns_the_links_and_attention_left_alone_does_not(
    model: str, corpus: Path, tmp_path: Path
):
    """The same seed and the same few updates, with and without the links."""
    values = with_links(corpus, model, tmp_path / "links", weight=3.0)
    epochs = 7 if model == "rnnsearch" else 3  # it starts from v = 0
    values["training"] |= {"epochs": epochs, "learning_rate": 0.03, "average": 1}
    values["data"]["tokens_per_batch"] = 30
    values["model"]["dropout"] = 0.0
    if model == "transformer":
        values["model"] |= {"alignment": "0.1", "attention_dropout": 0.0, "decoder_layers": 1}
    with_them = aligned(fit(tmp_path / "guided", values), corpus)
    del values["training"]["guided"]
    without = aligned(fit(tmp_path / "plain", values), corpus)
    assert with_them < min(0.4, without - 0.2), (with_them, without)


def test_a_guided_training_that_was_stopped_goes_on_bit_for_bit(corpus: Path, tmp_path: Path):
    values = with_links(corpus, "transformer", tmp_path / "links")
    whole = build_trainer(make_config(values), tmp_path / "whole")
    for _ in range(6):
        whole.update()
    first = build_trainer(make_config(values), tmp_path / "stopped")
    for _ in range(3):
        first.update()
    first.evaluate()
    first.save()
    second = build_trainer(make_config(values), tmp_path / "stopped")
    assert second.resume()
    for _ in range(3):
        second.update()
    assert_close(weights(second), weights(whole), rtol=0, atol=0)


def test_a_checkpoint_of_other_links_is_refused(corpus: Path, tmp_path: Path):
    values = with_links(corpus, "luong", tmp_path / "links")
    first = build_trainer(make_config(values), tmp_path / "run")
    first.update()
    first.evaluate()
    first.save()
    lines = (tmp_path / "links").read_text().splitlines()
    (tmp_path / "links").write_text("\n".join(["", *lines[1:]]) + "\n")
    with pytest.raises(ValueError, match="training data has changed since"):
        build_trainer(make_config(values), tmp_path / "run").resume()


@pytest.mark.slow
def test_two_processes_learn_the_links_that_one_does(corpus: Path, tmp_path: Path):
    values = with_links(corpus, "luong", tmp_path / "links")
    values["training"] |= {"max_steps": 6, "epochs": 1}
    values["model"]["dropout"] = 0.0
    alone = fit(tmp_path / "alone", values)
    write_json(tmp_path / "config.json", values)
    command = (
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "qkv", "train", str(tmp_path / "config.json"), "--out", str(tmp_path / "two")),
    )
    ended = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    one, two = (load_tensors(run / "weights.safetensors")[0] for run in (alone, tmp_path / "two"))
    # Six updates of Adam: sums in another order move a step by its rounding, seldom by a step.
    for name, tensor in one.items():
        assert_close(two[name], tensor, rtol=1e-3, atol=2e-3, msg=name)


def test_the_attention_that_links_ask_for_keeps_a_words_mass(tmp_path: Path):
    """Of three tokens of a source word each gets a third; two linked words get half each."""
    source, target = Side.train(WORDS, ["ab c"]), Side.train(WORDS, ["x y z"])
    pair = Pair("ab c", "x y z", 1, links=frozenset({(0, 0), (1, 0), (1, 2)}))
    linked = LinkedWords.of([pair], source, target)
    half = torch.tensor([[0.5, 0.5], [0.0, 0.0], [0.0, 1.0]])
    assert_close(torch.from_numpy(linked.wanted(0)), half)
    letters = Side.train(LETTERS, ["ab c"])
    assert len(letters.encode("ab c").tokens) == 4  # a, b, a space that belongs to c, c
    wanted = torch.from_numpy(LinkedWords.of([pair], letters, letters_of("x y z")).wanted(0))
    assert_close(wanted[0], torch.tensor([0.25, 0.25, 0.25, 0.25]))
    assert_close(wanted[-1], torch.tensor([0.0, 0.0, 0.5, 0.5]))
    assert (wanted[2] == 0).all()


def letters_of(text: str) -> Side:
    return Side.train(LETTERS, [text])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(["a", "bc", "défg", "漢字"]), min_size=1, max_size=5),
    st.lists(st.sampled_from(["x", "yz", "uvw"]), min_size=1, max_size=5),
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4))),
)
def test_merged_back_into_words_what_is_wanted_is_the_links_each_row_shared_evenly(
    source: list[str], target: list[str], links: set[tuple[int, int]]
):
    links = {(i, j) for i, j in links if i < len(source) and j < len(target)}
    pair = Pair(" ".join(source), " ".join(target), 1, links=frozenset(links))
    sides = letters_of(pair.source), letters_of(pair.target)
    wanted = torch.from_numpy(LinkedWords.of([pair], *sides).wanted(0)).double()
    with_eos = torch.nn.functional.pad(wanted, (0, 1))
    found = align_words(with_eos, sides[0].encode(pair.source), sides[1].encode(pair.target))
    expected = torch.zeros(len(target), len(source), dtype=torch.float64)
    for i, j in links:
        expected[j, i] = 1
    expected /= expected.sum(1, keepdim=True).clamp(min=1)
    # float32 shares, at most 20 of them summed.
    assert_close(found.matrix, expected, rtol=0, atol=20 * EPS)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["0-0"] * 3, "has 3 lines, but there are 90 training pairs"),
        (["0-99"] * 90, "links:1: the link of words 0 and 99"),
        (["0:0"] * 90, "links:1: '0:0' is no link"),
        (["a\ta\t0-0"] * 90, "links:1: the links of 'a' and 'a', but the training pair has"),
    ],
)
def test_links_that_do_not_belong_to_the_training_pairs_are_refused(
    lines: list[str], said: str, corpus: Path, tmp_path: Path
):
    values = with_links(corpus, "luong", tmp_path / "links")
    (tmp_path / "links").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=said):
        build_trainer(make_config(values), tmp_path / "run")


def test_pairs_without_links_of_their_own_need_a_file(corpus: Path, tmp_path: Path):
    values = tree(corpus, "luong", guided={"weight": 0.3})
    with pytest.raises(ValueError, match=r"set training\.guided\.links to a file"):
        build_trainer(make_config(values), tmp_path / "run")


@pytest.mark.parametrize(
    ("model", "change", "said"),
    [
        ("rnnenc", {}, "guides the attention of a target"),
        ("ntm", {}, 'model.kind = "ntm" has none'),
        ("luong", {"attention": {"normalizer": "hard"}}, "draws one position"),
        ("transformer", {"cross_attention": {"normalizer": "gumbel"}}, "draws one position"),
    ],
)
def test_what_cannot_be_guided_is_refused_by_name(
    model: str, change: dict[str, Any], said: str, corpus: Path
):
    values = tree(corpus, model, guided={"weight": 0.3})
    values["model"] |= change
    with pytest.raises(ValueError, match=said):
        make_config(values)


def test_settings_of_guidance_without_a_weight_are_refused(corpus: Path):
    with pytest.raises(ValueError, match="but weight = 0; give a weight"):
        make_config(tree(corpus, "luong", guided={"links": "file"}))
    with pytest.raises(ValueError, match="it attends before it reads"):
        make_config(tree(corpus, "rnnsearch", guided={"weight": 0.3, "shifted": True}))
