"""One step of a lane: `LANE=staging python -m scripts.lane drift`, as `make drift LANE=staging` calls it.

A step asks `manage.py` for what a person would type, prints that line, and judges the answer; it ends with status 1 and
the stable code of what stopped it. Nothing here knows GitHub, Docker or Modal: whoever calls sets the environment.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.lane_plan import BEFORE, ENVIRONMENTS
from scripts.lane_repository import NotOnMainError, login, marked, reviewed

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "code"))

from apps.core.deployments.plan import digest_tag  # noqa: E402 - found through the path above
from apps.core.registry import (  # noqa: E402 - the same
    FILE_NAME,
    Registration,
    RegistryInvalidError,
    load_registration,
    load_registry,
)

SETTINGS = "backend.settings.unittest"  # no secret of Django's is needed
PLATFORM = "amd64"  # the one that Modal runs
PUBLISHED = Path("var", "published.json")  # what the step `images` has built: all that `attest` vouches for
ATTESTED = Path("var", "attested.sha256")  # for whoever attests the same images by another identity, without a key
CI_SAFETY = "ERR_CI_SAFETY"
Answer = dict[str, Any]


class StoppedError(Exception):
    """A step that does not hold: the stable code, and why."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a step works.

    Attributes:
        name: ``dev``, ``staging`` or ``prod``, which is Modal's environment too.
        registrations: The processors that it is about.
        environ: The environment of every command.
        root: The checkout.
    """

    name: str
    registrations: tuple[Registration, ...]
    environ: Mapping[str, str]
    root: Path = ROOT

    @classmethod
    def from_env(cls, environ: Mapping[str, str], root: Path = ROOT) -> Lane:
        """Return the lane that `LANE` and `REFS` name; all processors where `REFS` says nothing.

        Raises:
            StoppedError: there is no such lane or processor, or a registry file is wrong.
        """
        name, wanted = environ.get("LANE", ""), environ.get("REFS", "").split()
        if name not in ENVIRONMENTS:
            raise StoppedError("ERR_INPUTS", f"LANE must be one of {', '.join(ENVIRONMENTS)}, not {name!r}")
        try:
            known = {str(each.ref): each for each in load_registry(root / "code" / "apps" / "core" / "processors")}
        except RegistryInvalidError as error:
            raise StoppedError(error.code, str(error)) from None
        if missing := [ref for ref in wanted if ref not in known]:
            raise StoppedError("ERR_REF_NOT_FOUND", f"REFS names {', '.join(missing)}: there is {', '.join(known)}")
        chosen = tuple(known[ref] for ref in wanted or known)
        return cls(name, chosen, {**environ, "MODAL_ENVIRONMENT": name, "DJANGO_SETTINGS_MODULE": SETTINGS}, root)

    def ask(self, *words: str, **environ: str) -> Answer:
        """Return what `manage.py <words> --json` answers, whatever its exit status.

        Raises:
            StoppedError: it answers no JSON object.
        """
        shown = {name: value for name, value in environ.items() if value}
        line = shlex.join([*(f"{name}={value}" for name, value in shown.items()), "python", "manage.py", *words])
        print(f"$ {line}", flush=True)
        done = subprocess.run(
            [sys.executable, "manage.py", *words, "--json"],
            cwd=self.root / "code",
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            answer: Answer = json.loads(done.stdout)
        except json.JSONDecodeError:
            raise StoppedError("ERR_INTERNAL", f"{words[0]} answered no JSON: {done.stderr[-500:]}") from None
        return {**answer, "story": done.stderr}


def images(lane: Lane) -> None:
    """Publish each processor whose source is not published yet, and pin what became of it.

    What is there already may be anybody's: without the word of a trusted key it is built again.
    """
    if not lane.environ.get("SIGNATURE_KEYS"):
        raise StoppedError("ERR_INPUTS", "SIGNATURE_KEYS is not set: whose images may be taken as they are?")
    file = lane.root / PUBLISHED
    file.unlink(missing_ok=True)  # of an earlier run: what it names may be pinned no more
    refs = [str(each.ref) for each in lane.registrations]
    found = _published(lane, refs)
    if there := [ref for ref in refs if ref not in found]:
        rows = _succeeded(lane.ask("attestctl", "verify", *_each(there), "--platform", PLATFORM))["images"]
        if unproved := [row["ref"] for row in rows if row.get("error", {}).get("code") == "ERR_SIGNATURE"]:
            print(f"  built again, since no trusted key attests what is there: {', '.join(unproved)}")
            found |= _published(lane, unproved, "--rebuild")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(found), encoding="utf-8")


def attest(lane: Lane) -> None:
    """Sign what is known of each image that `images` has built here, and prove that all are attested.

    Of an image that was there already it is not known who built it.
    """
    try:
        built: dict[str, str] = json.loads((lane.root / PUBLISHED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoppedError(
            "ERR_INPUTS", f"{PUBLISHED} is not there: `make images` writes it, in the same job"
        ) from None
    asked = [("sign", _each(built))] if built else []
    for action, refs in [*asked, ("verify", _refs(lane))]:
        for row in _rows(lane.ask("attestctl", action, *refs, "--platform", PLATFORM)):
            print(f"  {row['ref']} {row['state']} {row['image']}")
    (lane.root / ATTESTED).unlink(missing_ok=True)
    if built:
        parts = [image.split("@sha256:") for image in sorted(built.values())]
        lines = "".join(f"{digits}  {repository}\n" for repository, digits in parts)
        (lane.root / ATTESTED).write_text(lines, encoding="utf-8")


def promote(lane: Lane) -> None:
    """Prove that what is pinned is attested, and is what the lane before runs: the same digest, never another build."""
    if lane.name not in BEFORE:
        raise StoppedError("ERR_INPUTS", f"nothing is promoted to {lane.name}: it is where images are made")
    try:
        reviewed(lane.root)
    except NotOnMainError as error:
        raise StoppedError("ERR_INPUTS", str(error)) from None
    _rows(lane.ask("processorctl", "verify", *_refs(lane)))
    _rows(lane.ask("attestctl", "verify", *_refs(lane), "--platform", PLATFORM))
    for registration in lane.registrations:
        _matches(lane, registration, BEFORE[lane.name])


def secrets(lane: Lane) -> None:
    """Write the secrets of this environment to Modal; one that a processor requires must be there."""
    for registration in lane.registrations:
        answer = _succeeded(lane.ask("modalctl", "secrets", "sync", "--env", lane.name, "--ref", str(registration.ref)))
        for row in answer["secrets"]:
            print(f"  {row['name']} {row['state']}")
            if row["required"] and row["state"] == "missing":
                raise StoppedError(
                    "ERR_MISSING_SECRET", f"{row['name']} is not set, and {registration.ref} requires it"
                )


def deploy(lane: Lane) -> None:
    """Deploy each pin."""
    for registration in lane.registrations:
        answer = _succeeded(lane.ask("modalctl", "deploy", "--ref", str(registration.ref), "--env", lane.name))
        print(f"  {answer['app']} {answer['plan']['image']}")


def smoke(lane: Lane) -> None:
    """Run each processor once in mock mode, and take no answer but the pin's."""
    for registration in lane.registrations:
        _run(lane, registration)


