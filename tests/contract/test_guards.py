"""What callers, networks and others with a hand in the artifacts folder may try, and what comes of it (§1 to §7)."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path

import httpx2
import pytest

from tests.contract.conftest import OPTION, SECRET, Services
from tests.contract.discovery import STEPS
from tests.contract.judge import prefix_of, refusal, success
from tests.contract.requests import LIMIT
from tests.support.callers import Callers, answer_on
from tests.support.service import READY, WAIT_S, JsonObject, Service
from tests.support.sse import Stream

JSON = "Content-Type: application/json"
TOKEN = "canary-token-93d2"
MASK = "***"


@pytest.fixture
def callers(steps: Service) -> Iterator[Callers]:
    """Those who call the fixture, with a sync handler and then with an async one."""
    with Callers(steps) as callers:
        yield callers


@pytest.fixture
def plain(services: Services) -> Service:
    """The fixture with a sync handler and mock alone."""
    return services.get(STEPS, PROCESSOR_MODE="mock")


def head(path: str = "/run", *lines: str, method: str = "POST") -> bytes:
    """Return the head of a request, with these header *lines*."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *lines, "", "")).encode("latin-1")


def connect(service: Service) -> socket.socket:
    """Return a connection."""
    return socket.create_connection(("127.0.0.1", service.port), timeout=WAIT_S)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closes *connection* by itself, within its patience for a kept one."""
    connection.settimeout(20)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True


# --- slow and broken senders -----------------------------------------------------------------------------------------


def test_slow_senders_hurt_nobody(plain: Service) -> None:
    """Thirty send head or body byte by byte: they take no place, others are served, and in the end they are too."""
    with Callers(plain) as callers, ExitStack() as connections:
        slow = []
        for number in range(30):
            payload = callers.payload()
            body = json.dumps(payload).encode()
            request = head("/run", JSON, f"Content-Length: {len(body)}") + body
            connection = connections.enter_context(connect(plain))
            begun = 5 if number % 2 else len(request) - len(body) + 5
            connection.sendall(request[:begun])
            slow.append((connection, request, begun, payload))
        for step in range(20):
            for connection, request, begun, _ in slow:
                connection.sendall(request[begun + step : begun + step + 1])
            payload = callers.payload()
            asked = time.monotonic()
            success(plain, plain.post(payload), payload)
            assert time.monotonic() - asked < 5

        for connection, request, begun, payload in slow:
            connection.sendall(request[begun + 20 :])
            success(plain, answer_on(connection), payload)


@pytest.mark.parametrize("path", ["/run", "/run-stream"])
@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_half_a_body_is_no_run(plain: Service, path: str, chunked: bool) -> None:  # noqa: FBT001
    """A client that goes away in the middle has asked for nothing: nothing is written, nothing runs."""
    with Callers(plain) as callers:
        payload = callers.payload()
        body = json.dumps(payload).encode()
        before = plain.tree()
        with connect(plain) as connection:
            if chunked:
                connection.sendall(head(path, JSON, "Transfer-Encoding: chunked"))
                connection.sendall(b"%x\r\n%b\r\n" % (len(body), body))  # all of it, but for the end
            else:
                length = f"Content-Length: {len(body)}"
                connection.sendall(head(path, JSON, length) + body[:-1])
        other = callers.payload()
        success(plain, plain.post(other), other)

        assert plain.tree() - before == {str(p) for p in plain.tree() if other["execution_id"] in str(p)}
        assert plain.lines(event="http.run.start", execution_id=payload["execution_id"]) == []
        assert all(line["level"] != "error" for line in plain.lines(execution_id=payload["execution_id"]))
        success(plain, plain.post(payload), payload)


def test_a_body_that_is_announced_too_large_is_refused_unread(plain: Service) -> None:
    """The answer comes although nothing of the body was sent, and the connection does not hang."""
    before = plain.tree()
    with connect(plain) as run, connect(plain) as stream:
        for path, connection in (("/run", run), ("/run-stream", stream)):
            connection.sendall(head(path, JSON, f"Content-Length: {LIMIT + 1}"))
            refusal(plain, answer_on(connection), "ERR_INPUTS", "Request body too large")
        assert is_closed(run)
        assert is_closed(stream)
    assert plain.tree() == before


def test_a_client_that_asks_before_it_sends_is_told_in_time(plain: Service) -> None:
    """`Expect: 100-continue`: the refusal comes in place of the invitation."""
    with connect(plain) as connection:
        connection.sendall(head("/run", JSON, f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))
        refusal(plain, answer_on(connection), "ERR_INPUTS", "Request body too large")


def test_a_chunked_body_is_refused_once_it_is_too_large(plain: Service) -> None:
    """However much more would come: the answer is there, and the connection does not hang."""
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with connect(plain) as connection:
        connection.sendall(head("/run", JSON, "Transfer-Encoding: chunked"))
        with suppress(BrokenPipeError, ConnectionResetError):  # it may stop reading there
            for _ in range(LIMIT // 65536):
                connection.sendall(chunk)
            connection.sendall(b"1\r\n \r\n")
        refusal(plain, answer_on(connection), "ERR_INPUTS", "Request body too large")
        assert is_closed(connection)


def test_a_client_that_sends_all_of_a_body_too_large_can_read_why(plain: Service) -> None:
    """As ordinary clients do, which read only afterwards; announced and chunked."""
    body = b" " * (LIMIT + 1)
    headers = {"Content-Type": "application/json"}
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    for content in (body, pieces):
        with httpx2.Client(trust_env=False, timeout=WAIT_S) as client:
            answer = client.post(f"http://127.0.0.1:{plain.port}/run", content=content, headers=headers)
        refusal(plain, answer, "ERR_INPUTS", "Request body too large")


def test_the_largest_body_is_taken(plain: Service) -> None:
    """16 MiB to the byte, announced and chunked."""
    with Callers(plain) as callers:
        for chunked in (False, True):
            payload = callers.payload()
            content = json.dumps(payload).encode().ljust(LIMIT)
            pieces = (content[start : start + 65536] for start in range(0, LIMIT, 65536))
            answer = plain.http.post(
                "/run", content=pieces if chunked else content, headers={"Content-Type": "application/json"}
            )
            success(plain, answer, payload)


def test_the_limit_can_be_set(services: Services) -> None:
    """`PROCESSOR_MAX_BODY_BYTES`, to the byte."""
    service = services.get(STEPS, PROCESSOR_MODE="mock", PROCESSOR_MAX_BODY_BYTES="1000")
    headers = {"Content-Type": "application/json"}
    with Callers(service) as callers:
        payload = callers.payload()
        content = json.dumps(payload).encode()

        answer = service.http.post("/run", content=content.ljust(1001), headers=headers)
        refusal(service, answer, "ERR_INPUTS", "Request body too large")
        success(service, service.http.post("/run", content=content.ljust(1000), headers=headers), payload)


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(head("/" + "x" * 100_000), id="long path"),
        pytest.param(head("/healthz?" + "x" * 1_000_000, method="GET"), id="long query"),
        pytest.param(head("/healthz", *(f"X-{n}: {n}" for n in range(20_000)), method="GET"), id="many headers"),
        pytest.param(head("/healthz", "X-Long: " + "x" * 1_000_000, method="GET"), id="long header"),
        pytest.param(head("/healthz", "X" * 100_000 + ": x", method="GET"), id="long header name"),
        pytest.param(head("/healthz", "Content-Length: -1", method="GET"), id="negative length"),
        pytest.param(head("/run", "Content-Length: 5", "Content-Length: 6") + b"{}", id="two lengths"),
        pytest.param(head("/run", "Content-Length: 5", "Transfer-Encoding: chunked") + b"{}", id="length and chunks"),
        pytest.param(head("/run", JSON, "Transfer-Encoding: chunked") + b"zz\r\n", id="bad chunk"),
        pytest.param(head("/healthz", "X-Null: a\x00b", method="GET"), id="null in a header"),
        pytest.param(head("/\xff\xfe", method="GET"), id="path beyond ASCII"),
        pytest.param(head("//healthz", method="GET"), id="two slashes"),
        pytest.param(head("/../../etc/passwd", method="GET"), id="path upwards"),
        pytest.param(head("http://elsewhere/healthz", method="GET"), id="absolute form"),
        pytest.param(head("*", method="OPTIONS"), id="asterisk"),
        pytest.param(head("x:1", method="CONNECT"), id="connect"),
        pytest.param(head("/run", method="NONSENSE"), id="unknown method"),
        pytest.param(b"GET /healthz HTTP/9.9\r\n\r\n", id="unknown version"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"\x00" * 100, id="zeros"),
        pytest.param(b"\r\n" * 1000, id="ends of lines"),
        pytest.param(
            head(
                "/run",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Key: eA==",
                "Sec-WebSocket-Version: 13",
            ),
            id="upgrade",
        ),
    ],
)
def test_an_abusive_request_is_answered_or_dropped(plain: Service, request_bytes: bytes) -> None:
    """A clean answer or a closed connection, never a crash; others are served as before."""
    before = plain.tree()
    crashes = len(crashes_of(plain))

    with connect(plain) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request_bytes)
            connection.shutdown(socket.SHUT_WR)  # nothing more will come
        with suppress(HTTPException, ConnectionResetError):
            response = HTTPResponse(connection, method="GET")
            response.begin()
            body = response.read()
            assert response.status < 500, body
            if response.status in {404, 405}:
                assert json.loads(body)["status"] == "error"

    assert plain.health() == READY
    assert plain.tree() == before
    assert len(crashes_of(plain)) == crashes


def crashes_of(service: Service) -> list[JsonObject]:
    """Return the lines that say that something broke."""
    return [line for line in service.lines() if line["level"] in {"error", "critical"}]


def test_many_connections_that_say_nothing_hurt_nobody(plain: Service) -> None:
    """Three hundred of them."""
    with ExitStack() as connections, Callers(plain) as callers:
        for _ in range(300):
            connections.enter_context(connect(plain))
        payload = callers.payload()
        success(plain, plain.post(payload), payload)
        assert plain.health() == READY


# --- the token -------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(services: Services) -> Service:
    """The fixture with a token."""
    return services.get(STEPS, PROCESSOR_MODE="mock", PROCESSOR_TOKEN=TOKEN)


ROUTES = [
    ("POST", "/run"),
    ("POST", "/run-stream"),
    ("GET", "/run"),
    ("DELETE", "/run/e1"),
    ("GET", "/run/e1"),
    ("GET", "/contract"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/nowhere"),
    ("GET", "/"),
    ("POST", "/run/"),
    ("GET", "/healthz/"),
    ("GET", "//healthz"),
    ("GET", "/HEALTHZ"),
    ("GET", "/healthz/../contract"),
    ("OPTIONS", "/run"),
    ("PUT", "/contract"),
]
WRONG = [
    pytest.param(None, id="none"),
    pytest.param(b"", id="empty"),
    pytest.param(b"Bearer", id="scheme alone"),
    pytest.param(TOKEN.encode(), id="token alone"),
    pytest.param(b"Basic " + TOKEN.encode(), id="another scheme"),
    pytest.param(b"Bearer " + TOKEN[:-1].encode(), id="one letter short"),
    pytest.param(b"Bearer " + TOKEN.encode() + b"x", id="one letter more"),
    pytest.param(b"Bearer " + TOKEN.upper().encode(), id="upper case"),
    pytest.param(b"Bearer x" + TOKEN.encode(), id="something before"),
    pytest.param(b"Bearer \xff\xfe", id="no text"),
    pytest.param("Bearer größe".encode(), id="beyond ASCII"),
    pytest.param(b"Bearer " + b"x" * 50_000, id="very long"),
]


@pytest.mark.parametrize("said", WRONG)
def test_without_the_token_every_route_is_shut(guarded: Service, said: bytes | None) -> None:
    """One answer for all: whatever is asked for, by whatever method, and however wrong the token is."""
    headers = {} if said is None else {b"Authorization": said}
    before = guarded.tree()
    bodies = set()
    for method, path in ROUTES:
        answer = guarded.http.request(method, path, headers=headers, content=b"{}")
        refusal(guarded, answer, "ERR_UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"
        bodies.add(answer.content)
    assert len(bodies) == 1
    assert guarded.tree() == before


def test_the_token_comes_before_the_body(guarded: Service) -> None:
    """What has no right to ask is not read: neither a wrong type nor a large body answers first."""
    with connect(guarded) as connection:
        connection.sendall(head("/run", "Content-Type: text/plain", f"Content-Length: {LIMIT * 100}"))
        refusal(guarded, answer_on(connection), "ERR_UNAUTHORIZED")
        assert is_closed(connection)


def test_health_needs_no_token(guarded: Service) -> None:
    """Whether a wrong one is sent or none."""
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        for method in ("GET", "HEAD"):
            assert guarded.http.request(method, "/healthz", headers=headers).status_code == 200


def test_with_the_token_every_route_is_open(guarded: Service) -> None:
    """Runs, streams, cancels and questions."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with Callers(guarded) as callers:
        payload, streamed, held = callers.payload(), callers.payload(), callers.payload(callers.held(callers.gate()))
        success(guarded, guarded.post(payload, headers), payload)
        with Stream.opened(guarded, streamed, headers) as stream:
            assert stream.checked(streamed["execution_id"])[-1].data["status"] == "success"
        with Stream.opened(guarded, held, headers) as stream:
            cancelled = guarded.http.delete(f"/run/{held['execution_id']}", headers=headers)
            assert cancelled.status_code == 202
            assert stream.until("done").data["error"]["code"] == "ERR_CANCELLED"
    assert guarded.http.get("/contract", headers=headers).status_code == 200
    assert guarded.http.get("/openapi.json", headers=headers).status_code == 200
    assert guarded.http.get("/nowhere", headers=headers).status_code == 404


