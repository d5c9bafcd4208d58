"""gunicorn's threaded worker, without what loses requests at its end or threads to slow peers.

A connection has a thread while a whole request is answered, and no longer: a peer that sends
nothing, sends slowly, or keeps its end open costs a connection, and the one that has waited longest
gives way when there are too many.
"""

import errno
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import ThreadWorker

from serving.balance import NOBODY, Balance
from serving.connection import RECEIVE_BYTES, Answer, Body, Connection
from serving.errors import (
    Fault,
    HeadersTooLarge,
    MalformedRequest,
    Overloaded,
    RequestTimeout,
    ServingError,
)

HEAD_SECONDS = 10  # for the headers of a request, from its first byte
REQUEST_SECONDS = 30  # for all of it
# Of requests that are not whole yet, and of answers that are not taken, in a process; or four times
# a body, where those may be larger.
MAX_WAITING_BYTES = 64 * 1024 * 1024
ANSWER_SECONDS = 10  # for the peer to take an answer

_STEP_ASIDE_SECONDS = 0.02  # for a worker with fewer connections, which may be busy meanwhile
_LOOK_AGAIN_SECONDS = 0.001  # whether it has as many by now
_LINGER_SECONDS = 2  # for a peer to close, and, while the server stops, for its first byte
_LAST_REQUEST_SECONDS = 10  # for a request that has begun when the server is told to stop
_STUCK_GRACE_SECONDS = 3  # for what a stuck worker can still answer
_SWEEP_SECONDS = 0.5
_UNFINISHED, _UNSENT = object(), object()


