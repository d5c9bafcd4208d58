"""The pipeline from request to reply. Both faces call `Service.respond`."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPMethod
from pathlib import Path
from typing import Any

from serving.artifact.resolve import Artifact
from serving.core import contract, errors, logs
from serving.core.contract import Answer, Record, Reply, Request, Shape
from serving.core.errors import InternalError, NotReady, ServingError
from serving.core.settings import Settings
from serving.model import custom_model
from serving.model.protocol import Model
from serving.model.watchdog import Watchdog

_log = logging.getLogger(__name__)

METHODS = {
    "/ping": ("GET", "HEAD"),
    "/invocations": ("POST",),
    "/execution-parameters": ("GET", "HEAD"),
}
# A transform job may have 100 MB of requests in flight.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
_IN_FLIGHT_MB = 100
_REQUESTS_PER_PROCESS = 8


def model_of(settings: Settings) -> Model:
    """Return the model in `inference.py` or in the file INFERENCE. Raises StartError."""
    if settings.inference:
        return custom_model.load(Path(settings.inference))
    from serving import inference

    return custom_model.adapt(inference)


def execution_parameters(settings: Settings) -> dict[str, int | str]:
    """Return the parameters with which SageMaker Batch Transform sends the records of a job.

    A request holds one record: SageMaker packs records by size alone, so one request could hold
    thousands of short lines. Each process gets several requests, since some wait for a fetch.
    """
    body_mb = settings.max_body_bytes // 1024**2
    payload_mb = max(1, min(body_mb, _IN_FLIGHT_MB // settings.workers))
    requests = min(_REQUESTS_PER_PROCESS * settings.workers, _IN_FLIGHT_MB // payload_mb)
    return {
        "MaxConcurrentTransforms": requests,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": payload_mb,
    }


class Service:
    """A model and its pipeline. `respond` may be called from many threads, also before `start`."""

    def __init__(
        self,
        settings: Settings,
        artifact: Artifact,
        model: Model,
        patience_seconds: float = 10.0,
        forward: Callable[[Request], Reply | None] | None = None,
    ) -> None:
        """Let each request wait up to `patience_seconds` for a model that is being loaded.

        One process of a server may answer pings a moment before another has loaded its model.
        `forward` returns another target's reply to a request, or None to have it answered here.
        """
        self._patience_seconds, self._forward = patience_seconds, forward
        self._settings, self._artifact, self._model = settings, artifact, model
        self._net: Any = None
        self._ready = threading.Event()
        self._is_suspect = False
        self._probing = threading.Lock()  # one ping runs the warm-up; the others do not wait
        self._places = threading.BoundedSemaphore(settings.max_waiting)
        probe = self._warm_up if model.warm_up else None
        self.watchdog = Watchdog(settings.stuck_seconds, settings.max_waiting, probe)
        # SageMaker's header, and plain ones because a proxy or a function URL may drop the first.
        self.identity = {
            contract.IDENTITY: f"image={settings.image_id};model={artifact.model_id}",
            "X-Image-Id": settings.image_id,
            "X-Model-Id": artifact.model_id,
        }

    def start(self) -> None:
        """Load the model and warm it up. Raises StartError, or whatever the model raises."""
        started = time.perf_counter()
        self._net = self._model.load_model(self._artifact.folder)
        self._warm_up()
        self._ready.set()
        fields = {
            "image": self._settings.image_id,
            "model": self._artifact.model_id,
            "modelName": self._artifact.manifest.get("name", ""),
            "seconds": round(time.perf_counter() - started, 3),
        }
        _log.info("ready", extra=fields)

    def respond(self, request: Request) -> Reply:
        """Return the reply to any request. Never raises; logs each request once, except pings."""
        started = time.perf_counter()
        stages, notes = logs.begin()
        try:
            reply = self._route(request)
        except ServingError as error:
            reply = contract.render_error(error)
        except BaseException as error:  # a model that calls sys.exit must not end the process
            reply = contract.render_error(self._fault(error))
        if request.path != "/ping":
            is_known = request.method in HTTPMethod.__members__
            fields = {
                # Other values come from the caller and may hold a secret.
                "method": request.method if is_known else "(unknown)",
                "path": request.path if request.path in METHODS else "(unknown)",
                "status": reply.status,
                "milliseconds": round((time.perf_counter() - started) * 1000, 2),
                "stages": logs.in_milliseconds(stages),
                "bytesIn": len(request.body),
                "bytesOut": len(reply.body),
                **({"code": reply.code} if reply.code else {}),
                **notes,
            }
            _log.info("request", extra=fields)
        body = b"" if request.method == "HEAD" else reply.body
        headers = dict(reply.headers)
        if not reply.has_identity:
            headers.update(self.identity)
        if target := notes.get("target"):
            headers["X-Served-By"] = str(target)
        return Reply(reply.status, body, tuple(headers.items()))

    def _route(self, request: Request) -> Reply:
        methods = METHODS.get(request.path)
        if methods is None:
            raise errors.NotFound(f"no such path; there are {', '.join(METHODS)}")
        if request.method not in methods:
            raise errors.MethodNotAllowed(request.path, methods)
        if request.path == "/ping":
            return self._ping()
        if request.path == "/execution-parameters":
            text = contract.encode(execution_parameters(self._settings))
            return contract.render([text], Shape.ONE, contract.JSON)
        return self._invocations(request)

    def _ping(self) -> Reply:
        if self._ready.is_set() and self._is_suspect and self._probing.acquire(blocking=False):
            try:
                self._warm_up()
                self._is_suspect = False
            except Exception:
                _log.exception("the model no longer answers")
            finally:
                self._probing.release()
        if not self._ready.is_set() or self._is_suspect:
            raise NotReady("the model does not answer")
        return Reply(200)

    def _invocations(self, request: Request) -> Reply:
        if request.problem:
            raise request.problem
        if self._forward and (reply := self._forward(request)):
            return reply
        settings = self._settings
        started = time.perf_counter()
        records, shape = contract.parse(
            request,
            payload_types=self._model.payload_types,
            max_body_bytes=settings.max_body_bytes,
            is_transform=settings.is_transform,
        )
        media_type = contract.reply_type(request.headers.get("accept", ""), shape)
        logs.spent(parse=time.perf_counter() - started)
        if not self._places.acquire(blocking=False):
            raise errors.Overloaded(f"{settings.max_waiting} requests are waiting already")
        try:
            if not self._ready.wait(self._patience_seconds):
                raise NotReady("the model is still being loaded")
            with self.watchdog:
                answers = self._answers(records)
        finally:
            self._places.release()
        # One bad picture must not fail a Batch Transform job, which retries internal errors.
        raised = InternalError if settings.is_transform else ServingError
        if shape is Shape.ONE and isinstance(answers[0], raised):
            raise answers[0]
        return contract.render(answers, shape, media_type)

    def _answers(self, parsed: Sequence[Record | ServingError]) -> Sequence[Answer]:
        records = [each for each in parsed if not isinstance(each, ServingError)]
        infer_batch = self._model.infer_batch
        if infer_batch is None or len(records) < 2:
            infer_batch = self._infer_each
        answers: list[Answer] = []
        try:
            for _, result in zip(records, infer_batch(records, self._net), strict=True):
                answers.append(self._encode(result))
        except Exception as error:
            answers += [self._fault(error)] * (len(records) - len(answers))
        found = iter(answers)
        return [each if isinstance(each, ServingError) else next(found) for each in parsed]

    def _infer_each(self, records: Sequence[Record], net: Any) -> Iterator[object]:
        for record in records:
            try:
                yield self._model.infer(record, net)
            except Exception as error:
                yield errors.without_locals(error)

    def _encode(self, result: object) -> Answer:
        """Encode a model's answer, or turn the exception in its place into the record's error."""
        if isinstance(result, ServingError):
            return result
        try:
            if isinstance(result, Exception):
                raise result
            return contract.encode(result)
        except Exception as error:
            return self._fault(error)

    def _warm_up(self) -> None:
        if self._model.warm_up:
            self._model.warm_up(self._net)

    def _fault(self, error: BaseException) -> InternalError:
        """Log the exception, and make the next ping check that the model answers."""
        _log.error("fault", exc_info=error)
        self._is_suspect = True
        return InternalError("the model failed on this request; its log entry says why")
