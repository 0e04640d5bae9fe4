"""A model that is served: its run, and what is asked of it in batches."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import NamedTuple

from qkv.config import SearchConfig
from qkv.run import Run
from qkv.search.translate import Translation
from qkv.serve.batching import Batcher
from qkv.serve.limits import Limits
from qkv.serve.metrics import Metrics
from qkv.serve.refusal import Refusal
from qkv.serve.schemas import ModelFacts, TranslateRequest

Found = list[Translation]


class Question(NamedTuple):
    """A text, and how it is searched; texts that agree in the rest are searched together."""

    text: str
    n_best: int
    search: SearchConfig


class Served:
    """One model, its batches, and its limits."""

    def __init__(self, name: str, run: Run, limits: Limits, metrics: Metrics) -> None:
        self.name, self.run, self.limits = name, run, limits
        self.batcher: Batcher[Question, Found] = Batcher(
            self._work,
            batch=limits.batch,
            queue=limits.queue,
            seen=metrics.batches.labels(name).observe,
        )
        metrics.waiting.labels(name).set_function(lambda: self.batcher.waiting)

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
            if not text.strip():
                raise Refusal(422, f"text {place} is empty; leave it out")
            tokens = len(self.run.source.ids(text))
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
        return ModelFacts(
            name=self.name,
            kind=run.config.model.kind,
            parameters=sum(p.numel() for p in run.model.parameters()),
            source_vocabulary=len(run.source.vocabulary),
            target_vocabulary=len(run.target.vocabulary),
            attends=run.model.attends,
        )

    def _work(self, questions: list[Question]) -> list[Found | Exception]:
        """Search all that agree in how together; a group that fails fails alone."""
        groups: dict[tuple[int, SearchConfig], list[int]] = defaultdict(list)
        for place, question in enumerate(questions):
            groups[question.n_best, question.search].append(place)
        found: dict[int, Found | Exception] = {}
        for (n_best, search), places in groups.items():
            texts = [questions[place].text for place in places]
            try:
                results = self.run.translate(texts, n_best=n_best, search=search)
            except Exception as failure:
                found |= dict.fromkeys(places, failure)
            else:
                found |= dict(zip(places, results, strict=True))
        return [found[place] for place in range(len(questions))]
