"""A client of OpenAI-compatible chat completions: a question in, an answer out, within its time and its attempts.

What the protocol needs and no more, over the standard library: POST {base_url}/chat/completions, as vLLM, llama.cpp,
Ollama and the hosted services serve it. No stream, no redirect (one could carry the key elsewhere), no proxy.
"""

import email.utils
import hashlib
import http.client
import json
import math
import os
import random
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mining.errors import ConfigError, RecordError

Message = dict[str, str]

_MAX_BODY_BYTES = 4 << 20
_RETRIED = (408, 409, 425, 429)  # and every 5xx
_SHOWN_CHARS = 200


@dataclass(frozen=True)
class EndpointConfig:
    """Where the model is served, and how patiently it is asked."""

    base_url: str = "http://127.0.0.1:8000/v1"
    """Address of the service up to `/chat/completions`; http or https."""
    model: str = ""
    """Name of the model as the service knows it."""
    api_key_env: str = ""
    """Environment variable that holds the API key; empty: none is sent. The key is never written anywhere."""
    concurrency: int = 8
    """Questions that are under way at once."""
    timeout_s: float = 120.0
    """Seconds that one attempt may take in all, from connecting to the last byte."""
    max_attempts: int = 5
    """Attempts a question: after 429, 5xx, a timeout or a cut connection it is asked again."""
    first_wait_s: float = 1.0
    """Wait before the second attempt, doubled from one to the next; Retry-After of the server counts where it is
    longer, and holds back all other questions too."""
    max_wait_s: float = 60.0
    """Longest wait between two attempts, Retry-After included."""
    max_answer_tokens: int = 400
    """Tokens that an answer may have; more for models that think aloud first."""
    json_schema: bool = True
    """Send the answer's JSON schema along as response_format; false for services that refuse it."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields of every request, such as {chat_template_kwargs: {enable_thinking: false}}; null takes one out."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(f"base_url={self.base_url!r}: an address such as http://127.0.0.1:8000/v1 is needed")
        if "@" in parts.netloc:
            raise ConfigError("base_url: holds a user name or password; give a key by api_key_env instead")
        if min(self.concurrency, self.max_attempts, self.max_answer_tokens) < 1:
            raise ConfigError(
                f"concurrency={self.concurrency}, max_attempts={self.max_attempts}, "
                f"max_answer_tokens={self.max_answer_tokens}: each must be at least 1"
            )
        if self.timeout_s <= 0 or self.first_wait_s < 0 or self.max_wait_s < self.first_wait_s:
            raise ConfigError(
                f"timeout_s={self.timeout_s}, first_wait_s={self.first_wait_s}, max_wait_s={self.max_wait_s}: a time "
                "above 0, and waits that do not shrink, are needed"
            )


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, and what it cost."""

    content: str
    finish_reason: str
    """`stop` where the model came to its end, `length` where max_answer_tokens cut it off."""
    refusal: str
    """Why the model would not answer; empty where it did."""
    tokens_in: int
    """As the service counted them, 0 where it does not say."""
    tokens_out: int


class NoAnswer(RecordError):
    """No completion came back in all attempts: timeout, connection, http_429, http_5xx. Asking later may help."""


class Rejected(RecordError):
    """The service will not take this very question (http_400, http_413 ...); asking again would not help."""


def api_key(cfg: EndpointConfig) -> str:
    """The key from the environment, empty where none is wanted; ConfigError where the variable is not set."""
    key = os.environ.get(cfg.api_key_env, "") if cfg.api_key_env else ""
    if cfg.api_key_env and not key.strip():
        raise ConfigError(
            f"api_key_env={cfg.api_key_env}: this environment variable is not set; export it, or empty it"
        )
    if not key.strip().isascii() or any(ord(letter) < 33 for letter in key.strip()):
        raise ConfigError(f"api_key_env={cfg.api_key_env}: its value holds characters that no HTTP header may have")
    return key.strip()