def test_a_cancel_without_the_token_cancels_nothing(guarded: Service) -> None:
    """It is refused before anything is looked at."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with Callers(guarded) as callers:
        gate = callers.gate()
        payload = callers.payload(callers.held(gate))
        answer = callers.run(payload, headers)
        guarded.wait_for_mark(f"{gate}.began")

        refusal(guarded, callers.cancel(payload["execution_id"]), "ERR_UNAUTHORIZED")
        guarded.allow(gate)

        success(guarded, answer.result(), payload)


# --- links -----------------------------------------------------------------------------------------------------------

LINKS = ["outputs", "outputs/text.txt", "outputs.json", "receipt.json", "logs", "logs/trace.ndjson"]


def elsewhere(tmp_path: Path) -> Path:
    """Return a folder outside of every write root, with a file in it; `/tmp` is a root, so tests take the root away."""
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    return outside


@pytest.fixture
def rooted(services: Services) -> Service:
    """The fixture that may write below `/artifacts` alone."""
    return services.get(STEPS, PROCESSOR_MODE="mock", PROCESSOR_WRITE_ROOTS="/artifacts")


@pytest.mark.parametrize("name", LINKS)
def test_a_link_that_waits_in_the_prefix_is_not_followed(rooted: Service, tmp_path: Path, name: str) -> None:
    """Where a file or folder of the run is to be, a link leads elsewhere: nothing is written there."""
    outside = elsewhere(tmp_path)
    with Callers(rooted) as callers:
        payload = callers.payload()
        link = rooted.file(prefix_of(payload)) / name
        link.parent.mkdir(parents=True)
        link.symlink_to(outside / "kept.txt" if "." in name else outside)

        answer = rooted.post(payload)

    assert listing(outside) == {"kept.txt": b"kept"}
    envelope = answer.json()
    assert envelope["status"] == "success" or envelope["error"]["code"] in {
        "ERR_OUTPUT_PATH",
        "ERR_STORAGE",
        "ERR_WRITE_PREFIX",
        "ERR_EXECUTION_CONFLICT",
    }
    if envelope["status"] == "success":
        success(rooted, answer, payload)


def test_a_prefix_that_is_a_link_out_of_the_roots_is_refused(rooted: Service, tmp_path: Path) -> None:
    """Also where a folder above it is one."""
    outside = elsewhere(tmp_path)
    with Callers(rooted) as callers:
        for suffix in ("", "below/it/"):
            payload = callers.payload()
            link = rooted.file(prefix_of(payload)).parent / payload["execution_id"]
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(outside)
            payload["write_prefix"] += suffix

            refusal(rooted, rooted.post(payload), "ERR_WRITE_PREFIX", execution_id=payload["execution_id"])
    assert listing(outside) == {"kept.txt": b"kept"}


@pytest.mark.parametrize(
    "name", ["", "outputs", "outputs/deep", "outputs/deep/x", "outputs.json", "receipt.json", "logs"]
)
def test_a_link_that_comes_while_a_run_goes_on_is_not_followed(rooted: Service, tmp_path: Path, name: str) -> None:
    """Swapped in behind the handler's back, in place of what the run has made or is about to make."""
    outside = elsewhere(tmp_path)
    with Callers(rooted) as callers:
        gate = callers.gate()
        payload = callers.payload(
            ["write", "outputs/deep/x/part.txt", "first"],
            ["wait", gate],
            ["write", "outputs/deep/y/part.txt", "second"],
            ["write_size", "outputs/blob.bin", 100_000],
        )
        answer = callers.running(gate, payload)
        link = rooted.file(prefix_of(payload)) / name
        if link.exists():
            link.rename(tmp_path / "moved")
        link.symlink_to(outside / "kept.txt" if name.endswith("json") else outside)
        rooted.allow(gate)
        envelope = answer.result().json()

    assert listing(outside) == {"kept.txt": b"kept"}
    assert envelope["status"] in {"success", "error"}
    assert rooted.health() == READY


