"""Deploys the sample with the SDK itself: what tests of the local Modal begin with."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import modal

from .cloud import LocalModal
from .image import Image

REFERENCE: Final = f"ghcr.io/o/r@sha256:{'a' * 64}"
OTHER: Final = f"ghcr.io/o/r@sha256:{'b' * 64}"
SAMPLE: Final = Path(__file__).parent / "sample"
BUILDER: Final = "2025.06"  # the first that adds no layers of its own to an image


@dataclass(frozen=True, slots=True)
class Deployed:
    """An app that was deployed, and the address of its function."""

    app: modal.App
    url: str
    proxy_token: tuple[str, str]

    @property
    def headers(self) -> dict[str, str]:
        """What lets a request in."""
        key, secret = self.proxy_token
        return {"Modal-Key": key, "Modal-Secret": secret}

    def ask(self, path: str, text: str = "", **options: Any) -> httpx2.Response:
        """Return the sample's answer to *text*."""
        settings: dict[str, Any] = {"headers": self.headers, "timeout": 60, "trust_env": False} | options
        return httpx2.post(f"{self.url}/{path}", content=text, **settings)


@dataclass(frozen=True, slots=True)
class Deployer:
    """Deploys to *cloud* with the SDK's *client*."""

    cloud: LocalModal
    client: modal.Client

    def image(self, reference: str = REFERENCE, folder: Path = SAMPLE, **options: Any) -> None:
        """Let *reference* name the sample's image, or another one's *folder*."""
        self.cloud.images[reference] = Image(folder, **options)

    def deploy(
        self,
        name: str = "app",
        *,
        reference: str = REFERENCE,
        environment: str = "dev",
        tag: str = "",
        tags: Mapping[str, str] | None = None,
        pull_secret: modal.Secret | None = None,
        strategy: Any = "rolling",
        proxy_auth: bool = True,
        **options: Any,
    ) -> Deployed:
        """Deploy an app of one function. *options* are those of `modal.App.function`."""
        volume = modal.Volume.from_name("artifacts", environment_name=environment, create_if_missing=True)
        image = modal.Image.from_registry(reference, secret=pull_secret)
        app = modal.App(name, tags=dict(tags or {}))
        with sample_entry() as module:
            web = modal.asgi_app(requires_proxy_auth=proxy_auth)(module.fastapi_app)
            settings: dict[str, Any] = {"timeout": 60, "volumes": {"/artifacts": volume}} | options
            function: Any = app.function(image=image, **settings)(modal.concurrent(max_inputs=4)(web))
            app.deploy(name=name, environment_name=environment, tag=tag, client=self.client, strategy=strategy)
        return Deployed(app, str(function.get_web_url()), self.cloud.proxy_token)


@contextmanager
def sample_entry() -> Iterator[Any]:
    """Give the sample's entry file as a top-level module: only then is it uploaded, and nothing else."""
    path = SAMPLE / "sample_entry.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[path.stem]
