"""What a model is searched with, kept while its parameters stay what they are."""

from __future__ import annotations

from torch import Tensor

from qkv.models.decoder import Decoder
from qkv.models.model import EncoderDecoder
from qkv.models.products import Precision


class Readied:
    """`model.ready(precision)`, asked again only for another precision or changed numbers.

    Laying out a Transformer's weights takes as long as some tens of its steps, so that a text
    alone would wait for that most of the time. One layout is kept: the last.
    """

    def __init__(self, model: EncoderDecoder) -> None:
        self._model = model
        self._kept: tuple[Decoder, Precision, list[tuple[int, int]]] | None = None

    def decoder(self, precision: Precision) -> Decoder:
        """Return what search asks."""
        tensors = [*self._model.parameters(), *self._model.buffers()]
        now = [_state(tensor) for tensor in tensors]
        if self._kept is None or self._kept[1:] != (precision, now):
            self._kept = self._model.ready(precision), precision, now
        return self._kept[0]


def _state(tensor: Tensor) -> tuple[int, int]:
    """Where it lies, and how often it was written: a tensor of inference mode tells no count."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version
