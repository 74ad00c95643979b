"""The server: what it is, how it fares, what can be changed, and what is on disk."""

from __future__ import annotations

import os
import resource
import sys
from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, integer, wrong_subcommand
from servers.keyvalue.commands.connection import VERSION
from servers.keyvalue.commands.table import command
from servers.keyvalue.protocol import CommandError, Reply, Several, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servers.keyvalue.client import Client
    from servers.keyvalue.engine import Engine


_TOO_FEW = "ERR count should be greater than or equal to -1"
# Seconds between two looks whether a snapshot is made.
_GLANCE = 0.02


@command("time", "random loading stale fast")
def time(client: Client) -> Reply:
    """Returns the server time."""
    now = client.engine.clock()
    return [b"%d" % now, b"%d" % (now % 1 * 1e6)]


# -- INFO --------------------------------------------------------------------------------------------------------------


@command("info", "random loading stale")
def info(client: Client, *sections: bytes) -> Reply:
    """Returns information and statistics about the server."""
    wanted = {section.decode("utf-8", "replace").lower() for section in sections} or {"default"}
    everything = bool(wanted & {"default", "all", "everything"})
    found = [
        f"# {title}\r\n" + "".join(f"{name}:{value}\r\n" for name, value in values.items())
        for title, values in _sections(client.engine).items()
        if everything or title.lower() in wanted
    ]
    return Text("\r\n".join(found))


def _sections(engine: Engine) -> Mapping[str, Mapping[str, object]]:
    now, dataset, store = engine.clock(), engine.dataset, engine.store
    usage = resource.getrusage(resource.RUSAGE_SELF)
    resident = _resident()
    used = resident if dataset.ledger is None else dataset.ledger.total
    return {
        "Server": {
            "redis_version": VERSION,
            "redis_mode": "standalone",
            "os": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
            "arch_bits": sys.maxsize.bit_length() + 1,
            "process_id": os.getpid(),
            "run_id": engine.run_id,
            "tcp_port": 0,
            "server_time_usec": int(now * 1e6),
            "uptime_in_seconds": int(now - engine.started),
            "uptime_in_days": int(now - engine.started) // 86400,
            "hz": 10,
            "python_version": sys.version.split()[0],
        },
        "Clients": {
            "connected_clients": len(engine.clients),
            "blocked_clients": engine.blocked,
            "tracking_clients": 0,
            "maxclients": engine.config.get([b"maxclients"]).get(b"maxclients", b"0").decode(),
        },
        "Memory": {
            "used_memory": used,
            "used_memory_human": _human(used),
            "used_memory_rss": resident,
            "used_memory_rss_human": _human(resident),
            "used_memory_peak": usage.ru_maxrss * 1024,
            "used_memory_peak_human": _human(usage.ru_maxrss * 1024),
            "maxmemory": engine.config.maxmemory,
            "maxmemory_human": _human(engine.config.maxmemory),
            "maxmemory_policy": engine.config.policy,
            "mem_fragmentation_ratio": 1,
            "mem_allocator": "python",
        },
        "Persistence": {
            "loading": 0,
            "rdb_changes_since_last_save": dataset.changes - store.changes_at_save,
            "rdb_bgsave_in_progress": int(store.saving),
            "rdb_last_save_time": int(store.saved),
            "rdb_last_bgsave_status": "ok" if store.save_worked else "err",
            "aof_enabled": int(store.durable),
            "aof_rewrite_in_progress": int(store.saving),
            "aof_rewrite_scheduled": 0,
            "aof_last_bgrewrite_status": "ok" if store.save_worked else "err",
            "aof_last_write_status": "err" if store.full else "ok",
        },
        "Stats": {
            "total_connections_received": engine.connections,
            "total_commands_processed": engine.commands,
            "total_error_replies": engine.errors,
            "expired_keys": dataset.expired,
            "evicted_keys": dataset.evicted,
            "keyspace_hits": dataset.hits,
            "keyspace_misses": dataset.misses,
            "pubsub_channels": len(engine.channels),
            "pubsub_patterns": len(engine.patterns),
        },
        "Replication": {"role": "master", "connected_slaves": 0},
        "CPU": {"used_cpu_sys": usage.ru_stime, "used_cpu_user": usage.ru_utime},
        "Cluster": {"cluster_enabled": 0},
        "Keyspace": {
            f"db{each.number}": f"keys={len(each)},expires={len(each.expires)},avg_ttl=0"
            for each in dataset.keyspaces
            if each
        },
    }


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 -- of the kernel's (proc(5))
        return int(file.read().split()[1]) * resource.getpagesize()


def _human(octets: float) -> str:
    units = iter("BKMG")
    unit = next(units)
    for larger in units:
        if octets < 1024:  # noqa: PLR2004 -- of the next unit
            break
        octets, unit = octets / 1024, larger
    return f"{octets:.2f}{unit}" if unit != "B" else f"{octets}B"


# -- CONFIG ------------------------------------------------------------------------------------------------------------


