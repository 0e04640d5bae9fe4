"""The page at /: type, translate, see, compare two models."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""It loads what this server gives, and nothing from elsewhere."""
TYPES = {"js": "text/javascript", "css": "text/css"}


def add_page(app: FastAPI) -> None:
    """Add the page, and the scripts and style sheets that it loads: its own and the viewer's."""

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(
            files("qkv.serve").joinpath("page.html").read_bytes(),
            media_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"},
        )

    @app.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        stem, _, kind = name.partition(".")
        home = files("qkv.serve") if stem == "try" else files("qkv.view").joinpath("web")
        file = home.joinpath(name)
        if not stem.isalpha() or kind not in TYPES or not file.is_file():
            raise HTTPException(404, "no such part of the page")
        return Response(file.read_bytes(), media_type=f"{TYPES[kind]}; charset=utf-8")
