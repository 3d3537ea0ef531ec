"""Secrets of processors on Modal: one Modal secret a variable, named as it. Import it late, as `adapters.modal.sdk`.

Values come from the environment of the caller, and go to Modal alone. They
cannot be read back, so each is written every time; what says ``unchanged`` is
a salted hash of what this machine wrote last.
"""

import hashlib
import hmac
import json
import os
import secrets as random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import modal
from modal import exception

from apps.core.adapters.modal import sdk
from apps.core.registry import Registration

from .deploy import LOOKUP_S, check_environment

State = Literal["created", "updated", "unchanged", "missing"]
_SYNC_S: Final = 60.0
_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1}  # OWASP's least: some of what is hashed can be guessed


@dataclass(frozen=True, slots=True)
class SecretRow:
    """One variable, and what became of it.

    Attributes:
        name: Of the variable, and of the Modal secret that holds it.
        required: Whether a processor cannot run in real mode without it.
        refs: Processors that declare it.
        state: ``missing`` is not set here; what Modal holds of it stays.
    """

    name: str
    required: bool
    refs: tuple[str, ...]
    state: State

    def as_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        return asdict(self)


async def sync(
    registrations: Iterable[Registration],
    client: modal.Client,
    environment: str,
    *,
    environ: Mapping[str, str],
    memory: Path,
    dry_run: bool,
) -> list[SecretRow]:
    """Write what *registrations* declare and *environ* holds to Modal, and return each variable, by name.

    Args:
        registrations: Whose secrets.
        client: Of the workspace.
        environment: Which of its environments.
        environ: Where the values are.
        memory: A file of hashes of what was written last.
        dry_run: Write nothing, and return what would become of each.

    Raises:
        EndpointMissingError: there is no such environment.
        ProcessorError: as the table in `adapters.modal.sdk` says; what was written stays.
    """
    async with sdk.within(LOOKUP_S, "the secrets"):
        await check_environment(client, environment)
        there = {each.name for each in await modal.Secret.objects.list.aio(environment_name=environment, client=client)}
    hashes = _Hashes(memory)
    rows = []
    for name, refs in sorted(_declared(registrations).items()):
        value = environ.get(name, "")
        key = f"{environment}/{name}"
        state: State = "missing"
        if value:
            state = "created" if name not in there else "unchanged" if hashes.match(key, value) else "updated"
            if not dry_run:
                async with sdk.within(_SYNC_S, f"the secret {name}"):
                    await _write(name, value, client, environment, new=name not in there)
                hashes.remember(key, value)
        rows.append(SecretRow(name, any(refs.values()), tuple(sorted(refs)), state))
    return rows


def _declared(registrations: Iterable[Registration]) -> dict[str, dict[str, bool]]:
    """Return for each variable the refs that declare it, and whether they require it."""
    found: dict[str, dict[str, bool]] = {}
    for registration in registrations:
        for name in registration.declaration.secrets:
            required = name in registration.declaration.required_secrets
            found.setdefault(name, {})[str(registration.ref)] = required
    return found


async def _write(name: str, value: str, client: modal.Client, environment: str, *, new: bool) -> None:
    if new:
        try:
            await modal.Secret.objects.create.aio(name, {name: value}, environment_name=environment, client=client)
        except exception.AlreadyExistsError:
            pass  # made by somebody else since they were listed
        else:
            return
    # in place: apps that were deployed with it have the new value in their next container
    secret = modal.Secret.from_name(name, environment_name=environment, client=client)
    await secret.update.aio({name: value})


class _Hashes:
    """What was written last, as salted hashes in one file that only this user may read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            value = json.loads(file.read_bytes())
        except (OSError, ValueError):
            value = {}
        self._hashes: dict[str, Any] = value if isinstance(value, dict) else {}

    def match(self, key: str, value: str) -> bool:
        """Whether *value* is what was remembered for *key*."""
        salt, _, told = str(self._hashes.get(key, "")).partition(":")
        try:
            return hmac.compare_digest(_hash(value, bytes.fromhex(salt)), told)
        except ValueError:
            return False

    def remember(self, key: str, value: str) -> None:
        """Keep a hash of *value*."""
        salt = random.token_bytes(16)
        self._hashes[key] = f"{salt.hex()}:{_hash(value, salt)}"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(self._hashes, file, indent=2, sort_keys=True)
        part.replace(self._file)


def _hash(value: str, salt: bytes) -> str:
    return hashlib.scrypt(value.encode(errors="surrogateescape"), salt=salt, **_SCRYPT).hex()
