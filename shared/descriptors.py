"""How many files a server may have open: each client is one."""

from __future__ import annotations

import resource

__all__ = ["allow_descriptors"]


def allow_descriptors(wanted: int) -> None:
    """Raise the limit on open files (setrlimit(2)) to so many, as far as the system allows; never lower it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
