"""Generated files: what differs from its generator is found, and written again."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import generate


def pages() -> dict[str, str]:
    """Return two generated files."""
    return {"docs/a.md": "one\n", "docs/b.md": "two\n"}


def test_what_was_written_is_current(tmp_path: Path) -> None:
    """A second run has nothing to do and touches no file."""
    files = generate.generate([pages])

    assert generate.write(files, tmp_path) == ["docs/a.md", "docs/b.md"]
    assert generate.stale(files, tmp_path) == {}
    assert generate.write(files, tmp_path) == []


def test_a_file_that_was_edited_by_hand_is_found_with_its_difference(tmp_path: Path) -> None:
    """The report shows the line, and writing repairs that file only."""
    files = generate.generate([pages])
    generate.write(files, tmp_path)
    (tmp_path / "docs/b.md").write_text("zwei\n", encoding="utf-8")

    found = generate.stale(files, tmp_path)

    assert list(found) == ["docs/b.md"]
    assert "-zwei\n+two" in found["docs/b.md"]
    assert generate.write(files, tmp_path) == ["docs/b.md"]


def test_a_file_that_is_not_there_is_found(tmp_path: Path) -> None:
    """A generator's new file is missed until it is committed."""
    assert generate.stale({"docs/a.md": "one\n"}, tmp_path) == {"docs/a.md": "is missing"}


def test_two_generators_cannot_write_one_file() -> None:
    """Else the last one would win in silence."""
    with pytest.raises(ValueError, match=r"docs/a\.md"):
        generate.generate([pages, lambda: {"docs/a.md": "three\n"}])


def test_generators_are_the_same_twice() -> None:
    """What is generated depends on nothing but the code."""
    assert generate.generate(generate.GENERATORS) == generate.generate(generate.GENERATORS)
