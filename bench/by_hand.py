"""A container run by hand: the engine's own steps, one after another, on a container like the adapter's."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .commands import finish
from .engine import PORT, Engine, connected, post, until_healthy
from .ids import fresh_id
from .paths import LIMITS, PEERS

REF: Final = "llm/chat@1"
INPUTS: Final = {"schema": "v1", "params": {"messages": [{"role": "user", "content": "Hello"}]}}
_NETWORK: Final = "processors-mock"  # the adapter's own, without a way out
_UID: Final = 10001
_GIB: Final = 2**30
_PERIOD_US: Final = 100_000
_PIDS: Final = 512
# no more than the adapter gives a container, and no less
_SCRIPT: Final = f"""
made=$(docker run --detach --network {_NETWORK} --dns 127.0.0.1 --read-only --cap-drop ALL --pids-limit {_PIDS} \\
    --security-opt no-new-privileges --cpus 1 --memory 1g --memory-swap 1g --tmpfs /tmp --log-driver local \\
    --no-healthcheck --user {_UID}:{_UID} --env HOME=/tmp --env PROCESSOR_MODE=mock --env "IMAGE_DIGEST=$DIGEST" \\
    --volume "$FOLDER:/artifacts" "$IMAGE")
trap 'docker rm --force --volumes "$made"' EXIT
address='{{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}}{{{{end}}}}'
at=http://$(docker inspect --format "$address" "$made"):{PORT}
until curl --silent --fail --output /dev/null "$at/healthz"; do sleep 0.005; done
curl --silent --fail --header 'Content-Type: application/json' --data "$BODY" "$at/run"
"""


def payload() -> dict[str, Any]:
    """Return the body of a run that nobody has asked for before."""
    return {
        "schema": "v1",
        "execution_id": fresh_id(),
        "write_prefix": "/artifacts/outputs/{execution_id}/",
        "mode": "mock",
        "ref": REF,
        "inputs": INPUTS,
    }


@dataclass(frozen=True, slots=True)
class ByHand:
    """Who does the steps.

    Attributes:
        engine: Where the containers run.
        image: The image's id.
        digest: Which image it is, as its envelopes must say.
        folder: What `/artifacts` is in them.
    """

    engine: Engine
    image: str
    digest: str
    folder: Path

    def run(self) -> float:
        """Return the seconds from nothing to an answer and back to nothing."""
        config = self._config()
        began = time.perf_counter()
        container = self.engine.create(config)
        try:
            address = self.engine.start(container)
            until_healthy(address)
            connection = connected(address)
            post(connection, payload())
            connection.close()
        finally:
            self.engine.remove(container)
        return time.perf_counter() - began

    def script(self) -> float:
        """Return the seconds of `run`, as a shell script of Docker's own command and curl.

        Raises:
            SkippedError: a step failed.
        """
        self._config()
        environ = {
            "IMAGE": self.image,
            "DIGEST": self.digest,
            "FOLDER": str(self.folder),
            "BODY": json.dumps(payload()),
        }
        return finish(["sh", "-euc", _SCRIPT], environ=environ).seconds

    def started(self, *, plain: bool) -> float:
        """Return the seconds from a container's start to its first healthy answer.

        Args:
            plain: Let a bare FastAPI app be what starts, in the same image and with the same limits.
        """
        container = self.engine.create(self._plain() if plain else self._config())
        try:
            began = time.perf_counter()
            until_healthy(self.engine.start(container))
            return time.perf_counter() - began
        finally:
            self.engine.remove(container)

    def _config(self) -> dict[str, Any]:
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o777)  # the container's user is another one
        return {
            "Image": self.image,
            "User": f"{_UID}:{_UID}",
            "Env": [f"IMAGE_DIGEST={self.digest}", "PROCESSOR_MODE=mock", "HOME=/tmp"],
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                "NetworkMode": _NETWORK,
                "Dns": ["127.0.0.1"],
                "ReadonlyRootfs": True,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges:true"],
                "PidsLimit": _PIDS,
                "CpuPeriod": _PERIOD_US,
                "CpuQuota": _PERIOD_US,
                "Memory": _GIB,
                "MemorySwap": _GIB,
                "Mounts": [{"Type": "bind", "Source": str(self.folder), "Target": "/artifacts"}],
                "Tmpfs": {"/tmp": "rw,nosuid,nodev,noexec,mode=1777"},  # noqa: S108  # inside
                "LogConfig": {"Type": "local"},
            },
        }

    def _plain(self) -> dict[str, Any]:
        config = self._config()
        folders = {"/bench/limits": LIMITS, "/bench/peers": PEERS}
        config["Cmd"] = _uvicorn("plain_fastapi:app")
        config["Env"] = [f"PYTHONPATH={':'.join(folders)}", "HOME=/tmp"]
        config["HostConfig"]["Mounts"] = [
            {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": True}
            for target, source in folders.items()
        ]
        return config


def _uvicorn(app: str) -> Sequence[str]:
    """Return an image's CMD (CONTRACT §9), with another *app*."""
    return ["uvicorn", app, "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104  # inside
