"""Each limit of a container stands in what the engine is told; tests/integration/local look from inside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.core.adapters.local.container import STOP_S
from apps.core.adapters.local.network import Network
from tests.support.executions import SECRET
from tests.unit.adapters.local.conftest import Planned


def environ(config: dict[str, Any]) -> dict[str, str]:
    """Return the environment in *config*."""
    return dict(each.split("=", 1) for each in config["Env"])


def test_nothing_is_allowed_that_is_not_needed(plan: Planned) -> None:
    """No root, no capability, no new privilege, no writable root, no health check of the engine's, no restart."""
    config = plan().config()

    assert config["User"] == "10001:10001"
    assert config["Healthcheck"] == {"Test": ["NONE"]}
    host = config["HostConfig"]
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges:true"])
    assert (host["ReadonlyRootfs"], host["RestartPolicy"]) == (True, {"Name": "no"})
    assert host["Tmpfs"] == {"/tmp": "rw,nosuid,nodev,noexec,mode=1777"}
    assert not {"Privileged", "CapAdd", "PidMode", "IpcMode", "Binds", "Devices"} & set(host)


@pytest.mark.parametrize(
    ("runtime", "limits"),
    [
        pytest.param({"cpu": "2", "memory_gb": 1.5}, (200_000, 1_610_612_736), id="cores and GiB"),
        pytest.param({"cpu": "0.5", "memory_gb": 0.0625}, (50_000, 67_108_864), id="parts"),
        pytest.param({"cpu": "0.001"}, (1_000, 268_435_456), id="the kernel's shortest quota"),
        pytest.param({"cpu": "256"}, (25_600_000, 268_435_456), id="more cores than a laptop has"),
    ],
)
def test_limits_are_those_of_the_registry(plan: Planned, runtime: dict[str, Any], limits: tuple[int, int]) -> None:
    """GiB and parts of a core; no swap beyond the memory."""
    host = plan(runtime=runtime).config()["HostConfig"]

    assert (host["CpuQuota"], host["Memory"]) == limits
    assert (host["CpuPeriod"], host["MemorySwap"], host["PidsLimit"]) == (100_000, limits[1], 512)


@pytest.mark.parametrize(
    ("gpu", "count"), [("A100", 1), ("H100:2", 2), ("any:8", 8), (None, None)], ids=["one", "two", "any", "none"]
)
def test_a_gpu_is_asked_for_where_the_registry_does(plan: Planned, gpu: str | None, count: int | None) -> None:
    """As many as it says; which kind is the machine's business."""
    requests = plan(runtime={"gpu": gpu}).config()["HostConfig"].get("DeviceRequests")

    expected = None if count is None else [{"Driver": "", "Count": count, "Capabilities": [["gpu"]]}]
    assert requests == expected


def test_mock_has_no_secret_no_port_and_asks_no_resolver(plan: Planned) -> None:
    """Whatever the caller has; `CI` alone is passed on."""
    config = plan().config()

    assert SECRET not in json.dumps(config)
    assert (environ(config)["PROCESSOR_MODE"], environ(config)["CI"]) == ("mock", "1")
    assert {"OTHER", "PATH"} & set(environ(config)) == set()
    host = config["HostConfig"]
    assert (host["NetworkMode"], host["Dns"]) == ("n1", ["127.0.0.1"])
    assert "PortBindings" not in host


def test_real_has_its_secrets_in_the_environment_alone(plan: Planned) -> None:
    """Declared ones that are set; the port is open on loopback, on whichever number is free."""
    config = plan(mode="real", network=Network("n2", "", published=True)).config()

    assert environ(config)["FIX_SECRET"] == SECRET
    assert "FIX_SETUP" not in environ(config)
    assert SECRET not in json.dumps({name: value for name, value in config.items() if name != "Env"})
    host = config["HostConfig"]
    assert host["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    assert "Dns" not in host


def test_it_is_told_which_image_it_is(plan: Planned) -> None:
    """By the engine's id it is made; the digest and the pin are the contract's variables."""
    config = plan().config()

    assert config["Image"] == "sha256:" + "b" * 64
    assert (environ(config)["IMAGE_DIGEST"], environ(config)["IMAGE_PINNED"]) == ("sha256:" + "a" * 64, "1")


def test_a_run_in_flight_ends_before_its_container_is_killed(plan: Planned) -> None:
    """The grace is below the time to stop, cold or warm."""
    for kind in ("cold", "warm"):
        config = plan(kind=kind).config()
        assert float(environ(config)["PROCESSOR_GRACE_S"]) < config["StopTimeout"] == STOP_S[kind]


def test_neither_token_nor_secret_is_in_a_repr(plan: Planned) -> None:
    """Of what may end in a log."""
    assert SECRET not in repr(plan())
    assert "a-token-of-some-length" not in repr(plan())
