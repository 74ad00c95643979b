"""What becomes of a server's name, in text and in paths, when the server is copied under another name."""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from dataclasses import dataclass, field
from functools import cached_property

__all__ = ["Renaming", "identifiers"]

# What stands for a server in prose, and what that becomes.
_PROSE = {
    "keyvalue": {"key-value store": "{} server"},
    "resolver": {"the resolver": "the {} server"},
    "syslog": {"log sink": "{} server"},
}
# Names of others, which have a server's name in them.
_KEPT = {
    "chat": ("WeeChat",),
    "resolver": ("ZoneResolver", "/etc/resolver", "stub resolver"),
    "syslog": (
        *(r"\w*SysLog\w*", r"RSYSLOG_\w+", "syslog[-_]ng", "SyslogNg", "syslog-protocol", r"syslog\(3\)"),
        *(r"syslog\(LOG", r"syslog\.(?:h|conf|err)\b", "syslog has", '"syslog", "lpr"'),
    ),
}


@dataclass(frozen=True)
class Renaming:
    """From one name to another: ``keyvalue``, ``KEYVALUE``, ``KeyValue`` and what prose says.

    Args:
        old: the name of a server, as a module.
        new: what it is to be.
    """

    old: str
    new: str
    words: str = field(init=False)
    """The new name in prose."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", self.new.replace("_", " "))

    def of(self, text: str) -> str:
        """Return a text with the new name; what follows in a column of its own stays in it."""
        return "".join(map(self._line, text.splitlines(keepends=True)))

    def _line(self, line: str) -> str:
        if not self._pattern.search(line):
            return line
        column = re.match(r"\s*\S.*?\s{2,}(?=\S)", line)
        if column is None:
            return self._pattern.sub(self._other, line)
        before = self._pattern.sub(self._other, column[0].rstrip())
        return f"{before:<{column.end() - 2}}  {self._pattern.sub(self._other, line[column.end() :])}"

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        loose = self.old.replace("_", "_?")
        alternatives = {
            "kept": "|".join(_KEPT.get(self.old, ())) or "(?!)",
            "prose": "|".join(f"(?i:{phrase})" for phrase in self._phrases) or "(?!)",
            # Behind its length, as names are on the wire of the DNS (RFC 1035, section 3.1).
            "counted": rf"\\x{len(self.old):02x}{self.old}(?![A-Za-z0-9])",
            # Underscores and the n of \n stand between words.
            "whole": rf"(?:(?<![A-Za-z0-9])|(?<=\\n))(?:{self.old}|{self.old.upper()})(?![A-Za-z0-9])",
            # A hump of a camel, at any place.
            "camel": rf"(?=[A-Z]+[a-z])(?i:{loose})(?![a-z0-9])",
        }
        return re.compile("|".join(f"(?P<{name}>{each})" for name, each in alternatives.items()))

    @cached_property
    def _phrases(self) -> dict[str, str]:
        return {phrase: into.format(self.words) for phrase, into in _PROSE.get(self.old, {}).items()}

    def _other(self, found: re.Match[str]) -> str:
        text = found[0]
        match found.lastgroup:
            case "prose":
                into = self._phrases[text.lower()]
                return into[0].upper() + into[1:] if text[0].isupper() else into
            case "counted":
                return rf"\x{len(self.new):02x}{self.new}"
            case "whole":
                return self.new.upper() if text.isupper() else self.new
            case "camel":
                return "".join(part.capitalize() for part in self.new.split("_"))
            case _:
                return text


def identifiers(source: str) -> set[str]:
    """Return the names that a Python program's text has in its code, not in strings and comments."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        each.string for each in tokens if each.type == tokenize.NAME and not keyword.iskeyword(each.string)
    }
