"""The services that the contract's tests ask: each started once, when it is first needed, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

import pytest

from tests.contract.discovery import EVERY, STEPS
from tests.contract.examples import example_inputs
from tests.support.service import Environ, JsonObject, Service

SECRET = "canary-secret-1f0c"
OPTION = "canary-option-77ab"

Tell = Callable[[str, Sequence[str]], None]
_TOLD: Final = pytest.StashKey[dict[str, list[str]]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what tests wanted to be told of, whether they failed or not."""
    for title, lines in terminalreporter.config.stash.get(_TOLD, {}).items():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def tell(request: pytest.FixtureRequest) -> Tell:
    """What tells, at the end of all tests and under a title, some more lines."""
    told = request.config.stash.setdefault(_TOLD, {})

    def add(title: str, lines: Sequence[str]) -> None:
        told.setdefault(title, []).extend(lines)

    return add


class Services:
    """Processors that run until the tests are over, one for each folder and environment."""

    def __init__(self, room: Path) -> None:
        self._room = room
        self._started: dict[tuple[object, ...], Service] = {}

    def get(self, folder: Path, *, ready: bool = True, **environ: str | None) -> Service:
        """Return the service of the processor in *folder* with *environ* added, started if it is not yet."""
        return self.get_all(folder, [environ], ready=ready)[0]

    def get_all(self, folder: Path, environs: Sequence[Environ], *, ready: bool = True) -> list[Service]:
        """Return one service for each environment, those that are not running yet started two at a time."""
        keys = [(folder, *sorted(environ.items())) for environ in environs]
        new = {key: environ for key, environ in zip(keys, environs, strict=True) if key not in self._started}
        made = [
            Service(folder, self._room / f"{len(self._started) + number}-{folder.name}", environ, ready=ready)
            for number, environ in enumerate(new.values())
        ]
        with ThreadPoolExecutor(2) as pool:
            for key, service in zip(new, pool.map(Service.start, made), strict=True):
                self._started[key] = service
        return [self._started[key] for key in keys]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ThreadPoolExecutor(8) as pool:  # stopping is waiting, mostly
            ended = [pool.submit(service.__exit__, None) for service in self._started.values()]
        failures = [failure for future in ended if (failure := future.exception())]
        if failures:
            raise failures[0]


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The services that run until all tests are over."""
    with Services(tmp_path_factory.mktemp("services")) as started:
        yield started


@pytest.fixture(scope="module")
def passing_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The services that run until the tests of one file are over."""
    with Services(tmp_path_factory.mktemp("services")) as started:
        yield started


@pytest.fixture(params=EVERY, ids=lambda folder: str(folder.name))
def folder(request: pytest.FixtureRequest) -> Path:
    """The folder of each processor in turn."""
    found: Path = request.param
    return found


@pytest.fixture
def service(services: Services, folder: Path) -> Service:
    """Each processor in turn, serving mock only, with no secret."""
    return services.get(folder, PROCESSOR_MODE="mock")


@pytest.fixture
def payload(service: Service) -> JsonObject:
    """A request that the service answers with a success."""
    return service.payload(inputs=example_inputs(service))


@pytest.fixture(params=["sync", "async"])
def steps(services: Services, request: pytest.FixtureRequest) -> Service:
    """The fixture whose handler does what a test says, in both modes: with a sync handler, then with an async one."""
    return services.get(STEPS, FIXTURE_KIND=request.param, FIX_SECRET=SECRET, FIX_OPTION=OPTION)
