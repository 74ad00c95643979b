"""One setting as those see it who read it: a dataclass's field and its type, and how the two are written as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Literal, TypeGuard, get_args, get_origin, get_type_hints

from shared.settings import HIDDEN, Table, members

__all__ = ["Setting", "is_dict", "is_list", "settings_of"]

_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Setting:
    """A field of a table."""

    field: Field[Any]
    hint: Any
    """Its type, resolved."""

    @property
    def name(self) -> str:
        """The field's."""
        return self.field.name

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.field.default is MISSING

    @property
    def several(self) -> bool:
        """Whether it is a tuple."""
        return get_origin(self.hint) is tuple

    @property
    def tables(self) -> type[Table] | None:
        """What its members are, if they are tables."""
        member = get_args(self.hint)[0] if self.several else None
        return member if isinstance(member, type) and issubclass(member, Table) else None

    @property
    def parse(self) -> Callable[[str], Any] | None:
        """What makes the value, or each member, of text; ``None``: cyclopts does."""
        parse: Callable[[str], Any] | None = self.field.metadata.get("parse")
        return _whole if parse is None and int in {self.hint, *get_args(self.hint)} else parse

    @property
    def written(self) -> Any:
        """The type that cyclopts is to read."""
        if self.parse is None and self.tables is None:
            return self.hint
        return tuple[str, ...] if self.several else str

    @property
    def form(self) -> str | None:
        """What stands for a value in ``--help``; ``None``: what cyclopts says."""
        if form := self.field.metadata.get("form"):
            return str(form)
        if self.tables is not None:
            return "JSON"
        return "INT" if self.parse is _whole else None

    @property
    def kind(self) -> str:
        """In words, what a value has to be."""
        return _kind(self.hint)

    @property
    def secret(self) -> bool:
        """Whether nobody may see a value."""
        return bool(self.field.metadata.get("secret"))

    def show(self, value: object) -> object:
        """Return the value, or what is shown in its place."""
        return HIDDEN if self.secret else value

    def show_default(self, value: Any) -> str:
        """Return the default as ``--help`` has it."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        return " ".join(str(one) for one in members(value) if one is not None) or "none"


def settings_of(cls: type[Table]) -> dict[str, Setting]:
    """Return the settings that a table has, by their names."""
    hints = get_type_hints(cls)
    return {each.name: Setting(each, hints[each.name]) for each in fields(cls) if "about" in each.metadata}


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tell whether a value of a file is a list."""
    return isinstance(value, list)


def is_dict(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether a value of a file is a table."""
    return isinstance(value, dict)


def _whole(text: str) -> int:
    """Return a whole number; cyclopts would round others."""
    if not re.fullmatch("[+-]?[0-9]{1,18}", text):
        raise ValueError("give a whole number")
    return int(text)


def _kind(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) is tuple:
        return f"a list, each {_kind(get_args(hint)[0])}"
    return _KINDS.get(hint, "text")
