"""What goes wrong on an image's way; codes are the contract's (CONTRACT §5)."""

from processor_runtime.errors import ErrorCode, ProcessorError


class DockerError(ProcessorError):
    """Docker Engine, or its client, refused or failed."""

    code = ErrorCode.DOCKER


class ImageUnpinnedError(ProcessorError):
    """There is no digest for this platform, or none was given."""

    code = ErrorCode.IMAGE_UNPINNED


class ImageNotFoundError(ProcessorError):
    """The image is not where it should be."""

    code = ErrorCode.IMAGE_NOT_FOUND


class ImagePullError(ProcessorError):
    """The image registry refused, or was not reachable."""

    code = ErrorCode.IMAGE_PULL


class ImageRegistryError(ImagePullError):
    """The same, where it was asked about an image or given one."""

    message = "image registry refused or was not reachable"


class NotBuiltError(ImageNotFoundError):
    """The engine has no image of the source as it is now."""

    message = "image not built from this source"


class WrongPlatformError(ImageNotFoundError):
    """The image is there, and is for another platform."""

    message = "image is for another platform"


class ForeignRefError(ProcessorError):
    """The image is there, and is another processor's."""

    code = ErrorCode.REF_MISMATCH
    message = "image serves another ref"


class OtherSourceError(ProcessorError):
    """The image is there, and was built from other source."""

    code = ErrorCode.DIGEST_DRIFT
    message = "image was built from other source"
