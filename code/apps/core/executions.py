"""The one use case: resolve, guard, run, verify artifacts, settle.

Whatever goes wrong on the way is an error envelope, made here and nowhere else
on this side of the wire.
"""

import asyncio
import time
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from apps.core import artifacts
from apps.core.adapters.base import DONE, Adapter, Event, Payload
from apps.core.adapters.drift import DriftChecked
from apps.core.adapters.journal import Journal
from apps.core.attestations.policy import Policy
from apps.core.host import Host
from apps.core.registry import (
    FILE_NAME,
    ImageReference,
    Ref,
    RefError,
    RefNotFoundError,
    Registration,
    load_registration,
    load_registry,
)
from apps.core.request import ExecutionRequest, guard, is_execution_id, is_ref
from processor_runtime.envelopes import Envelope, bare_meta, error_envelope
from processor_runtime.errors import Detail, ErrorCode, InternalError, ProcessorError
from processor_runtime.prefix import Roots

if TYPE_CHECKING:
    from apps.core.adapters.local.site import Site

Watch = Callable[[Event], None]


class RefInvalidError(ProcessorError):
    """A text that is no ref, so that no processor can have it."""

    code = ErrorCode.REF_NOT_FOUND


async def execute(request: ExecutionRequest, host: Host, journal: Journal, watch: Watch | None = None) -> Envelope:
    """Return the one envelope of *request*, whatever happens.

    Args:
        request: What to run.
        host: This machine.
        journal: Told of each step.
        watch: Called with each event of the run but the last; the run is streamed if it is given.

    Raises:
        AttachmentError: attachments and params do not fit together; nothing was started.
    """
    artifacts.check_attachments(request.params, request.attachments)
    began = time.monotonic()
    journal = journal.bind(ref=request.ref, execution_id=request.execution_id)
    journal.event("execution.start", adapter=request.adapter, mode=request.mode)
    registration: Registration | None = None
    try:
        registration = resolve(request.ref, host.processors)
        journal = journal.hiding(*(host.environ.get(name, "") for name in registration.declaration.secrets))
        envelope = await _run(request, registration, host, journal, watch)
    except asyncio.CancelledError:
        journal.event("execution.cancelled", level="warning")
        raise
    except ProcessorError as exc:
        journal.event("execution.error", level="error", code=exc.code, details=exc.details, context=exc.context)
        envelope = failure(request, exc, registration)
    except Exception as exc:  # noqa: BLE001  # a fault of ours must not leave the caller without an envelope
        journal.event("execution.fault", level="error", traceback="".join(traceback.format_exception(exc)))
        envelope = failure(request, InternalError(), registration)
    code = {"code": envelope["error"]["code"]} if envelope["status"] == "error" else {}
    duration_ms = round((time.monotonic() - began) * 1000)
    journal.event("execution.settle", status=envelope["status"], **code, duration_ms=duration_ms)
    return envelope


async def _run(
    request: ExecutionRequest, registration: Registration, host: Host, journal: Journal, watch: Watch | None
) -> Envelope:
    roots = request.roots(host.artifacts_root)
    prefix = guard(request, registration, host.environ, roots)
    payload = await asyncio.to_thread(_payload, request, roots)
    limit_s = registration.declaration.runtime.timeout_s
    adapter = _adapter(request, registration, host, journal)
    timeout_s = min(request.timeout_s or limit_s, limit_s)
    if watch is None:
        envelope = await adapter.run(payload, timeout_s=timeout_s)
    else:
        envelope = await _watched(adapter.stream(payload, timeout_s=timeout_s), watch)
    if envelope["status"] == "success":
        if request.save_dir is None:
            await asyncio.to_thread(artifacts.verify, envelope, prefix, roots)
        else:
            await asyncio.to_thread(artifacts.save, envelope, prefix, roots, request.save_dir)
    return envelope


async def _watched(events: AsyncGenerator[Event, None], watch: Watch) -> Envelope:
    """Return the envelope at the end of *events*; *watch* gets those before it."""
    envelope: Envelope = {}
    async with aclosing(events):
        async for event in events:
            if event.name == DONE:
                envelope = event.data  # not returned at once: what follows is the adapter's own cleaning up
            else:
                watch(event)
    return envelope


