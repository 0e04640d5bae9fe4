"""The written-out recurrences against torch's own cells, one step after another."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from qkv.nn.attentive import Source, Weights, attentive_gru
from qkv.nn.gated import gru, merged_biases

TIME, BATCH, KEYS, WIDTH, HIDDEN, INNER, VALUE = 5, 3, 7, 11, 13, 17, 19

# A number passes through at most TIME steps, each sums at most 64 terms below 8 and rounds each.
SLACK = {"rtol": 0.0, "atol": TIME * 64 * 8 * torch.finfo(torch.float64).eps}


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def both_gradients(found, expected, inputs):
    """The gradients of an uneven sum of each."""
    weights = [torch.randn_like(tensor) for tensor in found]
    sums = [
        sum((w * tensor).sum() for w, tensor in zip(weights, tensors, strict=True))
        for tensors in (found, expected)
    ]
    return [
        torch.autograd.grad(one, inputs, retain_graph=True, materialize_grads=True) for one in sums
    ]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("time", [1, TIME])
def test_the_gru_and_its_gradients_are_torchs(time, layers, given):
    torch.manual_seed(1)
    recurrence = nn.GRU(WIDTH, HIDDEN, num_layers=layers, batch_first=True).double()
    inputs, initial = draw(BATCH, time, WIDTH), draw(layers, BATCH, HIDDEN) if given else None
    found, (expected, _) = gru(recurrence, inputs, initial), recurrence(inputs, initial)
    assert_close(found, expected, **SLACK)
    leaves = [inputs, *recurrence.parameters(), *([initial] if given else [])]
    assert_close(*both_gradients([found], [expected], leaves), **SLACK)


def test_dropout_between_the_layers_of_a_gru_acts_in_training_only():
    recurrence = nn.GRU(WIDTH, HIDDEN, num_layers=2, batch_first=True, dropout=0.5).double()
    inputs = draw(BATCH, TIME, WIDTH)
    assert not torch.equal(gru(recurrence, inputs), gru(recurrence, inputs))
    recurrence.eval()
    assert_close(gru(recurrence, inputs), recurrence(inputs)[0], **SLACK)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("time", [1, TIME])
def test_the_attentive_decoder_and_its_gradients_are_those_of_its_equations(time, masked):
    torch.manual_seed(1)
    cell = nn.GRUCell(WIDTH + VALUE, HIDDEN).double()
    query, v = draw(INNER, HIDDEN), draw(INNER)
    inputs, initial = draw(time, BATCH, WIDTH), draw(BATCH, HIDDEN)
    keys, values = draw(BATCH, KEYS, INNER), draw(BATCH, KEYS, VALUE)
    allowed = torch.arange(KEYS) < torch.tensor([[KEYS], [1], [4]]) if masked else None

    to_gates, to_context = cell.weight_ih.split([WIDTH, VALUE], dim=1)
    bias, offset = merged_biases(cell.bias_ih, cell.bias_hh)
    found = attentive_gru(
        inputs @ to_gates.t() + bias,
        initial,
        Source(keys, values, allowed),
        Weights(query, v, to_context, cell.weight_hh, offset),
    )

    state, states, contexts, rows = initial, [], [], []
    for t in range(time):
        energies = torch.tanh((state @ query.t()).unsqueeze(1) + keys) @ v
        if allowed is not None:
            energies = energies.masked_fill(~allowed, -torch.inf)
        rows.append(energies.softmax(-1))
        contexts.append((rows[-1].unsqueeze(1) @ values).squeeze(1))
        state = cell(torch.cat([inputs[t], contexts[-1]], -1), state)
        states.append(state)
    expected = [torch.stack(each) for each in (states, contexts, rows)]
    assert_close(list(found), expected, **SLACK)
    leaves = [inputs, initial, keys, values, query, v, *cell.parameters()]
    # The weights too: attention can be asked for (training.guided); and the weights alone.
    for asked in (slice(3), slice(2), slice(2, 3)):
        pair = both_gradients(list(found)[asked], expected[asked], leaves)
        assert_close(*pair, **SLACK)


def test_a_graph_that_is_kept_gives_the_same_gradient_twice():
    recurrence = nn.GRU(WIDTH, HIDDEN, batch_first=True)
    total = gru(recurrence, torch.randn(BATCH, TIME, WIDTH)).square().sum()
    leaves = list(recurrence.parameters())
    first = torch.autograd.grad(total, leaves, retain_graph=True)
    assert_close(torch.autograd.grad(total, leaves), first, rtol=0.0, atol=0.0)