def test_links_that_come_and_go_are_never_followed(rooted: Service, tmp_path: Path) -> None:
    """Somebody swaps the folders of a prefix for links as fast as he can while the run goes on, again and again."""
    outside = elsewhere(tmp_path)
    done = threading.Event()

    def swap(folder: Path) -> None:
        while not done.is_set():
            for name in ("outputs", "logs", "."):
                path = (folder / name).resolve() if name == "." else folder / name
                with suppress(OSError):
                    path.rename(tmp_path / f"moved-{folder.name}-{path.name}")
                    path.symlink_to(outside)
                with suppress(OSError):
                    path.unlink()
                    (tmp_path / f"moved-{folder.name}-{path.name}").rename(path)

    statuses = []
    with Callers(rooted) as callers:
        for _ in range(30):
            payload = callers.payload(
                *(["write", f"outputs/deep/{number}/part.txt", "x"] for number in range(10)),
                *(["write_bytes", f"outputs/page-{number}.png", "00"] for number in range(10)),
            )
            folder = rooted.file(prefix_of(payload))
            folder.mkdir(parents=True)
            thread = threading.Thread(target=swap, args=(folder,))
            thread.start()
            try:
                statuses.append(rooted.post(payload).json()["status"])
            finally:
                done.set()
                thread.join()
                done.clear()

    assert listing(outside) == {"kept.txt": b"kept"}
    assert len(statuses) == 30
    assert rooted.health() == READY


