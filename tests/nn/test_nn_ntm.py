"""The neural Turing machine against the equations of Graves et al. 2014 written as loops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

from qkv.nn import NeuralTuringMachine, NTMState
from qkv.nn.ntm import write

BATCH, INPUTS, HIDDEN, SLOTS, WIDTH = 2, 3, 5, 7, 11
# Three steps, each of at most 16 roundings of sums of at most 64 terms below 8.
CLOSE = {"rtol": 0.0, "atol": 3 * 16 * 64 * 8 * torch.finfo(torch.float64).eps}


def machine(**changes) -> NeuralTuringMachine:
    sizes = {"slots": SLOTS, "width": WIDTH} | changes
    built = NeuralTuringMachine(INPUTS, HIDDEN, **sizes).double()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return built


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softplus(x: float) -> float:
    return math.log(1 + math.exp(x))


def softmax(x: list[float]) -> list[float]:
    return [math.exp(e) / sum(map(math.exp, x)) for e in x]


def affine(linear: torch.nn.Linear, x: list[float]) -> list[float]:
    W, b = linear.weight.tolist(), linear.bias.tolist()
    return [
        sum(w * e for w, e in zip(row, x, strict=True)) + c for row, c in zip(W, b, strict=True)
    ]


def control(built, x, state):
    """The controller's output, and its next state."""
    if not state:
        return [math.tanh(e) for e in affine(built.controller.linear, x)], []
    cell, (h, c) = built.controller.cell, state
    W, R = cell.weight_ih.tolist(), cell.weight_hh.tolist()
    bias = (cell.bias_ih + cell.bias_hh).tolist()
    raw = [
        sum(w * e for w, e in zip(W[n], x, strict=True))
        + sum(r * e for r, e in zip(R[n], h, strict=True))
        + bias[n]
        for n in range(4 * HIDDEN)
    ]
    i, f, g, o = (raw[n * HIDDEN : (n + 1) * HIDDEN] for n in range(4))
    cells = [sigmoid(f[n]) * c[n] + sigmoid(i[n]) * math.tanh(g[n]) for n in range(HIDDEN)]
    output = [sigmoid(o[n]) * math.tanh(cells[n]) for n in range(HIDDEN)]
    return output, [output, cells]


def place(raw, before, memory, reach):
    """Equations 5 to 9 for one head."""
    width = len(memory[0])
    key, (beta, gate, *rest) = raw[:width], raw[width:]
    shifts, gamma = softmax(rest[:-1]), 1 + softplus(rest[-1])
    length = math.sqrt(sum(k * k for k in key))
    cosines = [
        sum(k * m for k, m in zip(key, slot, strict=True))
        / length
        / math.sqrt(sum(m * m for m in slot))
        for slot in memory
    ]
    content = softmax([softplus(beta) * cosine for cosine in cosines])
    g = sigmoid(gate)
    mixed = [g * w + (1 - g) * b for w, b in zip(content, before, strict=True)]
    moved = [0.0] * len(memory)
    for i, o in itertools.product(range(len(memory)), range(-reach, reach + 1)):
        moved[(i + o) % len(memory)] += mixed[i] * shifts[o + reach]
    total = sum(w**gamma for w in moved)
    return [w**gamma / total for w in moved]


def by_loops(built, inputs, reads, writes, reach):
    """The outputs [time][hidden + reads * width] for one item."""
    slots, width, heads = built.slots, built.width, reads + writes
    memory = [[1e-6] * width for _ in range(slots)]
    read = built.first_read.tolist()
    weights = [
        softmax([p + 5 * (i == 0) for i, p in enumerate(row)])
        for row in built.first_place.tolist()
    ]
    state = [[0.0] * HIDDEN, [0.0] * HIDDEN] if hasattr(built.controller, "cell") else []
    outputs = []
    for x in inputs:
        hidden, state = control(built, [*x, *read], state)
        raw, size = affine(built.heads.place, hidden), width + 4 + 2 * reach
        weights = [
            place(raw[h * size : (h + 1) * size], weights[h], memory, reach) for h in range(heads)
        ]
        read = [
            sum(weights[h][i] * memory[i][d] for i in range(slots))
            for h, d in itertools.product(range(reads), range(width))
        ]
        content = affine(built.heads.content, hidden)
        for i, d in itertools.product(range(slots), range(width)):
            kept, added = memory[i][d], 0.0
            for n in range(writes):
                w = weights[reads + n][i]
                kept *= 1 - w * sigmoid(content[2 * n * width + d])
                added += w * math.tanh(content[(2 * n + 1) * width + d])
            memory[i][d] = kept + added
        outputs.append([*hidden, *read])
    return torch.tensor(outputs, dtype=torch.float64)


