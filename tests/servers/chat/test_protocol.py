import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.chat.protocol import (
    ACCOUNT,
    LINE,
    TAGS,
    TIME,
    EndlessLineError,
    LineSplitter,
    Message,
    NotUTF8Error,
    ProtocolError,
    clip,
    fold,
    is_channel,
    is_nick,
    pack,
    parse,
)


def texts_without(octets: bytes) -> st.SearchStrategy[str]:
    """Generate text of any octets but these."""
    return st.binary(max_size=80).map(lambda data: data.translate(None, octets).decode("utf-8", "ignore"))


TEXT = texts_without(b"\0\r\n")
WORD = texts_without(b"\0\r\n ").map(lambda text: text.lstrip(":")).filter(bool)
COMMAND = st.text(string.ascii_uppercase, min_size=1, max_size=12) | st.from_regex(
    r"[0-9]{3}", fullmatch=True
)
PARAMS = st.lists(WORD, max_size=3).flatmap(
    lambda middle: st.one_of(st.just(tuple(middle)), TEXT.map(lambda last: (*middle, last)))
)
TAG = st.from_regex(r"[+]?[a-z0-9./-]{1,9}", fullmatch=True)
MESSAGES = st.builds(Message, COMMAND, PARAMS, st.just("") | WORD, st.dictionaries(TAG, TEXT, max_size=3))


@given(MESSAGES)
def test_a_message_survives_the_wire(message: Message) -> None:
    """What was written as a line is parsed as the same message."""
    line = message.encode(TIME | TAGS | ACCOUNT)
    assert line.endswith(b"\r\n")
    assert parse(line[:-2]) == message


@given(st.binary(max_size=600))
def test_anything_else_is_a_protocol_error(line: bytes) -> None:
    """Whatever octets come, parsing gives a message with a command or raises its one error."""
    try:
        message = parse(line)
    except ProtocolError:
        return
    assert message.command


@given(
    st.builds(
        Message,
        st.text(max_size=5),
        st.lists(st.text(max_size=600), max_size=4).map(tuple),
        st.text(max_size=5),
    )
)
def test_a_line_is_one_line(message: Message) -> None:
    """Whatever a message is made of, it is written as one line of up to 512 octets, or not at all."""
    try:
        line = message.encode()
    except ValueError:
        return
    assert len(line) <= LINE
    assert line.endswith(b"\r\n")
    assert not any(octet in line[:-2] for octet in b"\0\r\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"PING", Message("PING")),
        (b"ping :a", Message("PING", ("a",))),
        (b"PRIVMSG #a :b  c :d", Message("PRIVMSG", ("#a", "b  c :d"))),
        (b"  PRIVMSG   #a   b  ", Message("PRIVMSG", ("#a", "b"))),
        (b"PART #a :", Message("PART", ("#a", ""))),
        (b"JOIN a:b", Message("JOIN", ("a:b",))),
        (b":me NICK you", Message("NICK", ("you",), "me")),
        (b"USER a b c :\xc3\xa9", Message("USER", ("a", "b", "c", "é"))),
        (b"@a=b;+c;d= PING x", Message("PING", ("x",), "", {"a": "b", "+c": "", "d": ""})),
        (rb"@a=\:\s\\\r\n\x\;a=2  :me PING", Message("PING", (), "me", {"a": "2"})),
        (b"A\tB", Message("A\tB")),
        ("ß".encode(), Message("ß")),
    ],
)
def test_messages_as_they_come(line: bytes, message: Message) -> None:
    """Lines as clients write them are parsed as RFC 2812 means them."""
    assert parse(line) == message


@pytest.mark.parametrize("line", [b"", b"   ", b":source", b"  :text", b"A\0B", b"A\rB", b"A\nB"])
def test_lines_that_are_no_message(line: bytes) -> None:
    """A line without a command, or with an octet that no message may hold, is refused."""
    with pytest.raises(ProtocolError):
        parse(line)


@pytest.mark.parametrize(
    "message",
    [
        Message(""),
        Message("A", ("", "b")),
        Message("A", ("b c", "d")),
        Message("A", (":b", "c")),
        Message("A", ("b\nQUIT",)),
        Message("A", (), "b c"),
        Message("A\r"),
    ],
)
def test_messages_that_are_no_line(message: Message) -> None:
    """A message that the other side would take for another one, or for two, is not written."""
    with pytest.raises(ValueError, match=r"not a message|more than one line"):
        message.encode()


def test_long_lines_are_cut_between_characters() -> None:
    """A line that is too long ends with the last character of which all octets fit."""
    line = Message("PRIVMSG", ("#a", "xy " + "é" * 300), "me").encode()
    assert len(line) == LINE - 1
    assert parse(line[:-2]).params[1].endswith("éé")


