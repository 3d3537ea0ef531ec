"""The wheel `processor-conformance` holds the kit, whole, and nothing else of the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from processor_conformance.catalogue import catalogue

KIT = Path(__file__).resolve().parents[3] / "code" / "conformance"
PACKAGE = KIT / "src" / "processor_conformance"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where a wheel lies unpacked that was just built, by the backend in this environment, without an index."""
    folder = tmp_path_factory.mktemp("wheel")
    program = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=KIT, check=True, capture_output=True)
    [wheel] = folder.glob("processor_conformance-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_the_wheel_holds_every_file_of_the_package_and_no_other(unpacked: Path) -> None:
    """Code, checks, py.typed and JSON Schemas."""
    wanted = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.suffix in {".py", ".json", ".typed"}}
    packaged = unpacked / "processor_conformance"

    assert {path.relative_to(packaged) for path in packaged.rglob("*") if path.is_file()} == wanted
    assert [path.name for path in unpacked.iterdir() if path.suffix != ".dist-info"] == ["processor_conformance"]


def test_the_wheel_lists_its_checks_where_the_repository_is_not(unpacked: Path, tmp_path: Path) -> None:
    """It is all that somebody who judges another's image installs."""
    program = (
        "import processor_conformance, runpy; print(processor_conformance.__file__, file=__import__('sys').stderr)"
    )
    command = [sys.executable, "-c", f"{program}; runpy.run_module('processor_conformance', run_name='__main__')"]
    done = subprocess.run(
        [*command, "--list", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr.strip() == str(unpacked / "processor_conformance" / "__init__.py")
    assert [row["id"] for row in json.loads(done.stdout)] == [check.id for check in catalogue()]
