"""Every error code of the contract, and the exceptions that carry them.

This module owns the table: code, status, retryable, message, meaning and next
step. `docs/contract/errors.md` is generated from it. Codes are added freely
and never renamed, because clients switch on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Final, TypedDict

MAX_DETAILS: Final = 20


class ErrorCode(StrEnum):
    """The stable name of one way to fail."""

    INPUTS = "ERR_INPUTS"
    MODE_INVALID = "ERR_MODE_INVALID"
    WRITE_PREFIX = "ERR_WRITE_PREFIX"
    REF_MISMATCH = "ERR_REF_MISMATCH"
    UNAUTHORIZED = "ERR_UNAUTHORIZED"
    CI_SAFETY = "ERR_CI_SAFETY"
    NOT_FOUND = "ERR_NOT_FOUND"
    METHOD = "ERR_METHOD"
    EXECUTION_CONFLICT = "ERR_EXECUTION_CONFLICT"
    BUSY = "ERR_BUSY"
    CANCELLED = "ERR_CANCELLED"
    RUNTIME = "ERR_RUNTIME"
    INTERNAL = "ERR_INTERNAL"
    SETUP = "ERR_SETUP"
    IMAGE_DIGEST_MISSING = "ERR_IMAGE_DIGEST_MISSING"
    MISSING_SECRET = "ERR_MISSING_SECRET"  # noqa: S105  # the name of an error, not a secret
    OUTPUT_PATH = "ERR_OUTPUT_PATH"
    OUTPUT_DUPLICATE = "ERR_OUTPUT_DUPLICATE"
    OUTPUT_MISSING = "ERR_OUTPUT_MISSING"
    OUTPUT_UNDECLARED = "ERR_OUTPUT_UNDECLARED"
    PROVIDER = "ERR_PROVIDER"
    DRAINING = "ERR_DRAINING"
    TIMEOUT = "ERR_TIMEOUT"
    STORAGE = "ERR_STORAGE"
    NETWORK = "ERR_NETWORK"
    BAD_RESPONSE = "ERR_BAD_RESPONSE"
    HEALTH = "ERR_HEALTH"
    CRASHED = "ERR_CRASHED"
    DOCKER = "ERR_DOCKER"
    IMAGE_NOT_FOUND = "ERR_IMAGE_NOT_FOUND"
    IMAGE_PULL = "ERR_IMAGE_PULL"
    IMAGE_UNPINNED = "ERR_IMAGE_UNPINNED"
    DIGEST_DRIFT = "ERR_DIGEST_DRIFT"
    SIGNATURE = "ERR_SIGNATURE"
    ENDPOINT_MISSING = "ERR_ENDPOINT_MISSING"
    MODAL_AUTH = "ERR_MODAL_AUTH"
    REF_NOT_FOUND = "ERR_REF_NOT_FOUND"
    REGISTRY_INVALID = "ERR_REGISTRY_INVALID"
    ARTIFACT_MISMATCH = "ERR_ARTIFACT_MISMATCH"


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """What a reader of an error envelope can rely on.

    Attributes:
        status: HTTP status of the processor's answer; ``None`` for a code that
            only adapters and the orchestrator emit.
        message: The usual text; `ERR_INPUTS` has several (see its subclasses).
        meaning: What happened.
        next_step: What the caller does about it.
        retryable: Whether the same request may succeed later, unchanged.
    """

    status: int | None
    message: str
    meaning: str
    next_step: str
    retryable: bool = False


ERRORS: Final[Mapping[ErrorCode, ErrorRow]] = MappingProxyType(
    {
        ErrorCode.INPUTS: ErrorRow(
            400,
            "inputs do not match the schema",
            "The request, or a file that it names, breaks a rule. Also 413 (too large) and 415 (media type).",
            "Read `details`: each names the place and the rule. `GET /contract` holds the schema.",
        ),
        ErrorCode.MODE_INVALID: ErrorRow(
            400,
            "mode must be mock or real and served here",
            "`mode` is neither `mock` nor `real`, or this process was started for the other one.",
            "Send one of the modes that `GET /contract` lists.",
        ),
        ErrorCode.WRITE_PREFIX: ErrorRow(
            400,
            "write_prefix not allowed",
            "The expanded prefix is malformed or lies outside the roots that may be written.",
            "Use an absolute path below `/artifacts/`, such as `/artifacts/outputs/{execution_id}/`.",
        ),
        ErrorCode.REF_MISMATCH: ErrorRow(
            400,
            "this image serves another ref",
            "`ref` was given and is not the image's own.",
            "Check which image answers at this address: `meta.ref` names it.",
        ),
        ErrorCode.UNAUTHORIZED: ErrorRow(
            401,
            "missing or wrong token",
            "The service was started with `PROCESSOR_TOKEN`.",
            "Send `Authorization: Bearer <token>`.",
        ),
        ErrorCode.CI_SAFETY: ErrorRow(
            403,
            "mode=real is blocked in CI",
            "`CI` is set, and real runs cost money and touch the world.",
            "Use `mock` in CI; run `real` from a lane that is meant to.",
        ),
        ErrorCode.NOT_FOUND: ErrorRow(
            404,
            "not found",
            "No such route, or no such execution in flight.",
            "Compare the path with the contract's endpoints; there are no redirects.",
        ),
        ErrorCode.METHOD: ErrorRow(
            405,
            "method not allowed",
            "The route exists for another method.",
            "Use a method from the `Allow` header.",
        ),
        ErrorCode.EXECUTION_CONFLICT: ErrorRow(
            409,
            "execution_id or write_prefix already used",
            "Something else ran or runs under this id or prefix.",
            "Use a fresh `execution_id`; to get a result again, repeat the first request unchanged.",
        ),
        ErrorCode.BUSY: ErrorRow(
            429,
            "busy",
            "Every slot and waiting place is taken, or an earlier attempt has not ended.",
            "Ask again after `Retry-After` seconds.",
            retryable=True,
        ),
        ErrorCode.CANCELLED: ErrorRow(
            499,
            "cancelled",
            "The run was cancelled: by a request, by its last reader leaving, or by a shutdown.",
            "Send the request again if the result is still wanted.",
        ),
        ErrorCode.RUNTIME: ErrorRow(
            500,
            "handler failed",
            "The handler raised an exception.",
            "Find `handler.error` with this execution_id in the processor's log.",
        ),
        ErrorCode.INTERNAL: ErrorRow(
            500,
            "internal error",
            "The runtime itself failed.",
            "Find `http.internal.error` in the processor's log and report it.",
        ),
        ErrorCode.SETUP: ErrorRow(
            500,
            "set-up failed",
            "The processor's set-up raised an exception.",
            "Find `setup.error` in the processor's log, then restart the service.",
        ),
        ErrorCode.IMAGE_DIGEST_MISSING: ErrorRow(
            500,
            "IMAGE_DIGEST env var not set",
            "The service cannot say which image it is.",
            "Start it with `IMAGE_DIGEST=sha256:…`, as every adapter does.",
        ),
        ErrorCode.MISSING_SECRET: ErrorRow(
            500,
            "required secret not set",
            "A real run needs a secret that is unset or empty.",
            "Set the variables that `details` names where the service starts.",
        ),
        ErrorCode.OUTPUT_PATH: ErrorRow(
            500,
            "output path not allowed",
            "The handler wrote outside `outputs/`.",
            "Write relative paths under `outputs/`, without `..` or links.",
        ),
        ErrorCode.OUTPUT_DUPLICATE: ErrorRow(
            500,
            "output written twice",
            "The handler wrote the same output a second time.",
            "Write each output once.",
        ),
        ErrorCode.OUTPUT_MISSING: ErrorRow(
            500,
            "declared output not written",
            "The handler ended without an output that the registry promises.",
            "Write it, or mark it `optional: true` in `registry.yaml`.",
        ),
        ErrorCode.OUTPUT_UNDECLARED: ErrorRow(
            500,
            "output not declared",
            "The handler wrote an output that the registry does not know.",
            "Add it to `outputs` in `registry.yaml`.",
        ),
        ErrorCode.PROVIDER: ErrorRow(
            502,
            "provider failed",
            "The service behind the handler failed; retryable where the handler says so.",
            "If `retryable`, try again later; else check the account and the request.",
        ),
        ErrorCode.DRAINING: ErrorRow(
            503,
            "shutting down",
            "The service received SIGTERM and takes no new runs.",
            "Ask again after `Retry-After` seconds: another instance answers.",
            retryable=True,
        ),
        ErrorCode.TIMEOUT: ErrorRow(
            504,
            "deadline passed",
            "The run took longer than `timeout_s`.",
            "Raise `runtime.timeout_s` in the registry, or send less work.",
        ),
        ErrorCode.STORAGE: ErrorRow(
            507,
            "cannot write artifacts",
            "The artifacts folder is full, read-only or not writable.",
            "Free space or fix the mount's owner, then ask again.",
            retryable=True,
        ),
        ErrorCode.NETWORK: ErrorRow(
            None,
            "processor not reachable",
            "The connection failed before an answer came.",
            "Check that the service runs; the same request may be sent again.",
            retryable=True,
        ),
        ErrorCode.BAD_RESPONSE: ErrorRow(
            None,
            "answer is not an envelope",
            "Something answered that does not keep the contract.",
            "Check what listens at this address; run the conformance kit against it.",
        ),
        ErrorCode.HEALTH: ErrorRow(
            None,
            "processor did not become healthy",
            "It started and never said `ok`, or its set-up failed.",
            "Read the last lines of its log in `details`.",
        ),
        ErrorCode.CRASHED: ErrorRow(
            None,
            "processor died in a run",
            "The process ended before it answered; `details` has exit status, signal or out of memory.",
            "Raise `memory_gb` if it ran out of memory; else read the log.",
        ),
        ErrorCode.DOCKER: ErrorRow(
            None,
            "Docker Engine failed",
            "The engine refused or failed.",
            "Check `docker info`; `details` says what was asked.",
        ),
        ErrorCode.IMAGE_NOT_FOUND: ErrorRow(
            None,
            "image not found",
            "The pinned digest is neither here nor in its image registry.",
            "Publish the image, or correct the pin.",
        ),
        ErrorCode.IMAGE_PULL: ErrorRow(
            None,
            "image could not be pulled",
            "The image registry refused or was not reachable.",
            "Check the login and the network, then ask again.",
            retryable=True,
        ),
        ErrorCode.IMAGE_UNPINNED: ErrorRow(
            None,
            "image not pinned by digest",
            "The registry has no digest for this platform, or a tag was given.",
            "Run `processorctl publish`; without an image registry use `--build`, without Docker `--adapter process`.",
        ),
        ErrorCode.DIGEST_DRIFT: ErrorRow(
            None,
            "another image answered",
            "The digest that answered is not the expected one, or is not known.",
            "Do not use the result. Compare the pin with what is deployed.",
        ),
        ErrorCode.SIGNATURE: ErrorRow(
            None,
            "signature not accepted",
            "The image's signature or attestation fails the policy.",
            "Check who signed the digest, and `SIGNATURE_POLICY`.",
        ),
        ErrorCode.ENDPOINT_MISSING: ErrorRow(
            None,
            "no deployed endpoint",
            "Nothing is deployed under this name in this environment.",
            "Deploy it with `modalctl deploy`.",
        ),
        ErrorCode.MODAL_AUTH: ErrorRow(
            None,
            "Modal refused the credentials",
            "The token or the proxy token is missing or wrong.",
            "Set `MODAL_TOKEN_ID`, `MODAL_TOKEN_SECRET`, `MODAL_PROXY_TOKEN_ID` and `MODAL_PROXY_TOKEN_SECRET`.",
        ),
        ErrorCode.REF_NOT_FOUND: ErrorRow(
            None,
            "no such processor",
            "The ref is malformed or no registry.yaml declares it.",
            "`details` names what exists.",
        ),
        ErrorCode.REGISTRY_INVALID: ErrorRow(
            None,
            "registry.yaml is invalid",
            "At least one registry file breaks its schema or its meaning.",
            "`details` has every problem with file and line.",
        ),
        ErrorCode.ARTIFACT_MISMATCH: ErrorRow(
            None,
            "artifacts do not match the envelope",
            "A file that the envelope names is missing, or has another size or hash.",
            "Do not use the result. Check that both sides see the same artifacts folder.",
        ),
    }
)


class Detail(TypedDict):
    """One reason: *path* is a JSON pointer or a name, *message* a rule. Never a value."""

    path: str
    message: str


class ProcessorError(Exception):
    """Base of every failure that crosses the wire as an error envelope.

    `code` and `message` belong to the class: they are sent, and never vary.
    What varies goes to *details*, which are sent and hold paths and rules but
    never values, or to *context*, which is only logged.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    status: ClassVar[int | None] = None
    message: ClassVar[str] = ""

    def __init__(self, *details: Detail, **context: object) -> None:
        row = ERRORS[self.code]
        self.text = self.message or row.message
        super().__init__(self.text)
        self.details = details[:MAX_DETAILS]
        self.context = context
        self.retryable = row.retryable

    @property
    def http_status(self) -> int:
        """The status a processor answers with; 500 for a code that no processor sends."""
        return self.status or ERRORS[self.code].status or 500


