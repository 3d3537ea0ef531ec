"""KServe's model server: `python service.py --http_port PORT --enable_grpc false`."""

import argparse
import asyncio
from collections.abc import AsyncIterator

import work
from kserve import Model, ModelServer, model_server


class Echo(Model):
    def __init__(self) -> None:
        super().__init__("echo")
        self.ready = True

    async def predict(self, payload: dict, headers: dict | None = None) -> dict:
        return {"predictions": [work.answer(payload["instances"][0])]}


class Stream(Model):
    def __init__(self) -> None:
        super().__init__("stream")
        self.ready = True

    async def predict(self, payload: dict, headers: dict | None = None) -> AsyncIterator[str]:
        return self._tokens(int(payload["instances"][0]))

    async def _tokens(self, count: int) -> AsyncIterator[str]:
        for _ in range(count):
            await asyncio.sleep(0)
            yield work.WORD


if __name__ == "__main__":
    argparse.ArgumentParser(parents=[model_server.parser]).parse_known_args()
    ModelServer().start([Echo(), Stream()])
