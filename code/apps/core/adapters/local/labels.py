"""What is written on everything that is made here, so that it is found again by whoever has to clean up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from .owner import Owner

LOCAL: Final = "processor.local"  # on a container its kind; an image's own labels are on its containers too
Kind = Literal["cold", "warm"]


@dataclass(frozen=True, slots=True)
class Labels:
    """What a container says about itself.

    Attributes:
        kind: ``cold`` serves one run, ``warm`` those of `localctl up`.
        ref: Which processor.
        mode: The one mode that it serves.
        digest: Which image, as its envelopes name it.
        artifacts: The folder of this host that it sees as `/artifacts`, or has a part of.
        user: As whom it writes there, ``uid:gid``.
        network: The network on which its callers, containers themselves, reach it; ``""`` on a plain host.
        execution_id: Whose run it is for; ``""`` for a warm one.
        owner: The process that removes it; ``None`` for one that stays until `localctl down`.
    """

    kind: Kind
    ref: str
    mode: str
    digest: str
    artifacts: str
    user: str
    network: str = ""
    execution_id: str = ""
    owner: Owner | None = None

    @property
    def slug(self) -> str:
        """Ref and mode as a part of a container's name: ``doc-ocr-1-mock``."""
        return f"{self.ref.replace('/', '-').replace('@', '-')}-{self.mode}"

    def written(self) -> dict[str, str]:
        """Return them as the engine keeps them."""
        return {
            LOCAL: self.kind,
            f"{LOCAL}.ref": self.ref,
            f"{LOCAL}.mode": self.mode,
            f"{LOCAL}.digest": self.digest,
            f"{LOCAL}.artifacts": self.artifacts,
            f"{LOCAL}.user": self.user,
            f"{LOCAL}.network": self.network,
            f"{LOCAL}.execution_id": self.execution_id,
            f"{LOCAL}.owner": str(self.owner or ""),
        }

    @classmethod
    def read(cls, labels: Mapping[str, Any]) -> Self:
        """Return what the labels of a container of ours say."""

        def of(name: str) -> str:
            return str(labels.get(f"{LOCAL}.{name}", ""))

        return cls(
            kind="warm" if labels.get(LOCAL) == "warm" else "cold",
            ref=of("ref"),
            mode=of("mode"),
            digest=of("digest"),
            artifacts=of("artifacts"),
            user=of("user"),
            network=of("network"),
            execution_id=of("execution_id"),
            owner=Owner.parse(of("owner")),
        )
