"""FastAPI as its tutorial has it: a model in, a model out."""

import work
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Text(BaseModel):
    text: str


@app.get("/healthz")
async def healthz() -> dict[str, bool]:
    return {"ok": True}


@app.post("/echo")
async def echo(text: Text) -> Text:
    return Text(text=work.answer(text.text))
