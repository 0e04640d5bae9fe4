"""A Transformer's search as calls of compiled loops: the extra `fast`.

One call reads the source, and one makes a step. They give the numbers of `Transformer.start` and
`Transformer.step`. With few tokens a call reads all weights once, and the time goes into that:
threads share the columns of each product. With many, each thread takes some of them through all
layers.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from qkv.attention.kernels.additive import absence
from qkv.attention.kernels.additive.compiled import entry
from qkv.attention.kernels.additive.threads import share, team
from qkv.models.compiled import task as t
from qkv.models.decoder import Best, Decoder, Step
from qkv.models.panels import Table
from qkv.models.past import Past
from qkv.models.transformer_source import Heads, Places, SourceReader, covers

if TYPE_CHECKING:
    from qkv.models.products import Precision
    from qkv.models.transformer import Transformer
    from qkv.models.transformer_layers import DecoderLayer, EncoderLayer

_SHARED = 24  # tokens up to which threads share columns
_CHUNK = 36  # tokens that a thread takes through all layers
_ROOM = 25 * t.LANES
_TASKS = 64  # numbers of rows and of keys for which a thread keeps memory


@cache
def absent() -> str | None:
    """Say why the loops cannot be used; None if they can. Found out once, at first use."""
    return absence.lacking("numba", "QKV_NUMBA", "numba", "fast") or absence.wrong(
        "numba", _agrees
    )


class Source(NamedTuple):
    """What has been read: keys and values for each decoder layer, of the tokens of all sentences.

    begins, lengths: where each sentence begins in them, and its tokens. longest: columns of an
    alignment.
    """

    memory: Float[Tensor, "parts tokens width"]
    begins: Int[Tensor, " batch"]
    lengths: Int[Tensor, " batch"]
    longest: int


@dataclass(frozen=True, eq=False)
class CompiledState:
    """Hypotheses of a Transformer that is being searched.

    sentence: which of the source each group of hypotheses reads.
    """

    past: Past
    source: Source
    sentence: Int[Tensor, " groups"]
    beams: int

    def select(self, sentences: Int[Tensor, " kept"], beams: Int[Tensor, "kept beams"]) -> Self:
        """Keep these sentences and, of each, continue these hypotheses."""
        rows = (sentences.unsqueeze(1) * self.beams + beams).flatten()
        kept = self.sentence[sentences]
        return type(self)(self.past.select(rows), self.source, kept, beams.shape[1])


class CompiledSearch:
    """A `Decoder`: the parameters of a Transformer on a CPU, laid out for the compiled loops."""

    def __init__(self, model: Transformer, precision: Precision = "float32") -> None:
        self.model = model
        self.heads = Heads.of(cast("DecoderLayer", model.decoder[0]).self_attention)
        encoder = cast("list[EncoderLayer]", list(model.encoder))
        self.reader = None
        self.reads: Table | None = None
        if all(covers(layer.attention) for layer in encoder):
            self.reads = Table.of_encoder(model, precision)
            self.source_places = Places(
                model.source_positions, model.source_embedding, model.longest_target
            )
        else:
            self.reader = SourceReader(model, precision)
        self.writes = Table.of_decoder(model, precision)
        self.places = Places(model.target_positions, model.target_embedding, model.longest_target)
        head = model.alignment.head
        self._alignment = (model.alignment.layer, -1 if head is None else head)
        self.kept = _Kept()

    @staticmethod
    def gap(model: Transformer, precision: Precision) -> str | None:
        """Say what of this model it cannot do, of those that `TransformerSearch` can."""
        weight = model.target_embedding.weight
        if precision == "bfloat16" or weight.dtype != torch.float32:
            return f"products in {precision if precision == 'bfloat16' else weight.dtype}"
        if weight.device.type != "cpu":
            return f"parameters on {weight.device.type}"
        return absent() or (_narrow() if precision == "int8" else None)

    @torch.no_grad()
    def start(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> CompiledState:
        """See `Decoder.start`."""
        layers = len(self.model.decoder)
        return CompiledState(
            past=Past((layers, self.heads.number, self.heads.width), len(source)),
            source=self._read(source, lengths.long().contiguous()),
            sentence=torch.arange(len(source)),
            beams=1,
        )

    def _read(self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]) -> Source:
        """Run the encoder; pads are left out."""
        batch, longest = source.shape
        parts, width = 2 * len(self.model.decoder), self.writes.embedding.shape[1]
        if self.reads is None:
            assert self.reader is not None
            memory = self.reader(source, lengths).memory.permute(0, 1, 2, 4, 3, 5)
            begins = torch.arange(0, batch * longest, longest)
            return Source(memory.reshape(parts, -1, width), begins, lengths, longest)
        ends = lengths.cumsum(0)
        begins, sizes = ends - lengths, lengths.tolist()
        sentence, tokens = torch.zeros_like(source[0]), source[0]
        if batch > 1:
            sentence = torch.repeat_interleave(lengths)
            tokens = source[torch.arange(longest) < lengths.unsqueeze(1)]
        rows = len(sentence)
        memory, places = _numbers(parts, rows, width), self.source_places.first(longest)
        groups = _groups(sizes) if batch > 1 else []
        task = self._task(self.reads, rows, longest, groups)
        task.call(
            *(1, tokens.data_ptr(), places.data_ptr(), begins.data_ptr(), lengths.data_ptr()),
            *(memory.data_ptr(), rows, parts, longest, sentence.data_ptr(), 0),
        )
        return Source(memory, begins, lengths, longest)

    def step(self, tokens: Int[Tensor, "batch beams"], state: CompiledState) -> Step:
        """See `Decoder.step`."""
        out = _numbers(*tokens.shape, self.writes.words)
        found = self._write(tokens, state, out)
        return Step(out, found.state, found.attention)

    def best(self, tokens: Int[Tensor, "batch beams"], state: CompiledState) -> Best:
        """See `GreedyDecoder.best`."""
        return self._write(tokens, state, None)

    def _write(
        self, tokens: Int[Tensor, "batch beams"], state: CompiledState, out: Tensor | None
    ) -> Best:
        """Make a step; log-probabilities go to `out`, if they are asked for."""
        source, shape = state.source, tokens.shape
        place, tokens = self._place(state.past.length), tokens.contiguous()
        past, buffer = state.past.grown()
        best, best_tokens = _numbers(*shape), torch.empty_like(tokens)
        alignment = _numbers(*shape, source.longest)
        memory, data = source.memory, buffer.data
        task = self._task(self.writes, tokens.numel(), max(source.longest, past.length), None)
        task.call(
            *(shape[1], tokens.data_ptr(), place[0], source.begins.data_ptr()),
            *(source.lengths.data_ptr(), memory.data_ptr(), memory.shape[1], 0, source.longest),
            *(state.sentence.data_ptr(), 1, state.past.length, data.shape[4], data.shape[1]),
            *(data.data_ptr(), _address(past.origin), alignment.data_ptr(), _address(out)),
            *(best.data_ptr(), best_tokens.data_ptr()),
        )
        after = CompiledState(past, source, state.sentence, shape[1])
        return Best(best, best_tokens, after, alignment)

    def _place(self, position: int) -> tuple[int, Tensor]:
        """Where the vector of a position stands, and what it is held by."""
        known = self.places.known
        if position < len(known):
            return known.data_ptr() + 4 * known.shape[1] * position, known
        one = self.places.at(position)
        return one.data_ptr(), one

    def _task(self, table: Table, rows: int, longest: int, groups: list[int] | None) -> _Task:
        """Return a task that lacks what is of the call; a step's is kept for the next one."""
        longest = -(-longest // t.WIDE) * t.WIDE
        held = self.kept.tasks
        key = (rows, longest, torch.get_num_threads())
        if groups is None and key in held:
            return held[key]
        task = _Task(table, self.heads.number, self._alignment, rows, longest, groups)
        if groups is None:
            if len(held) > _TASKS:
                held.clear()
            held[key] = task
        return task


class _Kept(threading.local):
    """The tasks of each thread."""

    def __init__(self) -> None:
        self.tasks: dict[tuple[int, ...], _Task] = {}


class _Task:
    """Numbers as `qkv.models.compiled.task` says, and the memory that they point at."""

    def __init__(
        self,
        table: Table,
        heads: int,
        told: tuple[int, int],
        rows: int,
        longest: int,
        groups: list[int] | None,
    ) -> None:
        """Fill in all but what is of one call. longest: keys that any query meets."""
        spread = _Spread.of(rows, groups)
        width, chunk = table.embedding.shape[1], spread.chunk or rows
        broad, threads = max(3 * width, table.inner), spread.threads
        size = _ROOM + max(chunk * t.PANELS * t.LANES, 5 * longest + 16)
        parts = (
            *(rows * heads * longest, threads * chunk * width, threads * chunk * width),
            *(threads * chunk * broad, threads * chunk * width),
            *(threads * chunk * (broad + 8) // 4 + 2, threads * rows * 4, threads * size),
        )
        sizes = [part + part % 2 for part in parts]
        self.memory, self.table, self.spread = _numbers(sum(sizes)), table, spread
        begin = self.memory.data_ptr()
        places = (begin + 4 * start for start in itertools.accumulate(sizes[:-1], initial=0))
        self.numbers = (ctypes.c_int64 * t.SLOTS)(
            *(0, 0, max(len(spread.bounds) - 1, 0), spread.address, chunk, *spread.team, rows),
            *(width, heads, table.inner, table.layers, table.post, table.eight),
            *(_address(table.addresses), _address(table.numbers), _address(table.embedding)),
            *(table.words, longest, *told, *places, size),
        )
        self.address = ctypes.addressof(self.numbers)

    def call(self, *given: int) -> None:
        """Fill in what is of this call, and run."""
        self.numbers[t.UNIT], self.numbers[t.HELPER] = 0, 0
        self.numbers[t.BEAMS : t.BEAMS + len(given)] = list(given)
        share(_run(), self.address, self.spread.threads)


class _Spread(NamedTuple):
    """How the threads divide the work: units of rows, or (no bounds) the columns.

    chunk: rows of the largest unit; 0: all. team: how threads that work on the same rows find
    each other.
    """

    threads: int
    bounds: list[int]
    chunk: int = 0
    team: tuple[int, int, int] = (0, 0, 0)
    held: Any = None

    @property
    def address(self) -> int:
        """Where the bounds stand."""
        return 0 if self.held is None else ctypes.addressof(self.held)

    @staticmethod
    def of(rows: int, groups: list[int] | None = None) -> _Spread:
        """Choose by the number of rows. groups: where units must end, if anywhere; []: nowhere."""
        threads = torch.get_num_threads()
        if rows <= _SHARED or groups == []:
            found = team() if threads > 1 else None
            return _Spread(1, []) if found is None else _Spread(threads, [], 0, found)
        if groups is None:
            units = threads * -(-rows // (threads * _CHUNK))
            groups = [rows * n // units for n in range(units + 1)]
        chunk = max(end - begin for begin, end in itertools.pairwise(groups))
        return _Spread(threads, groups, chunk, held=(ctypes.c_int64 * len(groups))(*groups))


def _groups(lengths: list[int]) -> list[int]:
    """Where units of whole sentences end: of some _CHUNK tokens, the same for all."""
    total = sum(lengths)
    aim = total / max(1, round(total / _CHUNK))
    bounds, end = [0], 0
    for length in lengths:
        end += length
        if end >= aim * len(bounds) - length / 2:
            bounds.append(end)
    bounds[-1] = total
    return bounds


def _numbers(*sizes: int) -> Tensor:
    return torch.empty(sizes, dtype=torch.float32)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


@cache
def _run() -> Any:
    return entry("qkv.models.compiled.entries", "run")


@cache
def _narrow() -> str | None:
    """Say that the processor lacks the instruction that int8 is worth it for."""
    from qkv.models.compiled.products import EIGHT_BITS

    return None if EIGHT_BITS else "int8 on a processor without AVX-512 VNNI"


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
