"""What is said of an image: in-toto statements, of SLSA provenance v1 and of a CycloneDX bill of materials."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from apps.core.images.source import CODE
from apps.core.images.stored import StoredImage
from apps.core.registry import Registration
from processor_runtime.values import Digest

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
BILL: Final = "https://cyclonedx.org/bom"
# How the image was built: docs/reference/provenance.md says what each parameter means
BUILD_TYPE: Final = "urn:processor-contract:image-build:v1"
BUILDER: Final = "urn:processor-contract:builder:this-machine"

Statement = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Base:
    """What an image was built on: the name that the Dockerfile was given, and what that name stood for."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Builder:
    """Who built an image.

    Attributes:
        id: A URI; in a workflow the workflow's own, else `BUILDER`.
        invocation: What names this one build there, ``""`` for nothing.
        commit: The commit that was checked out, ``""`` where that is not known.
        repository: Of which repository, as a URI.
    """

    id: str = BUILDER
    invocation: str = ""
    commit: str = ""
    repository: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Builder":
        """Return the builder that this environment is: a GitHub workflow, or just a machine.

        Source: docs.github.com, "Variables reference"; SLSA's guide for GitHub workflows names builder and run so.
        """
        names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_WORKFLOW_REF", "GITHUB_RUN_ID", "GITHUB_SHA")
        server, repository, workflow, run, commit = (environ.get(name, "") for name in names)
        if not (server and repository and workflow):
            return cls()
        home = f"{server}/{repository}"
        return cls(f"{server}/{workflow}", f"{home}/actions/runs/{run}", commit, f"git+{home}")


def provenance(image: StoredImage, registration: Registration, base: Base, builder: Builder) -> Statement:
    """Return the statement of how *image* came to be: source, base and locks by their digests, and who built it."""
    dependencies = [
        {"name": "source", "digest": _digest(image.labels.source)},
        {"name": "base-image", "uri": base.name, "digest": _digest(str(base.digest))},
        *(_file(name, path) for name, path in _locks(registration)),
    ]
    if builder.commit:
        dependencies.append({"name": "commit", "uri": builder.repository, "digest": {"gitCommit": builder.commit}})
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"ref": image.labels.ref, "platform": image.platform},
            "internalParameters": {"contract": image.labels.contract},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": builder.id},
            "metadata": {"invocationId": builder.invocation} if builder.invocation else {},
        },
    }
    return _statement(image, PROVENANCE, predicate)


def bill(image: StoredImage, components: Mapping[str, Any]) -> Statement:
    """Return the statement that *components*, a CycloneDX document, is what *image* holds."""
    return _statement(image, BILL, dict(components))


def _statement(image: StoredImage, predicate_type: str, predicate: dict[str, Any]) -> Statement:
    reference = image.reference
    return {
        "_type": STATEMENT,
        "subject": [{"name": reference.repository, "digest": _digest(str(reference.digest))}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def _locks(registration: Registration) -> list[tuple[str, Any]]:
    locks = (registration.folder / "requirements.txt", CODE / "requirements" / "build.txt")
    return [(path.name, path) for path in locks if path.is_file()]


def _file(name: str, path: Any) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}}


def _digest(text: str) -> dict[str, str]:
    algorithm, _, digits = text.partition(":")
    return {algorithm: digits}
