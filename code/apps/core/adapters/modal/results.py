"""Where results wait: the one address that Modal gives for a run that takes long, kept until it was collected.

A caller that is started again asks there instead of running again.
"""

import contextlib
import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from apps.core.adapters.base import Payload

_KEYS: Final = {"url", "payload_sha256"}


@dataclass(frozen=True, slots=True)
class Kept:
    """The address of one execution's result, in a file of its own.

    Attributes:
        file: Where it is kept.
        payload_sha256: Of the request; another one of the same id is not answered by this result.
    """

    file: Path
    payload_sha256: str

    @classmethod
    def of(cls, folder: Path, app: str, path: str, payload: Payload) -> "Kept":
        """Return where the result of *payload*, sent to *path* of *app*, is kept below *folder*."""
        told = json.dumps([path, payload], sort_keys=True).encode()
        return cls(folder / app / f"{payload['execution_id']}.json", hashlib.sha256(told).hexdigest())

    def load(self) -> str | None:
        """Return the address that was kept for this very request, or ``None``."""
        try:
            value: Any = orjson.loads(self.file.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None
        if not isinstance(value, dict) or value.keys() != _KEYS or value["payload_sha256"] != self.payload_sha256:
            return None
        return str(value["url"])

    def save(self, url: str) -> None:
        """Keep *url*. A disk that takes nothing costs the convenience, and not the run."""
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.file.parent, suffix=".part", delete=False) as part:
                part.write(orjson.dumps({"url": url, "payload_sha256": self.payload_sha256}))
            Path(part.name).replace(self.file)

    def forget(self) -> None:
        """Keep nothing any more."""
        with contextlib.suppress(OSError):
            self.file.unlink(missing_ok=True)
