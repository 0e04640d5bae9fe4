"""A text to a label by its sentences (Yang et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from qkv.config import HierarchicalConfig
from qkv.models.annotators import build_annotator, real_words
from qkv.models.labeller import Decision, Labeller, Levels
from qkv.models.pooling import Pooling


class Sentences(NamedTuple):
    """A batch of texts cut into sentences, of which each has a row of its own.

    real: which tokens are no pads.
    row, place: of each token, the row of its sentence and its place there; any at the pads.
    lengths: the words of each row.
    rows: of each sentence of each text its row, where `counts` says that there is one.
    """

    real: Bool[Tensor, "batch words"]
    row: Int[Tensor, "batch words"]
    place: Int[Tensor, "batch words"]
    lengths: Int[Tensor, " rows"]
    rows: Int[Tensor, "batch sentences"]
    counts: Int[Tensor, " batch"]

    def apart(
        self, words: Shaped[Tensor, "batch words *width"]
    ) -> Shaped[Tensor, "rows longest *width"]:
        """Return what belongs to the words of texts by sentences; zero at the pads."""
        shape = len(self.lengths), int(self.lengths.max()), *words.shape[2:]
        cut = words.new_zeros(shape)
        cut[self.row[self.real], self.place[self.real]] = words[self.real]
        return cut

    def together(
        self, cut: Shaped[Tensor, "rows longest *width"]
    ) -> Shaped[Tensor, "batch words *width"]:
        """Return what belongs to the words of sentences by texts; zero at the pads."""
        words = cut.new_zeros(*self.real.shape, *cut.shape[2:])
        words[self.real] = cut[self.row[self.real], self.place[self.real]]
        return words


@final
class Hierarchical(Labeller):
    """A hierarchical attention network: words, sentences, text (Yang et al. 2016, section 2).

        h_i = encoder(E x_i),   alpha_i = normalize(score(u_w, h_i)),   s_i = sum_t alpha_it h_it
        g = encoder(s),   beta = normalize(score(u_s, g)),   p(y | x) = softmax(W sum_i beta_i g_i)

    A sentence ends after a token of `model.sentence_ends` (several side by side end it once), or
    with the text. The attention of a word is alpha_it beta_i, its share of the text. Which words
    end a sentence goes through the steps beside the embeddings, as a last number without gradient.

    Differs from the paper: embeddings are learned from the start; the rule above in place of a
    sentence splitter; dropout.
    """

    predicts = "label"

    def __init__(self, config: HierarchicalConfig, source_size: int, target_size: int) -> None:
        super().__init__(config, source_size, target_size, embedding=config.embedding)
        self.sentence_ends = config.sentence_ends
        self.register_buffer("ends", torch.zeros(source_size, dtype=torch.bool))
        self.ends: Bool[Tensor, " vocabulary"]
        self.word_pooling = Pooling(config.attention, self.encoder.width)
        self.sentence_encoder = build_annotator(config, self.encoder.width)
        self.sentence_pooling = Pooling(config.attention, self.sentence_encoder.width)
        self.output = nn.Linear(self.sentence_encoder.width, self.labels)

    def learn_symbols(self, source: Sequence[str]) -> None:
        """Find the ids of the tokens that end a sentence.

        Raises:
            ValueError: the vocabulary has none of them.
        """
        marks = [id for id, symbol in enumerate(source) if symbol in self.sentence_ends]
        if not marks:
            raise ValueError(
                f"model.sentence_ends = {list(self.sentence_ends)}, but the source vocabulary has "
                "none of these tokens, so that every text would be one sentence; name tokens that "
                'it has, or take model.kind = "classifier"'
            )
        self.ends[marks] = True

    def embed(
        self, tokens: Int[Tensor, "batch words"]
    ) -> Float[Tensor, "batch words embedding_and_mark"]:
        """Return the words' embeddings and, last, 1 where a word may end a sentence, else 0."""
        embedded = super().embed(tokens)
        return torch.cat([embedded, self.ends[tokens].unsqueeze(-1).to(embedded)], -1)

    def annotate(
        self,
        embedded: Float[Tensor, "batch words embedding_and_mark"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch words width_and_mark"]:
        """Return what the encoder says of each word of its sentence and, last, the marks."""
        cut = cut_sentences(embedded[..., -1] > 0.5, lengths)
        states = self.encoder(cut.apart(embedded[..., :-1]), cut.lengths)
        return torch.cat([cut.together(states), embedded[..., -1:]], -1)

    def silence(
        self, tokens: Int[Tensor, "batch words"]
    ) -> Float[Tensor, "batch words embedding_and_mark"]:
        """See `Labeller`: sentences end where they ended."""
        return torch.cat([super().silence(tokens)[..., :-1], self.embed(tokens)[..., -1:]], -1)

    def decide(
        self,
        annotations: Float[Tensor, "batch words width_and_mark"],
        lengths: Int[Tensor, " batch"],
        weights: Float[Tensor, "batch words"] | None = None,
    ) -> Decision:
        """See `Labeller`: pool the words of each sentence, then the sentences.

        Given weights w are products: beta_i is their sum over sentence i, alpha_it = w_it /
        beta_i; a sentence without weight is read with equal ones.
        """
        cut = cut_sentences(annotations[..., -1] > 0.5, lengths)
        words = cut.apart(annotations[..., :-1])
        there = real_words(cut.rows, cut.counts)
        if weights is None:
            alpha, mass = self.word_pooling(words, cut.lengths), None
        else:
            alpha, mass = _within(cut.apart(weights), cut.lengths)
        vectors = (alpha.unsqueeze(1) @ words).squeeze(1)
        read = self.sentence_encoder(vectors[cut.rows] * there.unsqueeze(-1), cut.counts)
        beta = self.sentence_pooling(read, cut.counts) if mass is None else mass[cut.rows] * there
        context = (beta.unsqueeze(1) @ read).squeeze(1)
        of_row = torch.zeros_like(cut.lengths, dtype=beta.dtype).index_put(
            (cut.rows[there],), beta[there]
        )
        attention = cut.together(alpha * of_row.unsqueeze(-1))
        levels = Levels(cut.together(alpha), beta, cut.lengths)
        return Decision(self.output(context), attention, levels)

    def rows(
        self, decision: Decision, lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Labeller`: one a text."""
        return decision.logits


def cut_sentences(marks: Bool[Tensor, "batch words"], lengths: Int[Tensor, " batch"]) -> Sentences:
    """Cut each text after each run of words that end a sentence."""
    real = real_words(marks, lengths)
    marks = marks & real
    last = marks.clone()
    last[:, :-1] &= ~marks[:, 1:]  # of several marks side by side the last one
    index = (last.cumsum(1) - last.long()) * real
    counts = index.amax(1) + 1
    sizes = torch.zeros(len(marks), int(counts.max()), dtype=torch.long, device=marks.device)
    sizes.scatter_add_(1, index, real.long())
    starts = sizes.cumsum(1) - sizes
    places = torch.arange(marks.shape[1], device=marks.device).expand_as(marks)
    there = real_words(sizes, counts)
    rows = (there.flatten().cumsum(0) - 1).view_as(sizes) * there
    return Sentences(
        real, rows.gather(1, index), places - starts.gather(1, index), sizes[there], rows, counts
    )


def _within(
    shares: Float[Tensor, "rows longest"], lengths: Int[Tensor, " rows"]
) -> tuple[Float[Tensor, "rows longest"], Float[Tensor, " rows"]]:
    """Return the weights within each sentence, and what each sentence has of its text."""
    mass = shares.sum(-1)
    even = real_words(shares, lengths).to(shares) / lengths.unsqueeze(-1)
    empty = (mass == 0).unsqueeze(-1)
    return torch.where(empty, even, shares / mass.unsqueeze(-1).masked_fill(empty, 1)), mass
