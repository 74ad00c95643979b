import os
import signal
from pathlib import Path

import pytest

from tests.toolchain.checkout import DISK_FULL, OFFLINE, Checkout

SHIM = "#!/bin/sh\necho 'python3.13: command not found' >&2\nexit 127\n"
INSTALLS = "pip --disable-pip-version-check install --require-hashes -r requirements"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout whose PATH has no Python yet."""
    return Checkout(tmp_path)


def test_first_run_makes_venv(checkout: Checkout) -> None:
    """The first run makes .venv, installs the servers' pins only, tells so on stderr, and serves."""
    checkout.python("python3.12", "3.12")
    ran = checkout.make("run-chat", "ARGS=--port 6667")
    assert (ran.status, ran.output) == (0, "chat --port 6667\n")
    assert ran.errors == ["making .venv with Python 3.12 ...", "installing requirements/servers.txt ..."]
    assert checkout.calls() == [
        "3.12 -m venv --without-pip .venv",
        "3.12 -m ensurepip --default-pip",
        f"3.12 -m {INSTALLS}/servers.txt",
        "3.12 -m servers.chat --port 6667",
    ]


def test_second_run_only_serves(checkout: Checkout) -> None:
    """A second run starts the server and nothing else, even when every file's time has changed."""
    checkout.python("python3.12", "3.12")
    checkout.make("run-chat")
    checkout.calls()
    for file in checkout.root.rglob("*"):
        os.utime(file, follow_symlinks=False)
    ran = checkout.make("run-chat")
    assert ran.errors == []
    assert checkout.calls() == ["3.12 -m servers.chat"]


def test_no_pins_need_no_pip(checkout: Checkout) -> None:
    """A requirements file that pins nothing is met without pip, hence without a network."""
    checkout.python("python3.12", "3.12", pip=OFFLINE)
    (checkout.root / "requirements/servers.txt").write_text("# nothing yet\n")
    assert checkout.make("run-chat").output == "chat \n"
    assert checkout.calls() == ["3.12 -m venv --without-pip .venv", "3.12 -m servers.chat"]


def test_newest_python(checkout: Checkout) -> None:
    """The newest Python is taken, whatever it is called, and a shim that does not run is passed over quietly."""
    checkout.python("python3.11", "3.11")
    checkout.python("python3.9", "3.9")
    checkout.python("python3", "3.12")
    checkout.python("python", "2.7")
    checkout.program("python3.13", SHIM)
    assert checkout.make("run-chat").errors[0] == "making .venv with Python 3.12 ..."


def test_python_that_can_make_venv(checkout: Checkout) -> None:
    """An older Python that can make a .venv is taken before a newer one that cannot."""
    checkout.python("python3.11", "3.11")
    checkout.python("python3.13", "3.13", status=1)
    assert checkout.make("run-chat").errors[0] == "making .venv with Python 3.11 ..."


def test_python_named(checkout: Checkout) -> None:
    """PYTHON= is taken rather than the newest."""
    checkout.python("python3.13", "3.13")
    python = checkout.python("my own python", "3.11")
    assert checkout.make("run-chat", f"PYTHON={python}").errors[0] == "making .venv with Python 3.11 ..."


def test_no_python(checkout: Checkout) -> None:
    """Without any Python, one line says which is needed and how to name one."""
    checkout.program("python3.13", SHIM)
    ran = checkout.make("run-chat")
    assert ran.status
    assert ran.complaint.startswith("Python 3.11 or newer is needed and PATH has none: ")


