import logging
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.settings import ServerSettings, SettingsError, setting
from shared.sources import load, reread
from tests.shared.conftest import Write
from tests.shared.programs import Filter, Route, Settings

ROOT = Path(__file__).parents[2]


def complaint(*arguments: str) -> str:
    """What is wrong with the arguments."""
    with pytest.raises(SettingsError) as caught:
        load("test", Settings, arguments)
    return str(caught.value)


def test_without_anything_there_are_the_defaults() -> None:
    """A program that is told nothing has each setting's default."""
    assert load("test", Settings, []) == Settings()


def test_flags() -> None:
    """A flag sets the field of its name to a value of its type; that of a tuple may come again."""
    given = ["--port", "2", "--long-wait=3", "--word", "abc", "--eager", "--colour", "green"]
    several = ["--bind", "tcp://a:1", "--bind", "unix:/b", "--zone", "a=b", "--zone", 'c={"d": 1}']
    assert load("test", Settings, [*given, *several]) == Settings(
        port=2,
        long_wait=3.0,
        word="abc",
        eager=True,
        colour="green",
        bind=("tcp://a:1", "unix:/b"),
        zone=("a=b", 'c={"d": 1}'),
    )


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable sets the field of its name; a tuple's has words, quoted as in a shell, and tables are JSON."""
    variables = {
        "PORT": "2",
        "EAGER": "true",
        "LONG_WAIT": "3",
        "BIND": "tcp://a:1 unix:/b",
        "ZONE": "a=b 'c d=e'",
        "ROUTES": '[{"facility": "kern"}, {"facility": "mail", "level": 3}]',
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"TEST_{name}", value)
    assert load("test", Settings, []) == Settings(
        port=2,
        eager=True,
        long_wait=3.0,
        bind=("tcp://a:1", "unix:/b"),
        zone=("a=b", "c d=e"),
        routes=(Route(facility="kern"), Route(facility="mail", level=3)),
    )


FILE = """
bind = ["tcp://a:1", "unix:/b"]
port = 2
long-wait = 3
eager = true
zone = {"example.org" = "a.zone", "example.net" = "b.zone"}
oper = ["anna:secret"]

[[routes]]
facility = "kern"

[[routes]]
facility = "mail"
level = 3
[[routes.filters]]
word = "spam"
"""


def test_a_file(write: Write) -> None:
    """A file sets the fields by its keys; pairs may be a table, and tables hold tables."""
    read = load("test", Settings, ["--config", (path := write(FILE))])
    expected = Settings(
        config=path,
        port=2,
        long_wait=3.0,
        eager=True,
        bind=("tcp://a:1", "unix:/b"),
        zone=("example.org=a.zone", "example.net=b.zone"),
        oper=read.oper,
        routes=(Route(facility="kern"), Route(facility="mail", level=3, filters=(Filter(word="spam"),))),
    )
    assert read == expected
    assert [(login.name, login.password.reveal()) for login in read.oper] == [("anna", "secret")]