def test_a_receipt_that_is_a_link_is_not_believed(rooted: Service, tmp_path: Path) -> None:
    """A success that lies elsewhere is nobody's answer here, and is not written over."""
    outside = elsewhere(tmp_path)
    with Callers(rooted) as callers:
        payload = callers.payload()
        rooted.run(payload)
        receipt = rooted.file(f"{prefix_of(payload)}receipt.json")
        forged = outside / "receipt.json"
        forged.write_bytes(receipt.read_bytes().replace(b'"extra":{}', b'"extra":{"forged":1}'))
        before = listing(outside)
        receipt.unlink()
        receipt.symlink_to(forged)

        answer = rooted.post(payload)

    assert "forged" not in answer.text
    assert listing(outside) == before


def listing(folder: Path) -> dict[str, bytes]:
    """Return what lies in *folder*."""
    return {path.name: path.read_bytes() if path.is_file() else b"(a folder)" for path in folder.rglob("*")}


# --- secrets ---------------------------------------------------------------------------------------------------------

AWKWARD = 'canary "quoted" \\back/slash\n\tnew größe \U0001f600 </end>'


@pytest.fixture
def secretive(services: Services) -> Service:
    """The fixture with secrets that JSON has to escape, and a token."""
    return services.get(STEPS, FIX_SECRET=AWKWARD, FIX_OPTION=OPTION, PROCESSOR_TOKEN=TOKEN)


