from dataclasses import dataclass

import pytest

from shared.settings import ServerSettings, SettingsError, at_least, between, matching, setting


@dataclass(frozen=True)
class Settings(ServerSettings):
    """Settings of every kind."""

    host: str = setting("127.0.0.1", "where")
    port: int = setting(1, "which", between(0, 9))
    long_wait: float = setting(0.5, "seconds, 100% of them", at_least(0.1))
    word: str = setting("", "letters", matching("[a-z]*", "small letters"))


def test_each_field_is_a_flag() -> None:
    """A flag sets the field of its name to a value of its type, and without flags there are the defaults."""
    given = ["--port", "2", "--long-wait", "3", "--word=abc"]
    assert Settings.from_arguments("test", given) == Settings(port=2, long_wait=3.0, word="abc")
    assert Settings.from_arguments("test", []) == Settings()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["--port", "10"], "--port 10: give from 0 to 9"),
        (["--port", "1.5"], "--port 1.5: give a whole number"),
        (["--long-wait", "x"], "--long-wait x: give a number"),
        (["--long-wait", "nan"], "--long-wait nan: give at least 0.1"),
        (["--long-wait", "inf"], "--long-wait inf: give at least 0.1"),
        (["--word", "a b"], "--word a b: give small letters"),
    ],
)
def test_a_wrong_value_is_told_in_one_line(given: list[str], complaint: str) -> None:
    """The error names the setting, its value and what to give instead."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_arguments("test", given)
    assert str(caught.value) == complaint


def test_wrong_flags_end_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that there is not, or is cut short, ends the program with status 2 and one line."""
    with pytest.raises(SystemExit) as caught:
        Settings.from_arguments("test", ["--por", "1"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "test: unrecognized arguments: --por 1; --help lists the settings\n"


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """--help tells what each setting is about and what it is by default."""
    with pytest.raises(SystemExit) as caught:
        Settings.from_arguments("test", ["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--long-wait ... seconds, 100% of them (default: 0.5)" in text
    assert "letters (default: none)" in text
