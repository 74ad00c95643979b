import math
from typing import Any

import pytest

from shared.settings import SettingsError
from tests.shared.programs import Route, Settings


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("port", 10, "--port 10: give from 0 to 9"),
        ("long_wait", 0.0, "--long-wait 0.0: give at least 0.1"),
        ("long_wait", math.nan, "--long-wait nan: give at least 0.1"),
        ("long_wait", math.inf, "--long-wait inf: give at least 0.1"),
        ("word", "a b", "--word a b: give small letters"),
        ("bind", ("tcp://a:1", "udp://a:1"), "--bind udp://a:1: give one of tcp, unix, fd and systemd"),
        (
            "bind",
            ("tcp://a:port",),
            "--bind tcp://a:port: port: 'port' is no number",
        ),
        (
            "metrics",
            "here",
            "--metrics here: port: there is none; write host:port, where port 0 is any that is free",
        ),
        ("drain_timeout", -1, "--drain-timeout -1: give from 0 to 3600"),
    ],
)
def test_fields_have_rules(name: str, value: Any, complaint: str) -> None:
    """Settings that break a rule cannot be made, and each member of a tuple has to keep it."""
    with pytest.raises(SettingsError) as caught:
        Settings(**{name: value})
    assert str(caught.value) == complaint


def test_a_table_has_rules_too() -> None:
    """A table that stands within the settings is checked when it is made."""
    with pytest.raises(SettingsError, match="--level 8: give from 0 to 7"):
        Route(facility="kern", level=8)


@pytest.mark.parametrize("url", ["tcp://[::]:1", "unix:///run/x.sock?mode=0660", "fd://3", "systemd:name"])
def test_an_endpoint_is_of_the_schemes_that_a_server_knows(url: str) -> None:
    """Sockets that were passed go always, since only they know what they are."""
    assert Settings(bind=(url,)).bind == (url,)
