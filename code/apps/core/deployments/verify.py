"""Which image a deployed app runs, by the strongest evidence there is. Import it late, as `adapters.modal.sdk`.

Modal names no digest of ours anywhere. In order of strength: the image that
Modal makes of the expected reference *is* the function's; the deployment's tag,
which goes with its version; what the processor itself answers, which is what
its deployer told it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import modal
from modal import exception

from apps.core.adapters.modal import sdk, web
from apps.core.adapters.modal.adapter import FUNCTION, proxy_headers
from apps.core.adapters.modal.limits import DEFAULT
from processor_runtime.errors import ProcessorError
from processor_runtime.values import Digest, DigestError

from .deploy import LOOKUP_S, image_of, silent_about_this_machine
from .history import history
from .plan import Plan

BUILD_S: Final = 1800.0  # an image that Modal has not seen is pulled

Kind = Literal["image", "tag", "run"]
Verdict = Literal["match", "drift", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one kind of evidence shows.

    Attributes:
        evidence: Which kind.
        verdict: What it shows; ``unknown`` where there is none.
        reason: Why, as one sentence.
    """

    evidence: Kind
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether an app runs the image that it should.

    Attributes:
        app: Its name.
        environment: Where it lives.
        expected: The image that it should run.
        verdict: Of the strongest evidence that there is; without any, ``unknown``, which is no success.
        evidence: Which kind that was, or ``None``.
        findings: All that was looked at, strongest first.
    """

    app: str
    environment: str
    expected: str
    verdict: Verdict
    evidence: Kind | None
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the verification as a JSON object."""
        return asdict(self)


async def verify(
    plan: Plan, app: modal.App, client: modal.Client, environ: Mapping[str, str], *, start_allowance_s: float
) -> Verification:
    """Return whether *app* runs the image of *plan*; weaker evidence is looked for only where stronger is missing."""
    looks: tuple[tuple[Kind, Callable[[], Awaitable[Finding]]], ...] = (
        ("image", lambda: _by_image(plan, app, client)),
        ("tag", lambda: _by_tag(plan, environ)),
        ("run", lambda: _by_run(plan, client, environ, start_allowance_s)),
    )
    findings: list[Finding] = []
    for kind, look in looks:
        try:
            findings.append(await look())
        except ProcessorError as exc:
            reason = "; ".join(f"{row['path']}: {row['message']}" for row in exc.details) or exc.text
            findings.append(Finding(kind, "unknown", f"{exc.code}: {reason}"))
        if findings[-1].verdict != "unknown":
            break
    last = findings[-1]
    evidence = None if last.verdict == "unknown" else last.evidence
    return Verification(plan.app, plan.environment, plan.image, last.verdict, evidence, tuple(findings))


async def _by_image(plan: Plan, app: modal.App, client: modal.Client) -> Finding:
    """Let Modal make the image that is expected, which is a look into its cache, and compare ids."""
    async with sdk.within(LOOKUP_S, "the function's image"):
        function = modal.Function.from_name(plan.app, FUNCTION, environment_name=plan.environment, client=client)
        deployed = (await function.info.aio()).image_info.image_id
    if not deployed:
        return Finding("image", "unknown", "Modal does not say which image the function has")
    async with sdk.within(BUILD_S, "the expected image"):
        try:
            with silent_about_this_machine():
                built = await image_of(plan, client).build.aio(app)
        except exception.ImageBuildError:
            return Finding("image", "unknown", f"Modal cannot make an image of {plan.image}")
    if built.object_id == deployed:
        return Finding("image", "match", f"the function's image {deployed} is the one that Modal makes of {plan.image}")
    reason = f"the function's image is {deployed}, and Modal makes {built.object_id} of {plan.image}"
    return Finding("image", "drift", reason)


async def _by_tag(plan: Plan, environ: Mapping[str, str]) -> Finding:
    versions = await history(plan.app, plan.environment, environ)
    if not versions or not versions[0].tag:
        return Finding("tag", "unknown", "the deployment has no tag")
    current = versions[0]
    if current.tag == plan.tag:
        return Finding("tag", "match", f"version {current.number} was deployed as {current.tag}")
    return Finding("tag", "drift", f"version {current.number} was deployed as {current.tag}, not as {plan.tag}")


async def _by_run(plan: Plan, client: modal.Client, environ: Mapping[str, str], start_allowance_s: float) -> Finding:
    async with sdk.within(LOOKUP_S, "the app's address"):
        url = await sdk.web_url(client, plan.app, FUNCTION, plan.environment)
    async with web.client(url, proxy_headers(environ), DEFAULT) as http:
        envelope = await web.refusal(http, plan.ref, deadline_s=start_allowance_s)
    told = envelope["meta"]["image_digest"]
    try:
        digest = Digest.parse(told)
    except DigestError:
        return Finding("run", "unknown", "the processor does not say which image it is")
    if digest == Digest.parse(plan.image):
        return Finding("run", "match", f"the processor says that it is {digest}")
    return Finding("run", "drift", f"the processor says that it is {digest}")
