"""The limit on open files is raised as far as it may be, and never lowered."""

from __future__ import annotations

import resource

import pytest

from shared.descriptors import allow_descriptors

ANY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1024, 4096), (2048, 4096)),
        ((1024, ANY), (2048, ANY)),
        ((1024, 1500), (1500, 1500)),
        ((4096, 8192), (4096, 8192)),
        ((ANY, ANY), (ANY, ANY)),
    ],
)
def test_allow_descriptors(
    monkeypatch: pytest.MonkeyPatch, before: tuple[int, int], after: tuple[int, int]
) -> None:
    """Whatever the limits are, the hard one stays, and the soft one is what was wanted or what is allowed."""
    limits = {resource.RLIMIT_NOFILE: before}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    allow_descriptors(2048)
    assert limits == {resource.RLIMIT_NOFILE: after}
