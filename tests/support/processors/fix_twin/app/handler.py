"""fix/twin@1: ends as `params.do` says."""

import time
from collections.abc import Callable

from processor_runtime import InputsError, ProviderError, Run, processor

STEP_S = 0.01


@processor
def entry(run: Run) -> None:
    """Do what `params.do` says, and write it down."""
    if act := ACTS.get(run.params["do"]):
        act(run)
    if run.params["do"] != "write nothing":
        run.write_text("outputs/text.txt", run.params["do"])


def tell(run: Run) -> None:
    """Tell of everything."""
    run.progress(0.25, "a quarter")
    run.token("one ")
    run.token("two")
    for number in (1, 2):
        run.write_text(f"outputs/page-{number}.txt", f"page {number}\n" * number)
    run.progress(None, "nearly there")
    run.extra["pages"] = 2


def wait(run: Run) -> None:
    """Take for ever, and end when asked to."""
    run.progress(0.0, "waiting")
    while True:
        run.check()
        time.sleep(STEP_S)


def read(run: Run) -> None:
    """Write down what the file holds."""
    document = run.params["document"]
    run.write_bytes("outputs/page-1.txt", document.read_bytes())
    run.extra["sha256"] = document.sha256


def reveal(run: Run) -> None:
    """Tell the secret."""
    run.token(run.secrets["FIX_SECRET"])
    run.extra["told"] = run.secrets["FIX_SECRET"]


def blame_inputs(run: Run) -> None:
    """Refuse the inputs."""
    raise InputsError({"path": "/inputs/params/document", "message": f"not a document, in {run.mode}"})


def blame_provider(run: Run) -> None:
    """Blame the provider, as worth another try or not."""
    raise ProviderError({"path": "provider", "message": "was not kind"}, retryable=run.params["do"].endswith("soon"))


def fail(run: Run) -> None:
    """Raise."""
    raise ValueError(f"canary {run.execution_id}")


ACTS: dict[str, Callable[[Run], object]] = {
    "tell": tell,
    "wait": wait,
    "read": read,
    "reveal": reveal,
    "blame inputs": blame_inputs,
    "blame provider": blame_provider,
    "blame provider soon": blame_provider,
    "fail": fail,
    "write elsewhere": lambda run: run.write_text("outputs/undeclared.txt", "x"),
    "write outside": lambda run: run.write_text("../text.txt", "x"),
    "write twice": lambda run: run.write_text("outputs/text.txt", "x"),
}
