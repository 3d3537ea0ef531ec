"""What changes an app: deploy, roll back, tag, stop."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .app import App, Apps, Deployment
from .rpc import Call, answers

_PREVIOUS: Final = -1  # what the command line sends for "the version before"

Changed = Callable[[App], Awaitable[None]]


class Deploys:
    """Takes deployments.

    Args:
        apps: What they make and change.
        changed: Awaited after an app was deployed, rolled back or stopped.
    """

    def __init__(self, apps: Apps, changed: Changed) -> None:
        self._apps = apps
        self._changed = changed

    @answers("AppGetByDeploymentName")
    def by_name(
        self, request: api_pb2.AppGetByDeploymentNameRequest, _: Call
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        """Return the id of the app that serves under a name, or of the one that was stopped last."""
        environment = self._apps.environments[request.environment_name].name
        answer = api_pb2.AppGetByDeploymentNameResponse(environment_name=environment)
        if app := self._apps.last(request.name, environment):
            setattr(answer, "app_id" if app.deployed else "previous_app_id", app.id)
            answer.lifecycle.CopyFrom(app.lifecycle())
        return answer

    @answers("AppCreate")
    def create(self, request: api_pb2.AppCreateRequest, _: Call) -> api_pb2.AppCreateResponse:
        """Create an app; its description is its name."""
        environment = self._apps.environments[request.environment_name].name
        app = App(request.description, environment, dict(request.tags), state=request.app_state)
        self._apps.add(app)
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url=app.page, app_logs_url=app.page)

    @answers("AppGetLayout")
    def layout(self, request: api_pb2.AppGetLayoutRequest, _: Call) -> api_pb2.AppGetLayoutResponse:
        """Return the current deployment's functions, whose ids the next one keeps."""
        layout = api_pb2.AppLayout()
        app = self._apps[request.app_id]
        if app.deployments:
            for function, definition in self._apps.serving(app):
                layout.function_ids[function.name] = function.id
                metadata = function.metadata(definition.id)
                layout.objects.append(api_pb2.Object(object_id=function.id, function_handle_metadata=metadata))
        return api_pb2.AppGetLayoutResponse(app_layout=layout)

    @answers("AppPublish")
    async def publish(self, request: api_pb2.AppPublishRequest, _: Call) -> api_pb2.AppPublishResponse:
        """Let an app serve what was defined for it."""
        if request.staged:
            raise GRPCError(Status.UNIMPLEMENTED, "the local Modal knows no staged deployments")
        app = self._apps[request.app_id]
        app.tags = dict(request.tags)
        deployment = Deployment(
            version=len(app.deployments) + 1,
            functions=dict(request.function_ids),
            definitions=dict(request.definition_ids),
            tag=request.deployment_tag,
            client_version=request.client_version,
            commit=request.commit_info,
        )
        await self._deploy(app, deployment)
        return api_pb2.AppPublishResponse(url=app.page, deployed_at=deployment.deployed_at)

    @answers("AppRollback")
    async def rollback(self, request: api_pb2.AppRollbackRequest, _: Call) -> api_pb2.AppRollbackResponse:
        """Deploy a former version again, as a new one. The app's tags stay as they are."""
        app = self._apps[request.app_id]
        if not app.deployed:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App '{app.name}' is not deployed")
        latest = len(app.deployments)
        number = latest - 1 if request.version == _PREVIOUS else request.version
        if not 1 <= number <= latest:
            raise GRPCError(Status.INVALID_ARGUMENT, f"App '{app.name}' has no version {number} to roll back to")
        deployment = replace(app.version(number), version=latest + 1, rollback_of=number, deployed_at=time.time())
        await self._deploy(app, deployment)
        return api_pb2.AppRollbackResponse(url=app.page, deployed_at=deployment.deployed_at)

    @answers("AppSetTags")
    def set_tags(self, request: api_pb2.AppSetTagsRequest, _: Call) -> None:
        """Replace the tags of an app."""
        self._apps[request.app_id].tags = dict(request.tags)

    @answers("AppStop")
    async def stop(self, request: api_pb2.AppStopRequest, _: Call) -> None:
        """Stop an app; twice is fine."""
        app = self._apps[request.app_id]
        if app.state != api_pb2.APP_STATE_STOPPED:
            app.stop()
            await self._changed(app)

    @answers("AppClientDisconnect")
    def disconnect(self, request: api_pb2.AppClientDisconnectRequest, _: Call) -> None:
        """Give up an app whose first deploy failed; one that serves goes on."""
        app = self._apps[request.app_id]
        if app.state == api_pb2.APP_STATE_INITIALIZING:
            app.stop()

    @answers("AppHeartbeat")
    def heartbeat(self, _request: Any, _: Call) -> None:
        """Hear that a deploy goes on."""

    async def _deploy(self, app: App, deployment: Deployment) -> None:
        app.deployments.append(deployment)
        app.state = api_pb2.APP_STATE_DEPLOYED
        await self._changed(app)
