"""What goes wrong between an adapter and a processor; codes and texts are the contract's (CONTRACT §5)."""

from apps.core.images.errors import DockerError, ImageNotFoundError, ImagePullError, ImageUnpinnedError
from processor_runtime.errors import ErrorCode, ProcessorError

__all__ = [
    "BadResponseError",
    "CrashedError",
    "DigestDriftError",
    "DockerError",
    "EndpointMissingError",
    "HealthError",
    "ImageNotFoundError",
    "ImagePullError",
    "ImageUnpinnedError",
    "NetworkError",
]


class NetworkError(ProcessorError):
    """The connection failed before an answer came, and the processor is not known to be dead."""

    code = ErrorCode.NETWORK


class BadResponseError(ProcessorError):
    """Something answered, and it was not the envelope of this execution."""

    code = ErrorCode.BAD_RESPONSE


class HealthError(ProcessorError):
    """The processor could not be started, or did not become healthy in time."""

    code = ErrorCode.HEALTH


class CrashedError(ProcessorError):
    """The processor died before it answered."""

    code = ErrorCode.CRASHED


class EndpointMissingError(ProcessorError):
    """Nothing is deployed under this name."""

    code = ErrorCode.ENDPOINT_MISSING


class DigestDriftError(ProcessorError):
    """The digest that answered is not the expected one, or is not known."""

    code = ErrorCode.DIGEST_DRIFT