def acceptance(lane: Lane) -> None:
    """Hold each processor to more of the contract: a stream, the same again, inputs that break the schema."""
    for registration in lane.registrations:
        name = f"acceptance-{os.urandom(6).hex()}"
        first = _run(lane, registration, "--execution-id", name, "--stream")
        again = _run(lane, registration, "--execution-id", name)
        if first["outputs"] != again["outputs"]:
            raise StoppedError("ERR_BAD_RESPONSE", f"{registration.ref} answered the same request with other outputs")
        words = _run_words(registration, {"schema": "no such schema"})
        code = lane.ask(*words).get("error", {}).get("code")
        if code != "ERR_INPUTS":
            raise StoppedError(code or "ERR_BAD_RESPONSE", f"{registration.ref} did not refuse inputs that are wrong")
        print(f"  {registration.ref} streams, replays and refuses")


def probe(lane: Lane) -> None:
    """Ask for `real` where `CI` is set: refused, and nothing begun."""
    for registration in lane.registrations:
        words = [*_run_words(registration, {}), "--mode", "real"]
        answer = lane.ask(*words, CI="true")
        code = answer.get("error", {}).get("code")
        if code != CI_SAFETY or answer["story"]:
            raise StoppedError(CI_SAFETY, f"real was not refused before anything began: {code or answer['status']}")
        print(f"  {registration.ref} real is refused ({CI_SAFETY})")


