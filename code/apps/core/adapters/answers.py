"""What came back over HTTP, judged: the envelope of this very execution, or an error that says what else it was."""

from typing import Any, Final

from processor_runtime import strict_json
from processor_runtime.envelopes import Envelope
from processor_runtime.errors import MAX_DETAILS, Detail
from processor_runtime.schemas import validator

from .base import DONE, Event, Payload
from .errors import BadResponseError

MAX_BYTES: Final = 64 * 1024 * 1024
_OK: Final = 200


def parse(raw: bytes, *, status: int, content_type: str, payload: Payload) -> Envelope:
    """Return the envelope in *raw*, the body of an answer to *payload*.

    Args:
        raw: The whole body.
        status: The answer's HTTP status.
        content_type: The answer's media type, with or without parameters.
        payload: What was asked, with `ref` and `execution_id`.

    Raises:
        BadResponseError: not I-JSON, not an envelope by the contract's schema,
            success with another status than 200 or the reverse, or of another
            processor or execution. The details name places and rules.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json":
        rule = f"must be application/json: a {status} with {media_type or 'no media type'} came"
        raise BadResponseError(Detail(path="content-type", message=rule), http_status=status)
    envelope = _object(raw)
    _check_envelope(envelope, payload)
    if (envelope["status"] == "success") != (status == _OK):
        raise BadResponseError(Detail(path="/status", message=f"must not be {envelope['status']} in a {status}"))
    return envelope


def event(name: str, raw: bytes, *, payload: Payload) -> Event:
    """Return one event of the stream that answers *payload*; *raw* is its data.

    Raises:
        BadResponseError: not an event by the contract's schema, or of another
            execution; for ``done`` also what `parse` refuses.
    """
    data = _object(raw)
    _check("event", {"event": name, "data": data})
    if name == DONE:
        _check_envelope(data, payload)
    elif data["execution_id"] != payload["execution_id"]:
        raise BadResponseError(Detail(path="/execution_id", message="must be the id that was asked for"))
    return Event(name, data)


def _check_envelope(envelope: Envelope, payload: Payload) -> None:
    _check("envelope", envelope)
    if envelope["meta"]["ref"] != payload["ref"]:
        raise BadResponseError(Detail(path="/meta/ref", message=f"must be {payload['ref']}"))
    # an error has no id where it came before the id was looked at: a wrong token, say
    if envelope["execution_id"] != payload["execution_id"] and (
        envelope["status"] == "success" or envelope["execution_id"]
    ):
        raise BadResponseError(Detail(path="/execution_id", message="must be the id that was asked for"))


def _check(schema: str, value: dict[str, Any]) -> None:
    errors = [
        Detail(path="".join(f"/{part}" for part in error.instance_path), message=error.message)
        for error in validator(schema).iter_errors(value)
    ]
    if errors:
        raise BadResponseError(*errors[:MAX_DETAILS])


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = strict_json.loads(raw)
    except strict_json.JsonError:
        raise BadResponseError(Detail(path="", message="must be I-JSON")) from None
    if not isinstance(value, dict):
        raise BadResponseError(Detail(path="", message="must be an object"))
    return value
