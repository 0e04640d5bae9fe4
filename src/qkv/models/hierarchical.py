"""A text to a label by its sentences (Yang et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from qkv.config import HierarchicalConfig
from qkv.models.annotators import build_annotator, real_words
from qkv.models.labeller import Decision, Labeller
from qkv.models.pooling import Pooling
from qkv.text.vocabulary import PAD


class Sentences(NamedTuple):
    """A batch of texts cut into sentences.

    sentence, place: of each token, the sentence of its text and the place in it; 0 at the pads.
    tokens: one row a sentence of any text, padded; lengths: the words of each.
    rows: of each sentence of each text its row there, where `counts` says that there is one.
    """

    sentence: Int[Tensor, "batch words"]
    place: Int[Tensor, "batch words"]
    tokens: Int[Tensor, "rows longest"]
    lengths: Int[Tensor, " rows"]
    rows: Int[Tensor, "batch sentences"]
    counts: Int[Tensor, " batch"]


class Levels(NamedTuple):
    """What the model attended to at both levels: words within sentences, sentences in the text."""

    words: Float[Tensor, "batch words"]
    sentences: Float[Tensor, "batch sentences"]
    cut: Sentences


@final
class Hierarchical(Labeller):
    """A hierarchical attention network: words, sentences, text (Yang et al. 2016, section 2).

        h_i = encoder(E x_i),   alpha_i = normalize(score(u_w, h_i)),   s_i = sum_t alpha_it h_it
        g = encoder(s),   beta = normalize(score(u_s, g)),   p(y | x) = softmax(W sum_i beta_i g_i)

    A sentence ends after a token of `model.sentence_ends` (several side by side end it once), or
    with the text. The attention of a word is alpha_it beta_i, its share of the text.

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

    def forward(
        self, tokens: Int[Tensor, "batch words"], lengths: Int[Tensor, " batch"]
    ) -> Decision:
        """See `Labeller`."""
        logits, levels = self.read(tokens, lengths)
        beta = levels.sentences.gather(
            1, levels.cut.sentence.clamp(max=levels.sentences.shape[1] - 1)
        )
        return Decision(logits, levels.words * beta)

    def read(
        self, tokens: Int[Tensor, "batch words"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch labels"], Levels]:
        """Return the logits, and the attention of both levels."""
        cut = cut_sentences(tokens, lengths, self.ends)
        words = self.annotate(self.embed(cut.tokens), cut.lengths)
        alpha = self.word_pooling(words, cut.lengths)
        vectors = (alpha.unsqueeze(1) @ words).squeeze(1)
        there = real_words(cut.rows, cut.counts)
        texts = vectors[cut.rows] * there.unsqueeze(-1)
        sentences = self.sentence_encoder(texts, cut.counts)
        beta = self.sentence_pooling(sentences, cut.counts)
        context = (beta.unsqueeze(1) @ sentences).squeeze(1)
        shares = alpha[cut.rows.gather(1, cut.sentence), cut.place]
        shares = torch.where(real_words(tokens, lengths), shares, 0)
        return self.output(context), Levels(shares, beta, cut)

    def rows(
        self, decision: Decision, lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Labeller`: one a text."""
        return decision.logits


def cut_sentences(
    tokens: Int[Tensor, "batch words"],
    lengths: Int[Tensor, " batch"],
    ends: Bool[Tensor, " vocabulary"],
) -> Sentences:
    """Cut each text after each run of tokens that end a sentence."""
    real = real_words(tokens, lengths)
    marks = ends[tokens] & real
    last = marks.clone()
    last[:, :-1] &= ~marks[:, 1:]  # of several marks side by side the last one
    index = (last.cumsum(1) - last.long()) * real
    counts = index.amax(1) + 1
    sizes = torch.zeros(len(tokens), int(counts.max()), dtype=torch.long, device=tokens.device)
    sizes.scatter_add_(1, index, real.long())
    starts = sizes.cumsum(1) - sizes
    places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    place = (places - starts.gather(1, index)) * real
    there = real_words(sizes, counts)
    rows = (there.flatten().cumsum(0) - 1).view_as(sizes) * there
    found = sizes[there]
    cut = tokens.new_full((len(found), int(found.max())), PAD)
    cut[rows.gather(1, index)[real], place[real]] = tokens[real]
    return Sentences(index, place, cut, found, rows, counts)
