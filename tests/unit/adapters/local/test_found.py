"""What the engine lists, as `localctl` reads it: labels, addresses, and what nobody will ever use again."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from apps.core.adapters.local import warm
from apps.core.adapters.local.control import Found
from apps.core.adapters.local.labels import Labels
from apps.core.adapters.local.network import Network
from apps.core.adapters.local.owner import Owner
from apps.core.adapters.local.running import described
from processor_runtime.errors import ProcessorError


def row(labels: Labels, state: str = "running", **changes: Any) -> dict[str, Any]:
    """Return a row of the engine's list."""
    networks = {"n": {"IPAddress": "172.18.0.2", "NetworkID": "n1"}}
    return {
        "Id": "c1",
        "Names": ["/processor-x"],
        "State": state,
        "Labels": labels.written(),
        "Created": time.time(),
        "Ports": [],
        "NetworkSettings": {"Networks": networks},
        **changes,
    }


def test_labels_are_read_as_they_were_written(labels: Labels) -> None:
    """All of them, and what an image has beside them does not matter."""
    assert Labels.read({**labels.written(), "processor.ref": "another/one@1"}) == labels
    assert Labels.read(replace(labels, kind="warm", owner=None).written()) == replace(labels, kind="warm", owner=None)


PUBLISHED = {"PrivatePort": 8000, "PublicPort": 32768, "IP": "127.0.0.1"}


@pytest.mark.parametrize(
    ("ports", "url"),
    [
        pytest.param([], "http://172.18.0.2:8000", id="its own address"),
        pytest.param([{"PrivatePort": 8000, "Type": "tcp"}], "http://172.18.0.2:8000", id="not published"),
        pytest.param(
            [{"PrivatePort": 8000, "PublicPort": 32768, "IP": "127.0.0.1"}], "http://127.0.0.1:32768", id="published"
        ),
    ],
)
def test_an_address_is_the_published_one_or_its_own(labels: Labels, ports: list[dict[str, Any]], url: str) -> None:
    """Where a caller on this machine reaches it."""
    assert Found.parse(row(labels, Ports=ports)).url == url


GONE = replace(Owner.here(), started="1")
ELSEWHERE = replace(Owner.here(), place="elsewhere")


@pytest.mark.parametrize(
    ("owner", "state", "age_s", "left"),
    [
        pytest.param(Owner.here(), "running", 0, False, id="its caller lives"),
        pytest.param(Owner.here(), "exited", 9999, False, id="its caller looks at how it ended"),
        pytest.param(GONE, "running", 0, True, id="its caller was killed"),
        pytest.param(GONE, "created", 0, True, id="its caller was killed before it started"),
        pytest.param(None, "running", 9999, False, id="warm"),
        pytest.param(None, "exited", 0, True, id="warm, and ended"),
        pytest.param(None, "created", 0, False, id="warm, and about to start"),
        pytest.param(None, "created", 9999, True, id="warm, and never started"),
        pytest.param(ELSEWHERE, "running", 9999, False, id="somebody else's machine"),
        pytest.param(ELSEWHERE, "dead", 0, True, id="somebody else's, of no use"),
    ],
)
def test_what_nobody_will_use_is_left_behind(
    labels: Labels, owner: Owner | None, state: str, age_s: float, *, left: bool
) -> None:
    """By its owner where there is one that can be seen; else by its state."""
    found = Found.parse(row(replace(labels, owner=owner), state, Created=time.time() - age_s))

    assert found.left is left
    assert found.shown()["left"] is left


def test_a_warm_container_has_a_name_that_says_what_it_is(labels: Labels) -> None:
    """The same for the same, another for any other image, mode, folder, user or network; who started it is no part."""
    name = warm.name(labels)

    assert name.startswith("processor-fix-box-1-mock-warm-")
    assert warm.name(replace(labels, owner=None, execution_id="")) == name
    others: list[dict[str, Any]] = [{field: "x"} for field in ("ref", "mode", "digest", "artifacts", "user", "network")]
    assert len({warm.name(replace(labels, **change)) for change in others} | {name}) == len(others) + 1


@pytest.mark.parametrize(
    ("network", "seen", "url"),
    [
        pytest.param(
            Network("n1", "", published=False),
            {"Networks": {"a": {"NetworkID": "n1", "IPAddress": "172.18.0.2"}}},
            "http://172.18.0.2:8000",
            id="on its own network",
        ),
        pytest.param(
            Network("n1", "n2", published=False),
            {
                "Networks": {
                    "a": {"NetworkID": "n1", "IPAddress": "172.18.0.2"},
                    "b": {"NetworkID": "n2", "IPAddress": "172.19.0.2"},
                }
            },
            "http://172.19.0.2:8000",
            id="on the caller's network",
        ),
        pytest.param(
            Network("n1", "", published=True),
            {"Ports": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]}},
            "http://127.0.0.1:32768",
            id="published",
        ),
    ],
)
def test_a_container_is_reached_where_its_network_says(network: Network, seen: dict[str, Any], url: str) -> None:
    """By what the engine says of it."""
    assert network.url(seen) == url


@pytest.mark.parametrize("published", [True, False])
def test_a_container_without_an_address_is_not_running(*, published: bool) -> None:
    """It is an error, and not an address made up."""
    with pytest.raises(ProcessorError) as refused:
        Network("n1", "", published=published).url({"Ports": {"8000/tcp": None}, "Networks": {}})

    assert refused.value.code == "ERR_DOCKER"


@pytest.mark.parametrize(
    ("status", "out_of_memory", "words"),
    [
        (3, False, "exit status 3"),
        (0, False, "exit status 0"),
        (137, False, "signal SIGKILL"),
        (139, False, "signal SIGSEGV"),
        (137, True, "out of memory, exit status 137"),
        (255, False, "exit status 255"),
    ],
)
def test_an_ending_is_told_in_words(status: int, words: str, *, out_of_memory: bool) -> None:
    """Exit status, signal, or out of memory (CONTRACT §5)."""
    assert described(status, out_of_memory=out_of_memory) == words
