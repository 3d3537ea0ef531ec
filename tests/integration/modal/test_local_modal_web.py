"""The web half of the local Modal: proxy authorization, redirects, streams, time limits, and what goes wrong."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import httpx2
import modal
import pytest

from tests.local_modal import reply
from tests.local_modal.deployer import OTHER, Deployer
from tests.local_modal.listener import loopback_socket
from tests.local_modal.web import CALL_ID

pytestmark = pytest.mark.slow  # most tests start a container, or the command line

PLENTY_S = 60.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds."""
    until = time.monotonic() + PLENTY_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


REFUSED = [
    pytest.param({}, "missing credentials for proxy authorization", id="none"),
    pytest.param({"Modal-Key": "wk-wrong", "Modal-Secret": "ws-wrong"}, "invalid credentials", id="wrong"),
]


@pytest.mark.parametrize(("headers", "text"), REFUSED)
def test_a_request_without_the_proxy_token_is_refused(deployer: Deployer, headers: dict[str, str], text: str) -> None:
    """By Modal's proxy, in plain text; no container starts."""
    answer = deployer.deploy().ask("echo", headers=headers)

    assert (answer.status_code, answer.headers["content-type"]) == (401, "text/plain; charset=utf-8")
    assert answer.text.startswith(f"modal-http: {text}")
    assert not deployer.cloud.container_calls


def test_a_public_function_needs_no_token(deployer: Deployer) -> None:
    """As whoever forgets `requires_proxy_auth` finds out."""
    assert deployer.deploy(proxy_auth=False).ask("echo", "open", headers={}).status_code == 200


def test_a_proxy_token_opens_the_environments_that_it_is_allowed(deployer: Deployer, client: modal.Client) -> None:
    """And no other; a revoked one opens none."""
    tokens = modal.Workspace.from_context(client=client).proxy_tokens
    token = tokens.create("caller")
    headers = {"Modal-Key": token.token_id, "Modal-Secret": token.token_secret}
    deployed = deployer.deploy()

    assert deployed.ask("echo", headers=headers).status_code == 401
    tokens.allow(token.token_id, "dev")
    assert [row.token_id for row in tokens.list("dev")] == [token.token_id]
    assert deployed.ask("echo", headers=headers).status_code == 200
    tokens.revoke(token.token_id, "dev")
    assert deployed.ask("echo", headers=headers).status_code == 401


def test_a_slow_answer_is_fetched_from_the_results_address(deployer: Deployer, tmp_path: Path) -> None:
    """303 after the limit, and again on each hop, until the one run that there is has answered."""
    deployed = deployer.deploy()
    deployed.ask("echo")  # the start of a container counts too
    deployer.cloud.web.request_limit_s = 0.2

    first = deployed.ask("wait", str(tmp_path / "go"))
    location = first.headers["location"]
    again = httpx2.get(location, headers=deployed.headers)
    (tmp_path / "go").touch()
    deployer.cloud.web.request_limit_s = PLENTY_S
    last = httpx2.get(location, headers=deployed.headers, timeout=PLENTY_S)

    assert (first.status_code, again.status_code, again.headers["location"]) == (303, 303, location)
    assert location.startswith(f"{deployed.url}/wait?{CALL_ID}=fc-")
    assert (last.status_code, last.text) == (200, "waited")
    assert httpx2.get(location, headers=deployed.headers).text == "waited"  # it may be fetched once more


def test_the_results_address_takes_no_second_run(deployer: Deployer, tmp_path: Path) -> None:
    """A POST to it, an unknown call and a missing token are each refused."""
    deployed = deployer.deploy()
    deployer.cloud.web.request_limit_s = 0.1
    location = deployed.ask("wait", str(tmp_path / "never")).headers["location"]

    posted = httpx2.post(location, headers=deployed.headers)
    unknown = httpx2.get(f"{deployed.url}/wait?{CALL_ID}=fc-unknown", headers=deployed.headers)
    open_ = httpx2.get(location)

    assert (posted.status_code, posted.text) == (400, "modal-http: bad redirect method")
    assert (unknown.status_code, unknown.text) == (404, "modal-http: invalid function call")
    assert open_.status_code == 401


def test_a_stream_arrives_while_it_is_made(deployer: Deployer) -> None:
    """The second event is not made before the first was read."""
    deployed = deployer.deploy()
    artifacts = Path(deployed.ask("environ").json()["PROCESSOR_ARTIFACTS_DIR"])

    read = []
    with httpx2.stream("POST", f"{deployed.url}/stream", content="3", headers=deployed.headers, timeout=60) as answer:
        for line in answer.iter_lines():
            if line:
                read.append(line)
                (artifacts / str(len(read))).touch()

    assert answer.headers["content-type"] == "text/event-stream"
    assert read == ["data: 0", "data: 1", "data: 2"]


