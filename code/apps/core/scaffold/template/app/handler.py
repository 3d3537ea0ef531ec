"""What this processor does: `entry` is called once for each run."""

from processor_runtime import Run, processor

from . import utils


@processor
def entry(run: Run) -> None:
    """Write the reply to `params.text` to `outputs/response.txt`.

    `run.params` has passed the schema in `registry.yaml`; outputs are declared
    there too. Mock mode has no secrets and no network, costs nothing, and gives
    the same outputs for the same inputs.
    """
    text: str = run.params["text"]
    run.progress(None, "writing the reply")
    run.write_text("outputs/response.txt", utils.mock_reply(text) if run.mock else utils.reply(text))
