from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.secret import Login, Secret


def test_nothing_shows_it() -> None:
    """Neither str() nor repr() has the password, alone or in a login."""
    login = Login.parse("anna:hunter2")
    for text in (str(login), repr(login), str(login.password), repr(login.password), f"{login.password}"):
        assert "hunter2" not in text
    assert login.password.reveal() == "hunter2"


@given(st.text(min_size=1).filter(lambda text: not text.startswith("@")), st.text())
def test_it_matches_itself_alone(secret: str, other: str) -> None:
    """Whatever the text, octets that were no UTF-8 included, only the same matches."""
    assert Secret.parse(secret).matches(secret)
    assert Secret.parse(secret).matches(other) == (secret == other)


@pytest.mark.parametrize(
    ("content", "secret"), [("p w", "p w"), ("pw\n", "pw"), ("pw\r\n", "pw"), ("pw\n\r\n", None)]
)
def test_it_may_be_in_a_file(tmp_path: Path, content: str, secret: str | None) -> None:
    """@FILE is the file's one line."""
    path = tmp_path / "password"
    path.write_bytes(content.encode())
    if secret is None:
        with pytest.raises(ValueError, match="put the password alone into it"):
            Secret.parse(f"@{path}")
    else:
        assert Login.parse(f"anna:@{path}").password.matches(secret)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"a\0b", b"x" * 4097])
def test_a_file_that_was_not_meant(tmp_path: Path, content: bytes) -> None:
    """A file of anything but one line is refused, without its content in the message."""
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path} is not one line of up to 4096 octets: "):
        Secret.parse(f"@{path}")


def test_a_name_is_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a slash is looked for where systemd puts credentials, then in the working directory."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/password").write_text("from systemd\n")
    (tmp_path / "password").write_text("from here\n")
    (tmp_path / "other").write_text("from here\n")
    monkeypatch.chdir(tmp_path)
    assert Secret.parse("@password").matches("from here")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert Secret.parse("@password").matches("from systemd")
    assert Secret.parse("@other").matches("from here")
    assert Secret.parse("@./password").matches("from here")


@pytest.mark.parametrize("text", ["", "anna", ":secret", "anna:"])
def test_what_is_no_login(text: str) -> None:
    """A login has a name and a password."""
    with pytest.raises(ValueError, match=r"^give "):
        Login.parse(text)
