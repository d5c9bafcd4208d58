"""A request as it arrives, in pieces of any size: the framing decides where the next one begins."""

import gc
import weakref

import pytest

from serving.errors import HeadersTooLarge, MalformedRequest, ServingError, TooLarge
from serving.incoming import MAX_DROPPED_BYTES, MAX_HEAD_BYTES, Incoming

LIMIT = 100
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
WITH_LENGTH = HEAD + b"Content-Length: 5\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /ping HTTP/1.1\r\n"


def feed(data: bytes, piece: int = 10**6) -> Incoming:
    incoming = Incoming(LIMIT)
    for at in range(0, len(data), piece):
        if incoming.whole:
            incoming.rest += data[at : at + piece]
        else:
            incoming.feed(data[at : at + piece])
    return incoming


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 10**6])
@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (HEAD + b"\r\n", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (WITH_LENGTH + b"hello", b"hello"),
        (HEAD + b"content-LENGTH:5\r\n\r\nhello", b"hello"),
        (CHUNKED + b"0\r\n\r\n", b""),
        (CHUNKED + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b"A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", b"0123456789"),
        (HEAD + b"Content-Length: 100\r\n\r\n" + b"x" * 100, b"x" * 100),
    ],
    ids=["none", "no header", "length", "case", "no chunk", "chunks", "trailer", "at the limit"],
)
def test_a_request_ends_where_its_framing_says(sent: bytes, body: bytes, piece: int) -> None:
    incoming = feed(sent + NEXT, piece)
    assert (incoming.whole, incoming.problem) == (True, None)
    assert incoming.head == sent[: sent.index(b"\r\n\r\n") + 4]
    assert (incoming.body, incoming.rest) == (body, NEXT)


@pytest.mark.parametrize("end", range(1, len(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")))
def test_a_part_of_a_request_is_not_whole_until_its_peer_ends_it(end: int) -> None:
    incoming = feed((CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")[:end])
    assert not incoming.whole
    incoming.feed(b"")
    assert incoming.whole
    assert isinstance(incoming.problem, MalformedRequest)


def test_a_peer_that_ends_between_requests_has_sent_none() -> None:
    incoming = Incoming(LIMIT)
    incoming.feed(b"")
    assert not incoming.whole


@pytest.mark.parametrize("piece", [1, 10**6])
@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", MalformedRequest),
        (HEAD + b"Content-Length: +5\r\n\r\n", MalformedRequest),
        (HEAD + b"Content-Length: -1\r\n\r\n", MalformedRequest),
        (HEAD + b"Content-Length: 5, 5\r\n\r\n", MalformedRequest),
        (HEAD + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n", MalformedRequest),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", MalformedRequest),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", MalformedRequest),
        (HEAD + b"Transfer-Encoding: identity\r\n\r\n", MalformedRequest),
        (CHUNKED + b"zz\r\n", MalformedRequest),
        (CHUNKED + b"-1\r\n", MalformedRequest),
        (CHUNKED + b"0x5\r\nhello\r\n", MalformedRequest),
        (CHUNKED + b"3\r\nhello\r\n", MalformedRequest),
        (CHUNKED + b"5;" + b"x" * 2000, MalformedRequest),
        (b"GET /" + b"x" * MAX_HEAD_BYTES, HeadersTooLarge),
        (HEAD + b"A: b\r\n" * 20_000 + b"\r\n", HeadersTooLarge),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 20_000, HeadersTooLarge),
    ],
)
def test_what_no_two_readers_would_agree_on_is_refused(
    sent: bytes, kind: type[ServingError], piece: int
) -> None:
    incoming = feed(sent, piece)
    assert incoming.whole
    assert isinstance(incoming.problem, kind)


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 101\r\n\r\n" + b"x" * 101,
        CHUNKED + b"33\r\n" + b"x" * 0x33 + b"\r\n32\r\n" + b"x" * 0x32 + b"\r\n0\r\n\r\n",
    ],
    ids=["length", "chunked"],
)
def test_a_body_beyond_the_limit_is_read_to_its_end_and_not_kept(sent: bytes) -> None:
    incoming = feed(sent[:-1])
    assert not incoming.whole
    assert incoming.size < len(sent) - LIMIT // 2
    incoming.feed(sent[-1:])
    assert incoming.whole
    assert isinstance(incoming.problem, TooLarge)


def test_a_body_without_end_is_not_read_for_ever() -> None:
    block = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    incoming = feed(CHUNKED)
    sent = 0
    while not incoming.whole:
        incoming.feed(block)
        sent += len(block)
        assert incoming.size < 1000
    assert isinstance(incoming.problem, TooLarge)
    assert sent < 1.1 * MAX_DROPPED_BYTES


def test_a_client_that_asks_first_is_told_to_go_on_or_refused_at_once() -> None:
    expect = b"Expect: 100-continue\r\n"
    asked = feed(HEAD + expect + b"Content-Length: 5\r\n\r\n")
    assert (asked.awaits_continue, asked.whole) == (True, False)
    refused = feed(HEAD + expect + b"Content-Length: 101\r\n\r\n")
    assert refused.whole
    assert isinstance(refused.problem, TooLarge)
    old = feed(b"POST / HTTP/1.0\r\n" + expect + b"Content-Length: 5\r\n\r\n")
    assert not old.awaits_continue  # RFC 9110, 10.1.1


def test_blanks_before_a_bare_carriage_return_cost_no_more_than_other_bytes() -> None:
    """An expression that looked for the end of the value would not come back before tomorrow."""
    head = b"POST / HTTP/1.1\r\nContent-Length:" + b" " * 60_000 + b"\rx\r\n\r\n"
    assert feed(head).head == head  # and gunicorn's parser refuses it


def test_a_request_that_nobody_holds_is_gone_at_once() -> None:
    """Its body is megabytes, and the collector may not come for hundreds of requests."""
    incoming = feed(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
    gone = weakref.ref(incoming)
    gc.disable()
    try:
        del incoming
        assert gone() is None
    finally:
        gc.enable()
