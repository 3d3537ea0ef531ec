"""Which pin runs on which machine."""

from __future__ import annotations

import dataclasses
import platform
from types import MappingProxyType

import pytest

from apps.core.adapters.errors import ImageUnpinnedError
from apps.core.adapters.local.image import host_platform, pin
from apps.core.registry import ImageReference, Registration

AMD, ARM = (ImageReference.parse(f"ghcr.io/o/r@sha256:{letter * 64}") for letter in "ab")


def pinned(registration: Registration, pins: dict[str, ImageReference]) -> Registration:
    """Return *registration* with these pins, of which `amd64` is the default."""
    return dataclasses.replace(registration, platforms=MappingProxyType(pins), default_platform="amd64")


@pytest.mark.parametrize(
    ("name", "called"), [("x86_64", "amd64"), ("AMD64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")]
)
def test_a_machine_is_called_as_registries_call_it(name: str, called: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels have other names."""
    monkeypatch.setattr(platform, "machine", lambda: name)

    assert host_platform() == called


@pytest.mark.parametrize(
    ("machine", "wanted", "expected"),
    [
        pytest.param("aarch64", None, ("arm64", ARM), id="this machine's own"),
        pytest.param("aarch64", "amd64", ("amd64", AMD), id="the one that was asked for"),
        pytest.param("riscv64", None, ("amd64", AMD), id="the registry's default"),
    ],
)
def test_a_pin_is_chosen(
    registration: Registration,
    machine: str,
    wanted: str | None,
    expected: tuple[str, ImageReference],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked for, this machine's, or else the default."""
    monkeypatch.setattr(platform, "machine", lambda: machine)

    assert pin(pinned(registration, {"amd64": AMD, "arm64": ARM}), wanted) == expected


@pytest.mark.parametrize(
    ("pins", "wanted", "words"),
    [
        pytest.param({}, None, "no digest for amd64: run `processorctl publish --ref fix/box@1`", id="none at all"),
        pytest.param({"arm64": ARM}, "amd64", "no digest for amd64, only for arm64", id="another platform's"),
    ],
)
def test_without_a_pin_the_error_says_what_to_do(
    registration: Registration,
    pins: dict[str, ImageReference],
    wanted: str | None,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Publish it, or build it."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")

    with pytest.raises(ImageUnpinnedError) as refused:
        pin(pinned(registration, pins), wanted)

    assert words in refused.value.details[0]["message"]
    assert "--build" in refused.value.details[0]["message"]
