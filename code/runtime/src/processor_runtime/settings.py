"""What the environment says, read and checked once, at start (CONTRACT §7)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from .prefix import Roots
from .values import Digest, DigestError

Mode = Literal["mock", "real"]
MODES: Final[tuple[Mode, ...]] = ("mock", "real")

_CI_OFF: Final = frozenset({"", "0", "false", "no", "off"})
_COUNT: Final = re.compile(r"[0-9]{1,12}")
_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the environment, as the settings page shows it."""

    name: str
    default: str
    meaning: str


VARIABLES: Final = (
    Variable("IMAGE_DIGEST", "", "`sha256:…` or `…@sha256:…`: which image this is. Adapters set it; runs need it."),
    Variable("IMAGE_PINNED", "0", "`1` where an adapter started the image by digest; told as `meta.pinned`."),
    Variable("CI", "", "Anything but empty, `0`, `false`, `no`, `off`: `real` is refused with `ERR_CI_SAFETY`."),
    Variable("PROCESSOR_MODE", "", "`mock` or `real`: the only mode served. Unset: both."),
    Variable("PROCESSOR_TOKEN", "", "What clients must send as `Authorization: Bearer …`. Unset: no check."),
    Variable("PROCESSOR_ARTIFACTS_DIR", "/artifacts", "The directory that stands for `/artifacts` on this machine."),
    Variable("PROCESSOR_WRITE_ROOTS", "/artifacts:/tmp", "Where write prefixes may lie, separated by colons."),
    Variable("PROCESSOR_READ_ROOTS", "/artifacts/inputs", "Where file references may lie, separated by colons."),
    Variable("PROCESSOR_MAX_BODY_BYTES", "16777216", "Largest request body, in bytes."),
    Variable("PROCESSOR_QUEUE", "16", "Waiting places beyond the slots (`runtime.concurrency`)."),
    Variable("PROCESSOR_GRACE_S", "8", "Seconds that runs in flight have after SIGTERM."),
)


class SettingsError(ValueError):
    """A variable of the environment has a malformed value."""

    def __init__(self, name: str, rule: str) -> None:
        super().__init__(f"{name}: {rule}")
        self.name = name
        self.rule = rule


def ci_is_set(environ: Mapping[str, str]) -> bool:
    """Whether *environ* says that this is CI: `CI` is anything but empty, 0, false, no or off.

    Source: CONTRACT §2, row CI guard.
    """
    return environ.get("CI", "").strip().lower() not in _CI_OFF


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one service; `docs/contract/settings.md` lists them.

    Attributes:
        mode: The only mode served, or ``None`` for both.
        image_digest: Bare digest, or ``""`` where it is missing or malformed.
        image_digest_given: Whether `IMAGE_DIGEST` was set at all.
        pinned: Whether an adapter says that the image is pinned.
        ci: Whether real runs are blocked.
        token: What clients must send, or ``""`` for no check.
        max_body_bytes: Largest request body.
        queue: Waiting places beyond the slots.
        grace_s: Time that runs in flight have after SIGTERM.
        roots: Where may be written and read.
    """

    mode: Mode | None
    image_digest: str
    image_digest_given: bool
    pinned: bool
    ci: bool
    token: str = field(repr=False)
    max_body_bytes: int
    queue: int
    grace_s: float
    roots: Roots

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings in *environ*.

        Raises:
            SettingsError: a malformed value; `IMAGE_DIGEST` alone may be
                malformed, because each run reports it.
        """
        given = environ.get("IMAGE_DIGEST", "")
        return cls(
            mode=_mode(environ),
            image_digest=_digest(given),
            image_digest_given=bool(given),
            pinned=_flag(environ, "IMAGE_PINNED"),
            ci=ci_is_set(environ),
            token=_token(environ),
            max_body_bytes=_count(environ, "PROCESSOR_MAX_BODY_BYTES", least=1),
            queue=_count(environ, "PROCESSOR_QUEUE", least=0),
            grace_s=_seconds(environ, "PROCESSOR_GRACE_S"),
            roots=Roots.of(
                _paths(environ, "PROCESSOR_WRITE_ROOTS"),
                _paths(environ, "PROCESSOR_READ_ROOTS"),
                _paths(environ, "PROCESSOR_ARTIFACTS_DIR", several=False),
            ),
        )


def _mode(environ: Mapping[str, str]) -> Mode | None:
    text = environ.get("PROCESSOR_MODE", "")
    if not text:
        return None
    for mode in MODES:
        if text == mode:
            return mode
    raise SettingsError("PROCESSOR_MODE", "must be mock, real or unset")


def _digest(text: str) -> str:
    try:
        return Digest.parse(text).text
    except DigestError:
        return ""


def _flag(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name, "")
    if text not in {"", "0", "1"}:
        raise SettingsError(name, "must be 1, 0 or unset")
    return text == "1"


def _token(environ: Mapping[str, str]) -> str:
    token = environ.get("PROCESSOR_TOKEN", "")
    if not token.isascii() or not token.isprintable() or token != token.strip():
        raise SettingsError("PROCESSOR_TOKEN", "must be printable ASCII without surrounding spaces")
    return token


def _count(environ: Mapping[str, str], name: str, *, least: int) -> int:
    text = _text(environ, name)
    if not _COUNT.fullmatch(text) or int(text) < least:
        raise SettingsError(name, f"must be a whole number of at least {least}")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str) -> float:
    text = _text(environ, name)
    if not _SECONDS.fullmatch(text):
        raise SettingsError(name, "must be a number of seconds, such as 8 or 2.5")
    return float(text)


def _paths(environ: Mapping[str, str], name: str, *, several: bool = True) -> str:
    text = _text(environ, name)
    for part in text.split(":") if several else [text]:
        if not part.startswith("/") or "/../" in part + "/" or "\0" in part:
            raise SettingsError(name, "must be absolute paths" if several else "must be an absolute path")
    return text


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or next(variable.default for variable in VARIABLES if variable.name == name)
