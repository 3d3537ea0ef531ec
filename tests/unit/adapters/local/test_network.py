"""Our networks are made once, found by label, and refused where nobody could reach a container on them."""

from __future__ import annotations

import asyncio
import platform
from asyncio import StreamReader, StreamWriter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from apps.core.adapters.errors import DockerError
from apps.core.adapters.local.engine import Engine
from apps.core.adapters.local.network import Network, network


class Networks:
    """An engine that knows networks, and nothing else."""

    def __init__(self, system: str = "Debian GNU/Linux 12 (bookworm)") -> None:
        self.system = system
        self.rows: list[dict[str, Any]] = []

    async def __call__(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer one question."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
        body = await reader.readexactly(length)
        method, target, _ = head.split(" ", 2)
        answer = orjson.dumps(self.answer(method, target, orjson.loads(body) if body else {}))
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + answer)
        writer.close()

    def answer(self, method: str, target: str, body: dict[str, Any]) -> Any:
        """Return what the engine says."""
        if target == "/info":
            return {"OperatingSystem": self.system}
        if (method, target) == ("POST", "/networks/create"):
            self.rows.append({**body, "Id": f"n{len(self.rows)}", "Created": "2026-11-25T00:00:00Z"})
            return {"Id": self.rows[-1]["Id"]}
        wanted = orjson.loads(parse_qs(urlsplit(target).query)["filters"][0])["name"][0]
        return [row for row in self.rows if wanted in row["Name"]]


def asked(networks: Networks, folder: Path, *modes: str) -> list[Network]:
    """Return what containers of these modes are connected to, asked for at once."""

    async def main() -> list[Network]:
        async with await asyncio.start_unix_server(networks, folder / "s"):
            engine = Engine(f"unix://{folder / 's'}")
            return await asyncio.gather(*(network(engine, mode, "") for mode in modes))

    return asyncio.run(main())


def test_many_at_once_make_one_network_of_a_kind(tmp_path: Path) -> None:
    """Mock without a way out and asked at its address, real published on loopback; neither lets containers meet."""
    networks = Networks()

    found = asked(networks, tmp_path, *["mock", "real"] * 5)

    assert [(row["Name"], row["Internal"]) for row in sorted(networks.rows, key=lambda row: str(row["Name"]))] == [
        ("processors-mock", True),
        ("processors-real", False),
    ]
    assert all(row["Options"] == {"com.docker.network.bridge.enable_icc": "false"} for row in networks.rows)
    assert len({each.home for each in found}) == 2
    assert [each.published for each in found[:2]] == [False, True]


def test_one_that_is_there_is_taken(tmp_path: Path) -> None:
    """And one whose name is merely longer is not."""
    networks = Networks()
    networks.rows.append({"Name": "processors-mock-of-others", "Id": "x", "Created": "2026-11-24T00:00:00Z"})

    (first,) = asked(networks, tmp_path, "mock")
    (again,) = asked(networks, tmp_path, "mock")

    assert first == again
    assert first.home != "x"
    assert len(networks.rows) == 2


@pytest.mark.parametrize(("system", "kernel"), [("Docker Desktop", "Linux"), ("Alpine Linux v3.20", "Darwin")])
def test_where_a_container_could_not_be_asked_mock_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, kernel: str
) -> None:
    """Before anything starts, with what to do; real, whose port is published, works."""
    monkeypatch.setattr(platform, "system", lambda: kernel)
    networks = Networks(system)

    with pytest.raises(DockerError) as refused:
        asked(networks, tmp_path, "mock")

    assert "--adapter process" in refused.value.details[0]["message"]
    assert networks.rows == []
    assert asked(networks, tmp_path, "real")[0].published