def test_old_python(checkout: Checkout) -> None:
    """With only older Pythons, one line names the newest of them."""
    checkout.python("python3", "3.10")
    checkout.python("python", "2.7")
    ran = checkout.make("run-chat")
    assert ran.status
    assert ran.complaint.startswith("Python 3.11 or newer is needed and PATH has 3.10: ")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("python3.10", "PYTHON=python3.10 is Python 3.10: 3.11 or newer is needed"),
        ("python3.99", "PYTHON=python3.99 does not run: give the name or the path of a Python 3.11 or newer"),
        ("true", "PYTHON=true does not run: give the name or the path of a Python 3.11 or newer"),
    ],
)
def test_wrong_python_named(checkout: Checkout, name: str, says: str) -> None:
    """A PYTHON= that will not do is an error, not a reason to take another."""
    checkout.python("python3.12", "3.12")
    checkout.python("python3.10", "3.10")
    ran = checkout.make("run-chat", f"PYTHON={name}")
    assert ran.status
    assert ran.complaint == says
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize("arguments", [(), ("PYTHON=python3.11",)], ids=["found", "named"])
def test_no_venv_module(checkout: Checkout, arguments: tuple[str, ...]) -> None:
    """A Python without venv, as Debian ships it, is met with the package that brings it."""
    checkout.python("python3.11", "3.11", status=1)
    ran = checkout.make("run-chat", *arguments)
    assert ran.status
    assert ran.complaint == "Python 3.11 has no venv module: run `apt-get install python3.11-venv`"


@pytest.mark.parametrize(
    ("pip", "says"),
    [
        (OFFLINE, "pip cannot reach its index: check the network and try again"),
        (DISK_FULL, "the disk is full: free some space and try again"),
        ("echo 'ERROR: something else'; exit 1", "ERROR: something else"),
    ],
    ids=["offline", "disk full", "other"],
)
def test_pip_fails(checkout: Checkout, pip: str, says: str) -> None:
    """When pip fails one line says why, and the next run tries again."""
    checkout.python("python3.12", "3.12", pip=pip)
    ran = checkout.make("run-chat")
    assert ran.status
    assert ran.complaint == f"cannot install requirements/servers.txt: {says}"
    assert checkout.make("run-chat").complaint == ran.complaint
    checkout.python("python3.12", "3.12")
    assert checkout.make("run-chat").output == "chat \n"


def test_pip_fails_on_download(checkout: Checkout) -> None:
    """A pip that has installed nothing yet when it fails leaves the servers' .venv in use."""
    checkout.python("python3.12", "3.12")
    checkout.make("run-chat")
    python = checkout.root / ".venv/bin/python"
    python.write_text(checkout.python("python3.12", "3.12", pip=OFFLINE).read_text())
    assert "cannot install requirements/dev.txt" in checkout.make("test").complaint
    assert checkout.make("run-chat").errors == []


def test_pip_fails_on_install(checkout: Checkout) -> None:
    """A pip that fails half-way through installing leaves a .venv that is remade."""
    checkout.python("python3.12", "3.12")
    checkout.make("run-chat")
    python = checkout.root / ".venv/bin/python"
    python.write_text(checkout.python("python3.12", "3.12", pip=DISK_FULL).read_text())
    assert "cannot install requirements/dev.txt" in checkout.make("test").complaint
    checkout.python("python3.12", "3.12")
    assert checkout.make("run-chat").errors[0] == "making .venv with Python 3.12 ..."


def test_ensurepip_fails(checkout: Checkout) -> None:
    """When pip itself cannot be installed one line says why, and the next run starts again."""
    checkout.python("python3.12", "3.12", ensurepip=DISK_FULL)
    ran = checkout.make("run-chat")
    assert ran.status
    assert ran.complaint == "cannot install pip: the disk is full: free some space and try again"
    assert checkout.make("run-chat").errors == ran.errors


def test_venv_fails(checkout: Checkout) -> None:
    """When .venv cannot be made one line says why."""
    checkout.program(
        "python3.12", "#!/bin/sh\n[ $1 = -c ] && echo 312 || { echo 'Error: no room'; exit 1; }\n"
    )
    ran = checkout.make("run-chat")
    assert ran.status
    assert ran.complaint == "cannot make .venv: Error: no room"


