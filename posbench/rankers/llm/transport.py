"""JSON over HTTP with patience: faults of transport are tried again, and never read as content.

A fault is what may pass by itself: no connection, a time-out, an answer that breaks off or is not the JSON that was
expected, and the statuses 408, 409, 425, 429 and 5xx. Any other status is the caller's to mend and is raised at once.
Where nothing listens at all, or the host has no address, little patience is shown: three seconds.
"""

import email.utils
import http.client
import json
import random
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

from posbench.errors import BackendError

T = TypeVar("T")

_PASSING = {408, 409, 425, 429}
_LONGEST_WAIT = 300.0  # seconds between two tries, whatever a server asks for
_REFUSED, _UNKNOWN = "refused", "no such host"
_REFUSED_FOR = 3.0  # seconds of waiting for a server that is not there
_SAID = 500  # characters of a complaint that are shown
_BODY = 1 << 28  # bytes of an answer that are read at most


class Malformed(Exception):
    """An answer of status 200 that is not what the protocol says."""


class Refused(Exception):
    """A status that another try will not change; ``status`` and what the server said."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


class _Fault(Exception):
    """Worth another try: ``kind`` for the books, and the seconds that the server asks for, if it does."""

    def __init__(self, kind: str, said: str, wait: float | None = None) -> None:
        super().__init__(said)
        self.kind, self.wait = kind, wait


class Transport:
    """A server.

    Args:
        url: its address, to which paths are added.
        key: sent as a bearer token and kept out of every message; "" sends none.
        timeout: seconds for one answer.
        retries: after a fault.
        backoff: seconds before the first; each further one waits twice as long, times a random 0.5 to 1.
    """

    def __init__(self, url: str, key: str, timeout: float, retries: int, backoff: float) -> None:
        parts = urlsplit(url.rstrip("/"))
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname or "", parts.port
        self._name = f"{self._host}:{self._port or (443 if self._secure else 80)}"
        self._base, self._key = parts.path, key
        self._timeout, self._retries, self._backoff = timeout, retries, backoff
        self._free: deque[http.client.HTTPConnection] = deque()
        self._busy: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._random = random.Random(0)
        self._stop = threading.Event()
        self.faults: Counter[str] = Counter()

    def start(self) -> None:
        """Keeps connections open from one request to the next, and waits between tries."""
        self._stop.clear()

    def stop(self) -> None:
        """Ends all waiting between tries, and closes the connections."""
        self._stop.set()
        while self._free:
            self._free.pop().close()

    def abandon(self) -> None:
        """As ``stop``, and ends the requests under way: the server sees that nobody waits for them."""
        self.stop()
        for connection in tuple(self._busy):
            if connection.sock is not None:  # closing alone would not wake the thread that reads from it
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def post(self, path: str, content: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """What ``read`` makes of the JSON that answers a request.

        Raises:
            BackendError: faults went on after the last try.
            Refused: the server refuses the request as such.
        """
        body, refused = json.dumps(content).encode(), 0.0
        for tries in range(self._retries + 1):
            try:
                return self._once(path, body, read)
            except _Fault as fault:
                with self._lock:
                    self.faults[fault.kind] += 1
                    jitter = self._random.uniform(0.5, 1.0)
                wait = fault.wait if fault.wait is not None else self._backoff * 2**tries * jitter
                refused += wait if fault.kind in (_REFUSED, _UNKNOWN) else 0.0
                last = tries == self._retries or refused > _REFUSED_FOR
                if last or self._stop.wait(min(wait, _LONGEST_WAIT)):
                    said = self._clean(f"{self._name}: {fault} ({fault.kind}), after {tries + 1} tries")
                    raise BackendError(f"{said}; the same command goes on where this one stopped") from None
        raise AssertionError("unreachable")

    def _once(self, path: str, body: bytes, read: Callable[[Any], T]) -> T:
        status, headers, data = self._exchange(path, body)
        if status in _PASSING or status >= 500:
            raise _Fault(f"status {status}", f"HTTP {status}", _retry_after(headers))
        if status != 200:
            raise Refused(status, self._clean(data.decode("utf-8", "replace"))[:_SAID])
        try:
            return read(json.loads(data))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, Malformed) as error:
            raise _Fault("malformed", f"an answer that is not as expected ({type(error).__name__})") from error

    def _exchange(self, path: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        connection, kept = self._connection()
        self._busy.add(connection)
        try:
            connection.request("POST", self._base + path, body, headers)
            response = connection.getresponse()
            data = response.read(_BODY)
            if response.length:
                raise http.client.IncompleteRead(data, response.length)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            dropped = isinstance(error, http.client.RemoteDisconnected | BrokenPipeError | ConnectionResetError)
            if kept and dropped and not self._stop.is_set():
                return self._exchange(path, body)  # a server may close an idle connection: no fault
            raise _Fault(_kind(error), str(error) or type(error).__name__) from error
        finally:
            self._busy.discard(connection)
        if response.will_close or self._stop.is_set():
            connection.close()
        else:
            self._free.append(connection)
        return response.status, {key.lower(): value for key, value in response.getheaders()}, data

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection that no other thread uses, and whether it served before."""
        try:
            return self._free.pop(), True
        except IndexError:
            pass
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout), False
        secure = ssl.create_default_context()
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=secure), False

    def _clean(self, text: str) -> str:
        """One line without the key, which some servers repeat in their complaints."""
        line = " ".join(text.split())
        return line.replace(self._key, "[key]") if self._key else line


def _kind(error: Exception) -> str:
    """What went wrong with a connection, for the books."""
    if isinstance(error, ConnectionRefusedError):
        return _REFUSED
    if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
        return _UNKNOWN
    return "time-out" if isinstance(error, TimeoutError) else "connection"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks for, as a number or a date; None where it does not."""
    said = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
