"""Secrets become `***` in every string value that leaves; keys, paths, hashes and ids stay."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from processor_runtime.masking import Mask
from tests.unit.runtime.json_values import objects

SECRET = "s3cret-value"
AWKWARD = [
    pytest.param('quo"ted-secret', id="quotes"),
    pytest.param("back\\slash\\secret", id="backslashes"),
    pytest.param("line\nbreak\r\nsecret", id="line breaks"),
    pytest.param("tab\tand\x00control\x1f", id="control characters"),
    pytest.param("gehëimnis-Straße", id="letters beyond ASCII"),
    pytest.param("\N{GRINNING FACE}\N{KEY}" * 4, id="characters beyond the basic plane"),
    pytest.param("</script>\u2028secret", id="what some encoders escape"),
    pytest.param("a/b+c==/d/e", id="slashes"),
    pytest.param("********", id="stars"),
    pytest.param("$1 \\1 \\g<0> .*", id="what an expression would read"),
    pytest.param(" leading and trailing ", id="spaces around it"),
]
letters = st.text(alphabet="abc", min_size=8, max_size=12)


def _masked(mask: Mask, document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mask.dumps(document))
    return found


def test_a_secret_becomes_three_stars_wherever_a_string_holds_it() -> None:
    """Alone, inside, several times, at any depth."""
    document = {"a": SECRET, "b": f"x{SECRET}y{SECRET}", "c": [{"d": [[f"Bearer {SECRET}"]]}], "n": 1, "z": None}

    assert _masked(Mask([SECRET]), document) == {
        "a": "***", "b": "x***y***", "c": [{"d": [["Bearer ***"]]}], "n": 1, "z": None,
    }  # fmt: skip


@pytest.mark.parametrize("secret", AWKWARD)
def test_a_secret_that_json_escapes_is_found(secret: str) -> None:
    """It is compared as a value, not as it is spelled."""
    found = _masked(Mask([secret]), {"a": f"<{secret}>", "b": {"c": [secret]}})

    assert found == {"a": "<***>", "b": {"c": ["***"]}}


@pytest.mark.parametrize("name", ["path", "sha256", "execution_id"])
def test_paths_hashes_and_ids_are_kept(name: str) -> None:
    """They name files and runs: torn, they name nothing. Everything beside them is masked."""
    document = {name: SECRET, "message": SECRET, "rows": [{name: f"/artifacts/{SECRET}/x", "mime": SECRET}]}

    assert _masked(Mask([SECRET]), document) == {
        name: SECRET,
        "message": "***",
        "rows": [{name: f"/artifacts/{SECRET}/x", "mime": "***"}],
    }


def test_keys_are_kept() -> None:
    """Two keys that become one would lose a value."""
    assert _masked(Mask([SECRET]), {SECRET: {SECRET: SECRET}}) == {SECRET: {SECRET: "***"}}


@pytest.mark.parametrize("secret", ["", "1", "test", "1234567"])
def test_a_short_secret_is_left_alone(secret: str) -> None:
    """Masking `1` would tear every line apart and protect nothing."""
    document = {"a": secret, "b": f"x{secret}y"}

    assert _masked(Mask([secret]), document) == document


def test_eight_characters_are_enough() -> None:
    """Characters, not bytes."""
    assert _masked(Mask(["12345678"]), {"a": "12345678"}) == {"a": "***"}
    assert _masked(Mask(["éééééééé"]), {"a": "éééééééé"}) == {"a": "***"}
    assert _masked(Mask(["ééééééé"]), {"a": "ééééééé"}) == {"a": "ééééééé"}


@pytest.mark.parametrize("order", [1, -1])
def test_a_secret_that_holds_another_one_leaves_no_rest_of_it(order: int) -> None:
    """In whatever order they are given."""
    mask = Mask(["password", "my-password-2"][::order])

    assert _masked(mask, {"a": "my-password-2 password"}) == {"a": "*** ***"}


@given(st.lists(letters, max_size=4), st.lists(st.sampled_from(["", "a", "abc", "cab"]), max_size=6), st.integers(0, 9))
def test_no_secret_is_left_however_they_overlap(secrets: list[str], between: list[str], at: int) -> None:
    """Secrets over three letters overlap with themselves and each other."""
    text = "".join(part + secret[: at + 3] + secret for part in between for secret in secrets)

    found = Mask(secrets).text(text)

    assert not [secret for secret in secrets if secret in found]


@settings(max_examples=50)
@given(objects, st.lists(st.text(min_size=8, max_size=9), max_size=3))
def test_a_document_without_secrets_stays_as_it_is(document: dict[str, Any], secrets: list[str]) -> None:
    """Every JSON value, floats and nulls included."""
    assume(not any(secret in json.dumps(document, ensure_ascii=False) for secret in secrets))

    assert _masked(Mask(secrets), document) == document


@settings(max_examples=50)
@given(
    objects,
    st.text(min_size=8, max_size=12).filter(lambda text: not set(text) <= {"*"}),
    st.lists(st.sampled_from(["k", "path", "message"]), max_size=3),
)
def test_a_secret_is_found_in_any_surroundings(document: dict[str, Any], secret: str, keys: list[str]) -> None:
    """The document's own strings hold it nowhere else, so the mask is all that is seen of it."""
    assume(secret not in json.dumps(document, ensure_ascii=False))
    for key in keys:
        document = {f"{key}s": [document, 1]}

    found = Mask([secret]).dumps({"first": document, "message": f"-{secret}-"})

    assert json.loads(found) == {"first": document, "message": "-***-"}


def test_without_secrets_nothing_is_masked() -> None:
    """The usual laptop."""
    assert Mask().text("anything at all") == "anything at all"
    assert _masked(Mask(), {"a": "anything at all"}) == {"a": "anything at all"}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(object(), id="an object"),
        pytest.param(b"bytes", id="bytes"),
        pytest.param({1, 2}, id="a set"),
        pytest.param(ValueError("x"), id="an exception"),
        pytest.param(2**70, id="an integer beyond 64 bits"),
        pytest.param("file-\udcff.txt", id="a file name that is not UTF-8"),
        pytest.param(float("nan"), id="not a number"),
    ],
)
def test_what_json_cannot_hold_is_still_written(value: object) -> None:
    """A log line must not fail by what a handler puts into it."""
    assert "field" in _masked(Mask([SECRET]), {"field": value})


def test_a_secret_in_what_json_cannot_hold_is_masked() -> None:
    """An exception's text often holds a URL with a key in it."""
    assert _masked(Mask([SECRET]), {"exception": ValueError(SECRET)}) == {"exception": "***"}


def test_a_secret_that_is_not_utf_8_does_not_stop_the_service() -> None:
    """Python reads such bytes of the environment as lone surrogates. The other secrets are masked all the same."""
    mask = Mask(["\udcff\udcfe" * 8, SECRET])

    assert _masked(mask, {"a": SECRET}) == {"a": "***"}
