"""Links on the way to a prefix: followed inside the roots, refused outside, and refused before what comes later."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processor_runtime import files
from processor_runtime.errors import ProcessorError, StorageError, WritePrefixError
from tests.unit.runtime.judged import Judged
from tests.unit.runtime.services import Bench, Held, payload, write_hello
from tests.unit.runtime.test_request_rules import ORDER
from tests.unit.runtime.workspaces import Make, failing


def test_a_prefix_that_a_link_leads_out_of_its_root_is_refused_as_such(tmp_path: Path) -> None:
    """Also where the id is in flight, where nothing is taken any more, and not where the link stays inside."""
    held = Held()
    bench = Bench(tmp_path, held)
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    (outputs / "out").symlink_to("/etc")
    (outputs / "in").symlink_to("real")
    (outputs / "real").mkdir()
    out = payload("e1", write_prefix="/artifacts/outputs/out/{execution_id}/")
    assert bench.ask(out).verdict == (400, "ERR_WRITE_PREFIX")
    first = bench.ask(payload("e1", write_prefix="/artifacts/outputs/in/{execution_id}/"))
    held.wait_until_running()

    assert bench.ask(out).verdict == (400, "ERR_WRITE_PREFIX")

    held.release.set()
    assert first.verdict == (200, "success")
    assert (outputs / "real" / "e1" / "receipt.json").exists()
    bench.service.drain(lambda: None)
    assert bench.ask(out).verdict == (400, "ERR_WRITE_PREFIX")
    assert bench.ask(payload("e2")).verdict == (503, "ERR_DRAINING")


@pytest.mark.parametrize("tells", [True, False])
def test_what_is_there_is_seen_also_where_the_system_does_not_say_whether_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tells: bool
) -> None:
    """Some containers forbid the call that asks, and some systems do not ask it of links."""
    monkeypatch.setattr(files, "_TELLS", tells)
    bench = Bench(tmp_path, write_hello)
    assert bench.ask(payload()).verdict == (200, "success")
    (tmp_path / "outputs" / "out").symlink_to("/etc")
    (tmp_path / "outputs" / "gone").symlink_to("/nowhere")

    assert bench.ask(payload()).answer.replayed is True
    assert bench.ask(payload(inputs={"schema": "v1", "params": {"n": 1}})).verdict == (409, "ERR_EXECUTION_CONFLICT")
    for name in ("out", "gone"):
        for change in ({}, {"mode": "neither"}):
            body = payload("e2", write_prefix=f"/artifacts/outputs/{name}/", **change)
            assert bench.ask(body).verdict == (400, "ERR_WRITE_PREFIX")


@pytest.mark.parametrize(("leads", "error"), [("/etc", WritePrefixError), ("real", StorageError)])
def test_a_prefix_that_is_not_allowed_is_told_before_a_disk_that_fails(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch, leads: str, error: type[ProcessorError]
) -> None:
    """The rules of a request come before what happens to it."""
    (folder.parent / "real").mkdir(parents=True)
    (folder.parent / "link").symlink_to(leads)
    workspace = make("/artifacts/outputs/link/e1/")
    monkeypatch.setattr(os, "open", failing(os.open, errno.EIO, when=lambda name, *_: name == "outputs"))

    with pytest.raises(error):
        workspace.exists()

    assert not workspace.opened


@pytest.mark.parametrize(("name", "break_it", "message"), [pytest.param(*row, id=row[0]) for row in ORDER[3:]])
def test_a_link_out_of_the_roots_answers_before_what_comes_after_the_prefix(
    judged: Judged, name: str, break_it: Callable[[Judged, dict[str, Any]], None], message: str
) -> None:
    """Links are looked at by who opens the folder, unless another rule is broken; one that stays inside hides none."""
    outputs = judged.folder / "outputs"
    (outputs / "real").mkdir(parents=True)
    (outputs / "out").symlink_to("/etc")
    (outputs / "in").symlink_to("real")

    for link, expected in (("out", "write_prefix not allowed"), ("in", message)):
        body = payload(mode="real", write_prefix=f"/artifacts/outputs/{link}/e1/")
        judged.environ, judged.secrets = {}, {"NEEDED_KEY": "value"}
        break_it(judged, body)
        assert judged.verdict(body)[1] == expected, name
