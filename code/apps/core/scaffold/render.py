"""A template's files with a plan's values in them.

Template files are what they become: Python that is checked as it lies, YAML
that can be read, a Dockerfile. What varies is written as a word of its own,
``__REF__``, which is valid in all of them.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .plan import Plan, Template

# In this order a reader meets them.
FILES: Final = (
    "registry.yaml",
    "requirements.in",
    "requirements.txt",
    "Dockerfile",
    "__init__.py",
    "app/__init__.py",
    "app/http.py",
    "app/handler.py",
    "app/logging.py",
    "app/utils.py",
)

_HERE: Final = Path(__file__).parent
# A file is taken from the first folder that has it: only what differs is written twice.
_FOLDERS: Final[Mapping[Template, tuple[Path, ...]]] = {
    Template.GENERIC: (_HERE / "template",),
    Template.LLM: (_HERE / "template_llm", _HERE / "template"),
}
_WORD: Final = re.compile(r"__([A-Z]+(?:_[A-Z]+)*)__")


def render(plan: Plan) -> dict[str, str]:
    """Return the text of every file of the processor that *plan* describes, by its path in the processor's folder.

    Raises:
        KeyError: a template asks for a value that there is none of.
    """
    values = _values(plan)
    return {path: _filled(source(plan.template, path), plan, values) for path in FILES}


def source(template: Template, path: str) -> Path:
    """Return the template file that *path* is made from."""
    return next(folder / path for folder in _FOLDERS[template] if (folder / path).is_file())


def _filled(file: Path, plan: Plan, values: Mapping[str, str]) -> str:
    text = _WORD.sub(lambda word: values[word[1]], file.read_text(encoding="utf-8"))
    # a lock says which file each requirement came from: `make lock` would write the new place
    return text.replace(f"apps/core/scaffold/{file.parent.name}/", f"apps/core/processors/{plan.ref.folder}/")


def _values(plan: Plan) -> dict[str, str]:
    """Return what each word stands for. JSON is YAML, so no value can be read as anything but itself."""
    return {
        "REF": str(plan.ref),
        "NAME": f"{plan.ref.namespace}/{plan.ref.name}",
        "FOLDER": plan.ref.folder,
        "CPU": json.dumps(plan.cpu),
        "MEMORY_GB": json.dumps(plan.memory_gb),
        "TIMEOUT_S": json.dumps(plan.timeout_s),
        "GPU": json.dumps(plan.gpu),
        "CONCURRENCY": json.dumps(plan.concurrency),
        "REQUIRED_SECRETS": json.dumps(plan.required_secrets),
        "OPTIONAL_SECRETS": json.dumps(plan.optional_secrets),
    }
