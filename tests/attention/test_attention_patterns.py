"""Patterns: each is its rule asked pair by pair, at any length."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from attention_masks import dense
from hypothesis import given
from hypothesis import strategies as st
from test_attention_masks import PATTERN
from torch.testing import assert_close

import qkv
from qkv import Mask, masks
from qkv.attention.masks import PATTERNS

size, sizes = st.integers(1, 5), st.integers(1, 11)
RULES = {  # a pattern and its rule, from two numbers of 1 or more
    "window": lambda a, b: (Mask.window(a, b), lambda i, j: i - a <= j <= i + b),
    "window_behind": lambda a, b: (Mask.window(a + b, -b), lambda i, j: i - a - b <= j <= i - b),
    "dilated": lambda a, b: (
        Mask.dilated(a, b),
        lambda i, j: any(j == i + m * b for m in range(-a, a + 1)),
    ),
    "strided": lambda a, b: (Mask.strided(a), lambda i, j: abs(i - j) % a == 0),
    "block": lambda a, b: (Mask.block(a), lambda i, j: math.floor(i / a) == math.floor(j / a)),
    "global": lambda a, b: (Mask.global_([a, b]), lambda i, j: bool({i, j} & {a, b})),
    "sparse_transformer_strided": lambda a, b: (
        masks.sparse_transformer_strided(a),
        lambda i, j: j in {*range(max(0, i - a), i + 1), *range(i, -1, -a)},
    ),
    "sparse_transformer_fixed": lambda a, b: (
        masks.sparse_transformer_fixed(a, b),
        lambda i, j: j <= i and (j // a == i // a or j % a in range(a - b, a)),
    ),
    "longformer": lambda a, b: (
        masks.longformer(a, [b]),
        lambda i, j: abs(i - j) <= a or b in (i, j),
    ),
    "star_transformer": lambda a, b: (
        masks.star_transformer(a),
        lambda i, j: abs(i - j) <= 1 or a in (i, j),
    ),
}


@pytest.mark.parametrize("name", RULES)
@given(a=size, b=size, queries=sizes, keys=sizes)
def test_a_pattern_is_its_rule_at_any_length(name, a, b, queries, keys):
    """Nothing has to divide anything."""
    mask, rule = RULES[name](a, b)
    expected = dense(lambda _, __, i, j: rule(i, j), 1, 1, queries, keys)[0, 0]
    assert torch.equal(mask.dense(queries, keys), expected)
    assert mask.density(queries, keys) == expected.double().mean()


@given(PATTERN, sizes, sizes)
def test_a_pattern_knows_exactly_when_it_forbids_nothing(mask, queries, keys):
    assert mask.forbids_nothing(queries, keys) == bool(mask.dense(queries, keys).all())


@given(PATTERN, sizes)
def test_a_key_that_a_pattern_cannot_reach_is_met_by_no_query_and_others_may_be(mask, keys):
    met = mask.dense(40, keys).any(0)  # 40 queries: later than any window or position here
    reachable = mask.reachable(keys)
    assert not (met & ~reachable).any()
    if not isinstance(mask, type(Mask.random(1))):
        assert torch.equal(met, reachable)


@given(PATTERN)
def test_patterns_are_equal_when_they_are_the_same_rule_and_have_no_batch(mask):
    assert mask.select(torch.tensor([0, 0])) == mask
    assert eval(repr(mask), {"Mask": Mask}) == mask


@given(count=size, seed=st.integers(-(2**63), 2**63), queries=sizes, keys=sizes)
def test_random_gives_every_query_its_count_of_keys_whatever_queries_are_beside_it(
    count, seed, queries, keys
):
    mask = Mask.random(count, seed)
    drawn = mask.dense(queries, keys)
    assert drawn.sum(-1).tolist() == [min(count, keys)] * queries
    assert torch.equal(drawn, mask.dense(queries + 3, keys)[:queries])


def test_random_leaves_torchs_generator_alone_and_follows_its_seed():
    before = torch.get_rng_state()
    first, again, other = (Mask.random(3, seed).dense(50, 50) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(Mask.random(3, 1 + 2**32).dense(50, 50), first)


def test_random_chooses_every_key_and_pair_about_equally_often():
    """Counts over 4000 rows are binomial: within 5 standard deviations of their mean."""
    rows, keys, count = 4000, 20, 4
    drawn = Mask.random(count, 5).dense(rows, keys).double()
    share = count / keys
    assert_close(
        drawn.sum(0),
        torch.full((keys,), rows * share).double(),
        atol=5 * (rows * share * (1 - share)) ** 0.5,
        rtol=0,
    )
    both = (drawn.T @ drawn)[~torch.eye(keys, dtype=torch.bool)]
    pair = share * (count - 1) / (keys - 1)
    spread = 5 * (rows * pair * (1 - pair)) ** 0.5
    assert_close(both, torch.full_like(both, rows * pair), atol=spread, rtol=0)
    next_row = (drawn[1:] * drawn[:-1]).sum() / (rows - 1)  # rows do not know each other
    assert_close(next_row.item(), count * share, atol=5 * (count / rows) ** 0.5, rtol=0)


@pytest.mark.parametrize(("keys", "count"), [(7, 2), (50, 1), (50, 3), (129, 5)])
def test_randoms_draws_are_distinct_and_uniform_by_chi_square(keys, count):
    """One draw a row is a multinomial: chi^2 has keys - 1 degrees of freedom, so that mean and
    twice that variance; 4 deviations either way. Floyd's n-th draw is from the first
    keys - count + n + 1 alone; all draws together are hypergeometric, which narrows chi^2 by
    (keys - count) / (keys - 1)."""
    rows = torch.arange(20000)
    drawn = torch.stack(Mask.random(count, 11).draw_keys(rows, keys), -1)
    assert drawn.shape == (20000, count)
    assert drawn.min() == 0 and drawn.max() == keys - 1
    ordered = drawn.sort(-1).values
    assert (ordered[:, 1:] > ordered[:, :-1]).all()
    first = keys - count + 1
    for column, freedom, narrowed in (
        (drawn[:, 0], first - 1, 1.0),
        (drawn.flatten(), keys - 1, (keys - count) / (keys - 1)),
    ):
        observed = column.bincount(minlength=freedom + 1).double()
        expected = len(column) / (freedom + 1)
        chi = ((observed - expected) ** 2 / expected).sum().item() / narrowed
        assert abs(chi - freedom) < 4 * (2 * freedom) ** 0.5


def test_bigbird_is_a_window_global_positions_and_random_keys():
    drawn = masks.bigbird(1, [0], 2, seed=3).dense(9, 13)
    base = masks.longformer(1, [0]).dense(9, 13)
    assert torch.equal(drawn, base | Mask.random(2, 3).dense(9, 13))
    assert not torch.equal(drawn, base)


def test_every_pattern_of_the_registry_is_there():
    for name in PATTERNS:
        assert callable(getattr(masks, name))
        assert name in RULES or name == "bigbird"


def test_a_window_moved_by_the_cache_gives_each_step_what_the_whole_gives():
    x = torch.randn(2, 9, 5).double()
    whole = qkv.attend(x, x, mask=Mask.window(3, 0)).context
    for i in range(9):
        mask = Mask.window(3 - i, 0 + i)
        step = qkv.attend(x[:, i : i + 1], x[:, : i + 1], mask=mask).context
        assert_close(step, whole[:, i : i + 1])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Mask.window(1, -2), r"left \+ right >= 0"),
        (lambda: Mask.window(1.0, 2), "left is a whole number, got 1.0"),
        (lambda: Mask.dilated(0, 2), "Mask.dilated: width is a whole number of 1 or more, got 0"),
        (lambda: Mask.dilated(2, True), "step is a whole number"),
        (lambda: Mask.strided(-1), "Mask.strided: step"),
        (lambda: Mask.block(0), "Mask.block: size"),
        (lambda: Mask.random(0), "Mask.random: count"),
        (lambda: Mask.random(1, 0.5), "Mask.random: seed is a whole number, got 0.5"),
        (lambda: Mask.global_([]), "at least one"),
        (lambda: Mask.global_([-1]), "from 0 on"),
        (lambda: Mask.global_(torch.tensor([0.5])), "whole numbers"),
        (lambda: Mask.global_("a"), "such as"),
        (lambda: masks.sparse_transformer_fixed(4, 0), "summary is a whole number"),
    ],
)
def test_a_pattern_that_is_none_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_mask_shows_itself_in_the_terminal_and_as_svg(capsys):
    mask = Mask.window(1, 0)
    mask.show(2, 3)
    assert capsys.readouterr().out == mask.draw(2, 3) + "\n"
    assert mask.draw(2, 3).endswith("■ · ·\n■ ■ ·")
    figure = mask.svg(2, 3)
    root = ElementTree.fromstring(figure)
    assert root.tag.endswith("svg")
    corners = re.findall(r"M(\d+) (\d+)h", figure)
    assert [(int(x) // 12, (int(y) - 22) // 12) for x, y in corners] == [(0, 0), (0, 1), (1, 1)]


def test_the_svg_of_a_batch_has_every_item():
    figure = (Mask.lengths(torch.tensor([2, 0, 1])) & Mask.causal()).svg()
    assert figure.count("h10v10") == 3 + 0 + 2
    assert "<title>(Mask.lengths([2, 0, 1]) &amp; Mask.causal())  " in figure


@pytest.mark.parametrize(
    "mask",
    [
        Mask.window(1, 0),
        Mask.lengths(torch.tensor([2, 0, 1])) & Mask.causal(),
        Mask.lengths(torch.arange(300) % 5) | ~Mask.window(1, 0),
        Mask.keep(torch.ones(1, 1, dtype=torch.bool)),
    ],
)
def test_no_line_of_the_title_of_a_masks_svg_is_wider_than_the_drawing(mask):
    """0.68 em a character, more than a sans-serif font's digits and letters take on the mean."""
    root = ElementTree.fromstring(mask.svg())
    name, title, *_ = list(root)
    whole = repr(mask)
    assert name.text.startswith(whole)
    lines = [span.text for span in title]
    assert all(len(line) * 12 * 0.68 <= float(root.get("width")) for line in lines)
    shown = " ".join(lines)
    assert shown == whole or (shown.endswith(" …") and whole.startswith(shown[:-2]))
    # below the title, inside the drawing
    lowest = max(float(span.get("y")) for span in title)
    squares = [int(y) for _, y in re.findall(r"M(\d+) (\d+)h", mask.svg())]
    assert all(lowest < y <= float(root.get("height")) - 10 for y in squares)


def test_a_browser_cuts_nothing_of_the_title_of_a_masks_svg(tmp_path):
    from browser import launched

    mask = Mask.lengths(torch.arange(8)) & ~Mask.window(10, 11) | Mask.keep(torch.ones(8, 8) > 0)
    (tmp_path / "mask.svg").write_text(mask.svg(), encoding="utf-8")
    with launched() as chromium:
        page = chromium.new_page()
        page.goto((tmp_path / "mask.svg").as_uri())
        box = page.evaluate("() => document.querySelector('text').getBBox().width")
        wide = page.evaluate("() => document.documentElement.width.baseVal.value")
    assert 0 < box <= wide
