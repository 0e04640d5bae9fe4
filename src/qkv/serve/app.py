"""The application: what is asked at which path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from qkv.run import Run
from qkv.serve import answers, refusal
from qkv.serve.batching import Batcher
from qkv.serve.guard import Guard
from qkv.serve.limits import Limits
from qkv.serve.metrics import Metrics
from qkv.serve.page import add_page
from qkv.serve.refusal import Refusal
from qkv.serve.schemas import (
    AlignAnswer,
    AlignRequest,
    Asked,
    AttentionAnswer,
    AttentionRequest,
    ClassifyAnswer,
    Failure,
    Health,
    LabelRequest,
    Models,
    TagAnswer,
    TranslateAnswer,
    TranslateRequest,
    ViewRequest,
)
from qkv.serve.served import Served
from qkv.serve.team import Team

FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": text}
    for status, text in {
        400: "The body is not text",
        401: "The key is missing or wrong",
        404: "There is no such model",
        408: "The body took too long",
        413: "The body is too large",
        422: "The request is wrong, or passes a limit",
        429: "Too much waits already",
        503: "It took too long, or the server is stopping",
    }.items()
}


SHORT = 2_000
"""Characters that are cut into tokens in less time than a thread takes to begin (0.2 ms)."""
Made = TypeVar("Made")


class House:
    """The models of one application, and whether it still takes work."""

    def __init__(self, runs: Mapping[str, Run], limits: Limits, threads: int = 0) -> None:
        if not runs:
            raise ValueError("a server needs at least one model, got none")
        self.limits, self.metrics = limits, Metrics()
        team = Team.of(threads)
        self.served = {
            name: Served(name, run, limits, self.metrics, team) for name, run in runs.items()
        }
        self.draining = False
        # Looking is work too: one request at a time, and no more in line than texts may be.
        self._looks: Batcher[Callable[[], Any], Any] = Batcher(
            lambda looks: [look() for look in looks], batch=1, queue=limits.queue
        )

    def of(self, asked: Asked, path: str | None = None) -> Served:
        """Return the model that is asked for; where none is named, the first that answers there.

        path: where it must answer; None: it need not be any of its own.

        Raises:
            Refusal: there is none of that name or it does not answer there, or the server is
                stopping.
        """
        if self.draining:
            raise Refusal(503, "the server is stopping; ask another, or again later")
        able = [one for one in self.served.values() if path is None or path in one.answers]
        if asked.model is None:
            if not able:
                said = "; ".join(one.can for one in self.served.values())
                raise Refusal(422, f"no model here answers {path}: {said}")
            return able[0]
        if asked.model not in self.served:
            raise Refusal(404, f"no model {asked.model!r}; there are: {', '.join(self.served)}")
        named = self.served[asked.model]
        if named not in able:
            raise Refusal(422, f"{named.can}, not {path}")
        return named

    def warm(self) -> None:
        """Ask every model once: what the first question compiles and prepares is ready then."""
        for served in self.served.values():
            served.warm()

    @property
    def waiting(self) -> int:
        """Texts and looks that nobody has begun."""
        return self._looks.waiting + sum(one.batcher.waiting for one in self.served.values())

    async def looked(self, look: Callable[[], Any]) -> Any:
        """Read a pair in a thread, when it is its turn.

        Raises:
            Refusal: too much waits, it took too long, or what the look itself refuses.
        """
        (future,) = self._looks.put([look])
        return await self.within_time(future)

    async def labelled(self, asked: LabelRequest, path: str) -> tuple[Served, list[Any]]:
        """Return the model, and what it says of each text.

        Raises:
            Refusal: the model does not answer there, the texts pass a limit, too much waits, or it
                took too long.
        """
        served = self.of(asked, path)
        futures = served.batcher.put(await aside(lambda: served.labelled(asked), asked.text))
        return served, await self.within_time(asyncio.gather(*futures))

    async def within_time(self, work: Any) -> Any:
        """Wait for work, but not longer than a request may take.

        Raises:
            Refusal: it took longer; what still waits of it is given up.
        """
        try:
            return await asyncio.wait_for(work, self.limits.seconds)
        except TimeoutError:
            raise Refusal(
                503,
                f"no answer within {self.limits.seconds:g} seconds; send less, or again later",
                self.limits.seconds,
            ) from None


async def aside(work: Callable[[], Made], given: str | list[str]) -> Made:
    """Work on a request's texts: in a thread if they are long, else at once, which is sooner."""
    if sum(map(len, given)) <= SHORT:  # a text is a list of characters, a list one of texts
        return work()
    return await asyncio.to_thread(work)


