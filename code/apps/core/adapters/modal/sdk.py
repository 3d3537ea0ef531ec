"""Modal's SDK behind one door: a client, time limits, and what its exceptions mean.

Import it late: the SDK takes longer to import than all else that a command needs.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import modal
from modal import exception

from apps.core.adapters.errors import EndpointMissingError, NetworkError
from apps.core.images.errors import ImagePullError
from processor_runtime.errors import BusyError, DeadlineError, Detail, InputsError, InternalError, ProcessorError

from .errors import ModalAuthError

TOKEN_ID: Final = "MODAL_TOKEN_ID"  # noqa: S105  # the name of a variable
TOKEN_SECRET: Final = "MODAL_TOKEN_SECRET"  # noqa: S105  # the same

CONNECT_S: Final = 15.0
_LONGEST_TEXT: Final = 300

# Each exception that the SDK has, by name, so that a new one is noticed by the test and not by a user. The SDK's own
# table of gRPC statuses is in `modal.exception`.
FAILURES: Final[Mapping[type[BaseException], type[ProcessorError]]] = {
    # who is asking
    exception.AuthError: ModalAuthError,
    exception.PermissionDeniedError: ModalAuthError,
    # not there
    exception.NotFoundError: EndpointMissingError,
    # nobody there, or not able now
    exception.ConnectionError: NetworkError,
    exception.ServiceError: NetworkError,
    exception.InternalError: NetworkError,
    exception.InternalFailure: NetworkError,
    exception.ClientClosed: NetworkError,
    exception.ResourceExhaustedError: BusyError,
    # too late
    exception.TimeoutError: DeadlineError,
    exception.FunctionTimeoutError: DeadlineError,
    exception.MountUploadTimeoutError: DeadlineError,
    exception.VolumeUploadTimeoutError: DeadlineError,
    exception.InteractiveTimeoutError: DeadlineError,
    exception.OutputExpiredError: DeadlineError,
    exception.ExecTimeoutError: DeadlineError,
    exception.SandboxTimeoutError: DeadlineError,
    # what the user asked for
    exception.InvalidError: InputsError,
    exception.ConflictError: InputsError,
    exception.AlreadyExistsError: InputsError,
    exception.LogsFetchError: InputsError,
    # refused to be built: the registry, its secret, or the image
    exception.ImageBuildError: ImagePullError,
    exception.RemoteError: ImagePullError,
    # our own doing, or a version of the SDK that does not fit
    exception.Error: InternalError,
    exception.VersionError: InternalError,
    exception.UnimplementedError: InternalError,
    exception.ExecutionError: InternalError,
    exception.DataLossError: InternalError,
    exception.DeserializationError: InternalError,
    exception.SerializationError: InternalError,
    exception.RequestSizeError: InternalError,
    exception.ModuleNotMountable: InternalError,
    exception.WorkspaceManagementError: InternalError,
    # of sandboxes, which nothing here uses
    exception.SandboxTerminatedError: InternalError,
    exception.SandboxFilesystemError: InternalError,
    exception.SandboxFilesystemNotFoundError: InternalError,
    exception.SandboxFilesystemDirectoryNotEmptyError: InternalError,
    exception.SandboxFilesystemIsADirectoryError: InternalError,
    exception.SandboxFilesystemNotADirectoryError: InternalError,
    exception.SandboxFilesystemPermissionError: InternalError,
    exception.SandboxFilesystemFileTooLargeError: InternalError,
    exception.SandboxFilesystemPathAlreadyExistsError: InternalError,
    exception.SnapshotCreationError: InternalError,
}


def translated(exc: exception.Error) -> ProcessorError:
    """Return what *exc*, raised by the SDK, means; its text, which names apps and secrets and no values, is kept."""
    kind = next((FAILURES[base] for base in type(exc).__mro__ if base in FAILURES), InternalError)
    # never `.status` or `.message`: the SDK warns of them
    text = " ".join(str(exc).split())[:_LONGEST_TEXT]
    return kind(Detail(path="modal", message=f"{type(exc).__name__}: {text}"))


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Translate what the SDK raises within, and end it after *seconds*: it has no limit of its own.

    Raises:
        NetworkError: no answer in time; the detail says to *what*.
        ProcessorError: what the SDK raised, translated.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except exception.Error as exc:
        raise translated(exc) from exc
    except TimeoutError:
        raise NetworkError(Detail(path="modal", message=f"{what}: no answer within {seconds:g} s")) from None


@asynccontextmanager
async def client(environ: Mapping[str, str], *, within_s: float = CONNECT_S) -> AsyncIterator[modal.Client]:
    """Give a client of its own, closed at the end: the SDK's shared one keeps the address it was first made for.

    Args:
        environ: `MODAL_TOKEN_ID` and `MODAL_TOKEN_SECRET`; where they are not
            set, the SDK's profile (`~/.modal.toml`) counts.
        within_s: How long connecting may take: the SDK tries for a minute.

    Raises:
        ModalAuthError: there is no token.
        NetworkError: Modal cannot be reached.
    """
    token_id, token_secret = environ.get(TOKEN_ID), environ.get(TOKEN_SECRET)
    async with within(within_s, "Modal's server"):
        if token_id and token_secret:
            opened = await modal.Client.from_credentials.aio(token_id, token_secret)
        else:
            opened = await modal.Client.from_env.aio()
    try:
        yield opened
    finally:
        await opened.close.aio()


async def web_url(client: modal.Client, app: str, function: str, environment: str) -> str:
    """Return the address that Modal gave *function* of *app*, ``""`` where it serves no web.

    Raises:
        modal.exception.NotFoundError: no such app, or it is stopped, or has no such function; or no such environment.
    """
    handle = modal.Function.from_name(app, function, environment_name=environment, client=client)
    return await handle.get_web_url.aio() or ""
