"""Write the files that are generated from code (`make generate`), or name those that differ (`--check`).

A generator is one function without arguments that returns `{path from the repository's root: text}`, complete and
the same on every machine. Write it here, add it to `GENERATORS`, and `make check` holds its files from then on.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path

from processor_conformance import catalogue, markdown
from processor_runtime.errors import ERRORS
from processor_runtime.settings import VARIABLES
from scripts import reference

ROOT = Path(__file__).resolve().parents[1]

Generator = Callable[[], Mapping[str, str]]


def contract_schemas() -> dict[str, str]:
    """Return the JSON Schemas of the contract as the wheel ships them, for readers who do not install it."""
    folder = resources.files("processor_runtime") / "schemas"
    if not folder.is_dir():
        return {}
    files = (entry for entry in folder.iterdir() if entry.name.endswith(".json"))
    return {f"docs/contract/{file.name}": file.read_text(encoding="utf-8") for file in files}


def error_table() -> dict[str, str]:
    """Return the page of every error code, from the one table."""
    rows = [
        f"| `{code}` | {row.status or 'adapters'} | {'yes' if row.retryable else 'no'} "
        f"| {row.message} | {row.meaning} | {row.next_step} |"
        for code, row in ERRORS.items()
    ]
    page = [
        "# Error codes",
        "",
        "Generated from `processor_runtime.errors` by `make generate`. Clients switch on the code, which is never",
        "renamed; its message is stable too. A code without a status is emitted by adapters and the orchestrator",
        "only. `ERR_INPUTS` has a message per rule, and is also sent with 413 (too large) and 415 (media type).",
        "",
        "| code | status | retryable | message | what happened | what to do |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    return {"docs/contract/errors.md": "\n".join(page) + "\n"}


def settings_table() -> dict[str, str]:
    """Return the page of every variable that a processor's service reads."""
    page = [
        "# Settings of a processor's service",
        "",
        "Generated from `processor_runtime.settings` by `make generate`. All are variables of the environment, read",
        "and checked once, at start. A malformed one stops the service with one `http.boot.error` line that names it;",
        "`IMAGE_DIGEST` alone is reported by each run instead.",
        "",
        "| variable | default | meaning |",
        "| --- | --- | --- |",
        *(f"| `{v.name}` | {f'`{v.default}`' if v.default else 'unset'} | {v.meaning} |" for v in VARIABLES),
    ]
    return {"docs/contract/settings.md": "\n".join(page) + "\n"}


def conformance_kit() -> dict[str, str]:
    """Return the page of the kit and its checks, and the kit's copies of the schemas: it stands without the runtime."""
    folder = "code/conformance/src/processor_conformance/schemas"
    schemas = {f"{folder}/{Path(path).name}": text for path, text in contract_schemas().items()}
    manual = (ROOT / "code" / "conformance" / "README.md").read_text(encoding="utf-8")
    _, _, how = manual.replace("\n## ", "\n### ").partition("\n")
    page = f"{markdown.page(catalogue.catalogue())}\n## How to run it\n{how}"
    return {"docs/contract/conformance.md": page, **schemas}


def planted_faults() -> dict[str, str]:
    """Return the page of the services that are broken on purpose, each with the checks that find it."""
    page: str = importlib.import_module("tests.contract.planted.faults").page()
    return {"docs/contract/planted-faults.md": page}


def measured() -> dict[str, str]:
    """Return the page, the pictures and the README's section about speed, from what `make bench` has measured."""
    files: dict[str, str] = importlib.import_module("bench.report").generated()
    return files


GENERATORS: tuple[Generator, ...] = (
    contract_schemas,
    error_table,
    settings_table,
    conformance_kit,
    planted_faults,
    measured,
    reference.command_page,
    reference.schema_page,
)


def generate(generators: Iterable[Generator]) -> dict[str, str]:
    """Return every generated file's text by its path.

    Raises:
        ValueError: two generators want to write one file.
    """
    files: dict[str, str] = {}
    for generator in generators:
        made = generator()
        if twice := files.keys() & made.keys():
            raise ValueError(f"{generator.__name__} writes what another generator wrote: {sorted(twice)}")
        files |= made
    return dict(sorted(files.items()))


def stale(files: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return, by path, how what lies under *root* differs from *files*: a unified diff, or that it is missing."""
    found = {}
    for path, text in files.items():
        target = root / path
        if not target.exists():
            found[path] = "is missing"
        elif (present := target.read_text(encoding="utf-8")) != text:
            lines = difflib.unified_diff(
                present.splitlines(), text.splitlines(), "present", "generated", n=1, lineterm=""
            )
            found[path] = "differs\n" + "\n".join(list(lines)[:20])
    return found


def write(files: Mapping[str, str], root: Path) -> list[str]:
    """Write those of *files* that are stale under *root* and return their paths; the others keep their age."""
    paths = list(stale(files, root))
    for path in paths:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(files[path], encoding="utf-8")
    return paths


def main() -> int:
    """Write or check all generated files; 1 if a check found one stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, name what is stale")
    options = parser.parse_args()
    files = generate(GENERATORS)
    if not options.check:
        written = write(files, ROOT)
        print("\n".join(written) if written else f"{len(files)} generated files are current")
        return 0
    found = stale(files, ROOT)
    report = [f"{path} {how}" for path, how in found.items()]
    print("\n".join([*report, "run `make generate`"]) if report else f"{len(files)} generated files are current")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
