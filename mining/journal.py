"""Every answer of a language model in a run, a JSON line each, on the disk before it counts: nothing is asked twice.

Answers that were no verdict stand there too, with their reason.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any


class Journal:
    """Answers by prefix and question; a line that was cut off by a kill is passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str], dict[str, Any]] = {}
        self._is_torn = False
        if path.exists():
            data = path.read_bytes()
            self._is_torn = bool(data) and not data.endswith(b"\n")
            for line in data.split(b"\n"):
                entry = _entry(line)
                if entry:
                    self._entries[entry["prefix"], entry["question"]] = entry

    def find(self, prefix: str, question: str) -> dict[str, Any] | None:
        """The answer to this very question about a prefix, None where it was never given."""
        return self._entries.get((prefix, question))

    def add(self, entry: dict[str, Any]) -> None:
        """Append one answer and wait until it is on the disk."""
        line = json.dumps(entry) + "\n"
        with self._lock:
            with open(self.path, "ab") as file:
                file.write((b"\n" if self._is_torn else b"") + line.encode())
                file.flush()
                os.fsync(file.fileno())
            self._is_torn = False
            self._entries[entry["prefix"], entry["question"]] = entry


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    wanted = isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("prefix", "question"))
    return entry if wanted and ("verdict" in entry or "problem" in entry) else None
