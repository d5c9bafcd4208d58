"""The one place where a request becomes an answer. Both faces call `Service.respond`."""

import logging
import threading
import time
from collections.abc import Container, Sequence
from http import HTTPMethod
from pathlib import Path
from types import ModuleType
from typing import Any

from serving import contract, inference, logs
from serving.artifact import Artifact
from serving.contract import Answer, Call, Reply, Request
from serving.errors import (
    Fault,
    MethodNotAllowed,
    NotFound,
    NotReady,
    Overloaded,
    ServingError,
    without_locals,
)
from serving.health import Health
from serving.settings import Settings

_log = logging.getLogger(__name__)

METHODS = {
    "/ping": ("GET", "HEAD"),
    "/invocations": ("POST",),
    "/execution-parameters": ("GET", "HEAD"),
}

# What a transform job has on its way at once may be 100 MB.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
_TRANSFORM_MB = 100
_TRANSFORMS = 8  # at once, a process


def model_of(settings: Settings) -> ModuleType:
    """`inference.py`, or the file that INFERENCE puts in its place. Raises StartError."""
    if not settings.inference:
        return inference
    from serving import replaced

    return replaced.load(Path(settings.inference))


class Service:
    """A model and its pipeline. `respond` may be called from many threads, before `start` too."""

    def __init__(
        self,
        settings: Settings,
        artifact: Artifact,
        model: ModuleType = inference,
        patience_seconds: float = 10.0,
    ) -> None:
        """`patience_seconds`: how long a request waits for a model that is still being loaded.

        One process of a server may be ready, and its pings say so, a moment before another is.
        """
        self._patience_seconds = patience_seconds
        self._settings = settings
        self._artifact = artifact
        self._model = model
        self._net: Any = None
        self._ready = threading.Event()
        self._suspect = False
        self._stuck = False
        self._proof = threading.Lock()  # one ping proves it, the others do not wait
        self._places = threading.BoundedSemaphore(settings.max_waiting)
        probe = self._warm_up if hasattr(model, "warm_up") else None
        self._health = Health(settings.stuck_seconds, settings.max_waiting, probe)
        self._identity = (
            "X-Amzn-SageMaker-Custom-Attributes",
            f"image={settings.image_id};model={artifact.model_id}",
        )

    def start(self) -> None:
        """Load the model and warm it up; only then is the service healthy.

        Raises StartError, or whatever a replaced `load_model` raises.
        """
        started = time.perf_counter()
        self._net = self._model.load_model(self._artifact.folder)
        self._warm_up()
        self._ready.set()
        _log.info(
            "ready",
            extra={
                "image": self._settings.image_id,
                "model": self._artifact.model_id,
                "modelName": self._artifact.manifest.get("name", ""),
                "seconds": round(time.perf_counter() - started, 3),
            },
        )

    def respond(self, request: Request) -> Reply:
        """The reply to any request; never raises, and logs each request but pings once."""
        started = time.perf_counter()
        stages = logs.begin_stages()
        code = ""
        try:
            reply = self._route(request)
        except ServingError as error:
            reply, code = contract.render_error(error), error.code
        except BaseException as error:  # a model that calls sys.exit ends no process
            reply, code = contract.render_error(self._fault(error)), Fault.code
        if request.path != "/ping":
            _log.info(
                "request",
                extra={
                    # Others are a stranger's text: someone may have put a key into it.
                    "method": _known(request.method, HTTPMethod.__members__),
                    "path": _known(request.path, METHODS),
                    "status": reply.status,
                    "milliseconds": round((time.perf_counter() - started) * 1000, 2),
                    "stages": logs.in_milliseconds(stages),
                    "bytesIn": len(request.body),
                    "bytesOut": len(reply.body),
                    **({"code": code} if code else {}),
                },
            )
        body = b"" if request.method == "HEAD" else reply.body
        return Reply(reply.status, body, (*reply.headers, self._identity))

    def refuse(self, problem: ServingError) -> Reply:
        """The reply to what a face cannot make a request of; logged like one."""
        _log.info("request", extra={"status": problem.status, "code": problem.code})
        reply = contract.render_error(problem)
        return Reply(reply.status, reply.body, (*reply.headers, self._identity))

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    def is_stuck(self) -> bool:
        """Whether the model hangs; pings say so from then on, and the process is to be replaced."""
        if not self._stuck and self._health.is_stuck():
            self._stuck = True
            _log.error(
                "the model is stuck: no request has ended for %d s", self._settings.stuck_seconds
            )
        return self._stuck

    def _route(self, request: Request) -> Reply:
        methods = METHODS.get(request.path)
        if methods is None:
            raise NotFound(f"no such path; there are {', '.join(METHODS)}")
        if request.method not in methods:
            raise MethodNotAllowed(request.path, methods)
        if request.path == "/ping":
            return self._ping()
        if request.path == "/execution-parameters":
            return self._execution_parameters()
        return self._invocations(request)

    def _ping(self) -> Reply:
        if self._ready.is_set() and self._suspect and self._proof.acquire(blocking=False):
            try:
                self._warm_up()
                self._suspect = False
            except Exception:
                _log.exception("the model no longer answers")
            finally:
                self._proof.release()
        if not self._ready.is_set() or self._suspect or self._stuck:
            raise NotReady("the model does not answer")
        return Reply(200)

    def _execution_parameters(self) -> Reply:
        """What SageMaker Batch Transform asks before it starts.

        A record a request: payloads are packed by size alone, so thousands of short lines would be
        one request, to one process. Several requests a process, as some wait for what they fetch.
        https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
        """
        workers = self._settings.workers
        body_mb = self._settings.max_body_bytes // 1024**2
        payload_mb = max(1, min(body_mb, _TRANSFORM_MB // workers))
        parameters = {
            "MaxConcurrentTransforms": min(_TRANSFORMS * workers, _TRANSFORM_MB // payload_mb),
            "BatchStrategy": "SINGLE_RECORD",
            "MaxPayloadInMB": payload_mb,
        }
        text = contract.encode(parameters)
        return contract.render([text], contract.Shape.ONE, contract.JSON)

    def _invocations(self, request: Request) -> Reply:
        if request.problem:
            raise request.problem
        begun = time.perf_counter()
        call = contract.parse(
            request,
            payload_types=getattr(self._model, "PAYLOAD_TYPES", ()),
            max_body_bytes=self._settings.max_body_bytes,
            is_transform=self._settings.is_transform,
        )
        media_type = contract.reply_type(request.headers.get("accept", ""), call.shape)
        logs.spent(parse=time.perf_counter() - begun)
        if not self._places.acquire(blocking=False):
            raise Overloaded(f"{self._settings.max_waiting} requests are waiting already")
        try:
            if not self._ready.wait(self._patience_seconds):
                raise NotReady("the model is still being loaded")
            with self._health:
                answers = self._answers(call)
        finally:
            self._places.release()
        alone = answers[0] if call.shape is contract.Shape.ONE else None
        if isinstance(alone, ServingError):
            # A job of Batch Transform would fail by one bad picture. What may pass, it tries again.
            is_in_place = self._settings.is_transform and not isinstance(alone, Fault)
            if not is_in_place:
                raise alone
        return contract.render(answers, call.shape, media_type)

    def _answers(self, call: Call) -> Sequence[Answer]:
        batch = getattr(self._model, "infer_batch", None)
        if batch is None or len(call.records) < 2:
            return [self._answer(record) for record in call.records]
        answers: list[Answer | None] = [
            record if isinstance(record, ServingError) else None for record in call.records
        ]
        whole = [i for i, answer in enumerate(answers) if answer is None]
        try:
            results = batch([call.records[i] for i in whole], self._net)
            for i, result in zip(whole, results, strict=True):
                answers[i] = self._encode(result)
        except Exception as error:
            fault = self._fault(error)
            return [answer or fault for answer in answers]
        return [answer for answer in answers if answer is not None]

    def _answer(self, record: contract.Record | ServingError) -> Answer:
        if isinstance(record, ServingError):
            return record
        try:
            return self._encode(self._model.infer(record, self._net))
        except Exception as error:
            return self._encode(without_locals(error))

    def _encode(self, result: object) -> Answer:
        """A model's answer, or the exception in place of one."""
        if isinstance(result, ServingError):
            return result
        if not isinstance(result, Exception):
            try:
                return contract.encode(result)
            except Exception as error:
                return self._fault(error)
        return self._fault(result)

    def _warm_up(self) -> None:
        if warm_up := getattr(self._model, "warm_up", None):
            warm_up(self._net)

    def _fault(self, error: BaseException) -> Fault:
        """Log what happened, and have the next ping prove that the model answers."""
        _log.error("fault", exc_info=error)
        self._suspect = True
        return Fault()


def _known(text: str, known: Container[str]) -> str:
    return text if text in known else "(unknown)"
