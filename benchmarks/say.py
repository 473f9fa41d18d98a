"""The benchmarks' output: a line for each thing measured, at once."""

from __future__ import annotations


def say(words: str) -> None:
    """Say it."""
    print(words, flush=True)  # noqa: T201 - the program's output
