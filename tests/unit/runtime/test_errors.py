"""The table of errors is the contract's, whole, and every exception has a row in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from processor_runtime import errors
from processor_runtime.envelopes import bare_meta, error_envelope
from processor_runtime.errors import ERRORS, MAX_DETAILS, ErrorCode, ProcessorError, ProviderError
from processor_runtime.schemas import validator

# CONTRACT section 5, row by row; ERR_INPUTS has its texts in section 2
BY_PROCESSORS = {
    "ERR_INPUTS": (400, None),
    "ERR_MODE_INVALID": (400, "mode must be mock or real and served here"),
    "ERR_WRITE_PREFIX": (400, "write_prefix not allowed"),
    "ERR_REF_MISMATCH": (400, "this image serves another ref"),
    "ERR_UNAUTHORIZED": (401, "missing or wrong token"),
    "ERR_CI_SAFETY": (403, "mode=real is blocked in CI"),
    "ERR_NOT_FOUND": (404, "not found"),
    "ERR_METHOD": (405, "method not allowed"),
    "ERR_EXECUTION_CONFLICT": (409, "execution_id or write_prefix already used"),
    "ERR_BUSY": (429, "busy"),
    "ERR_CANCELLED": (499, "cancelled"),
    "ERR_RUNTIME": (500, "handler failed"),
    "ERR_INTERNAL": (500, "internal error"),
    "ERR_SETUP": (500, "set-up failed"),
    "ERR_IMAGE_DIGEST_MISSING": (500, "IMAGE_DIGEST env var not set"),
    "ERR_MISSING_SECRET": (500, "required secret not set"),
    "ERR_OUTPUT_PATH": (500, "output path not allowed"),
    "ERR_OUTPUT_DUPLICATE": (500, "output written twice"),
    "ERR_OUTPUT_MISSING": (500, "declared output not written"),
    "ERR_OUTPUT_UNDECLARED": (500, "output not declared"),
    "ERR_PROVIDER": (502, "provider failed"),
    "ERR_DRAINING": (503, "shutting down"),
    "ERR_TIMEOUT": (504, "deadline passed"),
    "ERR_STORAGE": (507, "cannot write artifacts"),
}
BY_OTHERS_ONLY = {
    "ERR_NETWORK", "ERR_BAD_RESPONSE", "ERR_HEALTH", "ERR_CRASHED", "ERR_DOCKER", "ERR_IMAGE_NOT_FOUND",
    "ERR_IMAGE_PULL", "ERR_IMAGE_UNPINNED", "ERR_DIGEST_DRIFT", "ERR_SIGNATURE", "ERR_ENDPOINT_MISSING",
    "ERR_MODAL_AUTH", "ERR_REF_NOT_FOUND", "ERR_REGISTRY_INVALID", "ERR_ARTIFACT_MISMATCH",
}  # fmt: skip
RETRYABLE = {"ERR_BUSY", "ERR_DRAINING", "ERR_STORAGE", "ERR_NETWORK", "ERR_IMAGE_PULL"}

# CONTRACT section 2: what each refusal of a request says, and with which status
REFUSALS = {
    "MediaTypeError": (415, "ERR_INPUTS", "Content-Type must be application/json"),
    "BodyTooLargeError": (413, "ERR_INPUTS", "Request body too large"),
    "BodyInvalidError": (400, "ERR_INPUTS", "Invalid JSON body"),
    "ExecutionIdMissingError": (400, "ERR_INPUTS", "missing execution_id"),
    "ExecutionIdInvalidError": (400, "ERR_INPUTS", "invalid execution_id"),
    "WritePrefixMissingError": (400, "ERR_INPUTS", "missing write_prefix"),
    "WritePrefixError": (400, "ERR_WRITE_PREFIX", "write_prefix not allowed"),
    "SchemaVersionError": (400, "ERR_INPUTS", "unsupported schema"),
    "TimeoutInvalidError": (400, "ERR_INPUTS", "invalid timeout_s"),
    "ContextInvalidError": (400, "ERR_INPUTS", "invalid context"),
    "UnknownFieldError": (400, "ERR_INPUTS", "unknown field"),
    "SchemaMismatchError": (400, "ERR_INPUTS", "inputs do not match the schema"),
    "ArtifactNotUsableError": (400, "ERR_INPUTS", "artifact not usable"),
    "InputsError": (400, "ERR_INPUTS", "inputs not usable"),
    "ImageDigestMissingError": (500, "ERR_IMAGE_DIGEST_MISSING", "IMAGE_DIGEST env var not set"),
    "ImageDigestInvalidError": (500, "ERR_IMAGE_DIGEST_MISSING", "IMAGE_DIGEST is not a digest"),
}


def _kinds() -> Iterator[type[ProcessorError]]:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, ProcessorError) and kind is not ProcessorError:
            yield kind


def test_the_table_has_a_row_for_every_code_and_no_other() -> None:
    """In the order of the codes, which is the contract's."""
    assert list(ERRORS) == list(ErrorCode)


