"""The import rules see every module, and can fail.

import-linter is silent about a folder without `__init__.py` and reports its contracts KEPT.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

CODE = Path(__file__).resolve().parents[3] / "code"
OURS = ("apps", "backend", "processor_runtime")
SOURCES = {
    "apps": CODE / "apps",
    "backend": CODE / "backend",
    "processor_runtime": CODE / "runtime/src/processor_runtime",
}
TEMPLATE = CODE / "apps" / "core" / "scaffold" / "template"  # holds placeholders; what it renders is checked instead


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Return the graph that import-linter judges."""
    return grimp.build_graph(*OURS, include_external_packages=True, cache_dir=None)


def python_files() -> list[tuple[str, Path]]:
    """Return every Python file of ours with the package that it lies in."""
    return [
        (package, path)
        for package, folder in SOURCES.items()
        for path in sorted(folder.rglob("*.py"))
        if not path.is_relative_to(TEMPLATE)
    ]


def module_name(package: str, path: Path) -> str:
    """Return the dotted name of the module in *path*."""
    parts = path.relative_to(SOURCES[package]).with_suffix("").parts
    return ".".join([package, *(part for part in parts if part != "__init__")])


def test_every_folder_with_python_in_it_is_a_package() -> None:
    """A folder without `__init__.py` would be invisible to the import rules."""
    folders = {path.parent for _, path in python_files()}

    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_the_graph_holds_every_module(graph: grimp.ImportGraph) -> None:
    """What lies in a file is what the rules are held against, module by module."""
    wanted = {module_name(package, path) for package, path in python_files()}

    assert wanted - graph.modules == set()


def test_the_graph_holds_every_handler(graph: grimp.ImportGraph) -> None:
    """Each processor's handler is seen under its full name."""
    handlers = sorted((CODE / "apps" / "core" / "processors").glob("*/app/handler.py"))

    assert handlers, "no processor was found: this test would hold for nothing"
    assert {module_name("apps", path) for path in handlers} <= graph.modules


def test_the_graph_holds_foreign_packages(graph: grimp.ImportGraph) -> None:
    """`django` is in the graph: a rule against it has something to find."""
    assert "django" in graph.modules


def test_a_processor_imports_nothing_of_ours_but_the_runtime_and_itself(graph: grimp.ImportGraph) -> None:
    """The rule is told by what is allowed, so that a package that comes later is forbidden from its first day."""
    foreign = []
    for module in sorted(graph.find_descendants("apps.core.processors")):
        processor = ".".join(module.split(".")[:4])
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            ours = imported.split(".")[0] in OURS
            allowed = imported.split(".")[0] == "processor_runtime" or f"{imported}.".startswith(f"{processor}.")
            if ours and not allowed:
                foreign.append(f"{module} imports {imported}")

    assert foreign == []


PLANTS = [
    pytest.param(
        "apps/core/processors/{first}/app/planted.py", "import django\n", "Django", id="django in a processor"
    ),
    pytest.param(
        "runtime/src/processor_runtime/planted.py", "import django.conf\n", "Django", id="django in the runtime"
    ),
    pytest.param(
        "apps/core/processors/{first}/app/planted.py",
        "import apps.core.processors.{second}\n",
        "imports another",
        id="one processor in another",
    ),
    pytest.param("apps/core/registry/planted.py", "import apps.core.adapters\n", "one way", id="an arrow backwards"),
    pytest.param(
        "apps/core/adapters/planted.py", "import apps.core.processors\n", "one way", id="a processor imported"
    ),
    pytest.param(
        "runtime/src/processor_runtime/planted.py", "import apps.core\n", "nothing of ours", id="us in the runtime"
    ),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of code/ that a test may plant modules in."""
    return Path(
        shutil.copytree(
            CODE,
            tmp_path_factory.mktemp("planted") / "code",
            ignore=shutil.ignore_patterns(".*", "__pycache__", "samples"),
        )
    )


def lint_imports(code: Path) -> subprocess.CompletedProcess[str]:
    """Return what import-linter says about the tree in *code*, and not about the one that is installed."""
    program = (
        f"import sys; sys.path[:0] = [{str(code)!r}, {str(code / 'runtime/src')!r}];"
        "from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    command = [sys.executable, "-c", program, "--config", str(code / "pyproject.toml"), "--no-cache"]
    return subprocess.run(command, cwd=code, capture_output=True, text=True, check=False)


def test_the_rules_hold_for_what_is_committed(copy: Path) -> None:
    """Without a planted module the copy passes: what the next tests see is the plant's doing."""
    done = lint_imports(copy)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("path", "text", "rule"), PLANTS)
def test_a_planted_import_breaks_its_rule(copy: Path, path: str, text: str, rule: str) -> None:
    """Each rule can fail, and the one that does is the one that was meant."""
    first, second = sorted(folder.parent.name for folder in copy.glob("apps/core/processors/*/app"))[:2]
    planted = copy / path.format(first=first, second=second)
    planted.write_text(text.format(first=first, second=second), encoding="utf-8")
    try:
        done = lint_imports(copy)
    finally:
        planted.unlink()

    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert done.returncode == 1, done.stdout + done.stderr
    assert [line for line in broken if rule in line], done.stdout
