"""What is refused is said in one form of JSON, whatever refused it.

{"error": {"code": "too_many_texts", "message": "...", "limit": 256}}
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

CODES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    422: "invalid",
    429: "too_many_waiting",
    500: "internal",
    503: "unavailable",
}


class Refusal(Exception):
    """A request that is not answered, and why; `limit`: the limit that it passes, if any."""

    def __init__(self, status: int, message: str, limit: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.limit = limit

    def response(self) -> JSONResponse:
        """Return what the client gets."""
        error: dict[str, Any] = {"code": CODES[self.status], "message": self.message}
        if self.limit is not None:
            error["limit"] = self.limit
        headers = {"Retry-After": "1"} if self.status in (429, 503) else None
        if self.status == 401:
            headers = {"WWW-Authenticate": "Bearer"}
        return JSONResponse({"error": error}, self.status, headers)


def install(app: FastAPI) -> None:
    """Let every error of the application take this form; none tells of the machine."""

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> JSONResponse:
        return refusal.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return Refusal(422, "; ".join(map(_said, error.errors()))).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        status = error.status_code if error.status_code in CODES else 400
        response = Refusal(status, str(error.detail)).response()
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return Refusal(500, "the server failed on this request; its log says more").response()


def _said(error: Any) -> str:
    """One wrong place: where it stands in the body, and what is wrong there."""
    if error["type"] == "json_invalid":
        where, reason = error["loc"][-1], error["ctx"]["error"]
        return f"the body is not JSON: {reason} (character {where})"
    if error["loc"] == ("body",) and isinstance(error["input"], str | bytes):
        return "the body came as text: send JSON, with the header Content-Type: application/json"
    where = ".".join(str(part) for part in error["loc"] if part != "body")
    return f"{where or 'the body'}: {error['msg']}"
