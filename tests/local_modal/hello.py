"""The first words between a client and Modal."""

from __future__ import annotations

from typing import Any

from modal_proto import api_pb2

from .rpc import Call, answers


class Hello:
    """Greets whoever has a token: a wrong one is refused before anything is answered."""

    @answers("ClientHello")
    def hello(self, _request: Any, _: Call) -> api_pb2.ClientHelloResponse:
        """Greet a client."""
        return api_pb2.ClientHelloResponse()
