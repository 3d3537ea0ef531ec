"""Read a sample page with `doc/ocr@1` and show what came out: `make demo`, run from code/.

Real mode through the process adapter, so neither Docker nor a key is needed; `ADAPTER=local` builds the image and runs
it in Docker. Where `CI` is set, real mode is refused by contract and the run is a mock one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "code")]

from django.conf import settings  # noqa: E402 - found through the path above

from processor_runtime.settings import ci_is_set  # noqa: E402 - the same
from scripts import make_base_image  # noqa: E402 - the same
from scripts.package_index import uv_environment  # noqa: E402 - the same

REF = "doc/ocr@1"
SAMPLE = Path("apps/core/processors/doc_ocr/samples/page.png")
INPUTS = {"schema": "v1", "params": {"document": {"$attach": "document"}}}
LINES_SHOWN = 12


def command(environ: dict[str, str]) -> list[str]:
    """Return the command line that a user would type for this run."""
    adapter = environ.get("ADAPTER") or "process"
    return [
        *(sys.executable, "manage.py", "run_processor", "--ref", REF),
        *("--adapter", adapter, *(["--build"] if adapter == "local" else [])),
        *("--mode", "mock" if ci_is_set(environ) else "real"),
        *("--attach", f"document={SAMPLE}", "--inputs-json", json.dumps(INPUTS), "--json"),
    ]


def base_image(environ: dict[str, str]) -> dict[str, str]:
    """Return what to add to *environ* so that the image is built on the base image that was made here, if one was."""
    if environ.get("ADAPTER") != "local" or environ.get("BASE_IMAGE") or not make_base_image.held():
        return {}
    return {"BASE_IMAGE": make_base_image.TAG}


def on_this_host(logical: str) -> Path:
    """Return where the file that an envelope calls *logical* lies here: ARTIFACTS_ROOT stands for /artifacts."""
    return Path(settings.ARTIFACTS_ROOT) / Path(logical).relative_to("/artifacts")


def show(envelope: dict[str, Any]) -> None:
    """Print *envelope*, and of a success the first recognised lines and where the annotated picture lies."""
    print(json.dumps(envelope, indent=2, ensure_ascii=False))
    if envelope["status"] != "success":
        return
    files = {Path(row["path"]).name: on_this_host(row["path"]) for row in envelope["outputs"]}
    print(f"\nThe first lines of {SAMPLE.name}, as recognised:\n")
    for line in files["text.txt"].read_text(encoding="utf-8").splitlines()[:LINES_SHOWN]:
        print(f"  {line}")
    for name, path in sorted(files.items()):
        if name.startswith("page-"):
            print(f"\nThe page with its boxes drawn: {_short(path)}")


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def main() -> int:
    """Run the demo; the command's own exit status."""
    base = base_image(dict(os.environ))
    environ = os.environ | uv_environment(os.environ) | base
    line = command(environ)
    words = [*(f"{name}={value}" for name, value in base.items()), "python", *line[1:]]
    shown = " ".join(f"'{part}'" if "{" in part else part for part in words)
    print(f"$ cd code && {shown}\n", flush=True)
    print("… (the first time, packages come from the package index: about a minute)\n", flush=True)
    # stderr is the run's story, one JSON object a line: kept for when it is needed, it would bury the answer here
    done = subprocess.run(line, env=environ, capture_output=True, text=True, check=False)
    try:
        show(json.loads(done.stdout))
    except json.JSONDecodeError:
        print(f"no envelope on stdout, exit status {done.returncode}", file=sys.stderr)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