class InputsError(ProcessorError):
    """A handler cannot use its inputs: a file of an unknown kind, say."""

    code = ErrorCode.INPUTS
    message = "inputs not usable"


class ProviderError(ProcessorError):
    """What stands behind the handler failed; *retryable* says whether asking again may help."""

    code = ErrorCode.PROVIDER

    def __init__(self, *details: Detail, retryable: bool = False, **context: object) -> None:
        super().__init__(*details, **context)
        self.retryable = retryable


class MediaTypeError(ProcessorError):
    """The body is not announced as plain JSON."""

    code, status, message = ErrorCode.INPUTS, 415, "Content-Type must be application/json"


class BodyTooLargeError(ProcessorError):
    """More bytes than `PROCESSOR_MAX_BODY_BYTES`."""

    code, status, message = ErrorCode.INPUTS, 413, "Request body too large"


class BodyInvalidError(ProcessorError):
    """The body is not an I-JSON object."""

    code, message = ErrorCode.INPUTS, "Invalid JSON body"


class ExecutionIdMissingError(ProcessorError):
    """There is no `execution_id`."""

    code, message = ErrorCode.INPUTS, "missing execution_id"


class ExecutionIdInvalidError(ProcessorError):
    """`execution_id` is not `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`."""

    code, message = ErrorCode.INPUTS, "invalid execution_id"


