"""What can be wrong with a command line."""

from __future__ import annotations


class UsageError(Exception):
    """The command line is wrong; the message says what to write instead."""
