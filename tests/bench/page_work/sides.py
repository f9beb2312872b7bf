"""The sides as processes of their own, each with one thread and in its own environment."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from extractors.peers import OPENWEBMATH_PACKAGES
from reports.peer_environments import python_of

OURS, LIMIT, STEPS, DATATROVE, OPENWEBMATH = "motherlode", "limit", "steps", "datatrove", "openwebmath"
# trafilatura as datatrove 0.10.1's own `processing` extra bounds it.
DATATROVE_PACKAGES = (
    "datatrove[io,processing]==0.10.1",
    "trafilatura==1.11.0",
    "lxml_html_clean==0.4.6",
    "fasttext-numpy2-wheel==0.9.2",
    "warcio==1.8.1",
    "spacy==3.8.18",
)
_DATATROVE_CHECK = (
    "import magic, cchardet, fasttext, trafilatura, datatrove.pipeline.filters, datatrove.pipeline.extractors, "
    "datatrove.pipeline.readers"
)
_PROGRAMS = {
    OURS: "our_pages.py",
    LIMIT: "limit_pages.py",
    STEPS: "step_pages.py",
    DATATROVE: "datatrove_pages.py",
    OPENWEBMATH: "openwebmath_pages.py",
}


class Side:
    """A process that works on files one by one."""

    def __init__(self, name: str, python: Path, model: Path, cache: Path) -> None:
        self.name = name
        program = Path(__file__).with_name(_PROGRAMS[name])
        # datatrove copies the model to its cache before it reads it.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_ASSETS_CACHE": str(cache)}
        self._errors = open(cache / f"{name}.log", "w+")  # noqa: SIM115, it lives as long as the process
        self._process = subprocess.Popen(
            [python, program, model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )

    def work(self, path: Path) -> dict[str, float]:
        """What the process says of one file; RuntimeError with its last line of output where it died."""
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._errors.seek(0)
            last_line = (self._errors.read().strip() or "no message").splitlines()[-1]
            raise RuntimeError(f"{self.name} died on {path}: {last_line}")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._errors.close()


class Sides:
    """Every side by name; a context manager that ends their processes."""

    def __init__(self, model: Path, cache: Path) -> None:
        self.running: dict[str, Side] = {}
        self.missing: dict[str, str] = {}
        """Peers that could not be set up, with the reason."""
        for name in _PROGRAMS:
            try:
                self.running[name] = Side(name, _python(name), model, cache)
            except (RuntimeError, OSError) as error:
                self.missing[name] = str(error)

    def __enter__(self) -> "Sides":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for side in self.running.values():
            side.close()


def _python(name: str) -> Path:
    if name == DATATROVE:
        return python_of("datatrove-crawl", DATATROVE_PACKAGES, check=_DATATROVE_CHECK)
    if name == OPENWEBMATH:
        packages = (*OPENWEBMATH_PACKAGES, "fasttext-community==0.11.9")
        return python_of("openwebmath-crawl", packages, check="import text_extract, fasttext, fastwarc")
    return Path(sys.executable)
