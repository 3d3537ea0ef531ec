"""Turns what happened into what is told: envelopes, and the evidence in the run's folder (CONTRACT §3, §4)."""

from collections.abc import Callable
from typing import Any, Final

import orjson

from . import logs
from .envelopes import error_envelope, success_envelope
from .errors import BusyError, DrainingError, InternalError, ProcessorError, StorageError
from .execution import Answer, Execution
from .logs import Logger
from .masking import Mask
from .request import RunRequest
from .workspace import INDEX, RECEIPT, PrefixLockedError, Workspace

RETRY_AFTER_S: Final = 1


class Recorder:
    """Writes envelopes and evidence for one service.

    Args:
        meta: The part of `meta` that every envelope has.
        mask: Keeps secrets out of all of it.
        log: Where refusals and faults are told.
        publish: Called after the receipt is written, before the answer leaves.
    """

    def __init__(
        self, meta: dict[str, Any], mask: Mask, log: Logger, publish: Callable[[], None] | None = None
    ) -> None:
        self._meta = meta
        self._mask = mask
        self._log = log
        self._publish = publish

    # --- no run

    def refusal(self, error: ProcessorError, execution_id: str = "") -> Answer:
        """Return the answer for a request that is no run, and log why."""
        log = self._log.bind(execution_id=execution_id) if execution_id else self._log
        details = list(error.details)
        log.event("http.run.error", level="warning", reason=str(error.code), message=error.text, details=details)
        body = self._mask.dumps(error_envelope(error, execution_id=execution_id, meta=self._meta))
        return Answer(error.http_status, body, refused=True, retry_after_s=_retry_after(error))

    def fault(self, exc: Exception, execution_id: str) -> Answer:
        """Return the answer for a fault of ours, and log it."""
        self._log.event("http.internal.error", level="error", execution_id=execution_id, exception=logs.formatted(exc))
        body = self._mask.dumps(error_envelope(InternalError(), execution_id=execution_id, meta=self._meta))
        return Answer(500, body)

    # --- a run

    def settle(self, execution: Execution) -> Answer:
        """Write index, receipt and mirror of a decided *execution*; return the answer."""
        finished_at = logs.timestamp()
        try:
            body = self._record(execution, finished_at)
        except Exception as exc:  # noqa: BLE001  # the caller gets an answer, whatever happens
            return self.fault(exc, execution.request.execution_id)
        error = execution.error
        outcome = {"status": "error", "code": str(error.code)} if error else {"status": "success"}
        level = "warning" if error else "info"
        execution.log.event("http.run.settle", level=level, duration_ms=execution.duration_ms, **outcome)
        execution.close_trace()
        if error is None:
            return Answer(200, body)
        return Answer(error.http_status, body, retry_after_s=_retry_after(error))

    def _record(self, execution: Execution, finished_at: str) -> bytes:
        workspace = execution.workspace
        try:
            workspace.make_for_evidence()
            workspace.rows.sort(key=lambda row: str(row["path"]).encode())
            body = self._mask.dumps(self._envelope(execution))
            if execution.error is None:
                index = {"execution_id": execution.request.execution_id, "outputs": workspace.rows}
                workspace.write_file(INDEX, self._mask.dumps(index))
            else:
                workspace.forget()  # an index that is there is of an attempt that was killed before its receipt
            workspace.write_file(RECEIPT, self._receipt(execution, body, finished_at))
            if self._publish is not None:
                self._publish()
        except PrefixLockedError:  # another process has or had the prefix: its evidence is not ours to replace
            body = self._mask.dumps(self._envelope(execution))
        except ProcessorError as exc:
            execution.error = execution.error or exc
            body = self._record_anyway(execution, finished_at)
        except Exception as exc:  # noqa: BLE001  # `publish` is foreign code
            execution.log.event("http.run.unpublished", level="error", exception=logs.formatted(exc))
            execution.error = execution.error or StorageError()
            body = self._record_anyway(execution, finished_at)
        return body

    def _record_anyway(self, execution: Execution, finished_at: str) -> bytes:
        """Leave a receipt of the failure where the disk still takes one; return the envelope."""
        body = self._mask.dumps(self._envelope(execution))
        try:
            execution.workspace.forget()
            execution.workspace.write_file(RECEIPT, self._receipt(execution, body, finished_at))
        except (ProcessorError, OSError):
            execution.log.event("http.run.unrecorded", level="error")
        return body

    def _envelope(self, execution: Execution) -> dict[str, Any]:
        request, error = execution.request, execution.error
        meta = dict(self._meta)
        if execution.duration_ms is not None:
            meta.update(queued_ms=execution.queued_ms, duration_ms=execution.duration_ms)
        if error is not None:
            return error_envelope(error, execution_id=request.execution_id, meta=meta)
        # made plain here, once: a value that JSON cannot hold must not come out in two ways
        meta["extra"] = orjson.loads(self._mask.dumps(execution.extra)) if execution.extra else {}
        return success_envelope(
            execution_id=request.execution_id,
            outputs=execution.workspace.rows,
            index_path=request.place.prefix + INDEX,
            meta=meta,
        )

    def _receipt(self, execution: Execution, envelope: bytes, finished_at: str) -> bytes:
        request = execution.request
        receipt = self._mask.dumps(
            {
                "contract": "v1",
                "ref": self._meta["ref"],
                "execution_id": request.execution_id,
                "mode": request.mode,
                "write_prefix": request.place.prefix,
                "inputs_sha256": request.inputs_sha256,
                "context": request.context,
                "image_digest": self._meta["image_digest"],
                "env_fingerprint": self._meta["env_fingerprint"],
                "outputs": execution.workspace.rows,
                "started_at": execution.started_at,
                "finished_at": finished_at,
                "duration_ms": execution.duration_ms,
                "trace_id": request.trace_id,
            }
        )
        # joined as text: what is stored is the answer to the byte, and is made once
        return b'%b,"envelope":%b}' % (receipt[:-1], envelope)

    # --- the same request again

    def same_run(self, receipt: dict[str, Any], request: RunRequest) -> bool:
        """Whether *receipt* is of the same request to the same image."""
        expected = {
            "ref": self._meta["ref"],
            "image_digest": self._meta["image_digest"],
            "execution_id": request.execution_id,
            "mode": request.mode,
            "write_prefix": self._mask.text(request.place.prefix),  # as the receipt has it
            "inputs_sha256": request.inputs_sha256,
        }
        return expected.items() <= receipt.items()


def stored_success(receipt: dict[str, Any], workspace: Workspace) -> Answer | None:
    """Return the answer in *receipt*, if it is a success whose outputs are all there."""
    envelope = receipt.get("envelope")
    if not isinstance(envelope, dict) or envelope.get("status") != "success":
        return None
    rows = envelope.get("outputs")
    if not isinstance(rows, list) or not workspace.holds(rows):
        return None
    return Answer(200, orjson.dumps(envelope), replayed=True)


def _retry_after(error: ProcessorError) -> int | None:
    return RETRY_AFTER_S if isinstance(error, BusyError | DrainingError) else None