def test_levels(checkout: Checkout) -> None:
    """What the tests and the documentation need goes on top of what is there."""
    checkout.python("python3.12", "3.12")
    checkout.make("run-chat")
    checkout.calls()
    checkout.make("setup")
    assert checkout.calls() == [f"3.12 -m {INSTALLS}/dev.txt", f"3.12 -m {INSTALLS}/docs.txt"]
    checkout.make("test")
    assert checkout.calls() == ["3.12 -m pytest"]


def test_peers(checkout: Checkout) -> None:
    """What the framework is measured against is installed for that only."""
    checkout.python("python3.12", "3.12")
    checkout.make("test")
    checkout.calls()
    checkout.make("bench", "ARGS=--rounds 1")
    assert checkout.calls() == [f"3.12 -m {INSTALLS}/bench.txt", "3.12 -m benchmarks --rounds 1"]
    checkout.make("bench")
    assert checkout.calls() == ["3.12 -m benchmarks"]


@pytest.mark.parametrize("changed", ["servers", "dev", "docs"])
def test_changed_pins(checkout: Checkout, changed: str) -> None:
    """Changed pins remake .venv, so that what is no longer pinned goes."""
    checkout.python("python3.12", "3.12")
    checkout.make("setup")
    leftover = checkout.root / ".venv/leftover"
    leftover.touch()
    checkout.pin(changed, "2")
    assert checkout.make("setup").errors[0] == "making .venv with Python 3.12 ..."
    assert not leftover.exists()
    assert checkout.make("test").errors == []


def test_changed_pins_of_another_level(checkout: Checkout) -> None:
    """Changed pins of the tests are no reason for a server to wait."""
    checkout.python("python3.12", "3.12")
    checkout.make("test")
    checkout.pin("dev", "2")
    assert checkout.make("run-chat").errors == []


def test_activated(checkout: Checkout) -> None:
    """An activated .venv, first on PATH, is not remade with its own Python."""
    checkout.python("python3.12", "3.12")
    checkout.make("run-chat")
    checkout.pin("servers", "2")
    (checkout.root / ".venv/bin/python3.12").symlink_to("python")
    assert checkout.make("run-chat").output == "chat \n"


def test_python_gone(checkout: Checkout) -> None:
    """A .venv whose Python was uninstalled is remade."""
    checkout.python("python3.12", "3.12")
    checkout.make("run-chat")
    python = checkout.root / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3.12")
    assert checkout.make("run-chat").output == "chat \n"


@pytest.mark.parametrize("name", ["servers", "dev"])
def test_killed_run(checkout: Checkout, name: str) -> None:
    """A .venv that pip was still filling when the run was killed is remade."""
    checkout.python(
        "python3.12", "3.12", pip=f"case $* in *{name}.txt) echo >started; read line <held ;; esac"
    )
    started, _ = checkout.gate("started"), checkout.gate("held")
    with checkout.start("test") as process:
        started.read_text()
        os.killpg(process.pid, signal.SIGKILL)
    checkout.python("python3.12", "3.12")
    ran = checkout.make("run-chat")
    assert (ran.errors[0], ran.output) == ("making .venv with Python 3.12 ...", "chat \n")


def test_two_runs_at_once(checkout: Checkout) -> None:
    """Of two first runs at once one makes .venv, and the other says that it waits for it."""
    checkout.python("python3.12", "3.12", pip="echo >started; read line <held")
    started, held = checkout.gate("started"), checkout.gate("held")
    with checkout.start("run-chat") as one:
        started.read_text()
        with checkout.start("run-chat") as two:
            assert two.stderr is not None
            assert two.stderr.readline() == "waiting for another make to finish .venv ...\n"
            held.write_text("\n")
            assert two.communicate() == ("chat \n", "")
        assert one.communicate()[0] == "chat \n"
    assert [call for call in checkout.calls() if "servers.chat" not in call] == [
        "3.12 -m venv --without-pip .venv",
        "3.12 -m ensurepip --default-pip",
        f"3.12 -m {INSTALLS}/servers.txt",
    ]