class ChatClient:
    """Asks one endpoint, from as many threads as there are; `close` ends what is under way."""

    def __init__(self, cfg: EndpointConfig) -> None:
        parts = urlsplit(cfg.base_url)
        self._cfg = cfg
        self._key = api_key(cfg)
        self._host, self._port, self._is_tls = parts.hostname or "", parts.port, parts.scheme == "https"
        self._path = parts.path.rstrip("/") + "/chat/completions"
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._live: set[http.client.HTTPConnection] = set()
        self._not_before = 0.0

    def ask(self, messages: Sequence[Message], schema: Mapping[str, Any]) -> Answer:
        """The model's answer to `messages`.

        Raises NoAnswer after all attempts, Rejected where the service refuses the question, ConfigError where it
        refuses every question (401, 404).
        """
        body = _body(messages, schema, self._cfg)
        jitter = random.Random(hashlib.sha256(body).digest())
        for attempt in range(1, self._cfg.max_attempts + 1):
            self._wait_until_allowed()
            headers: dict[str, str] = {}
            try:
                status, headers, payload = self._post(body)
                if status == 200:
                    return read_completion(payload)
                failure = self._failure(status, payload)
            except (OSError, http.client.HTTPException) as error:
                reason = "timeout" if isinstance(error, TimeoutError) else "connection"
                failure = NoAnswer(reason, ascii(str(error) or type(error).__name__)[:_SHOWN_CHARS])
            except NoAnswer as error:
                failure = error
            if attempt == self._cfg.max_attempts:
                break
            wait = min(self._cfg.first_wait_s * 2 ** (attempt - 1), self._cfg.max_wait_s) * jitter.uniform(0.5, 1.0)
            asked_for = retry_after(headers.get("retry-after", ""))
            if asked_for is not None:
                wait = min(max(wait, asked_for), self._cfg.max_wait_s)
                with self._lock:
                    self._not_before = max(self._not_before, time.monotonic() + wait)
            self._sleep(wait)
        raise failure

    def close(self) -> None:
        """Wake all that wait and cut all connections: every question under way ends with NoAnswer."""
        self._closed.set()
        with self._lock:
            live = list(self._live)
        for connection in live:
            _cut(connection)

    def _wait_until_allowed(self) -> None:
        with self._lock:
            wait = self._not_before - time.monotonic()
        self._sleep(wait)

    def _sleep(self, seconds: float) -> None:
        if self._closed.wait(max(seconds, 0.0)):
            raise NoAnswer("stopped")

    def _post(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body) of one request; OSError or HTTPException where it fails."""
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._cfg.timeout_s)
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "motherlode"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        # A socket's timeout starts anew with each byte: a server that trickles would hold a thread for hours.
        late = threading.Event()
        timer = threading.Timer(self._cfg.timeout_s, _cut, [connection, late])
        timer.daemon = True
        with self._lock:
            self._live.add(connection)
        timer.start()
        try:
            connection.request("POST", self._path, body=body, headers=headers)
            response = connection.getresponse()
            payload = response.read(_MAX_BODY_BYTES + 1)
            if late.is_set():
                raise TimeoutError(f"not done after {self._cfg.timeout_s:g} s")
            if response.length:
                raise http.client.IncompleteRead(payload, response.length)
            return response.status, {name.lower(): value for name, value in response.getheaders()}, payload
        except (OSError, http.client.HTTPException) as error:
            if late.is_set():
                raise TimeoutError(f"not done after {self._cfg.timeout_s:g} s") from error
            raise
        finally:
            timer.cancel()
            with self._lock:
                self._live.discard(connection)
            connection.close()

    def _failure(self, status: int, payload: bytes) -> NoAnswer:
        """What a status other than 200 means, to be raised after the last attempt; raises at once what is final."""
        said = payload[:2000].decode("utf-8", "replace")
        # Some services repeat the key that they refuse.
        said = ascii((said.replace(self._key, "***") if self._key else said)[:_SHOWN_CHARS])
        if status in (401, 404):
            what = "the key is refused" if status == 401 else "no such address or model"
            raise ConfigError(
                f"{self._cfg.base_url} answers {status} ({what}) to model {self._cfg.model!r}: {said}; mend base_url, "
                "model or api_key_env of labels.llm.endpoint and run the same line again"
            )
        if status < 500 and status not in _RETRIED:
            raise Rejected(f"http_{status}", said)
        return NoAnswer(f"http_{status}", said)


def _body(messages: Sequence[Message], schema: Mapping[str, Any], cfg: EndpointConfig) -> bytes:
    request: dict[str, Any] = {
        "model": cfg.model,
        "messages": list(messages),
        "temperature": 0,
        "max_tokens": cfg.max_answer_tokens,
    }
    if cfg.json_schema:
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": True, "schema": schema},
        }
    request |= cfg.extra
    return json.dumps({name: value for name, value in request.items() if value is not None}).encode()


def read_completion(payload: bytes) -> Answer:
    """The answer in the body of a 200; NoAnswer with `no_completion` where it is none."""
    try:
        completion = json.loads(payload)
        choice = completion["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content") or "", message.get("refusal") or ""
        if not isinstance(content, str) or not isinstance(refusal, str):
            raise TypeError("content is no string")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        shown = ascii(payload[:_SHOWN_CHARS].decode("utf-8", "replace"))
        raise NoAnswer("no_completion", f"{type(error).__name__}: {shown}") from None
    usage = completion.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Answer(
        content=content,
        finish_reason=str(choice.get("finish_reason") or ""),
        refusal=refusal,
        tokens_in=_number(usage.get("prompt_tokens")),
        tokens_out=_number(usage.get("completion_tokens")),
    )


def retry_after(value: str) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date; None where it says neither."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _number(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _cut(connection: http.client.HTTPConnection, late: threading.Event | None = None) -> None:
    """End a connection under the thread that reads from it, `late` set before."""
    if late is not None:
        late.set()
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