@command("config", "")
def config(client: Client) -> Reply:
    """A container for server configuration commands."""
    raise CommandError("ERR wrong number of arguments for 'config' command")


@command("config|get", "admin noscript loading stale")
def config_get(client: Client, parameter: bytes, *parameters: bytes) -> Reply:
    """Returns the effective values of configuration parameters."""
    return client.engine.config.get((parameter, *parameters))


@command("config|set", "admin noscript loading stale")
def config_set(client: Client, parameter: bytes, value: bytes, *pairs: bytes) -> Reply:
    """Sets configuration parameters in-flight."""
    if len(pairs) % 2:
        raise CommandError(SYNTAX)
    words = (parameter, value, *pairs)
    client.engine.config.set(list(zip(words[::2], words[1::2], strict=True)))
    return "OK"


@command("config|resetstat", "admin noscript loading stale")
def config_resetstat(client: Client) -> Reply:
    """Resets the server's statistics."""
    engine = client.engine
    engine.commands = engine.errors = engine.connections = 0
    engine.dataset.expired = engine.dataset.evicted = engine.dataset.hits = engine.dataset.misses = 0
    return "OK"


# -- what is on disk ---------------------------------------------------------------------------------------------------


@command("save", "admin noscript outside")
def save(client: Client) -> Reply:
    """Synchronously saves the database(s) to disk."""
    store = client.engine.store
    if store.saving:
        raise CommandError("ERR Background save already in progress")
    store.save(client.engine.dataset.changes)
    wait_for_save(client)
    return "OK"


def wait_for_save(client: Client) -> None:
    """Let others have their turns until the snapshot is made."""
    store = client.engine.store
    while store.saving:
        client.engine.pause(_GLANCE)
        store.tick()
    if not store.save_worked:
        raise CommandError("ERR the snapshot could not be made: see the log")


@command("bgsave", "admin noscript outside")
def bgsave(client: Client, *schedule: bytes) -> Reply:
    """Asynchronously saves the database(s) to disk."""
    if [word.upper() for word in schedule] not in ([], [b"SCHEDULE"]):
        raise CommandError(SYNTAX)
    if client.engine.store.saving:
        raise CommandError("ERR Background save already in progress")
    client.engine.store.save(client.engine.dataset.changes)
    return "Background saving started"


@command("bgrewriteaof", "admin noscript")
def bgrewriteaof(client: Client) -> Reply:
    """Asynchronously rewrites the append-only file to disk."""
    if client.engine.store.saving:
        raise CommandError("ERR Background append only file rewriting already in progress")
    client.engine.store.save(client.engine.dataset.changes)
    return "Background append only file rewriting started"


@command("lastsave", "random loading stale fast")
def lastsave(client: Client) -> Reply:
    """Returns the Unix timestamp of the last successful save to disk."""
    return int(client.engine.store.saved)


@command("shutdown", "admin noscript loading stale outside")
def shutdown(client: Client, *options: bytes) -> Reply:
    """Synchronously saves the database(s) to disk and shuts down the server."""
    if not {option.upper() for option in options} <= {b"SAVE", b"NOSAVE", b"NOW", b"FORCE"}:
        raise CommandError(SYNTAX)
    client.closing = True
    client.engine.stop()
    return Several()


# -- looking inside ----------------------------------------------------------------------------------------------------


@command("slowlog", "")
def slowlog(client: Client) -> Reply:
    """A container for slow log commands."""
    raise CommandError("ERR wrong number of arguments for 'slowlog' command")


@command("slowlog|get", "admin random loading stale")
def slowlog_get(client: Client, *count: bytes) -> Reply:
    """Returns the slow log's entries."""
    if len(count) > 1:
        raise CommandError(wrong_subcommand("GET", "SLOWLOG"))
    number = integer(next(iter(count), b"10"), _TOO_FEW)
    if number < -1:
        raise CommandError(_TOO_FEW)
    entries = list(client.engine.slowlog)
    return [
        [each.number, each.time, each.microseconds, list(each.request), each.address.encode(), each.name]
        for each in (entries if number == -1 else entries[:number])
    ]


@command("slowlog|len", "admin random loading stale")
def slowlog_len(client: Client) -> Reply:
    """Returns the number of entries in the slow log."""
    return len(client.engine.slowlog)


@command("slowlog|reset", "admin loading stale")
def slowlog_reset(client: Client) -> Reply:
    """Clears all entries from the slow log."""
    client.engine.slowlog.clear()
    return "OK"


@command("function", "")
def function(client: Client) -> Reply:
    """A container for function commands."""
    raise CommandError("ERR wrong number of arguments for 'function' command")


@command("function|flush", "write noscript")
def function_flush(client: Client, *mode: bytes) -> Reply:
    """Deletes all libraries and functions."""
    if len(mode) > 1 or (mode and mode[0].upper() not in {b"SYNC", b"ASYNC"}):
        raise CommandError("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    return "OK"
