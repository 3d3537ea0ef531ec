"""What `modalctl` does, a function an action: values in, one JSON object out. Import it late, as `modal.sdk`."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import modal

from apps.core.adapters.journal import Journal
from apps.core.adapters.modal.lanes import lane_here, user_here
from apps.core.adapters.modal.naming import DEV, Lane, app_name
from apps.core.attestations.policy import judge
from apps.core.host import Host
from apps.core.registry import ImageReference, Registration
from processor_runtime.errors import Detail, ErrorCode, InputsError

from . import apps, collect, history, secrets
from .deploy import deploy
from .plan import DIGEST_TAG, SECRET_TAG, Plan, planned
from .verify import verify

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action answers.

    Attributes:
        value: A JSON object.
        ok: Whether that is a success.
    """

    value: Object
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Site:
    """One app, and what it takes to work on it.

    Attributes:
        registration: The processor.
        lane: Where it lives.
        client: Of Modal.
        host: This machine.
        journal: Told of each step.
    """

    registration: Registration
    lane: Lane
    client: modal.Client
    host: Host
    journal: Journal

    @classmethod
    def of(
        cls, registration: Registration, environment: str, client: modal.Client, host: Host, journal: Journal
    ) -> Self:
        """Return the app that *registration* is in *environment*.

        Raises:
            EndpointMissingError: as `lane_here`.
        """
        lane = lane_here(environment, host.environ, registration.folder)
        journal = journal.bind(app=app_name(registration.ref, lane), environment=lane.environment)
        return cls(registration, lane, client, host, journal)

    @property
    def app(self) -> str:
        """The app's name."""
        return app_name(self.registration.ref, self.lane)

    @property
    def place(self) -> Object:
        """The app's name and where it lives, as every answer begins."""
        return {"app": self.app, "environment": self.lane.environment}

    async def find(self) -> modal.App:
        """Return the app.

        Raises:
            EndpointMissingError: it is not deployed.
        """
        return await apps.find(self.client, self.app, self.lane.environment)


async def deploy_app(site: Site, plan: Plan, *, timeout_s: float) -> Outcome:
    """Deploy *plan*, and say what it became."""
    site.journal.event("modalctl.deploy", image=plan.image)
    judgement = await judge(ImageReference.parse(plan.image), site.registration.ref, site.host.environ)
    if (warning := judgement.warning) is not None:
        site.journal.event("modalctl.signature", level="warning", code=warning.code, details=warning.details)
    deployment = await deploy(plan, site.client, timeout_s=timeout_s)
    site.journal.event("modalctl.deployed", url=deployment.url)
    return Outcome({**site.place, "dry_run": False, "plan": plan.as_json(), "deployment": asdict(deployment)})


async def show_status(site: Site) -> Outcome:
    """Say what is deployed, and what was before."""
    environment = site.lane.environment
    told = await apps.status(site.client, await site.find(), environment)
    versions = await history.history(site.app, environment, site.host.environ)
    return Outcome({**told, "versions": [version.as_json() for version in versions]})


async def verify_app(site: Site, image: ImageReference) -> Outcome:
    """Say whether the app runs *image*; it is no success unless that is shown."""
    app = await site.find()
    tags = await apps.tags_of(app, site.client)
    plan = planned(site.registration, site.lane, image, registry_secret=tags.get(SECRET_TAG))
    verification = await verify(
        plan, app, site.client, site.host.environ, start_allowance_s=site.host.start_allowance_s
    )
    ok = verification.verdict == "match"
    code = {} if ok else {"code": str(ErrorCode.DIGEST_DRIFT)}
    return Outcome({**verification.as_json(), **code}, ok)


async def list_apps(client: modal.Client, environment: str) -> Outcome:
    """List the processors' apps of *environment*."""
    rows = await apps.list_apps(client, environment)
    return Outcome({"environment": environment, "apps": [row.as_json() for row in rows]})


async def show_logs(site: Site, lines: int) -> Outcome:
    """Show the last *lines* that the app's containers wrote."""
    return Outcome({**site.place, "lines": await apps.logs(await site.find(), lines)})


async def stop_app(site: Site, *, dry_run: bool) -> Outcome:
    """Stop the app."""
    app = await site.find()
    if not dry_run:
        await apps.stop(app, site.client)
        site.journal.event("modalctl.stopped")
    return Outcome({**site.place, "dry_run": dry_run, "app_id": app.app_id})


async def sync_secrets(
    registrations: list[Registration], client: modal.Client, environment: str, host: Host, *, dry_run: bool
) -> Outcome:
    """Write secrets from this environment to Modal; a required one that is not set here is no success."""
    rows = await secrets.sync(
        *(registrations, client, environment),
        environ=host.environ,
        memory=host.var / "modal" / "secrets.json",
        dry_run=dry_run,
    )
    ok = not any(row.required and row.state == "missing" for row in rows)
    return Outcome({"environment": environment, "dry_run": dry_run, "secrets": [row.as_json() for row in rows]}, ok)


async def roll_back(site: Site, wanted: int | None, *, dry_run: bool) -> Outcome:
    """Deploy an earlier version again, and let the app's tags say so."""
    environment, environ = site.lane.environment, site.host.environ
    app = await site.find()
    versions = await history.history(site.app, environment, environ)
    target = history.target_of(versions, wanted)
    if not dry_run:
        await history.roll_back(site.app, environment, target, environ)
        # Modal takes back the version, and leaves the app's tags as the last deployment had them
        await apps.set_tags(app, site.client, {DIGEST_TAG: target.tag or "unknown"})
        site.journal.event("modalctl.rolled-back", version=target.number)
    steps = {"from": versions[0].as_json(), "to": target.as_json()}
    return Outcome({**site.place, "dry_run": dry_run, **steps})


async def collect_garbage(
    client: modal.Client, environment: str, host: Host, journal: Journal, *, all_users: bool, dry_run: bool
) -> Outcome:
    """Stop apps in dev whose branch is gone.

    Raises:
        InputsError: another environment; or git cannot say which branches there are.
    """
    if environment != DEV:
        raise InputsError(Detail(path="--env", message=f"only apps in {DEV} belong to a branch"))
    there = collect.branches(host.processors, host.environ)
    rows = await apps.list_apps(client, environment)
    gone = collect.gone(rows, there, user_here(host.environ), all_users=all_users)
    for row in gone:
        if not dry_run:
            await apps.stop(await apps.find(client, row.app, environment), client)
            journal.event("modalctl.stopped", app=row.app, environment=environment, branch=row.branch)
    return Outcome({"environment": environment, "dry_run": dry_run, "gone": [row.as_json() for row in gone]})
