"""A model that is served: its run, what it answers, and what is asked of it in batches."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from qkv.run import OWN_VERBS, Run
from qkv.serve.batching import Batcher
from qkv.serve.limits import Limits
from qkv.serve.metrics import Metrics
from qkv.serve.refusal import Refusal
from qkv.serve.schemas import LabelRequest, ModelFacts, TranslateRequest
from qkv.serve.team import Team
from qkv.serve.work import PAIRED, VERBS, Question
from qkv.text import SPECIALS


class Served:
    """One model, its batches, and its limits.

    answers: the paths at which it may be asked.
    """

    def __init__(self, name: str, run: Run, limits: Limits, metrics: Metrics, team: Team) -> None:
        self.name, self.run, self.limits = name, run, limits
        gives = run.network.predicts
        path, self._work = VERBS[gives]
        self.answers = (path, *(PAIRED if gives == "sequence" and run.network.attends else ()))
        self.batcher: Batcher[Question, Any] = Batcher(
            partial(team.work, partial(self._work, run)),
            batch=limits.batch,
            queue=limits.queue,
            seen=metrics.batches.labels(name).observe,
        )
        metrics.waiting.labels(name).set_function(lambda: self.batcher.waiting)

    def warm(self) -> None:
        """Answer a text of its own training's alphabet, or what is nearest to it."""
        self._work(self.run, [Question(self.run.source.vocabulary.symbols[-1])])

    @property
    def can(self) -> str:
        """What it can do, in words."""
        kind, (gives, _) = self.run.config.model.kind, OWN_VERBS[self.run.network.predicts]
        bare = "" if self.run.network.attends else " and has no attention to look at"
        return f"{self.name} is a {kind}: it gives {gives}{bare}; it answers " + " ".join(
            self.answers
        )

    def labelled(self, asked: LabelRequest) -> list[Question]:
        """Return the texts as questions.

        Raises:
            Refusal: they pass a limit.
        """
        return [Question(text) for text in self.within(asked.text)]

    def questions(self, asked: TranslateRequest) -> list[Question]:
        """Return the texts as questions.

        Raises:
            Refusal: they pass a limit, or the search is none.
        """
        texts = self.within(asked.text)
        own = self.run.config.search
        search = replace(
            own,
            method=asked.method or ("beam" if asked.beam else own.method),
            beam=asked.beam or max(own.beam, asked.n_best),
        )
        for what, value, limit in (
            ("n_best", asked.n_best, self.limits.n_best),
            ("beam", search.beam, self.limits.beam),
        ):
            if value > limit:
                raise Refusal(422, f"{what} is {value}; this server allows {limit}", limit)
        if asked.beam and search.method != "beam":
            raise Refusal(422, f"beam belongs to method beam, but the method is {search.method}")
        if search.method == "beam" and asked.n_best > search.beam:
            raise Refusal(
                422, f"n_best is {asked.n_best}, but the beam keeps {search.beam} hypotheses"
            )
        if search.method == "greedy" and asked.n_best > 1:
            raise Refusal(422, f"greedy search has one output, but n_best is {asked.n_best}")
        return [Question(text, asked.n_best, search) for text in texts]

    def within(self, given: str | list[str]) -> list[str]:
        """Return the texts, if they are not too many and none is too long.

        Raises:
            Refusal: they are.
        """
        texts = [given] if isinstance(given, str) else given
        if len(texts) > self.limits.texts:
            raise Refusal(
                422,
                f"{len(texts)} texts in one request; this server allows {self.limits.texts}",
                self.limits.texts,
            )
        for place, text in enumerate(texts):
            tokens = len(self.run.source.ids(text))
            if not text.strip() or not tokens:
                raise Refusal(422, f"text {place} is empty; leave it out")
            if tokens > self.limits.tokens:
                raise Refusal(
                    422,
                    f"text {place} has {tokens} tokens; this server allows {self.limits.tokens}",
                    self.limits.tokens,
                )
        return texts

    def facts(self) -> ModelFacts:
        """Return what a client may know of the model."""
        run = self.run
        labels = run.target.vocabulary.symbols[len(SPECIALS) :]
        return ModelFacts(
            name=self.name,
            kind=run.config.model.kind,
            gives=OWN_VERBS[run.network.predicts][0],
            answers=list(self.answers),
            labels=None if run.network.predicts == "sequence" else list(labels),
            parameters=sum(p.numel() for p in run.network.parameters()),
            source_vocabulary=len(run.source.vocabulary),
            target_vocabulary=len(run.target.vocabulary),
            attends=run.network.attends,
        )
