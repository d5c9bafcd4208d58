"""Open the targets of a comparison by name, and send them the inputs."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial

import urllib3

from ops import local_servers
from ops.answers import THROTTLED
from ops.aws import Aws, CannotAsk, stack_outputs
from ops.cli import Spinner
from ops.inputs import Input
from ops.local_servers import Face, FaceError, HttpFace, HttpReply
from ops.parity import deployment
from ops.parity.compare import TimedAnswer
from ops.parity.facts import CHECKOUT, SETTINGS, Facts, comparable
from ops.targets import IDENTITY, Endpoint, FunctionUrl, InvokedFunction, targets_of

ANY = "*/*"
NAMES = """\
  https://ID.lambda-url.REGION.on.aws/   a function's URL, signed
  lambda:NAME                            a function, its alias or ARN, by lambda:InvokeFunction
  sagemaker:NAME                         an endpoint
  stack:NAME:lambda                      a deployed stack's function, by its URL
  stack:NAME:function                    the same, by lambda:InvokeFunction
  stack:NAME:sagemaker                   its endpoint
  http://HOST:PORT                       a server of the image, not signed
  local:http, local:lambda               a face of this checkout, as a process
  image:TAG:http, image:TAG:lambda       a face of a local Docker image
"""
Start = Callable[..., AbstractContextManager[Face]]
# Each face's label, and how to start it as a process and as a container.
FACES: dict[str, tuple[str, Start, Start]] = {
    "http": ("SageMaker face", local_servers.http_process, local_servers.http_container),
    "lambda": ("Lambda face", local_servers.lambda_process, local_servers.lambda_container),
}
_HOST = re.compile(r"https?://(?:[^/@]*@)?(\[[0-9a-fA-F:]+\][:\d]*|[^][/?#]+)(?=[/?#]|$)")
_URL_REGION = re.compile(r"\.lambda-url\.([a-z0-9-]+)\.on\.aws$")
_ARN_REGION = re.compile(r"arn:[a-z-]+:(?:lambda|sagemaker):([a-z0-9-]+):")
Client = FunctionUrl | InvokedFunction | Endpoint | Face


@dataclass(frozen=True)
class OpenTarget:
    """Hold a target's facts and client. `post` sends an input by it, and raises CannotAsk."""

    facts: Facts
    client: Client
    post: Callable[[Input], HttpReply]


