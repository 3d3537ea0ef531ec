"""The rules of a request, in the contract's order; the first one broken answers (CONTRACT §2)."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import jsonschema_rs

from . import canonical, strict_json
from .artifacts import Artifact, find_references, open_reference
from .declaration import Declaration
from .errors import (
    BodyInvalidError,
    CiSafetyError,
    ContextInvalidError,
    Detail,
    ExecutionIdInvalidError,
    ExecutionIdMissingError,
    ImageDigestInvalidError,
    ImageDigestMissingError,
    MissingSecretError,
    ModeInvalidError,
    ProcessorError,
    RefMismatchError,
    SchemaMismatchError,
    SchemaVersionError,
    TimeoutInvalidError,
    UnknownFieldError,
    WritePrefixError,
    WritePrefixMissingError,
)
from .prefix import Place, expand
from .settings import MODES, Mode, Settings

MAX_CONTEXT_BYTES: Final = 4096
MAX_PATH_CHARACTERS: Final = 256
FIELDS: Final = frozenset(
    {"schema", "execution_id", "write_prefix", "mode", "ref", "inputs", "timeout_s", "context"},
)
_EXECUTION_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class TakesLongError(Exception):
    """The request names files: to hash them takes longer than the thread that checks requests may be held up."""


class Refusal(Exception):  # noqa: N818  # not a failure of ours: it carries one to the answer
    """A request that is no run: the *error* and the execution id, where it was found valid."""

    def __init__(self, error: ProcessorError, execution_id: str) -> None:
        super().__init__(error.text)
        self.error = error
        self.execution_id = execution_id


class RunRequest(NamedTuple):
    """One request that keeps every rule.

    Attributes:
        place: Where the run may write, unless a link leads elsewhere.
        inputs: As sent.
        params: `inputs.params` with each file reference replaced by its file.
        inputs_sha256: SHA-256 of the JCS form of `inputs`, 64 digits.
        timeout_s: Seconds from the handler's start; never above the registry's.
    """

    execution_id: str
    place: Place
    mode: Mode
    inputs: dict[str, Any]
    params: dict[str, Any]
    inputs_sha256: str
    timeout_s: float
    context: dict[str, Any]
    artifacts: tuple[Artifact, ...]
    trace_id: str | None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes two requests the same (CONTRACT §4)."""
        return (self.execution_id, self.mode, self.place.prefix, self.inputs_sha256)

    def close(self) -> None:
        """Close the files that the request names."""
        for artifact in self.artifacts:
            artifact.close()


