"""What `attestctl` does, and the row with which it answers for each image."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apps.core.attestations.attest import attest
from apps.core.attestations.keys import signer, trusted
from apps.core.attestations.verify import verify
from apps.core.executions import resolve
from apps.core.host import Host
from apps.core.images.pin import pinned
from apps.core.registry import Registration, load_registry
from processor_runtime.errors import ProcessorError


@dataclass(frozen=True, slots=True)
class Row:
    """One image, or why there is none.

    Attributes:
        ref: Which processor; ``""`` where the registry itself is wrong.
        platform: For which platform; ``""`` where none was looked at.
        image: ``repository@sha256:…``.
        state: ``attested``, ``unchanged`` or ``verified``.
        builder: Who built it, as the signed provenance says.
        error: Why not.
    """

    ref: str
    platform: str = ""
    image: str = ""
    state: str = ""
    builder: str = ""
    error: ProcessorError | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        told = {name: getattr(self, name) for name in ("ref", "platform", "image", "state", "builder")}
        value: dict[str, Any] = {name: text for name, text in told.items() if text}
        if self.error:
            details = list(self.error.details)
            value["error"] = {"code": str(self.error.code), "message": self.error.text, "details": details}
        return value

    def lines(self) -> list[str]:
        """Return the row as people read it."""
        name = " ".join(filter(None, (self.ref, self.platform)))
        if self.error:
            reasons = [f"  {': '.join(filter(None, (each['path'], each['message'])))}" for each in self.error.details]
            return [f"{name}: {self.error.code}: {self.error.text}", *reasons]
        return [f"{name}: {self.state} {self.image}{f' built by {self.builder}' if self.builder else ''}"]


async def rows(action: str, refs: Sequence[str], platforms: Sequence[str], host: Host) -> list[Row]:
    """Return a row of *action* for each pinned image of *refs*, or of every processor; one failure stops no other."""
    made: list[Row] = []
    try:
        chosen = refs or [str(each.ref) for each in load_registry(host.processors)]
        work = _ACTIONS[action](host)
    except ProcessorError as exc:
        return [Row("", error=exc)]
    for ref in chosen:
        try:
            registration = resolve(ref, host.processors)
        except ProcessorError as exc:
            made.append(Row(ref, error=exc))
            continue
        for platform in platforms or tuple(registration.platforms) or (registration.default_platform,):
            try:
                made.append(await work(registration, platform))
            except ProcessorError as exc:
                made.append(Row(ref, platform, error=exc))
    return made


Work = Callable[[Registration, str], Coroutine[Any, Any, Row]]


def _signing(host: Host) -> Work:
    key = signer(host.environ)

    async def work(registration: Registration, platform: str) -> Row:
        reference = pinned(registration, platform)
        made = await attest(registration, reference, platform, key, host.environ)
        return Row(str(registration.ref), platform, str(reference), made.state)

    return work


def _verifying(host: Host) -> Work:
    keys = trusted(host.environ)

    async def work(registration: Registration, platform: str) -> Row:
        reference = pinned(registration, platform)
        attested = await verify(reference, registration.ref, keys, host.environ)
        return Row(str(registration.ref), platform, str(reference), "verified", attested.builder)

    return work


_ACTIONS: Final[dict[str, Callable[[Host], Work]]] = {"sign": _signing, "verify": _verifying}
