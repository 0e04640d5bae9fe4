"""An exported model as a `Decoder`: every search that our models serve, it serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from qkv.models.decoder import Step


@dataclass(frozen=True)
class OnnxState:
    """Hypotheses of an exported model, a row each (batch * beams).

    parts: what encoder.onnx gave, and the last step.onnx.
    """

    parts: dict[str, Tensor]
    lengths: Int[Tensor, " rows"]
    beams: int

    def select(
        self, sentences: Int[Tensor, " kept"], beams: Int[Tensor, "kept beams"]
    ) -> OnnxState:
        """Keep these sentences and, of each, continue these hypotheses."""
        rows = (sentences.unsqueeze(1) * self.beams + beams).flatten()
        return OnnxState(
            {name: part[rows] for name, part in self.parts.items()},
            self.lengths[rows],
            beams.shape[1],
        )


class OnnxDecoder:
    """encoder.onnx and step.onnx of a folder, run by onnxruntime.

    qkv.search.search_all(OnnxDecoder(folder), ids, SearchConfig(method="beam"))
    """

    def __init__(self, folder: str | Path, *, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors

        def session(name: str) -> Any:
            return onnxruntime.InferenceSession(
                str(Path(folder) / name), options, providers=["CPUExecutionProvider"]
            )

        self._encoder, self._step = session("encoder.onnx"), session("step.onnx")

    def start(self, source: Int[Tensor, "batch source"], lengths: Tensor) -> OnnxState:
        """See `Decoder.start`."""
        return OnnxState(_run(self._encoder, {"source": source, "lengths": lengths}), lengths, 1)

    def step(self, tokens: Int[Tensor, "batch beams"], state: OnnxState) -> Step:
        """See `Decoder.step`."""
        given = {"tokens": tokens.flatten(), "lengths": state.lengths, **state.parts}
        found = _run(self._step, given)
        changed = {
            name.removeprefix("next_"): part
            for name, part in found.items()
            if name.startswith("next_")
        }
        attention = found.get("attention")
        return Step(
            found["log_probs"].unflatten(0, tokens.shape),
            OnnxState(state.parts | changed, state.lengths, tokens.shape[1]),
            None if attention is None else attention.unflatten(0, tokens.shape),
        )


def _run(session: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    names = [output.name for output in session.get_outputs()]
    arrays = {name: tensor.contiguous().numpy() for name, tensor in given.items()}
    found = session.run(None, arrays)
    return {name: torch.from_numpy(array) for name, array in zip(names, found, strict=True)}
