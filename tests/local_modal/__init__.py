"""A local Modal for tests: what the real SDK talks to instead of the cloud.

    with LocalModal() as cloud:
        cloud.images["ghcr.io/o/r@sha256:…"] = Image(folder)  # what a FROM line finds
        ...  # os.environ | cloud.environ, then deploy, look up and call with `modal`
        assert cloud.sent("AppPublish")

It speaks the SDK's own protocol (`modal_proto`), runs a published function in a
process through the SDK's own container entry point, and refuses by name every
call that it does not know. Nothing in the product knows that it exists.
"""

from .cloud import LocalModal
from .image import Image

__all__ = ["Image", "LocalModal"]
