"""Pairs of keys as tests of attestations need them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
KINDS: dict[str, Callable[[], PrivateKey]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
}


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key as PEM, and the file that holds the public one."""

    private: str
    public: Path


def key_pair(folder: Path, kind: str = "ed25519") -> KeyPair:
    """Return a new pair of *kind*, its public half in *folder*."""
    key = KINDS[kind]()
    public = folder / f"{uuid.uuid4().hex}.pub"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return KeyPair(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), public)
