"""What comes back over HTTP is judged before anybody relies on it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.core.adapters import answers
from apps.core.adapters.errors import BadResponseError

PAYLOAD = {"ref": "ns/name@1", "execution_id": "e1"}
META = {"ref": "ns/name@1", "env_fingerprint": "cpu:1;memory:2Gi", "image_digest": "sha256:" + "0" * 64, "pinned": True}
SUCCESS: dict[str, Any] = {
    "status": "success",
    "execution_id": "e1",
    "outputs": [{"path": "/artifacts/outputs/e1/outputs/a", "mime": "a/b", "size_bytes": 1, "sha256": "0" * 64}],
    "index_path": "/artifacts/outputs/e1/outputs.json",
    "meta": META | {"queued_ms": 0, "duration_ms": 1, "extra": {}},
}
ERROR: dict[str, Any] = {
    "status": "error",
    "execution_id": "e1",
    "error": {"code": "ERR_BUSY", "message": "busy", "retryable": True, "details": []},
    "meta": META,
}


def parsed(envelope: object, status: int, content_type: str = "application/json") -> dict[str, Any]:
    """Return what is made of an answer."""
    raw = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
    return answers.parse(raw, status=status, content_type=content_type, payload=PAYLOAD)


@pytest.mark.parametrize(
    ("envelope", "status"),
    [
        pytest.param(SUCCESS, 200, id="success"),
        pytest.param(ERROR, 429, id="error"),
        pytest.param(ERROR | {"execution_id": ""}, 401, id="an error before the id was looked at"),
        pytest.param(ERROR | {"error": ERROR["error"] | {"code": "ERR_OF_TOMORROW"}}, 500, id="a code not known here"),
        pytest.param(SUCCESS | {"of_tomorrow": 1}, 200, id="a key not known here"),
    ],
)
def test_an_envelope_of_this_execution_is_returned_as_it_came(envelope: dict[str, Any], status: int) -> None:
    """Nothing is added, dropped or changed, whatever this version does not know."""
    assert parsed(envelope, status) == envelope


def test_parameters_of_the_media_type_do_not_matter() -> None:
    """`application/json; charset=utf-8` is JSON."""
    assert parsed(SUCCESS, 200, "Application/JSON; charset=utf-8") == SUCCESS


WRONG: list[Any] = [
    pytest.param(b"<html>", 200, "", id="not JSON"),
    pytest.param(b'{"status": "success", "status": "error"}', 200, "", id="a key twice"),
    pytest.param([], 200, "", id="no object"),
    pytest.param(SUCCESS, 201, "/status", id="a success that is not 200"),
    pytest.param(ERROR, 200, "/status", id="an error with 200"),
    pytest.param(SUCCESS | {"execution_id": "e2"}, 200, "/execution_id", id="another execution"),
    pytest.param(ERROR | {"execution_id": "e2"}, 500, "/execution_id", id="another execution's error"),
    pytest.param(SUCCESS | {"meta": SUCCESS["meta"] | {"ref": "ns/name@2"}}, 200, "/meta/ref", id="another version"),
    pytest.param(SUCCESS | {"meta": SUCCESS["meta"] | {"image_digest": ""}}, 200, "/meta/image_digest", id="no digest"),
    pytest.param(SUCCESS | {"index_path": "outputs.json"}, 200, "/index_path", id="a relative index"),
    pytest.param({key: SUCCESS[key] for key in SUCCESS if key != "outputs"}, 200, "", id="no outputs"),
]


@pytest.mark.parametrize(("envelope", "status", "path"), WRONG)
def test_anything_else_is_a_bad_response_that_names_the_place(envelope: object, status: int, path: str) -> None:
    """The details say where the answer breaks the contract."""
    with pytest.raises(BadResponseError) as refused:
        parsed(envelope, status)

    assert path in {detail["path"] for detail in refused.value.details}


def test_an_answer_of_another_media_type_is_not_even_read() -> None:
    """A portal's page is HTML, and says so."""
    with pytest.raises(BadResponseError) as refused:
        parsed(SUCCESS, 200, "text/html")

    assert refused.value.details[0]["message"] == "must be application/json: a 200 with text/html came"


@pytest.mark.parametrize("secret", ["tell-nobody", "0" * 63 + "x"])
def test_no_detail_shows_what_came(secret: str) -> None:
    """Details hold places and rules, never values."""
    with pytest.raises(BadResponseError) as refused:
        parsed(SUCCESS | {"index_path": secret, "meta": META | {"pinned": secret}}, 200)

    assert secret not in json.dumps(refused.value.details)