def spellings(secret: str) -> list[bytes]:
    """Return how *secret* could stand in a file of JSON or text."""
    ascii_only = json.dumps(secret)[1:-1]
    plain = json.dumps(secret, ensure_ascii=False)[1:-1]
    return [text.encode() for text in {secret, ascii_only, plain, plain.replace("/", "\\/")}]


def check_no_secret(content: bytes, where: str, *secrets: str) -> None:
    """Fail if one of *secrets* stands in *content* in any spelling."""
    found = [secret for secret in secrets for spelling in spellings(secret) if spelling in content]
    assert found == [], f"in {where}"


@pytest.mark.parametrize("path", ["/run", "/run-stream"])
def test_secrets_are_masked_wherever_a_run_tells_them(secretive: Service, path: str) -> None:
    """Answer, events, receipt, mirror and log, nested and escaped; the artifact itself is as the handler wrote it."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with Callers(secretive) as callers:
        context = {"token": f"is {TOKEN}", "nested": [{"secret": AWKWARD}]}
        payload = callers.exactly(
            ["token", f"say {AWKWARD} and"],
            ["token", OPTION],
            ["progress", 0.5, f"{OPTION}{AWKWARD}"],
            ["log", "told", {"a": {"b": [AWKWARD, OPTION, TOKEN]}, "c": json.dumps({"x": AWKWARD})}],
            ["extra", {"deep": [[{"x": f"<{AWKWARD}>"}], OPTION], "fine": "shown"}],
            ["print", 1, f"printed {OPTION}"],
            ["spread_secret"],
            mode="real",
            context=context,
        )

        answer = secretive.http.post(path, json=payload, headers=headers)
        assert answer.status_code == 200, answer.text

        folder = secretive.file(prefix_of(payload))
        secretive.wait_for_line(event="http.run.settle", execution_id=payload["execution_id"])
        told = [(path, answer.content)]
        told += [(name, (folder / name).read_bytes()) for name in ("receipt.json", "outputs.json", "logs/trace.ndjson")]
        told += [("stderr", secretive.stderr().encode())]
        for where, content in told:
            check_no_secret(content, where, AWKWARD, OPTION, TOKEN)
            assert MASK.encode() in content or where == "outputs.json"
        receipt = json.loads((folder / "receipt.json").read_bytes())
        assert receipt["context"] == {"token": f"is {MASK}", "nested": [{"secret": MASK}]}
        assert receipt["envelope"]["meta"]["extra"]["fine"] == "shown"
        assert (folder / "outputs" / "text.txt").read_text("utf-8") == AWKWARD


def test_secrets_are_masked_in_refusals_and_errors(secretive: Service) -> None:
    """A handler that quotes one to blame the caller, and one that fails with it in its hands."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with Callers(secretive) as callers:
        blamed = callers.exactly(
            ["inputs_error", [{"path": "/inputs/params", "message": f"not {AWKWARD}"}]], mode="real"
        )
        failed = callers.exactly(["raise_secret"], mode="real")
        provider = callers.exactly(["provider_error", False, f"{OPTION} {AWKWARD}"], mode="real")
        for payload, code in ((blamed, "ERR_INPUTS"), (failed, "ERR_RUNTIME"), (provider, "ERR_PROVIDER")):
            answer = secretive.post(payload, headers)
            assert answer.json()["error"]["code"] == code
            check_no_secret(answer.content, code, AWKWARD, OPTION, TOKEN)
            receipt = secretive.file(f"{prefix_of(payload)}receipt.json").read_bytes()
            check_no_secret(receipt, "receipt", AWKWARD, OPTION, TOKEN)
        refused = secretive.post(callers.payload(mode=AWKWARD, schema=OPTION), headers)
        check_no_secret(refused.content, "a refusal", AWKWARD, OPTION, TOKEN)
        unknown = secretive.http.get(f"/nowhere?x={TOKEN}", headers=headers)
        check_no_secret(unknown.content, "404", TOKEN)
    check_no_secret(secretive.stderr().encode(), "stderr", AWKWARD, OPTION, TOKEN)


