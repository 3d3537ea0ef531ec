"""Which Modal app a processor is: one name for a ref in a lane, the same wherever it is asked for.

docs/guides/modal.md shows the form. It holds for the name and for the first
label of the web address that Modal makes of it, in which capitals, dots and
underscores are folded: two apps of one label would take it from each other.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from processor_runtime.values import Ref, RefError

LONGEST: Final = 64  # characters; modal 1.6.4, `modal._utils.name_utils.is_valid_object_name`
LONGEST_TAG: Final = 63  # the same module, `check_tag_dict`
VOLUME: Final = "processor-artifacts"  # one in each environment: what `/artifacts` is there
DEV: Final = "dev"  # the lane in which each branch of each user has apps of its own

_HASH_DIGITS: Final = 12
_PLAIN: Final = re.compile(r"[a-z0-9]+")
_HASHED: Final = re.compile(rf"x[0-9a-f]{{{_HASH_DIGITS}}}")
_FOLDED: Final = re.compile(r"[^a-z0-9]+")
_TAG: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{LONGEST_TAG}}}")
_FOLDED_IN_TAGS: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a processor is deployed, and whose it is.

    Attributes:
        environment: Modal's name for it: ``dev``, ``staging``, ``prod``.
        branch: In ``dev`` the branch that is worked on, else ``""``.
        user: In ``dev`` whose work it is, else ``""``.
    """

    environment: str
    branch: str = ""
    user: str = ""

    @property
    def own(self) -> tuple[str, ...]:
        """Branch and user, where they are part of names."""
        return (self.branch, self.user) if self.environment == DEV else ()


def app_name(ref: Ref, lane: Lane) -> str:
    """Return the name of the app that *ref* is in *lane*: at most 64 of ``[a-z0-9_-]``.

    ``{ns}-{name}-v{version}-{environment}``, in dev
    ``{ns}-{name}-v{version}-{branch}-{user}-dev``. Where a part had to be
    folded or the whole to be cut, ``-x`` and 12 digits of the SHA-256 of all
    parts follow. Read from the right, each name and each label says what it
    was made of, so that no two are the same.
    """
    own = (*lane.own, lane.environment)
    folded = [_FOLDED.sub("-", part.lower()).strip("-") for part in own]
    name = "-".join(filter(None, [ref.namespace, ref.name, f"v{ref.version}", *folded]))
    plain = all(map(_PLAIN.fullmatch, own)) and not _HASHED.fullmatch(lane.environment)
    if plain and len(name) <= LONGEST:
        return name
    tail = f"-x{_hash(str(ref), *own)}"
    return name[: LONGEST - len(tail)].rstrip("-_") + tail


def ref_tags(ref: Ref) -> dict[str, str]:
    """Return *ref* as an app's tags: three, because one could be too long."""
    return {"processor-namespace": ref.namespace, "processor-name": ref.name, "processor-version": str(ref.version)}


def ref_of(tags: Mapping[str, str]) -> Ref | None:
    """Return the ref that `ref_tags` made *tags* of, or ``None`` where it made none of them."""
    namespace, name, version = (tags.get(f"processor-{part}", "") for part in ("namespace", "name", "version"))
    try:
        return Ref.parse(f"{namespace}/{name}@{version}")
    except RefError:
        return None


def tag_of(text: str) -> str:
    """Return *text* as an app's tag, itself where it can be one; else folded, with a hash that tells it from others."""
    if _TAG.fullmatch(text) and not _HASHED.fullmatch(text.rpartition("-")[2]):
        return text
    tail = f"-x{_hash(text)}"
    return _FOLDED_IN_TAGS.sub("-", text)[: LONGEST_TAG - len(tail)] + tail


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:_HASH_DIGITS]