def test_an_app_is_told_that_its_client_left(deployer: Deployer, tmp_path: Path) -> None:
    """By `http.disconnect`, once the connection is closed."""
    deployed = deployer.deploy()
    note = tmp_path / "note"

    with closing(HTTPConnection(deployed.url.removeprefix("http://"))) as connection:
        connection.request("POST", "/disconnect", str(note), deployed.headers)
        wait_until(lambda: note.exists() and note.read_text() == "asked")

    wait_until(lambda: note.read_text() == "http.disconnect")


def test_a_body_of_some_megabytes_arrives_whole(deployer: Deployer) -> None:
    """In pieces, both ways."""
    text = "0123456789" * 300_000

    assert deployer.deploy().ask("echo", text).json()["length"] == len(text)


def test_a_run_past_the_functions_time_limit_is_ended(deployer: Deployer, tmp_path: Path) -> None:
    """500 in Modal's words; the container goes on with others."""
    deployed = deployer.deploy(timeout=3, startup_timeout=60)

    late = deployed.ask("wait", str(tmp_path / "never"))

    assert (late.status_code, late.text) == (500, "modal-http: internal error: function execution timed out")
    assert deployed.ask("echo", "on").json()["text"] == "on"
    hellos = [call for call in deployer.cloud.container_calls if call.rpc == "ContainerHello"]
    assert len(hellos) == 1


def test_a_container_that_does_not_start_in_time_is_ended(deployer: Deployer, tmp_path: Path) -> None:
    """It hangs on import: whoever waits is told after the function's startup timeout."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "http.py").write_text("import threading\nthreading.Event().wait()\n")
    deployer.image(folder=tmp_path)

    late = deployer.deploy(startup_timeout=2).ask("echo")

    assert (late.status_code, late.text) == (500, "modal-http: internal error: function execution timed out")


def test_requests_share_a_container_up_to_its_limit(deployer: Deployer, tmp_path: Path) -> None:
    """Four at once, as deployed; the fifth waits until one of them has ended."""
    deployed = deployer.deploy()
    deployed.ask("echo")
    calls = deployer.cloud.container_calls
    calls.clear()
    go = [tmp_path / str(number) for number in range(5)]

    def begun() -> int:
        return len([call for call in calls if call.rpc == "FunctionCallGetDataIn"])

    with ThreadPoolExecutor(5) as threads:
        waiting = [threads.submit(deployed.ask, "wait", str(path)) for path in go]
        deployer.cloud.web.wait_for_requests(6)
        wait_until(lambda: begun() >= 4)
        assert begun() == 4
        for path in go:
            path.touch()

    assert [each.result().text for each in waiting] == ["waited"] * 5
    assert begun() == 5
    assert not [call for call in calls if call.rpc == "ContainerHello"]


def test_a_crash_is_told_and_the_next_request_gets_a_new_container(deployer: Deployer) -> None:
    """As when the memory is full: killed by a signal."""
    deployed = deployer.deploy()

    crashed = deployed.ask("crash")

    assert (crashed.status_code, crashed.text) == (
        500,
        "modal-http: internal error: function was terminated by signal",
    )
    assert deployed.ask("echo", "again").json()["text"] == "again"


def test_an_app_that_raises_is_told(deployer: Deployer) -> None:
    """Its exception's text is in Modal's answer, and in the log."""
    failed = deployer.deploy().ask("fail", "planted")

    assert (failed.status_code, failed.text) == (
        500,
        "modal-http: internal error: status Failure: ValueError('planted')",
    )
    assert "ValueError: planted" in deployer.cloud.logs.text()


def test_an_entry_file_that_cannot_be_imported_is_told(deployer: Deployer, tmp_path: Path) -> None:
    """The image holds no `app`: no request is answered, and none waits for ever."""
    deployer.cloud.images.clear()
    deployer.image(folder=tmp_path)

    failed = deployer.deploy().ask("echo")

    assert failed.status_code == 500
    assert "No module named 'app'" in failed.text


def test_a_stopped_app_is_gone(deployer: Deployer, client: modal.Client) -> None:
    """404 in Modal's words; deployed again, it answers at the same address."""
    deployed = deployer.deploy()
    deployed.ask("echo")

    modal.App.lookup("app", environment_name="dev", client=client).stop()
    stopped = deployed.ask("echo")

    assert (stopped.status_code, stopped.text) == (404, "modal-http: app for invoked web endpoint is stopped")
    assert deployer.deploy().url == deployed.url
    assert deployed.ask("echo", "back").json()["text"] == "back"


def test_a_run_ends_in_the_version_that_it_began_in(deployer: Deployer, tmp_path: Path) -> None:
    """A rolling deployment leaves it alone; the next request finds the new version."""
    deployer.image(OTHER)
    deployed = deployer.deploy(env={"VERSION": "one"})
    answers = []
    asking = threading.Thread(target=lambda: answers.append(deployed.ask("wait", str(tmp_path / "go"))))
    deployed.ask("echo")
    asking.start()
    deployer.cloud.web.wait_for_requests(2)

    assert deployer.deploy(reference=OTHER, env={"VERSION": "two"}).url == deployed.url
    assert deployed.ask("environ").json()["VERSION"] == "two"
    (tmp_path / "go").touch()
    asking.join()

    assert [answer.text for answer in answers] == ["waited"]


