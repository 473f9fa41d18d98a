"""A text that people read and a shell runs: every line that begins with `#` is for people, every other one a command.

So nothing has to be picked out of prose at 3 a.m., and a test can follow the words to the letter.
"""

import json
import re
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

WIDTH = 110
END = "EOF"
quote = shlex.quote


@dataclass(frozen=True)
class Step:
    """One numbered step: what it does, what must be seen, and the commands; `only_if` guards all of them.

    `aside` is a command for another occasion, which is shown and not run.
    """

    title: str
    commands: Sequence[str]
    words: str = ""
    aside: str = ""
    only_if: str = ""


@lru_cache(maxsize=1024)  # the words are written anew with every change of the record
def remark(text: str, indent: str = "") -> str:
    """Words for people, as comment lines; no text can break out of them."""
    width = WIDTH - 2 - len(indent)
    lines = textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)
    return "\n".join(f"# {indent}{line}" for line in lines)


def numbered(steps: Sequence[Step]) -> str:
    """The steps, one after the other, with an empty line between."""
    return "\n\n".join(_rendered(number, step) for number, step in enumerate(steps, 1)) + "\n"


def _rendered(number: int, step: Step) -> str:
    lines = [remark(f"{number}. {step.title}")]
    if step.words:
        lines.append(remark(step.words, indent="   "))
    if step.aside:
        lines.append(f"#     {step.aside}")
    if step.only_if:
        return "\n".join([*lines, f"if {step.only_if}; then", *step.commands, "fi"])
    return "\n".join([*lines, *step.commands])


def words_of(command: Sequence[str]) -> str:
    """A command line, quoted where it has to be."""
    return shlex.join(command)


def as_json(value: Any) -> str:
    """JSON as one word of a command line."""
    return quote(json.dumps(value))


def fed(command: str, manifest: Any) -> str:
    """A command that reads an object from its input."""
    return f"{command} -f - <<'{END}'\n{json.dumps(manifest, indent=1)}\n{END}"


def jsonpath(pointer: str, container: str = "") -> str:
    """A JSON pointer as kubectl wants it, quoted; in a pod its container is found by name: there may be others."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.strip("/").split("/")]
    path = "".join(f"[{part}]" if part.isdigit() else "." + part.replace(".", r"\.") for part in parts)
    if container:
        path = re.sub(r"^(\.spec\.containers)\[\d+\]", rf'\1[?(@.name=="{container}")]', path)
    return quote("{" + path + "}")
