"""A model as two ONNX graphs: encoder.onnx reads a source, step.onnx a token."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qkv.exports.compare import search_ids
from qkv.exports.format import Format
from qkv.exports.graphs import EncoderGraph, Part, StepGraph, apart, changing, together
from qkv.exports.onnx_decoder import OnnxDecoder, OnnxState
from qkv.exports.recurrence import record_recurrences
from qkv.run import Run
from qkv.text import BOS, EOS, PAD, SPECIALS

EXAMPLE = (5, 3, 4)
"""Tokens of the sources that the graphs are recorded with; any others will do at run time."""


class Onnx(Format):
    """encoder.onnx and step.onnx; the loop of a search stays outside."""

    name = "onnx"
    extra = "onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")

    def refuse(self, run: Run) -> None:
        """See `Format.refuse`."""
        if run.config.model.kind == "ntm":
            raise ValueError(
                'model.kind = "ntm": its encoder is a loop over the source that no graph of '
                "fixed depth holds; the other kinds can be exported"
            )

    def write(self, run: Run, folder: Path) -> dict[str, Any]:
        """See `Format.write`."""
        model = deepcopy(run.model).cpu().float().eval()
        source, lengths = example(len(run.source.vocabulary))
        tokens = torch.full_like(lengths, BOS)
        with torch.no_grad():
            state = model.start(source, lengths)
            begun = apart(state)
            # From its parts, as the graph has it: keys, where the model itself would keep sums.
            first = {name: part.tensor for name, part in begun.items()}
            state = together(model, first, lengths)
            for _ in range(3):  # a cache of several tokens: sizes 0 and 1 are special to torch
                step = model.step(tokens.unsqueeze(1), state)
                state = step.state
            parts = apart(state)
        record_recurrences(model)
        names = tuple(parts)
        given = {"source": Part(source, ("batch", "source")), "lengths": Part(lengths, ("batch",))}
        save(EncoderGraph(model), (source, lengths), given, list(begun), folder / "encoder.onnx")
        asked = {"tokens": Part(tokens, ("batch",)), "lengths": given["lengths"], **parts}
        told = ["log_probs", *(["attention"] if step.attention is not None else [])]
        told += [f"next_{name}" for name in changing(parts)]
        tensors = tuple(part.tensor for part in parts.values())
        save(
            StepGraph(model, names), (tokens, lengths, tensors), asked, told, folder / "step.onnx"
        )
        return {
            "longest_target": run.model.longest_target,
            "never_emitted": list(SPECIALS[:2]),
            "encoder": {"inputs": shapes(given), "outputs": shapes(begun)},
            "step": {
                "inputs": shapes(asked),
                "outputs": {
                    "log_probs": ["batch", len(run.target.vocabulary)],
                    **({} if step.attention is None else {"attention": ["batch", "source"]}),
                    **{f"next_{name}": at for name, at in shapes(changing(parts)).items()},
                },
            },
        }

    def usage(self, run: Run) -> str:
        """See `Format.usage`."""
        return USAGE

    def decode(
        self, run: Run, folder: Path, sources: Sequence[Sequence[int]], longest: int
    ) -> list[tuple[int, ...]]:
        """See `Format.decode`."""
        return search_ids(OnnxDecoder(folder), sources, longest, limit=run.model.longest_target)

    def score(
        self,
        run: Run,
        folder: Path,
        sources: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
    ) -> list[float]:
        """See `Format.score`."""
        decoder = OnnxDecoder(folder)
        source, lengths = padded([[*ids, EOS] for ids in sources])
        target, counts = padded([[*ids, EOS] for ids in targets])
        state = decoder.start(source, lengths)
        tokens = torch.full_like(lengths, BOS).unsqueeze(1)
        totals = torch.zeros(len(sources), dtype=torch.float64)
        for i, following in enumerate(target.unbind(1)):
            step = decoder.step(tokens, state)
            assert isinstance(step.state, OnnxState)
            state, tokens = step.state, following.unsqueeze(1)
            found = step.log_probs.squeeze(1).gather(1, tokens).squeeze(1)
            totals += torch.where(i < counts, found, 0.0)
        return totals.tolist()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep from the user what torch's exporter says about its own code and absent packages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def save(
    graph: nn.Module, arguments: tuple[Any, ...], given: dict[str, Part], told: list[str], to: Path
) -> None:
    """Record a graph with dynamic dimensions, and write it with these names."""
    dynamic = iter(
        [
            {i: torch.export.Dim.DYNAMIC for i, axis in enumerate(part.axes) if axis}
            for part in given.values()
        ]
    )
    shapes = tuple(
        tuple(next(dynamic) for _ in one) if isinstance(one, tuple) else next(dynamic)
        for one in arguments
    )
    with torch.no_grad(), quiet():
        recorded = torch.export.export(graph, arguments, dynamic_shapes=shapes, strict=False)
        program = torch.onnx.export(
            recorded,
            (),
            dynamo=True,
            input_names=list(given),
            output_names=told,
            verbose=False,
        )
        assert program is not None
        program.save(str(to))


def shapes(parts: dict[str, Part]) -> dict[str, list[str | int]]:
    """What each dimension counts, or its size."""
    return {
        name: [axis or size for axis, size in zip(part.axes, part.tensor.shape, strict=True)]
        for name, part in parts.items()
    }


def example(vocabulary: int) -> tuple[Tensor, Tensor]:
    """Sources of several lengths, one of them as long as the batch is wide."""
    last = vocabulary - 1
    return padded([[*[last] * (size - 1), EOS] for size in EXAMPLE])


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """A batch of rows, and their lengths."""
    width = max(map(len, rows))
    return (
        torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows]),
        torch.tensor([len(row) for row in rows]),
    )


USAGE = """import numpy, onnxruntime
from qkv.text import Side

source, target = Side.load("source.json"), Side.load("target.json")
encoder, step = (onnxruntime.InferenceSession(f"{name}.onnx") for name in ("encoder", "step"))
ids = [source.ids(text) + [2] for text in ["..."]]  # 2: the end symbol
lengths = numpy.array([len(row) for row in ids])
padded = numpy.array([row + [0] * (max(lengths) - len(row)) for row in ids])
names = [output.name for output in encoder.get_outputs()]
state = dict(zip(names, encoder.run(None, {"source": padded, "lengths": lengths})))
tokens, written = numpy.ones_like(lengths), []  # 1: the begin symbol
for _ in range(2 * max(lengths) + 10):
    outputs = step.run(None, {"tokens": tokens, "lengths": lengths, **state})
    found = dict(zip([output.name for output in step.get_outputs()], outputs))
    state |= {n[5:]: tensor for n, tensor in found.items() if n.startswith("next_")}
    tokens = 2 + found["log_probs"][:, 2:].argmax(1)  # ids 0 and 1 are never written
    written.append(tokens)
print([target.decode(row) for row in numpy.stack(written, 1).tolist()])"""
