"""The playground's server without a browser: its answers, and whom it refuses."""

import json
import math
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from ops import inputs, local_servers
from ops.aws import Aws, CannotAsk
from ops.cost import CostError
from ops.cost.prices import SHIPPED, load
from ops.inputs import JSON, Input
from ops.local_servers import HttpFace, HttpReply
from ops.parity.facts import Facts
from ops.parity.targets import Opener, OpenTarget
from ops.playground import exchange
from ops.playground.exchange import Playground, Side
from ops.playground.server import create_app
from ops.playground.shown import bars_of, cost_of
from ops.targets import IDENTITY, SERVED_BY
from support.cases import PHOTOS

ORIGIN = "http://localhost:8000"
TOKEN = "a-token"  # noqa: S105 - of this test alone
CAT = inputs.read_input(str(PHOTOS / "cat.jpg"))
STATIC = Path(exchange.__file__).with_name("static")

Sides = Callable[..., list[Side]]


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sides]:
    """Open targets by name."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with ExitStack() as stack:
        opener = Opener(stack, Aws("us-east-1"), b"")

        def made(*names: str) -> list[Side]:
            found = [Side(name, partial(opener.open, name)) for name in names]
            for side in found:
                side.target()
            return found

        yield made


def of(post: Callable[[Input], HttpReply], label: str = "fake") -> Side:
    """Return a side whose target calls a function of Python."""
    target = OpenTarget(Facts(label, label), HttpFace("http://127.0.0.1:1"), post)
    return Side(label, lambda: target)


def replies(status: int, value: object) -> Callable[[Input], HttpReply]:
    return lambda item: HttpReply(status, {}, json.dumps(value).encode(), 0.01)


def recording(called: list[Input]) -> Side:
    """Return a side that records its inputs."""

    def post(item: Input) -> HttpReply:
        called.append(item)
        return replies(200, {})(item)

    return of(post)


def client(*sides: Side, examples: tuple[Input, ...] = ()) -> FlaskClient:
    app = create_app(Playground(sides, "us-east-1"), examples, 8000, TOKEN)
    app.testing = True
    found: FlaskClient = app.test_client(use_cookies=False)
    found.environ_base["HTTP_HOST"] = "127.0.0.1:8000"
    found.environ_base["HTTP_COOKIE"] = f"playground-8000={TOKEN}"
    return found


def ask(page: FlaskClient, item: Input, **headers: str) -> Any:
    headers = {"Origin": ORIGIN, "Content-Type": item.content_type, **headers}
    path = f"/ask?name={item.name}"
    return page.post(path, base_url=ORIGIN, data=item.body, headers=headers)


def told(page: FlaskClient, item: Input) -> list[dict[str, Any]]:
    done = ask(page, item)
    assert done.status_code == 200
    return [json.loads(line, parse_constant=pytest.fail) for line in done.text.splitlines()]


def test_both_answers_and_their_comparison(sides: Sides, face: HttpFace) -> None:
    left, right, end = told(client(*sides(face.url, face.url)), CAT)
    assert (left["side"], right["side"]) == (0, 1)
    assert left["bars"] == right["bars"]
    assert left["bars"][0][0] == "tiger cat"
    assert (left["status"], left["error"], left["bytes"]) == (200, {}, 304)
    assert len(left["target"]["model"]) == 64
    assert re.fullmatch(r"\$[\d.]+: SageMaker ml\.m5\.large", left["cost"])
    assert [left["target"]["label"][-2:], right["target"]["label"][-2:]] == [" 1", " 2"]
    assert end["comparison"]["exact"]
    assert [check["state"] for check in end["comparison"]["checks"]][-1] == "ok"


def test_an_error_is_shown_as_the_contract_has_it(sides: Sides, face: HttpFace) -> None:
    left, right, end = told(client(*sides(face.url, face.url)), Input("a.json", JSON, b"{"))
    assert (left["status"], left["error"]["code"]) == (400, "malformed_request")
    assert right["error"] == left["error"]
    assert (left["bars"], left["cost"]) == ([], "")
    assert end["comparison"]["same"]


def test_a_denied_target_leaves_the_other_answer(sides: Sides, face: HttpFace) -> None:
    tried = []

    def denied() -> OpenTarget:
        tried.append(1)
        if len(tried) == 1:
            raise CannotAsk("not yours", "ask for a policy")
        return OpenTarget(Facts("now", "now"), face, replies(200, {}))

    page = client(Side("denied", denied), *sides(face.url))
    left, right, end = told(page, CAT)
    assert left["problem"] == {"why": "not yours", "fix": "ask for a policy"}
    assert right["status"] == 200
    assert end["comparison"] == {"missing": "no answer of denied"}
    # It is opened again by the next call.
    left, _, end = told(page, CAT)
    assert (left["status"], left["target"]["label"]) == (200, "now")
    assert "places" in end["comparison"]


def test_a_slow_target_does_not_hold_up_the_other(
    sides: Sides, face: HttpFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "HEAD_START_SECONDS", 0.05)
    end = threading.Event()

    def slow(item: Input) -> HttpReply:
        end.wait(30)
        return replies(200, {})(item)

    answers = Playground([of(slow), *sides(face.url)], "us-east-1").ask(CAT)
    assert next(answers)["side"] == 1
    end.set()
    assert next(answers)["side"] == 0
    assert not next(answers)["comparison"]["same"]


def test_an_answer_in_the_middle_of_a_rollout_is_shown(face: HttpFace) -> None:
    """The new deployment is described again, and its digest shown only then."""
    served = iter("abbb")
    described = iter(({"old"}, CannotAsk("a is being moved", "try again later"), {"new"}))

    def describe() -> OpenTarget:
        if isinstance(found := next(described), CannotAsk):
            raise found
        return OpenTarget(Facts("a", "a", frozenset(found)), face, post)

    def post(_: Input) -> HttpReply:
        return HttpReply(200, {IDENTITY: f"image={next(served)};model=m"}, b"{}", 0.01)

    page = client(Side("a", describe), of(replies(200, {})))
    rounds = [told(page, CAT) for _ in range(4)]
    assert [left["status"] for left, _, _ in rounds] == [200] * 4
    assert [left["target"]["image"] for left, _, _ in rounds] == ["old", "b", "new", "new"]
    assert rounds[1][2]["comparison"]["checks"][0]["says"] == "not checked: a is being moved"
    assert "snippets" in rounds[1][0]


def test_an_answer_of_the_endpoint_has_no_price_of_the_function() -> None:
    """Its time does not affect the price of the function's own answers either."""

    def answers(*expected: tuple[str, float]) -> list[Any]:
        served = iter(expected)

        def post(item: Input) -> HttpReply:
            served_by, seconds = next(served)
            return HttpReply(200, {SERVED_BY: served_by}, b"{}", seconds)

        emulated = local_servers.EmulatedLambda("http://a")
        page = client(Side("a", lambda: OpenTarget(Facts("a", "a"), emulated, post)))
        return [one for _ in expected for one in told(page, CAT)]  # no comparison

    forwarded, own = answers(("lambda-spill", 60), ("lambda", 0.01))
    assert (forwarded["answered_by"], forwarded["cost"]) == ("Lambda (spill)", "")
    assert own["answered_by"] == "Lambda"
    assert own["cost"] == answers(("lambda", 0.01))[0]["cost"] != ""


