"""An endpoint's traffic: the fleets behind it, and how an update moves from one to the next."""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from deploy.plane.containers import Answer, Unhealthy
from deploy.plane.rules import Properties

BAKE_SECONDS = 1.0
"""Stands for every waiting time of a deployment, which on AWS are minutes."""
DRAIN_SECONDS = 60.0
PING_SECONDS = 600
"""Where the config names no other; AWS publishes no default."""


class Instance(Protocol):
    @property
    def image(self) -> str: ...

    @property
    def specified(self) -> str: ...

    def wait_until_healthy(self, seconds: float) -> None: ...

    def invoke(self, headers: Mapping[str, str], body: bytes) -> Answer: ...

    def stop(self) -> None: ...


class Fleet:
    """The instances of one endpoint config."""

    def __init__(self, config: Properties) -> None:
        self.config = config
        self.variants: dict[str, list[Instance]] = {}
        self._in_flight = 0
        self._idle = threading.Condition()

    def start(self, launch: Callable[[Properties], Instance]) -> None:
        """Start every instance and wait for its health. Raises Unhealthy; nothing is left then."""
        try:
            for variant in self.config["ProductionVariants"]:
                instances = self.variants.setdefault(variant["VariantName"], [])
                for _ in range(variant.get("InitialInstanceCount", 1)):
                    instances.append(launch(variant))
            for variant in self.config["ProductionVariants"]:
                seconds = variant.get("ContainerStartupHealthCheckTimeoutInSeconds", PING_SECONDS)
                for instance in self.variants[variant["VariantName"]]:
                    _check_health(instance, seconds, variant["VariantName"])
        except BaseException:
            self.stop()
            raise

    def enter(self) -> None:
        """A request comes in; `stop` waits until as many have left."""
        with self._idle:
            self._in_flight += 1

    def leave(self) -> None:
        with self._idle:
            self._in_flight -= 1
            self._idle.notify_all()

    def invoke(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Answer]:
        """The variant that answered, and its answer."""
        weights = {
            variant["VariantName"]: variant.get("InitialVariantWeight", 1)
            for variant in self.config["ProductionVariants"]
        }
        [name] = random.choices(list(weights), list(weights.values()))  # noqa: S311
        instance = random.choice(self.variants[name])  # noqa: S311
        return name, instance.invoke(headers, body)

    def stop(self) -> None:
        """Let the requests in flight finish, then stop every instance."""
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0, DRAIN_SECONDS)
        for instances in self.variants.values():
            for instance in instances:
                instance.stop()
        self.variants.clear()


def _check_health(instance: Instance, seconds: float, variant: str) -> None:
    try:
        instance.wait_until_healthy(seconds)
    except Unhealthy as unhealthy:
        raise Unhealthy(
            f"The primary container for production variant {variant} did not pass the ping health "
            "check. Please check CloudWatch logs for this endpoint."
        ) from unhealthy


@dataclass
class Endpoint:
    """One endpoint. Its `routes` are the fleets that get traffic, each with its share of it."""

    name: str
    routes: Sequence[tuple[Fleet, float]] = ()
    status: str = "Creating"
    failure_reason: str = ""
    created: float = field(default_factory=time.time)
    modified: float = field(default_factory=time.time)
    _switch: threading.Lock = field(default_factory=threading.Lock)

    @property
    def fleet(self) -> Fleet:
        return self.routes[0][0]

    def invoke(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Answer]:
        with self._switch:  # or the old fleet could stop between the choice and the entry
            shares = [share for _, share in self.routes]
            [(fleet, _)] = random.choices(self.routes, shares)  # noqa: S311
            fleet.enter()
        try:
            return fleet.invoke(headers, body)
        finally:
            fleet.leave()

    def create(self, config: Properties, launch: Callable[[Properties], Instance]) -> None:
        """InService with every instance healthy; else Failed, and Unhealthy is raised."""
        fleet = Fleet(config)
        try:
            fleet.start(launch)
        except Exception as error:
            self._become("Failed", str(error))
            raise
        self._route([(fleet, 1)])
        self._become("InService")

    def update(
        self,
        config: Properties,
        launch: Callable[[Properties], Instance],
        *,
        canary_share: float | None,
        alarms: Callable[[], Sequence[str]],
    ) -> None:
        """Blue/green: start the new fleet beside the old one, move the traffic, stop the old one.

        `alarms` are the rollback alarms that are in ALARM. Raises Unhealthy where the new fleet
        is not healthy or an alarm is; the old fleet then serves on as if nothing had happened.
        """
        blue, green = self.fleet, Fleet(config)
        self._become("Updating")
        try:
            green.start(launch)
            for routes in self._steps(blue, green, canary_share):
                self._route(routes)
                time.sleep(BAKE_SECONDS)
                if raised := alarms():
                    raise Unhealthy(f"rollback alarms in ALARM: {', '.join(raised)}")
        except Exception as error:
            self._route([(blue, 1)])
            green.stop()
            self._become("InService", str(error))
            raise
        blue.stop()
        self._become("InService")

    def delete(self) -> None:
        self._become("Deleting")
        for fleet, _ in self.routes:
            fleet.stop()

    @staticmethod
    def _steps(
        blue: Fleet, green: Fleet, canary_share: float | None
    ) -> Sequence[Sequence[tuple[Fleet, float]]]:
        canary = [[(blue, 1 - canary_share), (green, canary_share)]] if canary_share else []
        return [*canary, [(green, 1)]]

    def _route(self, routes: Sequence[tuple[Fleet, float]]) -> None:
        with self._switch:
            self.routes = routes

    def _become(self, status: str, failure_reason: str = "") -> None:
        self.status, self.failure_reason, self.modified = status, failure_reason, time.time()
