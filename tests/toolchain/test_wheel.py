import subprocess
import sys
import zipfile
from pathlib import Path

from tests.toolchain.checkout import ROOT


def test_wheel(tmp_path: Path) -> None:
    """The wheel holds the framework, marked as typed, and nothing else, and needs nothing at run time."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    (file,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(file) as wheel:
        names = wheel.namelist()
        (metadata,) = (wheel.read(name).decode() for name in names if name.endswith("/METADATA"))
    packed = {name for name in names if ".dist-info/" not in name}
    source = (path for path in (ROOT / "framework").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert packed == {str(path.relative_to(ROOT)) for path in source}
    assert "framework/py.typed" in packed
    needs = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert needs == ["Requires-Dist: greenlet>=3; extra == 'greenlets'"]
