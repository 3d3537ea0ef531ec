"""The fixture processors of tests with containers, as images: made once, whichever tests ask for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.docker import Built, Engine, ImageRegistry
from tests.support.local import Boxes


@pytest.fixture(scope="session")
def boxes(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine, built: Built, image_registry: ImageRegistry
) -> Iterator[Boxes]:
    """Give the fixtures, built on what `llm/chat` is made of, pushed and pinned."""
    made = Boxes.made(tmp_path_factory.mktemp("processors"), built("llm/chat@1").name, engine, image_registry)
    yield made
    made.forget()
