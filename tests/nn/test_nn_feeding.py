"""The written-out LSTM, and the one that attends and is fed, against their equations."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from qkv.nn.attentive import Weights, attentive_gru
from qkv.nn.feeding import Combine, Layer, fed_lstm
from qkv.nn.lstm import layer_of, lstm
from qkv.nn.reading import AdditiveReader, DotReader, Source

TIME, BATCH, KEYS, WIDTH, HIDDEN, INNER, VALUE = 5, 3, 7, 11, 13, 17, 19

# A number passes through at most 4 sums a step (three layers, one combination) and TIME steps;
# each sums at most 64 terms below 8 and rounds each.
SLACK = {"rtol": 0.0, "atol": 4 * TIME * 64 * 8 * torch.finfo(torch.float64).eps}


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def gradients(outputs, inputs):
    """The gradients of an uneven sum, always the same one."""
    generator = torch.Generator().manual_seed(2)
    terms = [
        (torch.randn(out.shape, generator=generator, dtype=torch.float64) * out).sum()
        for out in outputs
    ]
    return torch.autograd.grad(sum(terms), inputs, retain_graph=True, materialize_grads=True)


def stepped(cell, inputs):
    """All states and cells of torch's LSTM cell, one step after another, batch first."""
    hidden = (torch.zeros(BATCH, HIDDEN).double(), torch.zeros(BATCH, HIDDEN).double())
    steps = []
    for x in inputs.unbind(1):
        hidden = cell(x, hidden)
        steps.append(hidden)
    return [torch.stack(each, 1) for each in zip(*steps, strict=True)]


@pytest.mark.parametrize("time", [1, TIME])
def test_all_states_and_cells_of_the_lstm_and_their_gradients_are_its_cells(time):
    torch.manual_seed(1)
    recurrence = nn.LSTM(WIDTH, HIDDEN, batch_first=True).double()
    cell = nn.LSTMCell(WIDTH, HIDDEN).double()
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in recurrence.state_dict().items()})
    inputs = draw(BATCH, time, WIDTH)
    found, expected = list(lstm(recurrence, inputs)), stepped(cell, inputs)
    assert_close(found, expected, **SLACK)
    mine = gradients(found, [inputs, *recurrence.parameters()])
    assert_close(mine, gradients(expected, [inputs, *cell.parameters()]), **SLACK)


# Widths of a key and of a query; a state that is the query itself is not projected.
SIZES = {DotReader: (HIDDEN, 0), AdditiveReader: (INNER, INNER)}


class Fed:
    """A decoder of random weights."""

    def __init__(self, layers, kind):
        self.kind = kind
        self.recurrence = nn.LSTM(WIDTH + HIDDEN, HIDDEN, num_layers=layers).double()
        self.initial, self.cells = draw(layers, BATCH, HIDDEN), draw(layers, BATCH, HIDDEN)
        inner, projected = SIZES[kind]
        self.keys, self.values = draw(BATCH, KEYS, inner), draw(BATCH, KEYS, VALUE)
        self.query = draw(projected, HIDDEN)
        self.v = draw(INNER) if kind is AdditiveReader else None
        self.to_context, self.to_state = draw(HIDDEN, VALUE), draw(HIDDEN, HIDDEN)

    @property
    def leaves(self):
        named = vars(self).values()
        tensors = [tensor for tensor in named if isinstance(tensor, torch.Tensor)]
        return [*tensors, *self.recurrence.parameters()]

    def fast(self, inputs, allowed, dead, kept):
        own = [layer_of(self.recurrence, k) for k in range(self.recurrence.num_layers)]
        lowest, fed = own[0].read.split([WIDTH, HIDDEN], dim=1)
        below = [fed, *(weights.read for weights in own[1:])]
        layers = [
            Layer(
                self.initial[k],
                self.cells[k],
                torch.cat([below[k], weights.recurrent], dim=1),
                weights.bias if k else None,
            )
            for k, weights in enumerate(own)
        ]
        return fed_lstm(
            inputs @ lowest.t() + own[0].bias,
            layers,
            Source(self.kind, self.keys, self.values, self.query, self.v, allowed, dead),
            Combine(self.to_context, self.to_state),
            kept,
        )

    def slow(self, inputs, allowed, dead, kept):
        states, cells = list(self.initial), list(self.cells)
        said, outputs, rows = torch.zeros(BATCH, HIDDEN).double(), [], []
        for t, x in enumerate(inputs):
            x = torch.cat([x, said], -1)
            for k in range(len(states)):
                names = "weight_ih", "weight_hh", "bias_ih", "bias_hh"
                weights = [getattr(self.recurrence, f"{name}_l{k}") for name in names]
                states[k], cells[k] = torch.lstm_cell(x, (states[k], cells[k]), *weights)
                x = states[k] if kept is None or k + 1 == len(states) else states[k] * kept[k, t]
            energies = self.energies(x)
            if allowed is not None:
                energies = energies.masked_fill(~row_of(allowed, t), -torch.inf)
            alpha = energies.softmax(-1)
            alpha = alpha if dead is None else alpha.masked_fill(row_of(dead, t), 0.0)
            context = (alpha.unsqueeze(1) @ self.values).squeeze(1)
            said = torch.tanh(context @ self.to_context.t() + x @ self.to_state.t())
            outputs.append(said)
            rows.append(alpha)
        return torch.stack(outputs), torch.stack(rows)

    def energies(self, state):
        if self.kind is DotReader:
            return (self.keys @ state.unsqueeze(-1)).squeeze(-1)
        query = state @ self.query.t()
        return torch.tanh(query.unsqueeze(1) + self.keys) @ self.v


