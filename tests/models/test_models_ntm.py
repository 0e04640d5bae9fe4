"""The neural Turing machine as a model: one machine over the source, and then over the target."""

from __future__ import annotations

import pytest
import torch
from model_cases import EXACT, SOURCE, built, padded, slack, sources, targets, variant
from torch.testing import assert_close

from qkv.text import BOS

CASES = [
    variant("ntm"),
    variant("ntm", controller="feedforward", read_heads=2, write_heads=2),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_machine_reads_the_source_and_goes_on_with_the_target(case):
    model = built(case)
    ids, inputs = sources([3, 1, 6]), targets([5, 2, 4])
    logits = model(*padded(ids), padded(inputs)[0])
    for b, (source, target) in enumerate(zip(ids, inputs, strict=True)):
        state, outputs = model.machine.start(1), []
        for table, tokens in (
            (model.source_embedding.weight, source),
            (model.target_embedding.weight, target),
        ):
            outputs = []
            for token in tokens:
                output, state = model.machine(table[token : token + 1], state)
                outputs.append(output[0])
        project = model.output.project
        expected = torch.stack(outputs) @ project.weight.T + project.bias
        assert_close(logits[b, : len(target)], expected, **slack())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_memory_of_a_source_that_has_ended_stays_as_it_is(case):
    model, ids = built(case), sources([2, 5])
    (source, lengths), alone = padded(ids, extra=3), padded(ids[:1])
    other = source.clone()
    other[0, 2:] = torch.arange(4, 10) % SOURCE  # whatever stands behind the end
    state, again, single = (
        model.start(source, lengths),
        model.start(other, lengths),
        model.start(*alone),
    )
    for part, same, own in zip(state.hidden, again.hidden, single.hidden, strict=True):
        assert_close(part, same, **EXACT)
        assert_close(part[:1], own, **slack())


def test_hypotheses_of_one_source_write_to_memories_of_their_own():
    model = built(CASES[0])
    state = model.step(torch.full((2, 1), BOS), model.start(*padded(sources([3, 4])))).state
    state = state.select(torch.arange(2), torch.zeros(2, 2, dtype=torch.long))
    after = model.step(torch.tensor([[4, 5], [6, 6]]), state).state
    memory = after.hidden[-1]
    assert not torch.equal(memory[0, 0], memory[0, 1])
    assert torch.equal(memory[1, 0], memory[1, 1])


def test_a_machine_has_no_alignment():
    model = built(CASES[0])
    source, lengths = padded(sources([3, 2]))
    forced = model.force(source, lengths, padded(targets([2, 2]))[0], need_attention=True)
    step = model.step(torch.full((2, 1), BOS), model.start(source, lengths))
    assert not model.attends and forced.attention is None and step.attention is None
