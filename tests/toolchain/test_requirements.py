import re

import pytest

from tests.toolchain.checkout import ROOT

REQUIREMENTS = ROOT / "requirements"
NAMES = ("servers", "dev", "docs", "bench")


def pins(name: str) -> dict[str, str]:
    """The pins of requirements/NAME.txt, each by the line that states it, with the lines that follow it."""
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9].*)\n((?: .*\n)*)", text, re.MULTILINE))


@pytest.mark.parametrize("name", NAMES)
def test_hashes(name: str) -> None:
    """Each pin states one version and the hashes that its files may have."""
    for line, rest in pins(name).items():
        assert re.match(r"[a-z0-9-]+(\[[a-z,]+\])?==[\w.]+ ", line)
        assert "--hash=sha256:" in rest


@pytest.mark.parametrize("name", NAMES)
def test_no_places(name: str) -> None:
    """No file says from which host or folder its packages came."""
    for suffix in ("in", "txt"):
        text = (REQUIREMENTS / f"{name}.{suffix}").read_text()
        assert not re.search(r"://|(^|[\s=])~?/|--(extra-)?index|--find-links|--trusted", text, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_complete(name: str) -> None:
    """Whatever is asked for is pinned."""
    wanted = re.findall(r"^[A-Za-z][\w.-]*", (REQUIREMENTS / f"{name}.in").read_text(), re.MULTILINE)
    pinned = {re.split(r"[\[=]", line)[0] for line in pins(name)}
    assert {re.sub(r"[-_.]+", "-", package).lower() for package in wanted} <= pinned


def test_servers_within_dev() -> None:
    """The tests run on the versions that the servers run on."""
    assert pins("servers").keys() <= pins("dev").keys()


@pytest.mark.parametrize(("one", "other"), [("dev", "docs"), ("dev", "bench"), ("docs", "bench")])
def test_beside_each_other(one: str, other: str) -> None:
    """A package that both need is pinned to the same versions in both, as both go into one .venv."""
    ours, theirs = ({line.split()[0] for line in pins(name)} for name in (one, other))
    both = {pin.split("==")[0] for pin in ours} & {pin.split("==")[0] for pin in theirs}
    assert {pin for pin in ours if pin.split("==")[0] in both} == {
        pin for pin in theirs if pin.split("==")[0] in both
    }
