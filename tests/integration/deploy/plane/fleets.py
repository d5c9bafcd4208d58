"""Route an endpoint's traffic to fleets, and move it to a new fleet in an update."""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from urllib3 import BaseHTTPResponse

from integration.deploy.plane.containers import Container, Unhealthy
from integration.deploy.plane.rules import Properties

BAKE_SECONDS = 1.0  # every waiting time of a deployment, which takes minutes on AWS
DRAIN_SECONDS = 60.0
PING_SECONDS = 600  # if the config does not name it; AWS publishes no default

Launch = Callable[[Properties], Container]


class Fleet:
    """The instances of one endpoint config, which has one variant."""

    def __init__(self, config: Properties) -> None:
        self.config = config
        [self.variant] = config["ProductionVariants"]
        self.instances: list[Container] = []
        self._in_flight = 0
        self._idle = threading.Condition()

    def start(self, launch: Launch) -> None:
        """Start every instance and wait for its health. Raise Unhealthy, and stop all."""
        seconds = self.variant.get("ContainerStartupHealthCheckTimeoutInSeconds", PING_SECONDS)
        try:
            for _ in range(self.variant.get("InitialInstanceCount", 1)):
                self.instances.append(launch(self.variant))
            for instance in self.instances:
                instance.wait_until_healthy(seconds)
        except BaseException as error:
            self.stop()
            if not isinstance(error, Unhealthy):
                raise
            raise Unhealthy(
                f"The primary container for production variant {self.variant['VariantName']} did "
                "not pass the ping health check. Please check CloudWatch logs for this endpoint."
            ) from error

    def count(self, requests: int) -> None:
        """Add to the number of requests in flight; `stop` waits until it is 0."""
        with self._idle:
            self._in_flight += requests
            self._idle.notify_all()

    def stop(self) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0, DRAIN_SECONDS)
        for instance in self.instances:
            instance.stop()
        self.instances.clear()


@dataclass
class Endpoint:
    """One endpoint. Its `routes` are the fleets that get traffic, with their shares."""

    name: str
    routes: Sequence[tuple[Fleet, float]] = ()
    status: str = "Creating"
    failure_reason: str = ""
    created: float = field(default_factory=time.time)
    modified: float = field(default_factory=time.time)
    skewed: bool = False
    _switch: threading.Lock = field(default_factory=threading.Lock)

    @property
    def fleet(self) -> Fleet:
        return self.routes[0][0]

    def invoke(self, headers: Mapping[str, str], body: bytes) -> BaseHTTPResponse:
        with self._switch:  # keeps the old fleet from stopping between the choice and the count
            shares = [share for _, share in self.routes]
            [(fleet, _)] = random.choices(self.routes, shares)  # noqa: S311 - routing only
            fleet.count(1)
        try:
            return random.choice(fleet.instances).invoke(headers, body)  # noqa: S311 - routing only
        finally:
            fleet.count(-1)

    def create(self, config: Properties, launch: Launch) -> None:
        """Start the fleet and become InService. Raise Unhealthy."""
        fleet = Fleet(config)
        fleet.start(launch)
        self._route([(fleet, 1)])
        self._become("InService")

    def update(
        self,
        config: Properties,
        launch: Launch,
        *,
        canary_share: float | None,
        alarms: Callable[[], Sequence[str]],
    ) -> None:
        """Start the new fleet beside the old one, move the traffic, and stop the old one.

        `alarms` returns the rollback alarms that are in ALARM. Raise Unhealthy if there are any or
        the new fleet is not healthy; the old fleet then keeps the traffic.
        """
        blue, green = self.fleet, Fleet(config)
        self._become("Updating")
        canary = [[(blue, 1 - canary_share), (green, canary_share)]] if canary_share else []
        try:
            green.start(launch)
            for routes in [*canary, [(green, 1.0)]]:
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

    def _route(self, routes: Sequence[tuple[Fleet, float]]) -> None:
        with self._switch:
            self.routes = routes

    def _become(self, status: str, failure_reason: str = "") -> None:
        self.status, self.failure_reason, self.modified = status, failure_reason, time.time()
