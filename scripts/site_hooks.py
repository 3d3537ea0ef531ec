"""What MkDocs itself cannot say in mkdocs.yml: a folder's pages, listed by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace each folder in the navigation by its pages, so that a new one is never forgotten."""
    config.nav = [_expanded(entry, Path(config.docs_dir)) for entry in config.nav or []]
    return config


def _expanded(entry: Any, docs: Path) -> Any:
    if isinstance(entry, dict):
        return {title: _expanded(value, docs) for title, value in entry.items()}
    if isinstance(entry, str) and entry.endswith("/"):
        return pages(docs / entry, docs)
    return entry


def pages(folder: Path, docs: Path) -> list[str]:
    """Return the Markdown pages of *folder* as paths below *docs*: index.md first, then by name."""
    found = sorted(folder.glob("*.md"), key=lambda path: (path.name != "index.md", path.name))
    return [path.relative_to(docs).as_posix() for path in found]
