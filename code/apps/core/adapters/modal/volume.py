"""Files between this machine and the Volume that is `/artifacts` on Modal. Import it late, as `sdk`."""

import asyncio
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import modal
from modal import exception

from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail, StorageError
from processor_runtime.prefix import ARTIFACTS, INPUTS

from .naming import VOLUME
from .references import is_below

_ADDRESSED: Final = re.compile(rf"{INPUTS}/([0-9a-f]{{64}})/[^/]+")


@dataclass(frozen=True, slots=True)
class Volume:
    """The artifacts of one environment, and the folder that stands for them here.

    Attributes:
        remote: The Volume.
        root: What `/artifacts` is on this machine.
    """

    remote: modal.Volume
    root: Path

    @classmethod
    async def open(cls, client: modal.Client, environment: str, root: Path) -> "Volume":
        """Return the Volume of *environment*.

        Raises:
            modal.exception.NotFoundError: there is none: nothing was deployed there yet.
        """
        remote = modal.Volume.from_name(VOLUME, environment_name=environment, client=client)
        await remote.hydrate.aio()
        return cls(remote, root)

    async def upload(self, paths: Iterable[str]) -> int:
        """Send the files at the logical *paths*, and return how many were not there yet.

        What is stored by its content is sent once; anything else every time.

        Raises:
            modal.exception.Error: the Volume cannot be written.
        """
        wanted = list(paths)
        there = await asyncio.gather(*(self._holds(path) for path in wanted))
        missing = [path for path, held in zip(wanted, there, strict=True) if not held]
        if missing:
            async with self.remote.batch_upload.aio(force=True) as batch:
                for path in missing:
                    batch.put_file(self._host(path), path.removeprefix(ARTIFACTS))
        return len(missing)

    async def download(self, envelope: Envelope, prefix: str) -> None:
        """Bring here what a success *envelope* names below *prefix*, and the receipt; what differs is replaced.

        Whether they are what the envelope says is judged by whoever reads them
        next (`artifacts.verify`): a file that is not there is left out.

        Raises:
            modal.exception.Error: the Volume cannot be read.
            StorageError: this machine's folder cannot be written.
        """
        sizes = {row["path"]: row["size_bytes"] for row in envelope["outputs"]}
        evidence = [envelope["index_path"], f"{prefix}receipt.json"]
        for path in (*sizes, *evidence):
            if is_below(prefix, path):
                await self._download(path, sizes.get(path))

    async def _holds(self, path: str) -> bool:
        if not _ADDRESSED.fullmatch(path):
            return False
        folder, _, name = path.removeprefix(ARTIFACTS).rpartition("/")
        try:
            entries = await self.remote.listdir.aio(folder)
        except exception.NotFoundError:
            return False
        size_bytes = self._host(path).stat().st_size
        return any(entry.path.rpartition("/")[2] == name and entry.size == size_bytes for entry in entries)

    async def _download(self, path: str, size_bytes: int | None) -> None:
        try:
            with _replacing(self._made(self._host(path).parent), self._host(path).name) as part:
                async for chunk in self.remote.read_file.aio(path.removeprefix(ARTIFACTS)):
                    part.write(chunk)
                    if size_bytes is not None and part.tell() > size_bytes:
                        break  # another file than the envelope names: it is refused whatever follows
        except FileNotFoundError:
            return
        except OSError as exc:
            raise StorageError(Detail(path=path, message=exc.strerror or type(exc).__name__)) from exc

    def _made(self, folder: Path) -> Path:
        """Return *folder*, made where it was missing.

        Raises:
            OSError: it leaves the artifacts folder through a link.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if os.path.realpath(folder) != os.path.join(os.path.realpath(self.root), folder.relative_to(self.root)):  # noqa: PTH118  # text is compared
            raise OSError(0, "leaves the artifacts folder through a link")
        return folder

    def _host(self, path: str) -> Path:
        return self.root / path.removeprefix(ARTIFACTS).lstrip("/")


@contextmanager
def _replacing(folder: Path, name: str) -> Iterator[IO[bytes]]:
    """Give a file to write; at the end, unless something was raised, it is *name* in *folder*."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part", delete=False) as part:
        path = Path(part.name)
        try:
            os.fchmod(part.fileno(), 0o644)  # others may read it: a container does, as another user
            yield part
            part.flush()
            path.replace(folder / name)
        finally:
            path.unlink(missing_ok=True)
