"""What the lanes need, on this machine alone: a clone with an origin, an image registry, a Modal, and keys.

Nothing of it reaches a network beyond loopback, but for what builds an image; nothing is left of it afterwards but
images on the engine. The Modal and the image registry are those of the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from apps.core.registry import load_registry
from scripts import make_base_image
from scripts.lanes import make
from tests.local_modal import Image, LocalModal
from tests.support.docker import serving

ROOT = Path(__file__).resolve().parents[1]
REFS = "llm/chat@1"  # its dependencies are in this environment, so the local Modal can run it
SECRETS = {"OPENAI_API_KEY": "of-no-use-to-anybody"}  # what the processors' registry files require
# what says whose Modal, Django or forge is meant: in a workflow, a lane that is only tried must not reach the real one
FOREIGN = ("MODAL_", "DJANGO_", "GITHUB_", "GH_", "RUNNER_", "ACTIONS_")
_GIT = ("-c", "user.name=lanes", "-c", "user.email=lanes@example.invalid")


@dataclass
class Stage:
    """Where lanes run on this machine.

    Attributes:
        root: A clone of this checkout as it lies here, uncommitted changes included; its origin lies beside it.
        environ: The environment of every step.
        modal: The local Modal.
    """

    root: Path
    environ: dict[str, str]
    modal: LocalModal

    @property
    def processors(self) -> Path:
        """The clone's processors."""
        return self.root / "code" / "apps" / "core" / "processors"

    def make(self, target: str, lane: str, **environ: str) -> bool:
        """Return whether `make <target> LANE=<lane>` held; what was pinned can be pulled by the local Modal then."""
        held = make(target, self.root, {**self.environ, "LANE": lane, **environ})
        if target == "images":
            self.let_pull()
        return held

    def let_pull(self) -> None:
        """Let the local Modal find every image that is pinned: the processor's source stands for it."""
        runtime = self.root / "code" / "runtime" / "src"
        for registration in load_registry(self.processors):
            for pin in registration.platforms.values():
                self.modal.images[str(pin)] = Image(registration.folder, path=(runtime,))


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Give a stage in *folder*, empty: nothing is published or deployed yet."""
    with LocalModal() as modal, serving(_made(folder / "image-registry")) as images:
        key, secret = modal.proxy_token
        environ = {
            **unforeign(os.environ),
            **modal.environ,
            "MODAL_PROXY_TOKEN_ID": key,
            "MODAL_PROXY_TOKEN_SECRET": secret,
            "DEPLOY_BRANCH": "main",
            "DEPLOY_USER": "lanes",
            "IMAGE_REPOSITORY": f"{images.host}/lanes",
            "BASE_IMAGE": base_image(),
            "ARTIFACTS_ROOT": str(_made(folder / "artifacts")),
            "REFS": REFS,
            "SIGNATURE_POLICY": "require",
            **_keys(_made(folder / "keys")),
            **SECRETS,
        }
        made = Stage(clone(folder), environ, modal)
        yield made


def unforeign(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without what names a Modal, a Django or a forge."""
    return {name: value for name, value in environ.items() if not name.startswith(FOREIGN)}


def clone(folder: Path) -> Path:
    """Return a clone of this checkout as it lies here, below *folder*, with an origin that takes what is pushed."""
    root, origin = folder / "clone", folder / "origin.git"
    listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    (root / ".venv").symlink_to(ROOT / ".venv")
    _git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", str(origin))
    _git(root, "init", "--quiet", "--initial-branch", "main")
    (root / ".git" / "info" / "exclude").write_text("/.venv\n", encoding="utf-8")  # here it is a link, not a folder
    _git(root, "add", "--all")
    _git(root, *_GIT, "commit", "--quiet", "--message", "as it lies here")
    _git(root, "remote", "add", "origin", str(origin))
    _git(root, "push", "--quiet", "--set-upstream", "origin", "main")
    return root


def base_image() -> str:
    """Return what images are built on here: the one that this machine made, else the public one."""
    made = subprocess.run(["docker", "image", "inspect", make_base_image.TAG], capture_output=True, check=False)
    return make_base_image.PUBLIC if made.returncode else make_base_image.TAG


def _keys(folder: Path) -> dict[str, str]:
    key = Ed25519PrivateKey.generate()
    public = folder / "lanes.pub"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {"SIGNING_KEY": private, "SIGNATURE_KEYS": str(public)}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
