"""`make demo` asks for what a user would type, and shows what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from scripts import demo, make_base_image

PREFIX = "/artifacts/outputs/e1"


@pytest.mark.parametrize(
    ("environ", "adapter", "mode"),
    [
        pytest.param({}, "process", "real", id="a laptop"),
        pytest.param({"ADAPTER": "local"}, "local", "real", id="with Docker"),
        pytest.param({"CI": "true"}, "process", "mock", id="in CI"),
        pytest.param({"CI": "false"}, "process", "real", id="CI said to be off"),
    ],
)
def test_the_demo_is_real_unless_ci_is_set(environ: dict[str, str], adapter: str, mode: str) -> None:
    """Real mode through the process adapter; where the contract refuses real, a mock run."""
    line = demo.command(environ)

    assert line[line.index("--adapter") + 1] == adapter
    assert line[line.index("--mode") + 1] == mode
    assert line[-1] == "--json"
    assert ("--build" in line) is (adapter == "local")  # a fresh checkout has no pin


@pytest.mark.parametrize(
    ("environ", "made", "expected"),
    [
        pytest.param({"ADAPTER": "local"}, True, {"BASE_IMAGE": "processor-base:bookworm"}, id="made here"),
        pytest.param({"ADAPTER": "local"}, False, {}, id="the public one can be pulled"),
        pytest.param({"ADAPTER": "local", "BASE_IMAGE": "mine"}, True, {}, id="one was named"),
        pytest.param({}, True, {}, id="no image is built"),
    ],
)
def test_the_demo_builds_on_what_this_machine_has(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: dict[str, str], *, made: bool
) -> None:
    """A machine that can pull no image made its own base image."""
    monkeypatch.setattr(make_base_image, "held", lambda: "recipe" if made else "")

    assert demo.base_image(environ) == expected


def test_the_sample_page_lies_where_the_demo_looks() -> None:
    """The path is relative to code/, where the command runs."""
    assert (demo.ROOT / "code" / demo.SAMPLE).is_file()


def test_the_demo_shows_lines_and_says_where_the_picture_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Envelope, first lines, and a path on this host, not the logical one."""
    monkeypatch.setattr(settings, "ARTIFACTS_ROOT", tmp_path)
    outputs = tmp_path / "outputs" / "e1" / "outputs"
    outputs.mkdir(parents=True)
    (outputs / "text.txt").write_text("".join(f"line {number}\n" for number in range(1, 40)), encoding="utf-8")
    envelope: dict[str, Any] = {
        "status": "success",
        "outputs": [{"path": f"{PREFIX}/outputs/{name}"} for name in ("page-1.png", "text.txt")],
    }

    demo.show(envelope)

    printed = capsys.readouterr().out
    assert printed.startswith(json.dumps(envelope, indent=2))
    assert "  line 1\n" in printed
    assert f"line {demo.LINES_SHOWN}\n" in printed
    assert f"line {demo.LINES_SHOWN + 1}\n" not in printed
    assert str(outputs / "page-1.png") in printed


def test_the_demo_shows_a_refusal_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    """An error envelope has no outputs: it is printed, and nothing is looked for."""
    demo.show({"status": "error", "error": {"code": "ERR_BUSY"}})

    assert json.loads(capsys.readouterr().out)["error"]["code"] == "ERR_BUSY"
