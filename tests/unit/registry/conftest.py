"""A registry file that is right, and a way to write variations of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

AMD64 = "ghcr.io/owner/repo/image@sha256:" + "a" * 64
ARM64 = "ghcr.io/owner/repo/image@sha256:" + "b" * 64

# a registry file with everything that may be said
GOOD = f"""\
ref: llm/chat@1

build:
  context: ../../../..
  dockerfile: Dockerfile
  args: {{ FLAVOUR: "small" }}

image:
  platforms:
    amd64: {AMD64}      # required for Modal
    arm64: {ARM64}
  default_platform: amd64

runtime:
  cpu: "1"
  memory_gb: 2
  timeout_s: 600
  gpu: null
  concurrency: 4

secrets:
  required: [OPENAI_API_KEY]
  optional: [OPENAI_BASE_URL]

inputs:  # JSON Schema Draft-07
  $schema: "https://json-schema.org/draft-07/schema#"
  title: "llm/chat inputs v1"
  type: object
  additionalProperties: false
  required: [schema, params]
  properties:
    schema: {{ const: v1 }}
    params: {{ $ref: "#/definitions/params" }}
  definitions:
    params: {{ type: object }}

outputs:
  - {{ path: outputs/response.txt, mime: text/plain, description: Main response }}
  - {{ path: outputs/metadata.json, mime: application/json, description: Metadata }}
  - {{ path: outputs/page-*.png, mime: image/png, description: Pages, optional: true }}
"""

Write = Callable[..., Path]


@pytest.fixture
def good() -> str:
    """Return the text of a registry file without problems, of `llm/chat@1`."""
    return GOOD


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a registry file into a folder of processors, and returns its path."""

    def to(text: str | bytes, folder: str = "llm_chat") -> Path:
        file = tmp_path / "processors" / folder / "registry.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    return to
