"""Fields of a config on the command line: `coef=0.1`, `rnd.coef=0.1`."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

_WORDS = {"true": True, "false": False, "none": None, "inf": float("inf"), "-inf": float("-inf")}


def values(pairs: Sequence[str]) -> dict[str, Any]:
    """{field: value} of texts like `coef=0.1`; values are Python literals, or words."""
    out = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"expected FIELD=VALUE, got {pair!r}")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = _WORDS.get(text.lower(), text)
        out[name] = value
    return out


def nested(pairs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{module: {field: value}} of texts like `rnd.coef=0.1`."""
    out: dict[str, dict[str, Any]] = {}
    for name, value in values(pairs).items():
        module, dot, field = name.partition(".")
        if not dot:
            raise ValueError(f"expected MODULE.FIELD=VALUE, got {name}={value}")
        out.setdefault(module, {})[field] = value
    return out
