"""uv asks the package index that pip was told to ask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from apps.core.package_index import build_environment
from scripts.package_index import uv_environment


@pytest.fixture
def no_settings(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which pip finds no settings file."""
    return {"PIP_CONFIG_FILE": "/dev/null", "HOME": str(tmp_path)}


def test_without_settings_uv_is_left_alone(no_settings: dict[str, str]) -> None:
    """The public index needs no word from us."""
    assert uv_environment(no_settings) == {}


def test_the_index_of_pips_environment_is_handed_on(no_settings: dict[str, str]) -> None:
    """`PIP_INDEX_URL` and `PIP_CERT` reach uv under its own names."""
    environ = no_settings | {"PIP_INDEX_URL": "https://index.example/simple", "PIP_CERT": "/etc/ca.pem"}

    assert uv_environment(environ) == {
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "SSL_CERT_FILE": "/etc/ca.pem",
    }


def test_the_index_of_pips_settings_file_is_handed_on(no_settings: dict[str, str], tmp_path: Path) -> None:
    """So is what a machine's pip.conf says."""
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nindex-url = https://index.example/simple\n", encoding="utf-8")

    added = uv_environment(no_settings | {"PIP_CONFIG_FILE": str(settings)})

    assert added["UV_DEFAULT_INDEX"] == "https://index.example/simple"


def test_uvs_own_settings_win(no_settings: dict[str, str]) -> None:
    """Who configured uv meant it."""
    environ = no_settings | {"PIP_INDEX_URL": "https://a.example", "UV_DEFAULT_INDEX": "https://b.example"}

    assert uv_environment(environ) == {}


def test_it_can_be_read_before_anything_is_installed() -> None:
    """`scripts.venv` asks it with a bare Python, whose only packages are the standard library's."""
    root = Path(__file__).resolve().parents[3]
    program = (
        "from scripts.package_index import uv_environment; print(uv_environment({'PIP_CONFIG_FILE': '/dev/null'}))"
    )

    done = subprocess.run([sys.executable, "-S", "-c", program], cwd=root, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("{}\n", "")


@pytest.mark.parametrize(
    ("environ", "settings", "told"),
    [
        pytest.param({}, "", {}, id="nothing said"),
        pytest.param(
            {"PIP_INDEX_URL": "https://index.example/simple", "PIP_TRUSTED_HOST": "index.example"},
            "",
            {"PIP_INDEX_URL": "https://index.example/simple", "PIP_TRUSTED_HOST": "index.example"},
            id="by the environment",
        ),
        pytest.param(
            {},
            "[global]\nindex-url = http://index.example/simple\ntrusted-host =\n  index.example\n  other.example\n",
            {"PIP_INDEX_URL": "http://index.example/simple", "PIP_TRUSTED_HOST": "index.example other.example"},
            id="by the settings file",
        ),
        pytest.param({"PIP_INDEX_URL": "file:///opt/index"}, "", {}, id="an index that no container reaches"),
    ],
)
def test_a_build_asks_the_index_that_pip_asks_here(
    tmp_path: Path, environ: dict[str, str], settings: str, told: dict[str, str]
) -> None:
    """Under the names that a Dockerfile takes as arguments."""
    file = tmp_path / "pip.conf"
    file.write_text(settings, encoding="utf-8")

    assert build_environment({"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(file), **environ}) == told
