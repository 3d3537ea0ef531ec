"""What processors exist: every `processors/*/registry.yaml`, checked, as values."""

from processor_runtime.values import Digest, DigestError, Ref, RefError

from .errors import RefNotFoundError, RegistryInvalidError
from .images import ImageReference, ImageReferenceError, Repository
from .load import FILE_NAME, PROCESSORS, Registry, load_registration, load_registry
from .problems import Kind, Problem
from .registration import Build, Registration

__all__ = [
    "FILE_NAME",
    "PROCESSORS",
    "Build",
    "Digest",
    "DigestError",
    "ImageReference",
    "ImageReferenceError",
    "Kind",
    "Problem",
    "Ref",
    "RefError",
    "RefNotFoundError",
    "Registration",
    "Registry",
    "RegistryInvalidError",
    "Repository",
    "load_registration",
    "load_registry",
]
