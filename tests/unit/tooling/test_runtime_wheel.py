"""The wheel `processor-runtime` holds the package, its types and schemas, and nothing else of the repository."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

RUNTIME = Path(__file__).resolve().parents[3] / "code" / "runtime"
PACKAGE = RUNTIME / "src" / "processor_runtime"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names in a wheel that was just built, by the backend in this environment, without an index."""
    folder = tmp_path_factory.mktemp("wheel")
    program = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=RUNTIME, check=True, capture_output=True)
    [wheel] = folder.glob("processor_runtime-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_every_file_of_the_package_and_no_other(names: set[str]) -> None:
    """Code, py.typed and JSON Schemas; no test, no processor, no settings."""
    wanted = {
        f"processor_runtime/{path.relative_to(PACKAGE)}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert names == wanted
    assert "processor_runtime/py.typed" in names
    assert {Path(name).suffix for name in names} <= {".py", ".typed", ".json"}


def test_the_runtime_depends_on_no_django_and_offers_no_command() -> None:
    """CONTRACT §9: no Django, no console script."""
    project = tomllib.loads((RUNTIME / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert "django" not in {Requirement(line).name.lower() for line in project["dependencies"]}
    assert not {"scripts", "gui-scripts", "entry-points"} & project.keys()
