"""`write_prefix`: where a run may write.

Each request has a `schema` that nobody supports, so that a prefix which is
accepted is followed by that refusal and nothing runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from processor_conformance.catalogue import check
from processor_conformance.outcome import NotCheckedError
from processor_conformance.service import ABSENT, Service

OUTPUTS = "/artifacts/outputs/"
TMP = "/tmp"  # noqa: S108  # the contract's other root
LONGEST = 1024
LONGEST_SEGMENT = 255


async def _expect_refused(service: Service, prefixes: Iterable[object]) -> None:
    for prefix in prefixes:
        answer = await service.run(service.probe(schema="v0", write_prefix=prefix))
        answer.expect_refused(400, "ERR_WRITE_PREFIX", "write_prefix not allowed")


async def _expect_accepted(service: Service, prefixes: Iterable[str]) -> None:
    for prefix in prefixes:
        answer = await service.run(service.probe(schema="v0", write_prefix=prefix))
        answer.expect(answer.message == "unsupported schema", f"a prefix that is accepted: {prefix[:80]}")


@check("C-REQ-21", "2")
async def missing(service: Service) -> None:
    """Without `write_prefix` (absent or `""`): 400 `ERR_INPUTS` "missing write_prefix"."""
    for value in (ABSENT, ""):
        answer = await service.run(service.probe(write_prefix=value))
        answer.expect_refused(400, "ERR_INPUTS", "missing write_prefix")


@check("C-REQ-22", "2")
async def no_string(service: Service) -> None:
    """A `write_prefix` that is `null` or no string is 400 `ERR_WRITE_PREFIX`."""
    await _expect_refused(service, (None, 1, True, [OUTPUTS], {}))


@check("C-REQ-23", "2")
async def relative(service: Service) -> None:
    """A relative `write_prefix` is `ERR_WRITE_PREFIX`."""
    await _expect_refused(
        service, ("artifacts/outputs/kit/", "./artifacts/kit/", "kit", "~/kit", "file:///artifacts/kit/")
    )


@check("C-REQ-24", "2")
async def segments(service: Service) -> None:
    """An empty, `.` or `..` segment is `ERR_WRITE_PREFIX`."""
    endings = ("a//b/", "a//", "./b/", "a/./b/", "../kit/", "a/../b/", "a/..", "a/.", "..")
    await _expect_refused(service, (*(OUTPUTS + ending for ending in endings), "//artifacts/outputs/kit/"))
    await _expect_accepted(service, (f"{OUTPUTS}...", f"{OUTPUTS}a/..b/.c/"))


@check("C-REQ-25", "2")
async def characters(service: Service) -> None:
    """A control character (C0, DEL, C1) or backslash is `ERR_WRITE_PREFIX`."""
    bad = ("\x00", "\x01", "\t", "\n", "\r", "\x1f", "\x7f", "\x80", "\x85", "\x9f", "\\")
    await _expect_refused(service, (f"{OUTPUTS}kit{letter}x/" for letter in bad))
    await _expect_refused(service, (f"{OUTPUTS}kit\n",))
    await _expect_accepted(service, (f"{OUTPUTS}a b/", f"{OUTPUTS}\u00a0é😀/", f"{OUTPUTS}%2e%2e/"))


@check("C-REQ-26", "2")
async def braces(service: Service) -> None:
    """A brace other than `{execution_id}`'s is `ERR_WRITE_PREFIX`."""
    endings = ("{id}/", "{", "}", "{execution_id/", "{{execution_id}}/", "{EXECUTION_ID}/", "{execution_id}{}/")
    await _expect_refused(service, (OUTPUTS + ending for ending in endings))
    await _expect_accepted(service, (f"{OUTPUTS}{{execution_id}}-{{execution_id}}/{{execution_id}}",))


@check("C-REQ-27", "2")
async def lengths(service: Service) -> None:
    """Too long is `ERR_WRITE_PREFIX`: over 1024 bytes expanded with the trailing `/`, or 255 in a segment."""
    segment, letters = "s" * LONGEST_SEGMENT, LONGEST_SEGMENT // 2
    filled = OUTPUTS + f"{'x' * 199}/" * 4
    rest = LONGEST - len(filled) - 1
    await _expect_accepted(service, (f"{filled}{'y' * rest}/", f"{filled}{'y' * rest}", f"{OUTPUTS}{segment}/"))
    await _expect_accepted(service, (f"{OUTPUTS}{'é' * letters}y/",))
    await _expect_refused(
        service, (f"{filled}{'y' * rest}y/", f"{filled}{'y' * rest}y", f"{filled}{{execution_id}}{'y' * rest}")
    )
    await _expect_refused(
        service, (f"{OUTPUTS}{segment}s/", f"{OUTPUTS}{'é' * letters}yy/", f"{OUTPUTS}{segment}{{execution_id}}/")
    )


@check("C-REQ-28", "2")
async def outside(service: Service) -> None:
    """A prefix outside the write roots, or a root itself, is `ERR_WRITE_PREFIX`."""
    prefixes = ("/", "/kit/", "/etc/kit/", "/artifactsx/kit/", "/artifacts", "/artifacts/", TMP, f"{TMP}/")
    await _expect_refused(service, prefixes)


@check("C-REQ-29", "2")
async def inputs(service: Service) -> None:
    """A prefix in `/artifacts/inputs/` is `ERR_WRITE_PREFIX`."""
    await _expect_refused(service, ("/artifacts/inputs/kit/", "/artifacts/inputs/", "/artifacts/inputs"))
    await _expect_accepted(service, ("/artifacts/inputsx/kit/",))


@contextlib.contextmanager
def _link(service: Service, target: str) -> Iterator[str]:
    name = service.new_id()
    path = service.host(OUTPUTS) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.symlink_to(target)
    except OSError as exc:
        raise NotCheckedError("an artifacts folder that the kit may write to, and that has symlinks") from exc
    try:
        yield OUTPUTS + name
    finally:
        path.unlink(missing_ok=True)


@check("C-REQ-30", "2", artifacts=True)
async def links(service: Service) -> None:
    """A prefix that leaves its root, or enters `/artifacts/inputs/`, through a symlink is `ERR_WRITE_PREFIX`."""
    service.host("/artifacts/inputs/").mkdir(parents=True, exist_ok=True)
    for target in ("/usr", "../inputs"):
        with _link(service, target) as link:
            await _expect_refused(service, (f"{link}/kit/", f"{link}/"))
    own = service.host(OUTPUTS) / service.new_id()
    own.mkdir(parents=True)
    with _link(service, Path(own).name) as link:
        await _expect_accepted(service, (f"{link}/kit/",))


@check("C-REQ-31", "2", start=True)
async def roots(service: Service) -> None:
    """`PROCESSOR_WRITE_ROOTS` says where prefixes may lie; by default `/artifacts` and `/tmp`."""
    async with service.another({"PROCESSOR_WRITE_ROOTS": "/artifacts/kit-root"}) as other:
        await _expect_accepted(other, ("/artifacts/kit-root/x/",))
        await _expect_refused(other, (f"{OUTPUTS}x/", f"{TMP}/x/", "/artifacts/kit-root/"))
    async with service.another({"PROCESSOR_WRITE_ROOTS": None}) as usual:
        await _expect_accepted(usual, ("/artifacts/x/", f"{TMP}/kit-x/"))
