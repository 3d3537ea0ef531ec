"""What is asked about apps and functions, without changing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .app import App, Apps
from .named import OWNER
from .rpc import Call, answers

Running = Callable[[App], int]


class Lookups:
    """Finds what was deployed.

    Args:
        apps: Where to look.
        running: Returns how many containers of an app run.
    """

    def __init__(self, apps: Apps, running: Running) -> None:
        self._apps = apps
        self._running = running

    @answers("FunctionGet")
    def function(self, request: api_pb2.FunctionGetRequest, _: Call) -> api_pb2.FunctionGetResponse:
        """Return a function of a deployed app by its name."""
        app = self._apps.deployed(request.app_name, request.environment_name)
        for function, definition in self._apps.serving(app, request.app_version):
            if function.name == request.object_tag:
                return api_pb2.FunctionGetResponse(
                    function_id=function.id,
                    handle_metadata=function.metadata(definition.id),
                    function=definition.data,
                )
        raise GRPCError(Status.NOT_FOUND, f"App '{app.name}' has no function '{request.object_tag}'")

    @answers("AppGetOrCreate")
    def app(self, request: api_pb2.AppGetOrCreateRequest, _: Call) -> api_pb2.AppGetOrCreateResponse:
        """Return an app that serves, by its name; none is created here."""
        if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            raise GRPCError(Status.UNIMPLEMENTED, "the local Modal creates apps by deploying them only")
        app = self._apps.deployed(request.app_name, request.environment_name)
        return api_pb2.AppGetOrCreateResponse(app_id=app.id, handle_metadata=app.metadata())

    @answers("AppList")
    def list(self, request: api_pb2.AppListRequest, _: Call) -> api_pb2.AppListResponse:
        """Return the apps of an environment, stopped ones too."""
        environment = self._apps.environments[request.environment_name].name
        return api_pb2.AppListResponse(
            apps=[
                api_pb2.AppListResponse.AppListItem(
                    app_id=app.id,
                    name=app.name,
                    description=app.name,
                    state=app.state,
                    created_at=app.created_at,
                    stopped_at=app.stopped_at,
                    n_running_tasks=self._running(app),
                    metadata=app.metadata(),
                )
                for app in self._apps
                if app.environment == environment
            ]
        )

    @answers("AppGetInfo")
    def info(self, request: api_pb2.AppGetInfoRequest, _: Call) -> api_pb2.AppGetInfoResponse:
        """Return the state of an app, and its functions."""
        return api_pb2.AppGetInfoResponse(info=self._apps[request.app_id].metadata())

    @answers("AppGetLifecycle")
    def lifecycle(self, request: api_pb2.AppGetLifecycleRequest, _: Call) -> api_pb2.AppGetLifecycleResponse:
        """Return the state of an app."""
        return api_pb2.AppGetLifecycleResponse(lifecycle=self._apps[request.app_id].lifecycle())

    @answers("AppGetTags")
    def tags(self, request: api_pb2.AppGetTagsRequest, _: Call) -> api_pb2.AppGetTagsResponse:
        """Return the tags of an app."""
        return api_pb2.AppGetTagsResponse(tags=self._apps[request.app_id].tags)

    @answers("AppDeploymentHistory")
    def history(self, request: api_pb2.AppDeploymentHistoryRequest, _: Call) -> api_pb2.AppDeploymentHistoryResponse:
        """Return every deployment of an app, the newest first."""
        app = self._apps[request.app_id]
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
        return api_pb2.AppDeploymentHistoryResponse(
            app_deployment_histories=rows, production_app_version=len(app.deployments)
        )

    @answers("ObjectSuggest")
    def suggest(self, _request: Any, _: Call) -> api_pb2.ObjectSuggestResponse:
        """Return nothing: the command line asks what a mistyped name may have meant."""
        return api_pb2.ObjectSuggestResponse()
