"""What a handler can do, by name."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from processor_runtime import Artifact, InputsError, ProviderError, Run

from . import marks, noise, tell

Step = Callable[..., object]


class SpeechlessError(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("canary-of-str")

    __repr__ = __str__


ERRORS: Final[Mapping[str, Callable[[str], BaseException]]] = {
    "ValueError": ValueError,
    "RuntimeError": RuntimeError,
    "OSError": OSError,
    "TimeoutError": TimeoutError,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "GeneratorExit": GeneratorExit,
    "RecursionError": RecursionError,
    "MemoryError": MemoryError,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": SystemExit,
    "ExceptionGroup": lambda text: ExceptionGroup(text, [ValueError(text)]),
    "SpeechlessError": SpeechlessError,
}


def write(run: Run, path: str, text: str, mime: str | None = None) -> None:
    """Write a text."""
    run.write_text(path, text, mime=mime)


def write_bytes(run: Run, path: str, digits: str) -> None:
    """Write bytes, given as hex *digits*."""
    run.write_bytes(path, bytes.fromhex(digits))


def write_json(run: Run, path: str, value: object) -> None:
    """Write a value."""
    run.write_json(path, value)


def write_size(run: Run, path: str, size: int) -> None:
    """Write *size* zeros, piece by piece."""
    with run.open_output(path) as file:
        for _ in range(size // 4096):
            file.write(bytes(4096))
        file.write(bytes(size % 4096))


def write_half(run: Run, path: str) -> None:
    """Break off in the middle of an output, and go on."""
    try:
        with run.open_output(path) as file:
            file.write(b"half")
            raise ValueError("in the middle")  # noqa: TRY301
    except ValueError:
        pass


def report(run: Run) -> None:
    """Write what the handler sees to `outputs/data.json`."""
    run.write_json(
        "outputs/data.json",
        {
            "execution_id": run.execution_id,
            "mode": run.mode,
            "mock": run.mock,
            "inputs": run.inputs,
            "context": run.context,
            "trace_id": run.trace_id,
            "secrets": dict(run.secrets),
            "resource": run.resource,
            "timeout_s": run.timeout_s,
            "remaining_s": run.remaining_s(),
            "environ": dict(os.environ),
            "child_environ": subprocess.check_output(["/usr/bin/env"], text=True),
            "day": run.params.get("day"),
            "files": describe(run.params.get("files")),
            "modules": sorted(sys.modules),
        },
    )


def describe(value: Any) -> Any:
    """Return *value* with each file in place of its handle."""
    if isinstance(value, Artifact):
        with value.open() as file:
            streamed = file.read()
        whole = value.read_bytes()
        return {
            "name": value.name,
            "path": value.path,
            "sha256": value.sha256,
            "size_bytes": value.size_bytes,
            "content": whole.decode("latin-1"),
            "same": streamed == whole,
        }
    if isinstance(value, dict):
        return {key: describe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [describe(item) for item in value]
    return value


def log_odd(run: Run) -> None:
    """Log what JSON has no words for."""
    cycle: list[object] = []
    cycle.append(cycle)
    run.log(
        "odd",
        plain="as it was\nin two lines",
        nan=float("nan"),
        infinite=[float("inf")],
        large=2**70,
        data=b"\xff",
        thing=object(),
        group={1, 2},
        keys={5: 1, None: 2, (1, 2): 3},
        half="\ud800",
        cycle=cycle,
    )


def extra_odd(run: Run, kind: str) -> None:
    """Answer with what JSON has no words for."""
    cycle: list[object] = []
    cycle.append(cycle)
    odd: dict[str, object] = {
        "nan": float("nan"),
        "bytes": b"\xff",
        "cycle": cycle,
        "surrogate": "\ud800",
        "object": object(),
        "large": 2**70,
        "keys": {5: 1, None: 2, (1, 2): 3},
    }
    run.extra["odd"] = odd[kind]


def fail(_run: Run, kind: str, text: str) -> None:
    """Raise."""
    raise ERRORS[kind](text)


def fail_with_secret(run: Run) -> None:
    """Raise an error that quotes a secret."""
    raise RuntimeError(f"could not log in with {run.secrets['FIX_SECRET']}")


def spread_secret(run: Run) -> None:
    """Tell a secret wherever a handler can tell anything."""
    secret = run.secrets["FIX_SECRET"]
    option = run.secrets["FIX_OPTION"]
    nested = {"plain": secret, "list": [f"in {secret} text", {"deep": option}]}
    run.extra.update(nested)
    run.log("spread", said=nested, message=secret)
    run.progress(0.5, f"at {option}")
    print(f"printed {secret}")  # noqa: T201
    noise.std_log(run, "warning", f"logged {option}")
    noise.os_write(run, 2, f"written {secret}\n".encode().hex())
    run.write_text("outputs/text.txt", secret)


def bad_inputs(_run: Run, details: list[dict[str, str]]) -> None:
    """Blame the caller."""
    raise InputsError(*details)  # type: ignore[arg-type, unused-ignore]


def bad_provider(_run: Run, retryable: bool, text: str) -> None:  # noqa: FBT001 - JSON has no keywords
    """Blame the provider."""
    raise ProviderError(retryable=retryable, said=text)


def check_until(run: Run, name: str) -> None:
    """Call `run.check` until a test allows *name*; leave the mark ``<name>.stopped`` if it stops the handler."""
    marks.leave(f"{name}.began")
    try:
        while not marks.allowed(name):
            run.check()
            threading.Event().wait(marks.POLL_S)
    except BaseException:
        marks.leave(f"{name}.stopped")
        raise


async def await_until(_run: Run, name: str) -> None:
    """Wait until a test allows *name*; leave the mark ``<name>.stopped`` if the handler is stopped instead."""
    try:
        await marks.wait_async(name)
    except BaseException:
        marks.leave(f"{name}.stopped")
        raise


STEPS: Final[Mapping[str, Step]] = {
    "write": write,
    "write_bytes": write_bytes,
    "write_json": write_json,
    "write_size": write_size,
    "write_half": write_half,
    "report": report,
    "raise": fail,
    "raise_secret": fail_with_secret,
    "spread_secret": spread_secret,
    "inputs_error": bad_inputs,
    "provider_error": bad_provider,
    "extra": lambda run, values: run.extra.update(values),
    "extra_odd": extra_odd,
    "log": lambda run, event, fields: run.log(event, **fields),
    "log_odd": log_odd,
    "progress": lambda run, fraction, message: run.progress(fraction, message),
    "mark": lambda _run, name: marks.leave(name),
    "count": lambda _run, name: marks.add(name),
    "wait": lambda _run, name: marks.wait(name),
    "spin": lambda _run, name: marks.spin(name),
    "check_until": check_until,
    **noise.STEPS,
    **tell.STEPS,
}
AWAITED: Final[Mapping[str, Callable[..., Awaitable[None]]]] = {"await_until": await_until, **tell.AWAITED}
