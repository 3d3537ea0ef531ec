"""The catalogue: every check has an id, a sentence, a section, and an honest class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from processor_conformance.catalogue import GROUPS, Check, catalogue, check
from processor_conformance.examples import NAMES
from processor_conformance.service import Service
from scripts import generate

ROOT = Path(__file__).resolve().parents[3]
CHECKS = catalogue()


def test_there_are_checks_of_every_class_and_group() -> None:
    """A module of checks that is not imported would be missed in silence."""
    assert {item.kind for item in CHECKS} == {"U", "A", "L"}
    assert {item.group for item in CHECKS} == set(GROUPS)


@pytest.mark.parametrize("item", CHECKS, ids=lambda item: item.id)
def test_a_check_says_what_it_is_about(item: Check) -> None:
    """One sentence at least, one of the contract's sections, and examples that the README knows."""
    assert item.says.endswith((".", "…"))
    assert len(item.says) > 15
    assert item.section in set("123456789")
    assert set(item.examples) <= NAMES.keys()


def test_numbers_of_a_group_have_no_gap() -> None:
    """An id is never given again, and none is lost: the next check takes the next number."""
    for group in GROUPS:
        numbers = sorted(int(item.id[-2:]) for item in CHECKS if item.group == group)
        assert numbers == list(range(1, len(numbers) + 1)), group


def test_sentences_differ() -> None:
    """Two checks with one sentence would be one check."""
    assert [says for says, count in Counter(item.says for item in CHECKS).items() if count > 1] == []


@pytest.mark.parametrize("check_id", ["C-RUN-1", "RUN-01", "C-KIT-01", "C-RUN-01 "])
def test_a_malformed_id_is_refused(check_id: str) -> None:
    """`--only` and planted faults rely on the form."""

    async def judge(_service: Service) -> None:
        """Judge nothing."""

    with pytest.raises(ValueError, match="not an id"):
        check(check_id, "1")(judge)


def test_an_id_is_given_once() -> None:
    """The second check of one id would replace the first."""

    async def judge(_service: Service) -> None:
        """Judge nothing."""

    with pytest.raises(ValueError, match="taken"):
        check("C-RUN-01", "1")(judge)


def test_needs_make_the_class() -> None:
    """U is a URL, A the artifacts folder too, L a way to start the service."""
    by_id = {item.id: item for item in CHECKS}

    assert (by_id["C-HEALTH-01"].kind, by_id["C-HEALTH-01"].needs) == ("U", [])
    assert (by_id["C-ART-01"].kind, by_id["C-ART-01"].needs[-1]) == ("A", "--artifacts, --start or --image")
    assert (by_id["C-DRAIN-01"].kind, by_id["C-DRAIN-01"].needs) == ("L", ["--start or --image"])


def test_the_page_and_the_schemas_are_generated_and_current() -> None:
    """The kit stands alone: its schemas are copies, and its page names every check."""
    files = generate.conformance_kit()

    assert generate.stale(files, ROOT) == {}
    page = files["docs/contract/conformance.md"]
    assert [item.id for item in CHECKS if f"| {item.id} |" not in page] == []
    assert sum(path.endswith("schema.json") for path in files) == 5


def test_the_readme_knows_every_example() -> None:
    """Whoever writes an inputs file reads the README."""
    readme = (ROOT / "code/conformance/README.md").read_text(encoding="utf-8")

    assert [name for name in NAMES if f"`{name}`" not in readme] == []