class DrainingWorker(ThreadWorker):
    """A connection is, in turn: silent, unfinished (a part of a request is here), in a thread,
    kept alive, lingering (ours is closed, the peer's end is not). All but the thread's are in the
    poller of the main loop, which reads without waiting.
    """

    # Of all workers of the server, and this one's place in it: `Server` sets both.
    balance: Balance
    place: int
    max_body_bytes: int
    sockets: list[Any]
    _aside_until: float | None = None
    _sweep_at = 0.0
    _stuck = False

    def init_process(self) -> None:
        self._unfinished: dict[Connection, None] = {}
        self._unfinished_bytes = 0
        self._answered: dict[Connection, None] = {}
        self._lingering: deque[Connection] = deque()
        self._max_waiting_bytes = max(MAX_WAITING_BYTES, 4 * self.max_body_bytes)
        super().init_process()

    def run(self) -> None:
        super().run()
        if self._stuck:
            os._exit(1)  # its threads never end, and an exit would wait for them

    # Which worker takes a connection

    def set_accept_enabled(self, enabled: bool) -> None:
        """On SIGTERM also serve the connections that wait in the backlog.

        The stock worker only stops accepting, and closing the listener resets what is queued there.
        """
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive and not self._stuck:
            for listener in self.sockets:
                listener.setblocking(False)
                waiting = True
                while waiting:
                    before = self.nr_conns
                    self.accept(listener)
                    waiting = self.nr_conns > before
                listener.close()
            self.sockets = []

    def accept(self, listener: socket.socket) -> None:
        """Leave a connection to a worker that has fewer, if that takes it within a moment.

        All workers wait on one listener, and the first to wake would otherwise take every one of
        several connections that come at once, while the others idle.
        """
        if self.alive and self._aside_until is None and self.balance.has_most(self.place):
            self._aside_until = time.monotonic() + _STEP_ASIDE_SECONDS
            return
        self._aside_until = None
        if self.alive and self.nr_conns >= self.worker_connections:
            self._make_room()
        try:
            peer, client = listener.accept()
            conn = Connection(self.cfg, peer, client, self.max_body_bytes)
        except OSError as error:  # another worker has it, or the peer has gone
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room()
                time.sleep(_LOOK_AGAIN_SECONDS)
            return
        self.nr_conns += 1
        self._wait(conn, self.pending_conns, self.on_pending_socket_readable)
        self._publish()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        until, aside = self._aside_until, False
        if self.alive:
            self._look_after_the_model()
            self._publish()
            aside = time.monotonic() < (until or 0) and self.balance.has_most(self.place)
            full = self.nr_conns >= self.worker_connections and not self._waiting()
            self.set_accept_enabled(not aside and not full)
            timeout = min(timeout, _LOOK_AGAIN_SECONDS) if aside else timeout
        for key, _ in self.poller.select(timeout):
            if self.poller.get_map().get(key.fd) is key:  # else one before it has closed this one
                key.data(key.fileobj)
        if not aside and self._aside_until is until:
            self._aside_until = None  # the connection has been taken

    def _publish(self) -> None:
        """A worker that is still loading takes what the others leave: its pings would be late."""
        ready = self.wsgi.service.is_ready
        self.balance.publish(self.place, self.nr_conns if ready else NOBODY)

    def _look_after_the_model(self) -> None:
        if self.wsgi.service.is_stuck():
            self._stuck, self.alive = True, False
            self.cfg.set("graceful_timeout", _STUCK_GRACE_SECONDS)  # this process's own copy

    # In the main loop: connections without a thread

    def _wait(
        self,
        conn: Connection,
        kind: deque[Connection],
        ready: Callable[[Connection, socket.socket], None],
    ) -> None:
        """For the first byte of a connection, or of its next request."""
        conn.since = time.monotonic()
        conn.timeout = conn.since + (self.cfg.keepalive if self.alive else _LINGER_SECONDS)
        kind.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(ready, conn))

    def _finish_later(self, conn: Connection) -> None:
        """For the rest of a request; its first bytes are here."""
        conn.since = time.monotonic()
        conn.until = conn.since + (REQUEST_SECONDS if self.alive else _LAST_REQUEST_SECONDS)
        conn.head_until = conn.since + HEAD_SECONDS
        conn.sock.setblocking(False)
        self._unfinished[conn] = None
        self._unfinished_bytes += conn.incoming.size
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))
        self._bound_unfinished()

    def _receive(self, conn: Connection, _peer: socket.socket) -> None:
        self._unfinished_bytes -= conn.incoming.size
        try:
            conn.receive()
        except OSError:
            del self._unfinished[conn]
            self._close(conn)
            return
        self._unfinished_bytes += conn.incoming.size
        if conn.incoming.whole:
            self._leave(conn)
            self.enqueue_req(conn)
        else:
            self._bound_unfinished()

    def _bound_unfinished(self) -> None:
        while self._unfinished_bytes > self._max_waiting_bytes and len(self._unfinished) > 1:
            oldest = next(iter(self._unfinished))
            self._refuse(oldest, Overloaded("too many requests are being received"))

    def _leave(self, conn: Connection) -> None:
        self.poller.unregister(conn.sock)
        self._unfinished_bytes -= conn.incoming.size
        del self._unfinished[conn]

    def _refuse(self, conn: Connection, problem: ServingError) -> None:
        """Answer an unfinished request."""
        self._leave(conn)
        conn.unsent, conn.keep_alive = self.wsgi.refuse(problem), False
        with suppress(OSError):
            conn.flush()  # a peer that does not take so little does not care
        self._linger(conn)

    def _answer_later(self, conn: Connection) -> None:
        """For a peer to take the rest of its answer."""
        conn.since = time.monotonic()
        conn.until = conn.since + ANSWER_SECONDS
        self._answered[conn] = None
        self.poller.register(conn.sock, selectors.EVENT_WRITE, partial(self._send, conn))
        while (
            sum(len(waiting.unsent) for waiting in self._answered) > self._max_waiting_bytes
            and len(self._answered) > 1
        ):
            self._give_up(next(iter(self._answered)))

    def _send(self, conn: Connection, _peer: socket.socket) -> None:
        try:
            sent = conn.flush()
        except OSError:
            sent, conn.keep_alive = True, False
        if sent:
            self.poller.unregister(conn.sock)
            del self._answered[conn]
            self._go_on(conn)

    def _give_up(self, conn: Connection) -> None:
        """On a peer that does not take its answer."""
        del self._answered[conn]
        self._close(conn)

    def _go_on(self, conn: Connection) -> None:
        """After an answer."""
        if not conn.keep_alive:
            self._linger(conn)
        elif conn.incoming.whole:
            self.enqueue_req(conn)
        elif conn.incoming.size:
            self._finish_later(conn)
        else:
            self._wait(conn, self.keepalived_conns, self.on_client_socket_readable)

    def _linger(self, conn: Connection) -> None:
        """Close our end, and the connection when the peer has closed its own.

        Closing it at once would reset it if bytes are unread, and the answer might be lost with
        them (RFC 9112, 9.6). The stock worker lets a thread wait here, or all of its main loop.
        """
        conn.until = time.monotonic() + _LINGER_SECONDS
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except OSError:
            self._close(conn)
            return
        self._lingering.append(conn)

    def _drain(self, conn: Connection, peer: socket.socket) -> None:
        with suppress(OSError):
            if peer.recv(RECEIVE_BYTES):
                return
        self._lingering.remove(conn)
        self._close(conn)

    def _close(self, conn: Connection) -> None:
        with suppress(KeyError, ValueError, OSError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Close what has waited for too long; the stock worker calls it every second or sooner."""
        super().murder_pending()
        now = time.monotonic()
        while self._lingering and self._lingering[0].until <= now:
            self._close(self._lingering.popleft())
        for conn in list(self._answered):
            if conn.until > now:
                break
            self._give_up(conn)
        if now < self._sweep_at:
            return
        self._sweep_at = now + _SWEEP_SECONDS
        for conn in list(self._unfinished):
            if now > (conn.until if conn.incoming.head else conn.head_until):
                self._refuse(conn, RequestTimeout("the request did not arrive in time"))

    def _waiting(self) -> list[Connection]:
        """Of each kind the connection that has waited longest for its peer."""
        kinds = (self.pending_conns, self.keepalived_conns, self._unfinished, self._answered)
        return [next(iter(kind)) for kind in kinds if kind]

    def _make_room(self) -> None:
        """Close a connection that has been answered, or has waited longest for its peer."""
        if self._lingering:
            self._close(self._lingering.popleft())
            return
        waiting = self._waiting()
        if not waiting:
            return
        longest = min(waiting, key=lambda conn: conn.since)
        if longest in self._unfinished:
            self._refuse(longest, Overloaded("too many connections"))
        elif longest in self._answered:
            self._give_up(longest)
        else:
            for kind in (self.pending_conns, self.keepalived_conns):
                if kind and kind[0] is longest:
                    kind.popleft()
            self._close(longest)

    def is_parent_alive(self) -> bool:
        """An orphan drains as on SIGTERM; the stock worker would go on accepting."""
        parent = bool(super().is_parent_alive())
        self.alive = self.alive and parent
        return parent

    def _cap_keepalive(self, deadline: float) -> None:
        """On SIGTERM: connections without a request are not waited for, new ones as little."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)
        last = time.monotonic() + _LAST_REQUEST_SECONDS
        for conn in self._unfinished:
            conn.until = min(conn.until, last)
            conn.head_until = min(conn.head_until, last)

    def finish_request(self, conn: Connection, job: "Future[Any]") -> None:
        """Back from a thread."""
        try:
            done = job.result()
        except BaseException:  # it ends its request, and not the process
            done = False
            self.log.exception("fault")
        if done is _UNFINISHED:
            self._finish_later(conn)
        elif done is _UNSENT:
            self._answer_later(conn)
        else:
            conn.keep_alive = done
            self._go_on(conn)

    # In a thread

    def handle(self, conn: Connection) -> Any:
        """Answer a connection's requests as long as the next is here and no other waits.

        Passing the connection to the main loop and back costs more than that moment.
        """
        done = self._answer(conn)
        while done is True and self.alive and self.tpool._work_queue.empty():
            if not conn.incoming.whole and not conn.has_more():
                break
            done = self._answer(conn)
        return done

    def _answer(self, conn: Connection) -> Any:
        try:
            if not conn.receive_at_once():
                return _UNFINISHED
        except OSError:
            return False
        if conn.incoming.head:
            conn.parser.unreader.unread(conn.incoming.head)
            conn.keep_alive = super().handle(conn)
        else:
            conn.unsent, conn.keep_alive = self.wsgi.refuse(conn.incoming.problem), False
        conn.next()
        try:
            return conn.keep_alive if conn.flush() else _UNSENT
        except OSError:
            return False

    def handle_request(self, req: Any, conn: Connection) -> bool:
        req._expected_100_continue = False  # it has been told
        req.version = min(req.version, (1, 1))  # the answer's, too: RFC 9110, 2.5
        req.body = Body(conn.incoming)
        if conn.incoming.problem:
            req.force_close()
        answer = Answer(conn)
        keep_alive = bool(super().handle_request(req, answer))
        conn.unsent = bytes(answer)
        return keep_alive

    def handle_error(
        self, _req: Any, client: socket.socket, _addr: Any, exc: BaseException
    ) -> None:
        """What is no HTTP, and what no pipeline should raise."""
        problem: ServingError = MalformedRequest("the request line or a header is not valid")
        if isinstance(exc, (LimitRequestLine, LimitRequestHeaders)):
            problem = HeadersTooLarge("the request line, a header or their number is too large")
        elif not isinstance(exc, ParseException):
            self.log.error("fault", exc_info=exc)
            problem = Fault()
        with suppress(OSError):
            client.send(self.wsgi.refuse(problem), socket.MSG_DONTWAIT)
