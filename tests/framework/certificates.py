"""Certificates of an authority that lives as long as the test run."""

from __future__ import annotations

import functools
import ssl

import trustme


@functools.cache
def authority() -> trustme.CA:
    """Return the authority that both sides trust."""
    return trustme.CA()


def server_context(name: str = "localhost", ca: trustme.CA | None = None) -> ssl.SSLContext:
    """Return a new context for a server of that name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    (ca or authority()).issue_cert(name).configure_cert(context)
    return context


def client_context(name: str | None = None) -> ssl.SSLContext:
    """Return a new context for a client, with a certificate for ``name`` if there is one."""
    context = ssl.create_default_context()
    # Some builds of Python have clients take a stream that is cut off for one that ended.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    authority().configure_trust(context)
    if name is not None:
        authority().issue_cert(name).configure_cert(context)
    return context
