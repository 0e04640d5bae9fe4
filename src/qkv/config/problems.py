"""What is wrong with a value of a config, in words: its key, what was given, what is allowed."""

from __future__ import annotations

import re
from typing import Any

from qkv.spelling import did_you_mean

# pydantic's name of a finding: what is allowed. {} are the bounds that it found to be violated.
_ALLOWED = {
    "int_type": "it takes a whole number, without quotes",
    "float_type": "it takes a number, without quotes",
    "finite_number": "it takes a finite number",
    "bool_type": "it takes true or false, without quotes",
    "string_type": "it takes a text in quotes",
    "tuple_type": 'it takes a list in brackets, such as ["one", "two"]',
    "dataclass_type": "it is a table of keys",
    "dict_type": "it is a table of keys",
    "missing": "the list is too short: this place has no value",
    "too_long": "it takes a list of {max_length} values",
    "greater_than_equal": "it must be {ge} or more",
    "greater_than": "it must be more than {gt}",
    "less_than_equal": "it must be {le} or less",
    "less_than": "it must be less than {lt}",
}


def explain_value(key: str, problem: Any) -> str:
    """Say one of pydantic's findings about a value in our words, or in its own if we have none.

    A finding is a dict of its type, the input, and the context of the rule that was broken.
    """
    given, context = problem["input"], problem.get("ctx", {})
    if problem["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        hint = did_you_mean(given, allowed) if isinstance(given, str) else ""
        return f"unknown {key} {given!r}; allowed: {', '.join(allowed)}.{hint}"
    said = _ALLOWED.get(problem["type"], problem["msg"]).format_map(
        {name: f"{bound:g}" for name, bound in context.items() if isinstance(bound, int | float)}
    )
    return f"{key}: {said} (given: {given!r})"
