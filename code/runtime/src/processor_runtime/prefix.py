"""Where a run may write: the write prefix and the roots around it (CONTRACT §2, §4).

Paths in requests and envelopes are *logical*. `Roots` says which directory of
this machine stands for each, so that a laptop and a container answer alike.
"""

import errno
import os
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Self

from .errors import Detail, WritePrefixError
from .files import maybe_there

ARTIFACTS: Final = "/artifacts"
INPUTS: Final = "/artifacts/inputs"
PLACEHOLDER: Final = "{execution_id}"
MAX_BYTES: Final = 1024
MAX_SEGMENT_BYTES: Final = 255

# braces that are left after expansion, C0, DEL, C1 and the backslash
_FORBIDDEN: Final = re.compile(r"[{}\x00-\x1f\x7f-\x9f\\\\]")
_EMPTY_OR_DOTS: Final = re.compile(r"/(?:\.{0,2})/")


def _refused(rule: str) -> WritePrefixError:
    return WritePrefixError(Detail(path="/write_prefix", message=rule))


def expand(text: str, execution_id: str) -> str:
    """Return the prefix that *text* spells for this execution, with its trailing ``/``.

    Args:
        text: An absolute path; every ``{execution_id}`` is expanded.
        execution_id: A valid execution id.

    Raises:
        WritePrefixError: relative, another brace, an empty, ``.`` or ``..``
            segment, a control character or backslash, more than 1024 bytes, or
            more than 255 in a segment. The detail names the rule.

    Source: CONTRACT §2, row `write_prefix`.
    """
    path = text.replace(PLACEHOLDER, execution_id)
    if not path.endswith("/"):
        path += "/"
    if not path.startswith("/"):
        raise _refused("must be absolute")
    if _FORBIDDEN.search(path):
        raise _refused("must not hold other braces, control characters or backslashes")
    if _EMPTY_OR_DOTS.search(path):
        raise _refused("must not hold empty, . or .. segments")
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        raise _refused("must be UTF-8") from None
    if len(raw) > MAX_BYTES:
        raise _refused("must be at most 1024 bytes when expanded")
    if len(raw) > MAX_SEGMENT_BYTES and max(map(len, raw.split(b"/"))) > MAX_SEGMENT_BYTES:
        raise _refused("must have at most 255 bytes a segment")
    return path


class Place(NamedTuple):
    """Where a prefix is on this machine.

    Attributes:
        prefix: The expanded logical prefix, with its trailing ``/``.
        root: The directory that stands for a root, links resolved, with its trailing ``/``.
        names: The directories from there to the prefix, at least one.
        roots: What it was judged by.
    """

    prefix: str
    root: str
    names: tuple[str, ...]
    roots: "Roots"

    def resolved(self) -> "Place":
        """Return this place, or the one to which links lead.

        Raises:
            WritePrefixError: they lead where nothing may be written.
        """
        return self if _only_directories(self) else self.roots.followed(self.prefix)


@dataclass(frozen=True)
class Roots:
    """The logical roots of this service and the directories that stand for them.

    Attributes:
        write: Logical roots that prefixes may lie below.
        read: Logical roots that file references may lie below.
        artifacts_dir: What `/artifacts` is on this machine.
    """

    write: tuple[str, ...]
    read: tuple[str, ...]
    artifacts_dir: str

    @classmethod
    def of(cls, write: str, read: str, artifacts_dir: str) -> Self:
        """Return the roots that the settings spell: colon-separated absolute paths."""
        return cls(tuple(_split(write)), tuple(_split(read)), artifacts_dir.rstrip("/") or "/")

    def host(self, logical: str) -> str:
        """Return the path on this machine of a logical path."""
        if logical == ARTIFACTS or logical.startswith(ARTIFACTS + "/"):
            return self.artifacts_dir + logical[len(ARTIFACTS) :]
        return logical

    def check_write(self, prefix: str) -> Place:
        """Return where an expanded *prefix* is, if it is below a root, links resolved.

        Raises:
            WritePrefixError: it is not; the detail says which rule.
        """
        return self.check_write_lexically(prefix).resolved()

    def check_write_lexically(self, prefix: str) -> Place:
        """Return where *prefix* is unless a link leads elsewhere, judged by its text; costs no file system call.

        Raises:
            WritePrefixError: it lies below no root, or among the inputs.
        """
        if prefix.startswith(INPUTS + "/"):
            raise _refused("must not lie in /artifacts/inputs/")
        bare = prefix.rstrip("/")
        for root, host in self._hosts:
            if bare.startswith(root):
                rest = bare[len(root) :]
                self._refuse_among_inputs(host + rest)
                return Place(prefix, host, tuple(rest.split("/")), self)
        raise _refused("must lie below " + " or ".join(self.write))

    def followed(self, prefix: str) -> Place:
        """Return where *prefix* is when every link on the way is followed.

        Raises:
            WritePrefixError: among the inputs, or below no root.
        """
        path = os.path.realpath(self.host(prefix))
        self._refuse_among_inputs(path)
        for _, host in self._hosts:
            if path.startswith(host) and path != host:
                return Place(prefix, host, tuple(path[len(host) :].split("/")), self)
        raise _refused("leaves its root through a link")

    @cached_property
    def _hosts(self) -> list[tuple[str, str]]:
        """Each root that may be written and where it is, links resolved, both with a trailing ``/``.

        Looked up once: roots are settings, and do not move while a service runs.
        """
        return [(_closed(root), _closed(os.path.realpath(self.host(root)))) for root in self.write]

    @cached_property
    def _inputs(self) -> str:
        return _closed(os.path.realpath(self.host(INPUTS)))

    def _refuse_among_inputs(self, resolved: str) -> None:
        if (resolved + "/").startswith(self._inputs):
            raise _refused("must not lie in /artifacts/inputs/")


def _only_directories(place: Place) -> bool:
    """Whether directories alone lead there, or to the first one that is not there yet.

    Then no link can lead elsewhere. `realpath` would look at each directory from
    ``/`` on, for every run.
    """
    path = place.root
    *above, last = place.names
    try:
        for name in above:
            path += name
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                return False
            path += "/"
        path += last
        return not maybe_there(path) or stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError as exc:
        return exc.errno == errno.ENOENT


def _split(text: str) -> list[str]:
    return [part.rstrip("/") or "/" for part in text.split(":") if part]


def _closed(path: str) -> str:
    return path if path.endswith("/") else path + "/"
