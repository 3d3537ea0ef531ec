"""MLServer's runtime: `mlserver start FOLDER`."""

import asyncio
from collections.abc import AsyncIterator

import work
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Echo(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (text,) = StringCodec.decode_input(payload.inputs[0])
        return self._response(work.answer(text))

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            (text,) = StringCodec.decode_input(payload.inputs[0])
            for _ in range(int(text)):
                await asyncio.sleep(0)
                yield self._response(work.WORD)

    def _response(self, text: str) -> InferenceResponse:
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("text", [text])])
