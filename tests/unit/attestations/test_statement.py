"""What is said of an image, in the form that in-toto, SLSA and CycloneDX give it."""

from __future__ import annotations

import hashlib

from apps.core.attestations.statement import BILL, BUILDER, PROVENANCE, STATEMENT, Base, Builder, bill, provenance
from apps.core.images.stored import StoredImage
from apps.core.registry import PROCESSORS, load_registration
from processor_runtime.values import Digest

FOLDER = PROCESSORS / "llm_chat"
BASE = Base("python:3.12-slim-bookworm", Digest.parse(f"sha256:{'ef' * 32}"))
GITHUB = {
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "owner/repo",
    "GITHUB_WORKFLOW_REF": "owner/repo/.github/workflows/dev.yml@refs/heads/main",
    "GITHUB_RUN_ID": "7",
    "GITHUB_SHA": "0" * 40,
}


def test_provenance_names_source_base_and_locks_by_digest(image: StoredImage) -> None:
    """Of this digest and no other: what it was made of, and by whom."""
    statement = provenance(image, load_registration(FOLDER), BASE, Builder())

    assert (statement["_type"], statement["predicateType"]) == (STATEMENT, PROVENANCE)
    assert statement["subject"] == [{"name": "127.0.0.1:5000/o/llm_chat", "digest": {"sha256": "ab" * 32}}]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"ref": "llm/chat@1", "platform": "amd64"}
    made_of = {row["name"]: row["digest"] for row in definition["resolvedDependencies"]}
    lock = hashlib.sha256((FOLDER / "requirements.txt").read_bytes()).hexdigest()
    assert made_of["source"] == {"sha256": "cd" * 32}
    assert made_of["base-image"] == {"sha256": "ef" * 32}
    assert made_of["requirements.txt"] == {"sha256": lock}
    assert set(made_of) == {"source", "base-image", "requirements.txt", "build.txt"}
    assert statement["predicate"]["runDetails"] == {"builder": {"id": BUILDER}, "metadata": {}}


def test_a_workflow_is_named_as_the_builder(image: StoredImage) -> None:
    """Its file, its run and its commit; a half-set environment is no workflow."""
    statement = provenance(image, load_registration(FOLDER), BASE, Builder.from_env(GITHUB))

    details = statement["predicate"]["runDetails"]
    assert details["builder"]["id"] == "https://github.com/owner/repo/.github/workflows/dev.yml@refs/heads/main"
    assert details["metadata"] == {"invocationId": "https://github.com/owner/repo/actions/runs/7"}
    assert statement["predicate"]["buildDefinition"]["resolvedDependencies"][-1] == {
        "name": "commit",
        "uri": "git+https://github.com/owner/repo",
        "digest": {"gitCommit": "0" * 40},
    }
    assert Builder.from_env({"GITHUB_REPOSITORY": "owner/repo"}) == Builder()


def test_a_bill_of_materials_is_the_predicate_itself(image: StoredImage) -> None:
    """Byte for byte what lies beside the image, so that the two can be held against each other."""
    statement = bill(image, {"bomFormat": "CycloneDX", "components": []})

    assert statement["predicateType"] == BILL
    assert statement["predicate"] == {"bomFormat": "CycloneDX", "components": []}
