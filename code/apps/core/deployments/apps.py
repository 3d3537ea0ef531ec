"""The apps of one environment: found, listed, described, and stopped. Import it late, as `adapters.modal.sdk`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import modal
from modal import exception
from modal.types import AppState

from apps.core.adapters.errors import EndpointMissingError
from apps.core.adapters.modal import sdk
from apps.core.adapters.modal.adapter import FUNCTION
from apps.core.adapters.modal.naming import ref_of
from processor_runtime.errors import Detail

from .deploy import LOOKUP_S, check_environment
from .plan import BRANCH_TAG, DIGEST_TAG, USER_TAG

LOGS_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class AppRow:
    """One processor's app.

    Attributes:
        app: Its name.
        app_id: Modal's id of it.
        ref: Which processor it serves.
        state: Modal's word for it, such as ``deployed``.
        version: Of its deployment, counted from 1, or ``None``.
        deployed_at: RFC 3339, UTC, or ``None``.
        digest: As `plan.digest_tag` shortens it, or ``""``.
        branch: As `naming.tag_of` has it; ``""`` outside dev.
        user: The same.
    """

    app: str
    app_id: str
    ref: str
    state: str
    version: int | None
    deployed_at: str | None
    digest: str
    branch: str
    user: str

    def as_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        return asdict(self)


async def list_apps(client: modal.Client, environment: str) -> list[AppRow]:
    """Return the processors' apps that live in *environment*, by name; other people's apps are left out.

    Raises:
        EndpointMissingError: there is no such environment.
        ProcessorError: as the table in `adapters.modal.sdk` says.
    """
    async with sdk.within(LOOKUP_S, "the apps"):
        await check_environment(client, environment)
        apps = await modal.Environment.from_name(environment, client=client).apps.list.aio()
        rows = [await _row(app, client) for app in apps]
    return sorted((row for row in rows if row is not None), key=lambda row: row.app)


async def find(client: modal.Client, app: str, environment: str) -> modal.App:
    """Return the app that is deployed under that name.

    Raises:
        EndpointMissingError: there is none, or it is stopped.
        ProcessorError: as the table in `adapters.modal.sdk` says.
    """
    async with sdk.within(LOOKUP_S, "the app"):
        try:
            return await modal.App.lookup.aio(app, environment_name=environment, client=client)
        except exception.NotFoundError as exc:
            rule = f"no app {app} is deployed in {environment}"
            raise EndpointMissingError(Detail(path="modal", message=rule)) from exc


async def status(client: modal.Client, app: modal.App, environment: str) -> dict[str, Any]:
    """Return what Modal says of *app*: its row, its address, and what its function was given.

    Raises:
        EndpointMissingError: it has no function of ours.
        ProcessorError: as the table in `adapters.modal.sdk` says.
    """
    async with sdk.within(LOOKUP_S, "the app"):
        row = await _row(app, client)
        function = modal.Function.from_name(app.name or "", FUNCTION, environment_name=environment, client=client)
        info = await function.info.aio()
        url = await function.get_web_url.aio()
    if row is None:
        raise EndpointMissingError(Detail(path="modal", message=f"{app.name} is no processor's app: it has other tags"))
    return {
        **row.as_json(),
        "environment": environment,
        "url": url or "",
        "image_id": info.image_info.image_id,
        "timeout_s": info.timeout,
        "proxy_auth": not (info.web_info and info.web_info.unauthenticated),
    }


async def logs(app: modal.App, lines: int) -> list[dict[str, str]]:
    """Return the last *lines* that *app* wrote, oldest first: what it said, when, and to which stream.

    Raises:
        ProcessorError: as the table in `adapters.modal.sdk` says.
    """
    async with sdk.within(LOGS_S, "the log"):
        return [
            {
                "timestamp": entry.timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "source": entry.source,
                "message": entry.message.rstrip("\n"),
            }
            async for entry in app.logs.tail.aio(lines)
        ]


async def stop(app: modal.App, client: modal.Client) -> None:
    """Stop *app*: its address answers no more, its containers end, its name is free.

    Raises:
        ProcessorError: as the table in `adapters.modal.sdk` says.
    """
    async with sdk.within(LOOKUP_S, "the app"):
        await app.stop.aio(client=client)


async def tags_of(app: modal.App, client: modal.Client) -> dict[str, str]:
    """Return the tags of *app*."""
    async with sdk.within(LOOKUP_S, "the app's tags"):
        return await app.get_tags.aio(client=client)


async def set_tags(app: modal.App, client: modal.Client, changes: Mapping[str, str]) -> None:
    """Set tags of *app*, and leave the others as they are."""
    async with sdk.within(LOOKUP_S, "the app's tags"):
        await app.set_tags.aio({**await app.get_tags.aio(client=client), **changes}, client=client)


async def _row(app: modal.App, client: modal.Client) -> AppRow | None:
    """Return what is known of *app*, or ``None`` where it is no processor's."""
    info = await app.info.aio()
    if info.lifecycle.state is not AppState.DEPLOYED:
        return None
    tags = await app.get_tags.aio(client=client)
    ref = ref_of(tags)
    if ref is None:
        return None
    deployed_at = info.lifecycle.deployed_at
    return AppRow(
        app=app.name or "",
        app_id=app.app_id or "",
        ref=str(ref),
        state=info.lifecycle.state.value,
        version=info.lifecycle.version,
        deployed_at=deployed_at.isoformat(timespec="seconds").replace("+00:00", "Z") if deployed_at else None,
        digest=tags.get(DIGEST_TAG, ""),
        branch=tags.get(BRANCH_TAG, ""),
        user=tags.get(USER_TAG, ""),
    )
