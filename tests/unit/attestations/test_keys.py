"""Keys are read from PEM or a path, and what cannot be one is refused without a word of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from apps.core.attestations.errors import KeyUnusableError
from apps.core.attestations.keys import SIGNATURE_KEYS, SIGNING_KEY, signer, trusted
from tests.support.keys import KINDS, key_pair


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption | None = None
) -> str:
    """Return *key* as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_given_as_text_or_as_a_path(tmp_path: Path, kind: str) -> None:
    """A workflow has a secret, a laptop a file."""
    pair = key_pair(tmp_path, kind)
    file = tmp_path / "private.pem"
    file.write_text(pair.private, encoding="utf-8")

    (by_path,) = trusted({SIGNATURE_KEYS: str(pair.public)})
    (by_text,) = trusted({SIGNATURE_KEYS: pair.public.read_text(encoding="utf-8")})

    assert (
        signer({SIGNING_KEY: pair.private}).public_key
        == signer({SIGNING_KEY: str(file)}).public_key
        == by_path
        == by_text
    )
    assert trusted({}) == []


def test_two_keys_are_trusted_while_one_replaces_the_other(tmp_path: Path) -> None:
    """As paths, or as one text: a variable of a workflow."""
    old, new = key_pair(tmp_path), key_pair(tmp_path, "ecdsa")

    by_path = trusted({SIGNATURE_KEYS: f"{old.public}:{new.public}"})
    by_text = trusted({SIGNATURE_KEYS: f"{old.public.read_text('utf-8')}\n{new.public.read_text('utf-8')}"})

    assert len(by_path) == 2
    assert by_path == by_text


REFUSED = [
    pytest.param("", "set it", id="unset"),
    pytest.param("/no/such/file", "No such file", id="no file"),
    pytest.param("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", "must be", id="no key"),
    pytest.param(pem(rsa.generate_private_key(65537, 2048)), "must be", id="RSA"),
    pytest.param(pem(ec.generate_private_key(ec.SECP384R1())), "must be", id="another curve"),
    pytest.param(
        pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"x")), "must be", id="encrypted"
    ),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED)
def test_what_cannot_sign_is_refused(value: str, reason: str) -> None:
    """By the variable's name and a rule, never by what it holds."""
    with pytest.raises(KeyUnusableError) as caught:
        signer({SIGNING_KEY: value})

    (detail,) = caught.value.details
    assert detail["path"] == SIGNING_KEY
    assert reason in detail["message"]
    assert "secret" not in str(caught.value.details)


@pytest.mark.parametrize("value", ["/no/such/file", "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n"])
def test_a_trusted_key_that_is_none_is_refused(value: str) -> None:
    """A mistyped path must not mean that nobody is asked for."""
    with pytest.raises(KeyUnusableError):
        trusted({SIGNATURE_KEYS: value})
