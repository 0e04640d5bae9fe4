"""The tests of explanation that train: what they train, and what they make of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import qkv
from qkv.config import AttentionConfig, ClassifierConfig
from qkv.data import load_pairs
from qkv.examine import examine
from qkv.examine import retrain as retraining
from qkv.examine.examination import subject_of
from qkv.examine.retrain import Retrainer, at_equal_weights, at_random
from qkv.explain.faithfulness import TESTS, Settings
from qkv.explain.faithfulness.fit import fit
from qkv.models.classifier import Classifier

pytest.importorskip("scipy", reason="scipy is not installed (qkv[explain])")
FEW = Settings(permutations=10, adversaries=2, steps=15, seeds=2, epochs=3)


@pytest.fixture(scope="module")
def run(keyword_classifier):
    return qkv.load(keyword_classifier)


@pytest.fixture(scope="module")
def retrainer(run, tmp_path_factory):
    return Retrainer(run, tmp_path_factory.mktemp("models"))


def test_training_again_with_the_same_seed_gives_the_same_model(run, retrainer):
    """Bit for bit, so that what differs with another seed is the seed's doing."""
    again = retrainer(run.config.training.seed, "own")
    for name, parameter in run.network.named_parameters():
        assert_close(dict(again.named_parameters())[name], parameter, rtol=0, atol=0)
    other = retrainer(run.config.training.seed + 1, "own")
    assert not torch.equal(other.output.weight, run.network.output.weight)


def test_what_is_trained_is_not_trained_again(run, retrainer, monkeypatch):
    first = retrainer(7, "uniform")
    monkeypatch.setattr(retraining, "train", lambda *_, **__: pytest.fail("trained again"))
    assert_close(retrainer(7, "uniform").output.weight, first.output.weight, rtol=0, atol=0)


def test_other_settings_and_other_data_are_trained_for_themselves(run, retrainer, tmp_path):
    """In the same folder, with the same seed: a model belongs to all that it was trained with."""
    first = retrainer(7, "uniform").output.weight
    config = run.config
    slower = replace(config, training=replace(config.training, learning_rate=0.005))
    lines = Path(config.data.train[0]).read_text().splitlines(keepends=True)
    (tmp_path / "train.tsv").write_text("".join(lines[:-20]))
    fewer = replace(config, data=replace(config.data, train=(str(tmp_path / "train.tsv"),)))
    for other in (slower, fewer):
        again = Retrainer(replace(run, config=other), retrainer.folder)(7, "uniform")
        assert not torch.equal(again.output.weight, first)
    assert_close(retrainer(7, "uniform").output.weight, first, rtol=0, atol=0)


def test_data_that_changed_under_the_same_name_is_trained_on_anew(run, tmp_path):
    data, config = tmp_path / "train.tsv", run.config
    lines = Path(config.data.train[0]).read_text().splitlines(keepends=True)
    config = replace(config, data=replace(config.data, train=(str(data),)))
    found = []
    for count in (len(lines), len(lines) - 20):
        data.write_text("".join(lines[:count]))
        found.append(Retrainer(replace(run, config=config), tmp_path / "models")(3, "own"))
    assert not torch.equal(found[0].output.weight, found[1].output.weight)


@pytest.mark.parametrize("score", ["additive", "scaled_dot", "general", "cosine", "deep"])
def test_equal_weights_are_equal_for_every_score(score):
    model = Classifier(ClassifierConfig(attention=AttentionConfig(score=score)), 20, 6).eval()
    at_equal_weights(model)
    found = model(torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([3, 2])).attention
    expected = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1 / 2, 1 / 2, 0]])
    assert_close(found, expected)
    assert not any(one.requires_grad for one in model.pooling.parameters())


def test_trained_with_equal_weights_the_weights_stay_equal_and_the_rest_learns(run, retrainer):
    model = retrainer(7, "uniform")
    assert not any(one.any() for one in model.pooling.parameters())
    assert not torch.equal(model.output.weight, run.network.output.weight)


def test_frozen_attention_ends_where_it_began_and_is_not_equal(run, retrainer):
    starts = []
    original = retraining.PREPARE["frozen"]

    def spy(model):
        original(model)
        starts.append({k: v.detach().clone() for k, v in model.pooling.named_parameters()})

    model = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(retraining.PREPARE, "frozen", spy)
        model = retrainer(7, "frozen")
    for name, parameter in model.pooling.named_parameters():
        assert_close(parameter, starts[0][name], rtol=0, atol=0)
        assert parameter.any()
    bound = model.pooling.query.shape[0] ** -0.5
    assert model.pooling.query.abs().max() <= bound


