"""The small helpers of the handler: plain functions that a test can call without a service."""


def reply(text: str) -> str:
    """Return the reply to *text*: the work of this processor goes here."""
    return text


def mock_reply(text: str) -> str:
    """Return what stands for a reply in mock mode: the same for the same *text*, always."""
    return f"mock: {text}"