def test_the_codes_are_the_contracts() -> None:
    """None more, none fewer: a client switches on them."""
    assert {str(code) for code in ErrorCode} == {*BY_PROCESSORS, *BY_OTHERS_ONLY}


@pytest.mark.parametrize("code", BY_PROCESSORS)
def test_a_code_of_processors_has_the_contracts_status_and_message(code: str) -> None:
    """CONTRACT section 5."""
    status, message = BY_PROCESSORS[code]
    row = ERRORS[ErrorCode(code)]

    assert row.status == status
    assert message is None or row.message == message


@pytest.mark.parametrize("code", sorted(BY_OTHERS_ONLY))
def test_a_code_of_adapters_and_orchestrator_has_no_status(code: str) -> None:
    """No processor answers with it."""
    assert ERRORS[ErrorCode(code)].status is None


def test_exactly_the_contracts_codes_are_retryable() -> None:
    """`ERR_PROVIDER` is where the handler says so."""
    assert {str(code) for code, row in ERRORS.items() if row.retryable} == RETRYABLE


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_row_says_what_happened_and_what_to_do(code: ErrorCode) -> None:
    """The page `errors.md` is made of it."""
    row = ERRORS[code]

    for text in (row.meaning, row.next_step):
        assert text.endswith(".")
        assert len(text) > 15
    assert row.message
    assert not row.message.endswith(".")


def test_the_table_cannot_be_changed() -> None:
    """It is shared by all."""
    with pytest.raises(TypeError):
        ERRORS[ErrorCode.BUSY] = ERRORS[ErrorCode.INPUTS]  # type: ignore[index]


@pytest.mark.parametrize("kind", list(_kinds()), ids=lambda kind: kind.__name__)
def test_every_exception_makes_a_valid_envelope_with_its_own_code(kind: type[ProcessorError]) -> None:
    """With a status and a message that never vary."""
    error = kind({"path": "/x", "message": "rule"}, seen="MARKER")
    meta = bare_meta("ns/name@1", "cpu:1;memory:1Gi", "", pinned=False)

    envelope = error_envelope(error, execution_id="", meta=meta)

    assert "code" in vars(kind)
    assert kind.code in ERRORS
    assert validator("envelope").is_valid(envelope)
    assert envelope["error"]["message"] == str(error) == error.text
    assert error.http_status in {400, 401, 403, 404, 405, 409, 413, 415, 429, 499, 500, 502, 503, 504, 507}
    assert "MARKER" not in str(envelope)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_has_the_contracts_status_code_and_message(name: str) -> None:
    """CONTRACT section 2."""
    error = getattr(errors, name)()

    assert (error.http_status, str(error.code), error.text) == REFUSALS[name]


def test_every_code_of_processors_has_an_exception() -> None:
    """Else nobody can emit it."""
    assert {str(kind.code) for kind in _kinds()} == set(BY_PROCESSORS)


def test_there_are_at_most_20_details() -> None:
    """The first ones."""
    error = errors.InputsError(*(errors.Detail(path=f"/{number}", message="rule") for number in range(50)))

    assert MAX_DETAILS == 20
    assert [detail["path"] for detail in error.details] == [f"/{number}" for number in range(20)]


def test_a_provider_error_is_retryable_where_the_handler_says_so() -> None:
    """And nowhere else."""
    assert ProviderError().retryable is False
    assert ProviderError(retryable=True).retryable is True
    assert ProviderError(retryable=True, status=429).context == {"status": 429}
