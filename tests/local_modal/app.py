"""Apps: deployed, looked up, listed, tagged, stopped and rolled back by name."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .environment import Environments
from .function import Definition, Function, Functions
from .ids import new_id
from .named import OWNER
from .rpc import Call, answers

_PREVIOUS: Final = -1  # what the command line sends for "the version before"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One version of an app: which definition of each function serves."""

    version: int
    definitions: dict[str, str]  # function id → definition id
    functions: dict[str, str]  # name → function id
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
    def deployed(self) -> bool:
        """Whether it serves."""
        return self.state == api_pb2.APP_STATE_DEPLOYED

    @property
    def current(self) -> Deployment:
        """The version that serves."""
        return self.deployments[-1]

    def version(self, number: int) -> Deployment:
        """Return the deployment *number*, the current one for 0."""
        for deployment in self.deployments if number else [self.current]:
            if number in (0, deployment.version):
                return deployment
        raise GRPCError(Status.NOT_FOUND, f"App '{self.name}' has no version {number}")

    def lifecycle(self) -> api_pb2.AppLifecycle:
        """Return when it was made, deployed and stopped, and by whom."""
        current = self.deployments[-1] if self.deployments else None
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


Changed = Callable[[App], Awaitable[None]]


class Apps:
    """All apps of the workspace.

    Args:
        environments: Where their names live.
        changed: Awaited after an app was deployed, rolled back or stopped.
    """

    def __init__(self, environments: Environments, changed: Changed) -> None:
        self._environments = environments
        self._changed = changed
        self._apps: dict[str, App] = {}
        self.functions: Functions

    def __getitem__(self, app_id: str) -> App:
        if app_id not in self._apps:
            raise GRPCError(Status.NOT_FOUND, f"App {app_id} not found")
        return self._apps[app_id]

    def named(self, name: str, environment: str) -> list[App]:
        """Return the apps that have or had that name, the newest first."""
        where = self._environments[environment].name
        return [app for app in reversed(self._apps.values()) if (app.name, app.environment) == (name, where)]

    def deployed(self, name: str, environment: str) -> App:
        """Return the app that serves under that name."""
        for app in self.named(name, environment):
            if app.deployed:
                return app
        raise GRPCError(Status.NOT_FOUND, f"App '{name}' not found in environment '{environment}'")

    def serving(self, app: App, version: int = 0) -> Iterator[tuple[Function, Definition]]:
        """Yield the functions of a version of *app* with the definitions that serve."""
        deployment = app.version(version)
        for function_id, definition_id in deployment.definitions.items():
            function = self.functions[function_id]
            yield function, function.definitions[definition_id]

    # --- deploy

    @answers("AppGetByDeploymentName")
    def by_name(
        self, request: api_pb2.AppGetByDeploymentNameRequest, _: Call
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        """Return the id of the app that serves under a name, or of the one that was stopped last."""
        environment = self._environments[request.environment_name].name
        apps = [app for app in self.named(request.name, environment) if app.deployments]
        answer = api_pb2.AppGetByDeploymentNameResponse(environment_name=environment)
        if apps and apps[0].deployed:
            answer.app_id = apps[0].id
        elif apps:
            answer.previous_app_id = apps[0].id
        if apps:
            answer.lifecycle.CopyFrom(apps[0].lifecycle())
        return answer

    @answers("AppCreate")
    def create(self, request: api_pb2.AppCreateRequest, _: Call) -> api_pb2.AppCreateResponse:
        """Create an app; its description is its name."""
        environment = self._environments[request.environment_name].name
        app = App(request.description, environment, dict(request.tags), state=request.app_state)
        self._apps[app.id] = app
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url=_page(app), app_logs_url=_page(app))

    @answers("AppGetLayout")
    def layout(self, request: api_pb2.AppGetLayoutRequest, _: Call) -> api_pb2.AppGetLayoutResponse:
        """Return the ids of the current deployment's functions."""
        app = self[request.app_id]
        layout = api_pb2.AppLayout(function_ids=app.current.functions if app.deployments else {})
        for function_id in layout.function_ids.values():
            metadata = self.functions[function_id].metadata(app.current.definitions[function_id])
            layout.objects.append(api_pb2.Object(object_id=function_id, function_handle_metadata=metadata))
        return api_pb2.AppGetLayoutResponse(app_layout=layout)

    @answers("AppPublish")
    async def publish(self, request: api_pb2.AppPublishRequest, _: Call) -> api_pb2.AppPublishResponse:
        """Let an app serve what was defined for it."""
        app = self[request.app_id]
        if request.staged:
            raise GRPCError(Status.UNIMPLEMENTED, "the local Modal knows no staged deployments")
        app.name = request.name or app.name
        app.tags = dict(request.tags)
        deployment = Deployment(
            version=len(app.deployments) + 1,
            definitions=dict(request.definition_ids),
            functions=dict(request.function_ids),
            tag=request.deployment_tag,
            client_version=request.client_version,
            commit=request.commit_info,
        )
        return await self._deploy(app, deployment, request.app_state)

    @answers("AppRollback")
    async def rollback(self, request: api_pb2.AppRollbackRequest, _: Call) -> api_pb2.AppRollbackResponse:
        """Deploy a former version again, as a new one. The app's tags stay as they are."""
        app = self[request.app_id]
        if not app.deployed:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App '{app.name}' is not deployed")
        number = app.current.version - 1 if request.version == _PREVIOUS else request.version
        if number < 1:
            raise GRPCError(Status.INVALID_ARGUMENT, f"App '{app.name}' has no version to roll back to")
        former = app.version(number)
        deployment = replace(
            former, version=len(app.deployments) + 1, rollback_of=former.version, deployed_at=time.time()
        )
        published = await self._deploy(app, deployment, api_pb2.APP_STATE_DEPLOYED)
        return api_pb2.AppRollbackResponse(url=published.url, deployed_at=published.deployed_at)

    @answers("AppStop")
    async def stop(self, request: api_pb2.AppStopRequest, _: Call) -> None:
        """Stop an app; twice is fine."""
        app = self[request.app_id]
        if app.state != api_pb2.APP_STATE_STOPPED:
            app.state = api_pb2.APP_STATE_STOPPED
            app.stopped_at = time.time()
            await self._changed(app)

    @answers("AppClientDisconnect")
    def disconnect(self, request: api_pb2.AppClientDisconnectRequest, _: Call) -> None:
        """Give up an app whose deploy failed; one that serves goes on."""
        app = self[request.app_id]
        if app.state == api_pb2.APP_STATE_INITIALIZING:
            app.state = api_pb2.APP_STATE_STOPPED
            app.stopped_at = time.time()

    @answers("AppHeartbeat")
    def heartbeat(self, _request: Any, _: Call) -> None:
        """Hear that a deploy goes on."""

    # --- look-up

    @answers("FunctionGet")
    def function(self, request: api_pb2.FunctionGetRequest, _: Call) -> api_pb2.FunctionGetResponse:
        """Return a function of a deployed app by its name."""
        app = self.deployed(request.app_name, request.environment_name)
        for function, definition in self.serving(app, request.app_version):
            if function.name == request.object_tag:
                metadata = function.metadata(definition.id)
                return api_pb2.FunctionGetResponse(
                    function_id=function.id, handle_metadata=metadata, function=definition.data
                )
        raise GRPCError(Status.NOT_FOUND, f"App '{app.name}' has no function '{request.object_tag}'")

    @answers("AppGetLifecycle")
    def get_lifecycle(self, request: api_pb2.AppGetLifecycleRequest, _: Call) -> api_pb2.AppGetLifecycleResponse:
        """Return the state of an app by its id."""
        return api_pb2.AppGetLifecycleResponse(lifecycle=self[request.app_id].lifecycle())

    @answers("AppDeploymentHistory")
    def history(self, request: api_pb2.AppDeploymentHistoryRequest, _: Call) -> api_pb2.AppDeploymentHistoryResponse:
        """Return every deployment of an app, the newest first."""
        app = self[request.app_id]
        rows = [
            api_pb2.AppDeploymentHistory(
                app_id=app.id,
                version=deployment.version,
                client_version=deployment.client_version,
                deployed_at=deployment.deployed_at,
                deployed_by=OWNER,
                tag=deployment.tag,
                rollback_version=deployment.rollback_of,
                rollback_allowed=True,
                commit_info=deployment.commit,
            )
            for deployment in reversed(app.deployments)
        ]
        current = app.current.version if app.deployments else 0
        return api_pb2.AppDeploymentHistoryResponse(app_deployment_histories=rows, production_app_version=current)

    async def _deploy(
        self, app: App, deployment: Deployment, state: api_pb2.AppState.ValueType
    ) -> api_pb2.AppPublishResponse:
        app.deployments.append(deployment)
        app.state = state
        await self._changed(app)
        return api_pb2.AppPublishResponse(url=_page(app), deployed_at=deployment.deployed_at)


def _page(app: App) -> str:
    return f"https://modal.com/apps/local/{app.environment}/{app.id}"
