"""Two networks, one without a way out for `mock` and one with it for `real`; and how a container is reached."""

import asyncio
import fcntl
import os
import platform
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from apps.core.adapters.errors import DockerError
from processor_runtime.errors import Detail

from .engine import NOT_FOUND, Engine, EngineRefusedError
from .labels import LOCAL

PORT: Final = 8000  # what an image listens on (CONTRACT §9)
SETTING: Final = "LOCAL_ADAPTER_NETWORK"
_NAMES: Final = {"mock": "processors-mock", "real": "processors-real"}
# No container of ours has anything to say to another one
_OPTIONS: Final = {"com.docker.network.bridge.enable_icc": "false"}


@dataclass(frozen=True, slots=True)
class Network:
    """What a container is connected to.

    Attributes:
        home: The id of the network that it starts on: in `mock` without a way out.
        shared: The id of the caller's own network, on which the caller, a container itself, reaches it; or ``""``.
        published: Whether its port is published on this machine's loopback.
    """

    home: str
    shared: str
    published: bool

    def url(self, seen: Mapping[str, Any]) -> str:
        """Return where the container answers, by what the engine says about it: its `NetworkSettings`.

        Raises:
            DockerError: the engine knows no address: the container is not running.
        """
        if self.published:
            rows = (seen.get("Ports") or {}).get(f"{PORT}/tcp") or []
            if found := next((row["HostPort"] for row in rows if row["HostPort"]), ""):
                return f"http://127.0.0.1:{found}"
        else:
            networks = (seen.get("Networks") or {}).values()
            wanted = self.shared or self.home
            found = next((each["IPAddress"] for each in networks if each["NetworkID"] == wanted), "")
            if found:
                return f"http://{found}:{PORT}"
        raise DockerError(Detail(path="docker", message="the container has no address: it is not running"))


async def network(engine: Engine, mode: str, shared: str) -> Network:
    """Return what a container of *mode* is connected to; our own networks are made once and kept.

    Args:
        engine: The engine.
        mode: ``mock`` or ``real``.
        shared: The network on which the caller, itself a container, reaches others; ``""`` on a plain host.

    Raises:
        DockerError: there is no network called *shared*, or it has a way out, which `mock` must not have.
    """
    if not shared:
        return Network(await _own(engine, mode), "", published=mode == "real")
    found = await _shared(engine, shared)
    if mode == "real":
        return Network(await _own(engine, mode), found["Id"], published=False)
    if not found["Internal"]:
        rule = f"{shared} has a way out, and mock runs have none: make it with `docker network create --internal`"
        raise DockerError(Detail(path=SETTING, message=rule))
    return Network(found["Id"], found["Id"], published=False)


async def _own(engine: Engine, mode: str) -> str:
    """Return the id of our network for *mode*."""
    if found := await _made(engine, mode):
        return found
    async with _alone():
        # engines before 25 let two at once make two of one name
        if found := await _made(engine, mode):
            return found
        if mode == "mock":
            await _refuse_out_of_reach(engine)
        config = {
            "Name": _NAMES[mode],
            "Driver": "bridge",
            "Internal": mode == "mock",
            "CheckDuplicate": True,
            "Options": _OPTIONS,
            "Labels": {LOCAL: "network"},
        }
        made: str = (await engine.ask("POST", "/networks/create", config))["Id"]
        return made


async def _refuse_out_of_reach(engine: Engine) -> None:
    """Refuse an engine whose bridges this machine cannot reach: it runs in a virtual machine of its own.

    Asked once, before the network is made: it takes longer than all other questions.
    """
    known_as = (await engine.ask("GET", "/info"))["OperatingSystem"]
    if platform.system() != "Linux" or known_as == "Docker Desktop":
        rule = (
            f"{known_as} is not reached on a network without a way out: run this in a container, or --adapter process"
        )
        raise DockerError(Detail(path=SETTING, message=rule))


@asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Hold a lock among the processes of this user, and the tasks of this one."""
    path = Path(tempfile.gettempdir()) / f"processors-networks.{os.geteuid()}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


async def _made(engine: Engine, mode: str) -> str:
    rows = await engine.ask("GET", "/networks", filters={"name": [_NAMES[mode]], "label": [f"{LOCAL}=network"]})
    # a filter by name finds longer names too
    found = sorted((row["Created"], row["Id"]) for row in rows if row["Name"] == _NAMES[mode])
    return found[0][1] if found else ""


async def _shared(engine: Engine, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = await engine.ask("GET", f"/networks/{name}")
    except EngineRefusedError as exc:
        if exc.engine_status != NOT_FOUND:
            raise
        rule = f"there is no network {name}: it is the one that this container is connected to"
        raise DockerError(Detail(path=SETTING, message=rule)) from exc
    return found