class WritePrefixMissingError(ProcessorError):
    """There is no `write_prefix`."""

    code, message = ErrorCode.INPUTS, "missing write_prefix"


class WritePrefixError(ProcessorError):
    """`write_prefix` is malformed, or lies where nothing may be written."""

    code = ErrorCode.WRITE_PREFIX


class SchemaVersionError(ProcessorError):
    """`schema` is not `v1`."""

    code, message = ErrorCode.INPUTS, "unsupported schema"


class ModeInvalidError(ProcessorError):
    """`mode` is unknown, or not served by this process."""

    code = ErrorCode.MODE_INVALID


class CiSafetyError(ProcessorError):
    """Real mode was asked for inside CI."""

    code = ErrorCode.CI_SAFETY


class RefMismatchError(ProcessorError):
    """The request is meant for another processor."""

    code = ErrorCode.REF_MISMATCH


class TimeoutInvalidError(ProcessorError):
    """`timeout_s` is not a number above zero."""

    code, message = ErrorCode.INPUTS, "invalid timeout_s"


class ContextInvalidError(ProcessorError):
    """`context` is not an object of at most 4 KiB."""

    code, message = ErrorCode.INPUTS, "invalid context"


class UnknownFieldError(ProcessorError):
    """The request has a key that the contract does not know."""

    code, message = ErrorCode.INPUTS, "unknown field"


