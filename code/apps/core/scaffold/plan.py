"""What a new processor shall be: the words of a command line, made values that cannot be wrong."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, Self

from apps.core.registry import Ref, RefError
from apps.core.registry.names import secret_name_fault

_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class PlanError(ValueError):
    """An option has a value that no processor can have; the text names the option and the rule."""


class Template(StrEnum):
    """Which work the new handler does until somebody changes it."""

    GENERIC = "generic"  # text in, text out
    LLM = "llm"  # one answer of a language model


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a template asks for by itself."""

    memory_gb: str
    timeout_s: str
    concurrency: str
    required_secrets: tuple[str, ...] = ()
    optional_secrets: tuple[str, ...] = ()


DEFAULTS: Final[Mapping[Template, Defaults]] = {
    Template.GENERIC: Defaults(memory_gb="1", timeout_s="600", concurrency="1"),
    # a run waits for the provider most of the time, so several fit into one container
    Template.LLM: Defaults("1", "120", "8", ("OPENAI_API_KEY",), ("OPENAI_BASE_URL",)),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """One processor to be made. Units are in the names; *cpu* is in cores."""

    ref: Ref
    template: Template
    required_secrets: tuple[str, ...]
    optional_secrets: tuple[str, ...]
    cpu: str
    memory_gb: int | float
    timeout_s: int | float
    gpu: str | None
    concurrency: int

    @classmethod
    def parse(
        cls,
        ref: str,
        *,
        template: str = Template.GENERIC,
        secrets: str = "",
        cpu: str = "1",
        memory_gb: str | None = None,
        timeout_s: str | None = None,
        gpu: str | None = None,
        concurrency: str | None = None,
    ) -> Self:
        """Return the plan that the options of `scaffold_processor` spell.

        Args:
            ref: ``ns/name@1``.
            template: ``generic`` or ``llm``.
            secrets: Names of required secrets, separated by commas; added to those that the template needs.
            cpu: Cores; a fraction is allowed.
            memory_gb: GiB. Absent, like all that follows: as the template says.
            timeout_s: Seconds.
            gpu: Such as ``A100`` or ``H100:2``. Absent: none.
            concurrency: How many runs at the same time.

        Raises:
            PlanError: text of another form. How much of a thing there may be is the registry schema's to say.
        """
        chosen = _template(template)
        defaults = DEFAULTS[chosen]
        required = _secrets(secrets, defaults.required_secrets)
        return cls(
            ref=_ref(ref),
            template=chosen,
            required_secrets=required,
            optional_secrets=tuple(name for name in defaults.optional_secrets if name not in required),
            cpu=f"{_number('--cpu', cpu):f}",
            memory_gb=_plain(_number("--memory-gb", memory_gb or defaults.memory_gb)),
            timeout_s=_plain(_number("--timeout-s", timeout_s or defaults.timeout_s)),
            gpu=gpu,
            concurrency=_count("--concurrency", concurrency or defaults.concurrency),
        )


def _ref(text: str) -> Ref:
    try:
        return Ref.parse(text)
    except RefError as exc:
        raise PlanError(f"--ref must be namespace/name@version, such as acme/summary@1: {exc}") from exc


def _template(text: str) -> Template:
    try:
        return Template(text)
    except ValueError as exc:
        raise PlanError(f"--template must be one of {', '.join(Template)}") from exc


def _secrets(text: str, needed: tuple[str, ...]) -> tuple[str, ...]:
    """Return each name once, in the order given; a refused one is told by its place, for it may be a secret itself."""
    given = [name.strip() for name in text.split(",")] if text.strip() else []
    for place, name in enumerate(given, start=1):
        if fault := secret_name_fault(name):
            raise PlanError(f"--secrets: name {place} {fault}")
    return tuple(dict.fromkeys([*needed, *given]))


def _number(option: str, text: str) -> Decimal:
    """Return the number that *text* spells, without trailing zeros."""
    if not _NUMBER.fullmatch(text):
        raise PlanError(f"{option} must be a number above 0, such as 1 or 0.5")
    number = Decimal(text)
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number.normalize()


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


def _count(option: str, text: str) -> int:
    number = _number(option, text)
    if number != number.to_integral_value():
        raise PlanError(f"{option} must be a whole number")
    return int(number)
