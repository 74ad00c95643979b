"""Modes: MODE, for channels and for oneself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from servers.chat import numerics
from servers.chat.channel import FLAGS, LISTS, PREFIXES, Entry
from servers.chat.masks import complete
from servers.chat.numerics import Refused
from servers.chat.protocol import fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from servers.chat.channel import Channel
    from servers.chat.client import Client

USER_MODES = "Biow"
"""A bot; invisible to those in no channel with it; operator; wants to hear WALLOPS."""
MOST = 3
"""Changes with a parameter in one MODE, so that what comes of it fits into one line."""

_LISTED = {
    "b": (numerics.RPL_BANLIST, numerics.RPL_ENDOFBANLIST),
    "e": (numerics.RPL_EXCEPTLIST, numerics.RPL_ENDOFEXCEPTLIST),
    "I": (numerics.RPL_INVEXLIST, numerics.RPL_ENDOFINVEXLIST),
}
# RFC 2812 section 2.3.1 without the comma, which JOIN splits keys at, and the colon, which may begin no parameter.
_KEY = re.compile(r"[!-+\--9;-~]+")
_MASK = re.compile(r"[^ \0-\x1f]+")
# Three of these fit into a line with the longest of sources and of channels' names.
_MASK_LENGTH = 90
_LIMIT = 7  # digits


class _Change(NamedTuple):
    sign: str
    letter: str
    param: str = ""


def mode(client: Client, target: str, letters: str = "", *params: str) -> None:
    """MODE: show the modes of a channel or of oneself, or change them."""
    if target.startswith("#"):
        _channel_mode(client, client.network.visible(target, client.user), letters, params)
    else:
        _user_mode(client, target, letters)


def _user_mode(client: Client, target: str, letters: str) -> None:
    user = client.user
    if client.network.user(target) is not user:
        raise Refused(numerics.ERR_USERSDONTMATCH)
    if not letters:
        client.reply(numerics.RPL_UMODEIS, "+" + "".join(sorted(user.modes)))
        return
    changes: list[_Change] = []
    unknown = False
    for sign, letter in _signed(letters):
        on = sign == "+"
        if letter not in USER_MODES:
            unknown = True
        elif (letter in user.modes) != on and not (on and letter == "o"):  # that takes OPER
            (user.modes.add if on else user.modes.discard)(letter)
            changes.append(_Change(sign, letter))
    if changes:
        client.send(client.message("MODE", user.nick, *_written(changes)))
    if unknown:
        raise Refused(numerics.ERR_UMODEUNKNOWNFLAG)


def _channel_mode(client: Client, channel: Channel, letters: str, params: Sequence[str]) -> None:
    if not letters:
        client.reply(numerics.RPL_CHANNELMODEIS, channel.name, *channel.show_modes(client.user))
        client.reply(numerics.RPL_CREATIONTIME, channel.name, str(int(channel.created)))
        return
    rest = list(params)
    changes: list[_Change] = []
    for sign, letter in _signed(letters):
        try:
            if letter in LISTS and not rest:
                _show_list(client, channel, letter)
                continue
            channel.require_operator(client.user)
            change = _apply(client, channel, sign, letter, rest)
        except Refused as refused:
            client.refuse(refused)
            if refused.numeric is numerics.ERR_CHANOPRIVSNEEDED:
                break  # for all the others it would be the same
            continue
        if change is not None:
            changes.append(change)
        if len(params) - len(rest) >= MOST:
            break
    if changes:
        client.chat.save(client, channel)
        client.tell(channel.members, client.message("MODE", channel.name, *_written(changes)))


def _apply(client: Client, channel: Channel, sign: str, letter: str, rest: list[str]) -> _Change | None:
    """Make one change, with its parameter if it takes one, and return it if it is one."""
    on = sign == "+"
    if letter in FLAGS:
        return _set_flag(client, channel, letter, on=on)
    if letter == "l" and not on:
        changed, channel.limit = channel.limit != 0, 0
        return _Change(sign, letter) if changed else None
    if letter not in {*LISTS, *PREFIXES, "k", "l"}:
        raise Refused(numerics.ERR_UNKNOWNMODE, letter)
    if not rest:
        if letter == "k" and not on:
            rest = ["*"]
        else:
            raise Refused(numerics.ERR_NEEDMOREPARAMS, "MODE")
    param = rest.pop(0)
    if letter in LISTS:
        return _list(client, channel, _Change(sign, letter, param))
    if letter in PREFIXES:
        return _grant(client, channel, _Change(sign, letter, param))
    if letter == "k":
        return _set_key(client, channel, param, on=on)
    if not (param.isascii() and param.isdigit() and int(param[:_LIMIT])):
        raise Refused(numerics.ERR_INVALIDMODEPARAM, channel.name, letter, "*", "A limit is a number above 0")
    channel.limit = int(param[:_LIMIT])
    return _Change(sign, letter, str(channel.limit))


def _set_flag(client: Client, channel: Channel, letter: str, *, on: bool) -> _Change | None:
    if (letter in channel.flags) == on:
        return None
    if letter == "r":
        if on and not client.user.account:
            raise Refused(
                numerics.ERR_INVALIDMODEPARAM, channel.name, letter, "*", "Log in to register a channel"
            )
        if not on and client.user.account != channel.founder:
            raise Refused(numerics.ERR_CHANOPRIVSNEEDED, channel.name)
        channel.founder = client.user.account if on else ""
    (channel.flags.add if on else channel.flags.discard)(letter)
    return _Change("+" if on else "-", letter)


def _set_key(client: Client, channel: Channel, key: str, *, on: bool) -> _Change | None:
    if not on:
        # Whatever key is given: everybody in the channel can see the right one.
        changed, channel.key = bool(channel.key), ""
        return _Change("-", "k", "*") if changed else None
    if not _KEY.fullmatch(key) or len(key) > client.settings.key_length:
        why = f"A key is up to {client.settings.key_length} ASCII characters without space, comma and colon"
        raise Refused(numerics.ERR_INVALIDMODEPARAM, channel.name, "k", "*", why)
    channel.key = key
    return _Change("+", "k", key)


def _grant(client: Client, channel: Channel, change: _Change) -> _Change | None:
    user = client.network.member(channel, change.param)
    changed = channel.grant(user, change.letter, on=change.sign == "+")
    return change._replace(param=user.nick) if changed else None


def _list(client: Client, channel: Channel, change: _Change) -> _Change | None:
    masks = channel.lists[change.letter]
    mask = complete(change.param)
    there = next((each for each in masks if fold(each) == fold(mask)), None)
    if change.sign == "-":
        if there is None:
            return None
        del masks[there]
        return change._replace(param=there)
    if there is not None:
        return None
    if not _MASK.fullmatch(mask) or len(mask.encode()) > _MASK_LENGTH or mask[0] == ":":
        why = f"A mask has up to {_MASK_LENGTH} octets and no space"
        raise Refused(numerics.ERR_INVALIDMODEPARAM, channel.name, change.letter, "*", why)
    if len(masks) >= client.settings.list_length:
        raise Refused(numerics.ERR_BANLISTFULL, channel.name, change.letter)
    masks[mask] = Entry(client.user.source, client.chat.clock())
    return change._replace(param=mask)


def _show_list(client: Client, channel: Channel, letter: str) -> None:
    item, end = _LISTED[letter]
    # Bans are for all to see; the rest would tell whoever wants in how to look like.
    if letter != "b":
        channel.require_operator(client.user)
    for mask, entry in channel.lists[letter].items():
        client.reply(item, channel.name, mask, entry.setter, str(int(entry.time)))
    client.reply(end, channel.name)


def _signed(letters: str) -> Iterator[tuple[str, str]]:
    """Yield each letter once for each sign before it, with its sign."""
    sign, seen = "+", set[tuple[str, str]]()
    for letter in letters:
        if letter in "+-":
            sign = letter
        elif letter in {*LISTS, *PREFIXES} or (sign, letter) not in seen:
            seen.add((sign, letter))
            yield sign, letter


def _written(changes: Sequence[_Change]) -> list[str]:
    """Return changes as MODE writes them: letters, then parameters."""
    text, last = "", ""
    for change in changes:
        text += (change.sign if change.sign != last else "") + change.letter
        last = change.sign
    return [text, *(change.param for change in changes if change.param)]
