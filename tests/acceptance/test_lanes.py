"""One digest's way from its build to production and back, on this machine, with each guard on it broken once.

The engine, the image registry, git, the SDK and its Modal are real; only nobody approves anything.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from apps.core.images import sbom
from apps.core.images.distribution import EMPTY, INDEX, MANIFEST, Distribution
from apps.core.images.stored import stored
from apps.core.registry import ImageReference, Repository, load_registration
from scripts.lane_plan import PLANS
from scripts.lanes import Outcome, run
from scripts.lanes_here import REFS, Stage, stage
from tests.support import console
from tests.support.docker import Engine, ImageRegistry
from tests.support.keys import key_pair

pytestmark = [pytest.mark.slow, pytest.mark.network]

RUNBOOKS = sorted(page for page in (console.ROOT / "docs" / "runbooks").glob("*.md") if page.name != "index.md")

# Fails where it is deployed to production, and nowhere else: what only the last smoke run can find
BUG = """
    import os

    if os.environ.get("ARTIFACTS_VOLUME_ENVIRONMENT") == "prod":
        raise RuntimeError("a bug that only production shows")
"""


class Walk:
    """A stage, and who walks over it."""

    def __init__(self, here: Stage) -> None:
        self.here = here
        self.folder = here.processors / "llm_chat"

    def lane(self, name: str, since: str = "", breaks: Callable[[], dict[str, str]] = dict) -> Outcome:
        """Return how the steps of lane *name* ended.

        *breaks* is called before the step *since*; what it returns is in the environment of that step and later ones.
        """
        environ: dict[str, str] = {}

        def step(target: str) -> bool:
            if target == since:
                environ.update(breaks())
            return self.here.make(target, name, **environ)

        return run(name, PLANS[name].steps, step, PLANS[name])

    @property
    def pin(self) -> ImageReference:
        """What is pinned now."""
        return load_registration(self.folder).platforms["amd64"]

    def runs(self, environment: str, image: ImageReference) -> bool:
        """Return whether *image* is what the app in *environment* was made of."""
        words = ("modalctl", "verify", "--ref", REFS, "--env", environment, "--oci", str(image), "--json")
        done = self.manage(*words)
        return bool(json.loads(done.stdout).get("verdict") == "match")

    def deployments(self, environment: str) -> int:
        """Return how often something was deployed to *environment*, as its Modal tells it."""
        return sum(len(app.deployments) for app in self.here.modal.apps if app.environment == environment)

    def deploy_another(self, environment: str) -> ImageReference:
        """Deploy what nobody pinned to *environment*, past every lane, and return it."""
        other = ImageReference.parse(f"{self.pin.repository}@sha256:{'0' * 64}")
        self.here.modal.images[str(other)] = self.here.modal.images[str(self.pin)]
        words = ("modalctl", "deploy", "--ref", REFS, "--env", environment, "--oci", str(other))
        deployed = self.manage(*words, SIGNATURE_POLICY="off")
        assert deployed.returncode == 0, deployed.stderr
        return other

    def manage(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Return how one command of the clone's `manage.py` ended."""
        return subprocess.run(
            [self.here.root / ".venv" / "bin" / "python", "manage.py", *words],
            cwd=self.here.root / "code",
            env={**self.here.environ, "DJANGO_SETTINGS_MODULE": "backend.settings.unittest", **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    def git(self, *arguments: str) -> str:
        """Return what git answers in the clone."""
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", *arguments],
            cwd=self.here.root,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def walk(
    engine: Engine, base_image: str, image_registry: ImageRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Walk]:
    """Give a stage on which what lies here was promoted from dev to production."""
    assert all((engine.version, base_image, image_registry.host))  # each skips by name where there is none
    with stage(tmp_path_factory.mktemp("lanes")) as here:
        walk = Walk(here)
        for name in ("dev", "staging", "prod"):
            assert walk.lane(name) == Outcome(name, PLANS[name].steps)
        yield walk


def test_one_digest_is_carried_to_production(walk: Walk) -> None:
    """Built once, pinned in one commit that was pushed, and the same in all three environments."""
    assert [name for name in ("dev", "staging", "prod") if not walk.runs(name, walk.pin)] == []
    assert walk.git("log", "--format=%s", "origin/main").splitlines()[0] == "pins: run what was built from this source"
    head = walk.git("rev-parse", "HEAD")
    assert {walk.git("rev-parse", f"origin/lanes/{name}") for name in ("dev", "staging", "prod")} == {head}


def test_nothing_is_built_or_pinned_twice(walk: Walk) -> None:
    """The dev lane again, for the same source: no image, no commit, and so no end of commits."""
    before = (walk.git("rev-parse", "HEAD"), walk.pin)

    assert walk.lane("dev").stopped_at == ""

    assert (walk.git("rev-parse", "HEAD"), walk.pin) == before


@pytest.mark.parametrize("page", [page.stem for page in RUNBOOKS])
def test_a_runbook_runs_as_it_is_written(walk: Walk, page: str) -> None:
    """Every command of it but one that builds for minutes, in order, on staging: what is pasted at night was tried."""
    (file,) = (each for each in RUNBOOKS if each.stem == page)
    for _ in range(2):  # so that there is a version to go back to
        assert walk.here.make("deploy", "staging")
    head = walk.manage("modalctl", "status", "--ref", REFS, "--env", "staging", "--json").stdout
    names = {"REF": REFS, "LANE": "staging", "IMAGE": str(walk.pin), "VERSION": f"v{json.loads(head)['version'] - 1}"}
    commands = [
        f"echo '== {each.place}' >&2\n{each.text}" for each in console.collect(file) if "--rebuild" not in each.text
    ]
    walk.git("fetch", "--quiet")

    done = subprocess.run(
        ["bash", "-c", "\n".join(["set -euo pipefail", *commands])],
        cwd=walk.here.root,
        env={**walk.here.environ, **names},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert commands
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


Breaking = Callable[[Walk, Path], AbstractContextManager[dict[str, str]]]


@contextmanager
def registry_file(walk: Walk, change: Callable[[str], str]) -> Iterator[dict[str, str]]:
    """Change the pins for a while."""
    file = walk.folder / "registry.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(change(text), encoding="utf-8")
    try:
        yield {}
    finally:
        file.write_text(text, encoding="utf-8")


def unpinned(walk: Walk, _: Path) -> AbstractContextManager[dict[str, str]]:
    """No pin at all."""
    return registry_file(walk, lambda text: text.replace(f"  platforms:\n    amd64: {walk.pin}\n", ""))


def tagged(walk: Walk, _: Path) -> AbstractContextManager[dict[str, str]]:
    """A tag where a digest should be."""
    return registry_file(walk, lambda text: text.replace(str(walk.pin), f"{walk.pin.repository}:latest"))


@contextmanager
def other_key(_: Walk, folder: Path) -> Iterator[dict[str, str]]:
    """Another key is trusted than the one that signed."""
    yield {"SIGNATURE_KEYS": str(key_pair(folder).public)}


@contextmanager
def no_secret(_: Walk, __: Path) -> Iterator[dict[str, str]]:
    """A secret that a processor requires is not set."""
    yield {"OPENAI_API_KEY": ""}


@contextmanager
def unreviewed(walk: Walk, _: Path) -> Iterator[dict[str, str]]:
    """A commit that was never merged."""
    walk.git("commit", "--quiet", "--allow-empty", "--message", "not reviewed")
    try:
        yield {}
    finally:
        walk.git("update-ref", "HEAD", "HEAD~1")


@contextmanager
def drifted(walk: Walk, _: Path) -> Iterator[dict[str, str]]:
    """Somebody deployed another image to staging."""
    walk.deploy_another("staging")
    try:
        yield {}
    finally:
        assert walk.here.make("deploy", "staging")


@contextmanager
def exchanged_bill(walk: Walk, _: Path) -> Iterator[dict[str, str]]:
    """Another bill of materials lies beside the image than the one that was signed."""
    known = asyncio.run(referrers(walk.pin))
    asyncio.run(lay_a_bill_beside(walk.pin))
    try:
        yield {}
    finally:
        asyncio.run(list_referrers(walk.pin, known))


async def referrers(image: ImageReference) -> list[dict[str, object]]:
    """Return what lies beside *image*."""
    async with Distribution.open(Repository.parse(image.repository), os.environ) as distribution:
        return await distribution.referrers(image.digest)


async def lay_a_bill_beside(image: ImageReference) -> None:
    """Put a bill of materials beside *image* that says that nothing is in it."""
    async with Distribution.open(Repository.parse(image.repository), os.environ) as distribution:
        subject = (await stored(distribution, str(image.digest), "amd64")).manifest.descriptor()
        layer = await distribution.put_blob(b'{"components":[]}', sbom.MEDIA_TYPE)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": sbom.MEDIA_TYPE, "layers": [layer]}
        config = await distribution.put_blob(b"{}", EMPTY)
        await distribution.put_manifest({**manifest, "config": config, "subject": subject})


async def list_referrers(image: ImageReference, rows: list[dict[str, object]]) -> None:
    """Let *rows* be all that lies beside *image*: this image registry keeps the list under a tag."""
    async with Distribution.open(Repository.parse(image.repository), os.environ) as distribution:
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": rows}
        await distribution.put_manifest(index, str(image.digest).replace(":", "-"))


@dataclass(frozen=True)
class Guard:
    """One guard, and what becomes of the lane that it guards.

    Attributes:
        breaking: How it is broken.
        lane: Which lane is walked.
        since: The step before which it is broken.
        stop: The step that stops.
        code: What that step says.
    """

    breaking: Breaking
    lane: str
    since: str
    stop: str
    code: str


PROMOTE = ("staging", "promote", "promote")  # broken before the lane begins, stopped by its first step
GUARDS = [
    pytest.param(Guard(unpinned, *PROMOTE, "ERR_IMAGE_UNPINNED"), id="an image that is not pinned"),
    pytest.param(Guard(tagged, *PROMOTE, "ERR_REGISTRY_INVALID"), id="a tag instead of a digest"),
    pytest.param(Guard(unreviewed, *PROMOTE, "ERR_INPUTS"), id="a commit that is not on main"),
    pytest.param(Guard(exchanged_bill, *PROMOTE, "ERR_SIGNATURE"), id="another bill of materials"),
    pytest.param(Guard(exchanged_bill, "staging", "secrets", "deploy", "ERR_SIGNATURE"), id="the same, past promotion"),
    pytest.param(Guard(other_key, *PROMOTE, "ERR_SIGNATURE"), id="a signature by another key"),
    pytest.param(Guard(other_key, "staging", "secrets", "deploy", "ERR_SIGNATURE"), id="the same key, past promotion"),
    pytest.param(Guard(other_key, "staging", "smoke", "smoke", "ERR_SIGNATURE"), id="the same key, when it is run"),
    pytest.param(Guard(no_secret, "dev", "images", "secrets", "ERR_MISSING_SECRET"), id="a secret missing in dev"),
    pytest.param(Guard(no_secret, "staging", "promote", "secrets", "ERR_MISSING_SECRET"), id="a secret missing"),
    pytest.param(Guard(drifted, "staging", "drift", "drift", "ERR_DIGEST_DRIFT"), id="drift after the runs"),
    pytest.param(Guard(drifted, "prod", "promote", "promote", "ERR_DIGEST_DRIFT"), id="drift in the lane before"),
]


@pytest.mark.parametrize("guard", GUARDS)
def test_a_broken_guard_stops_its_lane(
    walk: Walk, tmp_path: Path, capfd: pytest.CaptureFixture[str], guard: Guard
) -> None:
    """The steps before hold, the right one stops with the right code, and none runs after it; whole again, it holds."""
    steps, before = PLANS[guard.lane].steps, walk.deployments(guard.lane)
    held = steps[: steps.index(guard.stop)]

    with ExitStack() as broken:
        outcome = walk.lane(guard.lane, guard.since, lambda: broken.enter_context(guard.breaking(walk, tmp_path)))
        printed, deployed = capfd.readouterr().out, walk.deployments(guard.lane) > before

    assert outcome == Outcome(guard.lane, held, guard.stop)
    assert called(printed) == [*held, guard.stop]
    assert f"{guard.lane} stopped at {guard.stop}: {guard.code}: " in printed
    assert deployed is ("deploy" in held)
    assert walk.here.make(guard.stop, guard.lane)


@pytest.mark.parametrize("stop", ["smoke", "drift"])
def test_drift_in_production_is_found_and_undone(walk: Walk, capfd: pytest.CaptureFixture[str], stop: str) -> None:
    """Somebody deploys another image right after the lane did, or after its smoke run: what is pinned runs again."""
    seen: list[bool] = []

    def drifts() -> dict[str, str]:
        seen.append(walk.runs("prod", walk.deploy_another("prod")))
        return {}

    outcome = walk.lane("prod", stop, drifts)
    printed = capfd.readouterr().out

    steps = PLANS["prod"].steps
    held = steps[: steps.index(stop)]
    assert seen == [True]
    assert outcome == Outcome("prod", held, stop, undone=True)
    assert called(printed) == [*held, stop, "rollback"]
    assert f"prod stopped at {stop}: ERR_DIGEST_DRIFT: " in printed
    assert walk.runs("prod", walk.pin)


def called(printed: str) -> list[str]:
    """Return the steps that were called, in order."""
    return re.findall(r"(?m)^--- make (\S+)", printed)


def test_a_deployment_by_tag_is_refused(walk: Walk) -> None:
    """Whatever the registry says: a tag on the command line names nothing that could be verified."""
    words = ("--ref", REFS, "--env", "staging", "--oci", f"{walk.pin.repository}:latest", "--json")
    done = walk.manage("modalctl", "deploy", *words)

    assert json.loads(done.stdout)["error"]["code"] == "ERR_IMAGE_UNPINNED"


def test_a_failed_smoke_brings_back_what_ran_before(walk: Walk) -> None:
    """A bug that only production shows: it is stopped at smoke, and the digest before it runs again."""
    before, promoted = walk.pin, walk.git("rev-parse", "origin/lanes/prod")
    handler = walk.folder / "app" / "handler.py"
    handler.write_text(with_bug(handler.read_text(encoding="utf-8")), encoding="utf-8")
    walk.git("commit", "--quiet", "--all", "--message", "llm/chat: add a bug")
    walk.git("push", "--quiet")

    assert walk.lane("dev").stopped_at == ""
    assert walk.pin != before
    assert walk.lane("staging").stopped_at == ""
    outcome = walk.lane("prod")

    assert (outcome.stopped_at, outcome.undone) == ("smoke", True)
    assert walk.runs("prod", before)
    assert not walk.runs("prod", walk.pin)
    walk.git("fetch", "--quiet")
    assert walk.git("rev-parse", "origin/lanes/prod") == promoted


def with_bug(source: str) -> str:
    """Return *source* with `BUG` as the first statement of its `entry`."""
    head, _, body = source.partition("def entry(run: Run) -> None:")
    assert body
    docstring = body.index('"""', body.index('"""') + 3) + 3
    return f"{head}def entry(run: Run) -> None:{body[:docstring]}{BUG}{body[docstring:]}"
