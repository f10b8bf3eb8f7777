"""A proxy that stands before an S3 endpoint and fails a share of the requests, by a seed.

What happens to a request depends on the seed, its method and path, and on how often that has been asked for: not on the
order in which the requests of several threads arrive. ``most_in_a_row`` bounds how often one request fails, so a client
that tries again often enough always gets through.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

FAULTS = (
    "slow_down",
    "internal_error",
    "refused",
    "cut_request",
    "reset_answer",
    "truncated_answer",
    "lost_answer",
    "late",
)
"""
slow_down         503 SlowDown, the endpoint never sees the request
internal_error    500 InternalError, likewise
refused           the connection is reset before anything is read
cut_request       the connection is reset in the middle of the request's body
reset_answer      the endpoint does it; the connection is reset in the middle of the answer
truncated_answer  the endpoint does it; the answer ends early, in an orderly manner
lost_answer       the endpoint does it; nothing of the answer arrives
late              the answer comes after a while
"""

ELSEWHERE = "eu-west-1"
REFUSALS = {
    "moved": (301, "PermanentRedirect", "", [("x-amz-bucket-region", ELSEWHERE)]),
    "moved_unsaid": (301, "PermanentRedirect", "", []),
    "other_region": (400, "AuthorizationHeaderMalformed", f"<Region>{ELSEWHERE}</Region>", []),
}
"""How S3 answers for a bucket in another region, as faults to ask for by name: (status, code, more of the body, headers)."""

_XML = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>injected</Message>{}</Error>'
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


def price_of(method: str, path: str) -> str:
    """What S3 bills a request as: ``gets``, ``puts`` (those that list, too), or ``free``."""
    asked = parse_qs(urlsplit(path).query, keep_blank_values=True)
    if method in ("GET", "HEAD"):
        return "puts" if asked.keys() & {"list-type", "uploads"} else "gets"
    return "free" if method == "DELETE" or "delete" in asked else "puts"


class FaultyProxy:
    """Listens on ``endpoint`` until closed; ``injected`` and ``requests`` count what it did, ``billed`` what S3 would bill."""

    def __init__(
        self,
        upstream: str,
        *,
        seed: int = 0,
        share: float = 0.1,
        faults: tuple[str, ...] = FAULTS,
        most_in_a_row: int = 4,
        delay_s: float = 0.2,
    ) -> None:
        self.upstream = urlsplit(upstream)
        self.seed, self.share, self.faults, self.delay_s = seed, share, faults, delay_s
        self.most_in_a_row = most_in_a_row
        self.injected: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self._times: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault(self, method: str, path: str) -> str:
        """The fault that this request meets now; empty for none."""
        name = f"{method} {path}"
        with self._lock:
            self.requests[method] += 1
            self.billed[price_of(method, path)] += 1
            self._times[name] += 1
            mark = hashlib.blake2b(f"{self.seed} {name} {self._times[name]}".encode(), digest_size=16).digest()
            chance, which = struct.unpack("<QQ", mark)
            if chance >= self.share * 2**64 or self._in_a_row[name] >= self.most_in_a_row:
                self._in_a_row[name] = 0
                return ""
            found = self.faults[which % len(self.faults)]
            self._in_a_row[name] += 1
            self.injected[found] += 1
            return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: FaultyProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def handle_expect_100(self) -> bool:
        return True  # answered by _hand_on, which may want to break off before

    def _hand_on(self) -> None:
        proxy = self.server.proxy
        fault = proxy.fault(self.command, self.path)
        if fault == "refused":
            return self._reset()
        size = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if fault == "cut_request":
            self.rfile.read(size // 2)
            return self._reset()
        body = self.rfile.read(size)
        if fault in ("slow_down", "internal_error"):
            status, code = (503, "SlowDown") if fault == "slow_down" else (500, "InternalError")
            return self._answer(status, [("Content-Type", "application/xml")], _XML.format(code, "").encode())
        if fault in REFUSALS:
            status, code, more, headers = REFUSALS[fault]
            body = _XML.format(code, more).encode()
            return self._answer(status, [("Content-Type", "application/xml"), *headers], body, len(body))
        if fault == "late":
            time.sleep(proxy.delay_s)
        far = http.client.HTTPConnection(proxy.upstream.hostname, proxy.upstream.port, timeout=60)
        try:
            far.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    far.putheader(name, value)
            far.endheaders(body or None)
            answer = far.getresponse()
            content = answer.read()
        finally:
            far.close()
        if fault == "lost_answer":
            return self._reset()
        keep = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
        told = int(answer.getheader("Content-Length") or len(content)) if self.command == "HEAD" else len(content)
        self._answer(answer.status, keep, content, told, fault)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, told: int | None = None, fault: str = ""
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content) if told is None else told))
        cut = fault in ("reset_answer", "truncated_answer")
        if cut and not content:
            return self._reset()
        self.end_headers()
        if self.command == "HEAD":
            content = b""
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.wfile.flush()
        if fault == "truncated_answer":
            self.close_connection = True
        elif cut:
            self._reset()

    def _reset(self) -> None:
        """Close with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _hand_on
