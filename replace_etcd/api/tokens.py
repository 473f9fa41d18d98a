"""Who may do what: bearer tokens, of which only hashes are kept.

A token is 256 random bits. Nobody guesses one, however fast its hash is, so SHA-256 is right: a slow hash protects
what people make up, and here would only let strangers keep the processor busy. The file is a line for each token:

    NAME ROLE[,ROLE...] sha256:HEX
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

PREFIX = "retcd_"  # so that scanners for leaked secrets can know one
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
A_NAME = "a name is up to 63 letters, digits and . _ @ -, a letter or digit first"
HASH = re.compile(r"sha256:([0-9a-f]{64})")


class Role(StrEnum):
    """What a token may do."""

    READ = "read"
    START = "start"
    APPROVE = "approve"
    ALERT = "alert"


@dataclass(frozen=True)
class Token:
    """A token as it is kept."""

    name: str
    roles: frozenset[Role]
    digest: str

    @property
    def line(self) -> str:
        """As it stands in the file."""
        return f"{self.name} {','.join(sorted(self.roles))} sha256:{self.digest}"


class BadTokens(ValueError):
    """A token, or the file of them, cannot be used; the text says why and what to do."""


def digest_of(secret: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_token(name: str, roles: Iterable[str]) -> tuple[str, Token]:
    """Make a token: the secret, to be shown once, and what is kept of it."""
    if not NAME.fullmatch(name):
        raise BadTokens(f"{name!r} is no name of a token: {A_NAME}")
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, parse_line(f"{name} {','.join(roles)} sha256:{digest_of(secret)}")


def parse_line(line: str) -> Token:
    """Read one line."""
    match line.split():
        case [name, roles, digest]:
            pass
        case _:
            raise BadTokens("write NAME ROLE[,ROLE...] sha256:HEX")
    if not NAME.fullmatch(name):
        raise BadTokens(A_NAME)
    unknown = sorted(set(roles.split(",")) - set(Role))
    if unknown:
        raise BadTokens(f"{unknown[0]!r} is no role: the roles are {', '.join(Role)}")
    found = HASH.fullmatch(digest)
    if found is None:
        raise BadTokens("the hash is sha256: and 64 lower-case hexadecimal digits")
    return Token(name, frozenset(Role(role) for role in roles.split(",")), found[1])


def parse(text: str, place: str = "the file of tokens") -> list[Token]:
    """Read a file; a name may stand twice, so that a token can be changed without a gap."""
    tokens = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            tokens.append(parse_line(line))
        except BadTokens as error:
            raise BadTokens(f"{place}, line {number}: {error}") from None
    return tokens


class TokenFile:
    """The tokens of a file that is read again whenever it changes.

    A change that cannot be read leaves the last good tokens in force: at night a slip of an editor must not shut out
    those who repair. `problem` says so until it is mended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._tokens = _read(path)
        self.problem: str | None = None

    def find(self, secret: str) -> Token | None:
        """The token that somebody shows, compared with every one that is known in the same time."""
        self._read_again()
        shown = digest_of(secret)
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, shown):
                found = token
        return found

    def _read_again(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._tokens = _read(self._path)
        except BadTokens as error:
            self.problem = f"{error}; the tokens read before stay in force"
            structlog.get_logger().error("the tokens cannot be read again", reason=self.problem)
        else:
            self.problem = None


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        seen = path.stat()
    except OSError:
        return ()
    return (seen.st_ino, seen.st_mtime_ns, seen.st_size)


def _read(path: Path) -> list[Token]:
    way_out = (
        "name it in REPLACE_ETCD_API_TOKENS_FILE and add to it with: replace-etcd api token NAME --role read"
    )
    try:
        tokens = parse(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        why = os.strerror(error.errno or 0) if isinstance(error, OSError) else "it is no text"
        raise BadTokens(f"the tokens in {path} cannot be read ({why}); {way_out}") from None
    if not tokens:
        raise BadTokens(f"{path} holds no token; {way_out}")
    return tokens


def add(path: Path, token: Token) -> None:
    """Append a token to the file, which is made for its owner's eyes where there is none."""
    try:
        known = path.read_text() if path.exists() else ""
        gap = "\n" if known and not known.endswith("\n") else ""
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a") as file:
            file.write(f"{gap}{token.line}\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadTokens(f"{path} cannot be written ({error}); name another file with --file") from None
