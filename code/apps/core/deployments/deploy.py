"""Makes of a plan an app on Modal, through its SDK. Import it late, as `adapters.modal.sdk`."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import modal
from modal import exception

from apps.core.adapters.errors import EndpointMissingError
from apps.core.adapters.modal import sdk
from apps.core.images.errors import ImagePullError
from processor_runtime.errors import Detail, MissingSecretError

from .plan import BUILDER, ENTRY, Plan

LOOKUP_S: Final = 30.0
_SHOWN_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class Deployment:
    """An app as it was deployed.

    Attributes:
        app: Its name.
        app_id: Modal's id of it.
        environment: Where it lives.
        url: The address that Modal gave its function.
        image: What it is made of.
        secrets: The Modal secrets that it was given.
    """

    app: str
    app_id: str
    environment: str
    url: str
    image: str
    secrets: tuple[str, ...]


async def deploy(plan: Plan, client: modal.Client, *, timeout_s: float) -> Deployment:
    """Deploy *plan*, and return what it became.

    Args:
        plan: What to deploy.
        client: Of the workspace that gets it.
        timeout_s: For all of it; Modal pulls the image meanwhile.

    Raises:
        EndpointMissingError: the environment does not exist.
        MissingSecretError: a secret does not exist there, or lacks its key.
        ImagePullError: Modal could not pull or use the image; the details hold the last lines of its log.
        ProcessorError: as the table in `adapters.modal.sdk` says.
    """
    async with sdk.within(LOOKUP_S, "the environment and its secrets"):
        await check_environment(client, plan.environment)
        secrets = await _secrets(plan, client)
    app, function = _defined(plan, client, secrets)
    async with sdk.within(timeout_s, "the deployment"):
        try:
            with silent_about_this_machine():
                await app.deploy.aio(name=plan.app, environment_name=plan.environment, tag=plan.tag, client=client)
            url = await function.get_web_url.aio()
        except exception.ImageBuildError as exc:
            raise await _pull_error(plan, exc, client) from exc
    return Deployment(plan.app, app.app_id or "", plan.environment, url or "", plan.image, tuple(secrets))


def image_of(plan: Plan, client: modal.Client) -> modal.Image:
    """Return the image of *plan* as Modal defines it: the one FROM line."""
    secret = None if plan.registry_secret is None else _named(plan.registry_secret, plan, client)
    return modal.Image.from_registry(plan.image, secret=secret)


async def check_environment(client: modal.Client, environment: str) -> None:
    """Refuse an *environment* that does not exist.

    Raises:
        EndpointMissingError: it does not.
    """
    try:
        await modal.Environment.from_name(environment, client=client).hydrate.aio()
    except exception.NotFoundError as exc:
        rule = f"Modal has no environment {environment}: make it with `modal environment create {environment}`"
        raise EndpointMissingError(Detail(path="--env", message=rule)) from exc


@contextmanager
def silent_about_this_machine() -> Iterator[None]:
    """Let the SDK find no git repository, and use the image builder that adds nothing.

    It would send author, e-mail address and the remote's URL, tokens inside it
    included, and reads both from the environment of this process alone.
    """
    changes = {"GIT_DIR": os.devnull, "MODAL_IMAGE_BUILDER_VERSION": BUILDER}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


async def _secrets(plan: Plan, client: modal.Client) -> dict[str, modal.Secret]:
    """Return the secrets of *plan* by name; optional ones only if they exist."""
    if plan.registry_secret is not None:
        try:
            await _named(plan.registry_secret, plan, client).hydrate.aio()
        except exception.NotFoundError as exc:
            rule = f"no such secret in {plan.environment}: make it with `modal secret create {plan.registry_secret}`"
            raise MissingSecretError(Detail(path="--registry-secret", message=rule)) from exc
    secrets: dict[str, modal.Secret] = {}
    missing: list[str] = []
    for name in (*plan.required_secrets, *plan.optional_secrets):
        secret = _named(name, plan, client, name)
        try:
            await secret.hydrate.aio()
        except exception.NotFoundError:
            if name in plan.required_secrets:
                missing.append(name)
        else:
            secrets[name] = secret
    if missing:
        rule = f"no such secret in {plan.environment}, or it lacks the key of its name: modalctl secrets sync"
        raise MissingSecretError(*(Detail(path=name, message=rule) for name in missing))
    return secrets


def _named(name: str, plan: Plan, client: modal.Client, *keys: str) -> modal.Secret:
    """Return the secret *name* of the plan's environment, not yet asked for; it must have *keys* then."""
    return modal.Secret.from_name(name, environment_name=plan.environment, required_keys=list(keys), client=client)


def _defined(plan: Plan, client: modal.Client, secrets: dict[str, modal.Secret]) -> tuple[modal.App, Any]:
    """Return the app of *plan*, not yet deployed, and its function."""
    app = modal.App(plan.app, tags=plan.app_tags)
    served: Any = modal.asgi_app(requires_proxy_auth=plan.proxy_auth)(_entry(plan.function))
    served = modal.concurrent(max_inputs=plan.max_inputs)(served)
    function: Any = app.function(
        image=image_of(plan, client),
        cpu=(plan.cpu, plan.cpu),
        memory=(plan.memory_mib, plan.memory_mib),
        gpu=plan.gpu,
        timeout=plan.timeout_s,
        startup_timeout=plan.startup_timeout_s,
        env=dict(plan.environ),
        secrets=list(secrets.values()),
        volumes={
            path: modal.Volume.from_name(name, environment_name=plan.environment, create_if_missing=True, client=client)
            for path, name in plan.volumes.items()
        },
    )(served)
    return app, function


def _entry(function: str) -> Callable[[], object]:
    """Return the entry file's *function*, in a top-level module: of a package, Modal would upload every file."""
    name = ENTRY.stem
    spec = importlib.util.spec_from_file_location(name, ENTRY)
    assert spec is not None  # noqa: S101  # it is a file of ours
    assert spec.loader is not None  # noqa: S101  # the same
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # the SDK looks there for the file of a function
    spec.loader.exec_module(module)
    entry: Callable[[], object] = getattr(module, function)
    return entry


async def _pull_error(plan: Plan, exc: exception.ImageBuildError, client: modal.Client) -> ImagePullError:
    lines: list[str] = []
    with suppress(exception.Error):  # the log is a help, and no reason to fail otherwise
        async for entry in modal.Image.from_id(exc.image_id, client=client).logs.tail.aio(_SHOWN_LINES):
            lines += entry.message.splitlines()
    details = [Detail(path="image", message=line) for line in lines[-_SHOWN_LINES:]]
    return ImagePullError(Detail(path="image", message=f"Modal cannot use {plan.image}: {exc}"), *details)
