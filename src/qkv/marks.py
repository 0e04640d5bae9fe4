"""What editors put in front of a text: the mark of its encoding."""

from __future__ import annotations

import codecs


def without_mark(data: bytes, name: str) -> bytes:
    """Return the bytes of a file, or of its first line, without a UTF-8 byte-order mark.

    Raises:
        ValueError: it is UTF-16, as some systems call "Unicode".
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{name}: is UTF-16; write it as UTF-8 (iconv -f UTF-16 -t UTF-8)")
    return data.removeprefix(codecs.BOM_UTF8)
