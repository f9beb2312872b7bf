"""One rate for all workers of a machine that ask a server: threads and processes share a small file.

A request goes out when the last one of anybody is long enough ago. A refusal (403, 429, 503) stops everybody for a
while that doubles from one refusal to the next, and halves the rate; answers win the rate back. The state is wall
clock seconds under a file lock, so a process that dies holds nobody up.
"""

import fcntl
import json
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from mining.errors import ConfigError, ShardError

_MOST_SLOWED = 16.0
_RECOVERY = 0.9
_NAP_S = 1.0


@dataclass
class _State:
    """What the file holds."""

    last: float = 0.0
    """When anybody's last request went out."""
    not_before: float = 0.0
    """When the next one may, after a refusal."""
    refused_at: float = 0.0
    refusing_since: float = 0.0
    """When the first refusal came after which there was no answer; 0 where the server answers."""
    num_refusals: int = 0
    """Since then."""
    slowed: float = 1.0
    """Factor on the time between requests."""


class Limiter:
    """Asks for leave before every request to one server; from any thread, beside any process of the machine."""

    def __init__(
        self, server: str, *, rate: float, first_wait_s: float, max_wait_s: float, patience_s: float, folder: str = ""
    ) -> None:
        self.server = server
        self._interval = 1.0 / rate
        self._first_wait_s, self._max_wait_s, self._patience_s = first_wait_s, max_wait_s, patience_s
        # A home folder may be mounted on many machines; each has its own address, and so its own rate.
        name = re.sub(r"[^A-Za-z0-9.\-]", "_", f"{server}@{os.uname().nodename}")
        self.path = Path(folder or limits_folder()) / f"{name}.json"
        self._random = random.Random()  # jitter is there to differ from process to process
        self._closed = threading.Event()
        self._started = time.time()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._state():
                pass
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot be written ({error}); name a folder of this machine as limits_dir"
            ) from None

    def wait(self) -> float:
        """Return when a request may go out; the moment (wall clock), to be given to `refused` or `answered`.

        Raises ShardError where the server has refused for patience_s, or after `close`.
        """
        while True:
            with self._state() as state:
                now = time.time()
                # A clock that was set back must not stop the work for hours.
                state.last = min(state.last, now)
                state.not_before = min(state.not_before, now + self._max_wait_s)
                wait = max(state.not_before, state.last + self._interval * state.slowed) - now
                # Who starts anew has patience anew.
                refusing_s = now - max(state.refusing_since, self._started) if state.refusing_since else 0.0
                if refusing_s > self._patience_s and wait > 0:
                    raise ShardError(
                        f"{self.server} has refused for {refusing_s:,.0f} s; give it a rest, then run the same line "
                        "again: what was fetched is kept"
                    )
                if wait <= 0:
                    state.last = now
                    return now
            if self._closed.wait(min(wait, _NAP_S)):  # naps, because a refusal may put the moment off meanwhile
                raise ShardError(f"{self.server}: stopped")

    def refused(self, asked_at: float, retry_after_s: float | None = None) -> None:
        """The server said no to a request that went out at `asked_at`: all wait."""
        with self._state() as state:
            now = time.time()
            if now - max(state.refused_at, state.not_before) > self._patience_s:  # of another day
                state.num_refusals, state.refusing_since = 0, 0.0
            if asked_at >= state.refused_at:  # else it was under way when the refusal before came: the same no
                state.num_refusals += 1
                state.slowed = min(state.slowed * 2, _MOST_SLOWED)
                state.refused_at = now
                state.refusing_since = state.refusing_since or now
            wait = min(self._first_wait_s * 2.0 ** min(state.num_refusals - 1, 30), self._max_wait_s)
            wait *= self._random.uniform(0.75, 1.0)
            if retry_after_s is not None:
                wait = min(max(wait, retry_after_s), self._max_wait_s)
            state.not_before = max(state.not_before, now + wait)

    def answered(self, asked_at: float) -> None:
        """The server answered a request that went out at `asked_at`: the rate comes back by and by."""
        with self._state() as state:
            if asked_at >= state.refused_at:
                state.slowed = max(1.0, state.slowed * _RECOVERY)
                state.num_refusals, state.refusing_since = 0, 0.0

    def close(self) -> None:
        """Wake all threads that wait here: each gets a ShardError."""
        self._closed.set()

    @contextmanager
    def _state(self) -> Iterator[_State]:
        """The state of all processes, locked; written back when it was changed."""
        with open(self.path, "a+b") as file:  # a handle of its own a call: flock then holds threads apart as well
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            before = file.read()
            state = _read(before)
            try:
                yield state
            finally:
                after = json.dumps(asdict(state)).encode()
                if after != before:
                    file.truncate(0)
                    file.write(after)


def limits_folder() -> Path:
    """Where the processes of a user meet: motherlode/limits in the cache folder (XDG_CACHE_HOME, else ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "motherlode" / "limits"


def _read(data: bytes) -> _State:
    """The state in a file; a fresh one where a process was killed while it wrote."""
    try:
        return _State(**{name: type(value)(value) for name, value in json.loads(data).items()})
    except (ValueError, TypeError, AttributeError):
        return _State(last=time.time() if data else 0.0)