def run(built, inputs):
    state, outputs = built.start(len(inputs)), []
    for x in inputs.unbind(1):
        output, state = built(x, state)
        outputs.append(output)
    return torch.stack(outputs, 1), state


@pytest.mark.parametrize("controller", ["lstm", "feedforward"])
@pytest.mark.parametrize(("reads", "writes", "reach"), [(1, 1, 1), (2, 3, 2), (1, 2, 0)])
def test_a_machine_equals_the_equations_written_as_loops(controller, reads, writes, reach):
    built = machine(controller=controller, read_heads=reads, write_heads=writes, max_shift=reach)
    inputs = torch.randn(BATCH, 3, INPUTS).double()
    outputs, _ = run(built, inputs)
    assert outputs.shape == (BATCH, 3, built.outputs)
    for b in range(BATCH):
        expected = by_loops(built, inputs[b].tolist(), reads, writes, reach)
        assert_close(outputs[b], expected, **CLOSE)


def test_writing_worked_by_hand():
    """The head is wholly on slot 1, erases its first entry, and adds 2 and 3."""
    memory = torch.tensor([[[5.0, 6.0], [7.0, 8.0]]])
    weights, erase = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]])
    written = write(memory, weights, erase, torch.tensor([[[2.0, 3.0]]]))
    assert_close(written, torch.tensor([[[5.0, 6.0], [2.0, 11.0]]]))


def test_the_order_of_the_write_heads_is_no_matter():
    memory, weights = torch.randn(2, 5, 3).double(), torch.rand(2, 4, 5).double()
    erase, add = torch.rand(2, 4, 3).double(), torch.randn(2, 4, 3).double()
    order = [2, 0, 3, 1]
    assert_close(
        write(memory, weights[:, order], erase[:, order], add[:, order]),
        write(memory, weights, erase, add),
        **CLOSE,
    )


def test_a_step_changes_no_state_and_the_module_holds_no_memory():
    built = machine()
    before = set(built.state_dict()), {name for name, _ in built.named_buffers()}
    _, state = run(built, torch.randn(BATCH, 2, INPUTS).double())
    copies = [part.clone() for part in (*state.controller, *state[1:])]
    x = torch.randn(BATCH, INPUTS).double()
    first, _ = built(x, state)
    second, _ = built(x, state)
    assert torch.equal(first, second)
    for part, copy in zip((*state.controller, *state[1:]), copies, strict=True):
        assert torch.equal(part, copy)
    assert before == (set(built.state_dict()), set())


def test_an_item_that_has_ended_keeps_its_state():
    built = machine()
    inputs = torch.randn(3, 2, INPUTS).double()
    _, before = run(built, inputs[:, :1])
    _, after = built(inputs[:, 1], before)
    held = after.where(torch.tensor([True, False, True]), before)
    for new, old, kept in zip(*(flat(state) for state in (after, before, held)), strict=True):
        assert torch.equal(kept[[0, 2]], new[[0, 2]]) and torch.equal(kept[1], old[1])
        assert not torch.equal(new[1], old[1])


def flat(state: NTMState) -> list[torch.Tensor]:
    return [*state.controller, *state[1:]]


def test_weights_sum_to_1_and_start_mostly_on_the_first_slot():
    built = NeuralTuringMachine(INPUTS, HIDDEN, slots=SLOTS, width=WIDTH, read_heads=2)
    start = built.start(BATCH)
    expected = torch.full((BATCH, 3, SLOTS), 1 / (math.exp(5) + SLOTS - 1))
    expected[..., 0] *= math.exp(5)
    assert_close(start.weights, expected)
    _, state = run(built, torch.randn(BATCH, 9, INPUTS))
    # Each of 9 steps renormalises: only the last one's roundings, of sums of 7, are seen.
    room = 16 * torch.finfo(torch.float32).eps
    assert_close(state.weights.sum(-1), torch.ones(BATCH, 3), rtol=0.0, atol=room)


def test_gradients_pass_through_the_memory_and_are_right():
    built = machine(slots=3, width=2, max_shift=1)
    inputs = torch.randn(1, 3, INPUTS).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: run(built, x)[0], (inputs,))
    assert torch.autograd.gradgradcheck(lambda x: run(built, x)[0], (inputs,))


@pytest.mark.parametrize("sizes", [(1, 1), (1, 4), (2, 1)], ids=str)
def test_any_size_of_memory_will_do(sizes):
    slots, width = sizes
    outputs, _ = run(machine(slots=slots, width=width), torch.randn(1, 3, INPUTS).double())
    assert outputs.isfinite().all()


def test_an_unknown_controller_is_refused():
    with pytest.raises(ValueError, match="unknown controller 'gru'; allowed: lstm, feedforward"):
        machine(controller="gru")