def test_precedence(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags go over variables, these over the file, that over the defaults; a list replaces a list."""
    path = write('port = 2\nword = "file"\ncolour = "green"\nbind = ["tcp://a:1", "tcp://a:2"]')
    monkeypatch.setenv("TEST_CONFIG", path)
    monkeypatch.setenv("TEST_PORT", "3")
    monkeypatch.setenv("TEST_WORD", "env")
    read = load("test", Settings, ["--port", "4", "--bind", "tcp://b:1"])
    assert (read.port, read.word, read.colour, read.bind) == (4, "env", "green", ("tcp://b:1",))


def test_a_flag_may_say_no(write: Write) -> None:
    """What the file turns on, a flag can turn off."""
    path = write("eager = true")
    assert not load("test", Settings, ["--config", path, "--eager=false"]).eager


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--port", "10"], "--port 10: give from 0 to 9"),
        (["--port", "1.5"], "--port 1.5: give a whole number"),
        (["--port", "-1"], "--port -1: give from 0 to 9"),
        (["--port="], "--port '': give a whole number"),
        (["--port"], "--port: give it a value"),
        (["--port", "1", "--port", "2"], "--port: give it once"),
        (["--long-wait", "x"], "--long-wait x: give a number"),
        (["--long-wait", "nan"], "--long-wait nan: give at least 0.1"),
        (["--eager=maybe"], "--eager maybe: give true or false"),
        (["--colour", "blue"], "--colour blue: give one of red, green"),
        (["--bind", "tcp://a:1", "--bind", "http://a:1"], "--bind http://a:1: scheme: 'http' is not known; write tcp, udp, unix, unixgram, fd or systemd"),
        (["--por", "1"], "--por: there is no such setting; did you mean --port? --help lists them"),
        (["--qqqq=1"], "--qqqq: there is no such setting; --help lists them"),
        (["-x"], "-x: there is no such setting; --help lists them"),
        (["word"], "word: is no setting: give settings as --name value; --help lists them"),
        (["--routes", "kern"], "--routes kern: give an object of JSON"),
        (["--routes", '{"facility": "KERN"}'], "--routes[0].facility KERN: give small letters"),
        (["--config", "/nowhere"], "--config /nowhere: cannot be read (No such file or directory): name a file of TOML"),
    ],
)  # fmt: skip
def test_wrong_flags(given: list[str], expected: str) -> None:
    """An error at a flag names it, its value and what to give instead."""
    assert complaint(*given) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PORT", "10", "TEST_PORT=10 (environment): give from 0 to 9"),
        ("PORT", "x", "TEST_PORT=x (environment): give a whole number"),
        ("PORT", "", "TEST_PORT='' (environment): give a whole number"),
        ("COLOUR", "blue", "TEST_COLOUR=blue (environment): give one of red, green"),
        ("BIND", "tcp://a:1 udp://a:1", "TEST_BIND=udp://a:1 (environment): give one of tcp, unix, fd and systemd"),
        ("ZONE", "a=b 'c", "TEST_ZONE=a=b 'c (environment): No closing quotation; quote as in a shell"),
        ("ROUTES", '[{"facility": "kern"}, 3]', "TEST_ROUTES=3 (environment): give an object of JSON"),
        ("ROUTES", "kern", "TEST_ROUTES=kern (environment): give an object of JSON"),
    ],
)  # fmt: skip
def test_wrong_variables(monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str) -> None:
    """An error in a variable names it, and says that it is one."""
    monkeypatch.setenv(f"TEST_{name}", value)
    assert complaint() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port = 10", "port = 10 (FILE): give from 0 to 9"),
        ('port = "x"', "port = x (FILE): give a whole number"),
        ("port = [1, 2]", "port = [1, 2] (FILE): give a whole number"),
        ("prot = 1", "prot (FILE): there is no such setting; did you mean port? --help lists them"),
        ("[port]\na = 1", 'port = {"a": 1} (FILE): give a whole number'),
        ("port = 1.0", "port = 1.0 (FILE): give a whole number"),
        ("port = true", "port = True (FILE): give a whole number"),
        ("word = 2026-01-01", 'word = "2026-01-01" (FILE): give text'),
        ('bind = [["tcp://a:1"]]', 'bind = [["tcp://a:1"]] (FILE): give a list, each text'),
        ("[zone.a]\nb = 1", 'zone = {"a": {"b": 1}} (FILE): give a list, each text'),
        ("qqqq = 1", "qqqq (FILE): there is no such setting; --help lists them"),
        ('bind = ["tcp://a:1", "udp://a:1"]', "bind = udp://a:1 (FILE): give one of tcp, unix, fd and systemd"),
        ("[zone]\na = ''", "zone = a= (FILE): give NAME=FILE"),
        ('config = "other.toml"', "config = other.toml (FILE): leave it out, and use --config"),
        ("check-config = true", "check-config = true (FILE): leave it out, and use --check-config"),
        ("routes = 3", "routes = 3 (FILE): give tables, each under [[routes]]"),
        ('[[routes]]\nfacilty = "a"', "routes[0].facilty (FILE): there is no such setting; did you mean facility? there are facility, level, filters"),
        ('[[routes]]\nfacility = "a"\n[[routes]]\nlevel = 2', "routes[1].facility (FILE): it has to be set"),
        ('[[routes]]\nfacility = "a"\n[[routes]]\nfacility = "B"', "routes[1].facility = B (FILE): give small letters"),
        ('[[routes]]\nfacility = "a"\nlevel = "x"', "routes[0].level = x (FILE): give a whole number"),
        ('[[routes]]\nfacility = "a"\n[[routes.filters]]\nword = "?"', "routes[0].filters[0].word = ? (FILE): give small letters"),
        ("port = ", "--config FILE: is no TOML: Invalid value (at end of document)"),
        ("port = 1\nport = 2\n", "--config FILE: is no TOML: Cannot overwrite a value (at line 2, column 9)"),
    ],
)  # fmt: skip
def test_wrong_files(write: Write, text: str, expected: str) -> None:
    """An error in a file names the key, down into its tables, its value and the file."""
    path = write(text)
    assert complaint("--config", path) == expected.replace("FILE", path).replace(f"NAME={path}", "NAME=FILE")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """A file that is no UTF-8 is told like one that is no TOML."""
    path = tmp_path / "test.toml"
    path.write_bytes(b'word = "\xff"')
    assert complaint("--config", str(path)).startswith(f"--config {path}: is no TOML: ")


@pytest.mark.parametrize(
    ("arguments", "variable", "text"),
    [
        (["--password", "hunter2", "hunter2"], "", ""),
        (["--oper", "hunter2"], "", ""),
        (["--oper=:hunter2"], "", ""),
        (["--pasword=hunter2"], "", ""),
        (["--pasword", "hunter2"], "", ""),
        (["--password", "hunter2", "--password", "hunter2"], "", ""),
        ([], "hunter2 'hunter2", ""),
        ([], "hunter2", ""),
        ([], "", 'oper = ["hunter2"]'),
        ([], "", 'pasword = "hunter2"'),
        ([], "", 'password = ["hunter2"]'),
        ([], "", "[password]\nhunter2 = 'hunter2'"),
        ([], "", '[[oper]]\nanna = "hunter2"'),
        ([], "", "password = hunter2"),
        ([], "", 'password = "hunter2'),
    ],
)
def test_no_error_shows_a_secret(
    monkeypatch: pytest.MonkeyPatch, write: Write, arguments: list[str], variable: str, text: str
) -> None:
    """However a password is mistyped, the complaint does not have it, nor does the chain of exceptions."""
    if variable:
        monkeypatch.setenv("TEST_OPER", variable)
    with pytest.raises(SettingsError) as caught:
        load("test", Settings, [*arguments, *(["--config", write(text)] if text else [])])
    assert "hunter2" not in str(caught.value)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the program prints, without the lines' breaks and frames."""
    with pytest.raises(SystemExit) as caught:
        load("test", Settings, arguments)
    assert caught.value.code == 0
    return " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """--help tells what each setting is about, its variable and its default, under headings."""
    text = shown(capsys, "--help")
    assert text.startswith("Usage: test [OPTIONS] A server for tests. Listening --bind URL where to listen")
    assert "seconds, 100% of them [env var: TEST_LONG_WAIT] [default: 0.5]" in text
    assert "letters [env var: TEST_WORD] [default: none]" in text
    assert "--oper NAME:PASSWORD an operator [env var: TEST_OPER] [default: none]" in text
    headings = [
        text.index(f" {name} --") for name in ("Listening", "Service", "Access", "Operation", "Program")
    ]
    assert headings == sorted(headings)
    assert "Nothing else" not in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version tells the program, its version and Python's."""
    assert re.fullmatch(r"test \d+\.\d+\.\d+ \(Python 3\.\d+\.\d+\)", shown(capsys, "--version"))


# -- reading again ------------------------------------------------------------------------------------------------------


def test_reread_takes_up_what_it_is_asked_for(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """Settings read again have what the server can change while it runs, and name the rest that has changed."""
    path = write("port = 1\nword = 'a'\neager = false")
    old = load("test", Settings, ["--config", path, "--colour", "green"])
    write("port = 2\nword = 'b'\neager = true")
    new = reread(old, "word")
    assert (new.word, new.port, new.eager, new.colour) == ("b", 1, False, "green")
    assert caplog.messages == ["these settings change when the server is started anew: eager, port"]
    write("port = 1\nword = 'c'\neager = false")
    assert reread(new, "word").word == "c"


@pytest.mark.parametrize("text", ["port = 10", "prot = 1", "port ="])
def test_reread_refuses_what_is_wrong(write: Write, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Settings that have become wrong are refused by one line in the log, and those that were stay."""
    path = write("port = 1")
    old = load("test", Settings, ["--config", path])
    write(text)
    assert reread(old, "port") is old
    ((_, level, message),) = caplog.record_tuples
    assert level == logging.ERROR
    assert message.startswith("the settings stay as they were: ")
    assert path in message


@dataclass(frozen=True, kw_only=True)
class Pair(ServerSettings):
    """Settings of which one must fit the other."""

    known: str = setting("a", "a name")
    chosen: str = setting("a", "that name")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chosen != self.known:
            raise SettingsError("chosen", self.chosen, f"choose {self.known}")


def test_reread_refuses_what_does_not_fit(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """A setting that only fits one that stays as it was is refused by a line in the log."""
    old = load("test", Pair, ["--config", write("known = 'a'\nchosen = 'a'")])
    write("known = 'b'\nchosen = 'b'")
    assert reread(old, "chosen") is old
    assert caplog.messages == [
        "these settings change when the server is started anew: known",
        "the settings stay as they were: --chosen b: choose a",
    ]


def test_reread_of_settings_that_were_made() -> None:
    """Settings that no program was started with are what they are."""
    made = Settings(port=2)
    assert reread(made, "port") is made


def imported(*modules: str) -> Sequence[str]:
    """Which modules are loaded after these were imported in a new process."""
    program = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()


def test_what_is_not_used_is_not_imported() -> None:
    """A server that serves no metrics does not pay for the library."""
    assert "prometheus_client" not in imported("shared.run", "servers.chat.server")


NAMES = sorted(
    {"port", "long_wait", "word", "colour", "eager", "zone", "bind", "routes", "oper", "password", "metrics"}
)
VALUES = st.recursive(
    st.text() | st.integers() | st.floats() | st.booleans() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def ends_well(source: Callable[[], Settings]) -> None:
    """Load settings, or be told why not in one line when it is printed."""
    try:
        made = source()
    except SettingsError as error:
        line = str(error)
        assert ": " in line
    else:
        assert isinstance(made, Settings)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    value=st.text().filter(lambda text: "\0" not in text and text not in {"-h", "--help", "--version"}),
)
def test_any_flag_is_taken_or_refused(name: str, value: str) -> None:
    """Whatever is written after a flag, it is a setting or a SettingsError, never another failure."""
    ends_well(lambda: load("test", Settings, [f"--{name.replace('_', '-')}={value}"]))
    ends_well(lambda: load("test", Settings, [f"--{name.replace('_', '-')}", value]))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([*NAMES, "other"]), value=VALUES)
def test_any_file_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    """Whatever a file says, it is settings or a SettingsError, never another failure."""
    monkeypatch.setattr("tomllib.load", lambda _file: {name: value})
    ends_well(lambda: load("test", Settings, ["--config", __file__]))