def drift(lane: Lane) -> None:
    """Prove of each processor that what runs is what is pinned."""
    for registration in lane.registrations:
        _matches(lane, registration, lane.name)


def rollback(lane: Lane) -> None:
    """Deploy what ran well last, of every processor whatever becomes of the others, and prove that it runs.

    That is what the branch `lanes/<lane>` pins: it is moved when all of the lane's steps hold.
    """
    failures = []
    for registration in lane.registrations:
        try:
            _roll_back(lane, registration)
        except StoppedError as error:
            print(f"  {registration.ref} {error}")
            failures.append(error)
    if failures:
        raise failures[0]


def collect(lane: Lane) -> None:
    """Stop apps in dev whose branch is gone."""
    quiet = replace(lane, environ={**lane.environ, **login(lane.environ)})  # a private repository tells its branches so
    for row in _succeeded(quiet.ask("modalctl", "gc", "--env", lane.name, "--all-users"))["gone"]:
        print(f"  {row['app']} stopped")


STEPS: Mapping[str, Callable[[Lane], None]] = {
    step.__name__: step
    for step in (images, attest, promote, secrets, deploy, smoke, acceptance, probe, drift, rollback, collect)
}


def _refs(lane: Lane) -> list[str]:
    return _each(str(each.ref) for each in lane.registrations)


def _each(refs: Iterable[str]) -> list[str]:
    return [word for ref in refs for word in ("--ref", ref)]


def _published(lane: Lane, refs: Iterable[str], *more: str) -> dict[str, str]:
    """Publish *refs*; return the image of each that had to be built, by its ref."""
    rows = _rows(lane.ask("processorctl", "publish", *_each(refs), "--platform", PLATFORM, *more))
    for row in rows:
        print(f"  {row['ref']} {row['state']} {row['image']}")
    return {row["ref"]: row["image"] for row in rows if row["state"] == "published"}


def _rows(answer: Answer) -> Sequence[Answer]:
    """Return the rows of a command that answers one for each image.

    Raises:
        StoppedError: one of them failed.
    """
    rows: Sequence[Answer] = _succeeded(answer)["images"]
    for row in rows:
        if error := row.get("error"):
            raise StoppedError(error["code"], f"{row['ref']}: {_reasons(error)}")
    return rows


def _succeeded(answer: Answer) -> Answer:
    if error := answer.get("error"):
        raise StoppedError(error["code"], _reasons(error))
    return answer


def _reasons(error: Mapping[str, Any]) -> str:
    details = [": ".join(filter(None, (row["path"], row["message"]))) for row in error.get("details", ())]
    return "; ".join(details) or str(error["message"])


def _matches(lane: Lane, registration: Registration, environment: str) -> None:
    words = ["modalctl", "verify", "--ref", str(registration.ref), "--env", environment]
    answer = _succeeded(lane.ask(*words, MODAL_ENVIRONMENT=environment))
    if answer["verdict"] != "match":
        reasons = "; ".join(f"{row['evidence']}: {row['reason']}" for row in answer["findings"])
        raise StoppedError("ERR_DIGEST_DRIFT", f"{registration.ref} in {environment}: {reasons}")
    print(f"  {registration.ref} in {environment} runs {answer['expected']} (by {answer['evidence']})")


