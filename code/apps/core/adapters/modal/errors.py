"""What goes wrong with Modal only; codes and texts are the contract's (CONTRACT §5)."""

from processor_runtime.errors import ErrorCode, ProcessorError


class ModalAuthError(ProcessorError):
    """Modal refused the token, or its web server the proxy-auth pair."""

    code = ErrorCode.MODAL_AUTH
