"""Grades of completions: rules in this process in microseconds, algebra in worker processes that can be killed.

A worker that hangs or balloons is killed at its limit and replaced, and its job has no verdict: a grade that crashed is
never a wrong answer. Grading overlaps with whatever the caller does between `submit` and `result`.
"""

import contextlib
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from rl.answers import final_answer, gold_answer, normalise
from rl.comparison import Undecided, Verdict, compare

logger = logging.getLogger(__name__)

# The longest gold of the public benchmarks has 224; beyond this symbolic comparison may run away.
_MAX_ANSWER_CHARS = 600
_MAX_REMEMBERED = 4096
_STARTUP_S = 60.0
_WORKER = ["-m", "rl.symbolic"]


@dataclass(frozen=True)
class Grade:
    """What the grader says of one completion."""

    correct: bool | None
    """None: the grader crashed or ran out of time; the completion is left out, never counted as wrong."""
    answer: str | None
    """The final answer in normal form; None where the text states none."""
    rule: str
    """What decided: none | exact | choice | numeric | structure | text | math_verify | crash:<TypeName>."""


def grade_by_rules(text: str, gold: str, *, boxed_only: bool = False) -> Grade | None:
    """The grade of a completion where rules settle it, in this process; None where algebra is needed."""
    return _by_rules(final_answer(text, boxed_only=boxed_only), gold)


def _by_rules(found: str | None, gold: str) -> Grade | None:
    if found is None or not found.strip():
        return Grade(False, None, "none")
    if len(found) > _MAX_ANSWER_CHARS:
        return Grade(False, found[:_MAX_ANSWER_CHARS], "none")
    try:
        verdict = compare(found, gold_answer(gold))
        return Grade(verdict.correct, normalise(found), verdict.rule)
    except Undecided:
        return None
    except Exception as error:  # a text nobody thought of must not end a training run, nor count as wrong
        return Grade(None, found, f"crash:{type(error).__name__}")


class Verifier:
    """A pool of grading workers, started when the first job needs algebra. Thread-safe; close it or use `with`."""

    def __init__(self, *, num_workers: int = 2, timeout_s: float = 1.5, max_memory_mb: int = 1024) -> None:
        """`timeout_s`: limit of one comparison, wall-clock; give more where other work keeps every core busy.

        `max_memory_mb`: address space of a worker; not enforced on macOS.
        """
        if num_workers < 1 or timeout_s <= 0 or max_memory_mb < 256:
            raise ValueError(
                f"num_workers={num_workers}, timeout_s={timeout_s}, max_memory_mb={max_memory_mb}: "
                "at least 1 worker, a time above 0 and 256 MiB (sympy alone takes 100)"
            )
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._futures: OrderedDict[tuple[str, str], Future[Grade]] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False
        self._slots = [_Slot(timeout_s, max_memory_mb) for _ in range(num_workers)]
        threads = [threading.Thread(target=slot.work, args=(self._jobs,), daemon=True) for slot in self._slots]
        for thread in threads:
            thread.start()
        self._close = weakref.finalize(self, _close, self._jobs, self._slots, threads)

    def submit(self, text: str, gold: str, *, boxed_only: bool = False) -> "Future[Grade]":
        """The grade to come; done already where rules settled it. Equal answers to one gold share one job.

        `boxed_only` accepts no answer outside \\boxed{}.
        """
        found = final_answer(text, boxed_only=boxed_only)
        graded = _by_rules(found, gold)
        if graded is not None or found is None:
            done: Future[Grade] = Future()
            done.set_result(graded or Grade(False, None, "none"))
            return done
        with self._lock:
            if self._closed:
                raise RuntimeError("submit() on a closed Verifier; make a new one")
            future = self._futures.get((found, gold))
            if future is None:
                future = self._futures[found, gold] = Future()
                future.add_done_callback(partial(_forget_crash, self._futures, self._lock, (found, gold)))
                self._jobs.put(_Job(found, gold_answer(gold), future))
            self._futures.move_to_end((found, gold))
            if len(self._futures) > _MAX_REMEMBERED:
                self._futures.popitem(last=False)
        return future

    def grade(self, text: str, gold: str, *, boxed_only: bool = False) -> Grade:
        """The grade of one completion."""
        return self.submit(text, gold, boxed_only=boxed_only).result()

    def grade_all(self, texts: Sequence[str], golds: Sequence[str], *, boxed_only: bool = False) -> list[Grade]:
        """The grades of completions, each against the gold at its place."""
        futures = [self.submit(text, gold, boxed_only=boxed_only) for text, gold in zip(texts, golds, strict=True)]
        return [future.result() for future in futures]

    def worker_pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [pid for slot in self._slots if (pid := slot.pid) is not None]

    def close(self) -> None:
        """Kills the workers and waits for them; jobs that wait are cancelled, those at work get no verdict."""
        with self._lock:
            self._closed = True
        self._close()

    def __enter__(self) -> "Verifier":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _forget_crash(
    futures: "OrderedDict[tuple[str, str], Future[Grade]]",
    lock: threading.Lock,
    key: tuple[str, str],
    future: "Future[Grade]",
) -> None:
    """A crash may have been the machine's fault: the same answer is tried again when it comes again."""
    if future.cancelled() or future.result().correct is None:
        with lock:
            futures.pop(key, None)


