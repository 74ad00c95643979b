"""Bytes into requests, and replies into bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.keyvalue.parser import Limits, Parser
from servers.keyvalue.protocol import (
    NIL_ARRAY,
    CommandError,
    Push,
    Reply,
    Request,
    Several,
    Text,
    encode,
    encode_request,
    to_int,
)

WORDS = st.binary(max_size=40) | st.sampled_from([b"\r\n", b"$3\r\nabc\r\n", b"*1\r\n", b"x" * 5000])
DEFAULT = Limits()
REQUESTS = st.lists(st.lists(WORDS, min_size=1, max_size=6), max_size=6)


def feed(
    data: bytes, *cuts: int, limits: Limits = DEFAULT, make: type[Parser] = Parser
) -> tuple[list[Request], str]:
    """Return what is in the data, handed over in pieces, and what is wrong with it."""
    parser, requests = make(lambda: limits), list[Request]()
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        requests += parser.feed(data[start:end])
    return requests, str(parser.error or "")


@given(REQUESTS, st.lists(st.integers(0, 400), max_size=8))
def test_requests_cut_anywhere(requests: list[list[bytes]], cuts: list[int]) -> None:
    """However a stream is cut, the same requests come out of it, whatever octets they have."""
    data = b"".join(map(encode_request, requests))
    places = sorted(cut for cut in cuts if cut <= len(data))
    assert feed(data, *places) == (requests, "")


def test_requests_octet_by_octet() -> None:
    """Inline commands, empty lines and requests without words may be mixed, and come octet by octet."""
    data = b'PING\r\n\r\n*0\r\n*-1\r\nset "a b" \'c\\\'d\' "\\x41\\n"\n*1\r\n$4\r\nQUIT\r\n'
    wanted = [[b"PING"], [b"set", b"a b", b"c'd", b"A\n"], [b"QUIT"]]
    assert feed(data) == (wanted, "")
    assert feed(data, *range(1, len(data))) == (wanted, "")


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_noise(data: bytes, cuts: list[int]) -> None:
    """Noise is cut into the same requests and the same error, however it is cut, and raises nothing."""
    places = sorted(cut for cut in cuts if cut <= len(data))
    assert feed(data, *places) == feed(data)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*+1\r\n$4\r\nPING\r\n", "invalid multibulk length"),
        (b"*01\r\n$4\r\nPING\r\n", "invalid multibulk length"),
        (b"*1_0\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$ 4\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999999999999999999\r\n", "invalid bulk length"),
        (b"x" * 65537, "too big inline request"),
        (b"*" + b"1" * 65537, "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 65537, "too big bulk count string"),
        (b'set "a\r\n', "unbalanced quotes in request"),
        (b"set 'a'b\r\n", "unbalanced quotes in request"),
    ],
)
def test_malformed_input(data: bytes, error: str) -> None:
    """What is no request gets the words that clients know, after the requests before it."""
    assert feed(b"*1\r\n$4\r\nPING\r\n" + data) == ([[b"PING"]], error)


def test_limits() -> None:
    """Whoever has not given the password may send little; a request that is too large in all is refused early."""
    for data, error in [
        (b"*11\r\n", "unauthenticated multibulk length"),
        (b"*2\r\n$16385\r\n", "unauthenticated bulk length"),
    ]:
        parser = Parser()
        parser.stranger = True
        parser.feed(data)
        assert str(parser.error) == error
    assert (
        feed(b"*3\r\n$60\r\n" + b"x" * 60 + b"\r\n$60\r\n", limits=Limits(query=100))[1]
        == "query buffer limit"
    )


# Of requests, and of what hiredis knows besides.
PIECES = st.sampled_from(
    b"*1 *2 *0 *-1 $1\r\na $-1 $4\r\nPING +a + :1 =5\r\ntxt:a ~1 %1 _ #t ,1 *99999 -e $3 PING".replace(
        b" ", b"\r\n|"
    ).split(b"|")
)


@given(
    st.lists(PIECES | st.lists(WORDS, min_size=1, max_size=4).map(encode_request), max_size=12),
    st.integers(0, 300),
)
def test_hiredis_sees_the_same(pieces: list[bytes], cut: int) -> None:
    """With hiredis the same requests and the same errors come out, of whatever goes in."""
    pytest.importorskip("hiredis")
    from servers.keyvalue.accelerator import FastParser

    data = encode_request([b"SET", b"k", b"v" * 200]) + b"".join(pieces)
    cut = min(cut, len(data))
    assert feed(data, cut, make=FastParser) == feed(data, cut)


def test_nothing_after_an_error() -> None:
    """After an error nothing is read any more."""
    parser = Parser()
    parser.feed(b"*x\r\n")
    assert parser.feed(b"PING\r\n") == []


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers(number: int) -> None:
    """A number is read back as it is written."""
    assert to_int(b"%d" % number) == number


@pytest.mark.parametrize(
    "text", [b"", b"+1", b" 1", b"1 ", b"01", b"1_0", b"-0", b"9223372036854775808", b"1" * 5000]
)
def test_no_integers(text: bytes) -> None:
    """A number has one spelling."""
    with pytest.raises(ValueError, match=r"not a 64-bit integer|invalid literal"):
        to_int(text)


@pytest.mark.parametrize(
    ("reply", "resp2", "resp3"),
    [
        (None, b"$-1\r\n", b"_\r\n"),
        (NIL_ARRAY, b"*-1\r\n", b"_\r\n"),
        ("OK", b"+OK\r\n", b"+OK\r\n"),
        (7, b":7\r\n", b":7\r\n"),
        (b"a\r\n", b"$3\r\na\r\n\r\n", b"$3\r\na\r\n\r\n"),
        (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"),
        (float("-inf"), b"$4\r\n-inf\r\n", b",-inf\r\n"),
        (3.2, b"$18\r\n3.2000000000000002\r\n", b",3.2000000000000002\r\n"),
        ([b"a", [1, None]], b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n", b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n_\r\n"),
        ({b"a": 1}, b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
        ({b"a"}, b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"),
        (Push([b"message"]), b"*1\r\n$7\r\nmessage\r\n", b">1\r\n$7\r\nmessage\r\n"),
        (Several(["A", 1]), b"+A\r\n:1\r\n", b"+A\r\n:1\r\n"),
        (Several(), b"", b""),
        (Text("a\n"), b"$2\r\na\n\r\n", b"=6\r\ntxt:a\n\r\n"),
        (CommandError("ERR x\r\n+OK"), b"-ERR x  +OK\r\n", b"-ERR x  +OK\r\n"),
    ],
)
def test_replies(reply: Reply, resp2: bytes, resp3: bytes) -> None:
    """Each reply has its form in either version, and no text of a client ends its line."""
    assert encode(reply) == resp2
    assert encode(reply, 3) == resp3
