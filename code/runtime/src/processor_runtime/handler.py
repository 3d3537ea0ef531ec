"""`@processor`: turns an author's function into `entry(payload) -> envelope`."""

import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, overload

import orjson

from .envelopes import Envelope
from .run import Run

Work = Callable[[Run], None] | Callable[[Run], Awaitable[None]]
SetUp = Callable[[Mapping[str, str]], Any]


class Processor:
    """A handler and its set-up; calling it with a payload gives the envelope, without HTTP.

    Attributes:
        work: The author's function.
        setup: The author's set-up, or ``None``. It gets the secrets that are
            set, runs once and only for `real`, and what it returns is
            `Run.resource`.
    """

    def __init__(self, work: Work, setup: SetUp | None = None) -> None:
        self.work = work
        self.setup = setup
        self.is_async = inspect.iscoroutinefunction(work)
        self.__doc__ = work.__doc__
        self._lock = threading.Lock()
        self._call: Callable[[bytes], bytes] | None = None

    @property
    def registry(self) -> Path:
        """The `registry.yaml` beside the `app` folder that holds the handler."""
        return Path(inspect.getfile(self.work)).resolve().parents[1] / "registry.yaml"

    def __call__(self, payload: dict[str, Any]) -> Envelope:
        """Return the envelope of one run of *payload*, the object that `POST /run` takes.

        The same rules, files and answers as over HTTP; settings come from the
        environment at the first call.
        """
        envelope: Envelope = orjson.loads(self._service_call()(_encoded(payload)))
        return envelope

    def _service_call(self) -> Callable[[bytes], bytes]:
        with self._lock:
            if self._call is None:
                from .service import Service  # noqa: PLC0415  # the service is built around this class

                service = Service.from_env(self, os.environ)
                service.start()
                self._call = service.call_and_wait
            return self._call


def _encoded(payload: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(payload)
    except TypeError:
        return b""  # refused as an invalid body, as over HTTP


@overload
def processor(work: Work) -> Processor: ...
@overload
def processor(*, setup: SetUp | None = None) -> Callable[[Work], Processor]: ...
def processor(work: Work | None = None, *, setup: SetUp | None = None) -> Processor | Callable[[Work], Processor]:
    """Return the processor around a function that does the work.

    Use it as ``@processor`` or ``@processor(setup=load_model)``. The function
    takes one `Run` and returns nothing; ``async def`` works too.
    """
    if work is not None:
        return Processor(work)
    return lambda function: Processor(function, setup)
