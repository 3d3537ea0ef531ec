"""A pin is one line of registry.yaml: every other line stays, byte for byte."""

from __future__ import annotations

import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.core.images.errors import ImageUnpinnedError
from apps.core.images.pin import pinned, with_pins, write_pins
from apps.core.registry import Digest, ImageReference, RegistryInvalidError, load_registration
from tests.support.executions import OWN

AMD64 = ImageReference("ghcr.io/o/i", Digest.parse("sha256:" + "a" * 64))
ARM64 = ImageReference("ghcr.io/o/i", Digest.parse("sha256:" + "b" * 64))
LATER = ImageReference("ghcr.io/o/i", Digest.parse("sha256:" + "c" * 64))
FILE = Path("registry.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of `doc/ocr`, whose registry file has comments and braces."""
    return Path(shutil.copytree(OWN / "doc_ocr", tmp_path / "doc_ocr", ignore=shutil.ignore_patterns("__pycache__")))


CASES = [
    pytest.param(
        "ref: a/b@1 # who\n\nruntime: {}\n",
        {"amd64": AMD64},
        f"ref: a/b@1 # who\n\nimage:\n  platforms:\n    amd64: {AMD64}\n\nruntime: {{}}\n",
        id="no image yet",
    ),
    pytest.param(
        "ref: a/b@1\nimage:\n  default_platform: amd64 # why\n\nruntime: {}\n",
        {"amd64": AMD64},
        f"ref: a/b@1\nimage:\n  platforms:\n    amd64: {AMD64}\n  default_platform: amd64 # why\n\nruntime: {{}}\n",
        id="no pin yet",
    ),
    pytest.param(
        f"image:\n  platforms: # each its own\n    arm64: {ARM64} # slow\n  default_platform: arm64\nref: a/b@1\n",
        {"amd64": AMD64},
        f"image:\n  platforms: # each its own\n    amd64: {AMD64}\n    arm64: {ARM64} # slow\n"
        "  default_platform: arm64\nref: a/b@1\n",
        id="another platform's pin",
    ),
    pytest.param(
        f"image:\n  platforms:\n    amd64: {AMD64} # since May\nref: 'a/b@1'\n",
        {"amd64": LATER},
        f"image:\n  platforms:\n    amd64: {LATER} # since May\nref: 'a/b@1'\n",
        id="an older pin",
    ),
    pytest.param(
        "ref: a/b@1\nimage: { default_platform: amd64 } # short\nruntime: { cpu: '1' }\n",
        {"amd64": AMD64},
        f"ref: a/b@1\nimage: {{platforms: {{amd64: {AMD64}}}, default_platform: amd64}} # short\n"
        "runtime: { cpu: '1' }\n",
        id="in braces",
    ),
    pytest.param(
        "ref: a/b@1\nimage:\n    # above\n    default_platform: 'amd64'\n    # below\nruntime: {}\n",
        {"arm64": ARM64, "amd64": AMD64},
        f"ref: a/b@1\nimage:\n    # above\n    platforms:\n        amd64: {AMD64}\n        arm64: {ARM64}\n"
        "    default_platform: 'amd64'\n    # below\nruntime: {}\n",
        id="four spaces, two pins, comments around",
    ),
    pytest.param(
        "ref: a/b@1\r\nimage:\r\n  default_platform: amd64\r\n",
        {"amd64": AMD64},
        f"ref: a/b@1\r\nimage:\r\n  platforms:\r\n    amd64: {AMD64}\r\n  default_platform: amd64\r\n",
        id="line ends of Windows",
    ),
    pytest.param(
        f"ref: a/b@1\nimage:\n  platforms:\n    amd64:   {AMD64}\n",
        {"amd64": AMD64},
        f"ref: a/b@1\nimage:\n  platforms:\n    amd64:   {AMD64}\n",
        id="the same pin, however it is written",
    ),
]


@pytest.mark.parametrize(("before", "pins", "after"), CASES)
def test_only_the_pin_changes(before: str, pins: dict[str, ImageReference], after: str) -> None:
    """Comments, order, quotes, indentation and spaces are whoever's wrote them."""
    assert with_pins(before, FILE, {name: str(reference) for name, reference in pins.items()}) == after


def test_a_file_with_many_comments_differs_in_the_pins_lines_only(folder: Path) -> None:
    """Ours has braces with spaces, quotes and long lines, which a YAML library would all write its own way."""
    before = (folder / "registry.yaml").read_text("utf-8")

    assert write_pins(load_registration(folder), {"amd64": AMD64, "arm64": ARM64}) is True

    after = (folder / "registry.yaml").read_text("utf-8")
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert added == ["  platforms:", f"    amd64: {AMD64}", f"    arm64: {ARM64}"]
    assert [line for line in after.splitlines() if line not in added] == before.splitlines()
    assert dict(load_registration(folder).platforms) == {"amd64": AMD64, "arm64": ARM64}


def test_what_is_pinned_already_is_not_written(folder: Path) -> None:
    """No commit for nothing."""
    write_pins(load_registration(folder), {"amd64": AMD64})
    before = (folder / "registry.yaml").stat().st_mtime_ns

    assert write_pins(load_registration(folder), {"amd64": AMD64}) is False
    assert (folder / "registry.yaml").stat().st_mtime_ns == before


def test_the_file_keeps_its_permissions_and_leaves_nothing_beside_it(folder: Path) -> None:
    """It is replaced as a whole, so that a reader sees the old one or the new one."""
    (folder / "registry.yaml").chmod(0o640)
    names = sorted(path.name for path in folder.iterdir())

    write_pins(load_registration(folder), {"amd64": AMD64})

    assert stat.S_IMODE((folder / "registry.yaml").stat().st_mode) == 0o640
    assert sorted(path.name for path in folder.iterdir()) == names


def test_two_writers_at_once_lose_no_pin(folder: Path) -> None:
    """The second one reads what the first one wrote."""
    write_pins(load_registration(folder), {"amd64": AMD64})
    registration = load_registration(folder)
    writers = [
        threading.Thread(target=write_pins, args=(registration, pins)) for pins in ({"amd64": LATER}, {"arm64": ARM64})
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert dict(load_registration(folder).platforms) == {"amd64": LATER, "arm64": ARM64}


@pytest.mark.parametrize(
    ("spoil", "pins", "reason"),
    [
        pytest.param(
            lambda _: None, {"arm64": ARM64}, "amd64 is not pinned", id="default_platform is left without a pin"
        ),
        pytest.param(lambda _: None, {"amd64": AMD64, "arm64": AMD64}, "same digest", id="one digest for both"),
        pytest.param(
            lambda folder: (folder / "registry.yaml").write_text("ref: [", encoding="utf-8"),
            {"amd64": AMD64},
            "is not YAML",
            id="a broken file",
        ),
    ],
)
def test_a_file_that_would_be_wrong_is_not_written(
    folder: Path, spoil: Callable[[Path], object], pins: dict[str, ImageReference], reason: str
) -> None:
    """It is judged as `load_registry` would, before it takes the place of the old one."""
    registration = load_registration(folder)
    spoil(folder)
    before = (folder / "registry.yaml").read_bytes()

    with pytest.raises(RegistryInvalidError, match=reason):
        write_pins(registration, pins)

    assert (folder / "registry.yaml").read_bytes() == before
    assert not list(folder.glob(".registry*"))


def test_an_alias_into_the_pins_is_refused(folder: Path) -> None:
    """What stands elsewhere cannot be edited here."""
    registration = load_registration(folder)
    file = folder / "registry.yaml"
    text = file.read_text("utf-8").replace("ref: doc/ocr@1", f"x: &pin {AMD64}\nref: doc/ocr@1")
    file.write_text(text.replace("image:\n", "image:\n  platforms:\n    amd64: *pin\n"), encoding="utf-8")

    with pytest.raises(RegistryInvalidError):
        write_pins(registration, {"amd64": LATER})


def test_a_platform_that_is_not_pinned_says_what_to_do(folder: Path) -> None:
    """Which ones are, and the command that publishes this one."""
    write_pins(load_registration(folder), {"amd64": AMD64})
    registration = load_registration(folder)
    assert pinned(registration, "amd64") == AMD64

    with pytest.raises(ImageUnpinnedError) as refused:
        pinned(registration, "arm64")

    assert [detail["message"] for detail in refused.value.details] == [
        "doc/ocr@1 has no image for arm64: it has amd64",
        "run: processorctl publish --ref doc/ocr@1 --platform arm64",
    ]
