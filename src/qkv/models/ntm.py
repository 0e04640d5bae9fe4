"""The neural Turing machine as an encoder-decoder (Graves, Wayne and Danihelka 2014)."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.config import NTMConfig
from qkv.models.model import Forced
from qkv.models.output import LinearOutput
from qkv.models.parts import build_embedding
from qkv.models.recurrent import RecurrentDecoder, RecurrentState
from qkv.nn.dropout import Dropout
from qkv.nn.ntm import NeuralTuringMachine, NTMState
from qkv.text.vocabulary import PAD


class NTM(RecurrentDecoder):
    """One machine reads the source, token by token, and then goes on with the target.

        o_j, M_j = machine(E_s x_j, M_{j-1}),   o_i, M_i = machine(E_t y_{i-1}, M_{i-1})
        p(y_i) = softmax(W o_i + b),   o = [h; r]

    It reads and writes in both phases, as in the paper; the source's end symbol is the paper's
    delimiter. A source that has ended is left as it is: pads are never read, nor written.

    It attends to slots of its memory, and nothing says which source token a slot holds: it may mix
    several, or be written twice. So it has no alignment, and `attends` is False.

    Differs from the paper: symbols have embeddings, where the paper's tasks have binary vectors;
    each output symbol is fed back, as in the other models, where the paper's input is empty while
    it answers. See `NeuralTuringMachine` for the rest.
    """

    attends = False
    source_table = "source_embedding"

    def __init__(self, config: NTMConfig, source_size: int, target_size: int) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(source_size, config.embedding, padding_idx=PAD)
        self.target_embedding = build_embedding(
            target_size, config.embedding, tied=config.tie_embeddings
        )
        self.dropout = Dropout(config.dropout)
        self.machine = NeuralTuringMachine(
            config.embedding,
            config.hidden,
            slots=config.slots,
            width=config.slot_width,
            controller=config.controller,
            read_heads=config.read_heads,
            write_heads=config.write_heads,
            max_shift=config.max_shift,
        )
        self.output = LinearOutput(
            self.machine.outputs,
            target_size,
            dropout=config.dropout,
            tied=self.target_embedding if config.tie_embeddings else None,
        )

    def start(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> RecurrentState:
        """Read the sources; the state holds one empty hypothesis for each."""
        embedded = self.dropout(self.source_embedding(source))
        state = self.machine.start(len(source))
        shortest = int(lengths.min())
        for j, token in enumerate(embedded.unbind(1)):
            before = state
            _, state = self.machine(token, before)
            if j >= shortest:
                state = state.where(j < lengths, before)
        return _beams(state, 1)

    def advance(
        self,
        embedded: Float[Tensor, "batch beams embedding"],
        state: RecurrentState,
        *,
        need_attention: bool,
    ) -> tuple[Forced, RecurrentState]:
        """See `RecurrentDecoder.advance`."""
        beams = embedded.shape[1]
        output, after = self.machine(embedded.flatten(0, 1), self._machine_state(state))
        return Forced(output.unflatten(0, (-1, beams)), None), _beams(after, beams)

    def _machine_state(self, state: RecurrentState) -> NTMState:
        """Undo `_beams`."""
        *controller, read, weights, memory = (part.flatten(0, 1) for part in state.hidden)
        slots = self.machine.slots
        return NTMState(
            tuple(controller),
            read,
            weights.unflatten(-1, (-1, slots)),
            memory.unflatten(-1, (slots, -1)),
        )


def _beams(state: NTMState, beams: int) -> RecurrentState:
    """Every hypothesis has a memory of its own, for each writes: [batch, beams, slots * width]."""
    parts = (*state.controller, state.read, state.weights, state.memory)
    return RecurrentState(
        tuple(part.flatten(1).unflatten(0, (-1, beams)) for part in parts), memory=None
    )
