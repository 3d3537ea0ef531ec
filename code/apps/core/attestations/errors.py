"""What goes wrong about attestations; codes are the contract's (CONTRACT §5)."""

from processor_runtime.errors import ErrorCode, ProcessorError


class SignatureError(ProcessorError):
    """What is attested of an image, or by whom, is not accepted; the details say what was looked for and found."""

    code = ErrorCode.SIGNATURE


class KeyUnusableError(ProcessorError):
    """A key that is named cannot be used."""

    code = ErrorCode.SIGNATURE
    message = "signing or verifying key cannot be used"
