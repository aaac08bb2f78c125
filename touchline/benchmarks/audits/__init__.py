"""Rows of the curiosity audit, a module each: a claim on a toy that takes seconds to minutes, with controls."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that a row found to be so or not, over all seeds.

    Attributes:
        name: what was to be shown.
        passed: it was.
        detail: the numbers behind it.
        must_fail: the check is of a control; `passed` then says that the control failed, as it must.
    """

    name: str
    passed: bool
    detail: str
    must_fail: bool = False
