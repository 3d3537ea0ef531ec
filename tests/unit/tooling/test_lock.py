"""Locks are judged offline: a stale, unhashed or addressed one is found."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from scripts import lock
from scripts.lock import Lock

HASH = f"--hash=sha256:{hashlib.sha256(b'').hexdigest()}"

DJANGO = f"django==5.2.19 \\\n    {HASH}\n"


@pytest.fixture
def current(tmp_path: Path) -> Lock:
    """Return a lock that is current: one `.in` file, two pins, both hashed."""
    source, output = tmp_path / "base.in", tmp_path / "base.txt"
    source.write_text("# what for\ndjango>=5.2,<5.3  # commands\n", encoding="utf-8")
    made = Lock(output, (source,))
    write(
        made, f"django==5.2.19 \\\n    {HASH}\n    # via -r base.in\nasgiref==3.13.0 \\\n    {HASH}\n    # via django\n"
    )
    return made


def write(made: Lock, body: str) -> None:
    """Write *body* as a lock compiled from the inputs as they are now."""
    header = f"# Compiled by `make lock`, inputs-sha256: {lock.fingerprint(made)}\n"
    made.output.write_text(header + body, encoding="utf-8")


def test_a_current_lock_has_no_problem(current: Lock) -> None:
    """What `make lock` has just written passes."""
    assert lock.problems(current) == []


def test_a_comment_in_an_input_makes_no_lock_stale(current: Lock) -> None:
    """Reasons may be rewritten without compiling again."""
    text = current.inputs[0].read_text(encoding="utf-8")
    current.inputs[0].write_text(text.replace("# commands", "# commands and settings"), encoding="utf-8")

    assert lock.problems(current) == []


def test_a_requirement_that_was_added_is_found(current: Lock) -> None:
    """The lock is stale, and the report names what it lacks."""
    with current.inputs[0].open("a", encoding="utf-8") as file:
        file.write("orjson>=3\n")

    assert lock.problems(current) == ["was compiled from other inputs", "does not pin orjson>=3"]


def test_a_requirement_that_was_taken_away_is_found(current: Lock) -> None:
    """Nothing stays installed for a reason that is gone."""
    current.inputs[0].write_text("", encoding="utf-8")

    assert lock.problems(current) == ["was compiled from other inputs"]


def test_a_constraint_that_moved_is_found(current: Lock, tmp_path: Path) -> None:
    """dev.txt was compiled against the versions of base.txt: new ones there make it stale."""
    source = tmp_path / "dev.in"
    source.write_text("-c base.txt\nasgiref\n", encoding="utf-8")
    dev = Lock(tmp_path / "dev.txt", (source,), (current.output,))
    write(dev, f"asgiref==3.13.0 \\\n    {HASH}\n")
    assert lock.problems(dev) == []

    current.output.write_text(current.output.read_text("utf-8").replace("5.2.19", "5.2.20"), encoding="utf-8")

    assert lock.problems(dev) == ["was compiled from other inputs"]


BODIES = [
    pytest.param(f"{DJANGO}asgiref==3.13.0\n", "has no hash for asgiref==3.13.0", id="no hash"),
    pytest.param(DJANGO.replace("5.2.19", "5.1.0"), "does not pin django>=5.2,<5.3", id="a version outside"),
    pytest.param(f"--index-url https://pypi.example\n{DJANGO}", "records an address", id="an index"),
    pytest.param(f"{DJANGO}x @ https://a.example/x.whl\n", "records an address", id="a wheel's address"),
]


@pytest.mark.parametrize(("body", "problem"), BODIES)
def test_a_lock_that_proves_too_little_is_found(current: Lock, body: str, problem: str) -> None:
    """A fingerprint alone is no proof: what the lock says is read too."""
    write(current, body)

    assert lock.problems(current) == [problem]


def test_a_lock_that_is_not_there_is_found(current: Lock) -> None:
    """An input without a lock is reported, not skipped."""
    current.output.unlink()

    assert lock.problems(current) == ["does not exist"]


def test_a_lock_without_a_fingerprint_passes_only_where_the_scaffold_wrote_it(current: Lock) -> None:
    """`scaffold_processor` compiles a lock of its own; ours name their inputs."""
    lines = current.output.read_text(encoding="utf-8").splitlines(keepends=True)
    current.output.write_text("".join(lines[1:]), encoding="utf-8")

    assert lock.problems(current) == ["does not say what it was compiled from"]
    assert lock.problems(Lock(current.output, current.inputs, fingerprinted=False)) == []


def test_a_pyproject_counts_by_its_dependencies_alone(current: Lock, tmp_path: Path) -> None:
    """A new description of the runtime makes no lock stale; a new dependency does."""
    project = tmp_path / "pyproject.toml"
    made = Lock(current.output, (project,))
    project.write_text('[project]\ndescription = "a"\ndependencies = ["django"]\n', encoding="utf-8")
    before = lock.fingerprint(made)
    project.write_text('[project]\ndescription = "b"\ndependencies = ["django"]\n', encoding="utf-8")
    assert lock.fingerprint(made) == before

    project.write_text('[project]\ndescription = "b"\ndependencies = ["django", "orjson"]\n', encoding="utf-8")

    assert lock.fingerprint(made) != before


def test_every_processor_has_its_lock_among_those_that_are_checked() -> None:
    """A new processor's lock is found by its requirements.in."""
    processors = lock.ROOT / "code" / "apps" / "core" / "processors"
    wanted = {path.with_suffix(".txt") for path in processors.glob("*/requirements.in")}

    assert wanted
    assert wanted <= {found.output for found in lock.locks()}


def test_uv_is_bootstrapped_in_the_version_that_base_pins() -> None:
    """Pip installs uv first; what it installs then leaves it as it is."""
    requirements = lock.ROOT / "code" / "requirements"
    base, bootstrap = (lock.pins((requirements / name).read_text("utf-8")) for name in ("base.txt", "uv.txt"))

    assert bootstrap == {"uv": base["uv"]}


@pytest.mark.parametrize("name", ["base.in", "dev.in", "build.in"])
def test_each_dependency_has_its_reason_beside_it(name: str) -> None:
    """Whoever wants to drop one reads what it is for."""
    lines = (lock.ROOT / "code" / "requirements" / name).read_text(encoding="utf-8").splitlines()
    named = [line for line in lines if line and not line.startswith(("#", "-"))]

    assert named
    assert [line for line in named if " # " not in line] == []
