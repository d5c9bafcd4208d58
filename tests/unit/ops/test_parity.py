"""Test the conclusions of `python -m ops parity`, and run it for both faces on this machine."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from integration.ops.operator_tools import install, timed
from ops import inputs
from ops.aws import CannotAsk
from ops.findings import State
from ops.inputs import Input
from ops.local_servers import HttpFace, HttpReply
from ops.parity import checks, facts, recording
from ops.parity import compare as comparing
from ops.parity.checks import Row
from ops.parity.compare import TimedAnswer, compare
from ops.parity.facts import Facts
from serving.core.settings import Settings
from support.cases import PHOTOS, TOLERANCE
from support.variables import variables_read


def answer(*results: tuple[str, str]) -> TimedAnswer:
    return timed({"uri": "u", "results": [{"label": la, "prob": p} for la, p in results]})


CAT = answer(("cat", "0.5"), ("dog", "0.25"))


@pytest.mark.parametrize(
    ("other", "exact", "same", "place"),
    [
        (CAT, True, True, ""),
        (answer(("cat", "0.500009"), ("dog", "0.25")), False, True, ""),
        (answer(("cat", "0.50002"), ("dog", "0.25")), False, False, "results[0].prob 0.5 ≠ 0.5"),
        (answer(("dog", "0.5"), ("cat", "0.25")), False, False, "results[0].label cat ≠ dog"),
        (answer(("cat", "nan"), ("dog", "0.25")), False, False, "results[0].prob 0.5 ≠ nan"),
        (answer(("cat", "0.5")), False, False, "results [{"),
        (timed({"uri": 10**400, "results": []}), False, False, "uri u ≠ 1000"),
        (timed({"error": {"code": "a", "message": "m"}}, 422), False, False, "status 200 ≠ 422"),
    ],
)
def test_two_answers(other: TimedAnswer, exact: bool, same: bool, place: str) -> None:
    found = compare(CAT, other)
    assert (found.exact, found.same) == (exact, same)
    assert "".join(found.places[:1]).startswith(place)


def test_an_error_is_compared_by_its_code() -> None:
    """Its message may differ, but then the answers are not exactly the same."""
    one, other = ({"error": {"code": "too_large", "message": m}} for m in ("a", "b"))
    found = compare(timed(one, 413), timed(other, 413))
    assert (found.exact, found.same) == (False, True)
    other["error"]["code"] = "overloaded"
    places = compare(timed(one, 413), timed(other, 413)).places
    assert places == ("error.code too_large ≠ overloaded",)


def test_batches_are_compared_record_by_record() -> None:
    lines = TimedAnswer.of([HttpReply(200, {}, b'{"n": 1}\n{"n": 2}\n', 0.01)])
    assert lines.value == [{"n": 1}, {"n": 2}]
    assert compare(timed([{"n": 1}, {"n": 2.1}]), lines).places == ("[1].n 2.1 ≠ 2 (1.0e-01)",)


def test_lines_end_at_line_feeds() -> None:
    """Other separators are text within a line."""
    text = '{"text": "my parcel\u2028is late"}\n{"text": "charged\u0085twice"}\n'
    lines = TimedAnswer.of([HttpReply(200, {}, text.encode(), 0.01)])
    assert lines.value == [{"text": "my parcel\u2028is late"}, {"text": "charged\u0085twice"}]


def row(*answers: TimedAnswer) -> Row:
    differences = [compare(answers[0], other) for other in answers[1:]]
    return Row(Input("cat.jpg", "image/jpeg", b""), answers, differences)


def target(label: str, **known: Any) -> Facts:
    defaults = {"digests": frozenset({f"sha256:{'a' * 64}"}), "model_id": "m", "settings": {}}
    return Facts(label, label, **{**defaults, **known})


LEFT = target("Lambda")
NEARLY = answer(("cat", "0.5005"), ("dog", "0.2495"))
FAR = answer(("cat", "0.6"), ("dog", "0.2"))


@pytest.mark.parametrize(
    ("right", "said", "cause"),
    [
        ({}, NEARLY, "CPU numerics"),
        ({}, FAR, "unknown: image, model and settings are the same"),
        ({"digests": frozenset({"sha256:b"})}, FAR, "the image, in its code or libraries"),
        ({"model_id": "n", "digests": frozenset({"sha256:b"})}, FAR, "the image and the model"),
        ({"digests": frozenset(), "image_id": "local"}, NEARLY, "but image could not be compared"),
    ],
)
def test_the_cause_is_named_as_far_as_it_is_known(
    right: Mapping[str, Any], said: TimedAnswer, cause: str
) -> None:
    sides = [LEFT, target("SageMaker", **right)]
    found = checks.compare_targets(sides, [row(CAT, said)], 1e-5)["answers"]
    assert found.state is State.FAILS
    assert f"Cause: {cause}" in found.says or cause in found.says.partition("Cause: ")[2]


ARM = {"architecture": "arm64", "digests": frozenset({"sha256:b"})}


@pytest.mark.parametrize(
    ("said", "state", "why"),
    [
        (answer(("cat", "0.500009"), ("dog", "0.25")), State.OK, True),
        (CAT, State.OK, False),
    ],
)
def test_two_architectures_are_one_image_each_and_may_round_differently(
    said: TimedAnswer, state: State, why: bool, tmp_path: Path
) -> None:
    sides = [target("Lambda", architecture="x86_64"), target("Lambda 2", **ARM)]
    found = checks.compare_targets(sides, [row(CAT, said)], 1e-5)
    assert found["image"].state is State.WARNING
    assert found["image"].says.startswith("x86_64 on Lambda, arm64 on Lambda 2: ")
    assert found["answers"].state is state
    assert found["answers"].says.endswith("which round differently") is why
    recording.write(tmp_path / "kept.json", sides[1], b"salt", [])
    again = recording.Recording.read(tmp_path / "kept.json").facts
    assert checks.two_architectures([sides[0], again])
    assert not checks.two_architectures([sides[1], again, target("unknown")])


def test_the_target_of_an_unknown_image_is_named() -> None:
    known = target("Lambda", image_id="local")
    found = checks.compare_images([known, target("SageMaker", digests=frozenset(), image_id="1")])
    assert found.finding.says == "unknown image: SageMaker"


def test_against_a_recording_only_answers_are_skew() -> None:
    """The present targets must still not differ from each other."""
    before = target("before", model_id="n", recorded="2026-01-01")
    now = [target("Lambda"), target("SageMaker")]
    found = checks.compare_targets([before, *now], [row(CAT, CAT, CAT)], 1e-5)
    assert found["model"].state is State.WARNING
    assert found["answers"].state is State.OK
    now[1] = target("SageMaker", model_id="o")
    found = checks.compare_targets([before, *now], [row(CAT, CAT, CAT)], 1e-5)
    assert found["model"].state is State.FAILS


def test_a_target_with_several_answers_fails() -> None:
    replies = [HttpReply(200, {}, body, 0.01) for body in (b'{"n": 1}', b'{"n": 2}', b'{"n": 1}')]
    restless = row(TimedAnswer.of(replies), TimedAnswer.of(replies))
    found = checks.compare_targets([LEFT, target("SageMaker")], [restless], 1e-5)
    assert found["answers"].state is State.FAILS
    with pytest.raises(CannotAsk, match="from 2 deployments"):
        LEFT.identified({"image=a;model=b", "image=a;model=c"})


def test_a_setting_of_the_users_own_is_compared_and_not_shown() -> None:
    environments = [{"API_KEY": key, "WORKERS": "2", "AWS_REGION": "x"} for key in ("s3cret", "t")]
    one, other = (facts.comparable(environment, b"salt") for environment in environments)
    assert one.keys() == {*facts.SETTINGS, "API_KEY"}
    assert one["API_KEY"] != other["API_KEY"]
    assert one == facts.comparable(environments[0], b"salt")
    assert one != facts.comparable(environments[0], b"another")
    sides = [target("Lambda", settings=one), target("SageMaker", settings=other)]
    says = checks.compare_settings(sides).finding.says
    assert says.startswith("API_KEY: 'hash ")
    assert "s3cret" not in says


def test_the_tool_and_the_image_agree_on_the_settings() -> None:
    """They do not import each other."""
    compared = {*facts.SETTINGS, *facts.OTHERS}
    assert variables_read() - {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE"} == compared
    # An unset variable is reported as its default.
    unset = dataclasses.asdict(Settings.from_environment({}))
    assert Settings.from_environment(facts.SETTINGS) == Settings.from_environment({})
    assert str(unset["max_body_bytes"]) == facts.SETTINGS["MAX_BODY_BYTES"]
    assert comparing.TOLERANCE == TOLERANCE


def test_both_faces_are_the_same(ops: Callable[..., Any], tmp_path: Path) -> None:
    page = tmp_path / "parity.html"
    done = ops("parity", "--local", "--repeats", "1", "--html", str(page))
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    shown = [line.split(", ")[0] for line in lines if line.startswith("- ") and line[2] not in "✓!"]
    assert len(shown) == len(inputs.default_exam())
    assert "- cat.jpg: tiger cat 0.3848" in shown
    assert lines[-1] == "The same: 16 inputs, Lambda face and SageMaker face."
    assert "<h1>Parity of local:lambda and local:http</h1>" in page.read_text()


def test_an_upgrade_is_compared_with_a_recording(
    ops: Callable[..., Any], face: HttpFace, tmp_path: Path
) -> None:
    kept = str(tmp_path / "before.json")
    own = ("--repeats", "1", "--inputs", str(PHOTOS))
    done = ops("parity", "--left", face.url, "--record", kept, *own)
    assert (done.status, done.out) == (0, "")
    assert "answers of http://127.0.0.1" in done.err
    changed = json.loads(Path(kept).read_text())
    changed["answers"][0]["sha256"] = "0"
    changed["answers"][0]["value"]["results"][0]["prob"] = "0.9"
    Path(kept).write_text(json.dumps(changed))
    done = ops("parity", "--against", kept, "--left", face.url, *own)
    assert done.status == 1
    assert "1 of 4 inputs differ, such as astronaut.webp: results[0].prob 0.9 ≠ 0.2" in done.out
    done = ops("parity", "--against", kept, "--left", face.url, "--repeats", "1")
    assert (done.status, "no answer about cat.jpg on its side" in done.err) == (2, True)


def test_a_recording_holds_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    picture = Input("a", "application/json", b'{"uri": "https://host/?sig=s3cret"}')
    said = timed({"uri": "https://host/?sig=s3cret", "n": 1})
    known = target("Lambda", settings=facts.comparable({"API_KEY": "s3cret"}, b"salt"))
    recording.write(path, known, b"salt", [(picture, said)])
    assert "s3cret" not in path.read_text()
    again = recording.Recording.read(path)
    assert compare(again.answer(picture), said).exact
    assert again.facts.settings == known.settings


def test_a_users_inputs(ops: Callable[..., Any], face: HttpFace, tmp_path: Path) -> None:
    lines = tmp_path / "requests.jsonl"
    square = inputs.data_uri(inputs.default_exam()[0])
    requests = ['{"uri": "http://169.254.169.254/?sig=1"}', '{"text": "my parcel\u2028is late"}']
    lines.write_text("\n".join([f'"{square}"', "", *requests]), encoding="utf-8-sig")
    both = ("--left", face.url, "--right", face.url, "--repeats", "1")
    done = ops("parity", *both, "--inputs", str(lines), "--json")
    assert done.status == 0, done.err
    told = json.loads(done.out)["inputs"]
    names = [one["input"] for one in told]
    assert names == ["line 1", "line 3 http://169.254.169.254/", "line 4"]
    lines.write_text("{")
    for place, says in (
        (lines, f"line 1 of --inputs {lines} is no JSON"),
        (tmp_path, "has nothing to ask; it needs .jpg"),
    ):
        done = ops("parity", *both, "--inputs", str(place))
        assert (done.status, says in done.err) == (2, True), done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--left", "nonsense", "--right", "local:http"), "'nonsense' is not a target; targets"),
        (("--left", "local:http"), "local:http needs a second target"),
        (("--left", "http://127.0.0.1:9", "--right", "http://127.0.0.1:9"), "does not answer"),
    ],
)
def test_wrong_targets(ops: Callable[..., Any], arguments: tuple[str, ...], says: str) -> None:
    done = ops("parity", *arguments)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert done.err.startswith("error: ")


def test_what_is_not_built_is_missed_by_name(
    ops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Leave out a model, and then each requirement of `--docker`."""
    with monkeypatch.context() as patched:
        patched.setenv("MODEL_NAME", "mobilnet1.0")
        missing = ops("parity", "--local")
    assert (missing.status, "did you mean mobilenet1.0" in missing.err) == (2, True)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin-without-docker")
    build = "`make image IMAGE=no-such-image` builds it"
    for works, says in (
        (None, "there is no docker on the PATH: https://docs.docker.com/engine/install"),
        ([], "the Docker engine does not answer; start it, or look at `docker info`"),
        (["info"], f"there is no image no-such-image; {build}"),
    ):
        if works is not None:
            install(tmp_path, "docker", *works)
        done = ops("parity", "--docker", "no-such-image")
        assert (done.status, done.err) == (2, f"error: {says}\n")
