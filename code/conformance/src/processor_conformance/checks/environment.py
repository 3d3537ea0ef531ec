"""What the environment must hold before a run: `IMAGE_DIGEST`, and the secrets of `real`."""

from __future__ import annotations

from processor_conformance.catalogue import check
from processor_conformance.launch import DIGEST
from processor_conformance.outcome import NotApplicableError, expect
from processor_conformance.service import Service
from processor_conformance.wire import Answer

NEEDS = ["valid"]
MALFORMED = "sha256:" + "AB12" * 16


def _expect_no_digest(answer: Answer, message: str) -> None:
    answer.expect_refused(500, "ERR_IMAGE_DIGEST_MISSING", message)
    told = answer.envelope.get("meta", {}).get("image_digest")
    answer.expect(told == "", 'meta.image_digest ""', f"meta.image_digest {told!r}")


@check("C-REQ-45", "2", start=True, examples=NEEDS)
async def no_digest(service: Service) -> None:
    """Without `IMAGE_DIGEST` a run is 500 `ERR_IMAGE_DIGEST_MISSING`, and `meta.image_digest` is `""`.

    The message is "IMAGE_DIGEST env var not set".
    """
    async with service.another({"IMAGE_DIGEST": None}) as other:
        _expect_no_digest(await other.run(other.request()), "IMAGE_DIGEST env var not set")


@check("C-REQ-46", "2", start=True, examples=NEEDS)
async def malformed_digest(service: Service) -> None:
    """An `IMAGE_DIGEST` that is no digest is 500 `ERR_IMAGE_DIGEST_MISSING`, and `meta.image_digest` is `""`.

    The message is "IMAGE_DIGEST is not a digest".
    """
    for value in (MALFORMED, "registry.example/kit:latest"):
        async with service.another({"IMAGE_DIGEST": value}) as other:
            _expect_no_digest(await other.run(other.request()), "IMAGE_DIGEST is not a digest")


@check("C-REQ-47", "2", start=True, examples=NEEDS)
async def digest_of_a_repository(service: Service) -> None:
    """`IMAGE_DIGEST` as `repository@sha256:…` is accepted, and answered as the bare digest."""
    async with service.another({"IMAGE_DIGEST": f"registry.example:5000/kit/image@{DIGEST}"}) as other:
        _, answer = await other.success()
        told = answer.envelope["meta"].get("image_digest")
        answer.expect(told == DIGEST, f"meta.image_digest {DIGEST}", told)


@check("C-REQ-48", "2", start=True, examples=NEEDS)
async def no_secret(service: Service) -> None:
    """In `real`, a required secret that is unset or empty is 500 `ERR_MISSING_SECRET`; `mock` needs none."""
    names = service.facts.secrets("required")
    if not names:
        raise NotApplicableError("the service requires no secret")
    for value in (None, ""):
        env: dict[str, str | None] = dict.fromkeys(names, value)
        async with service.another({"PROCESSOR_MODE": None, **env}) as other:
            answer = await other.run(other.request(mode="real"))
            answer.expect_refused(500, "ERR_MISSING_SECRET", "required secret not set")
            (await other.run(other.request(mode="mock"))).expect_success()


@check("C-REQ-49", "2", start=True, examples=["reveal"])
async def no_secret_in_mock(service: Service) -> None:
    """In `mock` no secret reaches the handler."""
    values = service.secret_values()
    async with service.another({"PROCESSOR_MODE": None, **values}) as other:
        request, answer = await other.success("reveal", mode="mock")
        files = [path for path in other.folder(request).rglob("*") if path.is_file()]
        for name, value in values.items():
            found = [path.name for path in files if value.encode() in path.read_bytes()]
            found += ["the answer"] if value.encode() in answer.body else []
            expect(not found, sent=answer.sent, expected=f"no value of {name} anywhere", seen=f"it is in {found}")
