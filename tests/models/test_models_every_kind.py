"""What holds for every kind of model over every score."""

from __future__ import annotations

import random

import pytest
import torch
from model_cases import (
    CASES,
    CONFIGS,
    EXACT,
    FIRST,
    SWEEP,
    TARGET,
    Case,
    attentions,
    built,
    fresh,
    padded,
    slack,
    sources,
    stir,
    targets,
)
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from qkv.attention.scores.location import Location
from qkv.attention.scores.score import Score
from qkv.config import AttentionConfig
from qkv.models.build import MODELS
from qkv.text import EOS, PAD

every_case = pytest.mark.parametrize("case", CASES, ids=str)
# Ids that items 0 and 2 of a batch use, and those that item 1 alone uses.
MINE, OTHERS = (range(FIRST, 10), range(10, 17))


def forced(model, ids, inputs, extra=0):
    """Logits and alignment of a batch, `extra` pads appended to both sides."""
    source, lengths = padded(ids, extra)
    features, attention, _ = model.force(
        source, lengths, padded(inputs, extra)[0], need_attention=True
    )
    return model.output(features), attention


def test_the_sweep_covers_every_kind_and_a_score_is_one_word():
    assert {case.config.kind for case in SWEEP} == set(MODELS) == set(CONFIGS)
    for case in SWEEP:
        words = {getattr(case.config, name).score for name in attentions(case.config)}
        assert len(words) == (0 if case.config.kind in ("rnnenc", "ntm") else 1)


def learned_from_draws(model, source, lengths, target):
    """What trains an attention that draws positions: log p of the draws; 0 for any other."""
    drawn = model.force(source, lengths, target).drawn
    return 0.0 if drawn is None else drawn.log_prob.sum()


@every_case
def test_every_parameter_gets_a_finite_gradient(case):
    """Exceptions: with a dot score the bias of a head's keys moves all energies alike, and the
    location score does not look at the keys."""
    model = fresh(case)
    stir(model)
    source, lengths = padded(sources([5, 2, 7]))
    target, _ = padded(targets([4, 6, 3]))
    logits = model(source, lengths, target)
    assert logits.shape == (3, 6, TARGET)
    loss = cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)
    loss = loss + learned_from_draws(model, source, lengths, target)
    loss.backward()
    assert loss.isfinite()
    scores = {name: module for name, module in model.named_modules() if isinstance(module, Score)}
    idle = {"dot": ["bias"], "location": ["weight", "bias"]}
    without = {
        f"{name.removesuffix('attention.score')}project_key.{part}"
        for name, score in scores.items()
        for part in idle.get("location" if isinstance(score, Location) else score.family, [])
    }
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name in without, name


@every_case
def test_the_loss_is_finite_at_the_start_and_gradients_reach_the_source(case):
    model = fresh(case)
    source, lengths = padded(sources([5, 2, 7]))
    target, _ = padded(targets([4, 6, 3]))
    logits = model(source, lengths, target)
    loss = cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)
    (loss + learned_from_draws(model, source, lengths, target)).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    first = next(module for module in model.modules() if isinstance(module, torch.nn.Embedding))
    assert first.num_embeddings == case.sizes[0] and first.weight.grad[EOS].any()


@every_case
def test_appending_pads_changes_no_output(case):
    model, ids, inputs = built(case), sources([5, 1, 7]), targets([4, 6, 1])
    logits, attention = forced(model, ids, inputs)
    more, wider = forced(model, ids, inputs, extra=3)
    for b, (source, target) in enumerate(zip(ids, inputs, strict=True)):
        assert_close(more[b, : len(target)], logits[b, : len(target)], **slack())
        if model.attends:
            rows, columns = len(target), len(source)
            expected = attention[b, :rows, :columns]
            assert_close(wider[b, :rows, :columns], expected, **slack())


