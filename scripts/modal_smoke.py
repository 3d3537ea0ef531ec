"""`make modal-smoke`: what only the real cloud can show, shown on one processor in dev, and stopped again.

It needs a Modal token and a proxy token, and where there is none it says that nothing was shown, and ends well. `REF`
(default doc/ocr@1) and `OCI` (default: the pinned image) say what is deployed. docs/guides/modal.md lists each check,
and what somebody has to look at besides.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpx2

from scripts.lane import Answer, Lane, StoppedError

TOKENS: Final = ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_PROXY_TOKEN_ID", "MODAL_PROXY_TOKEN_SECRET")
BRANCH: Final = "modal-smoke"  # an app of its own: nobody else's is touched
_PLAIN_S: Final = 30.0


@dataclass(slots=True)
class Smoke:
    """One deployed processor, and how it is asked.

    Attributes:
        lane: Dev, with the one processor.
        image: ``repository@sha256:…``, which is deployed.
        url: Its address, once it is deployed.
    """

    lane: Lane
    image: str
    url: str = ""

    def modalctl(self, action: str, *words: str) -> Answer:
        """Return what an action on the processor answers.

        Raises:
            StoppedError: it is an error.
        """
        (registration,) = self.lane.registrations
        return _succeeded(self.lane.ask("modalctl", action, "--ref", str(registration.ref), "--env", "dev", *words))

    def run(self, *words: str) -> Answer:
        """Return the envelope of a mock run of the processor's sample; its outputs are verified by then.

        Raises:
            StoppedError: it is an error envelope.
        """
        (registration,) = self.lane.registrations
        sample = registration.folder / "samples" / "smoke.json"
        asked = json.loads(sample.read_text(encoding="utf-8"))
        attached = [f"--attach={name}={sample.parent / path}" for name, path in asked.get("attach", {}).items()]
        digest = self.image.rpartition("@")[2]
        with tempfile.TemporaryDirectory() as folder:
            return _succeeded(
                self.lane.ask(
                    *("run_processor", "--ref", str(registration.ref), "--adapter", "modal", "--save-dir", folder),
                    *("--inputs-json", json.dumps(asked["inputs"]), "--expected-digest", digest, *attached, *words),
                )
            )


def deployed(smoke: Smoke) -> str:
    """Modal pulls the image by its digest, and takes the definition for one FROM line."""
    smoke.url = smoke.modalctl("deploy", "--oci", smoke.image)["deployment"]["url"]
    return smoke.url


def run(smoke: Smoke) -> str:
    """A container starts from the image as it is, answers for the digest, and its files come through the Volume."""
    envelope = smoke.run()
    meta, files = envelope["meta"], len(envelope["outputs"])
    return f"{meta['image_digest']} in {meta['duration_ms']} ms, {files} files"


def warm_run(smoke: Smoke) -> str:
    """A container that runs already sees an attachment that was uploaded since, or another execution at least."""
    return str(smoke.run()["execution_id"])


def streamed(smoke: Smoke) -> str:
    """Events come one by one through Modal's web server, the last with the envelope."""
    envelope = smoke.run("--stream")
    told = [line for line in map(json.loads, envelope["story"].splitlines()) if line["event"].startswith("stream.")]
    moments = sorted({line["ts"] for line in told})
    if not told:
        raise StoppedError("ERR_BAD_RESPONSE", "no event before the end")
    return f"{len(told)} events from {moments[0]} to {moments[-1]}"


def refused_without_token(smoke: Smoke) -> str:
    """Nobody gets in without the proxy token."""
    return _expected(httpx2.get(smoke.url, timeout=_PLAIN_S), 401)


def verified(smoke: Smoke) -> str:
    """Modal says that the function's image is the one that it makes of the reference."""
    answer = smoke.modalctl("verify", "--oci", smoke.image)
    if (answer["verdict"], answer["evidence"]) != ("match", "image"):
        raise StoppedError("ERR_DIGEST_DRIFT", json.dumps(answer["findings"]))
    return str(answer["findings"][0]["reason"])


