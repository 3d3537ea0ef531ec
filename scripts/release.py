"""Release the wheel `processor-runtime`: `make release-check`, `make release-build`, `make changelog-check`.

The version stands in `processor_runtime/__init__.py` and nowhere else. What is built comes from a commit, not from
the files that happen to lie here, by the backend in the hashed lock `requirements/build.txt`; whoever builds the same
commit again gets the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from scripts import release_changelog as changelog
from scripts.package_index import uv_environment

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = "code/runtime"
VERSION_FILE = f"{RUNTIME}/src/processor_runtime/__init__.py"
BUILD_LOCK = "code/requirements/build.txt"
DIST = ROOT / "var" / "dist"
_UV = str(Path(sys.executable).with_name("uv"))


def version(text: str) -> str:
    """Return the version that *text*, the package's `__init__.py`, states.

    Raises:
        ValueError: it states none, or one that is not three numbers.
    """
    found = re.findall(r'(?m)^__version__ = "([^"]*)"$', text)
    if len(found) != 1 or not re.fullmatch(r"\d+\.\d+\.\d+", found[0]):
        raise ValueError(f"{VERSION_FILE} must state one version of three numbers, not {found}")
    return str(found[0])


def tag_of(number: str) -> str:
    """Return the git tag that releases version *number* of the wheel."""
    return f"runtime-v{number}"


def build(commit: str, into: Path, root: Path = ROOT) -> dict[str, str]:
    """Write wheel and source archive of *commit* to *into*, and return the SHA-256 of each by its name.

    Their times are the commit's, so the machine's clock, folder, user and umask leave no trace.

    Raises:
        subprocess.CalledProcessError: git knows no such commit, or the build failed; stderr says why.
    """
    into.mkdir(parents=True, exist_ok=True)
    environment = os.environ | uv_environment(os.environ) | {"SOURCE_DATE_EPOCH": _commit_time(commit, root)}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        archive = source / "source.tar"
        _git(root, "archive", "--output", str(archive), commit, RUNTIME, BUILD_LOCK)
        with tarfile.open(archive) as packed:
            packed.extractall(source, filter="data")
        subprocess.run(
            [
                *(_UV, "build", "--quiet", "--no-config", "--python", sys.executable, "--out-dir", into),
                *("--require-hashes", "--build-constraints", source / BUILD_LOCK, source / RUNTIME),
            ],
            check=True,
            env=environment,
        )
    files = sorted(path for path in into.iterdir() if path.suffix in {".whl", ".gz"})
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def problems(commit: str, tag: str | None, root: Path = ROOT) -> list[str]:
    """Return why *commit* cannot be released, under *tag* if one is given; two builds are compared.

    Raises:
        subprocess.CalledProcessError: as `build`.
    """
    try:
        number = version(_git(root, "show", f"{commit}:{VERSION_FILE}"))
    except ValueError as error:
        return [str(error)]
    found = changelog.problems_of_version(number, _git(root, "show", f"{commit}:{changelog.CHANGELOG}"))
    if tag is not None and tag != tag_of(number):
        found.append(f"the tag {tag} does not release version {number}: that is {tag_of(number)}")
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first, second = build(commit, Path(one), root), build(commit, Path(other), root)
    if first != second:
        found.append(f"two builds of one commit differ: {first} and {second}")
    if f"processor_runtime-{number}-py3-none-any.whl" not in first:
        found.append(f"no wheel of version {number} was built, but {', '.join(first)}")
    return found


def _commit_time(commit: str, root: Path) -> str:
    return _git(root, "log", "-1", "--format=%ct", commit).strip()


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    """Check, build, or look at the changelog; 1 where something stands in the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("check", "build", "changelog"))
    parser.add_argument("--commit", default="HEAD", help="what is released (default: %(default)s)")
    # from the environment too: a tag or branch name is never part of a command line that a shell reads
    tag, base = os.environ.get("TAG"), os.environ.get("BASE_COMMIT") or "origin/main"
    parser.add_argument("--tag", default=tag, help="the tag that is to release it ($TAG)")
    parser.add_argument("--base", default=base, help="what a change is compared with ($BASE_COMMIT, or origin/main)")
    options = parser.parse_args()
    if options.step == "build":
        shutil.rmtree(DIST, ignore_errors=True)  # an older version's files would be published too
        hashes = build(options.commit, DIST)
        lines = [f"{digest}  {name}" for name, digest in hashes.items()]
        (DIST / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print("\n".join(lines))
        return 0
    if options.step == "changelog":
        found = changelog.problems_of_change(*changelog.change_since(options.base, ROOT))
    else:
        found = problems(options.commit, options.tag or None)
    print("\n".join(found) if found else f"nothing stands in the way ({options.step})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
