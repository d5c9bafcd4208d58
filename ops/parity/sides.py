"""The targets of a comparison: how each is named, opened, asked and described."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import urllib3

from ops import faces
from ops.aws import Aws, CannotAsk, stack_outputs
from ops.faces import Face, HttpFace, Reply
from ops.local import Picture, process_environment
from ops.parity import described
from ops.parity.described import Described
from ops.parity.facts import CHECKOUT, SETTINGS, Facts, comparable
from ops.parity.invoked import InvokedFunction
from ops.targets import Endpoint, FunctionUrl

ANY = "*/*"
_Start = Callable[..., AbstractContextManager[Face]]
_PROCESSES: dict[str, _Start] = {"http": faces.http_process, "lambda": faces.lambda_process}
_CONTAINERS: dict[str, _Start] = {"http": faces.http_container, "lambda": faces.lambda_container}
GRAMMAR = """\
  https://ID.lambda-url.REGION.on.aws/   a function's URL, signed
  lambda:NAME                            a function, its alias or ARN, by lambda:InvokeFunction
  sagemaker:NAME                         an endpoint
  stack:NAME:lambda                      of a deployed stack: the function by its URL,
  stack:NAME:function                      the same by lambda:InvokeFunction,
  stack:NAME:sagemaker                     the endpoint
  http://HOST:PORT                       a server of the image, not signed
  local:http, local:lambda               a face of this checkout, as a process
  image:TAG:http, image:TAG:lambda       a face of an image of Docker's
"""
_URL_REGION = re.compile(r"\.lambda-url\.([a-z0-9-]+)\.on\.aws$")
_ARN_REGION = re.compile(r"arn:[a-z-]+:(?:lambda|sagemaker):([a-z0-9-]+):")
STACK_KINDS = {"lambda": "FunctionUrl", "function": "FunctionName", "sagemaker": "EndpointName"}


@dataclass(frozen=True)
class Side:
    """A target that is open; `post` raises CannotAsk where it cannot be asked."""

    facts: Facts
    post: Callable[[Picture], Reply]
    image: str = ""
    """In ECR, by digest."""


class Opener:
    """Opens targets by name and keeps them until `stack` closes.

    `salt` hides the values of settings that are not the image's.
    """

    def __init__(self, stack: ExitStack, region: str | None, salt: bytes) -> None:
        self._stack, self._region, self._salt = stack, region, salt
        self.stacks: dict[str, list[Side]] = {}
        """Those whose targets are open."""

    def open(self, name: str) -> Side:
        """Raises CannotAsk, FaceError, and one of AWS_ERRORS."""
        kind, _, rest = name.partition(":")
        if kind in ("http", "https") and (place := urlsplit(name)).hostname:
            if _URL_REGION.search(place.hostname):
                return self.by_url(name)
            return _face(Facts(place.netloc.rpartition("@")[2], name), HttpFace(name.rstrip("/")))
        if kind in ("lambda", "sagemaker") and rest:
            found = _ARN_REGION.match(rest)
            aws = Aws(found[1] if found else self._region)
            if kind == "lambda":
                return self.function(aws, name=rest)
            return self.endpoint(aws, rest.rpartition("/")[2])
        target, _, which = rest.rpartition(":")
        if kind == "stack" and target and which in STACK_KINDS:
            return self.of_stack(target, which)
        if (kind == "local" and rest in _PROCESSES) or (
            kind == "image" and target and which in _PROCESSES
        ):
            return self._local(target, which)
        raise CannotAsk(f"{name!r} names no target", f"it is one of\n{GRAMMAR}")

    def of_stack(self, stack_name: str, which: str) -> Side:
        """`which` is lambda, function or sagemaker. Raises CannotAsk where it has none."""
        aws = Aws(self._region)
        outputs = stack_outputs(aws, stack_name)
        if STACK_KINDS[which] not in outputs:
            target = "sagemaker" if which == "sagemaker" else "lambda"
            raise CannotAsk(
                f"stack {stack_name} has no {target} target",
                "`cdk deploy -c mode=both` makes it; --record and --against take one alone",
            )
        name = outputs.get("FunctionName", "")
        if which == "sagemaker":
            side = self.endpoint(aws, outputs["EndpointName"])
        elif which == "function":
            side = self.function(aws, name=name)
        else:
            side = self.function(aws, url=outputs["FunctionUrl"], name=name)
        self.stacks.setdefault(stack_name, []).append(side)
        return side

    def by_url(self, url: str, name: str = "") -> Side:
        """A function's URL; it is signed for its own region."""
        found = _URL_REGION.search(urlsplit(url).hostname or "")
        return self.function(Aws(found[1] if found else self._region), url=url, name=name)

    def function(self, aws: Aws, *, url: str = "", name: str = "") -> Side:
        """Asked by its URL where one is given; described by its name, if that is known."""
        about = described.function(aws, name) if name else Described()
        post = FunctionUrl(aws, url).post if url else InvokedFunction(aws, name).post
        said = f"function {name}" if name else f"function URL {url}"
        return self._remote("Lambda", said, about, partial(post, accept=ANY))

    def endpoint(self, aws: Aws, name: str) -> Side:
        about = described.endpoint(aws, name)
        post = partial(Endpoint(aws, name).post, accept=ANY)
        return self._remote("SageMaker", f"endpoint {name}", about, post)

    def _remote(
        self, label: str, name: str, about: Described, post: Callable[[Picture], Reply]
    ) -> Side:
        settings = None if about.environment is None else comparable(about.environment, self._salt)
        facts = Facts(label, name, about.digests, settings=settings, untold=about.untold)
        return Side(facts, post, about.image)

    def _local(self, image: str, which: str) -> Side:
        label = {"http": "SageMaker face", "lambda": "Lambda face"}[which]
        if not image:
            environment = process_environment()
            settings = comparable(_known({**os.environ, **environment}), self._salt)
            face = self._stack.enter_context(_PROCESSES[which](environment))
            name = f"local:{which}"
            return _face(Facts(label, name, frozenset({CHECKOUT}), settings=settings), face)
        faces.require_image(image)
        digests, environment = _inspected(image)
        face = self._stack.enter_context(_CONTAINERS[which](image))
        settings = comparable(_known(environment), self._salt)
        return _face(Facts(label, f"{which} of image {image}", digests, settings=settings), face)


def _face(facts: Facts, face: Face) -> Side:
    def post(picture: Picture) -> Reply:
        headers = {"Content-Type": picture.content_type, "Accept": ANY}
        try:
            return face.send("POST", "/invocations", headers, picture.body)
        except urllib3.exceptions.HTTPError as error:
            raise CannotAsk(f"{facts.name} does not answer: {error}", "start it again") from None

    return Side(facts, post)


def _known(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Of this shell's variables, or an image's, only the image's own."""
    return {name: environment[name] for name in SETTINGS if name in environment}


def _inspected(image: str) -> tuple[frozenset[str], dict[str, str]]:
    """The digests that Docker knows of an image, its own and its registries'; its ENV."""
    command = ["docker", "image", "inspect", image]
    [found] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    digests = {digest.partition("@")[2] for digest in found.get("RepoDigests") or ()}
    variables = dict(line.split("=", 1) for line in found["Config"].get("Env") or ())
    return frozenset({found["Id"], *digests}), variables
