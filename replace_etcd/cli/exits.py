"""What the command line says when something is wrong: one sentence, and an exit code that scripts can rely on.

The codes are those of docs/contract.md, Outcomes.
"""

from __future__ import annotations

from enum import IntEnum

from rich.console import Console


class Exit(IntEnum):
    """Exit codes; each outcome of a replacement has one."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    ROLLED_BACK = 4
    CANCELLED = 5
    INCOMPLETE = 6
    INTERRUPTED_BY_USER = 130


OF_OUTCOME = {
    "planned": Exit.OK,
    "replaced": Exit.OK,
    "refused": Exit.REFUSED,
    "declined": Exit.REFUSED,
    "rolled_back": Exit.ROLLED_BACK,
    "cancelled": Exit.CANCELLED,
    "left_incomplete": Exit.INCOMPLETE,
    "interrupted": Exit.INCOMPLETE,
}


class CliError(Exception):
    """Ends a command: the sentence names what is wrong and the way out."""

    def __init__(self, sentence: str, code: int = Exit.BAD_INPUT) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = int(code)


def complain(sentence: str) -> None:
    """Say it on standard error, so that standard output stays what a script asked for."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"replace-etcd: {sentence}", markup=False)
