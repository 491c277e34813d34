"""Fields of text files."""

from __future__ import annotations


def is_number(text: str) -> bool:
    """Whether a field of a file is a number as Python writes it."""
    try:
        float(text)
    except ValueError:
        return False
    return True
