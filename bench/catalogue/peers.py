"""Peers, each with its default single worker and its own access log; variants are named where a default is poor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from bench import environments, paths
from bench.subjects import COUNT, Request, Stream, Subject

from .texts import TEXT

_WORK = {"PYTHONPATH": str(paths.PEERS), "BENCH_FILES": "{files}"}
_TOKEN = b"tok "


def _peer(
    name: str,
    label: str,
    argv: Callable[[str, int], list[str]],
    *,
    health: str,
    echo: Request | None = None,
    stream: Stream | None = None,
    environ: Mapping[str, str] | None = None,
) -> Subject:
    package = name.split("-", maxsplit=1)[0]
    return Subject(
        name=name,
        kind="peer",
        label=label,
        environment=environments.peer(package),
        argv=lambda folder, port: argv(f"{folder}/bin", port),
        cwd=paths.PEERS / package,
        health=health,
        environ=_WORK | dict(environ or {}),
        requests={"echo": echo, "file": echo} if echo else {},
        stream=stream,
    )


def _echo(path: str, body: object) -> Request:
    return Request(path, json.dumps(body), holds=TEXT)


def _tensor(text: str) -> str:
    return json.dumps({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]})


# Cog's worker is started as `python` from PATH, and finds our module by a variable: it has a path of its own
def _cog(name: str, label: str, predictor: str, *, slots: int = 1, streams: bool = False) -> Subject:
    return _peer(
        name,
        label,
        lambda bin_folder, _: ["/usr/bin/env", f"PATH={bin_folder}:/usr/bin:/bin", "python", "-m", "cog.server.http"],
        health="/health-check",
        echo=None if streams else _echo("/predictions", {"input": {"text": TEXT}}),
        stream=Stream(
            "/predictions",
            json.dumps({"input": {"text": COUNT}}),
            b"event: output",
            token=b'"chunk":"tok "',  # its last event says all of it once more
            headers={"Accept": "text/event-stream"},
        )
        if streams
        else None,
        environ={
            "PORT": "{port}",
            "BENCH_WORK": str(paths.PEERS),
            "COG_PREDICT_TYPE_STUB": f"predict.py:{predictor}",
            "COG_MAX_CONCURRENCY": str(slots),
        },
    )


def _bentoml(name: str, label: str, path: str, stream: Stream | None = None) -> Subject:
    return _peer(
        name,
        label,
        lambda bin_folder, port: [
            *(f"{bin_folder}/bentoml", "serve", "service:Echo", "--host", "127.0.0.1", "--port", str(port)),
        ],
        health="/readyz",
        echo=_echo(path, {"text": TEXT}),
        stream=stream,
        environ={"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(paths.VAR / "bentoml")},
    )


def _mlserver(name: str, label: str, workers: int, stream: Stream | None = None) -> Subject:
    return _peer(
        name,
        label,
        lambda bin_folder, _: [f"{bin_folder}/mlserver", "start", "."],
        health="/v2/models/echo/ready",
        echo=Request("/v2/models/echo/infer", _tensor(TEXT), holds=TEXT),
        stream=stream,
        environ={
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{other}",
            "MLSERVER_METRICS_PORT": "{third}",
            "MLSERVER_PARALLEL_WORKERS": str(workers),
        }
        # its own documentation: streaming works neither with workers nor with gzip
        | ({"MLSERVER_GZIP_ENABLED": "false"} if stream else {}),
    )


def _litserve(
    name: str, label: str, what: str, *, echo: Request | None = None, stream: Stream | None = None
) -> Subject:
    return _peer(
        name,
        label,
        lambda bin_folder, port: [f"{bin_folder}/python", "service.py", str(port), what],
        health="/health",
        echo=echo,
        stream=stream,
    )


_TEXT_STREAM = json.dumps({"text": COUNT})

PEERS = (
    _cog("cog", "Cog, one slot", "Runner"),
    _cog("cog-async", "Cog, async, 256 slots", "AsyncRunner", slots=256),
    _cog("cog-stream", "Cog, async, 256 slots", "StreamRunner", slots=256, streams=True),
    _bentoml("bentoml", "BentoML", "/echo"),
    _bentoml("bentoml-async", "BentoML, async", "/echo_async", Stream("/stream", _TEXT_STREAM, _TOKEN)),
    _litserve("litserve", "LitServe", "echo", echo=_echo("/predict", {"text": TEXT})),
    _litserve("litserve-stream", "LitServe", "stream", stream=Stream("/predict", _TEXT_STREAM, _TOKEN)),
    _mlserver("mlserver", "MLServer", 1),
    _mlserver(
        "mlserver-inproc",
        "MLServer, without workers",
        0,
        Stream("/v2/models/echo/infer_stream", _tensor(COUNT), b"data: "),
    ),
    _peer(
        "kserve",
        "KServe",
        lambda bin_folder, port: [
            *(f"{bin_folder}/python", "service.py", "--http_port", str(port), "--enable_grpc", "false"),
        ],
        health="/v2/health/ready",
        echo=_echo("/v1/models/echo:predict", {"instances": [TEXT]}),
        stream=Stream("/v1/models/stream:predict", json.dumps({"instances": [COUNT]}), _TOKEN),
    ),
    _peer(
        "truss",
        "Truss",
        lambda bin_folder, _: [f"{bin_folder}/python", "start.py", f"{bin_folder}/../truss"],
        health="/v1/models/model",
        echo=_echo("/v1/models/model:predict", {"text": TEXT}),
        stream=Stream("/v1/models/model:predict", f'{{"tokens": {COUNT}}}', _TOKEN),
        environ={"INFERENCE_SERVER_PORT": "{port}"},
    ),
)
