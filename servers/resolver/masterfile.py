r"""Master files (RFC 1035, section 5), read into records; what is wrong is told by file, line and column.

``$ORIGIN``, ``$TTL`` (RFC 2308, section 4) and ``$INCLUDE``; parentheses, quotes, comments; ``\X`` and ``\DDD`` in
names and texts; TTL and class in either order, or left out; types by number (RFC 3597).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from servers.resolver.names import BadNameError, from_text
from servers.resolver.rdata import from_tokens, type_number
from servers.resolver.tokens import DataError, Tokens, seconds

__all__ = ["MasterFileError", "Record", "read"]

# Files that include each other would go on for ever; BIND stops at 32 as well.
_DEEPEST = 32
_TOKEN = re.compile(
    r"""(?P<quoted>"(?P<text>(?:[^"\\]|\\.)*)") | (?P<bracket>[()]) | (?P<comment>;.*) | (?P<blank>[ \t\r\f\v]+)
    | (?P<plain>(?:[^\s"();\\]|\\.)+ (?:(?<==)"(?:[^"\\]|\\.)*")?)""",
    re.VERBOSE,
)
_CLASSES = {"IN", "CLASS1"}
_OTHER_CLASSES = {"CH", "HS", "CS", "ANY", "NONE"}


class MasterFileError(ValueError):
    """A master file that cannot be read.

    Args:
        where: the file, the line and the column, from 1 on.
        problem: what is wrong there.
    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")


@dataclass(frozen=True, slots=True)
class Record:
    """One record, and where it stands."""

    name: bytes
    type: int
    ttl: int
    rdata: bytes
    where: str


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    line: int
    column: int
    quoted: bool = False


@dataclass(slots=True)
class _State:
    """What entries inherit from those before them."""

    origin: bytes
    owner: bytes | None = None
    ttl: int | None = None
    default_ttl: int | None = None


def read(path: Path, origin: bytes) -> Iterator[Record]:
    """Read the records of a file.

    Args:
        path: the file.
        origin: what its names are relative to until it says otherwise.

    Raises:
        MasterFileError: there is something in it that cannot be read, or it cannot be read at all.
    """
    return _read(path, _State(origin), 0)


def _read(path: Path, state: _State, depth: int) -> Iterator[Record]:
    try:
        text = path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise MasterFileError(str(path), f"cannot be read ({error.strerror}): name a master file") from error
    for words, inherits in _entries(path, text):
        if words[0].text.startswith("$") and not inherits and not words[0].quoted:
            yield from _direct(path, state, words, depth)
        else:
            yield _record(path, state, words, inherits=inherits)


def _entries(path: Path, text: str) -> Iterator[tuple[list[_Word], bool]]:
    """Return the words of each entry, and whether it begins with a blank: it inherits its owner."""
    words, opened, inherits = list[_Word](), list[_Word](), False
    for kind, word in _scan(path, text):
        match kind:
            case "\n":
                if words and not opened:
                    yield words, inherits
                    words = []
                inherits = inherits and bool(opened)
            case "(":
                opened.append(word)
            case ")" if opened:
                opened.pop()
            case ")":
                raise MasterFileError(_where(path, word), "a parenthesis that was not opened")
            case " ":
                inherits = inherits or (word.column == 1 and not opened)
            case _:
                words.append(word)
    if opened:
        raise MasterFileError(_where(path, opened[-1]), "a parenthesis that is not closed")


def _scan(path: Path, text: str) -> Iterator[tuple[str, _Word]]:
    """Return what a file is made of: words, and by their own sign parentheses, blanks and the ends of lines."""
    for number, line in enumerate(text.split("\n"), 1):
        at = 0
        while at < len(line):
            found = _TOKEN.match(line, at)
            if found is None:
                why = {'"': "a quote that is not closed", "\\": "a backslash that escapes nothing"}[line[at]]
                raise MasterFileError(f"{path}:{number}:{at + 1}", why)
            kind = str(found.lastgroup)
            if kind in {"quoted", "plain"}:
                word = found["text"] if kind == "quoted" else found["plain"]
                if kind == "plain" and '"' in word:
                    # RFC 9460, section 2.1: the value of a parameter may be in quotes of its own.
                    word = re.sub(r'^([^"\\]*=)"(.*)"$', r"\1\2", word)
                yield kind, _Word(word, number, at + 1, kind == "quoted")
            elif kind != "comment":
                yield line[at] if kind == "bracket" else " ", _Word(line[at], number, at + 1)
            at = found.end()
        yield "\n", _Word("", number, len(line) + 1)


def _where(path: Path, word: _Word) -> str:
    return f"{path}:{word.line}:{word.column}"


def _direct(path: Path, state: _State, words: list[_Word], depth: int) -> Iterator[Record]:
    """Obey a directive."""
    name, *values = (word.text for word in words)
    problem = ""
    try:
        match name.upper(), values:
            case "$ORIGIN", [origin]:
                state.origin = from_text(origin, state.origin)
            case "$TTL", [ttl]:
                state.default_ttl = seconds(ttl)
            case "$INCLUDE", [file, *origin] if len(origin) <= 1 and depth < _DEEPEST:
                inner = from_text(origin[0], state.origin) if origin else state.origin
                # RFC 1035, section 5.1: neither the origin nor anything else of it comes back.
                included = _State(inner, state.owner, state.ttl, state.default_ttl)
                yield from _read(path.parent / file, included, depth + 1)
            case "$INCLUDE", [_, *_] if depth == _DEEPEST:
                problem = f"{_DEEPEST} files include each other: break the circle"
            case (("$ORIGIN" | "$TTL" | "$INCLUDE"), _):
                problem = f"write {name} and one value"
            case _:
                problem = f"{name} is not known: write $ORIGIN, $TTL or $INCLUDE"
    except (BadNameError, DataError) as error:
        problem = str(error)
    if problem:
        raise MasterFileError(_where(path, words[0]), problem)


def _record(path: Path, state: _State, words: list[_Word], *, inherits: bool) -> Record:
    tokens = Tokens([word.text for word in words], state.origin)
    if inherits and state.owner is None:
        raise MasterFileError(_where(path, words[0]), "there is no record before it whose name it could have")
    try:
        if not inherits:
            state.owner = from_text(tokens.next(), state.origin)
        ttl, kind = _ttl_and_type(tokens)
        if ttl is not None:
            state.ttl = ttl
        # RFC 2308, section 4: $TTL goes before what the last record had; RFC 1035 had that only.
        ttl = next((each for each in (ttl, state.default_ttl, state.ttl) if each is not None), None)
        tokens.words = [_as_data(word) for word in words]
        data = from_tokens(kind, tokens)
        if ttl is None and kind == 6:  # noqa: PLR2004 -- SOA, whose MINIMUM was once the default (RFC 1035, section 5.1)
            ttl = state.ttl = int.from_bytes(data[-4:], "big")
    except (BadNameError, DataError) as error:
        wrong = words[max(tokens.taken - 1, 0)]
        raise MasterFileError(_where(path, wrong), str(error)) from None
    if ttl is None:
        raise MasterFileError(_where(path, words[0]), "it has no TTL: write one, or $TTL before it")
    return Record(state.owner or b"", kind, ttl, data, _where(path, words[0]))


def _ttl_and_type(tokens: Tokens) -> tuple[int | None, int]:
    """Take TTL and class, in either order, and the type."""
    ttl: int | None = None
    while True:
        text = tokens.next("a type")
        kind = type_number(text)
        if kind is not None:
            return ttl, kind
        if text.upper() in _CLASSES:
            continue
        if text.upper() in _OTHER_CLASSES:
            raise DataError(f"class {text} is not served: write IN")
        if not text[:1].isdigit():
            raise DataError(f"{text!r} is no type")
        ttl = seconds(text)


def _as_data(word: _Word) -> str:
    # In quotes a name or the mark of unknown data would be a text.
    return word.text if not word.quoted or word.text != "\\#" else "\\\\#"
