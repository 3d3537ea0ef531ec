"""A bundle opens for the key that signed it, and for nobody else; a changed byte shuts it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from apps.core.attestations.bundle import MEDIA_TYPE, UnsignedError, opened, signed
from apps.core.attestations.keys import SIGNATURE_KEYS, SIGNING_KEY, signer, trusted
from tests.support.keys import KINDS, KeyPair, key_pair

STATEMENT = {"_type": "https://in-toto.io/Statement/v1", "subject": [], "predicateType": "x", "predicate": {}}


def bundle_by(pair: KeyPair) -> dict[str, Any]:
    """Return a bundle that the private half of *pair* has signed."""
    value: dict[str, Any] = json.loads(signed(STATEMENT, signer({SIGNING_KEY: pair.private})))
    return value


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_opens_for_its_own_key_among_others(tmp_path: Path, kind: str) -> None:
    """Ed25519 and ECDSA, whatever other keys are trusted too."""
    ours, other = key_pair(tmp_path, kind), key_pair(tmp_path)
    keys = trusted({SIGNATURE_KEYS: f"{other.public}:{ours.public}"})

    assert opened(bundle_by(ours), keys) == STATEMENT


@pytest.mark.parametrize("kind", KINDS)
def test_anybody_can_verify_it_by_the_specification(tmp_path: Path, kind: str) -> None:
    """DSSE's pre-authentication encoding, written out here, and the plain signature of the key over it."""
    pair = key_pair(tmp_path, kind)
    bundle = bundle_by(pair)
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    kind_of_payload = "application/vnd.in-toto+json"
    encoded = f"DSSEv1 {len(kind_of_payload)} {kind_of_payload} {len(payload)} ".encode() + payload
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    public = load_pem_public_key(pair.public.read_bytes())

    assert (bundle["mediaType"], envelope["payloadType"]) == (MEDIA_TYPE, kind_of_payload)
    if isinstance(public, Ed25519PublicKey):
        public.verify(signature, encoded)
    else:
        assert isinstance(public, EllipticCurvePublicKey)
        public.verify(signature, encoded, ECDSA(hashes.SHA256()))


def test_a_bundle_by_another_key_stays_shut(tmp_path: Path) -> None:
    """Whoever else signed it."""
    keys = trusted({SIGNATURE_KEYS: str(key_pair(tmp_path).public)})

    with pytest.raises(UnsignedError, match="altered, or signed by a key that is not trusted"):
        opened(bundle_by(key_pair(tmp_path)), keys)


def test_a_changed_statement_stays_shut(tmp_path: Path) -> None:
    """One byte of what is said."""
    pair = key_pair(tmp_path)
    bundle = bundle_by(pair)
    changed = json.dumps(STATEMENT | {"predicate": {"a": 1}}).encode()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()

    with pytest.raises(UnsignedError, match="altered"):
        opened(bundle, trusted({SIGNATURE_KEYS: str(pair.public)}))


@pytest.mark.parametrize(
    "bundle",
    [
        {},
        {"dsseEnvelope": {"payload": "%", "payloadType": "x", "signatures": [{"sig": ""}]}},
        {"dsseEnvelope": {"payload": "", "payloadType": "x", "signatures": []}},
        {"dsseEnvelope": []},
        {"messageSignature": {}},
    ],
    ids=["empty", "no base64", "unsigned", "a list", "of another kind"],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, bundle: dict[str, Any]) -> None:
    """Whatever an image registry sends, it is a reason and no crash."""
    with pytest.raises(UnsignedError):
        opened(bundle, trusted({SIGNATURE_KEYS: str(key_pair(tmp_path).public)}))