def _roll_back(lane: Lane, registration: Registration) -> None:
    at = ("--ref", str(registration.ref), "--env", lane.name)
    good = _tag_before(lane, registration)
    status = lane.ask("modalctl", "status", *at)
    if status.get("error", {}).get("code") == "ERR_ENDPOINT_MISSING" and not good:
        print(f"  {registration.ref} is not deployed, and never was")
        return
    now, *before = _succeeded(status)["versions"]
    if good and now["tag"] == good:
        print(f"  {registration.ref} runs {good} still")
        return
    if not good:
        _succeeded(lane.ask("modalctl", "stop", *at))
        print(f"  {registration.ref} is stopped: nothing has run well here before")
        return
    target = next((version for version in before if version["tag"] == good), None)
    if target is None:
        raise StoppedError("ERR_DIGEST_DRIFT", f"{registration.ref} has no earlier deployment of {good}")
    _succeeded(lane.ask("modalctl", "rollback", *at, "--to", f"v{target['number']}"))
    now = _succeeded(lane.ask("modalctl", "status", *at))["versions"][0]
    if now["tag"] != good:
        raise StoppedError("ERR_DIGEST_DRIFT", f"{now['tag'] or 'a version without a tag'} runs, and not {good}")
    print(f"  {registration.ref} runs {good} again")


def _tag_before(lane: Lane, registration: Registration) -> str:
    """Return the tag of the deployment that the branch `lanes/<lane>` pins, ``""`` where it has no such pin."""
    file = (registration.folder / FILE_NAME).relative_to(lane.root)
    try:
        text = marked(lane.name, file.as_posix(), lane.root)
    except subprocess.CalledProcessError:
        raise StoppedError("ERR_NETWORK", f"origin does not say what ran well in {lane.name} last") from None
    if text is None:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, registration.folder.name)
        copy.mkdir()
        (copy / FILE_NAME).write_text(text, encoding="utf-8")
        try:
            pin = load_registration(copy).platforms.get(PLATFORM)
        except RegistryInvalidError as error:
            raise StoppedError(error.code, str(error)) from None
    return digest_tag(pin.digest) if pin else ""


def _run(lane: Lane, registration: Registration, *more: str) -> Answer:
    pin = registration.platforms.get(PLATFORM)
    if pin is None:
        raise StoppedError("ERR_IMAGE_UNPINNED", f"{registration.ref} has no pin for {PLATFORM}")
    inputs, attachments = _example(registration)
    with tempfile.TemporaryDirectory() as folder:
        words = [*_run_words(registration, inputs), *attachments, "--expected-digest", str(pin.digest), *more]
        answer = _succeeded(lane.ask(*words, "--save-dir", folder))
    print(f"  {registration.ref} {answer['execution_id']} {answer['meta']['image_digest']}")
    return answer


def _run_words(registration: Registration, inputs: object) -> list[str]:
    words = ["run_processor", "--ref", str(registration.ref), "--adapter", "modal"]
    return [*words, "--inputs-json", json.dumps(inputs)]


def _example(registration: Registration) -> tuple[object, list[str]]:
    """Return inputs that *registration* takes, and its attachments: `samples/smoke.json`, else its schema's example.

    Raises:
        StoppedError: it has neither.
    """
    file = registration.folder / "samples" / "smoke.json"
    if file.is_file():
        smoke_file = json.loads(file.read_text(encoding="utf-8"))
        attached = smoke_file.get("attach", {}).items()
        return smoke_file["inputs"], [word for name, path in attached for word in _attached(file, name, path)]
    if examples := registration.declaration.inputs.get("examples"):
        return examples[0], []
    raise StoppedError("ERR_INPUTS", f"{registration.ref} has neither samples/smoke.json nor an example of its inputs")


def _attached(file: Path, name: str, path: str) -> tuple[str, str]:
    return "--attach", f"{name}={file.parent / path}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one step; 1 where it does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=STEPS)
    step = parser.parse_args(arguments).step
    try:
        STEPS[step](Lane.from_env(os.environ))
    except StoppedError as error:
        print(f"{os.environ.get('LANE', '')} stopped at {step}: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
