"""End-to-end memory networks (Sukhbaatar, Szlam, Weston and Fergus 2015, section 2).

A question u_1 = B q is put to memories x_i hop after hop, each hop an attention:

    p = softmax(u_k m_i),   o_k = sum_i p_i c_i,   u_{k+1} = H u_k + o_k
    m_i = sum_j l_j * A x_ij + T_A(i),   c_i = sum_j l_j * C x_ij + T_C(i)
    answer = softmax(W u_{K+1})

How the hops share their matrices is two ways of putting the same parts together (section 2.2):
`MemoryNetwork.adjacent` and `MemoryNetwork.layer_wise`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkv.attention import Mask, attend

if TYPE_CHECKING:
    from jaxtyping import Float, Int

PAD = 0


def bag_of_words(
    words: Int[Tensor, "*batch words"], width: int, dtype: torch.dtype
) -> Float[Tensor, "*batch words width"]:
    """Return l = 1: the order of the words does not matter."""
    return torch.ones(1, dtype=dtype, device=words.device).expand(*words.shape, width)


def position_encoding(
    words: Int[Tensor, "*batch words"], width: int, dtype: torch.dtype
) -> Float[Tensor, "*batch words width"]:
    """Return l_kj = (1 - j/J) - (k/d) (1 - 2j/J) for word j of J, entry k of d, both from 1.

    J counts the real words (section 4.1), so pads after them change nothing.
    """
    count = (words != PAD).sum(-1, keepdim=True).clamp(min=1)
    at = torch.arange(1, words.shape[-1] + 1, dtype=dtype, device=words.device)
    j = (at / count).unsqueeze(-1)
    k = torch.arange(1, width + 1, dtype=dtype, device=words.device) / width
    return (1 - j) - k * (1 - 2 * j)


ENCODINGS: dict[str, Callable[[Tensor, int, torch.dtype], Tensor]] = {
    "bag": bag_of_words,
    "position": position_encoding,
}


class Words(nn.Module):
    """sum_j l_j * A x_j: a sentence as one vector; a pad (id 0) counts for nothing."""

    def __init__(self, vocabulary: int, width: int, encoding: str) -> None:
        super().__init__()
        if encoding not in ENCODINGS:
            raise ValueError(f"unknown encoding {encoding!r}; allowed: {', '.join(ENCODINGS)}")
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PAD)
        self.encoding = encoding
        with torch.no_grad():
            nn.init.normal_(self.embedding.weight, std=0.1)[PAD] = 0  # section 4.2

    def forward(self, words: Int[Tensor, "*batch words"]) -> Float[Tensor, "*batch width"]:
        """Encode sentences."""
        embedded = self.embedding(words)
        weights = ENCODINGS[self.encoding](words, embedded.shape[-1], embedded.dtype)
        encoded: Tensor = (embedded * weights * (words != PAD).unsqueeze(-1)).sum(-2)
        return encoded


class Memories(nn.Module):
    """m_i = sum_j l_j * A x_ij + T(i), where i counts back from the last memory (section 4.1)."""

    def __init__(self, words: Words, max_memories: int) -> None:
        super().__init__()
        self.words = words
        self.time = nn.Embedding(max_memories, words.embedding.embedding_dim)
        nn.init.normal_(self.time.weight, std=0.1)

    def forward(
        self, memories: Int[Tensor, "batch memories words"], counts: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch memories width"]:
        """Encode the memories of each item, of which the first `counts` are real."""
        age = counts.unsqueeze(1) - 1 - torch.arange(memories.shape[1], device=memories.device)
        encoded: Tensor = self.words(memories) + self.time(age.clamp(min=0))
        return encoded


class Hop(nn.Module):
    """u -> H u + o: one attention. The parts may be shared with other hops."""

    def __init__(self, address: Memories, content: Memories, carry: nn.Module) -> None:
        super().__init__()
        self.address, self.content, self.carry = address, content, carry

    def forward(
        self,
        question: Float[Tensor, "batch width"],
        memories: Int[Tensor, "batch memories words"],
        counts: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch memories"]]:
        """Return the next question and where this one looked."""
        out = attend(
            question.unsqueeze(1),
            self.address(memories, counts),
            self.content(memories, counts),
            score="dot",
            mask=Mask.lengths(counts),
            need="weights",
        )
        assert out.weights is not None
        return self.carry(question) + out.context.squeeze(1), out.weights.squeeze(1)


class TiedAnswer(nn.Module):
    """W = C^T: a word's score is its embedding times the last u."""

    def __init__(self, words: Words) -> None:
        super().__init__()
        self.words = words

    def forward(self, question: Float[Tensor, "batch width"]) -> Float[Tensor, "batch vocabulary"]:
        """Return the logits."""
        return F.linear(question, self.words.embedding.weight)