def resolve(text: str, processors: Path) -> Registration:
    """Return the processor that *text* names; a mistake in another one's file does not matter.

    Raises:
        RefInvalidError: *text* is no ref.
        RefNotFoundError: there is no such processor; the details name those that exist.
        RegistryInvalidError: its file cannot be used; the details hold every problem.
    """
    try:
        ref = Ref.parse(text)
    except RefError as exc:
        raise RefInvalidError(Detail(path="/ref", message=str(exc))) from None
    folder = processors / ref.folder
    if (folder / FILE_NAME).is_file() and (registration := load_registration(folder)).ref == ref:
        return registration
    raise RefNotFoundError(ref, load_registry(processors).registrations)


def refusal(request: ExecutionRequest, host: Host, error: ProcessorError) -> Envelope:
    """Return the error envelope for a *request* that ends outside `execute`: before it, or by a cancellation."""
    try:
        return failure(request, error, resolve(request.ref, host.processors))
    except ProcessorError:
        return failure(request, error, None)


def failure(request: ExecutionRequest, error: ProcessorError, registration: Registration | None) -> Envelope:
    """Return the error envelope for *request*; what is not known, without a *registration*, is ``""`` in `meta`."""
    ref = request.ref if is_ref(request.ref) else ""
    env_fingerprint = registration.declaration.env_fingerprint if registration else ""
    return error_envelope(
        error,
        execution_id=request.execution_id if is_execution_id(request.execution_id) else "",
        meta=bare_meta(ref, env_fingerprint, image_digest="", pinned=False),
    )


def _adapter(request: ExecutionRequest, registration: Registration, host: Host, journal: Journal) -> Adapter:
    """Return the adapter that *request* asks for; each is imported only where it is used."""
    adapter: Adapter
    if request.adapter not in host.adapters:
        raise ValueError(f"adapter {request.adapter!r} is not allowed here")
    if request.adapter == "process":
        from apps.core.adapters.process.adapter import ProcessAdapter  # noqa: PLC0415  # see the docstring

        adapter = ProcessAdapter(
            registration,
            artifacts_root=host.artifacts_root,
            venvs=host.var / "venvs",
            environ=host.environ,
            start_allowance_s=host.start_allowance_s,
            journal=journal,
            python=host.python,
        )
    elif request.adapter == "local":
        from apps.core.adapters.local.adapter import LocalAdapter  # noqa: PLC0415  # see the docstring

        adapter = LocalAdapter(local_site(request, registration, host), journal)
    else:
        from apps.core.adapters.modal.adapter import ModalAdapter  # noqa: PLC0415  # see the docstring

        adapter = ModalAdapter(
            registration,
            artifacts_root=host.artifacts_root,
            var=host.var,
            environ=host.environ,
            start_allowance_s=host.start_allowance_s,
            journal=journal,
            expected=request.expected_digest,
        )
    if request.adapter != "process" and Policy.from_env(host.environ) is not Policy.OFF:
        from apps.core.adapters.signature import SignatureChecked  # noqa: PLC0415  # imported only where it is used

        image = _pinned(request, registration)
        adapter = SignatureChecked(adapter, image, registration.ref, host.environ, journal)
    return DriftChecked(adapter, request.expected_digest) if request.expected_digest else adapter


def _pinned(request: ExecutionRequest, registration: Registration) -> ImageReference | None:
    """Return the image that *request* will run, or ``None`` where it is not pinned.

    Raises:
        ImageUnpinnedError: the platform that is asked for has no pin.
    """
    if request.adapter == "modal":
        return registration.platforms.get("amd64")  # the one platform that Modal has
    if request.build:
        return None
    from apps.core.adapters.local.image import pin  # noqa: PLC0415  # imported only where it is used

    return pin(registration, request.platform)[1]


def local_site(request: ExecutionRequest, registration: Registration, host: Host) -> "Site":
    """Return where and how the containers of *registration* run on this *host*, as *request* wants them."""
    from apps.core.adapters.local.site import Site  # noqa: PLC0415  # imported only where it is used

    return Site(
        registration,
        artifacts_root=host.artifacts_root,
        environ=host.environ,
        start_allowance_s=host.start_allowance_s,
        network=host.network,
        platform=request.platform,
        build=request.build,
        expected=request.expected_digest,
    )


def _payload(request: ExecutionRequest, roots: Roots) -> Payload:
    """Return the body of `POST /run`; attachments are stored and become references."""
    inputs = request.inputs
    if request.attachments:
        references = artifacts.store(request.attachments, roots)
        inputs = {**inputs, "params": artifacts.attached(request.params, references)}
    payload = {
        "schema": "v1",
        "execution_id": request.execution_id,
        "write_prefix": request.write_prefix,
        "mode": request.mode,
        "ref": request.ref,
        "inputs": inputs,
    }
    return payload if request.timeout_s is None else {**payload, "timeout_s": request.timeout_s}
