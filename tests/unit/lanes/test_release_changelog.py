"""What a user notices has its line in the changelog, before it is merged and before it is released."""

from __future__ import annotations

import pytest

from scripts import release_changelog as changelog

TEXT = """\
# Changelog

## Unreleased

### Added

- Soon.

## [0.2.0] - 2026-12-01

### Fixed

- A thing.

## 0.1.1 - 2026-11-26

### Changed

## 0.1.0
"""


def test_a_section_is_what_stands_below_its_dated_heading() -> None:
    """With or without brackets; a version without a date is not released yet."""
    found = changelog.sections(TEXT)

    assert list(found) == ["Unreleased", "0.2.0", "0.1.1"]
    assert found["0.2.0"] == "### Fixed\n\n- A thing."


@pytest.mark.parametrize(
    ("version", "complaint"),
    [
        pytest.param("0.2.0", "", id="named"),
        pytest.param("0.3.0", "has no section for 0.3.0", id="missing"),
        pytest.param("0.1.0", "has no section for 0.1.0", id="no date"),
        pytest.param("0.1.1", "says nothing about 0.1.1", id="empty"),
    ],
)
def test_a_version_needs_a_section_that_says_something(version: str, complaint: str) -> None:
    """And the complaint names what is missing."""
    found = changelog.problems_of_version(version, TEXT)

    assert [complaint in each for each in found] == ([True] if complaint else [])


@pytest.mark.parametrize(
    ("paths", "message", "passes"),
    [
        pytest.param(["tests/unit/test_x.py", "scripts/x.py"], "x", True, id="nobody notices"),
        pytest.param(["code/runtime/src/processor_runtime/run.py", "CHANGELOG.md"], "x", True, id="said"),
        pytest.param(["code/apps/core/executions.py"], "x", False, id="unsaid"),
        pytest.param(["docs/contract/contract.md"], "x", False, id="the contract itself"),
        pytest.param(
            ["code/apps/core/executions.py"], "x\n\nChangelog: none, only names moved", True, id="with reason"
        ),
        pytest.param(["code/apps/core/executions.py"], "x\n\nChangelog: none", False, id="without reason"),
    ],
)
def test_a_change_that_a_user_notices_has_its_line(paths: list[str], message: str, passes: bool) -> None:  # noqa: FBT001 - a table's column
    """Or a commit says why nobody does."""
    assert (changelog.problems_of_change(paths, message) == []) is passes
