"""A gRPC server that can go down as a machine does: with its connections, not only its port."""

from __future__ import annotations

from grpclib.protocol import H2Protocol
from grpclib.server import Server
from typing_extensions import override

from .rpc import Servicer


class ApiServer(Server):
    """grpclib's server, which on its own leaves connections open for as long as their clients like.

    Args:
        servicer: Answers the calls.
    """

    def __init__(self, servicer: Servicer) -> None:
        super().__init__([servicer])
        self._protocols: list[H2Protocol] = []

    @override
    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._protocols.append(protocol)
        return protocol

    async def stop(self) -> None:
        """Close the port, end every call that is answered, and break every connection."""
        self.close()
        await self.wait_closed()
        for protocol in self._protocols:
            if hasattr(protocol, "connection"):  # it has none before it is made
                protocol.connection.close()
