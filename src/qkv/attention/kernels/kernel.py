"""What a kernel is, and what it says about itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qkv.attention.biases.position_bias import Placed
from qkv.attention.recorded import recorded, transformed
from qkv.attention.reweighters.gaussian import Gaussian

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

    gaussian: of reweighters it has that one.
    requires: "module:function" that says why it cannot run here, or None.
    devices: kinds of device. biases: it adds a bias.
    transforms: whether torch.func and forward-mode derivatives pass through it.
    compiles: whether torch.compile and torch.export do.
    holds_hidden: it keeps the score's numbers of each pair, and not its energy alone.
    gains_from: pairs times width, in all, from which on it is worth its start (measured).
    queries_from: queries from which on what it prepares of the keys pays (measured).
    remarks: "module:function" that says what a plan should tell about some work, or None.
    chooses: asked for some weights it returns no others.
    runs: it works on a run of keys a query, where a mask leaves out all others.
    tiles: it works on tiles of pairs, where a mask leaves out most of them.
    pads_from: with keys and values of two widths it pads the narrower, which is worth it from so
        many (query, key) pairs a head on; "auto" leaves fewer to the next kernel.
    """

    name: str
    target: str
    purpose: str
    families: tuple[str, ...] | None = None
    normalizers: tuple[str, ...] | None = None
    reweights: bool = True
    gaussian: bool = False
    drops_out: bool = True
    learns_bias: bool = True
    biases: bool = True
    holds_pairs: bool = True
    pads_from: int = 0
    tiles: bool = False
    runs: bool = False
    chooses: bool = False
    requires: str | None = None
    devices: tuple[str, ...] | None = None
    transforms: bool = True
    compiles: bool = True
    holds_hidden: bool = True
    gains_from: int = 0
    queries_from: int = 1
    remarks: str | None = None

    @cached_property
    def run(self) -> Callable[[Work], Attended]:
        """The function, imported on first use."""
        found: Callable[[Work], Attended] = _imported(self.target)
        return found

    @property
    def absent(self) -> str | None:
        """Say why it cannot run here, whatever the work; None if it can."""
        reason: str | None = None if self.requires is None else _imported(self.requires)()
        return reason

    def gap(self, work: Work) -> str | None:
        """Name the first part of this work that the kernel cannot do; None if it does it all."""
        slots = work.slots
        misfit = self._misfit(work)
        if misfit is not None:
            return misfit
        if self.families is not None and slots.score.family not in self.families:
            return f"score {type(slots.score).__name__}"
        if self.normalizers is not None and slots.normalizer.name not in self.normalizers:
            return f"normalizer {slots.normalizer.name!r}"
        own = self.gaussian and isinstance(slots.reweighter, Gaussian)
        if not self.reweights and slots.reweighter is not None and not own:
            return f"reweighter {type(slots.reweighter).__name__}"
        if not self.drops_out and slots.dropout:
            return f"dropout={slots.dropout}"
        if not self.biases and slots.bias is not None:
            return "a bias"
        if not self.learns_bias and slots.bias is not None and learns(slots.bias):
            return "a bias that needs a gradient"
        return self._gap_here(work)

    def _misfit(self, work: Work) -> str | None:
        """Name the layout of the mask that it wants, or does not want."""
        slots = work.slots
        if self.tiles and not slots.tileable:
            return f"reweighter {type(slots.reweighter).__name__}, which needs all keys at once"
        if self.tiles and work.tiles is None:
            return "what no mask limits to some keys a query"
        if not self.tiles and work.tiles is not None:
            return "a mask that is laid out in tiles"
        if not self.runs and work.runs is not None:
            return "a mask that is laid out in runs"
        return None

    def _gap_here(self, work: Work) -> str | None:
        """Name what it cannot do on this device, in this installation, or while being recorded."""
        if self.devices is not None and work.query.device.type not in self.devices:
            return f"tensors on {work.query.device.type}"
        if not self.transforms and transformed():
            return "what torch.func or forward mode differentiates or maps"
        if not self.compiles and recorded():
            return "what torch.compile records"
        if self.runs and work.runs is None:
            return (
                "what no mask limits to a short run of keys a query"  # its loops stay uncompiled
            )
        return self.absent

    def loss(self, work: Work) -> str | None:
        """Say why another kernel is faster although this one could do it; None if none is."""
        widths = work.key.shape[-1], work.value.shape[-1]
        pairs = work.query.shape[-2] * work.key.shape[-2]
        if widths[0] != widths[1] and pairs < self.pads_from:
            return f"widths {widths[0]} and {widths[1]}, which it pads, for only {pairs} pairs"
        size = math.prod(work.leading) * pairs * widths[0]
        if size < self.gains_from:
            return f"only {size} pairs times width"
        if work.query.shape[-2] < self.queries_from:
            return f"fewer than {self.queries_from} queries"
        return None

    def remark(self, work: Work) -> str | None:
        """Say what a plan should tell about this work."""
        found: str | None = None if self.remarks is None else _imported(self.remarks)(work)
        return found

    def cost(self, work: Work) -> tuple[int, int]:
        """Operations and bytes of this work."""
        rows = work.leading.numel() * work.query.shape[-2]
        share = 1.0 if work.tiles is None else work.tiles.share
        pairs = round(rows * work.key.shape[-2] * share)
        per_pair, held = work.slots.score.pair_cost(work.key.shape[-1])
        held = held if self.holds_hidden else 1
        operations = pairs * (per_pair + 2 * work.value.shape[-1] + 5)  # 5: mask and softmax
        item = max(work.query.element_size(), 4)
        if not self.holds_pairs:
            return operations, item * rows
        most = work.slots.score.most_held
        held = pairs * held if most is None else min(pairs * held, most)
        return operations, item * (held + pairs)


def _imported(target: str) -> Any:
    module, _, function = target.partition(":")
    return getattr(import_module(module), function)


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
