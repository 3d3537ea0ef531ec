"""SIGTERM: drain first, then let uvicorn close (CONTRACT §1).

uvicorn closes its listener at once on SIGTERM, so that nobody could hear
`draining`. Its handler is taken over while the app lives, and called when every
run has its answer.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_CLOSE_S: Final = 1.0

Drain = Callable[[Callable[[], None]], None]


@contextlib.contextmanager
def draining(drain: Drain) -> Iterator[None]:
    """Call *drain* on the first SIGTERM or SIGINT, and the server's own handler when it is done.

    A second signal goes to the server at once. Does nothing outside the main
    thread, where Python delivers no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    servers = {number: signal.getsignal(number) for number in _SIGNALS}

    def close(number: int) -> None:
        _tell(servers[signal.Signals(number)], number)
        # uvicorn waits for connections without end: for half a request, and for readers that do not read
        loop.call_later(_CLOSE_S, _tell, servers[signal.SIGINT], signal.SIGINT)

    def handle(number: int, _frame: FrameType | None) -> None:
        for each, server in servers.items():
            signal.signal(each, server)

        def drained() -> None:
            loop.call_soon_threadsafe(close, number)

        drain(drained)

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, server in servers.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, server)


def _tell(server: Any, number: int) -> None:
    """Hand the signal *number* to the handler of *server*, if it has one."""
    if callable(server):
        server(number, None)
