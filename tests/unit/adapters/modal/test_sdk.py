"""Every exception of Modal's SDK means something to whoever asked, and no question waits without end."""

from __future__ import annotations

import asyncio
import inspect

import modal
import pytest
from modal import exception

from apps.core.adapters.errors import NetworkError
from apps.core.adapters.modal import sdk
from apps.core.adapters.modal.errors import ModalAuthError
from processor_runtime.errors import InternalError, ProcessorError

# Not the SDK's failures: warnings, what it lets users' own code raise, and what ends a container's input
OTHERS = {"UserCodeException", "InputCancellation"}


def exceptions_of_modal() -> set[type[BaseException]]:
    """Return each exception class that the SDK makes public."""
    return {
        kind
        for name, kind in vars(exception).items()
        if inspect.isclass(kind)
        and issubclass(kind, BaseException)
        and not issubclass(kind, Warning)
        and kind.__module__ == exception.__name__
        and not name.startswith("_")
        and name not in OTHERS
    }


def test_each_exception_of_the_sdk_is_translated_by_name() -> None:
    """A new release that adds one fails here, and not at a user's."""
    found = exceptions_of_modal()

    assert modal.exception.NotFoundError in found
    assert {kind.__name__ for kind in found ^ set(sdk.FAILURES)} == set()


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=kind.__name__) for kind in sdk.FAILURES if issubclass(kind, exception.Error)]
)
def test_a_translation_names_the_kind_and_says_what_modal_said(kind: type[exception.Error]) -> None:
    """Modal's texts name apps and environments, which is what a person needs."""
    failure = kind.__new__(kind)
    failure.args = ("No app of\n  that name",)

    error = sdk.translated(failure)

    assert type(error) is sdk.FAILURES[kind]
    assert error.details == ({"path": "modal", "message": f"{kind.__name__}: No app of that name"},)


def test_an_exception_that_nobody_foresaw_is_what_it_derives_from() -> None:
    """It is never an exception of the SDK that reaches a caller."""

    class NewError(exception.AuthError):
        """A later release's."""

    class NewRootError(exception.Error):
        """Another one's."""

    assert isinstance(sdk.translated(NewError("x")), ModalAuthError)
    assert isinstance(sdk.translated(NewRootError("x")), InternalError)


def test_a_question_that_nobody_answers_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK has no limit of its own."""
    monkeypatch.delenv("MODAL_TOKEN_ID", raising=False)

    async def ask() -> None:
        async with sdk.within(0.01, "a thing"):
            await asyncio.Event().wait()

    with pytest.raises(NetworkError) as refused:
        asyncio.run(ask())

    assert refused.value.details[0]["message"] == "a thing: no answer within 0.01 s"


def test_what_is_no_failure_of_the_sdk_passes() -> None:
    """An error of ours keeps its own meaning."""

    async def ask() -> None:
        async with sdk.within(5, "a thing"):
            raise ModalAuthError

    with pytest.raises(ModalAuthError):
        asyncio.run(ask())
    assert issubclass(ModalAuthError, ProcessorError)
