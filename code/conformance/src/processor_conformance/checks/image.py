"""§9: what an image is made of, seen from outside."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from processor_conformance.catalogue import check, unseen
from processor_conformance.outcome import NotCheckedError, brief, expect
from processor_conformance.service import Service

CMD: Final = ["uvicorn", "app.http:app", "--host", "0.0.0.0", "--port", "8000"]  # noqa: S104  # the contract's own
DOCKER_S: Final = 60.0


async def _docker(*words: str) -> tuple[int, str]:
    """Return exit status and output of one docker command.

    Raises:
        NotCheckedError: there is no docker.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            "docker", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as exc:
        raise NotCheckedError("docker") from exc
    async with asyncio.timeout(DOCKER_S):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")


async def _config(service: Service) -> tuple[str, dict[str, Any]]:
    sent = f"docker image inspect {service.image}"
    status, output = await _docker("image", "inspect", service.image, "--format", "{{json .Config}}")
    expect(status == 0, sent=sent, expected="the image's configuration", seen=brief(output))
    config: dict[str, Any] = json.loads(output)
    return sent, config


async def _python(service: Service, code: str) -> tuple[str, int, str]:
    """Return what was sent, and exit status and output of *code* in the image."""
    words = ["run", "--rm", "--network", "none", "--entrypoint", "python", service.image, "-c", code]
    return (f"python in {service.image}", *await _docker(*words))


@check("C-IMAGE-01", "9", image=True)
async def cmd(service: Service) -> None:
    """CMD is `["uvicorn", "app.http:app", "--host", "0.0.0.0", "--port", "8000"]`."""
    sent, config = await _config(service)
    expect(config.get("Cmd") == CMD, sent=sent, expected=f"CMD {CMD}", seen=config.get("Cmd"))


@check("C-IMAGE-02", "9", image=True)
async def healthcheck(service: Service) -> None:
    """HEALTHCHECK asks `/healthz` in exec form, without curl."""
    sent, config = await _config(service)
    test = (config.get("Healthcheck") or {}).get("Test") or []
    good = test[:1] == ["CMD"] and "/healthz" in " ".join(test) and "curl" not in " ".join(test)
    expect(good, sent=sent, expected="a HEALTHCHECK in exec form that asks /healthz without curl", seen=test)


@check("C-IMAGE-03", "9", image=True)
async def entrypoint(service: Service) -> None:
    """ENTRYPOINT is unset or `exec "$@"`."""
    sent, config = await _config(service)
    words = config.get("Entrypoint") or []
    good = not words or 'exec "$@"' in " ".join(words)
    if not good and len(words) == 1:
        status, script = await _docker("run", "--rm", "--entrypoint", "cat", service.image, words[0])
        good = status == 0 and 'exec "$@"' in script
    expect(good, sent=sent, expected='no ENTRYPOINT, or one that ends in exec "$@"', seen=words)


@check("C-IMAGE-04", "9", image=True)
async def user(service: Service) -> None:
    """It does not run as root."""
    sent, config = await _config(service)
    name = str(config.get("User") or "").partition(":")[0]
    expect(name not in {"", "0", "root"}, sent=sent, expected="a USER other than root", seen=name or "none")


@check("C-IMAGE-05", "9", image=True)
async def importable(service: Service) -> None:
    """`app.http` is importable whatever the working directory."""
    code = "import os; os.chdir('/'); import importlib.util as u; raise SystemExit(u.find_spec('app.http') is None)"
    sent, status, output = await _python(service, code)
    expect(status == 0, sent=sent, expected="app.http to be found from /", seen=brief(output) or "it is not found")


@check("C-IMAGE-06", "9", image=True)
async def no_django(service: Service) -> None:
    """There is no Django in it."""
    code = "import importlib.util as u; raise SystemExit(u.find_spec('django') is not None)"
    sent, status, output = await _python(service, code)
    expect(status == 0, sent=sent, expected="no module django", seen=brief(output) or "it is there")


@check("C-IMAGE-07", "8", image=True)
async def no_pins(service: Service) -> None:
    """Its registry holds no pins."""
    code = (
        "import os, pathlib, importlib.util as u; p = pathlib.Path(u.find_spec('app').submodule_search_locations[0]);"
        "print(*(f.read_text() for f in p.parent.glob('registry.*')))"
    )
    sent, status, output = await _python(service, code)
    expect(status == 0 and output.strip(), sent=sent, expected="a registry beside app/", seen=brief(output))
    expect("@sha256:" not in output, sent=sent, expected="no digest in it", seen=brief(output))


unseen(
    "C-IMAGE-08",
    "9",
    "There is no console script, `__main__`, argument parser or stdin/stdout path of the processor's own.",
    "an image may hold tools of others: read its source",
)