def deployed_again(smoke: Smoke) -> str:
    """The same deployment again keeps the address; whether it is a new version is Modal's choice."""
    url = smoke.modalctl("deploy", "--oci", smoke.image)["deployment"]["url"]
    if url != smoke.url:
        raise StoppedError("ERR_ENDPOINT_MISSING", f"the address was {smoke.url}, and is {url}")
    return str(url)


def rolled_back(smoke: Smoke) -> str:
    """A rollback keeps the deployment's tag; without a second version there is nothing to go back to."""
    if len(smoke.modalctl("status")["versions"]) == 1:
        return "there is one version: the same deployment again was none"
    wanted = smoke.modalctl("rollback")["to"]["tag"]
    now = smoke.modalctl("status")["versions"][0]
    if now["tag"] != wanted:
        raise StoppedError("ERR_DIGEST_DRIFT", f"the tag was {wanted}, and is {now['tag'] or 'none'}")
    return f"version {now['number']} as {now['tag']}"


def logged(smoke: Smoke) -> str:
    """What containers write reaches Modal's log as it is: one JSON object a line."""
    lines = [line["message"] for line in smoke.modalctl("logs")["lines"]]
    found = [line for line in lines if line.startswith("{") and "event" in json.loads(line)]
    if not found:
        raise StoppedError("ERR_BAD_RESPONSE", f"no event among {len(lines)} lines")
    return f"{len(found)} events"


def stopped(smoke: Smoke) -> str:
    """The address of a stopped app says so in plain text."""
    smoke.modalctl("stop")
    key, secret = (smoke.lane.environ[name] for name in TOKENS[2:])
    return _expected(httpx2.get(smoke.url, headers={"Modal-Key": key, "Modal-Secret": secret}, timeout=_PLAIN_S), 404)


CHECKS: Final[tuple[Callable[[Smoke], str], ...]] = (
    *(deployed, run, warm_run, streamed, refused_without_token),
    *(verified, deployed_again, rolled_back, logged, stopped),
)


def _expected(answer: httpx2.Response, status: int) -> str:
    kind = answer.headers.get("content-type", "")
    if answer.status_code != status or not kind.startswith("text/plain"):
        raise StoppedError("ERR_BAD_RESPONSE", f"a {answer.status_code} with {kind} came, not a plain {status}")
    return answer.text.strip()


def _succeeded(answer: Answer) -> Answer:
    if error := answer.get("error"):
        raise StoppedError(error["code"], json.dumps(error["details"]))
    return answer


@contextmanager
def _stopping(smoke: Smoke) -> Iterator[None]:
    """Leave no app behind, whatever failed."""
    try:
        yield
    finally:
        try:
            smoke.modalctl("stop")
        except StoppedError as error:
            if error.code != "ERR_ENDPOINT_MISSING":
                print(f"left behind: {error}")


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Perform every check, and return the exit status: 0 where all held, or there was no token."""
    missing = [name for name in TOKENS if not environ.get(name)]
    if missing:
        print(f"modal-smoke: SKIPPED, nothing was shown: not set: {', '.join(missing)}")
        return 0
    ref, oci = environ.get("REF") or "doc/ocr@1", environ.get("OCI")
    try:
        lane = Lane.from_env({**environ, "LANE": "dev", "REFS": ref, "DEPLOY_BRANCH": BRANCH})
        plan = Smoke(lane, "").modalctl("deploy", *(("--oci", oci) if oci else ()), "--dry-run")["plan"]
    except StoppedError as error:
        print(f"modal-smoke: {error}")
        return 1
    smoke = Smoke(lane, plan["image"])
    failed = 0
    with _stopping(smoke):
        for check in CHECKS:
            try:
                seen = check(smoke)
            except (StoppedError, httpx2.HTTPError) as error:
                failed += 1
                print(f"FAILED {check.__name__}: {check.__doc__}\n  {error}", flush=True)
            else:
                print(f"ok     {check.__name__}: {check.__doc__}\n  {seen}", flush=True)
    print(f"modal-smoke: {len(CHECKS) - failed} of {len(CHECKS)} held for {ref}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
