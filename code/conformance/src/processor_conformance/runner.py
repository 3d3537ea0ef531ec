"""Runs checks: many at once where they do not disturb each other, each with an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from .catalogue import Check, Phase
from .outcome import FailedError, NotApplicableError, NotCheckedError, Outcome, Result
from .session import Options, Session
from .wire import WireError

AT_ONCE: Final = 6
STARTING_AT_ONCE: Final = 4
SECOND_LOOKS: Final = 8
BUDGET_S: Final = 600.0
TIMED: Final = frozenset({"slow", "blocking", "writing", "long", "flood", "setup_slow", "setup_failing"})
_FIRST: Final = "C-RUN-01"  # tells what is wrong with a valid example; the others only that they need one

Report = Callable[[Result], None]
Several = Callable[[Iterable[Check], int], Coroutine[Any, Any, None]]


async def judge(options: Options, checks: Iterable[Check], *, report: Report = lambda _result: None) -> list[Result]:
    """Return what the kit says of *checks*, in their order; *report* gets each result as it comes.

    Nothing takes longer than `BUDGET_S`: what has not been looked at by then is not checked.
    """
    wanted = tuple(checks)
    results: dict[str, Result] = {}

    def add(result: Result) -> None:
        results[result.check.id] = result
        report(result)

    reason = "the kit's time was over"
    try:
        async with asyncio.timeout(BUDGET_S), Session(options) as session:
            await _judge_all(session, wanted, add)
    except TimeoutError:
        pass
    except FailedError as exc:  # nothing answers, or nothing starts: there is nothing to judge
        reason = "the service does not answer"
        first = wanted[0] if wanted else None
        if first is not None:
            add(Result(first, Outcome.FAILED, sent=exc.sent, expected=exc.expected, seen=exc.seen))
    except WireError as exc:
        reason = "the service does not answer"
        if wanted:
            add(Result(wanted[0], Outcome.FAILED, sent=exc.sent, expected="an answer", seen=exc.seen))
    for check in wanted:
        if check.id not in results:
            add(Result(check, Outcome.NOT_CHECKED, reason))
    return [results[check.id] for check in wanted]


async def _judge_all(session: Session, checks: tuple[Check, ...], add: Report) -> None:
    ready: list[Check] = []
    for check in checks:
        result = _not_now(session, check)
        if result is None:
            ready.append(check)
        else:
            add(result)
    doubtful: dict[str, Result] = {}

    async def several(some: Iterable[Check], at_once: int) -> None:
        places = asyncio.Semaphore(at_once)

        async def one(check: Check) -> None:
            async with places:
                result = await _judged(session, check)
            if result.outcome is Outcome.FAILED and _is_a_matter_of_time(check):
                doubtful[check.id] = result
            else:
                add(result)

        async with asyncio.TaskGroup() as group:
            for check in some:
                group.create_task(one(check))

    try:
        await _in_phases(session, ready, several)
        if len(doubtful) <= SECOND_LOOKS:  # more than these have another reason than a slow machine
            for check in [result.check for result in doubtful.values()]:
                second = await _judged(session, check)
                del doubtful[check.id]
                add(second)
    finally:
        for result in doubtful.values():
            add(result)
    await several([check for check in ready if check.phase is Phase.LAST], 1)


async def _in_phases(session: Session, ready: list[Check], several: Several) -> None:
    """Run all but the last checks: what disturbs nobody at once, the rest one by one."""
    starting = [check for check in ready if check.start or check.image]
    others = [check for check in ready if check not in starting]
    by_phase = {phase: [check for check in others if check.phase is phase] for phase in Phase}
    alone_now = by_phase[Phase.ALONE] if session.can_start else []
    early = [check for check in starting if check.phase not in {Phase.QUIET, Phase.LAST}]
    async with asyncio.TaskGroup() as group:
        group.create_task(several(by_phase[Phase.SHARED], AT_ONCE))
        group.create_task(several(early, STARTING_AT_ONCE))
        group.create_task(several(alone_now, AT_ONCE))
    await several([check for check in by_phase[Phase.ALONE] if check not in alone_now], 1)
    await several([check for check in ready if check.phase is Phase.QUIET], 1)


def _is_a_matter_of_time(check: Check) -> bool:
    """Whether a slow machine can make *check* fail."""
    return check.phase in {Phase.ALONE, Phase.QUIET} or bool(TIMED & set(check.examples))


def _not_now(session: Session, check: Check) -> Result | None:
    """Return why *check* cannot be looked at, if so."""
    options, launcher = session.options, session.options.launcher
    if check.unseen:
        return Result(check, Outcome.NOT_CHECKED, check.unseen)
    for name in check.capabilities:
        if name not in session.facts.capabilities:
            return Result(check, Outcome.NOT_APPLICABLE, f"the service has no `{name}`")
    missing = []
    if check.image and (launcher is None or not launcher.image):
        missing.append("--image")
    elif launcher is None:
        missing += ["--start or --image"] if check.start else []
        missing += ["--token, --start or --image"] if check.token and not options.token else []
        missing += (
            ["--artifacts, --start or --image"] if check.artifacts and not check.start and not options.artifacts else []
        )
    for name in check.examples:
        if name not in session.examples:
            trouble = f" ({session.facts.trouble})" if name == "valid" and session.facts.trouble else ""
            missing.append(f'an example "{name}"{trouble}')
        elif name == "valid" and session.facts.trouble and check.id != _FIRST:
            missing.append(f'an example "valid" that succeeds ({session.facts.trouble})')
    return Result(check, Outcome.NOT_CHECKED, f"needs {', and '.join(missing)}") if missing else None


async def _judged(session: Session, check: Check) -> Result:
    started = time.monotonic()
    reason = sent = expected = seen = ""
    outcome = Outcome.PASSED
    try:
        async with session.subject(check) as service, asyncio.timeout(check.patience_s):
            started = time.monotonic()
            await check.judge(service)
    except FailedError as exc:
        outcome, sent, expected, seen = Outcome.FAILED, exc.sent, exc.expected, exc.seen
    except WireError as exc:
        outcome, sent, expected, seen = Outcome.FAILED, exc.sent, "an answer", exc.seen
    except TimeoutError:
        outcome, sent, expected = Outcome.FAILED, "what this check sends", f"an end within {check.patience_s:g} s"
        seen = "none"
    except NotApplicableError as exc:
        outcome, reason = Outcome.NOT_APPLICABLE, str(exc)
    except NotCheckedError as exc:
        outcome, reason = Outcome.NOT_CHECKED, f"needs {exc}"
    except Exception as exc:  # noqa: BLE001  # an answer that the check did not think of fails that check alone
        outcome, sent, expected = Outcome.FAILED, "what this check sends", "an answer that can be judged"
        seen = f"{type(exc).__name__}: {exc}"
    words = [session.redact(text) for text in (reason, sent, expected, seen)]
    return Result(check, outcome, words[0], words[1], words[2], words[3], round(time.monotonic() - started, 3))
