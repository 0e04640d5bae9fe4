"""Memory networks against the equations of Sukhbaatar et al. 2015 written as loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from qkv.nn import MemoryNetwork
from qkv.nn.memory_network import Words

VOCABULARY, WIDTH, MEMORIES, WORDS = 13, 7, 5, 3
BUILD = {"adjacent": MemoryNetwork.adjacent, "layer_wise": MemoryNetwork.layer_wise}
# Three hops. Each turns an error of x in the energies, sums of 16 terms below 64, into one of 2 x
# in weights of values below 64; the logits are sums of 8 terms below 64.
CLOSE = {"rtol": 0.0, "atol": 3 * 2 * 16 * 64 * 8 * 64 * torch.finfo(torch.float64).eps}

every_tying = pytest.mark.parametrize("tying", BUILD)


def network(tying: str, hops: int = 3, encoding: str = "position") -> MemoryNetwork:
    built = BUILD[tying](VOCABULARY, WIDTH, hops=hops, max_memories=11, encoding=encoding)
    for parameter in built.double().parameters():
        with torch.no_grad():
            parameter.add_(torch.randn_like(parameter))
    return built


def story(batch: int = 2):
    """Memories and a question of unequal lengths: pads (0) at the end of each."""
    memories = torch.randint(1, VOCABULARY, (batch, MEMORIES, WORDS))
    memories[0, 1, 2:], memories[1, 0, 1:] = 0, 0
    question = torch.randint(1, VOCABULARY, (batch, 2))
    question[1, 1] = 0
    return memories, torch.tensor([MEMORIES, 3])[:batch], question


def encode(table, ids, encoding):
    """sum_j l_j * A x_j, over the real words."""
    real = [i for i in ids if i]
    total = [0.0] * WIDTH
    for j, word in enumerate(real, 1):
        for k in range(1, WIDTH + 1):
            J, d = len(real), WIDTH
            weight = (1 - j / J) - k / d * (1 - 2 * j / J) if encoding == "position" else 1.0
            total[k - 1] += weight * table[word][k - 1]
    return total


def tables(net, tying, hop):
    """(A, T_A), (C, T_C) of a hop, and B, as section 2.2 ties them."""
    if tying == "adjacent":
        rows = [net.hops[0].address, *(each.content for each in net.hops)]
        pair = rows[hop], rows[hop + 1]
        asked = rows[0].words
    else:
        pair, asked = (net.hops[0].address, net.hops[0].content), net.question
    return *(
        (part.words.embedding.weight.tolist(), part.time.weight.tolist()) for part in pair
    ), asked.embedding.weight.tolist()


def by_loops(net, tying, encoding, memories, question):
    """The logits and each hop's weights for one item, whose memories are all real."""
    u = encode(tables(net, tying, 0)[2], question, encoding)
    looked = []
    for hop in range(len(net.hops)):
        (A, TA), (C, TC), _ = tables(net, tying, hop)
        last = len(memories) - 1
        m = [
            [a + t for a, t in zip(encode(A, x, encoding), TA[last - i], strict=True)]
            for i, x in enumerate(memories)
        ]
        c = [
            [a + t for a, t in zip(encode(C, x, encoding), TC[last - i], strict=True)]
            for i, x in enumerate(memories)
        ]
        e = [math.exp(sum(x * y for x, y in zip(u, row, strict=True))) for row in m]
        p = [x / sum(e) for x in e]
        o = [sum(p[i] * c[i][k] for i in range(len(c))) for k in range(WIDTH)]
        if tying == "layer_wise":
            H = net.hops[0].carry.weight.tolist()
            u = [sum(h * x for h, x in zip(row, u, strict=True)) for row in H]
        u = [x + y for x, y in zip(u, o, strict=True)]
        looked.append(p)
    W = tables(net, tying, len(net.hops) - 1)[1][0] if tying == "adjacent" else None
    W = net.answer.weight.tolist() if W is None else W
    return [sum(w * x for w, x in zip(row, u, strict=True)) for row in W], looked


