"""A trained model, ready for use: `qkv.load("runs/demo").translate(["attention"])`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from qkv.config import Config, SearchConfig
from qkv.configfile import load_config
from qkv.folder import RunFolder
from qkv.labelling import Classification, Tagged, classify, tag
from qkv.models.build import build_model
from qkv.models.decoder import SearchPlan
from qkv.models.labeller import Labeller
from qkv.models.model import EncoderDecoder, Model
from qkv.models.weights import load_parameters, load_tensors
from qkv.search import forced
from qkv.search.readied import Readied
from qkv.search.scoring import Scoring
from qkv.search.translate import Translation, translate
from qkv.text import Side
from qkv.text.given import check_list, check_texts

OWN_VERBS = {
    "sequence": ("texts", "translate"),
    "label": ("a label for a text", "classify"),
    "tags": ("a label for each word", "tag"),
}
"""By what a model predicts: that, and the verb to ask it with."""


@dataclass(frozen=True)
class Run:
    """What a run folder holds: the config, the two sides and the model, in eval mode.

    What the model predicts says which verbs the run answers: translate and force, classify, or
    tag. The others refuse.
    """

    config: Config
    source: Side
    target: Side
    network: Model

    @property
    def model(self) -> EncoderDecoder:
        """The model, of a run that translates.

        Raises:
            ValueError: it gives labels; the error says with what to ask it.
        """
        if not isinstance(self.network, EncoderDecoder):
            raise ValueError(self._refusal("a sequence of tokens"))
        return self.network

    @property
    def labeller(self) -> Labeller:
        """The model, of a run that classifies or tags.

        Raises:
            ValueError: it translates.
        """
        if not isinstance(self.network, Labeller):
            raise ValueError(self._refusal("labels"))
        return self.network

    def _refusal(self, wanted: str) -> str:
        own, verb = OWN_VERBS[self.network.predicts]
        return (
            f"a {self.config.model.kind} does not give {wanted}: it gives {own}; ask it with "
            f"`qkv {verb} RUN`, or run.{verb}(texts)"
        )

    def classify(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[Classification]:
        """Return the label of each text, with probabilities and attention.

        Args:
            texts: the texts.
            progress: called after each batch with the number of texts done in it.

        Raises:
            ValueError: one text instead of a list, an empty text, or a run of another kind.
        """
        if self.network.predicts != "label":
            raise ValueError(self._refusal("a label for a text"))
        return classify(self.labeller, self.source, self.target, texts, progress=progress)

    def tag(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[Tagged]:
        """Return a label for each word of each text, with probabilities and attention.

        Args:
            texts: sentences, whose words spaces separate.
            progress: called after each batch with the number of sentences done in it.

        Raises:
            ValueError: one text instead of a list, an empty text, or a run of another kind.
        """
        if self.network.predicts != "tags":
            raise ValueError(self._refusal("a label for a word"))
        return tag(self.labeller, self.source, self.target, texts, progress=progress)

    def translate(
        self,
        texts: Sequence[str],
        *,
        n_best: int = 1,
        search: SearchConfig | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[Translation]]:
        """Return, for each text, its n best outputs, best first.

        Args:
            texts: source texts.
            n_best: outputs a text.
            search: how to search; None: as the run's config says.
            progress: called after each step of the search, with the number of texts done since
                the last call: often 0.

        Raises:
            ValueError: one text instead of a list of them, or a setting out of range.
        """
        check_texts(texts, "translate")
        settings = search or self.config.search
        return translate(
            self.model,
            self.source,
            self.target,
            texts,
            settings,
            n_best=n_best,
            progress=progress,
            decoder=self._readied.decoder(settings.precision),
        )

    def search_plan(self, search: SearchConfig | None = None) -> SearchPlan:
        """Say which of the ways that find the same a search takes here, and why."""
        return self.model.search_plan((search or self.config.search).precision)

    @cached_property
    def _readied(self) -> Readied:
        return Readied(self.model)

    def force(
        self,
        sources: Sequence[str],
        targets: Sequence[str | Sequence[int]],
        *,
        search: SearchConfig | None = None,
    ) -> list[Translation]:
        """Return given targets as if they had been found: their scores and their attention.

        A target may be a text, or the ids of a `Translation` (its text may be cut otherwise).

        Raises:
            ValueError: one text instead of a list of them, or more of one side than of the other.
        """
        check_texts(sources, "force")
        check_list(targets, "force")
        settings = search or self.config.search
        scoring = Scoring(settings.alpha, settings.coverage)
        read = [self.source.encode(text) for text in sources]
        given = [
            self.target.encode(target) if isinstance(target, str) else self.target.describe(target)
            for target in targets
        ]
        scored = forced.force(self.model, [one.ids for one in read], [one.ids for one in given])
        return [
            Translation(
                source=source,
                target=target,
                ids=tuple(target.ids),
                log_prob=found.log_prob,
                score=scoring.of(found.log_prob, len(found.log_probs), found.attention),
                attention=found.attention,
                complete=True,
            )
            for source, target, found in zip(read, given, scored, strict=True)
        ]


def load(path: str | Path, *, device: str | None = None) -> Run:
    """Open a run folder.

    Args:
        path: the folder that `qkv train` left.
        device: where the model goes; None: a GPU if there is one, else the CPU.

    Raises:
        ValueError: the folder is no finished run, or one of its files is damaged or foreign.
    """
    folder = RunFolder(Path(path))
    if not folder.config.exists():
        raise ValueError(f"{path} is not a run folder ({_lacking(folder)})")
    if not folder.weights.exists():
        raise ValueError(
            f"{path} holds no finished training (no {folder.weights.name}); start `qkv train` "
            "with the same config again: it goes on from its checkpoint"
        )
    for file in (folder.source, folder.target):
        if not file.exists():
            raise ValueError(
                f"{path} lacks {file.name}, the tokeniser and vocabulary that its model was "
                "trained with; copy it from the folder of that training, or train again"
            )
    config = load_config(folder.config)
    source, target = Side.load(folder.source), Side.load(folder.target)
    model = build_model(
        config.model, len(source.vocabulary), len(target.vocabulary), shared=config.text.shared
    )
    tensors, facts = load_tensors(folder.weights)
    if facts.get("config") != folder.digest:
        raise ValueError(
            f"{folder.weights} was trained with another config (its digest "
            f"{facts.get('config')}, that of {folder.config}: {folder.digest}); "
            "restore the config that it was trained with"
        )
    for file, side, name in (
        (folder.source, source, "source"),
        (folder.target, target, "target"),
    ):
        if facts.get(name) != side.digest:
            raise ValueError(
                f"{folder.weights} was trained with another {name} vocabulary (its digest "
                f"{facts.get(name)}, that of {file}: {side.digest}); restore the file"
            )
    load_parameters(model, tensors, folder.weights)
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Run(config, source, target, model.to(place).eval())


def _lacking(folder: RunFolder) -> str:
    """Say why a path without a config cannot be a run folder."""
    if not folder.path.exists():
        return "it does not exist"
    return f"no {folder.config.name} in it" if folder.path.is_dir() else "it is a file"
