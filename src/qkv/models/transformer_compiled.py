"""A Transformer's step of search as one call of compiled loops: the extra `fast`.

It gives the numbers of `Transformer.step`. With few hypotheses a step reads all weights once, and
the time goes into that: threads share the columns of each product. With many, each thread takes
some of them through all layers.
"""

from __future__ import annotations

import ctypes
import itertools
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from qkv.attention.kernels.additive import absence
from qkv.attention.kernels.additive.compiled import entry
from qkv.attention.kernels.additive.threads import share, team
from qkv.models.compiled.task import SLOTS
from qkv.models.decoder import Decoder, Step
from qkv.models.panels import Table
from qkv.models.past import Past
from qkv.models.transformer_source import Heads, Places, SourceReader

if TYPE_CHECKING:
    from qkv.models.products import Precision
    from qkv.models.transformer import Transformer
    from qkv.models.transformer_layers import DecoderLayer

_SHARED = 24  # hypotheses up to which threads share columns
_CHUNK = 32  # hypotheses that a thread takes through all layers
_ROOM = 25 * 32 + 256  # numbers of scratch memory besides the energies
_Task = ctypes.c_int64 * SLOTS


@cache
def absent() -> str | None:
    """Say why the loops cannot be used; None if they can. Found out once, at first use."""
    return absence.lacking("numba", "QKV_NUMBA", "numba", "fast") or absence.wrong(
        "numba", _agrees
    )


@dataclass(frozen=True, eq=False)
class CompiledState:
    """Hypotheses of a Transformer that is being searched.

    sentence: which row of the source each group of hypotheses reads.
    """

    past: Past
    source: Float[Tensor, "layers two batch heads source w"]
    lengths: Int[Tensor, " batch"]
    sentence: Int[Tensor, " groups"]
    beams: int

    def select(self, sentences: Int[Tensor, " kept"], beams: Int[Tensor, "kept beams"]) -> Self:
        """Keep these sentences and, of each, continue these hypotheses."""
        rows = (sentences.unsqueeze(1) * self.beams + beams).flatten()
        return type(self)(
            self.past.select(rows),
            self.source,
            self.lengths,
            self.sentence[sentences],
            beams.shape[1],
        )


class CompiledSearch:
    """A `Decoder`: the parameters of a Transformer on a CPU, laid out for the compiled step."""

    def __init__(self, model: Transformer) -> None:
        self.model = model
        layer = cast("DecoderLayer", model.decoder[0])
        self.heads = Heads.of(layer.self_attention)
        self.post = not layer.around_self.before
        self.source = SourceReader(model, "float32")
        self.places = Places(model)
        self.table = Table.of(model)
        self.embedding = model.target_embedding.weight.detach().clone()

    @staticmethod
    def gap(model: Transformer, precision: Precision) -> str | None:
        """Say what of this model it cannot do, of those that `TransformerSearch` can."""
        weight = model.target_embedding.weight
        if precision != "float32" or weight.dtype != torch.float32:
            return f"products in {precision if precision != 'float32' else weight.dtype}"
        if weight.device.type != "cpu":
            return f"parameters on {weight.device.type}"
        return absent()

    @torch.no_grad()
    def start(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> CompiledState:
        """See `Decoder.start`."""
        sizes = len(self.model.decoder), self.heads.number, self.heads.width
        return CompiledState(
            past=Past(sizes, len(source)),
            source=self.source(source, lengths).memory,
            lengths=lengths.long().contiguous(),
            sentence=torch.arange(len(source)),
            beams=1,
        )

    @torch.no_grad()
    def step(self, tokens: Int[Tensor, "batch beams"], state: CompiledState) -> Step:
        """See `Decoder.step`."""
        beams, longest = tokens.shape[1], state.source.shape[4]
        place = self.places.at(state.past.length)
        past, buffer = state.past.grown()
        tokens = tokens.contiguous()
        told = _numbers(len(tokens), self.heads.number, beams, longest)
        out = _numbers(*tokens.shape, len(self.embedding))
        spread = _Spread.of(tokens.numel())
        scratch = _ROOM + max(longest, past.length)
        memory, places = self._memory(tokens.numel(), spread, scratch)
        task = _Task(
            *(0, 0, spread.units, _CHUNK, *spread.team, tokens.numel(), beams),
            *(self.embedding.shape[1], self.heads.number, self.table.inner, past.sizes[0]),
            *(len(self.embedding), state.past.length, buffer.data.shape[4], buffer.data.shape[1]),
            *(state.source.shape[2], longest, self.model.alignment.layer, self.post),
            *(_address(t) for t in (self.table.addresses, self.table.numbers, tokens)),
            *(_address(t) for t in (self.embedding, place, buffer.data, past.origin)),
            *(_address(t) for t in (state.source, state.sentence, state.lengths, told, out)),
            *(*places, scratch),
        )
        share(_step(), ctypes.addressof(task), spread.threads)
        del memory  # it was written until here
        after = CompiledState(past, state.source, state.lengths, state.sentence, beams)
        return Step(out, after, self.model.alignment(told))

    def _memory(self, rows: int, spread: _Spread, scratch: int) -> tuple[Tensor, list[int]]:
        """Reserve what the step writes besides its results, and say where each part begins."""
        width = self.embedding.shape[1]
        parts = (
            rows * width,
            spread.sharing * rows * width,
            rows * max(3 * width, self.table.inner),
            rows * width,
            spread.sharing * rows * 2,
            spread.threads * scratch,
        )
        memory = _numbers(sum(parts))
        starts = itertools.accumulate(parts[:-1], initial=0)
        return memory, [memory.data_ptr() + 4 * start for start in starts]


class _Spread(NamedTuple):
    """How the threads divide the work: units of rows, or (0 of them) the columns.

    sharing: threads that work on the same rows. team: how those find each other.
    """

    threads: int
    units: int
    sharing: int
    team: tuple[int, int, int] = (0, 0, 0)

    @staticmethod
    def of(rows: int) -> _Spread:
        """Choose by the number of rows."""
        threads = torch.get_num_threads()
        if rows > _SHARED:
            return _Spread(threads, -(-rows // _CHUNK), 1)
        found = team() if threads > 1 else None
        return _Spread(1, 0, 1) if found is None else _Spread(threads, 0, threads, found)


def _numbers(*sizes: int) -> Tensor:
    return torch.empty(sizes, dtype=torch.float32)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


@cache
def _step() -> Any:
    return entry("qkv.models.compiled.entries", "step")


@torch.inference_mode(False)
def _agrees() -> bool:
    """Whether a small model gives what it gives in torch, to a few roundings a term."""
    from qkv.config import TransformerConfig
    from qkv.models.build import build_model
    from qkv.models.transformer_search import TransformerSearch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        config = TransformerConfig(width=36, heads=2, feedforward=71, decoder_layers=2)
        model = cast("Transformer", build_model(config, 37, 41).eval())
        lengths, steps = torch.tensor([5, 3]), torch.randint(4, 37, (3, 2, 2))
        found: list[list[Tensor]] = []
        both: tuple[Decoder, ...] = (CompiledSearch(model), TransformerSearch(model, "float32"))
        for decoder in both:
            state = decoder.start(torch.full((2, 5), 7), lengths)
            state = state.select(torch.arange(2), torch.zeros(2, 2, dtype=torch.long))
            found.append([])
            for tokens in steps:
                one = decoder.step(tokens, state)
                state = one.state.select(torch.arange(2), torch.tensor([[1, 0], [1, 1]]))
                assert one.attention is not None
                found[-1] += [one.log_probs, one.attention]
    return absence.close(*found)
