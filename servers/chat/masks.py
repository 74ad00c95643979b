"""Masks: patterns for users and channels, in which "*" stands for any text and "?" for one character."""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from servers.chat.protocol import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["complete", "is_mask", "matches", "matches_any"]

_STARS = re.compile(r"\*{2,}")


def is_mask(text: str) -> bool:
    """Tell whether anything in the text is wild."""
    return "*" in text or "?" in text


def complete(mask: str) -> str:
    """Return a mask for ``nick!user@host``, with "*" for what it leaves out: "eve" is "eve!*@*"."""
    nick, bang, rest = mask.partition("!")
    if not bang and "@" in nick:
        nick, rest = "*", nick
    user, _, host = rest.partition("@")
    return _STARS.sub("*", f"{nick or '*'}!{user or '*'}@{host or '*'}")


def matches(mask: str, text: str) -> bool:
    """Tell whether all of the text matches, in whatever case (CASEMAPPING=ascii)."""
    return _compile(fold(mask)).match(fold(text)) is not None


def matches_any(masks: Iterable[str], text: str) -> bool:
    """Tell whether the text matches one of them."""
    return any(matches(mask, text) for mask in masks)


@lru_cache(maxsize=1024)
def _compile(mask: str) -> re.Pattern[str]:
    # translate() takes care that no mask makes a match take longer than its length times the text's; "[" is a letter
    # of nicks here.
    return re.compile(fnmatch.translate(_STARS.sub("*", mask).replace("[", "[[]")))
