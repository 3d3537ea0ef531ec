"""Sigstore bundles: a statement as a signed DSSE envelope, in the form that `cosign verify-attestation` reads."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Key, Signature

from .statement import Statement

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


class UnsignedError(Exception):
    """A bundle that no trusted key has signed, or that is none; the message is the reason."""


def signed(statement: Statement, signer: CryptoSigner) -> bytes:
    """Return the bundle of *statement*, signed by *signer*.

    There is no entry of a transparency log in it: `cosign` wants `--insecure-ignore-tlog` for it.

    Source: sigstore protobuf-specs, `sigstore_bundle.proto`, v0.3; DSSE protocol v1.0.2.
    """
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    signature = envelope.sign(signer)
    value = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": _hint(signer.public_key)}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": _base64(payload),
            "payloadType": PAYLOAD_TYPE,
            # one signature, without the unauthenticated hint of a key: the bundle has it above
            "signatures": [{"sig": _base64(bytes.fromhex(signature.signature)), "keyid": ""}],
        },
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def opened(bundle: Mapping[str, Any], keys: Sequence[Key]) -> Statement:
    """Return the statement in *bundle*, which one of *keys* has signed.

    Raises:
        UnsignedError: it is no such bundle, it was altered, or none of *keys* has signed it.
    """
    try:
        written = bundle["dsseEnvelope"]
        (row,) = written["signatures"]
        payload = base64.b64decode(written["payload"], validate=True)
        signature = base64.b64decode(row["sig"], validate=True).hex()
        envelope = Envelope(payload, str(written["payloadType"]), {})
    except (KeyError, TypeError, ValueError) as exc:
        raise UnsignedError("is no bundle with one signature") from exc
    if envelope.payload_type != PAYLOAD_TYPE:
        raise UnsignedError(f"holds {envelope.payload_type}, no in-toto statement")
    if not any(_verifies(key, signature, envelope.pae()) for key in keys):
        raise UnsignedError("was altered, or signed by a key that is not trusted")
    try:
        statement: Statement = json.loads(payload)
    except ValueError as exc:
        raise UnsignedError("is signed, and holds no JSON") from exc
    return statement


def _verifies(key: Key, signature: str, data: bytes) -> bool:
    # DSSE: the hint of a key in a signature proves nothing, so every trusted key is tried
    try:
        key.verify_signature(Signature(key.keyid, signature), data)
    except UnverifiedSignatureError:
        return False
    return True


def _hint(key: Key) -> str:
    public = str(key.keyval["public"]).encode()
    return _base64(hashlib.sha256(public).digest())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
