"""What a kernel is, and what it says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

from qkv.attention.biases.position_bias import Placed

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from qkv.attention.result import Attended
    from qkv.attention.work import Work


@dataclass(frozen=True)
class Plan:
    """Which kernel runs, why, and what it costs (forward, beyond what is given and returned).

    operations counts a multiply-add as two. bytes is the largest working memory.
    """

    kernel: str
    reason: str
    operations: int
    bytes: int

    def __str__(self) -> str:
        return (
            f"kernel {self.kernel}: {self.reason}\n"
            f"cost: {_scaled(self.operations, 1000, '')} operations, "
            f"{_scaled(self.bytes, 1024, 'B')} of working memory"
        )


@dataclass(frozen=True)
class Kernel:
    """One way to compute the equation, and what it covers. None covers all.

    tiles: it works on tiles of pairs, where a mask leaves out most of them.
    pads_from: with keys and values of two widths it pads the narrower, which is worth it from so
        many (query, key) pairs a head on; "auto" leaves fewer to the next kernel.
    """

    name: str
    target: str
    purpose: str
    families: tuple[str, ...] | None = None
    normalizers: tuple[str, ...] | None = None
    needs: tuple[str, ...] | None = None
    reweights: bool = True
    drops_out: bool = True
    learns_bias: bool = True
    holds_pairs: bool = True
    pads_from: int = 0
    tiles: bool = False

    @cached_property
    def run(self) -> Callable[[Work], Attended]:
        """The function, imported on first use."""
        module, _, function = self.target.partition(":")
        found: Callable[[Work], Attended] = getattr(import_module(module), function)
        return found

    def gap(self, work: Work) -> str | None:
        """Name the first part of this work that the kernel cannot do; None if it does it all."""
        slots = work.slots
        if self.tiles and not slots.tileable:
            return f"reweighter {type(slots.reweighter).__name__}, which needs all keys at once"
        if self.tiles and work.tiles is None:
            return "what no mask limits to some keys a query"
        if not self.tiles and work.tiles is not None:
            return "a mask that is laid out in tiles"
        if self.families is not None and slots.score.family not in self.families:
            return f"score {type(slots.score).__name__}"
        if self.normalizers is not None and slots.normalizer.name not in self.normalizers:
            return f"normalizer {slots.normalizer.name!r}"
        if self.needs is not None and work.need not in self.needs:
            return f"need={work.need!r}"
        if not self.reweights and slots.reweighter is not None:
            return f"reweighter {type(slots.reweighter).__name__}"
        if not self.drops_out and slots.dropout:
            return f"dropout={slots.dropout}"
        if not self.learns_bias and slots.bias is not None and learns(slots.bias):
            return "a bias that needs a gradient"
        return None

    def loss(self, work: Work) -> str | None:
        """Say why another kernel is faster although this one could do it; None if none is."""
        widths = work.key.shape[-1], work.value.shape[-1]
        pairs = work.query.shape[-2] * work.key.shape[-2]
        if widths[0] != widths[1] and pairs < self.pads_from:
            return f"widths {widths[0]} and {widths[1]}, which it pads, for only {pairs} pairs"
        return None

    def cost(self, work: Work) -> tuple[int, int]:
        """Operations and bytes of this work."""
        rows = work.leading.numel() * work.query.shape[-2]
        share = 1.0 if work.tiles is None else work.tiles.share
        pairs = round(rows * work.key.shape[-2] * share)
        per_pair, held = work.slots.score.pair_cost(work.key.shape[-1])
        operations = pairs * (per_pair + 2 * work.value.shape[-1] + 5)  # 5: mask and softmax
        item = max(work.query.element_size(), 4)
        if not self.holds_pairs:
            return operations, item * rows
        most = work.slots.score.most_held
        held = pairs * held if most is None else min(pairs * held, most)
        return operations, item * (held + pairs)


def learns(bias: Tensor | Placed) -> bool:
    """Whether a bias needs a gradient."""
    if isinstance(bias, Placed):
        return any(parameter.requires_grad for parameter in bias.bias.parameters())
    return bias.requires_grad


def _scaled(number: float, step: int, unit: str) -> str:
    for prefix in ("", "k", "M", "G"):
        if number < step:
            return f"{number:.3g} {prefix}{unit}".rstrip()
        number /= step
    return f"{number:.3g} T{unit}"
