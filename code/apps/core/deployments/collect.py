"""Apps in dev whose branch is gone: found by what git knows, never by age."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from apps.core.adapters.modal.lanes import git
from apps.core.adapters.modal.naming import tag_of
from processor_runtime.errors import Detail, InputsError

if TYPE_CHECKING:
    from .apps import AppRow


@dataclass(frozen=True, slots=True)
class Branches:
    """The branches that there are.

    Attributes:
        local: In this checkout, `""` included for none.
        remote: In the repository that it came from.
    """

    local: frozenset[str]
    remote: frozenset[str]


def branches(folder: Path, environ: Mapping[str, str]) -> Branches:
    """Return the branches that exist here and where this checkout came from, asked anew.

    Raises:
        InputsError: git cannot say, so that every branch would seem to be gone.
    """
    local = git(folder, environ, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads")
    remotes = git(folder, environ, "remote")
    if local is None or remotes is None:
        raise InputsError(Detail(path="git", message="no repository here: run it in a checkout"))
    remote: set[str] = set()
    for name in remotes.split():
        heads = git(folder, environ, "ls-remote", "--heads", name)
        if heads is None:
            raise InputsError(Detail(path=f"git ls-remote {name}", message="failed: without it branches seem gone"))
        remote |= {line.partition("\trefs/heads/")[2] for line in heads.splitlines()}
    return Branches(frozenset(local.splitlines()), frozenset(remote))


def gone(rows: Iterable["AppRow"], there: Branches, user: str, *, all_users: bool) -> list["AppRow"]:
    """Return those of *rows* whose branch is gone.

    Args:
        rows: Apps of dev.
        there: The branches that exist.
        user: Whose apps are looked at.
        all_users: Look at everybody's. A branch that somebody has not pushed
            is gone then: nobody else can know of it.
    """
    alive = {tag_of(branch) for branch in there.local | there.remote}
    return [row for row in rows if row.branch and row.branch not in alive and (all_users or row.user == tag_of(user))]