class Answered(NamedTuple):
    """The logits of the answer, [batch, vocabulary], and each hop's weights over the memories."""

    logits: Float[Tensor, "batch vocabulary"]
    weights: Float[Tensor, "batch hops memories"]


class MemoryNetwork(nn.Module):
    """Ask memories in several hops; the constructor takes the parts, already tied.

    Parameters: a table of words and one of times for each A and C; adjacent hops share them.
    Cost: hops * memories * width multiply-adds twice, beside the embeddings.

    Differs from the paper: no linear start (training without the softmax at first) and no random
    empty memories; the tables of time may be longer than the memories that come.
    """

    def __init__(self, question: nn.Module, hops: Sequence[Hop], answer: nn.Module) -> None:
        super().__init__()
        if not hops:
            raise ValueError("a memory network has at least one hop, got none")
        self.question, self.hops, self.answer = question, nn.ModuleList(hops), answer
        self.max_memories = min(hop.address.time.num_embeddings for hop in hops)

    @classmethod
    def adjacent(
        cls,
        vocabulary: int,
        width: int,
        *,
        hops: int = 3,
        max_memories: int = 50,
        encoding: str = "position",
    ) -> Self:
        """A^{k+1} = C^k, B = A^1, W^T = C^K and H = 1: K + 1 matrices (section 2.2, 1)."""
        tables = [
            Memories(Words(vocabulary, width, encoding), max_memories) for _ in range(hops + 1)
        ]
        chain = [Hop(address, content, nn.Identity()) for address, content in pairwise(tables)]
        return cls(tables[0].words, chain, TiedAnswer(tables[-1].words))

    @classmethod
    def layer_wise(
        cls,
        vocabulary: int,
        width: int,
        *,
        hops: int = 3,
        max_memories: int = 50,
        encoding: str = "position",
    ) -> Self:
        """One A, one C and one H for all hops, as a recurrence has (section 2.2, 2)."""
        address, content, question = (Words(vocabulary, width, encoding) for _ in range(3))
        carry = nn.Linear(width, width, bias=False)
        hop = Hop(Memories(address, max_memories), Memories(content, max_memories), carry)
        return cls(question, [hop] * hops, nn.Linear(width, vocabulary, bias=False))

    def forward(
        self,
        memories: Int[Tensor, "batch memories words"],
        counts: Int[Tensor, " batch"],
        question: Int[Tensor, "batch words"],
    ) -> Answered:
        """Answer each question from the first `counts` memories of its item; ids, padded with 0.

        Raises:
            ValueError: more memories than there are times for.
        """
        if int(counts.max()) > self.max_memories:
            raise ValueError(
                f"{int(counts.max())} memories, but the network was built for at most "
                f"{self.max_memories}; build it with a larger max_memories, or give it the last "
                f"{self.max_memories}"
            )
        asked, looked = self.question(question), []
        for hop in self.hops:
            asked, weights = hop(asked, memories, counts)
            looked.append(weights)
        return Answered(self.answer(asked), torch.stack(looked, dim=1))