class SchemaMismatchError(ProcessorError):
    """`inputs` breaks the registry's schema."""

    code, message = ErrorCode.INPUTS, "inputs do not match the schema"


class ArtifactNotUsableError(ProcessorError):
    """A file reference names no readable file with that hash."""

    code, message = ErrorCode.INPUTS, "artifact not usable"


class ImageDigestMissingError(ProcessorError):
    """`IMAGE_DIGEST` is not set."""

    code, message = ErrorCode.IMAGE_DIGEST_MISSING, "IMAGE_DIGEST env var not set"


class ImageDigestInvalidError(ProcessorError):
    """`IMAGE_DIGEST` is set to something that is not a digest."""

    code, message = ErrorCode.IMAGE_DIGEST_MISSING, "IMAGE_DIGEST is not a digest"


class MissingSecretError(ProcessorError):
    """A real run lacks a required secret."""

    code = ErrorCode.MISSING_SECRET


class UnauthorizedError(ProcessorError):
    """The bearer token is missing or wrong."""

    code = ErrorCode.UNAUTHORIZED


class NotFoundError(ProcessorError):
    """No such route or execution."""

    code = ErrorCode.NOT_FOUND


class MethodError(ProcessorError):
    """The route does not take this method."""

    code = ErrorCode.METHOD


class ExecutionConflictError(ProcessorError):
    """Something else has this id or prefix."""

    code = ErrorCode.EXECUTION_CONFLICT


class BusyError(ProcessorError):
    """No slot and no waiting place."""

    code = ErrorCode.BUSY


class DrainingError(ProcessorError):
    """The service is shutting down."""

    code = ErrorCode.DRAINING


class CancelledRunError(ProcessorError):
    """The run was cancelled before it settled."""

    code = ErrorCode.CANCELLED


class DeadlineError(ProcessorError):
    """The run's time is up."""

    code = ErrorCode.TIMEOUT


class HandlerFailedError(ProcessorError):
    """The handler raised something that is not its to raise."""

    code = ErrorCode.RUNTIME


class InternalError(ProcessorError):
    """The runtime itself failed."""

    code = ErrorCode.INTERNAL


class SetupFailedError(ProcessorError):
    """Set-up raised, so no real run can be served."""

    code = ErrorCode.SETUP


class OutputPathError(ProcessorError):
    """An output does not lie under `outputs/`."""

    code = ErrorCode.OUTPUT_PATH


class OutputDuplicateError(ProcessorError):
    """An output was written twice."""

    code = ErrorCode.OUTPUT_DUPLICATE


class OutputMissingError(ProcessorError):
    """A declared output was not written."""

    code = ErrorCode.OUTPUT_MISSING


class OutputUndeclaredError(ProcessorError):
    """An output is not in the registry."""

    code = ErrorCode.OUTPUT_UNDECLARED


class StorageError(ProcessorError):
    """Artifacts cannot be written."""

    code = ErrorCode.STORAGE
