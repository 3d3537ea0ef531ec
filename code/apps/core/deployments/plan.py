"""What a deployment will be, before anything is asked of Modal: a pure function of registry, lane and image."""

import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from apps.core.adapters.modal.adapter import FUNCTION, PLATFORM
from apps.core.adapters.modal.naming import VOLUME, Lane, app_name, ref_tags, tag_of
from apps.core.images.errors import ImageUnpinnedError
from apps.core.registry import ImageReference, ImageReferenceError, Registration
from processor_runtime.errors import Detail, InputsError
from processor_runtime.prefix import ARTIFACTS
from processor_runtime.values import Digest

ENTRY: Final = Path(__file__).with_name("modal_entry.py")
BUILDER: Final = "2025.06"  # the first version of Modal's image builder that adds nothing to the FROM line
START_S: Final = 600
LONGEST_S: Final = 86_400  # Modal's limit, and the registry's
DIGEST_TAG: Final = "image-digest"
BRANCH_TAG: Final = "processor-branch"
USER_TAG: Final = "processor-user"
SECRET_TAG: Final = "registry-secret"  # noqa: S105  # the name of a tag

_TAG_DIGITS: Final = 40  # of 64: Modal's tags end at 50 characters; 160 bits are as good as a git commit's
_SETTLE_S: Final = 60
_SECRET_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,63}")


@dataclass(frozen=True, slots=True)
class Plan:
    """One app with one web function, and all that Modal is told about it.

    Attributes:
        app: Its name.
        environment: Modal's environment that it lives in.
        ref: Which processor it serves.
        image: ``repository@sha256:…``, the one thing that it is made of.
        dockerfile: All lines of the image's definition.
        builder: The version of Modal's image builder that leaves it so.
        registry_secret: The Modal secret by which a private image registry is read, or ``None``.
        function: The entry file's function.
        uploads: Names of the files that leave this machine.
        cpu: Cores, wanted and at most.
        memory_mib: MiB, wanted and at most.
        gpu: As the registry says, or ``None``.
        timeout_s: Modal's own limit for a request, so much above the processor's that it answers first.
        startup_timeout_s: How long a container may take to start.
        max_inputs: How many requests one container gets at a time.
        required_secrets: Modal secrets, each named as the one variable that it holds; all must exist.
        optional_secrets: The same; those that exist are taken.
        environ: Variables of the function, besides its secrets.
        volumes: By path, the Volume that is mounted there.
        proxy_auth: Whether Modal's web server wants a proxy token.
        tag: Of this deployment, in the app's history.
        app_tags: Of the app.
    """

    app: str
    environment: str
    ref: str
    image: str
    dockerfile: tuple[str, ...]
    builder: str
    registry_secret: str | None
    function: str
    uploads: tuple[str, ...]
    cpu: float
    memory_mib: int
    gpu: str | None
    timeout_s: int
    startup_timeout_s: int
    max_inputs: int
    required_secrets: tuple[str, ...]
    optional_secrets: tuple[str, ...]
    environ: dict[str, str]
    volumes: dict[str, str]
    proxy_auth: bool
    tag: str
    app_tags: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object."""
        return asdict(self)


def planned(
    registration: Registration,
    lane: Lane,
    image: ImageReference,
    *,
    registry_secret: str | None = None,
    proxy_auth: bool = True,
) -> Plan:
    """Return the plan by which *image* serves *registration* in *lane*.

    Raises:
        InputsError: *registry_secret* is no name that Modal takes for a secret and a tag.
    """
    if registry_secret is not None and not _SECRET_NAME.fullmatch(registry_secret):
        rule = "must be a Modal secret's name: letters, digits, dots, dashes and underscores, at most 63"
        raise InputsError(Detail(path="--registry-secret", message=rule))
    declaration = registration.declaration
    runtime = declaration.runtime
    return Plan(
        app=app_name(registration.ref, lane),
        environment=lane.environment,
        ref=str(registration.ref),
        image=str(image),
        dockerfile=(f"FROM {image}",),
        builder=BUILDER,
        registry_secret=registry_secret,
        function=FUNCTION,
        uploads=(ENTRY.name,),
        cpu=float(runtime.cpu),
        memory_mib=math.ceil(runtime.memory_gb * 1024),
        gpu=runtime.gpu,
        timeout_s=_timeout_s(runtime.timeout_s),
        startup_timeout_s=START_S,
        max_inputs=runtime.concurrency,
        required_secrets=declaration.required_secrets,
        optional_secrets=declaration.optional_secrets,
        environ={
            "IMAGE_DIGEST": str(image.digest),
            "IMAGE_PINNED": "1",
            "PROCESSOR_WRITE_ROOTS": ARTIFACTS,  # what lies elsewhere would be lost with its container
            "ARTIFACTS_VOLUME": VOLUME,
            "ARTIFACTS_VOLUME_ENVIRONMENT": lane.environment,
        },
        volumes={ARTIFACTS: VOLUME},
        proxy_auth=proxy_auth,
        tag=digest_tag(image.digest),
        app_tags=_app_tags(registration, lane, image, registry_secret),
    )


def image_of(registration: Registration, oci: str | None) -> ImageReference:
    """Return the image that *oci* names, or where it names none the one that the registry pins for Modal.

    Raises:
        ImageUnpinnedError: a tag, or anything but ``repository@sha256:…``; or nothing is pinned.
    """
    if oci is not None:
        try:
            return ImageReference.parse(oci)
        except ImageReferenceError as exc:
            raise ImageUnpinnedError(Detail(path="--oci", message=str(exc))) from exc
    if (pin := registration.platforms.get(PLATFORM)) is not None:
        return pin
    rule = f"registry.yaml pins no {PLATFORM} image: publish one, or name one by --oci repository@sha256:…"
    raise ImageUnpinnedError(Detail(path="/image/platforms", message=rule))


def digest_tag(digest: Digest) -> str:
    """Return *digest* as Modal takes it in tags: ``sha256-`` and its first 40 digits."""
    algorithm, _, digits = str(digest).partition(":")
    return f"{algorithm}-{digits[:_TAG_DIGITS]}"


def _timeout_s(timeout_s: float) -> int:
    # A run may wait as long as it may take (CONTRACT §5), and then wants to settle. If Modal's limit came first, the
    # caller would get neither the envelope nor the receipt
    return min(math.ceil(2 * timeout_s) + _SETTLE_S, LONGEST_S)


def _app_tags(
    registration: Registration, lane: Lane, image: ImageReference, registry_secret: str | None
) -> dict[str, str]:
    tags = {**ref_tags(registration.ref), DIGEST_TAG: digest_tag(image.digest)}
    if registry_secret is not None:
        tags[SECRET_TAG] = registry_secret
    if lane.own:
        tags |= {BRANCH_TAG: tag_of(lane.branch), USER_TAG: tag_of(lane.user)}
    return tags