@given(st.lists(st.sampled_from([b"A", b"bc", b"\r", b"\n", b"\r\n", b"x" * 9])).map(b"".join), st.data())
def test_lines_do_not_depend_on_reads(stream: bytes, data: st.DataObject) -> None:
    """A stream cut at any octets into any number of reads gives the same lines as in one."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    whole, pieces = LineSplitter(limit=10), LineSplitter(limit=10)
    lines = [
        line
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for line in pieces.feed(stream[start:end])
    ]
    assert lines == whole.feed(stream)


def test_every_line_end_ends_a_line() -> None:
    """CR LF, a bare LF and a bare CR each end a line, and empty lines are nothing."""
    assert LineSplitter().feed(b"a\r\nb\nc\rd\r\n\r\n\n") == [b"a", b"b", b"c", b"d"]


def test_long_lines_are_told_once_and_not_kept() -> None:
    """A line above the limit is told once, and the next one is whole; one that never ends is given up."""
    splitter = LineSplitter(limit=510)
    for _ in range(16):
        assert splitter.feed(b"x" * 1000) == []
    assert splitter.feed(b"\nPING a\r\n") == [None, b"PING a"]
    assert splitter.feed(b"x" * 510 + b"\r\n" + b"x" * 511 + b"\r\n") == [b"x" * 510, None]
    splitter.feed(b"x" * 16000)
    with pytest.raises(EndlessLineError):
        splitter.feed(b"x" * 1000)


def test_tags_have_a_limit_of_their_own() -> None:
    """A line may have 510 octets after up to 4096 of tags, and neither may be more."""
    tags, line = b"@" + b"t" * 4094 + b" ", b"x" * 510
    assert LineSplitter().feed(tags + line + b"\n") == [tags + line]
    assert LineSplitter().feed(b"@t" + tags[1:] + line + b"\n" + tags + line + b"x\n") == [None, None]


def test_only_wanted_tags_are_written() -> None:
    """A receiver gets the tags it has asked for, escaped, and a label or a batch in any case."""
    message = Message("A", (), "", {"time": "t", "account": "a", "msgid": "m", "+x": "; \\", "label": "l"})
    assert message.encode() == b"@label=l A\r\n"
    assert message.encode(TIME | ACCOUNT) == b"@time=t;account=a;label=l A\r\n"
    assert message.encode(TAGS) == rb"@msgid=m;+x=\:\s\\;label=l A" + b"\r\n"


def test_what_is_no_utf8_is_refused_with_what_can_be_read_of_it() -> None:
    """Octets that are no UTF-8 are an error, which has the rest of the message."""
    with pytest.raises(NotUTF8Error) as caught:
        parse(b"@label=1 PRIVMSG #a :\xff")
    assert (caught.value.message.command, caught.value.message.tags) == ("PRIVMSG", {"label": "1"})


def test_names_fold_in_ascii_only() -> None:
    """CASEMAPPING=ascii: A to Z are a to z, and nothing else is anything else."""
    assert fold("AZ[]\\^É") == "az[]\\^É"


@pytest.mark.parametrize("name", ["a", "Wiz", "a1-", "[x]", "_", "`^{|}\\"])
def test_nicks(name: str) -> None:
    """Letters and the special characters of RFC 2812 make a nick, with digits and "-" after the first."""
    assert is_nick(name)


@pytest.mark.parametrize("name", ["", "1a", "-a", "a b", "a!b", "a@b", "#a", "é", "a\n", "a,b", ":a", "a*"])
def test_names_that_are_no_nicks(name: str) -> None:
    """What another message could mistake for something else is no nick."""
    assert not is_nick(name)


@pytest.mark.parametrize(
    ("name", "good"), [("#a", True), ("#é", True), ("##", True), ("#", False), ("a", False)]
)
def test_channels(name: str, good: bool) -> None:
    """A channel's name is "#" and at least one more character."""
    assert is_channel(name) is good
    assert not any(is_channel(name + bad) for bad in " ,\a\r\n\0")


@given(TEXT, st.integers(0, 80))
def test_clipped_text_is_a_beginning_that_fits(text: str, octets: int) -> None:
    """Clipped text begins like the whole, has at most the octets asked for, and up to three fewer."""
    clipped = clip(text, octets).encode("utf-8", "surrogateescape")
    whole = text.encode("utf-8", "surrogateescape")
    assert whole.startswith(clipped)
    assert min(octets, len(whole)) - 3 <= len(clipped) <= octets


@given(st.lists(st.text("abé", min_size=1, max_size=10)), st.integers(20, 40))
def test_packed_words_are_all_there(words: list[str], octets: int) -> None:
    """Packed words come in their order, each once, in texts that fit."""
    texts = list(pack(words, octets))
    assert " ".join(texts).split() == words
    assert all(len(text.encode()) <= octets for text in texts)