@every_case
def test_rows_of_alignment_sum_to_1_over_the_real_tokens_and_are_0_at_the_pads(case):
    model, ids, inputs = built(case), sources([5, 1, 7]), targets([4, 6, 1])
    _, attention = forced(model, ids, inputs, extra=2)
    assert (attention is not None) == model.attends
    for b, source in enumerate(ids if model.attends else []):
        assert (attention[b] >= 0).all()
        if "sigmoid" in str(case):
            assert (attention[b] <= 1).all()
            continue
        if "local-p" in str(case).partition("encoder_")[0]:  # eq. 10: with the Gaussian
            assert (attention[b].sum(-1) < 1).all()
            assert not attention[b, :, len(source) :].any()
            continue
        sums = attention[b].sum(-1)
        if "local-m" in str(case):  # beyond the last token's window there is nothing to read
            sums = torch.where(sums == 0, 1.0, sums)
        assert_close(sums, torch.ones(8).double(), **slack())
        assert_close(attention[b, :, len(source) :], torch.zeros(8, 9 - len(source)).double())


@every_case
def test_asking_for_the_alignment_changes_no_feature(case):
    model, (source, lengths) = built(case), padded(sources([5, 1, 7]))
    target, _ = padded(targets([4, 6, 1]))
    asked = model.force(source, lengths, target, need_attention=True).features
    features, attention, _ = model.force(source, lengths, target)
    assert attention is None
    assert_close(features, asked, **slack())


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neither_batch_nor_order_changes_a_logit(case, dtype):
    model, dice = built(case, dtype), random.Random(5)
    ids = sources([dice.randint(1, 9) for _ in range(64)])
    inputs = targets([dice.randint(1, 5) for _ in range(64)])
    logits, _ = forced(model, ids, inputs)
    assert logits.dtype == dtype
    order = dice.sample(range(64), 64)
    for batch, shown in ((1, order[:16]), (7, order), (64, order)):
        for start in range(0, len(shown), batch):
            rows = shown[start : start + batch]
            found, _ = forced(model, [ids[i] for i in rows], [inputs[i] for i in rows])
            for b, i in enumerate(rows):
                real = len(inputs[i])
                assert_close(found[b, :real], logits[i, :real], **slack(dtype))


@every_case
def test_a_model_learns_under_autocast_too(case):
    model, (source, lengths) = fresh(case), padded(sources([5, 1, 7]))
    stir(model)
    target, _ = padded(targets([4, 6, 3]))
    with torch.autocast("cpu", torch.bfloat16):
        features, attention, _ = model.force(source, lengths, target, need_attention=True)
        logits = model.output(features)
    # What has summed over positions already has done so in float32.
    assert logits.dtype == (torch.float32 if case.config.kind == "hard" else torch.bfloat16)
    assert (attention is not None) == model.attends
    loss = cross_entropy(logits.float().flatten(0, 1), target.flatten())
    (loss + learned_from_draws(model, source, lengths, target)).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


# Features behind the output layer, which reads every row of a target embedding tied to it.
apart = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.config.kind != "hard" or not case.config.tie_embeddings],
    ids=str,
)


def separate():
    """A batch of three whose item 1 shares no token with items 0 and 2 but EOS and BOS."""
    ids = [[4, 6, 5, EOS], [10, 16, 11, 12, 13, 14, 15, EOS], [7, 8, 9, EOS]]
    inputs = [[1, 5, 6, 7], [1, 12, 10, 13, 11, 15, 16, 14], [1, 4, 8, 9]]
    return padded(ids), padded(inputs)[0]


@apart
def test_a_gradient_never_crosses_the_items_of_a_batch(case):
    model, ((source, lengths), target) = built(case), separate()
    tables = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    weights = [table.weight for table in tables if table.num_embeddings in case.sizes]
    assert len(weights) == (1 if case.shared else 2)
    for item, own, other in ((0, MINE, OTHERS), (1, OTHERS, MINE)):
        features = model.force(source, lengths, target).features[item, :4]
        for gradient in torch.autograd.grad(features.sum(), weights):
            assert not gradient[list(other)].any()
            assert gradient[list(own)].any()


