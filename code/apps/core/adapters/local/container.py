"""What a container may do, as the engine is told: a pure function, in which each limit stands once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from apps.core.registry import Registration

from .folders import Mount
from .image import Image
from .labels import Labels
from .network import PORT, Network

PIDS: Final = 512  # processes and threads; the registry has no number of its own for it
COLD_GRACE_S: Final = 1.0  # what a run in flight gets after SIGTERM; below STOP_S, so that receipts are written
WARM_GRACE_S: Final = 8.0
STOP_S: Final[Mapping[str, int]] = {"cold": 5, "warm": 10}
_GIB: Final = 2**30
_PERIOD_US: Final = 100_000
_SHORTEST_QUOTA_US: Final = 1_000  # the kernel's own


@dataclass(frozen=True, slots=True)
class Plan:
    """One container, before there is one.

    Attributes:
        registration: The processor.
        image: What it is made from.
        labels: What it says about itself; kind, mode and user stand there.
        network: What it is connected to.
        mounts: What it sees of this host.
        token: What its callers must know.
        environ: The caller's environment: `CI`, and the declared secrets for `real`, are taken from it.
    """

    registration: Registration
    image: Image
    labels: Labels
    network: Network
    mounts: tuple[Mount, ...]
    token: str = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)

    def config(self) -> dict[str, Any]:
        """Return the body of the engine's `POST /containers/create`."""
        return {
            "Image": self.image.id,
            "User": self.labels.user,
            "Env": [f"{name}={value}" for name, value in self._environ().items()],
            "Labels": self.labels.written(),
            "ExposedPorts": {f"{PORT}/tcp": {}},
            # whoever starts it asks itself, and more often
            "Healthcheck": {"Test": ["NONE"]},
            "StopTimeout": STOP_S[self.labels.kind],
            "AttachStdout": True,
            "AttachStderr": True,
            "HostConfig": {
                **self._walls(),
                **self._limits(),
                **self._reach(),
                "Mounts": [
                    {"Type": "bind", "Source": each.source, "Target": each.target, "ReadOnly": each.read_only}
                    for each in self.mounts
                ],
                "Tmpfs": {"/tmp": "rw,nosuid,nodev,noexec,mode=1777"},  # noqa: S108  # inside; counted as memory
                "LogConfig": {"Type": "local"},  # bounded, and read by `localctl logs`
                "RestartPolicy": {"Name": "no"},
            },
        }

    def _environ(self) -> dict[str, str]:
        """Return what the service's environment is given; values are in no command line and no label (ADR 0016)."""
        declaration, real = self.registration.declaration, self.labels.mode == "real"
        passed = ["CI", *(declaration.secrets if real else ())]
        return {
            "HOME": "/tmp",  # noqa: S108  # inside: the one place that can be written
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "IMAGE_DIGEST": str(self.image.digest),
            "IMAGE_PINNED": "1" if self.image.pinned else "0",
            "PROCESSOR_MODE": self.labels.mode,
            "PROCESSOR_TOKEN": self.token,
            "PROCESSOR_GRACE_S": f"{COLD_GRACE_S if self.labels.kind == 'cold' else WARM_GRACE_S:g}",
            "PROCESSOR_WRITE_ROOTS": "/artifacts",  # what is written elsewhere is gone with the container
            **{name: self.environ[name] for name in passed if self.environ.get(name)},
        }

    @staticmethod
    def _walls() -> dict[str, Any]:
        return {
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "PidsLimit": PIDS,
        }

    def _limits(self) -> dict[str, Any]:
        """Return what the registry allows; a quota, unlike `NanoCpus`, may exceed the cores of a small laptop."""
        runtime = self.registration.declaration.runtime
        memory = int(runtime.memory_gb * _GIB)
        limits: dict[str, Any] = {
            "CpuPeriod": _PERIOD_US,
            "CpuQuota": max(int(Decimal(runtime.cpu) * _PERIOD_US), _SHORTEST_QUOTA_US),
            "Memory": memory,
            "MemorySwap": memory,  # the sum of both: no swap
        }
        if runtime.gpu:
            _, _, count = runtime.gpu.partition(":")
            limits["DeviceRequests"] = [{"Driver": "", "Count": int(count or 1), "Capabilities": [["gpu"]]}]
        return limits

    def _reach(self) -> dict[str, Any]:
        reach: dict[str, Any] = {"NetworkMode": self.network.home}
        if self.labels.mode == "mock":
            # Engines before 26 ask the host's resolvers for a container without a way out; this one is asked inside,
            # where nobody answers, and nobody waits for it
            reach |= {"Dns": ["127.0.0.1"], "DnsOptions": ["timeout:1", "attempts:1"]}
        if self.network.published:
            reach["PortBindings"] = {f"{PORT}/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
        return reach
