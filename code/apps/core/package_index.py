"""Let uv, and pip in a build, use the package index that pip on this machine was told to use."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

_UV_SETTINGS = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_CONFIG_FILE")


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to add to *environ* so that uv asks pip's index; none where uv has settings of its own.

    Only the one index that replaces the public one is carried over: pip and uv choose differently among several.
    """
    if any(environ.get(name) for name in _UV_SETTINGS):
        return {}
    settings = _pip_settings(environ)
    index = environ.get("PIP_INDEX_URL") or settings.get("index-url")
    certificates = environ.get("PIP_CERT") or settings.get("cert")
    added = {"UV_DEFAULT_INDEX": index} if index else {}
    if certificates and not environ.get("SSL_CERT_FILE"):
        added["SSL_CERT_FILE"] = certificates
    return added


def build_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to add to *environ* so that pip asks the same index in the build of an image.

    They are those that a Dockerfile takes as arguments; none for an index that no container reaches.
    """
    settings = _pip_settings(environ)
    index = environ.get("PIP_INDEX_URL") or settings.get("index-url", "")
    trusted = environ.get("PIP_TRUSTED_HOST") or settings.get("trusted-host", "")
    if not index.startswith(("https://", "http://")):
        return {}
    return {"PIP_INDEX_URL": index, **({"PIP_TRUSTED_HOST": " ".join(trusted.split())} if trusted else {})}


def _pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    # Read here and not by `pip config`: the environment that uv keeps has no pip
    own = environ.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:
        return {}
    home = Path(environ.get("HOME") or "/")
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    parser = configparser.RawConfigParser(strict=False)
    # pip's order, the last one wins: machine, user, the file that the environment names
    parser.read(
        [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf", user, *filter(None, [own])]
    )
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found |= dict(parser.items(section))
    return found
