"""A page that carries all it needs, and may load nothing."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files

from qkv.view.labels import visible


def document(title: str, style: str, body: str, policy: str) -> str:
    """Return an HTML page: its style sheet, its body, and what it may load (CSP)."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<title>{escape(visible(title))}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def part(name: str) -> str:
    """Return a style sheet or script of this package."""
    return files("qkv.view").joinpath("web", name).read_text(encoding="utf-8")


def hashed(content: str) -> str:
    """Return what a policy calls a script or a style sheet that it allows."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