@every_tying
@pytest.mark.parametrize("hops", [1, 3])
@pytest.mark.parametrize("encoding", ["bag", "position"])
def test_a_memory_network_equals_the_equations_written_as_loops(tying, hops, encoding):
    net, (memories, counts, question) = network(tying, hops, encoding), story()
    answered = net(memories, counts, question)
    assert answered.logits.shape == (2, VOCABULARY)
    assert answered.weights.shape == (2, hops, MEMORIES)
    for b, count in enumerate(counts.tolist()):
        logits, looked = by_loops(
            net, tying, encoding, memories[b, :count].tolist(), question[b].tolist()
        )
        assert_close(answered.logits[b], torch.tensor(logits, dtype=torch.float64), **CLOSE)
        expected = torch.tensor(looked, dtype=torch.float64)
        assert_close(answered.weights[b, :, :count], expected, **CLOSE)
        assert not answered.weights[b, :, count:].any()


@every_tying
def test_padding_of_words_and_of_memories_is_invisible(tying):
    net, (memories, counts, question) = network(tying), story()
    answered = net(memories, counts, question)
    wider = torch.nn.functional.pad(memories, (0, 2, 0, 3))
    wider[1, 3:] = 9  # behind the last memory stands whatever stood there before
    more = net(wider, counts, torch.nn.functional.pad(question, (0, 1)))
    assert_close(more.logits, answered.logits, **CLOSE)
    assert_close(more.weights[..., :MEMORIES], answered.weights, **CLOSE)
    assert not more.weights[..., MEMORIES:].any()


def test_position_encoding_worked_by_hand():
    """Two words, two entries: l_11 = 1/2, l_21 = 1/2; l_12 = 1/2, l_22 = 1."""
    words = Words(5, 2, "position")
    with torch.no_grad():
        words.embedding.weight[3] = torch.tensor([8.0, 8.0])
        words.embedding.weight[4] = torch.tensor([16.0, 16.0])
    assert_close(words(torch.tensor([[3, 4, 0]])), torch.tensor([[4.0 + 8.0, 4.0 + 16.0]]))


def test_adjacent_hops_share_their_matrices_and_layer_wise_hops_are_one():
    chain = network("adjacent")
    assert chain.hops[1].address is chain.hops[0].content
    assert chain.question is chain.hops[0].address.words
    assert chain.answer.words is chain.hops[-1].content.words
    assert len(list(chain.parameters())) == 2 * 4  # K + 1 tables, and as many of times
    recurrence = network("layer_wise")
    assert recurrence.hops[0] is recurrence.hops[2]
    assert len(list(recurrence.parameters())) == 2 + 2 + 1 + 1 + 1  # A, C, H, B, W


@every_tying
def test_every_parameter_gets_a_gradient(tying):
    net, (memories, counts, question) = network(tying), story()
    cross_entropy(net(memories, counts, question).logits, torch.tensor([1, 2])).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def lookup(batch: int):
    """Six memories `key value`, a key, and its value."""
    keys = torch.stack([torch.randperm(8)[:6] for _ in range(batch)]) + 1
    values = torch.randint(9, 17, (batch, 6))
    rows, asked = torch.arange(batch), torch.randint(6, (batch,))
    memories = torch.stack([keys, values], dim=-1)
    return memories, keys[rows, asked].unsqueeze(1), values[rows, asked]


@pytest.mark.parametrize("hops", [1, 3])
@every_tying
def test_a_lookup_is_learned_and_the_weights_point_at_the_answer(tying, hops):
    net = BUILD[tying](17, 20, hops=hops, max_memories=6)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    counts = torch.full((64,), 6)
    for _ in range(300):
        memories, question, answer = lookup(64)
        loss = cross_entropy(net(memories, counts, question).logits, answer)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    memories, question, answer = lookup(64)
    answered = net(memories, counts, question)
    assert torch.equal(answered.logits.argmax(-1), answer)
    if hops == 1:
        asked = (memories[..., 0] == question).nonzero()[:, 1]
        assert torch.equal(answered.weights[:, 0].argmax(-1), asked)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: network("adjacent", 0), "at least one hop, got none"),
        (lambda: network("layer_wise", 1, "words"), "unknown encoding 'words'; allowed: bag"),
        (
            lambda: network("adjacent")(
                torch.ones(1, 12, 2).long(), torch.tensor([12]), torch.ones(1, 2).long()
            ),
            "12 memories, but the network was built for at most 11",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(run, message):
    with pytest.raises(ValueError, match=message):
        run()