def row_of(mask, t):
    """What a mask [batch or 1, time or 1, ...] says of a step."""
    return mask[:, min(t, mask.shape[1] - 1)]


def masks(seen):
    """Which keys each step may meet, and which steps may meet none."""
    if seen == "all":
        return None, None
    lengths = torch.arange(KEYS) < torch.tensor([KEYS, 1, 4])[:, None, None]
    if seen == "lengths":
        return lengths, None
    near = lengths & ((torch.arange(KEYS) - torch.arange(TIME)[:, None]).abs() <= 1)
    dead = ~near.any(-1, keepdim=True)
    assert dead.any()
    return near | dead, dead


every_kind = pytest.mark.parametrize("kind", SIZES)


@pytest.mark.parametrize("seen", ["all", "lengths", "windows"])
@every_kind
@pytest.mark.parametrize(("layers", "dropped"), [(1, False), (2, True), (3, False)])
def test_the_fed_decoder_and_its_gradients_are_those_of_its_equations(layers, dropped, kind, seen):
    torch.manual_seed(1)
    decoder, inputs = Fed(layers, kind), draw(TIME, BATCH, WIDTH)
    kept = torch.rand(layers - 1, TIME, BATCH, HIDDEN).double() if dropped else None
    found = decoder.fast(inputs, *masks(seen), kept)
    expected = decoder.slow(inputs, *masks(seen), kept)
    assert_close(list(found), list(expected), **SLACK)
    leaves = [inputs, *decoder.leaves]
    # The weights too: attention can be asked for (training.guided); and the weights alone.
    for asked in (slice(2), slice(1), slice(1, 2)):
        mine = gradients(found[asked], leaves)
        assert_close(mine, gradients(expected[asked], leaves), **SLACK)


@every_kind
def test_gradcheck_of_the_fed_decoder(kind):
    torch.manual_seed(1)
    decoder, inputs = Fed(2, kind), draw(2, BATCH, WIDTH)
    allowed, _ = masks("lengths")

    def said(inputs, *leaves):
        return decoder.fast(inputs, allowed, None, None).attentional

    leaves = [decoder.initial, decoder.cells, decoder.keys, decoder.values, decoder.to_context]
    assert torch.autograd.gradcheck(said, [inputs, *leaves], fast_mode=True)


def test_a_graph_that_is_kept_gives_the_same_gradient_twice():
    decoder, inputs = Fed(2, AdditiveReader), draw(TIME, BATCH, WIDTH)
    total = decoder.fast(inputs, None, None, None).attentional.square().sum()
    first = torch.autograd.grad(total, decoder.leaves, retain_graph=True)
    assert_close(torch.autograd.grad(total, decoder.leaves), first, rtol=0.0, atol=0.0)


def test_a_run_is_freed_with_its_graph():
    source = Source(DotReader, *(draw(BATCH, KEYS, HIDDEN) for _ in "kv"), draw(0, HIDDEN))
    weights = Weights(draw(3 * HIDDEN, HIDDEN), draw(3 * HIDDEN, HIDDEN), draw(HIDDEN))
    runs = [
        Fed(1, DotReader).fast(draw(TIME, BATCH, WIDTH), None, None, None),
        attentive_gru(draw(TIME, BATCH, 3 * HIDDEN), draw(BATCH, HIDDEN), source, weights),
    ]
    kept = [weakref.ref(run[0].grad_fn) for run in runs]
    assert all(out.requires_grad for run in runs for out in run)
    del runs
    assert [graph() for graph in kept] == [None, None]
