"""What must not even start is refused in the contract's order; ids sort by time."""

from __future__ import annotations

import re
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from apps.core.registry import load_registration
from apps.core.request import ExecutionRequest, guard, is_execution_id, is_ref, new_execution_id
from processor_runtime.errors import ProcessorError
from processor_runtime.values import Digest
from tests.support.executions import FIXTURES, SECRET, request

REAL = {"mode": "real"}
DIGEST = Digest.parse("sha256:" + "0" * 64)


def judged(tmp_path: Path, environ: dict[str, str] | None = None, **changes: Any) -> str:
    """Return the prefix that a request with *changes* may write to."""
    wanted = request(**changes)
    roots = wanted.roots(tmp_path / "artifacts")
    return guard(wanted, load_registration(FIXTURES / "fix_trouble"), environ or {}, roots)


def test_a_request_that_may_start_has_its_prefix_expanded(tmp_path: Path) -> None:
    """In either mode, by each adapter."""
    for adapter in ("process", "local", "modal"):
        assert judged(tmp_path, adapter=adapter, execution_id="e1") == "/artifacts/outputs/e1/"
    assert judged(tmp_path, {"FIX_SECRET": SECRET}, **REAL, execution_id="e1") == "/artifacts/outputs/e1/"


@pytest.mark.parametrize(("adapter", "allowed"), [("process", True), ("local", False), ("modal", False)])
def test_only_a_process_writes_elsewhere_than_below_artifacts(tmp_path: Path, adapter: str, *, allowed: bool) -> None:
    """A container and Modal carry `/artifacts` alone."""
    if allowed:
        assert judged(tmp_path, adapter=adapter, write_prefix="/tmp/e1/") == "/tmp/e1/"
        return
    with pytest.raises(ProcessorError) as refused:
        judged(tmp_path, adapter=adapter, write_prefix="/tmp/e1/")
    assert refused.value.code == "ERR_WRITE_PREFIX"


# each entry breaks its own rule; together with any later one, its own is the answer
REFUSALS: list[tuple[str, dict[str, Any], dict[str, str], str, str]] = [
    ("no execution id", {"execution_id": ""}, {}, "ERR_INPUTS", "missing execution_id"),
    ("a bad execution id", {"execution_id": "../up"}, {}, "ERR_INPUTS", "invalid execution_id"),
    ("no prefix", {"write_prefix": ""}, {}, "ERR_INPUTS", "missing write_prefix"),
    ("a bad prefix", {"write_prefix": "/artifacts/../etc/"}, {}, "ERR_WRITE_PREFIX", "write_prefix not allowed"),
    ("a prefix elsewhere", {"write_prefix": "/etc/x/"}, {}, "ERR_WRITE_PREFIX", "write_prefix not allowed"),
    ("among the inputs", {"write_prefix": "/artifacts/inputs/x/"}, {}, "ERR_WRITE_PREFIX", "write_prefix not allowed"),
    ("a mode unknown", {"mode": "dream"}, {}, "ERR_MODE_INVALID", "mode must be mock or real and served here"),
    ("real in CI", REAL, {"CI": "true"}, "ERR_CI_SAFETY", "mode=real is blocked in CI"),
    ("no time", {"timeout_s": 0}, {}, "ERR_INPUTS", "invalid timeout_s"),
    ("time that is no number", {"timeout_s": float("nan")}, {}, "ERR_INPUTS", "invalid timeout_s"),
    ("a secret missing", REAL, {}, "ERR_MISSING_SECRET", "required secret not set"),
    ("a secret empty", REAL, {"FIX_SECRET": ""}, "ERR_MISSING_SECRET", "required secret not set"),
    ("source for an image", {"expected_digest": DIGEST}, {}, "ERR_DIGEST_DRIFT", "another image answered"),
]


@pytest.mark.parametrize(
    ("changes", "environ", "code", "message"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_what_must_not_start_is_refused(
    tmp_path: Path, changes: dict[str, Any], environ: dict[str, str], code: str, message: str
) -> None:
    """By the contract's codes and texts, with a detail that says which rule."""
    with pytest.raises(ProcessorError) as refused:
        judged(tmp_path, environ, **changes)

    assert (refused.value.code, refused.value.text) == (code, message)
    assert refused.value.details


@pytest.mark.parametrize(
    ("first", "second"), list(pairwise(row for row in REFUSALS if row[0] != "a secret missing")), ids=str
)
def test_the_first_broken_rule_answers(tmp_path: Path, first: Any, second: Any) -> None:
    """As over HTTP, where the same order holds."""
    changes, environ = {**second[1], **first[1]}, {**second[2], **first[2]}

    with pytest.raises(ProcessorError) as refused:
        judged(tmp_path, environ, **changes)

    assert refused.value.code == first[3]


def test_a_link_that_leaves_the_artifacts_folder_is_refused(tmp_path: Path) -> None:
    """The text is fine; where it leads is not."""
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "outputs").symlink_to("/etc")

    with pytest.raises(ProcessorError) as refused:
        judged(tmp_path)

    assert refused.value.code == "ERR_WRITE_PREFIX"


@pytest.mark.parametrize("off", ["", "0", "false", "No", " off "])
def test_ci_that_is_off_blocks_nothing(tmp_path: Path, off: str) -> None:
    """The contract's rule, any case, trimmed."""
    assert judged(tmp_path, {"CI": off, "FIX_SECRET": SECRET}, **REAL)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("e1", True),
        ("A.b_c-9", True),
        ("x" * 128, True),
        ("", False),
        ("-a", False),
        ("x" * 129, False),
        ("a\n", False),
    ],
)
def test_an_execution_id_is_judged_by_the_contracts_schema(text: str, *, valid: bool) -> None:
    """The whole string matches."""
    assert is_execution_id(text) is valid


def test_a_ref_is_told_from_any_other_text() -> None:
    """So that an envelope never repeats what is none."""
    assert is_ref("ns/name@1")
    assert not is_ref("ns/name")


def test_new_ids_are_uuids_of_version_7_and_sort_by_time() -> None:
    """Later ones sort after earlier ones, as text."""
    ids = []
    for _ in range(200):
        ids.append(new_execution_id())
        # two within one tick of the clock's 244 ns would be in any order
        uuid.uuid4()

    assert all(uuid.UUID(each).version == 7 and uuid.UUID(each).variant == uuid.RFC_4122 for each in ids)
    assert all(is_execution_id(each) and re.fullmatch(r"[0-9a-f-]{36}", each) for each in ids)
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_params_are_found_where_there_are_any() -> None:
    """Inputs may be any JSON value: the processor judges them."""
    assert request(do="x").params == {"do": "x"}
    without: list[Any] = [[], None, {"params": None}, {}]
    for inputs in without:
        assert ExecutionRequest("a/b@1", "process", inputs, "e1").params is None
