"""A framework for network servers: blocking handlers, any transport, any concurrency model.

The server class deals with communication, the handler with the protocol. Every public name of the
stdlib's ``socketserver`` is here with its meaning unchanged, so that ``import framework as socketserver`` is
all a program needs.

The letter, which is the original's:

==================  =====================================================================================
``server``          ``BaseServer``: the hooks, in the order in which a request passes them; read it first
``inet``            ``TCPServer``, ``UDPServer``
``unix``            ``UnixStreamServer``, ``UnixDatagramServer``
``handlers``        ``BaseRequestHandler``, ``StreamRequestHandler``, ``DatagramRequestHandler``, ``ExchangeHandler``
``threads``         ``ThreadingMixIn``: a request in a thread
``processes``       ``ForkingMixIn``: a request in a process
``_loop``           how a server waits, and is woken
``_types``          addresses, type variables, what may stand as a handler
==================  =====================================================================================

Services, which are opt-in on top of it:

====================  ===================================================================================
``service``           ``ServiceMixIn``: what makes a server a service; read it second
``lifecycle``         its states as a table; ``DrainResult``
``limits``            what a service lets its peers take: every limit, with its default and the reason for it
``binding``           how a service gets its socket: from a URL, systemd, an earlier life of the program
``connection``        ``Connection``: a socket that knows what it is doing; ``reader``: its input as a file
``connections``       the registry of who is open; ``info``: that, as a snapshot
``requests``          all that runs, and how it is brought to an end; ``lingering``: a close that loses no reply
``deadlines``         the sweep that enforces them; ``peers``: who counts as one, and how often each may come
``acceptor``          takes connections off a listener
``datagrams``         takes datagrams off a socket
``accept_errors``     what an error of accept(2) means, and what is done without descriptors
``events``            what a service tells about itself; ``observers``: to whom; ``logs``: logging as one of them
``pool``              ``ThreadPoolMixIn``: requests in a bounded number of threads, idle connections in none
``workers``           the threads of a pool, and what they wait on
``greenlets``         ``GreenletMixIn``: a request in a greenlet, all on one hub (extra ``greenlets``)
``exchanges``         how both serve an ``ExchangeHandler``, whose connections need nobody between two exchanges
``hub``               the epoll on which greenlets wait; ``watchdog``: who holds it
``green_connection``  a connection on which waiting parks the greenlet
``cooperative``       ``sleep``, ``Event``, ``Lock``, ``Queue``, threads: what else greenlets wait for
``prefork``           ``PreforkMixIn``: a service in several processes
``supervisor``        ``Supervisor``: keeps them running
``worker_process``    one of them, from both sides
``children``          what a forking service knows of its requests' processes
``child_process``     who looks after a connection in such a process
``batches``           ``DatagramBatchMixIn``: a handler for all datagrams that are there
``tls``               ``TLSMixIn``; ``tls_connection``: a connection over TLS, from the start or by STARTTLS
``tls_session``       what TLS knows of one, in memory
``proxy``             ``ProxyMixIn``; ``proxy_protocol``: versions 1 and 2, without I/O
``outbox``            ``Outbox``, ``Flusher``: what a connection has still to be sent, bounded
``addresses``         ``at``, ``Endpoint``: where to listen, as a URL
``listeners``         the socket of a service: bound, or taken over; IPv4 and IPv6 on one
``destinations``      datagrams on every address, each answered from the one that it was sent to
``unix_service``      Unix sockets with mode, owner and stale paths seen to; ``PeerCredentials``: who is there
``handover``          sockets from systemd, from whoever started the program, and from its earlier life
``systemd``           what a service and its manager say to each other
``activation``        ``serve``: several services in one process, by the signals of operators
``_signals``          hearing signals on the main thread, and losing none
``testing``           the testing kit, to be imported by itself; ``pytest_plugin`` makes fixtures of it
====================  ===================================================================================
"""

# Programs reach these modules through this one: ``socketserver.socket.error`` is an old habit.
import importlib
import os as os
import selectors as selectors
import socket as socket
import sys as sys
import threading as threading
from typing import TYPE_CHECKING

from framework import handlers, server, threads

# Aliases, for annotations. Not in __all__, which has what the original's has: classes.
from framework._types import DatagramRequest as DatagramRequest
from framework._types import HandlerFactory
from framework._types import Inet6Address as Inet6Address
from framework._types import InetAddress as InetAddress
from framework._types import UnixAddress as UnixAddress
from framework.handlers import (
    BaseRequestHandler,
    DatagramRequestHandler,
    ExchangeHandler,
    StreamRequestHandler,
)
from framework.inet import TCPServer, UDPServer
from framework.outbox import Flusher, Outbox
from framework.processes import (
    ForkingMixIn,
    ForkingTCPServer,
    ForkingUDPServer,
    ForkingUnixDatagramServer,
    ForkingUnixStreamServer,
)
from framework.server import BaseServer
from framework.threads import (
    ThreadingMixIn,
    ThreadingTCPServer,
    ThreadingUDPServer,
    ThreadingUnixDatagramServer,
    ThreadingUnixStreamServer,
)
from framework.unix import UnixDatagramServer, UnixStreamServer

