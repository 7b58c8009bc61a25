"""Hints for names that were mistyped."""

from collections.abc import Iterable
from difflib import get_close_matches


def near(name: str, known: Iterable[str]) -> str:
    """": did you mean 'x' or 'y'?", or nothing if no known name is near."""
    found = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f": did you mean {' or '.join(map(repr, found))}?" if found else ""
