"""Publish and subscribe: messages to whoever listens now, kept by nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.keyvalue.arguments import wrong_subcommand
from servers.keyvalue.commands.table import command
from servers.keyvalue.glob import matcher
from servers.keyvalue.protocol import CommandError, Push, Reply, Several

if TYPE_CHECKING:
    from servers.keyvalue.client import Client


@command("subscribe", "pubsub noscript loading stale listening")
def subscribe(client: Client, channel: bytes, *channels: bytes) -> Reply:
    """Listens for messages published to channels."""
    return _subscribe(client, "subscribe", (channel, *channels))


@command("psubscribe", "pubsub noscript loading stale listening")
def psubscribe(client: Client, pattern: bytes, *patterns: bytes) -> Reply:
    """Listens for messages published to channels that match one or more patterns."""
    return _subscribe(client, "psubscribe", (pattern, *patterns))


def _subscribe(client: Client, kind: str, names: tuple[bytes, ...]) -> Reply:
    mine = client.patterns if kind == "psubscribe" else client.subscriptions
    everybody = client.engine.patterns if kind == "psubscribe" else client.engine.channels
    replies: list[Reply] = []
    client.listen()
    for name in names:
        mine[name] = None
        everybody.setdefault(name, {})[client] = None
        replies.append(Push([kind.encode(), name, len(client.subscriptions) + len(client.patterns)]))
    client.gate()
    return Several(replies)


@command("unsubscribe", "pubsub noscript loading stale listening")
def unsubscribe(client: Client, *channels: bytes) -> Reply:
    """Stops listening to messages posted to channels."""
    return _unsubscribe(client, "unsubscribe", channels)


@command("punsubscribe", "pubsub noscript loading stale listening")
def punsubscribe(client: Client, *patterns: bytes) -> Reply:
    """Stops listening to messages published to channels that match one or more patterns."""
    return _unsubscribe(client, "punsubscribe", patterns)


def _unsubscribe(client: Client, kind: str, names: tuple[bytes, ...]) -> Reply:
    mine = client.patterns if kind == "punsubscribe" else client.subscriptions
    replies: list[Reply] = []
    for name in names or tuple(mine) or (None,):
        if name is not None:
            forget(client, kind == "punsubscribe", name)
        replies.append(Push([kind.encode(), name, len(client.subscriptions) + len(client.patterns)]))
    client.gate()
    return Several(replies)


def forget(client: Client, is_pattern: bool, name: bytes) -> None:
    """Have a client listen to a channel or pattern no more."""
    mine = client.patterns if is_pattern else client.subscriptions
    everybody = client.engine.patterns if is_pattern else client.engine.channels
    if name in mine:
        del mine[name]
        del everybody[name][client]
        if not everybody[name]:
            del everybody[name]


@command("publish", "pubsub loading stale fast")
def publish(client: Client, channel: bytes, message: bytes) -> Reply:
    """Posts a message to a channel."""
    engine = client.engine
    receivers = list(engine.channels.get(channel, ()))
    for receiver in receivers:
        receiver.push(Push([b"message", channel, message]))
    count = len(receivers)
    for pattern, listeners in engine.patterns.items():
        if matcher(pattern)(channel):
            for receiver in listeners:
                receiver.push(Push([b"pmessage", pattern, channel, message]))
            count += len(listeners)
    return count


@command("pubsub", "")
def pubsub(client: Client) -> Reply:
    """A container for Pub/Sub commands."""
    raise CommandError("ERR wrong number of arguments for 'pubsub' command")


@command("pubsub|channels", "pubsub loading stale")
def pubsub_channels(client: Client, *pattern: bytes) -> Reply:
    """Returns the active channels."""
    if len(pattern) > 1:
        raise CommandError(wrong_subcommand("CHANNELS", "PUBSUB"))
    return [name for name in client.engine.channels if not pattern or matcher(pattern[0])(name)]


@command("pubsub|numsub", "pubsub loading stale")
def pubsub_numsub(client: Client, *channels: bytes) -> Reply:
    """Returns a count of subscribers to channels."""
    return [each for name in channels for each in (name, len(client.engine.channels.get(name, ())))]


@command("pubsub|numpat", "pubsub loading stale")
def pubsub_numpat(client: Client) -> Reply:
    """Returns a count of unique pattern subscriptions."""
    return len(client.engine.patterns)
