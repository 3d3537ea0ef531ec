"""What `modalctl` answers a person: a few lines made of the JSON object that a program gets."""

from collections.abc import Callable, Iterable
from typing import Any

Object = dict[str, Any]


def text_of(action: str, value: Object) -> str:
    """Return the answer *value* of *action* as lines."""
    return "\n".join(_ACTIONS[action](value))


def _deploy(value: Object) -> Iterable[str]:
    plan = value["plan"]
    if value["dry_run"]:
        yield f"would deploy {plan['app']} in {plan['environment']}"
    else:
        deployment = value["deployment"]
        yield f"deployed {plan['app']} in {plan['environment']}"
        yield f"  url        {deployment['url']}"
        yield f"  given      {', '.join(deployment['secrets']) or 'no secrets'}"
    yield f"  image      {plan['image']}"
    yield f"  resources  cpu {plan['cpu']:g}, memory {plan['memory_mib']} MiB, gpu {plan['gpu'] or 'none'}"
    yield f"  limits     {plan['timeout_s']} s a request, {plan['max_inputs']} at a time in a container"
    yield f"  secrets    {', '.join(plan['required_secrets']) or 'none'} required"
    yield f"  access     {'with a proxy token' if plan['proxy_auth'] else 'public: anybody who knows the url'}"


def _status(value: Object) -> Iterable[str]:
    yield f"{value['app']} in {value['environment']}: {value['state']}, version {value['version']}"
    for name in ("ref", "url", "digest", "image_id", "deployed_at"):
        yield f"  {name:<12} {value[name]}"
    yield f"  {'access':<12} {'with a proxy token' if value['proxy_auth'] else 'public'}"
    yield from _table(value["versions"], ("number", "deployed_at", "deployed_by", "tag"))


def _verify(value: Object) -> Iterable[str]:
    code = f"  {value['code']}" if "code" in value else ""
    yield f"{value['verdict']}  {value['app']} in {value['environment']}{code}"
    yield f"  expected  {value['expected']}"
    for finding in value["findings"]:
        yield f"  {finding['evidence']:<8}  {finding['verdict']}: {finding['reason']}"


def _list(value: Object) -> Iterable[str]:
    if not value["apps"]:
        yield f"no processor is deployed in {value['environment']}"
    yield from _table(value["apps"], ("app", "ref", "version", "digest", "branch", "user", "deployed_at"))


def _logs(value: Object) -> Iterable[str]:
    for line in value["lines"]:
        yield line["message"]


def _stop(value: Object) -> Iterable[str]:
    yield f"{'would stop' if value['dry_run'] else 'stopped'} {value['app']} in {value['environment']}"


def _secrets(value: Object) -> Iterable[str]:
    if value["dry_run"]:
        yield f"would become, in {value['environment']}:"
    rows = [{**row, "need": "required" if row["required"] else "optional"} for row in value["secrets"]]
    yield from _table(rows, ("name", "state", "need"))


def _rollback(value: Object) -> Iterable[str]:
    verb = "would take" if value["dry_run"] else "took"
    yield f"{verb} {value['app']} in {value['environment']} from v{value['from']['number']} to v{value['to']['number']}"
    yield f"  {value['to']['tag'] or 'no tag'}  deployed {value['to']['deployed_at']}"


def _gc(value: Object) -> Iterable[str]:
    if not value["gone"]:
        yield "no app's branch is gone"
        return
    yield f"{'would stop' if value['dry_run'] else 'stopped'}, their branches being gone:"
    yield from _table(value["gone"], ("app", "branch", "user", "deployed_at"))


def _table(rows: list[Object], columns: tuple[str, ...]) -> Iterable[str]:
    """Yield *rows* in columns of equal width, under their names; nothing for no rows."""
    if not rows:
        return
    cells = [columns, *(tuple("" if row[name] is None else str(row[name]) for name in columns) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


_ACTIONS: dict[str, Callable[[Object], Iterable[str]]] = {
    "deploy": _deploy,
    "status": _status,
    "verify": _verify,
    "list": _list,
    "logs": _logs,
    "stop": _stop,
    "secrets": _secrets,
    "rollback": _rollback,
    "gc": _gc,
}
