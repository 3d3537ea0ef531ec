"""The environment is read once: each variable has its default, its values, and its refusal by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor_runtime.settings import Settings, SettingsError, ci_is_set

DIGEST = "sha256:" + "0123456789abcdef" * 4

MALFORMED = [
    ("PROCESSOR_MODE", "dream"),
    ("PROCESSOR_MODE", "MOCK"),
    ("PROCESSOR_MODE", " mock"),
    ("PROCESSOR_MODE", "mock,real"),
    ("PROCESSOR_TOKEN", "a token\n"),
    ("PROCESSOR_TOKEN", " token"),
    ("PROCESSOR_TOKEN", "token "),
    ("PROCESSOR_TOKEN", "tøken"),
    ("PROCESSOR_TOKEN", "tok\0en"),
    ("PROCESSOR_MAX_BODY_BYTES", "0"),
    ("PROCESSOR_MAX_BODY_BYTES", "-1"),
    ("PROCESSOR_MAX_BODY_BYTES", "16MiB"),
    ("PROCESSOR_MAX_BODY_BYTES", "1.5"),
    ("PROCESSOR_MAX_BODY_BYTES", "1e6"),
    ("PROCESSOR_MAX_BODY_BYTES", "1_000"),
    ("PROCESSOR_MAX_BODY_BYTES", " 1000"),
    ("PROCESSOR_MAX_BODY_BYTES", "١٢"),
    ("PROCESSOR_QUEUE", "-1"),
    ("PROCESSOR_QUEUE", "many"),
    ("PROCESSOR_QUEUE", "1\n"),
    ("PROCESSOR_GRACE_S", "-1"),
    ("PROCESSOR_GRACE_S", "8s"),
    ("PROCESSOR_GRACE_S", "inf"),
    ("PROCESSOR_GRACE_S", "nan"),
    ("PROCESSOR_GRACE_S", "1e3"),
    ("PROCESSOR_WRITE_ROOTS", "artifacts"),
    ("PROCESSOR_WRITE_ROOTS", "/artifacts:"),
    ("PROCESSOR_WRITE_ROOTS", ":/tmp"),
    ("PROCESSOR_WRITE_ROOTS", "/artifacts::/tmp"),
    ("PROCESSOR_WRITE_ROOTS", "/artifacts:tmp"),
    ("PROCESSOR_WRITE_ROOTS", "/artifacts/../etc"),
    ("PROCESSOR_READ_ROOTS", "inputs"),
    ("PROCESSOR_READ_ROOTS", "/artifacts/.."),
    ("PROCESSOR_ARTIFACTS_DIR", "var/artifacts"),
    ("PROCESSOR_ARTIFACTS_DIR", "~/artifacts"),
    ("IMAGE_PINNED", "true"),
    ("IMAGE_PINNED", "yes"),
    ("IMAGE_PINNED", "2"),
    ("IMAGE_PINNED", " 1"),
]
ON = ["1", "true", "TRUE", "yes", "on", "github", "2", "00", "nope", "false!", "f", "n", "  1  ", "\ttrue"]
OFF = ["", "0", "false", "False", "FALSE", "no", "NO", "off", "Off", " ", "\t0\n", " false ", " No"]


def test_an_empty_environment_means_the_contracts_defaults() -> None:
    """16 MiB, 16 places, 8 seconds, both modes, no token, `/artifacts` and `/tmp`."""
    found = Settings.from_env({})

    assert (found.mode, found.token, found.ci, found.pinned) == (None, "", False, False)
    assert (found.max_body_bytes, found.queue, found.grace_s) == (16 * 1024 * 1024, 16, 8.0)
    assert (found.image_digest, found.image_digest_given) == ("", False)
    assert (found.roots.write, found.roots.read) == (("/artifacts", "/tmp"), ("/artifacts/inputs",))
    assert found.roots.artifacts_dir == "/artifacts"


def test_every_variable_is_taken() -> None:
    """Each from its own name."""
    found = Settings.from_env(
        {
            "CI": "true",
            "IMAGE_DIGEST": DIGEST,
            "IMAGE_PINNED": "1",
            "PROCESSOR_MODE": "real",
            "PROCESSOR_TOKEN": "t0ken",
            "PROCESSOR_MAX_BODY_BYTES": "1000",
            "PROCESSOR_QUEUE": "0",
            "PROCESSOR_GRACE_S": "2.5",
            "PROCESSOR_WRITE_ROOTS": "/data:/artifacts",
            "PROCESSOR_READ_ROOTS": "/data/in:/artifacts/inputs",
            "PROCESSOR_ARTIFACTS_DIR": "/srv/artifacts",
        }
    )

    assert (found.mode, found.token, found.ci, found.pinned) == ("real", "t0ken", True, True)
    assert (found.max_body_bytes, found.queue, found.grace_s) == (1000, 0, 2.5)
    assert (found.image_digest, found.image_digest_given) == (DIGEST, True)
    assert (found.roots.write, found.roots.read) == (("/data", "/artifacts"), ("/data/in", "/artifacts/inputs"))
    assert found.roots.artifacts_dir == "/srv/artifacts"


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_a_malformed_value_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    """The line in the log names what to correct."""
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({name: value})

    assert refusal.value.name == name
    assert name in str(refusal.value)


def test_a_malformed_token_is_not_shown() -> None:
    """The line says the rule; the log is no place for what was meant to be a secret."""
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({"PROCESSOR_TOKEN": "s3cret-tøken"})

    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "name",
    [
        "PROCESSOR_MODE",
        "PROCESSOR_TOKEN",
        "PROCESSOR_MAX_BODY_BYTES",
        "PROCESSOR_QUEUE",
        "PROCESSOR_GRACE_S",
        "PROCESSOR_WRITE_ROOTS",
        "PROCESSOR_READ_ROOTS",
        "PROCESSOR_ARTIFACTS_DIR",
        "IMAGE_PINNED",
        "IMAGE_DIGEST",
    ],
)
def test_a_variable_that_is_empty_is_not_set(name: str) -> None:
    """Compose files and shells often export one without a value."""
    assert Settings.from_env({name: ""}) == Settings.from_env({})


@pytest.mark.parametrize("value", [DIGEST, f"ghcr.io/owner/image@{DIGEST}"])
def test_the_image_digest_is_bare_in_both_spellings(value: str) -> None:
    """Adapters know it bare, a pin has the repository before it."""
    assert Settings.from_env({"IMAGE_DIGEST": value}).image_digest == DIGEST


@pytest.mark.parametrize("value", ["latest", DIGEST[:-1], DIGEST.upper(), " " + DIGEST, "sha256:"])
def test_a_malformed_image_digest_does_not_stop_the_service(value: str) -> None:
    """Each run reports it; the envelope says that it is not known."""
    found = Settings.from_env({"IMAGE_DIGEST": value})

    assert (found.image_digest, found.image_digest_given) == ("", True)


@pytest.mark.parametrize("value", ["0", ""])
def test_only_1_means_pinned(value: str) -> None:
    """It informs, and so it must not be guessed."""
    assert Settings.from_env({"IMAGE_PINNED": value}).pinned is False


@pytest.mark.parametrize("value", ON)
def test_ci_is_set_by_anything_that_is_not_a_no(value: str) -> None:
    """Each build service has its own value; unknown ones are on the safe side."""
    assert ci_is_set({"CI": value}) is True


@pytest.mark.parametrize("value", OFF)
def test_ci_is_not_set_by_nothing_and_by_a_no(value: str) -> None:
    """In any case, with white space around it."""
    assert ci_is_set({"CI": value}) is False


def test_ci_is_not_set_where_there_is_no_such_variable() -> None:
    """Other names do not count."""
    assert ci_is_set({"CI_JOB": "1", "ci": "1"}) is False


def test_the_token_is_not_shown() -> None:
    """A repr ends up in tracebacks."""
    assert "s3cret-token" not in repr(Settings.from_env({"PROCESSOR_TOKEN": "s3cret-token"}))


@given(st.sampled_from(sorted({name for name, _ in MALFORMED} | {"IMAGE_DIGEST", "CI"})), st.text(max_size=12))
def test_nothing_but_a_settings_error_comes_out_of_any_value(name: str, value: str) -> None:
    """It names the one variable that was set."""
    seen = name
    try:
        Settings.from_env({name: value})
    except SettingsError as exc:
        seen = exc.name

    assert seen == name
