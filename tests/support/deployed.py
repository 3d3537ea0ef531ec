"""Processors of the tests, deployed to the local Modal by the product's own deployer.

cloud = Cloud(local_modal, tmp_path)
cloud.deploy("fix_steps")
envelope = run(cloud.adapter("fix_steps"), cloud.payload("fix/steps@1", do=[...]))
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from apps.core.adapters.modal import sdk
from apps.core.adapters.modal.adapter import ModalAdapter
from apps.core.adapters.modal.limits import Limits
from apps.core.adapters.modal.naming import VOLUME, Lane
from apps.core.deployments.deploy import Deployment, deploy
from apps.core.deployments.plan import Plan, planned
from apps.core.registry import ImageReference, Registration, load_registration
from processor_runtime.values import Digest
from tests.local_modal import Image, LocalModal
from tests.support.executions import FIXTURES, ROOT, SECRET, Story
from tests.support.service import WAIT_S

RUNTIME: Final = ROOT / "code" / "runtime" / "src"
DIGEST: Final = "sha256:" + "a" * 64
OTHER_DIGEST: Final = "sha256:" + "b" * 64
LANE: Final = Lane("dev", "main", "anna")
SOON: Final = Limits(lookup_s=WAIT_S, transfer_s=WAIT_S, retry_wait_s=0.05)

JsonObject = dict[str, Any]
T = TypeVar("T")


@dataclass
class Cloud:
    """A local Modal, as a user of the product sees it.

    Attributes:
        modal: The local Modal.
        folder: Of the test: artifacts, what is kept, and marks of fixtures lie below it.
        story: What adapters tell.
        secrets: Values of Modal secrets that are made before a deployment needs them.
    """

    modal: LocalModal
    folder: Path
    story: Story = field(default_factory=Story)
    secrets: dict[str, str] = field(default_factory=lambda: {"FIX_SECRET": SECRET})
    _made: set[tuple[str, str]] = field(default_factory=set)

    @property
    def artifacts(self) -> Path:
        """What `/artifacts` is on this machine."""
        return self.folder / "artifacts"

    @property
    def var(self) -> Path:
        """Where addresses of results are kept."""
        return self.folder / "var"

    @property
    def marks(self) -> Path:
        """Where handlers of `fix/steps@1` and tests leave marks for each other."""
        folder = self.folder / "marks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a caller with tokens, on a branch of its own."""
        key, secret = self.modal.proxy_token
        return {
            "PATH": os.environ["PATH"],
            **self.modal.environ,
            "DEPLOY_BRANCH": LANE.branch,
            "DEPLOY_USER": LANE.user,
            "MODAL_PROXY_TOKEN_ID": key,
            "MODAL_PROXY_TOKEN_SECRET": secret,
        }

    def registration(self, name: str) -> Registration:
        """Return a processor of the tests."""
        return load_registration(FIXTURES / name)

    def plan(self, name: str, digest: str = DIGEST, lane: Lane = LANE, **options: Any) -> Plan:
        """Return the plan by which the image *digest* of the processor *name* is deployed; the image exists then."""
        reference = ImageReference.parse(f"ghcr.io/owner/{name}@{digest}")
        self.modal.images[str(reference)] = self.image(name, **options.pop("image", {}))
        return planned(self.registration(name), lane, reference, **options)

    def image(self, name: str, environ: Mapping[str, str] | None = None, **options: Any) -> Image:
        """Return what an image of the processor *name* holds."""
        marks = {"FIXTURE_MARKS": str(self.marks), **(environ or {})}
        return Image(FIXTURES / name, path=(RUNTIME,), environ=marks, **options)

    def deploy(self, name: str, digest: str = DIGEST, **options: Any) -> Deployment:
        """Deploy the image *digest* of the processor *name*."""
        return self.deploy_plan(self.plan(name, digest, **options))

    def deploy_plan(self, plan: Plan) -> Deployment:
        """Deploy *plan*; the secrets that it requires and that have values here exist then."""
        self.make_secrets(plan)

        async def work() -> Deployment:
            async with sdk.client(self.environ) as client:
                return await deploy(plan, client, timeout_s=WAIT_S)

        return asyncio.run(work())

    def make_secrets(self, plan: Plan) -> None:
        """Make the secrets that *plan* requires, unless they exist."""
        import modal

        for name in plan.required_secrets:
            if name in self.secrets and (plan.environment, name) not in self._made:
                self._made.add((plan.environment, name))
                values = {name: self.secrets[name]}
                modal.Secret.objects.create(name, values, environment_name=plan.environment, allow_existing=True)

    def adapter(self, name: str, digest: str | None = DIGEST, **changes: Any) -> ModalAdapter:
        """Return the adapter of the processor *name*; *digest* is the expected one, ``None`` for the registry's."""
        fields: JsonObject = {
            "artifacts_root": self.artifacts,
            "var": self.var,
            "environ": self.environ,
            "start_allowance_s": WAIT_S,
            "journal": self.story.journal,
            "expected": Digest.parse(digest) if digest else None,
            "limits": SOON,
            **changes,
        }
        return ModalAdapter(self.registration(name), **fields)

    @property
    def volume(self) -> Path:
        """The files that are committed to the Volume of dev."""
        volume = self.modal.volumes.named(VOLUME, LANE.environment)
        assert volume is not None, "nothing was deployed"
        return volume.folder

    def events(self) -> list[str]:
        """Return the names of all that adapters told, in order."""
        return [record["event"] for record in self.story.records]

    def methods(self) -> list[str]:
        """Return what Modal's web server was asked: methods with paths, and ``?`` where a result was asked for."""
        from yarl import URL

        return [
            f"{request.method} {URL(request.url).path}{'?' if URL(request.url).query else ''}"
            for request in self.modal.web.requests
        ]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of *work*."""
    return asyncio.run(work)
