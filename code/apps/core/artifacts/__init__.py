"""Files of executions on this host: attachments going in, outputs verified and copied out."""

from .attach import AttachmentError, attached, check_attachments, store
from .save import save
from .verify import ArtifactMismatchError, verify

__all__ = [
    "ArtifactMismatchError",
    "AttachmentError",
    "attached",
    "check_attachments",
    "save",
    "store",
    "verify",
]