def test_a_frozen_attention_is_drawn_anew_for_each_seed():
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = Classifier(ClassifierConfig(embedding=5, hidden=3), 9, 6)
        at_random(model)
        drawn.append(model.pooling.query)
    assert not torch.equal(*drawn)


def test_a_diagnostic_reads_each_word_by_itself(retrainer):
    model = retrainer.build(1, context=False).eval()
    lengths = torch.tensor([3, 3])
    embedded = model.embed(torch.tensor([[5, 6, 7], [5, 8, 9]]))
    one, other = model.annotate(embedded, lengths)
    assert_close(one[0], other[0], rtol=0, atol=0)


def test_fitting_keeps_the_epoch_that_is_judged_best(run, retrainer):
    subject = subject_of(run, load_pairs(run.config.data, "dev"), 1, 128)
    model = retrainer.build(3, context=False)
    states, scores = [], iter([0.1, 0.9, 0.4])

    def judge():
        assert not model.training
        states.append({k: v.clone() for k, v in model.state_dict().items()})
        return next(scores)

    def loss(batch):
        decision = model(batch.tokens, batch.lengths)
        return torch.nn.functional.cross_entropy(
            decision.logits, torch.from_numpy(subject.labels[batch.rows]), reduction="sum"
        )

    fit(model, subject, loss, judge, 3, lambda _share, _text: None)
    for name, value in model.state_dict().items():
        assert_close(value, states[1][name], rtol=0, atol=0)
    assert not torch.equal(states[1]["output.weight"], states[2]["output.weight"])


@pytest.fixture(scope="module")
def report(run, retrainer):
    pairs = load_pairs(run.config.data, "test")
    told = []
    found = examine(
        run, pairs, settings=FEW, folder=retrainer.folder, tell=lambda *what: told.append(what)
    )
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] <= 1
    return found


def test_every_test_runs_on_a_trained_classifier_and_has_its_interval(report):
    assert [one.test for one in report.findings] == list(TESTS)
    for one in report.findings:
        assert 2 <= one.value.n <= 50
        assert one.value.low <= one.value.mean <= one.value.high
    assert report.about["accuracy"] == 1.0
    assert report.verdict.says


def test_seeds_are_compared_by_weights_and_outputs(report):
    found = next(one for one in report.findings if one.test == "seeds")
    assert len(found.facts["jsd_of_each_seed"]) == 2
    assert np.isclose(np.mean(found.facts["jsd_of_each_seed"]), found.value.mean)
    assert len(found.facts["accuracies"]) == 3


def test_the_diagnostic_has_every_guide_the_adversary_too(report):
    found = next(one for one in report.findings if one.test == "mlp")
    guides = found.facts["guided_by"]
    assert list(guides) == ["uniform", "trained", "base", "shuffled", "adversarial"]
    gained = guides["base"]["accuracy"]["mean"] - guides["uniform"]["accuracy"]["mean"]
    assert np.isclose(found.value.mean, gained)


def test_an_adversary_that_is_not_paid_for_other_weights_learns_the_outputs(run, tmp_path):
    pairs = load_pairs(run.config.data, "test")
    settings = Settings(divergence=0.0, epochs=30)
    report = examine(run, pairs, ["adversarial-model"], settings=settings, folder=tmp_path)
    assert report.findings[0].facts["tvd_of_the_outputs"]["mean"] < 0.2


def test_training_that_was_not_asked_for_is_refused(run):
    pairs = load_pairs(run.config.data, "test")
    with pytest.raises(ValueError, match=r"seeds trains models .* ask for that with --train"):
        examine(run, pairs, ["seeds"])


def test_a_label_that_the_model_does_not_know_is_named(run, keyword_classifier):
    from dataclasses import replace

    pairs = load_pairs(run.config.data, "test")
    odd = replace(pairs, pairs=(replace(pairs[0], target="so-so"), pairs[1]))
    with pytest.raises(ValueError, match=r"line 1: the label 'so-so' is none .*: (bad|good), "):
        examine(run, odd)
