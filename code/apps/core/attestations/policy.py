"""`SIGNATURE_POLICY`: whether an image must be attested before it runs, or only should be."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from apps.core.registry import ImageReference, Ref
from processor_runtime.errors import Detail, ProcessorError

from .errors import SignatureError

SIGNATURE_POLICY: Final = "SIGNATURE_POLICY"


class Policy(StrEnum):
    """What is done about an image that no trusted key attests: nothing, a line in the log, or no run."""

    OFF = "off"
    WARN = "warn"
    REQUIRE = "require"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Return the policy of this environment; ``off`` where it says nothing.

        Raises:
            SignatureError: it says something else. A mistyped policy must not mean that there is none.
        """
        text = environ.get(SIGNATURE_POLICY, "").strip().lower()
        try:
            return cls(text or cls.OFF)
        except ValueError:
            rule = f"must be one of {', '.join(cls)}"
            raise SignatureError(Detail(path=SIGNATURE_POLICY, message=rule)) from None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether an image may run, and what is to be said about it: why it would not, had the policy been stricter."""

    warning: ProcessorError | None = None


async def judge(reference: ImageReference | None, ref: Ref, environ: Mapping[str, str]) -> Judgement:
    """Return that *reference* may run as *ref*, or raise; ``None`` is an image that is not pinned.

    Raises:
        SignatureError: the policy is ``require``, and not enough is attested.
        ProcessorError: the policy is ``require``, and the image registry could not be asked.
    """
    policy = Policy.from_env(environ)
    if policy is Policy.OFF:
        return Judgement()
    from .keys import trusted  # noqa: PLC0415  # cryptography is slow to import, and mostly nobody asks
    from .verify import verify  # noqa: PLC0415  # the same

    try:
        if reference is None:
            raise SignatureError(Detail(path="/image", message="is not pinned: nobody attests it"))
        await verify(reference, ref, trusted(environ), environ)
    except ProcessorError as exc:
        if policy is Policy.REQUIRE:
            raise
        return Judgement(exc)
    return Judgement()
