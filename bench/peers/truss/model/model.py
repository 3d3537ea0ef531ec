"""Truss's model: sync, as its documentation writes one; the server calls it in a thread."""

from collections.abc import Iterator

import work


class Model:
    def load(self) -> None:
        pass

    def predict(self, request: dict) -> dict | Iterator[str]:
        if "tokens" in request:
            return (work.WORD for _ in range(request["tokens"]))
        return {"text": work.answer(request["text"])}
