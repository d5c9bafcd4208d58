"""No command of `python -m ops` shows a traceback or hangs, with any input on any terminal."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ops.commands import plan
from ops.local_servers import ROOT
from support.cases import PHOTOS

DEVICE = "arn:aws:iam::123456789012:mfa/me"
CONFIG = f"""\
[profile me]
aws_access_key_id = testing
aws_secret_access_key = secret
[profile bank]
source_profile = me
role_arn = arn:aws:iam::123456789012:role/operator
mfa_serial = {DEVICE}
"""
TOOL = [sys.executable, "-m", "ops"]
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

Words = Callable[[str], list[str]]


def run(words: Sequence[str], env: dict[str, str], **options: Any) -> Any:
    command = [*TOOL, *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False, **options)


@pytest.fixture
def environment(account: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Return the variables of a profile with MFA in moto's account, which has no stack."""
    config = tmp_path / "config"
    config.write_text(CONFIG)
    variables = {name: value for name, value in os.environ.items() if name not in KEYS}
    return {**variables, "AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "bank", "TERM": "xterm"}


@pytest.mark.parametrize(
    "line", ["doctor --mode lambda", "parity", "playground --port 8790", "cost --stack Traffic"]
)
def test_the_code_is_asked_for_once_and_no_spinner_hides_the_question(
    environment: dict[str, str], line: str
) -> None:
    """A spinner used to hide the prompt."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(sys.executable, [*TOOL, *line.split()], environment)  # noqa: S606 - fixed
    shown = b""
    while DEVICE.encode() + b": " not in shown:
        shown += os.read(terminal, 1000)
    assert shown.startswith(b"Enter MFA code for ")
    assert not select.select([terminal], [], [], 0.5)[0], "something is drawn over the question"
    os.write(terminal, b"123456\n")
    try:
        while chunk := os.read(terminal, 1000):
            shown += chunk
    except OSError:  # Linux raises this at the end of a terminal's output
        pass
    _, status = os.waitpid(pid, 0)
    assert shown.count(b"Enter MFA code") == 1
    assert b"Traceback" not in shown
    assert os.waitstatus_to_exitcode(status) in (1, 2)  # there is no stack
    assert b"Traffic" in shown or b"DualInferenceStack" in shown or b"account 123456789012" in shown


def test_without_a_terminal_it_is_one_line(environment: dict[str, str]) -> None:
    done = run(["parity"], environment, stdin=subprocess.DEVNULL, start_new_session=True)
    assert (done.returncode, done.stdout) == (2, b"")
    line = f"error: the profile asks for the code of {DEVICE}, and there is no terminal; run it in"
    assert done.stderr.startswith(line.encode())
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_parity_started_is_stopped_with_it(number: signal.Signals, tmp_path: Path) -> None:
    """The server and the emulator used to survive SIGTERM and SIGHUP."""
    mark = f"PARITY_OF={tmp_path}".encode()
    parity = [*TOOL, "parity", "--local", "--repeats", "1000"]
    # A script's background jobs ignore SIGQUIT, with which the server stops nginx.
    command = ["sh", "-c", 'trap "" QUIT; exec "$@"', "sh", *parity]
    env, pipe = {**os.environ, "PARITY_OF": str(tmp_path)}, subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=pipe, stderr=pipe) as tool:
        deadline = time.monotonic() + 60
        while len(found := marked(mark)) < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(found) >= 4, "the tool, the emulator, the server and its worker run"
        tool.send_signal(number)
        _, errors = tool.communicate(timeout=60)
    assert (tool.returncode, errors) == (128 + number, b"")
    assert marked(mark) == []


def marked(variable: bytes) -> list[str]:
    """Return the processes with this variable in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # the process has ended or is another user's
            continue
        if variable in environment:
            found.append(folder.name)
    return found


@pytest.fixture
def words(face: Any, tmp_path: Path) -> Words:
    """Split a line into words and fill in the test's places."""
    places = {
        "cat": PHOTOS / "cat.jpg",
        "face": face.url,
        "model": shutil.copytree(ROOT / "examples" / "skeleton", tmp_path / "skeleton"),
        "nobody": "http://127.0.0.1:9",
        "tmp": tmp_path,
    }
    return lambda line: [word.format(**places) for word in line.split()]


@pytest.mark.parametrize("line", ["plan --json", "doctor", "cost --duration-ms 40"])
@pytest.mark.usefixtures("account")
def test_a_reader_that_has_enough_is_no_error(
    line: str, ops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`plan --json | head` used to report a broken pipe."""
    template = {"Resources": {"Function": {"Type": "AWS::Lambda::Function"}}}
    monkeypatch.setattr(plan, "synthesize", lambda _: template)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", pipe)
        done = ops(*line.split())
    assert (done.status, done.err) == (141, "")
    monkeypatch.setattr(sys, "stdout", None)  # as after `>&-`
    done = ops(*line.split())
    assert (done.status, done.err) == (1 if line == "doctor" else 0, "")


FILES = {
    "missing": b"",
    "folder": b"",
    "binary": bytes(range(256)) * 8,
    "empty": b"",
    "no_json": b"{",
    "other_json": b'{"format": 1, "target": 7, "regions": [7]}',
    "deep_json": b"[" * 100_000,
    "utf_16": '{"uri": "x"}\n'.encode("utf-16"),
}


@pytest.mark.parametrize(
    "line",
    [
        "parity --left {nobody} --right {nobody} --inputs {tmp}/broken.jsonl",
        "parity --left {nobody} --right {nobody} --inputs {tmp}/broken.json",
        "parity --left {nobody} --right {nobody} --against {tmp}/broken",
        "cost --duration-ms 40 --profile {tmp}/broken",
        "cost --duration-ms 40 --prices {tmp}/broken",
        "package {tmp}/broken",
    ],
)
@pytest.mark.usefixtures("account")
def test_a_broken_file_is_refused_in_one_line(line: str, ops: Any, words: Words) -> None:
    for kind, content in FILES.items():
        command = words(line.replace("broken", kind))
        (file,) = (Path(word) for word in command if kind in word)
        if kind == "folder":
            file.mkdir()
        elif kind != "missing":
            file.write_bytes(content)
        refused(ops(*command), 1 if command[0] == "package" else 2)


@pytest.mark.parametrize(
    "line",
    [
        "parity --left {face} --record {tmp} --inputs {cat}",
        "cost --duration-ms 40 --plot {tmp}/no/plot.svg",
        "package {model} --out {tmp}/no/file",
        # What is asked for is not there, or is no name at all.
        "parity --left http://[ --right {face}",
        "parity --lambda-url x --endpoint x",
        "parity --left stack::lambda --right {face}",
        "parity --region no/region",
        "cost --duration-ms 40 --region no/region",
    ],
)
@pytest.mark.usefixtures("account")
def test_a_place_that_is_none_is_refused_in_one_line(line: str, ops: Any, words: Words) -> None:
    refused(ops(*words(line)), 2)


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_CONFIG_FILE", ""])
@pytest.mark.parametrize(
    "line",
    [
        "parity",
        "cost --refresh --prices {tmp}/prices.json",
        "invoke {cat}",
        "package {model} --out {tmp}/made.tar.gz --upload s3://bucket/models",
        "doctor",
    ],
)
@pytest.mark.usefixtures("account")
def test_no_credentials_is_one_line(
    line: str, variable: str, ops: Any, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are no credentials, the profile is unknown, or the file of profiles is broken."""
    for name in KEYS:
        monkeypatch.delenv(name)
    if variable:
        monkeypatch.setenv(variable, __file__)
    done = ops(*words(line))
    if line == "doctor" and variable != "AWS_CONFIG_FILE":
        assert (done.status, done.err) == (1, "")
        assert done.out.startswith("✗ credentials")
    else:
        refused(done, 2)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "COMMAND: invalid choice: 'nonsense' (choose from "),
        ("plan --nonsense", "unrecognized arguments: --nonsense"),
        ("package", "the following arguments are required: DIR"),
        ("invoke {cat} --target nonsense", "--target: invalid choice: 'nonsense'"),
        ("batch --max-payload-mb 1.5", "1.5 is not a whole number of 1 or more"),
        ("cost --duration-ms 0.674", "--duration-ms: 0.674 is not a number of 1 or more"),
        ("cost", "one of the arguments --duration-ms --measure --stack --refresh is required"),
        ("cost --requests 2.000", "2.000 is not a number from 1 to 1e+13, such as 2500000, 2.5e6 "),
        ("cost --requests 2,5M", "2,5M is not a number from 1 to 1e+13"),
        ("cost --instance m5.large", "m5.large is not an instance type, such as ml.m5.large"),
        ("parity --tolerance nan", "--tolerance: nan is not a number from 0 to less than 1"),
    ],
)
def test_an_option_with_an_unknown_value_shows_the_usage(
    line: str, says: str, ops: Any, words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        ops(*words(line))
    out, errors = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert errors.startswith("usage: python -m ops")
    assert ": error: " in errors.splitlines()[-1]
    assert says in errors.splitlines()[-1]


def test_a_plan_that_cannot_be_made_is_one_line(
    ops: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The CDK CLI is not needed, but the app's packages are."""
    (tmp_path / "app.py").write_text("import no_such_package\n")
    monkeypatch.setattr(plan, "ROOT", tmp_path)
    done = ops("plan")
    refused(done, 2)
    assert "No module named 'no_such_package'; `pip install -r requirements.txt`" in done.err


def refused(done: Any, status: int) -> None:
    assert (done.status, done.out) == (status, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1 or "is not a target" in done.err


def test_brackets_and_colons_in_a_name_are_no_markup(ops: Any, face: Any, tmp_path: Path) -> None:
    picture = tmp_path / "[red]a:cat:.jpg"
    picture.write_bytes((PHOTOS / "cat.jpg").read_bytes())
    both = ("--left", face.url, "--right", face.url, "--repeats", "1")
    done = ops("parity", *both, "--inputs", str(picture), "http://169.254.169.254/[/x]")
    assert (done.status, done.err) == (0, "")
    assert "| [red]a:cat:.jpg             | 200 tiger cat" in done.out
    assert "| http://169.254.169.254/[/x] | 403 uri_not_allowed" in done.out


def test_a_terminal_without_unicode(words: Words) -> None:
    """A terminal's character set may lack the output's marks and a name's characters."""
    line = "parity --left {face} --right {face} --repeats 1 --inputs {cat} data:,\u20ac\udce4"
    done = run(words(line), {**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u2713 answers: 2 inputs" in done.stdout


def test_only_one_module_prints_by_rich() -> None:
    """Its console prints `[red]` as it is; another console would read it as markup."""
    makers = [
        path.name
        for path in (ROOT / "ops").rglob("*.py")
        if re.search(r"Console\(|rich\.(markup|status)|^from rich import", path.read_text(), re.M)
    ]
    assert makers == ["cli.py"]
