"""Links of two directions made into one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv.explain import SYMMETRIZERS
from qkv.explain.symmetrize import grow_diag, symmetrizer

Points = set[tuple[int, int]]
BESIDE = [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]


def free(alignment: Points, e: int, f: int) -> list[bool]:
    return [all(point[0] != e for point in alignment), all(point[1] != f for point in alignment)]


def oracle(name: str, e2f: Points, f2e: Points, shape: tuple[int, int]) -> Points:
    """The pseudo-code, word for word, over sets of (target, source)."""
    if name in ("intersection", "union"):
        return e2f & f2e if name == "intersection" else e2f | f2e
    every = [(e, f) for e in range(shape[0]) for f in range(shape[1])]
    alignment = e2f & f2e
    before = None
    while before != alignment:
        before = set(alignment)
        for e, f in every:
            for down, right in BESIDE:
                new = (e + down, f + right)
                if (e, f) in alignment and any(free(alignment, *new)) and new in e2f | f2e:
                    alignment.add(new)
    if name != "grow-diag":
        wanted = any if name == "grow-diag-final" else all
        for links in (e2f, f2e):
            for point in every:
                if wanted(free(alignment, *point)) and point in links:
                    alignment.add(point)
    return alignment


def matrix(points: Points, shape: tuple[int, int]) -> torch.Tensor:
    found = torch.zeros(shape, dtype=torch.bool)
    for point in points:
        found[point] = True
    return found


@pytest.mark.parametrize("name", SYMMETRIZERS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_every_symmetrisation_is_the_pseudo_code_word_for_word(name: str, data: st.DataObject):
    shape = data.draw(st.tuples(st.integers(0, 7), st.integers(0, 5)))
    cells = [(i, j) for i in range(shape[0]) for j in range(shape[1])]
    some = st.sets(st.sampled_from(cells)) if cells else st.just(set())
    forward, backward = data.draw(some), data.draw(some)
    found = SYMMETRIZERS[name](matrix(forward, shape), matrix(backward, shape))
    assert {tuple(p) for p in found.nonzero().tolist()} == oracle(name, forward, backward, shape)
    assert found.shape == shape and found.dtype == torch.bool


def test_what_grows_lies_between_the_intersection_and_the_union():
    """A planted pair of directions, whose results were made by hand."""
    forward = {(0, 0), (1, 1), (2, 1), (4, 3), (3, 4)}
    backward = {(0, 0), (1, 1), (1, 2), (5, 0)}
    shape = (6, 5)
    expected = {
        "intersection": {(0, 0), (1, 1)},
        "union": forward | backward,
        "grow-diag": {(0, 0), (1, 1), (1, 2), (2, 1)},
        "grow-diag-final": forward | backward,
        "grow-diag-final-and": {(0, 0), (1, 1), (1, 2), (2, 1), (3, 4), (4, 3)},
    }
    for name, points in expected.items():
        found = SYMMETRIZERS[name](matrix(forward, shape), matrix(backward, shape))
        assert {tuple(p) for p in found.nonzero().tolist()} == points, name


def test_the_links_given_are_not_changed():
    forward, backward = torch.eye(3, dtype=torch.bool), torch.ones(3, 3, dtype=torch.bool)
    grow_diag(forward, backward)
    assert torch.equal(forward, torch.eye(3, dtype=torch.bool)) and backward.all()


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match="'grow'; allowed: intersection, union, grow-diag"):
        symmetrizer("grow")
