"""A processor is a pure service: no Django, nothing of the orchestrator, no way in but HTTP."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

from tests.contract.judge import success
from tests.contract.requests import Request
from tests.support.service import Service

FORBIDDEN = {"django", "backend", "apps", "manage"}
EXPECTED = {"app.http", "app.handler", "fastapi", "processor_runtime"}

# what Python runs by itself at its start: writes down each module that is looked for from then on
WITNESS = """\
import os, sys
seen = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
class Witness:
    @staticmethod
    def find_spec(name, path=None, target=None):
        os.write(seen, (name + "\\n").encode())
sys.meta_path.insert(0, Witness)
"""


def top(modules: set[str]) -> set[str]:
    """Return the packages that *modules* belong to."""
    return {module.partition(".")[0] for module in modules}


def test_this_environment_could_import_django() -> None:
    """Else the tests below could not fail."""
    program = "import django, sys; sys.path.insert(0, 'code'); import backend, apps"

    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=True)


def test_importing_the_app_imports_no_django(service: Service, tmp_path: Path) -> None:
    """Whatever the working directory (§9)."""
    found = tmp_path / "modules.json"
    program = "import json, sys, app.http; open(sys.argv[1], 'w').write(json.dumps(sorted(sys.modules)))"
    subprocess.run(
        [sys.executable, "-c", program, str(found)],
        cwd="/",
        env={**service.environ, "PYTHONPATH": str(service.folder)},
        check=True,
    )

    modules = set(json.loads(found.read_text("utf-8")))
    assert modules >= EXPECTED
    assert top(modules) & FORBIDDEN == set()


def test_a_live_process_never_imports_django(folder: Path, tmp_path: Path) -> None:
    """Not at its start, not in a run, not in a failure, not at its end."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WITNESS, encoding="utf-8")
    witness = {"PYTHONPATH": str(tmp_path / "site"), "WITNESS": str(tmp_path / "imported")}
    with Service(folder, tmp_path / "room", {"PROCESSOR_MODE": "mock", **witness}) as service:
        request = Request.good(service)
        success(service, request.send(), request.payload)
        Request.good(service, inputs=5).refused("ERR_INPUTS", "inputs do not match the schema")

    modules = set((tmp_path / "imported").read_text("utf-8").split())
    assert modules >= EXPECTED
    assert top(modules) & FORBIDDEN == set()


def test_there_is_no_other_way_in(folder: Path) -> None:
    """No script, no arguments, no standard input (§9)."""
    for file in folder.rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        attributes = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert file.name != "__main__.py"
        assert "__main__" not in strings
        assert "input" not in names
        assert attributes & {"sys.argv", "sys.stdin"} == set()
        assert top(imported) & {"argparse", "optparse", "getopt", "click", "typer"} == set()


def test_a_script_does_nothing(service: Service) -> None:
    """An attempt to run a processor without HTTP prints nothing and writes nothing."""
    request = json.dumps(Request.good(service).payload)
    before = service.tree()
    done = subprocess.run(
        [sys.executable, "-m", "app.handler"],
        cwd=service.folder,
        env=service.environ,
        input=request,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == ""
    assert service.tree() == before
