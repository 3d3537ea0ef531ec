"""`SIGNATURE_POLICY` on `localctl up`: an image is judged before the engine is asked, as before a run."""

from __future__ import annotations

import asyncio
import dataclasses
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from apps.core.adapters.local import control
from apps.core.adapters.local.engine import EngineRefusedError
from apps.core.adapters.local.image import host_platform
from apps.core.adapters.local.site import Site
from apps.core.attestations import verify
from apps.core.attestations.errors import SignatureError
from apps.core.attestations.keys import SIGNATURE_KEYS
from apps.core.registry import ImageReference, Ref, Registration
from tests.support.executions import Story
from tests.support.keys import key_pair

IMAGE = ImageReference.parse(f"127.0.0.1:1/o/fix_box@sha256:{'ab' * 32}")
REFUSAL = b'HTTP/1.0 500 Oh\r\n\r\n{"message": "was asked"}'


def up(
    registration: Registration, folder: Path, story: Story, environ: Mapping[str, str], *, build: bool = False
) -> list[bytes]:
    """Bring up the pinned image on an engine that refuses everything; return what that was asked, in order.

    Raises:
        SignatureError: the policy does not accept the image.
    """
    asked: list[bytes] = []

    async def refuse(reader: StreamReader, writer: StreamWriter) -> None:
        asked.append(await reader.readline())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(REFUSAL)
        writer.close()

    async def main() -> None:
        address = f"unix://{folder / 's'}"
        pins = MappingProxyType({host_platform(): IMAGE})
        site = Site(
            dataclasses.replace(registration, platforms=pins),
            artifacts_root=folder,
            environ={"DOCKER_HOST": address, **environ},
            start_allowance_s=1,
            build=build,
        )
        async with await asyncio.start_unix_server(refuse, folder / "s"):
            await control.up(site, "mock", story.journal)

    try:
        asyncio.run(main())
    except EngineRefusedError:
        return asked
    except SignatureError:
        assert asked == []
        raise
    raise AssertionError("the engine refuses everything")


@pytest.fixture
def attested(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """Give an environment whose key attests whatever is asked about; it must be `IMAGE`, once, as `fix/box@1`."""
    looked_at: list[tuple[ImageReference, str]] = []

    async def verified(reference: ImageReference, ref: Ref, *_: object) -> None:
        looked_at.append((reference, str(ref)))

    monkeypatch.setattr(verify, "verify", verified)
    yield {SIGNATURE_KEYS: str(key_pair(tmp_path).public)}
    assert looked_at == [(IMAGE, "fix/box@1")]


@pytest.mark.parametrize("policy", ["warn", "require"])
def test_an_attested_image_comes_up(
    registration: Registration, attested: Mapping[str, str], policy: str, tmp_path: Path
) -> None:
    """The engine is asked for it, and nothing is said about it."""
    story = Story()

    asked = up(registration, tmp_path, story, {"SIGNATURE_POLICY": policy, **attested})

    assert asked[0].startswith(f"GET /images/{IMAGE}/json".encode())
    assert story.events("adapter.signature") == []


@pytest.mark.parametrize(
    ("build", "reason"),
    [pytest.param(False, "names no public key", id="pinned"), pytest.param(True, "is not pinned", id="built here")],
)
def test_an_image_that_nobody_attests_does_not_come_up(
    registration: Registration, tmp_path: Path, reason: str, *, build: bool
) -> None:
    """As a run of it is refused: the engine is not even asked, and nothing is built."""
    story = Story()

    with pytest.raises(SignatureError) as refused:
        up(registration, tmp_path, story, {"SIGNATURE_POLICY": "require"}, build=build)

    assert reason in refused.value.details[0]["message"]
    assert story.records == []


@pytest.mark.parametrize(("policy", "lines"), [("off", 0), ("warn", 1)])
def test_a_lax_policy_lets_it_come_up(registration: Registration, policy: str, lines: int, tmp_path: Path) -> None:
    """And `warn` says what `require` would have refused."""
    story = Story()

    asked = up(registration, tmp_path, story, {"SIGNATURE_POLICY": policy})

    assert asked
    told = [(line["level"], line["code"]) for line in story.events("adapter.signature")]
    assert told == [("warning", "ERR_SIGNATURE")] * lines
