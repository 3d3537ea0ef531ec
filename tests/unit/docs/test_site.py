"""The documentation site: complete, strict, and silent towards other hosts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scripts.site_hooks import pages

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
MKDOCS = Path(sys.executable).with_name("mkdocs")


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Return how the strict build of the site whose mkdocs.yml lies in *folder* ended."""
    return subprocess.run(
        [MKDOCS, "build", "--strict", "--site-dir", site],
        cwd=folder,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, just built."""
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stdout
    return folder


class Fetched(HTMLParser):
    """Collects the addresses that a browser fetches by itself: not those of links that a reader may click."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep every `src`, and `href` of a `link`; the canonical address is no request."""
        values = dict(attrs)
        self.addresses += [values[name] or "" for name in ("src", "data", "poster") if name in values]
        if tag == "link" and values.get("rel") != "canonical":
            self.addresses.append(values.get("href") or "")


def far(html: str) -> list[str]:
    """Return the addresses on other hosts that a browser fetches when it shows *html*."""
    parser = Fetched()
    parser.feed(html)
    imported = re.findall(r"@import\s+(?:url\()?[\"']?([^\"')\s]+)", html)
    return [address for address in (*parser.addresses, *imported) if re.match(r"(?:[a-z]+:)?//", address)]


def test_no_page_fetches_anything_from_another_host(site: Path) -> None:
    """No fonts, scripts, styles or pictures from elsewhere, and no element that makes the theme fetch one."""
    html = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}

    assert len(html) > 10
    assert {str(path): found for path, text in html.items() if (found := far(text))} == {}
    # the theme's script fetches Mermaid from a CDN where it sees this class, and a star count where there is a repo
    assert [
        path for path, text in html.items() if 'class="mermaid"' in text or "data-md-component=source" in text
    ] == []


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="preconnect" href="//fonts.example">',
        "<style>@import url('https://fonts.example/x.css')</style>",
    ],
)
def test_an_address_elsewhere_is_found(html: str) -> None:
    """What the test above looks for, it would see."""
    assert far(html) != []
    assert far('<a href="https://example.com">a link is no request</a>') == []


@pytest.mark.parametrize("folder", ["guides", "runbooks", "architecture", "adr"])
def test_a_folder_lists_its_pages_by_itself(site: Path, folder: str) -> None:
    """Each page of the folder is in the navigation of the front page."""
    front = (site / "index.html").read_text(encoding="utf-8")
    listed = pages(DOCS / folder, DOCS)

    assert listed
    assert [page for page in listed if f'href="{page.removesuffix(".md")}.html"' not in front] == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"docs/index.md": "[gone](nowhere.md)"}, "nowhere.md", id="a link to no page"),
        pytest.param({"docs/index.md": "[gone](contract/errors.md#nothing)"}, "nothing", id="a link to no anchor"),
        pytest.param({"docs/contract/forgotten.md": "# Forgotten"}, "forgotten.md", id="a page that nothing lists"),
    ],
)
def test_a_strict_build_fails(tmp_path: Path, change: dict[str, str], complaint: str) -> None:
    """What a reader would stumble over stops `make check`, with its name."""
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in change.items():
        (tmp_path / path).write_text(text + "\n", encoding="utf-8")

    done = build(tmp_path, tmp_path / "site")

    assert done.returncode != 0
    assert complaint in done.stdout


def test_each_diagram_is_also_said_in_words() -> None:
    """On the site a diagram is its source: the paragraph after it is what one reads."""
    silent = []
    for path in DOCS.rglob("*.md"):
        parts = re.split(r"(?ms)^```mermaid\n.*?^```\n", path.read_text(encoding="utf-8"))
        silent += [str(path) for after in parts[1:] if not after.lstrip().startswith("In words: ")]

    assert silent == []
