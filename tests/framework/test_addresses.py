"""What the URL of a listening address means, and what is said of one that means nothing."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.addresses import (
    AddressError,
    DescriptorEndpoint,
    Endpoint,
    InetEndpoint,
    SystemdEndpoint,
    UnixEndpoint,
    at,
)

MEANT = {
    "tcp://[::]:6667": InetEndpoint("::", 6667),
    "tcp://[::]:6667?v6only=1": InetEndpoint("::", 6667, v6only=True),
    "tcp://127.0.0.1:0": InetEndpoint("127.0.0.1", 0),
    "udp://127.0.0.1:53": InetEndpoint("127.0.0.1", 53, datagrams=True),
    "tcp://irc.example.org:6667": InetEndpoint("irc.example.org", 6667),
    "tcp://[fe80::1%25eth0]:80": InetEndpoint("fe80::1%eth0", 80),
    "unix:///run/kv.sock?mode=0660&owner=kv&group=www-data": UnixEndpoint(
        "/run/kv.sock", mode=0o660, owner="kv", group="www-data"
    ),
    "unixgram:///run/log.sock": UnixEndpoint("/run/log.sock", datagrams=True),
    "unix:./run/log.sock": UnixEndpoint("./run/log.sock"),
    "unix:log.sock": UnixEndpoint("log.sock"),
    "unix:@kv/main": UnixEndpoint("\0kv/main"),
    "unix:./@kv": UnixEndpoint("./@kv"),
    "unix:%40kv": UnixEndpoint("@kv"),
    "unix:///run/a%20b%3F": UnixEndpoint("/run/a b?"),
    "fd://3": DescriptorEndpoint(3),
    "systemd:kv.socket": SystemdEndpoint("kv.socket"),
}

# The part that is named, and a word of the fix.
WRONG = {
    "": ("scheme", "write tcp://"),
    "/run/kv.sock": ("scheme", "unix:///"),
    "http://localhost:80": ("scheme", "tcp, udp"),
    "TCP://localhost:80": ("scheme", "tcp, udp"),
    "tcp:localhost:80": ("scheme", "two slashes"),
    "tcp://localhost": ("port", "port 0"),
    "tcp://[::1]": ("port", "port 0"),
    "tcp://localhost:": ("port", "no number"),
    "tcp://localhost:-1": ("port", "no number"),
    "tcp://localhost:٣": ("port", "no number"),
    "tcp://localhost:65536": ("port", "65535"),
    "tcp://localhost:99999999999999": ("port", "no number"),
    "tcp://:80": ("host", "[::]"),
    "tcp://*:80": ("host", "[::]"),
    "tcp://::1:80": ("host", "brackets"),
    "tcp://[127.0.0.1]:80": ("host", "brackets"),
    "tcp://[::g]:80": ("host", "127.0.0.1"),
    "tcp://127.0.1:80": ("host", "127.0.0.1"),
    "tcp://256.0.0.1:80": ("host", "127.0.0.1"),
    "tcp://-x:80": ("host", "hyphens"),
    "tcp://user@host:80": ("host", "hyphens"),
    "tcp://127.0.0.1:80?v6only=1": ("v6only", "leave"),
    "tcp://[::]:80?v6only=yes": ("v6only", "0 or 1"),
    "tcp://[::]:80?mode=0600": ("mode", "leave"),
    "tcp://[::]:80?v6only": ("options", "name=value"),
    "unix://run/kv.sock": ("path", "unix:///run/kv.sock"),
    "unix:": ("path", "unix:///"),
    "unix:@": ("path", "unix:///"),
    "unix:///a%00b": ("path", "NUL"),
    "unix:///a%2": ("path", "%25"),
    "unix:///" + "x" * 107: ("path", "shorten"),
    "unix:///a#b": ("fragment", "%23"),
    "unix:///a?mode=0888": ("mode", "octal"),
    "unix:///a?mode=1777": ("mode", "0777"),
    "unix:///a?mode=0600&mode=0660": ("mode", "twice"),
    "unix:///a?group=": ("group", "name"),
    "unix:@a?mode=0600": ("mode, owner or group", "peer_credentials"),
    "fd:3": ("scheme", "fd://3"),
    "fd://x": ("descriptor", "no number"),
    "systemd:": ("name", "FileDescriptorName"),
    "systemd:a:b": ("name", "colon"),
}

paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=26)
names = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
hosts = (
    st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(str)
    | st.from_regex(r"[A-Za-z][a-z0-9]{0,10}(\.[a-z]{1,5}){0,3}", fullmatch=True)
)
endpoints = st.one_of(
    st.builds(InetEndpoint, hosts, st.integers(0, 65535), st.booleans()),
    st.builds(
        InetEndpoint,
        st.ip_addresses(v=6).map(str),
        st.integers(0, 65535),
        st.booleans(),
        v6only=st.booleans(),
    ),
    st.builds(UnixEndpoint, paths, st.booleans(), st.none() | st.integers(0, 0o777), names, names),
    st.builds(UnixEndpoint, paths.map("\0{}".format), st.booleans()),
    st.builds(
        UnixEndpoint,
        st.binary(min_size=1, max_size=100).filter(lambda path: b"\0" not in path).map(os.fsdecode),
    ),
    st.builds(DescriptorEndpoint, st.integers(0, 2**20)),
    st.builds(
        SystemdEndpoint,
        st.text(
            string.ascii_letters + string.digits + string.punctuation.replace(":", "") + " ",
            min_size=1,
            max_size=255,
        ),
    ),
)


@pytest.mark.parametrize(("url", "meant"), MEANT.items())
def test_what_a_url_means(url: str, meant: Endpoint) -> None:
    """Each form is read as the table of the module says, and is what it is written as again."""
    assert Endpoint.parse(url) == meant
    assert str(meant) == url


@pytest.mark.parametrize(("url", "part", "fix"), [(url, *said) for url, said in WRONG.items()])
def test_what_a_mistake_is_answered_with(url: str, part: str, fix: str) -> None:
    """A URL that cannot be meant raises an error with the part that is wrong, the fix, and the URL."""
    with pytest.raises(AddressError) as caught:
        Endpoint.parse(url)
    assert caught.value.part == part
    assert fix in str(caught.value)
    assert repr(url) in str(caught.value)


@given(endpoints)
def test_an_endpoint_survives_being_written(endpoint: Endpoint) -> None:
    """Every endpoint is read from its own URL again, which is one line of ASCII."""
    url = str(endpoint)
    assert url.isascii()
    assert url.isprintable()
    assert Endpoint.parse(url) == endpoint
    assert str(Endpoint.parse(url)) == url


@given(
    st.text()
    | st.builds(
        "{}:{}".format, st.sampled_from(["tcp", "udp", "unix", "unixgram", "fd", "systemd"]), st.text()
    )
)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is written, it is an endpoint or an ``AddressError``; what is read survives being written."""
    with contextlib.suppress(AddressError):
        endpoint = Endpoint.parse(text)
        assert Endpoint.parse(str(endpoint)) == endpoint


@given(st.ip_addresses(v=6))
def test_one_address_has_one_form(address: ipaddress.IPv6Address) -> None:
    """However an IPv6 address is written, it is the same endpoint."""
    assert InetEndpoint(address.exploded.upper(), 1) == InetEndpoint(address.compressed, 1)


def test_options_do_not_make_another_endpoint() -> None:
    """The key of an endpoint is the same whatever its mode and owner are."""
    assert Endpoint.parse("unix:///a?mode=0660").key == Endpoint.parse("unix:///a").key == "unix:///a"


def test_at_takes_both_forms() -> None:
    """``at()`` reads a URL, and returns an endpoint as it is."""
    assert at("fd://3") == at(DescriptorEndpoint(3)) == DescriptorEndpoint(3)