def create_app(
    runs: Mapping[str, Run],
    *,
    limits: Limits | None = None,
    key: str | None = None,
    threads: int = 0,
) -> FastAPI:
    """Return the ASGI application that serves these models.

    Args:
        runs: what `qkv.load` returned, by the name that clients use; the first is the default.
        limits: how much a client may ask for.
        key: what clients must send as `Authorization: Bearer KEY`; None: anybody may ask.
        threads: cores that the models compute on; 0: as `Team.of` says.

    Raises:
        ValueError: there is no model.
    """
    house = House(runs, limits or Limits(), threads)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        house.draining = True

    app = FastAPI(title="qkv", docs_url=None, redoc_url=None, lifespan=life)
    app.state.house = house
    refusal.install(app)
    _add_work(app, house)
    _add_facts(app, house)
    add_page(app)
    app.add_middleware(
        Guard, limits=house.limits, metrics=house.metrics, key=key, open_prefixes=("/page/",)
    )
    return app


def _add_work(app: FastAPI, house: House) -> None:
    """Add the paths that ask a model."""

    @app.post("/translate", responses=FAILURES)
    async def translate(asked: TranslateRequest) -> TranslateAnswer:
        served = house.of(asked, "/translate")
        futures = served.batcher.put(await aside(lambda: served.questions(asked), asked.text))
        if asked.stream:
            lines = _lines(house, served, futures, asked)
            return StreamingResponse(lines, media_type="application/x-ndjson")  # type: ignore[return-value]
        found = await house.within_time(asyncio.gather(*futures))
        return TranslateAnswer(
            model=served.name,
            results=[
                answers.translated(served.run, index, outputs, asked.attention)
                for index, outputs in enumerate(found)
            ],
        )

    @app.post("/classify", responses=FAILURES)
    async def classify(asked: LabelRequest) -> ClassifyAnswer:
        served, found = await house.labelled(asked, "/classify")
        return ClassifyAnswer(
            model=served.name,
            results=[answers.classified(i, one, asked.attention) for i, one in enumerate(found)],
        )

    @app.post("/tag", responses=FAILURES)
    async def tag(asked: LabelRequest) -> TagAnswer:
        served, found = await house.labelled(asked, "/tag")
        return TagAnswer(
            model=served.name,
            results=[answers.tagged(i, one, asked.attention) for i, one in enumerate(found)],
        )

    @app.post("/align", responses=FAILURES)
    async def align(asked: AlignRequest) -> AlignAnswer:
        served = house.of(asked, "/align")
        return await house.looked(lambda: answers.aligned(served, asked))

    @app.post("/attention", responses=FAILURES)
    async def attention(asked: AttentionRequest) -> AttentionAnswer:
        served = house.of(asked, "/attention")
        return await house.looked(lambda: answers.attended(served, asked))

    @app.post("/view", include_in_schema=False)
    async def view(asked: ViewRequest) -> dict[str, Any]:
        served = house.of(asked)
        return await house.looked(lambda: answers.viewed(served, asked))


async def _lines(
    house: House,
    served: Served,
    futures: list[asyncio.Future[Any]],
    asked: TranslateRequest,
) -> AsyncIterator[str]:
    """Give each text as a line of JSON when it is done; an error is the last line."""
    try:
        async with asyncio.timeout(house.limits.seconds):
            for index, future in enumerate(futures):
                found = answers.translated(served.run, index, await future, asked.attention)
                yield found.model_dump_json() + "\n"
    except TimeoutError:
        seconds = house.limits.seconds
        late = Refusal(503, f"not all done within {seconds:g} seconds", seconds)
        yield bytes(late.response().body).decode() + "\n"
    finally:
        for future in futures:
            future.cancel()


def _add_facts(app: FastAPI, house: House) -> None:
    """Add the paths that tell of the server."""

    @app.get("/models")
    async def models() -> Models:
        return Models(models=[served.facts() for served in house.served.values()])

    @app.get("/health")
    async def health() -> Health:
        return Health(status="draining" if house.draining else "ok", waiting=house.waiting)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(house.metrics.text(), media_type="text/plain; version=0.0.4")