def test_numbers_that_json_does_not_have() -> None:
    """The browser would not read the line."""
    values = [{"results": [{"label": "cat", "prob": prob}]} for prob in ("nan", math.inf)]
    left, right, end = told(client(*(of(replies(200, value)) for value in values)), CAT)
    assert (left["bars"], right["bars"]) == ([["cat", "nan"]], [["cat", "inf"]])
    assert end["comparison"]["largest"] is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:8000"},  # DNS rebinding
        {"Host": "127.0.0.1:8001"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8001"},
        {"Origin": ""},
    ],
)
def test_no_other_page_drives_it(headers: dict[str, str]) -> None:
    called: list[Input] = []
    page = client(recording(called), examples=(CAT,))
    assert ask(page, CAT, **headers).status_code == 403
    assert called == []
    if "Host" in headers:
        for path in ("/", "/about", "/examples/0", "/static/page.js"):
            assert page.get(path, headers=headers).status_code == 403
    assert ask(page, CAT, Host="127.0.0.1:8000", Origin="http://127.0.0.1:8000").status_code == 200
    assert len(called) == 1


def test_another_account_of_this_machine_cannot_drive_it() -> None:
    called: list[Input] = []
    page = client(recording(called), examples=(CAT,))
    for cookie in ("", "playground-8000=", f"playground-8001={TOKEN}", "playground-8000=caf\xe9"):
        page.environ_base["HTTP_COOKIE"] = cookie
        assert ask(page, CAT).status_code == 403
        for path in ("/", "/?token=", "/?token=%ff", "/about", "/examples/0", "/static/page.js"):
            refusal = page.get(path, base_url=ORIGIN)
            assert refusal.status_code == 403
            assert "open the address that the playground printed" in refusal.text
            assert "Set-Cookie" not in refusal.headers
    assert called == []
    with page.get(f"/?token={TOKEN}", base_url=ORIGIN) as opened:
        kept = f"playground-8000={TOKEN}; HttpOnly; Path=/; SameSite=Strict"
        assert (opened.status_code, opened.headers["Set-Cookie"]) == (200, kept)


def test_the_page_runs_nothing_but_its_own_script() -> None:
    page = client(of(replies(200, {})), examples=(CAT,))
    for path in ("/", "/static/page.js", "/about", "/nothing"):
        with page.get(path, base_url=ORIGIN) as response:
            policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self';" in policy
        assert "unsafe" not in policy
    html = (STATIC / "index.html").read_text()
    assert re.findall("<script[^>]*>(.*?)</script>", html) == [""]
    assert not re.findall(r" (?:on\w+|style)=", html)
    files = "".join(path.read_text() for path in STATIC.iterdir())
    assert set(re.findall(r"(?:src|href)=\"([^\"]+)\"|url\(([^)]+)\)", files)) == {
        ("/static/icon.svg", ""),
        ("/static/page.css", ""),
        ("/static/page.js", ""),
    }
    assert not re.search("innerHTML|outerHTML|insertAdjacentHTML|document.write|eval", files)


