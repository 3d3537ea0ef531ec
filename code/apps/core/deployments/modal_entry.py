"""What Modal's containers import: the image's own `app.http`, with its files on a Volume.

It is the only source that a deployment uploads; all else is in the image. So
it is one file, and takes its settings from the function's environment.
"""

import os

_OPEN_FILES = "open files"  # in the one sentence by which the SDK tells this failure from others


def fastapi_app() -> object:
    """Return the ASGI app that the image serves anywhere, its runs published to the Volume and refreshed from it."""
    import modal  # noqa: PLC0415  # Modal puts it into the container, and nothing of ours does

    from processor_runtime.errors import Detail, StorageError  # noqa: PLC0415  # in the image
    from processor_runtime.hosting import hosted  # noqa: PLC0415  # the same

    volume = modal.Volume.from_name(
        os.environ["ARTIFACTS_VOLUME"], environment_name=os.environ["ARTIFACTS_VOLUME_ENVIRONMENT"]
    )

    def publish() -> None:
        try:
            volume.commit()
        except RuntimeError as exc:
            # it commits and then reloads: only the second needs every file closed, and nobody waits for that here
            if _OPEN_FILES not in str(exc):
                raise

    def refresh() -> None:
        try:
            volume.reload()
        except (RuntimeError, modal.Error) as exc:
            rule = "cannot be looked at again now: files are open, or the Volume is not reachable"
            raise StorageError(Detail(path="/artifacts", message=rule)) from exc

    with hosted(publish=publish, refresh=refresh):
        from app.http import app  # type: ignore[import-not-found]  # noqa: PLC0415  # in the image
    return app