def test_short_secrets_and_what_is_no_string_value_stay(tmp_path: Path) -> None:
    """Seven characters are too common to hide; keys, paths and ids are what others rely on."""
    service = Service(STEPS, tmp_path, {"FIX_SECRET": "exactly8", "FIX_OPTION": "seven77"}).start()
    try:  # no `with`: that finds the secret on stderr, where it is an id
        payload = Callers(service).payload(
            ["extra", {"short": "seven77", "long": "exactly8", "exactly8": 1}],
            mode="real",
            execution_id="exactly8",
            context={"exactly8": "seven77"},
        )
        envelope = service.run(payload)
        receipt = json.loads(service.file(f"{prefix_of(payload)}receipt.json").read_bytes())
    finally:
        service.stop()

    assert envelope["meta"]["extra"] == {"short": "seven77", "long": MASK, "exactly8": 1}
    assert envelope["execution_id"] == "exactly8"
    assert envelope["outputs"][0]["path"] == "/artifacts/outputs/exactly8/outputs/text.txt"
    assert receipt["context"] == {"exactly8": "seven77"}


def test_a_stream_masks_a_secret_that_the_handler_streams(callers: Callers) -> None:
    """Each token that holds it whole."""
    payload = callers.payload(["token", f"a {SECRET} b"], ["token", f" {OPTION}"], mode="real")

    with Stream.opened(callers.service, payload) as stream:
        events = stream.checked(payload["execution_id"])

    assert "".join(event.data["text"] for event in events if event.name == "token") == f"a {MASK} b {MASK}"