@apart
def test_a_nan_in_one_item_of_a_batch_reaches_no_other(case):
    model, ((source, lengths), target) = fresh(case).double().eval(), separate()
    stir(model)
    before = model.force(source, lengths, target).features
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding) and module.num_embeddings in case.sizes:
                module.weight[list(OTHERS)] = torch.nan
    after = model.force(source, lengths, target).features
    assert after[1, 1:].isnan().all()
    assert_close(after[[0, 2]], before[[0, 2]], **EXACT)


@every_case
def test_a_later_target_token_changes_no_earlier_logit(case):
    model, (source, lengths) = built(case), padded(sources([5, 1, 7]))
    target, _ = padded(targets([7, 7, 7]))
    logits = model(source, lengths, target)
    for position in range(1, 7):
        changed = target.clone()
        changed[:, position] = FIRST + (target[:, position] - FIRST + 1) % (TARGET - FIRST)
        found = model(source, lengths, changed)
        assert_close(found[:, :position], logits[:, :position], **EXACT)
        differs = (found[:, position:] - logits[:, position:]).abs().amax(-1)
        if "decoder_attention=general/local-m/1" in str(case):  # two layers see two tokens back
            differs = differs[:, :3]
        assert (differs > 1e-6).all()  # and it changes its own and every later one


@every_case
def test_every_source_token_matters_to_every_logit(case):
    model, ids = built(case), sources([6, 6])
    target, _ = padded(targets([4, 4]))
    logits = model(*padded(ids), target)
    for position in range(6):
        changed = [[*row] for row in ids]
        for row in changed:
            row[position] = FIRST + (row[position] + 3) % 13
        found = model(*padded(changed), target)
        assert ((found - logits).abs().amax(-1) > 1e-9).all(), position


@every_case
def test_a_model_asked_twice_answers_alike_to_the_bit(case):
    model, ids, inputs = built(case), sources([5, 1, 7]), targets([4, 6, 1])
    assert_close(forced(model, ids, inputs), forced(model, ids, inputs), **EXACT)
    source = padded(ids)
    tokens = torch.ones(3, 1, dtype=torch.long)
    one, two = (model.step(tokens, model.start(*source)) for _ in range(2))
    assert_close(one.log_probs, two.log_probs, **EXACT)


@every_case
def test_the_seed_fixes_the_initial_weights(case):
    one, same, other = (dict(fresh(case, seed).named_parameters()) for seed in (1, 1, 2))
    assert_close(one, same, **EXACT)
    differ = [name for name in one if not torch.equal(one[name], other[name])]
    # Layer norms, and what starts from zero, are the same for every seed.
    for name in one.keys() - set(differ):
        assert len(one[name].unique()) == 1, name
    assert differ


@pytest.mark.parametrize("kind", MODELS)
def test_dropout_acts_in_training_only_and_the_seed_fixes_it(kind):
    names = {"dropout", "attention_dropout"} & set(CONFIGS[kind].__dataclass_fields__)
    config = type(CONFIGS[kind])(**{**vars(CONFIGS[kind]), **dict.fromkeys(names, 0.3)})
    model, plain = fresh(Case("", config)), fresh(Case("", CONFIGS[kind]))
    plain.load_state_dict(model.state_dict())
    batch = (*padded(sources([5, 1, 7])), padded(targets([4, 6, 3]))[0])

    def dropped(seed):
        torch.manual_seed(seed)
        return model.train()(*batch)

    assert_close(model.eval()(*batch), plain.train()(*batch), **EXACT)
    assert_close(dropped(1), dropped(1), **EXACT)
    assert not torch.equal(dropped(1), dropped(2))


@pytest.mark.parametrize("kind", [kind for kind in MODELS if attentions(CONFIGS[kind])])
def test_an_attention_of_the_config_changes_the_model_that_it_names(kind):
    """Each attention of a Transformer takes its own word; none is ignored."""
    for name in attentions(CONFIGS[kind]):
        config = type(CONFIGS[kind])(
            **{**vars(CONFIGS[kind]), name: AttentionConfig(score="concat")}
        )
        model = fresh(Case("", config))
        concat = [module for module in model.modules() if type(module).__name__ == "Concat"]
        assert len(concat) == (2 if kind == "transformer" else 1), name
