"""A local Modal by hand, from the repository's root: prints the environment to export, serves until interrupted.

python -m tests.local_modal --image ghcr.io/o/r@sha256:…=code/apps/core/processors/llm_chat
"""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import suppress
from pathlib import Path

from .cloud import LocalModal
from .image import Image


def main(arguments: list[str] | None = None) -> None:
    """Serve until interrupted; the environment is printed first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", action="append", default=[], metavar="REFERENCE=FOLDER", help="may be repeated")
    options = parser.parse_args(arguments)
    with LocalModal() as cloud:
        for image in options.image:
            reference, _, folder = image.rpartition("=")
            cloud.images[reference] = Image(Path(folder).resolve())
        for name, value in cloud.environ.items():
            sys.stdout.write(f"export {name}={value}\n")
        key, secret = cloud.proxy_token
        sys.stdout.write(f"# proxy token: Modal-Key {key}, Modal-Secret {secret}\n\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
