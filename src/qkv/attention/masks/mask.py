"""What a mask is: a rule saying which query i and key j may meet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from qkv.attention.masks.band import Band
    from qkv.attention.masks.pairs import Pairs
    from qkv.attention.masks.reach import Blocks, Reach
    from qkv.attention.masks.runs import Runs


class Mask(ABC):
    """Which pairs (query i, key j) may meet; True always reads "may attend". Abstract.

    Built by the static methods below, composed with `&`, `|` and `~`; printing one draws it.
    (Each pattern's file imports this one, so the methods import the patterns when called.)

    A mask's leading dimensions are read from the left, batch first: a [batch, T, S] mask serves
    queries [batch, heads, T, dim] as well. Dimensions of size 1 stretch.
    """

    @staticmethod
    def keep(tensor: Bool[Tensor, "*batch queries keys"]) -> Mask:
        """True = may attend, as in `scaled_dot_product_attention`."""
        from qkv.attention.masks.keep import keep

        return keep(tensor)

    @staticmethod
    def drop(tensor: Bool[Tensor, "*batch queries keys"]) -> Mask:
        """True = may not attend, as in `nn.MultiheadAttention` and `nn.Transformer`."""
        from qkv.attention.masks.keep import drop

        return drop(tensor)

    @staticmethod
    def lengths(lengths: Int[Tensor, " batch"]) -> Mask:
        """Key j of batch item b may be met when j < lengths[b]."""
        from qkv.attention.masks.lengths import Lengths

        return Lengths.of(lengths)

    @staticmethod
    def causal(offset: int = 0) -> Mask:
        """Query i may meet key j when j <= i + offset.

        With a cache the last query sees the last key: offset = number of keys - number of queries.
        """
        from qkv.attention.masks.causal import Causal

        return Causal(offset)

    @staticmethod
    def window(left: int, right: int) -> Mask:
        """Query i may meet key j when -left <= j - i <= right."""
        from qkv.attention.masks.window import Window

        return Window(left, right)

    @staticmethod
    def dilated(width: int, step: int) -> Mask:
        """Query i may meet `width` keys each way, `step` apart, and key i."""
        from qkv.attention.masks.dilated import Dilated

        return Dilated(width, step)

    @staticmethod
    def strided(step: int) -> Mask:
        """Query i may meet key j when `step` divides j - i."""
        from qkv.attention.masks.strided import Strided

        return Strided(step)

    @staticmethod
    def block(size: int) -> Mask:
        """Query i may meet key j when i // size == j // size."""
        from qkv.attention.masks.block import Block

        return Block(size)

    @staticmethod
    def global_(positions: Iterable[int] | Int[Tensor, " chosen"]) -> Mask:
        """Query i may meet key j when i or j is one of `positions`: whole rows and columns."""
        from qkv.attention.masks.global_ import Global

        return Global.of(positions)

    @staticmethod
    def random(count: int, seed: int = 0) -> Mask:
        """Each query may meet `count` keys, drawn by `seed`."""
        from qkv.attention.masks.random import Random

        return Random(count, seed)

    @staticmethod
    def around(positions: Float[Tensor, "*batch queries"], width: int) -> Mask:
        """Query i may meet key j when |j - positions[i]| <= width: local attention's window."""
        from qkv.attention.masks.around import Around

        return Around.of(positions, width)

    @staticmethod
    def per_head(masks: Iterable[Mask]) -> Mask:
        """Head h follows mask h; the heads are the second of the leading dimensions."""
        from qkv.attention.masks.per_head import PerHead

        return PerHead.of(masks)

    @property
    @abstractmethod
    def same_for_every_query(self) -> bool:
        """Whether the rule looks at the key alone."""

    @abstractmethod
    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch T S"]:
        """The rule as a tensor, at least 2-D, whose dimensions may be 1 where they stretch."""

    @abstractmethod
    def pairs(self, pairs: Pairs) -> Bool[Tensor, "*tile rows columns"]:
        """The rule for some pairs only; sizes of 1 stretch."""

    def reach(self, blocks: Blocks) -> Reach | None:
        """Which keys each block of queries may meet; None where it may be most of them.

        This is what lets attention leave out the rest unseen. It may say too much, not too little.
        """
        return None

    @abstractmethod
    def reachable(
        self, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch keys"]:
        """Which keys some query may meet, however many queries come; True when in doubt."""

    @abstractmethod
    def select(self, rows: Int[Tensor, " chosen"]) -> Mask:
        """The mask of these batch items; a part without a batch stays as it is."""

    @abstractmethod
    def size(self) -> tuple[int | None, int | None]:
        """Queries and keys that the mask itself speaks of; None where any number will do."""

    def longer_than(self, keys: int) -> tuple[int, int] | None:
        """The first batch item whose length is more than this, and its length; None: no item.

        Only `Mask.lengths` has lengths, alone or as a part.
        """
        return None

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """True when that is plain without drawing it, as for one query with a cache behind it."""
        return False

    def triangular(self, queries: int, keys: int) -> bool:
        """True when it is plain without drawing it that j <= i is the whole rule."""
        return False

    def band(self, queries: int, keys: int) -> Band | None:
        """Say which band of pairs this is; None where it is none that is known undrawn."""
        return None

    def runs(self, queries: int, keys: int, leading: int, device: torch.device) -> Runs | None:
        """Say which run of keys each query meets; None where it is none that is known undrawn.

        leading: dimensions of batch and heads.
        """
        return None

    def dense(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch queries keys"]:
        """The whole mask; True = may attend."""
        tensor = self.tensor(queries, keys, device)
        return tensor.expand(*tensor.shape[:-2], queries, keys)

    def density(self, queries: int, keys: int) -> float:
        """The share of pairs that may meet."""
        return self.dense(queries, keys).double().mean().item()

    def draw(self, queries: int | None = None, keys: int | None = None) -> str:
        """The mask as text, one line a query: a filled square for a pair that may meet."""
        from qkv.attention.masks.draw import draw

        return draw(self, queries, keys)

    def show(self, queries: int | None = None, keys: int | None = None) -> None:
        """Print the drawing."""
        print(self.draw(queries, keys))

    def svg(self, queries: int | None = None, keys: int | None = None) -> str:
        """The same drawing as SVG."""
        from qkv.attention.masks.draw import svg

        return svg(self, queries, keys)

    def __str__(self) -> str:
        return self.draw()

    def __and__(self, other: Mask) -> Mask:
        from qkv.attention.masks.combine import And

        return And(self, other)

    def __or__(self, other: Mask) -> Mask:
        from qkv.attention.masks.combine import Or

        return Or(self, other)

    def __invert__(self) -> Mask:
        from qkv.attention.masks.combine import Not

        return Not(self)

    def __bool__(self) -> bool:
        raise ValueError(
            "a mask is not true or false: combine masks with & | ~, not with and, or, not"
        )


def align(tensor: Tensor, leading: int, core: int = 2) -> Tensor:
    """Read leading dimensions from the left: [batch, T, S] -> [batch, 1, T, S] for leading=2."""
    own = tensor.dim() - core
    if own in (0, leading):
        return tensor
    if own > leading:
        raise ValueError(
            f"the mask has {own} leading dimension(s), {list(tensor.shape[:own])}, but queries "
            f"and keys have {leading}: give them the batch dimension, or take it off the mask"
        )
    batch, rest = tensor.shape[:own], tensor.shape[own:]
    return tensor.reshape(*batch, *(1,) * (leading - own), *rest)
