"""Apps and their deployments: what the calls about them share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .environment import Environments
from .function import Definition, Function, Functions
from .ids import new_id
from .named import OWNER


@dataclass(frozen=True, slots=True)
class Deployment:
    """One version of an app.

    Attributes:
        functions: Ids by the functions' names.
        definitions: Ids by the functions' ids.
        rollback_of: The version that this one repeats, or 0.
    """

    version: int
    functions: dict[str, str]
    definitions: dict[str, str]
    tag: str
    client_version: str
    commit: api_pb2.CommitInfo
    rollback_of: int = 0
    deployed_at: float = field(default_factory=time.time)


@dataclass
class App:
    """One app; a stopped one keeps its id, and its name becomes free."""

    name: str
    environment: str
    tags: dict[str, str]
    id: str = field(default_factory=lambda: new_id("ap"))
    state: api_pb2.AppState.ValueType = api_pb2.APP_STATE_INITIALIZING
    created_at: float = field(default_factory=time.time)
    stopped_at: float = 0
    deployments: list[Deployment] = field(default_factory=list)

    @property
    def page(self) -> str:
        """Where the dashboard shows it."""
        return f"https://modal.com/apps/local/{self.environment}/{self.id}"

    @property
    def deployed(self) -> bool:
        """Whether it serves."""
        return self.state == api_pb2.APP_STATE_DEPLOYED

    @property
    def current(self) -> Deployment | None:
        """The version that serves, or did last."""
        return self.deployments[-1] if self.deployments else None

    def version(self, number: int) -> Deployment:
        """Return the deployment *number*, the current one for 0."""
        for deployment in self.deployments if number else self.deployments[-1:]:
            if number in (0, deployment.version):
                return deployment
        raise GRPCError(Status.NOT_FOUND, f"App '{self.name}' has no version {number}")

    def lifecycle(self) -> api_pb2.AppLifecycle:
        """Return when it was made, deployed and stopped, and by whom."""
        current = self.current
        return api_pb2.AppLifecycle(
            app_state=self.state,
            created_at=self.created_at,
            created_by=OWNER,
            deployed_at=current.deployed_at if current else 0,
            deployed_by=OWNER if current else "",
            version=current.version if current else 0,
            stopped_at=self.stopped_at,
            stopped_by=OWNER if self.stopped_at else "",
        )

    def metadata(self) -> api_pb2.AppHandleMetadata:
        """Return what the SDK's handle learns of it."""
        return api_pb2.AppHandleMetadata(
            description=self.name,
            app_id=self.id,
            environment_name=self.environment,
            lifecycle=self.lifecycle(),
            functions=self.current.functions if self.current else {},
        )

    def stop(self) -> None:
        """Serve no longer."""
        self.state = api_pb2.APP_STATE_STOPPED
        self.stopped_at = time.time()


class Apps:
    """All apps of the workspace, the oldest first.

    Args:
        environments: Where their names live.

    Attributes:
        functions: What deployments name by their ids.
    """

    def __init__(self, environments: Environments) -> None:
        self.environments = environments
        self.functions: Functions
        self._apps: dict[str, App] = {}

    def __getitem__(self, app_id: str) -> App:
        if app_id not in self._apps:
            raise GRPCError(Status.NOT_FOUND, f"App {app_id} not found")
        return self._apps[app_id]

    def __iter__(self) -> Iterator[App]:
        return iter(self._apps.values())

    def add(self, app: App) -> None:
        """Keep a new app."""
        self._apps[app.id] = app

    def last(self, name: str, environment: str) -> App | None:
        """Return the app that was deployed last under that name, whether it still serves or not."""
        where = self.environments[environment].name
        found = [app for app in self if (app.name, app.environment) == (name, where) and app.deployments]
        return found[-1] if found else None

    def deployed(self, name: str, environment: str) -> App:
        """Return the app that serves under that name.

        Raises:
            GRPCError: there is none.
        """
        app = self.last(name, environment)
        if app is None or not app.deployed:
            raise GRPCError(Status.NOT_FOUND, f"App '{name}' not found in environment '{environment}'")
        return app

    def serving(self, app: App, version: int = 0) -> Iterator[tuple[Function, Definition]]:
        """Yield the functions of a version of *app*, by default the current one, with their definitions."""
        for function_id, definition_id in app.version(version).definitions.items():
            function = self.functions[function_id]
            yield function, function.definitions[definition_id]
