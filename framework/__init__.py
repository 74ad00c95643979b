"""A framework for network servers: blocking handlers, any transport, any concurrency model.

The server class deals with communication, the handler with the protocol. Every public name of the
stdlib's ``socketserver`` is here with its meaning unchanged, so that ``import framework as socketserver`` is
all a program needs.

==================  =====================================================================================
``server``          ``BaseServer``: the hooks, in the order in which a request passes them; read it first
``inet``            ``TCPServer``, ``UDPServer``
``unix``            ``UnixStreamServer``, ``UnixDatagramServer``
``handlers``        ``BaseRequestHandler``, ``StreamRequestHandler``, ``ExchangeHandler``, ``DatagramRequestHandler``
``threads``         ``ThreadingMixIn``: a request in a thread
``processes``       ``ForkingMixIn``: a request in a process
``pool``            ``ThreadPoolMixIn``: requests in a bounded number of threads, idle connections in none
``workers``         the threads of a pool, and what they wait on
``children``        ``Children``: what a forking service knows of its requests' processes
``worker_process``  ``Worker``: one process of a prefork server, from both sides
``supervisor``      ``Supervisor``: keeps workers running
``prefork``         ``PreforkMixIn``: a service in several processes
``outbox``          ``Outbox``, ``Flusher``: what a connection has still to be sent, bounded
``addresses``       ``at``, ``Endpoint``: where to listen, as a URL
``listeners``       the socket of a service: bound, or taken over; IPv4 and IPv6 on one
``unix_service``    Unix sockets with mode, owner and stale paths seen to; ``PeerCredentials``: who is there
``handover``        sockets from systemd, from whoever started the program, and from its earlier life
``systemd``         what a service and its manager say to each other
``activation``      ``serve``: several services in one process, by the signals of operators
``_signals``        hearing signals on the main thread, and losing none
``testing``         the testing kit, to be imported by itself; ``pytest_plugin`` makes fixtures of it
``_loop``           how a server waits, and is woken
``_types``          addresses, type variables, what may stand as a handler
==================  =====================================================================================
"""

# Programs reach these modules through this one: ``socketserver.socket.error`` is an old habit.
import os as os
import selectors as selectors
import socket as socket
import sys as sys
import threading as threading

from framework import handlers, server, threads

# Aliases, for annotations. Not in __all__, which has what the original's has: classes.
from framework._types import DatagramRequest as DatagramRequest
from framework._types import HandlerFactory
from framework._types import Inet6Address as Inet6Address
from framework._types import InetAddress as InetAddress
from framework._types import UnixAddress as UnixAddress
from framework.activation import serve
from framework.addresses import AddressError, Endpoint, at
from framework.handlers import (
    BaseRequestHandler,
    DatagramRequestHandler,
    ExchangeHandler,
    StreamRequestHandler,
)
from framework.inet import TCPServer, UDPServer
from framework.outbox import Flusher, Outbox
from framework.pool import PoolTCPService, PoolUnixStreamService, ThreadPoolMixIn
from framework.prefork import PreforkMixIn
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
from framework.unix_service import PeerCredentials, UnixPeer

# Programs import these too, and replace the selector.
_NoThreads = threads.NoThreads
_ServerSelector = server.ServerSelector
_SocketWriter = handlers.SocketWriter
_Threads = threads.Threads

__all__ = [
    "AddressError",
    "BaseRequestHandler",
    "BaseServer",
    "DatagramRequestHandler",
    "Endpoint",
    "ExchangeHandler",
    "Flusher",
    "ForkingMixIn",
    "ForkingTCPServer",
    "ForkingUDPServer",
    "ForkingUnixDatagramServer",
    "ForkingUnixStreamServer",
    "HandlerFactory",
    "Outbox",
    "PeerCredentials",
    "PoolTCPService",
    "PoolUnixStreamService",
    "PreforkMixIn",
    "StreamRequestHandler",
    "TCPServer",
    "ThreadPoolMixIn",
    "ThreadingMixIn",
    "ThreadingTCPServer",
    "ThreadingUDPServer",
    "ThreadingUnixDatagramServer",
    "ThreadingUnixStreamServer",
    "UDPServer",
    "UnixDatagramServer",
    "UnixPeer",
    "UnixStreamServer",
    "at",
    "serve",
]