class Rules:
    """Judges requests to one processor.

    Args:
        declaration: What the processor promises.
        settings: What this service was started with.
        secrets: The declared secrets that are set and non-empty.

    Raises:
        ValueError: the inputs schema is not a Draft-07 schema of its own.
    """

    def __init__(
        self,
        declaration: Declaration,
        settings: Settings,
        secrets: Mapping[str, str],
        validator: jsonschema_rs.Draft7Validator,
        refresh: Callable[[], None] | None = None,
    ) -> None:
        self._declaration = declaration
        self._settings = settings
        self._secrets = secrets
        self._validator = validator
        self._refresh = refresh
        self._ref = str(declaration.ref)

    def check(self, raw: bytes, trace_id: str | None = None, *, files: bool = True) -> RunRequest:
        """Return the request in the body *raw*; whether links lead its prefix elsewhere, `Workspace` finds out.

        Reads the file system (referenced files, and links where another rule is
        broken), so the server's event loop never calls it.

        Raises:
            Refusal: the first rule that *raw* breaks.
            TakesLongError: it names files, and *files* are not to be read.
        """
        try:
            body = strict_json.loads(raw)
        except strict_json.JsonError as exc:
            raise Refusal(BodyInvalidError(Detail(path="", message=str(exc))), "") from None
        if type(body) is not dict:
            raise Refusal(BodyInvalidError(Detail(path="", message="must be an object")), "")
        execution_id = ""
        try:
            execution_id = _execution_id(body)
            return self._check(body, execution_id, trace_id, files=files)
        except ProcessorError as exc:
            raise Refusal(exc, execution_id) from None

    def _check(self, body: dict[str, Any], execution_id: str, trace_id: str | None, *, files: bool) -> RunRequest:
        place = self._place(body, execution_id)
        try:
            return self._after_prefix(body, execution_id, trace_id, place, files=files)
        except ProcessorError:
            place.resolved()  # a rule that comes before the one that was broken
            raise

    def _after_prefix(
        self, body: dict[str, Any], execution_id: str, trace_id: str | None, place: Place, *, files: bool
    ) -> RunRequest:
        if body.get("schema") != "v1":
            raise SchemaVersionError(Detail(path="/schema", message='must be "v1"'))
        mode = self._mode(body)
        if "ref" in body and body["ref"] != self._ref:
            raise RefMismatchError(Detail(path="/ref", message=f"must be {self._ref}"))
        timeout_s = self._timeout(body)
        context = _context(body)
        unknown = body.keys() - FIELDS
        if unknown:
            raise UnknownFieldError(*(Detail(path=_pointer([name]), message="unknown") for name in sorted(unknown)))
        inputs = self._inputs(body)
        params, artifacts = self._files(inputs, read=files)
        try:
            self._identity()
            self._check_secrets(mode)
        except ProcessorError:
            for artifact in artifacts:
                artifact.close()
            raise
        inputs_sha256 = canonical.sha256(inputs)
        # by position: by name it takes longer, and each run makes one
        return RunRequest(
            *(execution_id, place, mode, inputs, params, inputs_sha256, timeout_s, context, artifacts, trace_id)
        )

    def _place(self, body: dict[str, Any], execution_id: str) -> Place:
        text = body.get("write_prefix", "")
        if text == "":
            raise WritePrefixMissingError(Detail(path="/write_prefix", message="required"))
        if not isinstance(text, str):
            raise WritePrefixError(Detail(path="/write_prefix", message="must be a string"))
        return self._settings.roots.check_write_lexically(expand(text, execution_id))

    def _mode(self, body: dict[str, Any]) -> Mode:
        served = MODES if self._settings.mode is None else (self._settings.mode,)
        for mode in served:
            if body.get("mode") == mode:
                if mode == "real" and self._settings.ci:
                    raise CiSafetyError(Detail(path="/mode", message="CI is set"))
                return mode
        raise ModeInvalidError(Detail(path="/mode", message="must be " + " or ".join(served)))

    def _timeout(self, body: dict[str, Any]) -> float:
        limit = self._declaration.runtime.timeout_s
        if "timeout_s" not in body:
            return limit
        timeout_s = body["timeout_s"]
        if type(timeout_s) not in {int, float} or timeout_s <= 0:
            raise TimeoutInvalidError(Detail(path="/timeout_s", message="must be a number above 0"))
        return float(min(timeout_s, limit))

    def _inputs(self, body: dict[str, Any]) -> dict[str, Any]:
        if "inputs" not in body:
            raise SchemaMismatchError(Detail(path="/inputs", message="required"))
        inputs = body["inputs"]
        if not self._validator.is_valid(inputs):
            raise SchemaMismatchError(*map(_detail, self._validator.iter_errors(inputs)))
        if type(inputs) is not dict:  # a schema may forget to say it; handlers may not
            raise SchemaMismatchError(Detail(path="/inputs", message="must be an object"))
        return inputs

    def _files(self, inputs: dict[str, Any], *, read: bool) -> tuple[dict[str, Any], tuple[Artifact, ...]]:
        params = inputs.get("params")
        if type(params) is not dict:
            return {}, ()
        opened: list[Artifact] = []

        def replace(reference: dict[str, Any], pointer: str) -> Artifact:
            if not read:
                raise TakesLongError
            artifact = open_reference(reference, pointer, self._settings.roots, self._refresh)
            opened.append(artifact)
            return artifact

        try:
            replaced = {
                name: find_references(value, _pointer(["inputs", "params", name]), replace)
                if type(value) in {dict, list}
                else value
                for name, value in params.items()
            }
        except ProcessorError:
            for artifact in opened:
                artifact.close()
            raise
        return replaced, tuple(opened)

    def _identity(self) -> None:
        if not self._settings.image_digest_given:
            raise ImageDigestMissingError(Detail(path="IMAGE_DIGEST", message="not set"))
        if not self._settings.image_digest:
            raise ImageDigestInvalidError(Detail(path="IMAGE_DIGEST", message="must be sha256: and 64 digits"))

    def _check_secrets(self, mode: Mode) -> None:
        if mode == "mock":
            return
        missing = [name for name in self._declaration.required_secrets if name not in self._secrets]
        if missing:
            raise MissingSecretError(*(Detail(path=name, message="not set") for name in missing))


def _execution_id(body: dict[str, Any]) -> str:
    text = body.get("execution_id", "")
    if text == "":
        raise ExecutionIdMissingError(Detail(path="/execution_id", message="required"))
    if not isinstance(text, str) or not _EXECUTION_ID.fullmatch(text):
        rule = "must match [A-Za-z0-9][A-Za-z0-9._-]{0,127}"
        raise ExecutionIdInvalidError(Detail(path="/execution_id", message=rule))
    return text


def _context(body: dict[str, Any]) -> dict[str, Any]:
    context = body.get("context", {})
    if type(context) is not dict or (context and len(canonical.dumps(context)) > MAX_CONTEXT_BYTES):
        raise ContextInvalidError(Detail(path="/context", message="must be an object of at most 4 KiB"))
    return context


def _detail(error: jsonschema_rs.ValidationError) -> Detail:
    """Return where and which rule; of what was sent only the place and unexpected keys are named."""
    path = _pointer(["inputs", *error.instance_path])
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        names = ", ".join(sorted(kind.unexpected))
        return Detail(path=path, message=_clip(f"unknown: {names}"))
    return Detail(path=path, message=_clip(error.message.replace("***", "value", 1)))


def _pointer(segments: list[str | int]) -> str:
    """Return the JSON pointer (RFC 6901) of *segments*, cut at 256 characters."""
    return _clip("".join("/" + str(segment).replace("~", "~0").replace("/", "~1") for segment in segments))


def _clip(text: str) -> str:
    return text if len(text) <= MAX_PATH_CHARACTERS else text[: MAX_PATH_CHARACTERS - 1] + "…"
