"""Inputs that make a service do what a check wants to see (`--inputs-file`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

NAMES: Final[Mapping[str, str]] = {
    "valid": "succeeds within two seconds",
    "other": "as `valid`, with other inputs; made from `valid` where absent",
    "slow": "takes 2.5 to 5 s, sleeping or working, then succeeds; whether it can be cancelled does not matter",
    "blocking": "never gives way for 2.5 to 5 s (spins, or blocks its event loop), then writes its outputs",
    "writing": "writes its outputs bit by bit for 2.5 to 5 s, the same ones each time, then succeeds",
    "long": "as `slow`, for 16 to 20 s",
    "failing": "the handler raises; the exception's text holds the word `kit-exception-text`",
    "refused": 'the handler refuses its inputs (`ERR_INPUTS` "inputs not usable")',
    "provider": "the handler blames its provider (`ERR_PROVIDER`)",
    "streaming": "tells at least one token and one progress",
    "flood": "tells at least 8 MB of tokens as fast as it can, writes their text as one output, then succeeds",
    "noisy": "writes `kit-stray-1` to descriptor 1 and `kit-stray-2` to descriptor 2, then succeeds",
    "reveal": (
        "tells every secret that it can find, its environment included: as a token, in a log line, in `meta.extra` "
        "and in an output"
    ),
    "output_path": "breaks that rule for outputs",
    "output_duplicate": "the same",
    "output_missing": "the same",
    "output_undeclared": "the same",
    "setup_slow": "`env` makes set-up take 2.5 to 5 s; the inputs succeed in both modes, at no cost",
    "setup_failing": "`env` makes set-up fail, about a second after it began; the inputs succeed in `mock`",
}
_ATTACH: Final = "$attach"


class ExamplesError(ValueError):
    """The inputs file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Example:
    """Inputs, and under what circumstances they do what their name says.

    Attributes:
        inputs: As a request has them, but for `$attach`.
        mode: ``mock`` or ``real``.
        env: What the service has to be started with.
        folder: What files are named relative to.
    """

    inputs: dict[str, Any]
    mode: str = "mock"
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def attaches(self) -> bool:
        """Whether files go with it."""
        return f'"{_ATTACH}"' in json.dumps(self.inputs)

    def placed(self, artifacts: Path | None) -> dict[str, Any]:
        """Return the inputs with every `$attach` replaced by a reference to a file that was put into *artifacts*.

        Raises:
            ExamplesError: a file cannot be read.
        """
        placed: dict[str, Any] = _placed(self.inputs, self.folder, artifacts)
        return placed


def _placed(value: Any, folder: Path, artifacts: Path | None) -> Any:
    if isinstance(value, list):
        return [_placed(child, folder, artifacts) for child in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_ATTACH} and artifacts is not None:
        return attach(folder / str(value[_ATTACH]), artifacts)
    return {key: _placed(child, folder, artifacts) for key, child in value.items()}


def attach(file: Path, artifacts: Path) -> dict[str, str]:
    """Return a file reference to a copy of *file* that is put into *artifacts*, named by its content.

    Raises:
        ExamplesError: the file cannot be read or copied.
    """
    try:
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        target = artifacts / "inputs" / digest / file.name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except OSError as exc:
        raise ExamplesError(f"{file}: {exc.strerror}") from exc
    return {"$artifact": f"/artifacts/inputs/{digest}/{file.name}", "sha256": digest}


def load(path: Path) -> dict[str, Example]:
    """Return the examples in a file by their names.

    The file holds one example, which is `valid`, or several by name. An
    example is `inputs`, or an object that has them as `inputs`, a whole
    request say.

    Raises:
        ExamplesError: it cannot be read, is no such JSON, or has an unknown name.
    """
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise ExamplesError(f"{path}: {exc}") from exc
    if not isinstance(document, dict):
        raise ExamplesError(f"{path}: must be an object")
    if "params" in document or "inputs" in document:
        document = {"valid": document}
    if unknown := document.keys() - NAMES.keys():
        raise ExamplesError(f"{path}: unknown names {sorted(unknown)}; known are {', '.join(NAMES)}")
    return {name: _example(f"{path}: {name}", value, path.parent) for name, value in document.items()}


def _example(where: str, value: Any, folder: Path) -> Example:
    if isinstance(value, dict) and "inputs" not in value:
        value = {"inputs": value}
    if not isinstance(value, dict) or not isinstance(value["inputs"], dict):
        raise ExamplesError(f"{where}: must be inputs, or an object that has them as `inputs`")
    mode, env = value.get("mode", "mock"), value.get("env", {})
    if mode not in {"mock", "real"}:
        raise ExamplesError(f"{where}: `mode` must be mock or real")
    if not isinstance(env, dict) or not all(isinstance(text, str) for text in env.values()):
        raise ExamplesError(f"{where}: `env` must hold strings")
    return Example(value["inputs"], mode, env, folder)
