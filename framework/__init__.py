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
``connections``       ``Connection``: a socket that knows what it is doing; the registry; ``Reader``
``events``            what a service tells about itself; ``Observer``; logging as one of them
``pool``              ``ThreadPoolMixIn``: requests in a bounded number of threads, idle connections in none
``workers``           the threads of a pool, and what they wait on
``greenlets``         ``GreenletMixIn``: a request in a greenlet, all on one hub (extra ``greenlets``)
``hub``               the epoll on which greenlets wait; ``watchdog``: who holds it
``green_connection``  a connection on which waiting parks the greenlet
``cooperative``       ``sleep``, ``Event``, ``Lock``, ``Queue``, threads: what else greenlets wait for
``prefork``           ``PreforkMixIn``: a service in several processes
``supervisor``        ``Supervisor``: keeps them running
``worker_process``    one of them, from both sides
``children``          what a forking service knows of its requests' processes
``batches``           ``DatagramBatchMixIn``: a handler for all datagrams that are there
``tls``               ``TLSMixIn``; ``tls_connection``: a connection over TLS, from the start or by STARTTLS
``proxy``             ``ProxyMixIn``; ``proxy_protocol``: versions 1 and 2, without I/O
``outbox``            ``Outbox``, ``Flusher``: what a connection has still to be sent, bounded
``addresses``         ``at``, ``Endpoint``: where to listen, as a URL
``listeners``         the socket of a service: bound, or taken over; IPv4 and IPv6 on one
``unix_service``      Unix sockets with mode, owner and stale paths seen to; ``PeerCredentials``: who is there
``handover``          sockets from systemd, from whoever started the program, and from its earlier life
``systemd``           what a service and its manager say to each other
``activation``        ``serve``: several services in one process, by the signals of operators
``_signals``          hearing signals on the main thread, and losing none
``testing``           the testing kit, to be imported by itself; ``pytest_plugin`` makes fixtures of it
====================  ===================================================================================
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
from framework.service import (
    ServiceMixIn,
    TCPService,
    ThreadingTCPService,
    ThreadingUnixStreamService,
    UnixStreamService,
)
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
    "ServiceMixIn",
    "StreamRequestHandler",
    "TCPServer",
    "TCPService",
    "ThreadPoolMixIn",
    "ThreadingMixIn",
    "ThreadingTCPServer",
    "ThreadingTCPService",
    "ThreadingUDPServer",
    "ThreadingUnixDatagramServer",
    "ThreadingUnixStreamServer",
    "ThreadingUnixStreamService",
    "UDPServer",
    "UnixDatagramServer",
    "UnixPeer",
    "UnixStreamServer",
    "UnixStreamService",
    "at",
    "serve",
]
