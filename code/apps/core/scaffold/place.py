"""Puts a rendered processor where it belongs: all of it, or nothing."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from apps.core.registry import FILE_NAME, PROCESSORS, Problem, RegistryInvalidError
from apps.core.registry.load import check

from .plan import Plan, PlanError
from .render import FILES, render

# Where a plan's values stand in the registry file: what is wrong there is said of the option.
_OPTIONS: Final[Mapping[str, str]] = {
    "/runtime/cpu": "--cpu",
    "/runtime/memory_gb": "--memory-gb",
    "/runtime/timeout_s": "--timeout-s",
    "/runtime/gpu": "--gpu",
    "/runtime/concurrency": "--concurrency",
}


class FolderExistsError(Exception):
    """There is something at the new processor's place, and it was not to be replaced."""


@dataclass(frozen=True, slots=True)
class Scaffolded:
    """What was made."""

    plan: Plan
    folder: Path
    files: tuple[str, ...]


def scaffold(plan: Plan, *, force: bool = False, processors: Path = PROCESSORS) -> Scaffolded:
    """Return the processor that was made of *plan* in the folder *processors*.

    The new folder is finished beside its place and then moved there, so a
    failure leaves what there was.

    Args:
        plan: What to make.
        force: Whether a folder that exists is taken over: files of the scaffold are written anew, others stay.
        processors: The folder that holds all processors.

    Raises:
        FolderExistsError: the folder exists and *force* was not given, or it is no plain folder.
        PlanError: the registry's rules refuse a value.
        OSError: the disk is full or not writable.
    """
    target = processors / plan.ref.folder
    _refuse_what_is_there(target, force=force)
    files = render(plan)
    processors.mkdir(parents=True, exist_ok=True)
    # the name begins with a dot: nobody takes it for a processor
    with TemporaryDirectory(prefix=f".{target.name}.", dir=processors) as beside:
        fresh = Path(beside) / target.name
        if target.exists():
            shutil.copytree(target, fresh, symlinks=True, ignore=_known_in(target))
        for path, text in files.items():
            file = fresh / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        _, problems = check(fresh / FILE_NAME)
        if problems:
            raise _blame(problems)
        _swap(fresh, target, Path(beside) / "old")
    return Scaffolded(plan, target, tuple(files))


def _refuse_what_is_there(target: Path, *, force: bool) -> None:
    if not os.path.lexists(target):
        return
    if not force:
        raise FolderExistsError(f"{target.name} exists already: --force writes the scaffold's own files there anew")
    if target.is_symlink() or not target.is_dir():
        raise FolderExistsError(f"{target.name} exists already and is no folder: move it away")
    if (target / "app").is_symlink():
        raise FolderExistsError(f"{target.name}/app is a symbolic link: move it away")


def _known_in(folder: Path) -> Callable[[str, list[str]], list[str]]:
    """Return what tells `shutil.copytree` which files of *folder* are the scaffold's own."""

    def known(where: str, names: list[str]) -> list[str]:
        here = Path(where).relative_to(folder)
        return [name for name in names if name == "__pycache__" or (here / name).as_posix() in FILES]

    return known


def _swap(fresh: Path, target: Path, old: Path) -> None:
    """Move *fresh* to *target*; what is there goes to *old*, and comes back if it cannot be replaced."""
    replacing = target.exists()
    if replacing:
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if replacing:
            old.rename(target)
        raise


def _blame(problems: list[Problem]) -> PlanError | RegistryInvalidError:
    """Return the option that the first problem is about; any other problem is the template's own."""
    option = _OPTIONS.get(problems[0].field)
    return PlanError(f"{option} {problems[0].reason}") if option else RegistryInvalidError(problems)
