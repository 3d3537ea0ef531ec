"""Every processor does what its environment says: modes, CI, the image's digest, secrets (§1, §2, §3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.conftest import Services
from tests.contract.discovery import EVERY, STEPS
from tests.contract.judge import refusal, success
from tests.contract.requests import RULES, Request, broken, is_echoed
from tests.support.service import DIGEST, READY, Service

CANARY = "canary-secret-of-the-environment"
NAMES = [rule.name for rule in RULES]

# each value is a process of its own: one processor, whose runtime is everybody's, stands for all
ON = ["1", "github", "n"]  # `true` is asked of every processor
OFF = ["", "0", "False", "NO", " off\t"]
MALFORMED = ["latest", f"sha256:{'A' * 64}", f"sha512:{'a' * 64}", f"{DIGEST}\n"]
WELL_FORMED = [f"ghcr.io/owner/repo/image@sha256:{'b' * 64}", f"localhost:5000/x:tag@{DIGEST}"]


def secrets(folder: Path, value: str | None) -> dict[str, str | None]:
    """Return every secret that the processor in *folder* declares, set to *value*."""
    declared = Service(folder, folder).registry.get("secrets") or {}
    return {name: value for row in ("required", "optional") for name in declared.get(row) or ()}


@pytest.fixture
def everything(passing_services: Services, folder: Path) -> Service:
    """Each processor in turn, as on a laptop: both modes, `CI=0`, and secrets that are empty."""
    return passing_services.get(folder, ready=False, CI="0", **secrets(folder, ""))


@pytest.fixture
def without_digest(passing_services: Services, folder: Path) -> Service:
    """The same without `IMAGE_DIGEST`."""
    return passing_services.get(folder, ready=False, IMAGE_DIGEST=None, **secrets(folder, ""))


@pytest.fixture
def in_ci(passing_services: Services, folder: Path) -> Service:
    """The same in CI, where nothing else is right either."""
    return passing_services.get(folder, ready=False, CI="true", IMAGE_DIGEST=None, **secrets(folder, ""))


# --- modes -----------------------------------------------------------------------------------------------------------


def test_without_a_mode_both_are_served(everything: Service) -> None:
    """`PROCESSOR_MODE` unset."""
    request = Request.good(everything)

    success(everything, request.send(), request.payload)
    assert sorted(everything.http.get("/contract").json()["modes"]) == ["mock", "real"]


def test_a_process_for_real_serves_no_mock(passing_services: Services, folder: Path) -> None:
    """`PROCESSOR_MODE=real`: the other mode is refused, and only that."""
    service = passing_services.get(folder, ready=False, PROCESSOR_MODE="real", **secrets(folder, ""))

    Request.good(service, mode="mock").refused("ERR_MODE_INVALID")
    Request.good(service, mode="real", ref="other/one@1").refused("ERR_REF_MISMATCH")
    assert service.http.get("/contract").json()["modes"] == ["real"]


# --- CI --------------------------------------------------------------------------------------------------------------


def test_in_ci_real_is_refused_and_mock_is_not(in_ci: Service) -> None:
    """Before the ref, the inputs, the digest and the secrets are looked at, and after the mode."""
    for rule in RULES[: NAMES.index("mode") + 1]:
        broken(in_ci, rule).refused(rule.code, rule.message, echoed=is_echoed(rule))
    for rule in RULES[NAMES.index("ref") :]:
        request = broken(in_ci, rule)
        request.payload["mode"] = "real"
        request.refused("ERR_CI_SAFETY")
    Request.good(in_ci, mode="real").refused("ERR_CI_SAFETY")
    Request.good(in_ci).refused("ERR_IMAGE_DIGEST_MISSING", "IMAGE_DIGEST env var not set")


def test_outside_ci_the_next_rule_answers(everything: Service) -> None:
    """`CI=0`."""
    Request.good(everything, mode="real", ref="other/one@1").refused("ERR_REF_MISMATCH")


def test_ci_is_set_by_anything_but_a_no(passing_services: Services) -> None:
    """Each spelling."""
    for service in passing_services.get_all(STEPS, [{"CI": value} for value in ON]):
        Request.good(service, mode="real").refused("ERR_CI_SAFETY")
        assert Request.good(service).send().json()["status"] == "success"


def test_a_no_does_not_set_ci(passing_services: Services) -> None:
    """Empty, `0`, `false`, `no`, `off`, in any case, trimmed."""
    for service in passing_services.get_all(STEPS, [{"CI": value} for value in OFF]):
        Request.good(service, mode="real", ref="other/one@1").refused("ERR_REF_MISMATCH")


# --- the image's digest ----------------------------------------------------------------------------------------------


def test_without_a_digest_nothing_runs_and_everything_else_answers(without_digest: Service) -> None:
    """It is the last rule but one; in every envelope the digest is empty."""
    for mode in ("mock", "real"):
        for rule in RULES[NAMES.index("ref") :]:
            request = broken(without_digest, rule)
            request.payload["mode"] = mode
            request.refused(rule.code, rule.message)
        error = Request.good(without_digest, mode=mode).refused(
            "ERR_IMAGE_DIGEST_MISSING", "IMAGE_DIGEST env var not set"
        )
        assert error["retryable"] is False
    refusal(without_digest, without_digest.http.get("/nope"), "ERR_NOT_FOUND")
    refusal(without_digest, without_digest.http.put("/run"), "ERR_METHOD")
    assert without_digest.http.get("/contract").status_code == 200


def test_a_malformed_digest_is_no_digest(passing_services: Services) -> None:
    """What could not be compared is refused, and the service still starts and is healthy."""
    environs = [{"IMAGE_DIGEST": value} for value in [None, *MALFORMED]]
    for service in passing_services.get_all(STEPS, environs):
        missing = "IMAGE_DIGEST" not in service.environ
        said = "IMAGE_DIGEST env var not set" if missing else "IMAGE_DIGEST is not a digest"
        Request.good(service).refused("ERR_IMAGE_DIGEST_MISSING", said)
        assert service.health() == READY


def test_an_envelope_holds_the_bare_digest(passing_services: Services) -> None:
    """However it was spelt, and whether the run went well or not."""
    environs = [{"IMAGE_DIGEST": value, "IMAGE_PINNED": "1"} for value in WELL_FORMED]
    for service in passing_services.get_all(STEPS, environs):
        request = Request.good(service)
        envelope = success(service, request.send(), request.payload)
        assert envelope["meta"]["image_digest"] == service.environ["IMAGE_DIGEST"].rpartition("@")[2]
        assert envelope["meta"]["pinned"] is True
        refusal(service, service.http.get("/nope"), "ERR_NOT_FOUND")


# --- secrets ---------------------------------------------------------------------------------------------------------

NEEDY = [folder for folder in EVERY if (Service(folder, folder).registry.get("secrets") or {}).get("required")]


@pytest.mark.parametrize("needy", NEEDY, ids=lambda folder: str(folder.name))
@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_real_needs_its_secrets(passing_services: Services, needy: Path, value: str | None) -> None:
    """Refused before the handler or its set-up; mock needs none, and the service is ready all the same."""
    service = passing_services.get(needy, ready=False, CI="0", **secrets(needy, value))

    error = Request.good(service, mode="real").refused("ERR_MISSING_SECRET")
    request = Request.good(service)
    success(service, request.send(), request.payload)
    assert service.health() == READY
    assert error["details"], "which one is missing is told"
    for rule in RULES[NAMES.index("ref") :]:
        request = broken(service, rule)
        request.payload["mode"] = "real"
        request.refused(rule.code, rule.message)


def test_no_secret_is_told(folder: Path, tmp_path: Path) -> None:
    """Whatever is asked of a service that holds secrets, in mock: neither answers, nor files, nor the log have them."""
    names = secrets(folder, CANARY)
    with Service(folder, tmp_path / "room", {**names, "PROCESSOR_MODE": "mock"}) as service:
        request = Request.good(service)
        answers = [success(service, request.send(), request.payload), service.http.get("/contract").json()]
        secret_rows = answers[-1]["secrets"]
        answers += [broken(service, rule).send().json() for rule in RULES]
        answers += [service.http.get(f"/{CANARY[:7]}").json()]
        files = [path.read_bytes() for path in service.artifacts.rglob("*") if path.is_file()]

    assert [row["set"] for rows in secret_rows.values() for row in rows] == [True] * len(names)
    assert CANARY not in str(answers)
    assert [content for content in files if CANARY.encode() in content] == []
    assert CANARY not in service.stderr()