# Programs import these too, and replace the selector.
_NoThreads = threads.NoThreads
_ServerSelector = server.ServerSelector
_SocketWriter = handlers.SocketWriter
_Threads = threads.Threads

__all__ = [
    "BaseRequestHandler",
    "BaseServer",
    "DatagramRequestHandler",
    "ExchangeHandler",
    "Flusher",
    "ForkingMixIn",
    "ForkingTCPServer",
    "ForkingUDPServer",
    "ForkingUnixDatagramServer",
    "ForkingUnixStreamServer",
    "HandlerFactory",
    "Outbox",
    "StreamRequestHandler",
    "TCPServer",
    "ThreadingMixIn",
    "ThreadingTCPServer",
    "ThreadingUDPServer",
    "ThreadingUnixDatagramServer",
    "ThreadingUnixStreamServer",
    "UDPServer",
    "UnixDatagramServer",
    "UnixStreamServer",
]

# The services are imported when they are first asked for (PEP 562): a program that wants the letter alone starts as
# fast with it as with the original, and ``import *`` brings it no more than that.
if TYPE_CHECKING:
    from framework.activation import serve as serve
    from framework.addresses import AddressError as AddressError
    from framework.addresses import Endpoint as Endpoint
    from framework.addresses import at as at
    from framework.batches import DatagramBatchHandler as DatagramBatchHandler
    from framework.batches import DatagramBatchMixIn as DatagramBatchMixIn
    from framework.batches import UDPBatchService as UDPBatchService
    from framework.batches import UnixDatagramBatchService as UnixDatagramBatchService
    from framework.connection import Connection as Connection
    from framework.connection import HandshakeError as HandshakeError
    from framework.connection import Phase as Phase
    from framework.events import CloseReason as CloseReason
    from framework.greenlets import GreenletMixIn as GreenletMixIn
    from framework.greenlets import GreenletTCPService as GreenletTCPService
    from framework.greenlets import GreenletUnixStreamService as GreenletUnixStreamService
    from framework.info import ConnectionInfo as ConnectionInfo
    from framework.info import ServiceInfo as ServiceInfo
    from framework.lifecycle import DrainResult as DrainResult
    from framework.lifecycle import ServerState as ServerState
    from framework.lifecycle import ServerStateError as ServerStateError
    from framework.logs import ConnectionLoggingObserver as ConnectionLoggingObserver
    from framework.logs import LoggingObserver as LoggingObserver
    from framework.observers import Observer as Observer
    from framework.pool import PoolTCPService as PoolTCPService
    from framework.pool import PoolUnixStreamService as PoolUnixStreamService
    from framework.pool import ThreadPoolMixIn as ThreadPoolMixIn
    from framework.prefork import PreforkMixIn as PreforkMixIn
    from framework.proxy import ProxyMixIn as ProxyMixIn
    from framework.reader import LineTooLongError as LineTooLongError
    from framework.service import ServiceMixIn as ServiceMixIn
    from framework.service import TCPService as TCPService
    from framework.service import ThreadingTCPService as ThreadingTCPService
    from framework.service import ThreadingUnixStreamService as ThreadingUnixStreamService
    from framework.service import UnixStreamService as UnixStreamService
    from framework.tls import TLSMixIn as TLSMixIn
    from framework.unix_service import PeerCredentials as PeerCredentials
    from framework.unix_service import UnixPeer as UnixPeer

_SERVICES = {
    "serve": "activation",
    "AddressError": "addresses",
    "Endpoint": "addresses",
    "at": "addresses",
    "DatagramBatchHandler": "batches",
    "DatagramBatchMixIn": "batches",
    "UDPBatchService": "batches",
    "UnixDatagramBatchService": "batches",
    "Connection": "connection",
    "HandshakeError": "connection",
    "Phase": "connection",
    "CloseReason": "events",
    "GreenletMixIn": "greenlets",
    "GreenletTCPService": "greenlets",
    "GreenletUnixStreamService": "greenlets",
    "ConnectionInfo": "info",
    "ServiceInfo": "info",
    "DrainResult": "lifecycle",
    "ServerState": "lifecycle",
    "ServerStateError": "lifecycle",
    "ConnectionLoggingObserver": "logs",
    "LoggingObserver": "logs",
    "Observer": "observers",
    "PoolTCPService": "pool",
    "PoolUnixStreamService": "pool",
    "ThreadPoolMixIn": "pool",
    "PreforkMixIn": "prefork",
    "ProxyMixIn": "proxy",
    "LineTooLongError": "reader",
    "ServiceMixIn": "service",
    "TCPService": "service",
    "ThreadingTCPService": "service",
    "ThreadingUnixStreamService": "service",
    "UnixStreamService": "service",
    "TLSMixIn": "tls",
    "PeerCredentials": "unix_service",
    "UnixPeer": "unix_service",
}


def __getattr__(name: str) -> object:
    """Return a name of the services."""
    if name not in _SERVICES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"framework.{_SERVICES[name]}"), name)
    globals()[name] = found
    return found
