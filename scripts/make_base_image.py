"""Make the image that Dockerfiles build on where none can be pulled: `python -m scripts.make_base_image`.

A minimal Debian with Python, as `python:3.12-slim-bookworm` is one, by debootstrap, with this machine's certificates.
It takes about a minute the first time and is kept in the engine; a changed recipe or certificate makes it anew:

    docker build --build-arg BASE_IMAGE=processor-base:bookworm -f apps/core/processors/doc_ocr/Dockerfile .
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processor_runtime.settings import ci_is_set
from scripts import ensure_docker

TAG = "processor-base:bookworm"
PUBLIC = "python:3.12-slim-bookworm"  # the default of every Dockerfile's BASE_IMAGE
LABEL = "processor-base.recipe"  # says from which recipe and certificates an image was made
RECIPE = 1  # counts up when the functions below make something else of the same constants
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Where pip finds certificates; and the image is one environment: no package manager beside pip is used in it
PIP_CONF = f"[global]\ncert = {CERTIFICATES}\nbreak-system-packages = true\n"
ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")
UNUSED = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man", "usr/share/locale")
LOCK = Path("/var/lock/processor-base.lock")


class BaseImageError(Exception):
    """The image cannot be made here; the message says what to do."""


def ensure() -> bool:
    """See that the engine holds the image, or the public one where it cannot be made; whether it had to be made.

    Raises:
        BaseImageError: it cannot be made here.
        subprocess.CalledProcessError: debootstrap or docker failed, and has said why on stderr.
    """
    version, reason = ensure_docker.asked()
    if not version:
        raise BaseImageError(f"no Docker Engine answers ({reason}): see `make docker`")
    recipe = fingerprint()
    if held() == recipe:
        return False
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        if public():
            return False
        raise BaseImageError(f"only root can make it, with debootstrap; and {PUBLIC} cannot be pulled")
    with _alone():
        if held() == recipe:  # another caller made it meanwhile
            return False
        print(f"{TAG}: making it, about a minute …", file=sys.stderr, flush=True)
        # unshare: what debootstrap mounts is gone with it, however it ends
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # /tmp may be mounted without devices
            root = Path(folder, "root")
            _debootstrap(root)
            _furnish(root)
            _import(root, recipe)
    return True


def public() -> bool:
    """Whether the engine holds the public image, which is pulled if need be."""
    commands = (["docker", "image", "inspect", PUBLIC], ["docker", "pull", "--quiet", PUBLIC])
    return any(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in commands)


def fingerprint() -> str:
    """Return what decides what is in the image: the recipe, and the certificates of this machine."""
    certificates = CERTIFICATES.read_bytes() if CERTIFICATES.exists() else b""
    recipe = (RECIPE, SUITE, PACKAGES, PIP_CONF, ENVIRONMENT, UNUSED, hashlib.sha256(certificates).hexdigest())
    return hashlib.sha256(repr(recipe).encode()).hexdigest()


def held() -> str:
    """Return the fingerprint of the image that the engine has, ``""`` if there is none."""
    label = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", label, TAG], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _debootstrap(root: Path) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), *_mirror()]
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(["unshare", "--mount", *command], stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            log.seek(0)
            sys.stderr.writelines(log.readlines()[-20:])
            raise subprocess.CalledProcessError(done.returncode, command)


def _mirror() -> list[str]:
    """Return the mirror that this machine's apt uses for Debian itself; nothing leaves the choice to debootstrap."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.split()[2] for line in done.stdout.splitlines() if line.startswith("Debian Debian ")][:1]


def _furnish(root: Path) -> None:
    """Make of a Debian what a Dockerfile may expect of a Python image."""
    (root / "usr/bin/python").symlink_to("python3")
    (root / "etc/pip.conf").write_text(PIP_CONF, encoding="utf-8")
    if CERTIFICATES.exists():
        shutil.copyfile(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    for name in UNUSED:
        for path in (root / name).iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _import(root: Path, recipe: str) -> None:
    changes = (*(f"ENV {each}" for each in ENVIRONMENT), 'CMD ["python"]', f"LABEL {LABEL}={recipe}")
    command = ["docker", "import", *(part for change in changes for part in ("--change", change)), "-", TAG]
    archive = subprocess.Popen(["tar", "--create", "--numeric-owner", "--directory", root, "."], stdout=subprocess.PIPE)
    subprocess.run(command, stdin=archive.stdout, stdout=subprocess.DEVNULL, check=True)
    if archive.wait():
        raise subprocess.CalledProcessError(archive.returncode, "tar")


@contextmanager
def _alone() -> Iterator[None]:
    with LOCK.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: list[str]) -> int:
    """Make the image if it is not there; 1 if it cannot be made, which with `--optional` is an error in CI only."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optional", action="store_true", help="outside CI, doing without the image is no failure")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        made = ensure()
    except BaseImageError as error:
        print(f"{TAG}: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"{TAG}: {error.cmd[0]} ended with status {error.returncode}", file=sys.stderr)
    else:
        if made or not options.optional:
            print(f"{TAG}: {f'made in {time.monotonic() - began:.0f} s' if made else 'is there'}")
        return 0
    return 0 if options.optional and not ci_is_set(os.environ) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