class Opener:
    """Open targets and keep them until `stack` closes; `salt` hides the user's own settings.

    A spinner around AWS's calls would hide boto3's prompt for an MFA code.
    """

    def __init__(self, stack: ExitStack, aws: Aws, salt: bytes) -> None:
        self._stack, self._aws, self._salt = stack, aws, salt

    def open(self, name: str) -> OpenTarget:
        """Open a target by its name. Raise CannotAsk, FaceError and AWS_ERRORS."""
        if host := _HOST.match(name):
            if _URL_REGION.search(host[1]):
                return self.function_by_url(name)
            return _face(Facts(host[1], name), HttpFace(name.rstrip("/")))
        kind, _, rest = name.partition(":")
        place, _, which = rest.rpartition(":")
        if kind == "lambda" and rest:
            aws = self._at(_ARN_REGION.match(rest))
            return _deployed(deployment.function(aws, rest, self._salt), InvokedFunction(aws, rest))
        if kind == "sagemaker" and rest:
            aws, name = self._at(_ARN_REGION.match(rest)), rest.rpartition("/")[2]
            return _deployed(deployment.endpoint(aws, name, self._salt), Endpoint(aws, name))
        if kind == "stack" and place and which in ("lambda", "function", "sagemaker"):
            return self._of_stack(place, which)
        if kind == "local" and rest in FACES:
            return self._process(rest)
        if kind == "image" and place and which in FACES:
            return self._container(place, which)
        raise CannotAsk(f"{name!r} is not a target", f"targets are\n{NAMES}")

    def function_by_url(self, url: str, name: str = "") -> OpenTarget:
        """Open a function by its URL, signed for the URL's region; describe it by name if given."""
        if not (host := _HOST.match(url)):
            raise CannotAsk(f"{url!r} is not a URL", "give https://ID.lambda-url.REGION.on.aws/")
        aws = self._at(_URL_REGION.search(host[1]))
        by_name = deployment.function(aws, name, self._salt) if name else None
        return _deployed(by_name or Facts("Lambda", f"function URL {url}"), FunctionUrl(aws, url))

    def _of_stack(self, stack_name: str, which: str) -> OpenTarget:
        outputs = stack_outputs(self._aws, stack_name)
        kind = "sagemaker" if which == "sagemaker" else "lambda"
        if kind not in targets_of(outputs):
            raise CannotAsk(
                f"stack {stack_name} has no {kind} target",
                "`cdk deploy -c mode=both` makes it; --record and --against need only one",
            )
        if which == "sagemaker":
            opened = self.open(f"sagemaker:{outputs['EndpointName']}")
        elif which == "function" or "FunctionUrl" not in outputs:
            opened = self.open(f"lambda:{outputs['FunctionName']}")
        else:
            opened = self.function_by_url(outputs["FunctionUrl"], outputs.get("FunctionName", ""))
        return replace(opened, facts=replace(opened.facts, stack=stack_name))

    def _at(self, region: re.Match[str] | None) -> Aws:
        return self._aws.at(region[1]) if region else self._aws

    def _process(self, which: str) -> OpenTarget:
        label, start, _ = FACES[which]
        environment = local_servers.process_environment()
        cpu, settings = local_servers.machine(), self._settings({**os.environ, **environment})
        name, digests = f"local:{which}", frozenset({CHECKOUT})
        return self._started(Facts(label, name, digests, settings, cpu), start(environment))

    def _container(self, image: str, which: str) -> OpenTarget:
        local_servers.require_image(image)
        command = ["docker", "image", "inspect", image]
        [found] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        variables = dict(line.split("=", 1) for line in found["Config"].get("Env") or ())
        repository_digests = (name.partition("@")[2] for name in found["RepoDigests"] or ())
        digests = frozenset({found["Id"], *repository_digests})
        label, _, start = FACES[which]
        name, settings = f"{which} of image {image}", self._settings(variables)
        cpu = local_servers.architecture_of(image)
        return self._started(Facts(label, name, digests, settings, cpu), start(image))

    def _started(self, facts: Facts, start: AbstractContextManager[Face]) -> OpenTarget:
        with Spinner(f"starting the {facts.label}"):
            return _face(facts, self._stack.enter_context(start))

    def _settings(self, environment: Mapping[str, str]) -> dict[str, str]:
        known = {name: environment[name] for name in SETTINGS if name in environment}
        return comparable(known, self._salt)


def ask(
    targets: Sequence[OpenTarget],
    inputs: Sequence[Input],
    repeats: int,
    tell: Callable[[str], None],
) -> tuple[list[Facts], list[list[TimedAnswer]]]:
    """Return the targets' facts with identities, and for each input every target's answer.

    Calls alternate between targets. The first call of each does not count, because it may be a cold
    start. `tell` gets the progress. Raise CannotAsk, also for a throttled target and for one that
    answers from two deployments.
    """
    identities: list[set[str]] = [set() for _ in targets]
    for target in targets:
        target.post(inputs[0])
    rows = []
    for item in inputs:
        tell(f"asking about {item.name[:40]}")
        rounds = [[target.post(item) for target in targets] for _ in range(repeats)]
        row = []
        for target, seen, replies in zip(targets, identities, zip(*rounds)):
            seen.update(reply.headers.get(IDENTITY, "") for reply in replies)
            row.append(answer := TimedAnswer.of(replies))
            if answer.error.get("code") == THROTTLED:
                raise CannotAsk(
                    f"{target.facts.name} is throttled: {answer.error['message']}",
                    "call it less often (--repeats 1), or when it has less traffic",
                )
        rows.append(row)
    return [t.facts.identified(seen) for t, seen in zip(targets, identities)], rows


def _deployed(facts: Facts, client: FunctionUrl | InvokedFunction | Endpoint) -> OpenTarget:
    return OpenTarget(facts, client, partial(client.post, accept=ANY))


def _face(facts: Facts, face: Face) -> OpenTarget:
    def post(item: Input) -> HttpReply:
        headers = {"Content-Type": item.content_type, "Accept": ANY}
        try:
            return face.send("POST", "/invocations", headers, item.body)
        except (FaceError, ValueError) as error:  # the emulator reports a timeout in plain text
            return HttpReply(502, {}, str(error).encode(), 0.0)
        except urllib3.exceptions.HTTPError as error:
            raise CannotAsk(f"{facts.name} does not answer: {error}", "start it again") from None

    return OpenTarget(facts, face, post)
