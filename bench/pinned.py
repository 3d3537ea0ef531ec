"""A processor pinned as in production: its image in an image registry on this machine, its digest in its file."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML

from .commands import built, finish
from .environments import SkippedError
from .paths import CODE
from .server import free_ports

_PROCESSORS: Final = "apps/core/processors"
_STARTED_S: Final = 20.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Pinned:
    """One pinned processor.

    Attributes:
        code: A copy of our code whose one processor it is.
        image: What the engine calls its image.
        digest: Its pin.
    """

    code: Path
    image: str
    digest: str

    @property
    def processors(self) -> Path:
        """The folder of processors that has it, and no other."""
        return self.code / _PROCESSORS


@contextmanager
def pinned(ref: str, name: str, root: Path) -> Iterator[Pinned]:
    """Build, push and pin the processor *ref* of the folder *name*, below *root*.

    Raises:
        SkippedError: there is no `docker-registry`, or a step failed.
    """
    made = built(ref)
    with _image_registry(root) as host:
        repository = f"{host}/bench/{name}"
        finish(["docker", "tag", made["id"], f"{repository}:1"])
        try:
            finish(["docker", "push", "--quiet", f"{repository}:1"])
            seen = finish(["docker", "inspect", "--format", '{{join .RepoDigests "\\n"}}', f"{repository}:1"])
            reference = next(line for line in seen.stdout.split() if line.startswith(repository))
            yield Pinned(_written(root, name, made["platform"], reference), made["id"], reference.partition("@")[2])
        finally:
            finish(["docker", "rmi", f"{repository}:1"])


def _written(root: Path, name: str, platform: str, reference: str) -> Path:
    """Return a copy of our code whose one processor is *name*, with its pin."""
    code = root / "code"
    for part in ("apps", "backend"):  # with what Python compiled of them, as it is where they run
        shutil.copytree(CODE / part, code / part, ignore=lambda path, _: _others(Path(path), name))
    shutil.copy2(CODE / "manage.py", code)
    folder = code / _PROCESSORS / name
    yaml = YAML()
    document = yaml.load(folder / "registry.yaml")
    document["image"]["platforms"] = {platform: reference}
    yaml.dump(document, folder / "registry.yaml")
    return code


def _others(folder: Path, name: str) -> list[str]:
    """Return what is not to be copied from *folder*: every processor but *name*."""
    if folder != CODE / _PROCESSORS:
        return []
    return [each.name for each in folder.iterdir() if each.is_dir() and each.name not in {name, "__pycache__"}]


@contextmanager
def _image_registry(root: Path) -> Iterator[str]:
    """Give the address of an image registry that lives as long as this."""
    if not shutil.which("docker-registry"):
        raise SkippedError("there is no docker-registry: `apt-get install docker-registry`, or `make docker` as root")
    host = f"127.0.0.1:{free_ports(1)[0]}"
    config = root / "docker-registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nhttp: {{addr: '{host}', secret: none}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{root / 'images'}'}}}}\n",
        encoding="utf-8",
    )
    with (root / "docker-registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
        try:
            _wait(process, host)
            yield host
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], host: str) -> None:
    ends = time.monotonic() + _STARTED_S
    while time.monotonic() < ends and process.poll() is None:
        connection = http.client.HTTPConnection(host, timeout=1)
        try:
            connection.request("GET", "/v2/")
            if connection.getresponse().status == http.client.OK:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(_POLL_S)
        finally:
            connection.close()
    raise SkippedError("docker-registry did not start")