def test_a_run_ends_with_its_container_when_that_is_recreated(deployer: Deployer, tmp_path: Path) -> None:
    """The other strategy ends what runs."""
    deployed = deployer.deploy(env={"VERSION": "one"})
    answers = []
    asking = threading.Thread(target=lambda: answers.append(deployed.ask("wait", str(tmp_path / "never"))))
    deployed.ask("echo")
    asking.start()
    deployer.cloud.web.wait_for_requests(2)

    deployer.deploy(env={"VERSION": "two"}, strategy="recreate")
    asking.join()

    assert [answer.status_code for answer in answers] == [500]
    assert deployed.ask("environ").json()["VERSION"] == "two"


def test_an_idle_container_ends_in_order(deployer: Deployer) -> None:
    """It runs the app's lifespan to its end, and the next request starts a new one."""
    deployed = deployer.deploy()
    deployed.ask("echo")

    deployer.cloud.run(deployer.cloud.fleet.scale_down())

    assert deployer.cloud.logs.text().splitlines()[-1] == "lifespan.shutdown"
    assert deployed.ask("echo", "cold").json()["text"] == "cold"


PLANTED = [
    pytest.param(reply.reply_busy(), (429, "text/plain; charset=utf-8"), id="too many requests"),
    pytest.param(reply.reply_html(), (200, "text/html; charset=utf-8"), id="a page"),
    pytest.param(reply.reply_modal(404, "workspace ac-x is disabled"), (404, "text/plain; charset=utf-8"), id="404"),
]


@pytest.mark.parametrize(("planted", "seen"), PLANTED)
def test_a_planted_answer_comes_once(deployer: Deployer, planted: reply.Play, seen: tuple[int, str]) -> None:
    """Instead of the function's, which the next request gets again."""
    deployed = deployer.deploy()

    deployer.cloud.web.play(planted)

    answer = deployed.ask("echo")
    assert (answer.status_code, answer.headers["content-type"]) == seen
    assert deployed.ask("echo", "real").json()["text"] == "real"


def test_a_planted_redirect_leads_wherever_it_says(deployer: Deployer) -> None:
    """To another origin, or in a circle that never ends."""
    deployed = deployer.deploy()
    deployer.cloud.web.play(reply.reply_redirect("http://127.0.0.1:1/run"))

    assert deployed.ask("echo").headers["location"] == "http://127.0.0.1:1/run"

    deployer.cloud.web.always(reply.reply_redirect_to_self(CALL_ID))
    with pytest.raises(httpx2.TooManyRedirects):
        deployed.ask("echo", follow_redirects=True)


BREAKS = [
    pytest.param(reply.reply_drop(), httpx2.RemoteProtocolError, id="no answer"),
    pytest.param(reply.reply_cut((b"id: 1\n",)), httpx2.RemoteProtocolError, id="half a stream"),
    pytest.param(reply.reply_silence(), httpx2.ReadTimeout, id="silence"),
]


@pytest.mark.parametrize(("planted", "error"), BREAKS)
def test_a_planted_break_is_one(deployer: Deployer, planted: reply.Play, error: type[Exception]) -> None:
    """The client sees its transport fail."""
    deployed = deployer.deploy()
    deployer.cloud.web.play(planted)

    with pytest.raises(error):
        deployed.ask("echo", timeout=1)


def test_a_stream_is_cut_when_its_container_dies(deployer: Deployer) -> None:
    """Without its last event, and without an orderly end."""
    deployed = deployer.deploy()

    with httpx2.stream("POST", f"{deployed.url}/stream", content="2", headers=deployed.headers, timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: 0"
        deployer.cloud.run(deployer.cloud.fleet.kill(signal.SIGKILL))
        with pytest.raises(httpx2.RemoteProtocolError):
            list(lines)


def test_requests_are_recorded(deployer: Deployer) -> None:
    """So that a test can say how often something was sent, and with what."""
    deployed = deployer.deploy()

    deployed.ask("echo?q=1", "hello")

    (request,) = deployer.cloud.web.requests
    assert (request.method, request.url, request.body) == ("POST", f"{deployed.url}/echo?q=1", b"hello")
    assert request.headers["modal-key"] == deployer.cloud.proxy_token[0]


def test_a_port_is_free_once_the_local_modal_has_ended(deployer: Deployer) -> None:
    """Nothing of it outlives a test."""
    deployed = deployer.deploy()
    deployed.ask("echo")

    deployer.cloud.run(deployer.cloud.web.close())

    loopback_socket(int(deployed.url.rpartition(":")[2])).close()
