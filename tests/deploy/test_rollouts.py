"""Rollouts that succeed and that go back, with stand-ins for containers and aliases."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from deploy.plane import codedeploy, fleets
from deploy.plane.codedeploy import CodeDeploy
from deploy.plane.containers import Answer, Unhealthy
from deploy.plane.fleets import Endpoint
from deploy.plane.rules import Properties


class Instance:
    """Answers with its config's name, or is never healthy."""

    specified = image = "image"

    def __init__(self, body: str, *, healthy: bool = True) -> None:
        self._body, self._healthy = body, healthy
        self.stopped = False
        self.entered, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()

    def wait_until_healthy(self, seconds: float) -> None:
        if not self._healthy:
            raise Unhealthy("never healthy")

    def invoke(self, headers: Mapping[str, str], body: bytes) -> Answer:
        self.entered.set()
        assert self.may_answer.wait(10)
        assert not self.stopped
        return Answer(200, {}, self._body.encode())

    def stop(self) -> None:
        self.stopped = True


def config(name: str, instances: int = 1) -> dict[str, Any]:
    variant = {"VariantName": "AllTraffic", "InitialInstanceCount": instances}
    return {"EndpointConfigName": name, "ProductionVariants": [variant]}


def launcher(*instances: Instance) -> Callable[[Properties], Instance]:
    waiting = iter(instances)
    return lambda variant: next(waiting)


def update(endpoint: Endpoint, *instances: Instance, alarms: list[str] | None = None) -> None:
    endpoint.update(
        config("green", len(instances)),
        launcher(*instances),
        canary_share=None,
        alarms=lambda: alarms or [],
    )


def asked(endpoint: Endpoint) -> bytes:
    _, answer = endpoint.invoke({}, b"")
    return bytes(answer.body)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (codedeploy, fleets):
        monkeypatch.setattr(module, "BAKE_SECONDS", 0)


@pytest.fixture
def blue() -> Instance:
    return Instance("blue")


@pytest.fixture
def endpoint(blue: Instance) -> Endpoint:
    made = Endpoint("endpoint")
    made.create(config("blue"), launcher(blue))
    return made


def test_a_fleet_that_is_not_healthy_fails_the_creation() -> None:
    healthy, unhealthy = Instance("a"), Instance("b", healthy=False)
    endpoint = Endpoint("endpoint")
    with pytest.raises(Unhealthy, match="did not pass the ping health check"):
        endpoint.create(config("blue", 2), launcher(healthy, unhealthy))
    assert endpoint.status == "Failed"
    assert "variant AllTraffic" in endpoint.failure_reason
    assert healthy.stopped
    assert unhealthy.stopped


def test_an_update_moves_the_traffic(endpoint: Endpoint, blue: Instance) -> None:
    assert asked(endpoint) == b"blue"
    update(endpoint, Instance("green"))
    assert asked(endpoint) == b"green"
    assert blue.stopped
    assert (endpoint.status, endpoint.failure_reason) == ("InService", "")


def test_an_update_that_is_not_healthy_leaves_the_old_fleet(
    endpoint: Endpoint, blue: Instance
) -> None:
    healthy, unhealthy = Instance("green"), Instance("green", healthy=False)
    with pytest.raises(Unhealthy):
        update(endpoint, healthy, unhealthy)
    assert asked(endpoint) == b"blue"
    assert (healthy.stopped, unhealthy.stopped) == (True, True)
    assert endpoint.status == "InService"
    assert "did not pass" in endpoint.failure_reason
    assert endpoint.fleet.config["EndpointConfigName"] == "blue"


def test_an_update_that_cannot_start_leaves_the_old_fleet(endpoint: Endpoint) -> None:
    def fails(variant: Properties) -> Instance:
        raise RuntimeError("no such image")

    with pytest.raises(RuntimeError, match="no such image"):
        endpoint.update(config("green"), fails, canary_share=None, alarms=list)
    assert asked(endpoint) == b"blue"
    assert endpoint.status == "InService"


def test_an_alarm_sends_the_traffic_back(endpoint: Endpoint, blue: Instance) -> None:
    green = Instance("green")
    with pytest.raises(Unhealthy, match="faults"):
        update(endpoint, green, alarms=["faults"])
    assert asked(endpoint) == b"blue"
    assert green.stopped
    assert not blue.stopped


def test_a_request_in_flight_is_answered_by_the_old_fleet(
    endpoint: Endpoint, blue: Instance
) -> None:
    blue.may_answer.clear()
    answers: list[bytes] = []
    client = threading.Thread(target=lambda: answers.append(asked(endpoint)))
    client.start()
    assert blue.entered.wait(10)
    moving = threading.Thread(target=update, args=(endpoint, Instance("green")))
    moving.start()
    moving.join(0.2)
    assert asked(endpoint) == b"green"  # new requests do not wait
    assert moving.is_alive()
    assert not blue.stopped
    blue.may_answer.set()
    client.join()
    moving.join()
    assert answers == [b"blue"]
    assert blue.stopped


def test_a_canary_shares_the_traffic_first(endpoint: Endpoint) -> None:
    seen: list[set[bytes]] = []

    def look() -> list[str]:
        seen.append({asked(endpoint) for _ in range(100)})
        return []

    green = [Instance("green"), Instance("green")]
    endpoint.update(config("green", 2), launcher(*green), canary_share=0.5, alarms=look)
    assert seen == [{b"blue", b"green"}, {b"green"}]


@pytest.mark.parametrize(
    ("alarms", "moves"),
    [([], ["to the new version"]), (["faults"], ["to the new version", "back"])],
)
def test_an_alias_moves_and_an_alarm_moves_it_back(alarms: list[str], moves: list[str]) -> None:
    deploy = CodeDeploy(lambda names: [name for name in names if name in alarms])
    deploy.create_application("A", {"ApplicationName": "application"}, "stack")
    group = {
        "ApplicationName": "application",
        "DeploymentGroupName": "group",
        "ServiceRoleArn": "arn:aws:iam::123456789012:role/rollout",
        "DeploymentConfigName": "CodeDeployDefault.LambdaAllAtOnce",
        "AlarmConfiguration": {"Enabled": True, "Alarms": [{"Name": "faults"}]},
    }
    deploy.create_group("Group", group, "stack")
    made: list[str] = []

    def shift() -> None:
        deploy.shift(
            "application",
            "group",
            move=lambda: made.append("to the new version"),
            back=lambda: made.append("back"),
        )

    if alarms:
        with pytest.raises(RuntimeError, match="faults in ALARM"):
            shift()
    else:
        shift()
    assert made == moves