def test_what_the_page_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    iris = local_servers.ROOT / "examples" / "iris"
    offered = (CAT, *inputs.golden_requests(iris))
    page = client(of(replies(200, {})), examples=offered)
    about = page.get("/about", base_url=ORIGIN).json
    assert about
    assert about["targets"] == [{"label": "fake", "name": "fake", "image": "", "model": ""}]
    assert about["parity"] == "python -m ops parity --left fake --inputs inputs.jsonl"
    assert [example["picture"] for example in about["examples"]][:2] == [True, False]
    assert page.get("/examples/0", base_url=ORIGIN).data == CAT.body
    assert json.loads(page.get("/examples/1", base_url=ORIGIN).data)["sepal_length_cm"] == 5.1
    assert page.get("/examples/99", base_url=ORIGIN).status_code == 404
    assert ask(page, Input("a", JSON, bytes(65 * 1024**2))).status_code == 413


def test_golden_cases_that_need_files_are_no_examples(tmp_path: Path) -> None:
    digits = local_servers.ROOT / "examples" / "digits"
    assert all(b"{data:" not in item.body for item in inputs.golden_requests(digits))
    assert inputs.golden_requests(tmp_path) == []
    (tmp_path / "golden.json").write_text('[{"name": "a"}]')
    with pytest.raises(CannotAsk, match="holds no golden cases: KeyError"):
        inputs.golden_requests(tmp_path)


def test_bars_of_answers() -> None:
    assert bars_of({"results": [{"label": "cat", "prob": "0.5"}]}) == [("cat", "0.5")]
    assert bars_of({"kind": "a", "shares": {"a": 0.9, "b": 0.1}}) == [("a", "0.9"), ("b", "0.1")]
    assert bars_of({"box": {"width": 12, "height": 3}}) == []
    assert bars_of([1, {"a": {}}]) == bars_of("text") == bars_of({"a": {"b": True}}) == []


def test_what_a_million_calls_cost() -> None:
    """Calculate by hand from list prices: 40 ms of 1,769 MB; an instance's month and 50 KB."""
    known = load(SHIPPED, "us-east-1")

    def cost(client: Any, **facts: Any) -> str:
        target = OpenTarget(Facts("a", "a", **facts), client, replies(200, {}))
        return cost_of(target, 40, 50 * 1024, known)

    emulated, server = local_servers.EmulatedLambda("http://a"), HttpFace("http://a")
    price = known.groups["lambda"]
    million = 0.04 * 1769 / 1024 * price["usd_per_million_gb_seconds"]
    expected = million + price["usd_per_million_requests"]
    assert cost(emulated) == f"${expected:.2f}: Lambda, 1,769 MB"
    assert "Lambda, 3,008 MB" in cost(emulated, memory_mb=3008)
    month = 730 * known.usd_per_hour["ml.c5.large"]
    month += 1e6 * 50 * 1024 / 2**30 * known.groups["data"]["usd_per_gb"]
    expected_text = f"${month:.2f}: SageMaker ml.c5.large"
    assert cost(server, instance_type="ml.c5.large") == expected_text
    assert "SageMaker serverless, 2,048 MB" in cost(server, memory_mb=2048)
    with pytest.raises(CostError, match=r"no price for ml\.x9.large in us-east-1"):
        cost(server, instance_type="ml.x9.large")


def test_the_command_reports_a_port_in_use(ops: Callable[..., Any]) -> None:
    closed = f"http://127.0.0.1:{local_servers.free_port()}"
    with local_servers.socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = ops("playground", "--left", closed, "--port", str(port))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: port {port}: Address already in use; --port names another")


def test_the_command_serves_until_ctrl_c(face: HttpFace, tmp_path: Path) -> None:
    """It reports a target that is down and serves the page for the other."""
    port, closed = local_servers.free_port(), f"http://127.0.0.1:{local_servers.free_port()}"
    command = [sys.executable, "-m", "ops", "playground", "--left", face.url, "--right", closed]
    with subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=local_servers.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as tool:
        assert tool.stdout
        address = rf"http://127\.0\.0\.1:{port}/\?token=([\w-]{{43}}) asks 127\.0\.0\.1"
        found = re.match(address, tool.stdout.readline())
        assert found
        page = HttpFace(f"http://127.0.0.1:{port}")
        headers = {"Origin": page.url, "Content-Type": "image/jpeg"}
        headers["Cookie"] = f"playground-{port}={found[1]}"
        reply = page.send("POST", "/ask?name=cat.jpg", headers, CAT.body)
        sides = [json.loads(line) for line in reply.body.splitlines()]
        assert [one.get("status") for one in sides] == [200, None, None]
        tool.send_signal(subprocess.signal.SIGINT)
        _, err = tool.communicate(timeout=30)
    assert tool.returncode == 0
    assert "does not answer" in err
    assert "Traceback" not in err