@dataclass(frozen=True)
class _Job:
    answer: str
    gold: str
    future: "Future[Grade]"


class _Lost(Exception):
    """A worker died or was killed; the message is the name of the reason."""


class _Crash(Exception):
    """The comparison raised; the worker lives on. The message is the error's name."""


class _Slot:
    """A thread's place in the pool: at most one worker process, replaced when it is lost."""

    def __init__(self, timeout_s: float, max_memory_mb: int) -> None:
        self._timeout_s, self._max_memory_mb = timeout_s, max_memory_mb
        self._worker: _Worker | None = None
        self._lock = threading.RLock()  # a forgotten pool may be closed by this very thread, wherever it stands
        self._closed = False

    @property
    def pid(self) -> int | None:
        worker = self._worker
        return worker.pid if worker is not None else None

    def work(self, jobs: "SimpleQueue[_Job | None]") -> None:
        while (job := jobs.get()) is not None:
            if not job.future.set_running_or_notify_cancel():
                continue
            answer = normalise(job.answer)
            try:
                verdict = self._started().compare(job.answer, job.gold)
                job.future.set_result(Grade(verdict.correct, answer, verdict.rule))
            except _Crash as error:
                job.future.set_result(Grade(None, answer, f"crash:{error}"))
            except _Lost as error:
                self._replace()
                job.future.set_result(Grade(None, answer, f"crash:{error}"))
            except Exception as error:  # the thread must live on, and the caller must not wait for ever
                self._replace()
                job.future.set_result(Grade(None, answer, f"crash:{type(error).__name__}"))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._worker is not None:
                self._worker.kill()
            self._worker = None

    def _started(self) -> "_Worker":
        with self._lock:
            if self._closed:
                raise _Lost("Closed")
            if self._worker is not None and not self._worker.is_alive:  # killed from outside: not this job's fault
                self._worker.kill()
                self._worker = None
            if self._worker is None:
                self._worker = _Worker(self._timeout_s, self._max_memory_mb)
            return self._worker

    def _replace(self) -> None:
        """Kills what is left and starts the next at once, so that it is ready when the next job comes."""
        with self._lock:
            if self._worker is not None:
                self._worker.kill()
            self._worker = None if self._closed else _Worker(self._timeout_s, self._max_memory_mb)


class _Worker:
    """One worker process.

    Not multiprocessing's spawn: that imports the parent's main module, so torch, into every worker.
    """

    def __init__(self, timeout_s: float, max_memory_mb: int) -> None:
        package = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [sys.executable, *_WORKER, str(timeout_s), str(max_memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        self._timeout_s = timeout_s
        self._received = b""
        self._is_ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def compare(self, answer: str, gold: str) -> Verdict:
        """The worker's verdict. Raises _Lost where it crashed, died or took too long."""
        if not self._is_ready:
            self._is_ready = bool(self._read(_STARTUP_S, late="StartupTimeout"))
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"answer": answer, "gold": gold}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise _Lost("WorkerDied") from error
        reply = self._read(self._timeout_s, late="TimeoutError")
        if "crash" in reply:
            raise _Lost(str(reply["crash"])) if reply["crash"] == "MemoryError" else _Crash(str(reply["crash"]))
        return Verdict(bool(reply["correct"]), str(reply["rule"]))

    def kill(self) -> None:
        """Ends and reaps the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # an unsent job in the buffer of a dead process
                    pipe.close()

    def _read(self, limit_s: float, *, late: str) -> dict[str, object]:
        """The next line of the worker, within the limit."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poll = select.poll()  # select() knows no descriptors from 1024 on
        poll.register(descriptor, select.POLLIN)
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._received:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise _Lost(late)
            part = os.read(descriptor, 65536)
            if not part:
                raise _Lost("WorkerDied")
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        reply: dict[str, object] = json.loads(line)
        return reply


def _close(jobs: "SimpleQueue[_Job | None]", slots: Sequence[_Slot], threads: Sequence[threading.Thread]) -> None:
    while not jobs.empty():
        job = jobs.get()
        if job is not None:
            job.future.cancel()
    for slot in slots:
        slot.close()
        jobs.put(None)
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(timeout=5)
