"""Keys: one that signs, and those that are trusted. PEM, as `openssl genpkey` writes it; Ed25519, or ECDSA on P-256."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.signer import CryptoSigner, SSlibKey

from processor_runtime.errors import Detail

from .errors import KeyUnusableError

SIGNING_KEY: Final = "SIGNING_KEY"
SIGNATURE_KEYS: Final = "SIGNATURE_KEYS"
_PEM: Final = "-----BEGIN"
_END: Final = "-----END PUBLIC KEY-----"
_RULE: Final = "must be an unencrypted PEM key, Ed25519 or ECDSA on P-256"


def signer(environ: Mapping[str, str]) -> CryptoSigner:
    """Return what signs: the private key that `SIGNING_KEY` holds, or the path of.

    Raises:
        KeyUnusableError: it is not set, cannot be read, or is no such key. The details never hold any of it.
    """
    value = environ.get(SIGNING_KEY, "")
    if not value:
        raise KeyUnusableError(Detail(path=SIGNING_KEY, message="set it: the private key as PEM, or its path"))
    try:
        key = load_pem_private_key(_content(value, SIGNING_KEY), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusableError(Detail(path=SIGNING_KEY, message=_RULE)) from None
    if isinstance(key, Ed25519PrivateKey):
        return CryptoSigner(key)
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return CryptoSigner(key)
    raise KeyUnusableError(Detail(path=SIGNING_KEY, message=_RULE))


def trusted(environ: Mapping[str, str]) -> list[SSlibKey]:
    """Return the public keys that `SIGNATURE_KEYS` holds, or the files that it names, separated by colons.

    There are none where it is unset.

    Raises:
        KeyUnusableError: one cannot be read, or is no such key.
    """
    value = environ.get(SIGNATURE_KEYS, "")
    return [_public(_content(text, SIGNATURE_KEYS)) for text in _each(value)]


def _each(value: str) -> Iterable[str]:
    """Return each key of *value*: blocks of PEM, one after the other, or paths; several, while one replaces another."""
    if value.lstrip().startswith(_PEM):
        return [f"{block}{_END}" for block in value.split(_END) if block.strip()]
    return filter(None, value.split(":"))


def _content(value: str, name: str) -> bytes:
    if value.lstrip().startswith(_PEM):
        return value.encode()
    try:
        return Path(value).read_bytes()
    except OSError as exc:
        raise KeyUnusableError(Detail(path=name, message=exc.strerror or "cannot be read")) from None


def _public(pem: bytes) -> SSlibKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusableError(Detail(path=SIGNATURE_KEYS, message=_RULE)) from None
    if isinstance(key, Ed25519PublicKey):
        return SSlibKey.from_crypto(key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return SSlibKey.from_crypto(key)
    raise KeyUnusableError(Detail(path=SIGNATURE_KEYS, message=_RULE))
