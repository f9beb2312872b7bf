"""The run directory: what is done, what is left, and tables that are whole or absent.

A table is written under `<name>.partial` and renamed when it is complete; a reader never sees half of one. The
manifest says which stage made what, from which inputs. Run directories live on a file system that the driver and
every worker see (a local disk in local mode; NFS, Lustre or a mounted bucket on a cluster).
"""

import dataclasses
import datetime
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mining.errors import ConfigError, StoreError

MANIFEST_VERSION = 1


def digest(value: Any) -> str:
    """16 hex digits that are equal for equal JSON-able values (dataclasses included)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: str | Path) -> str:
    """16 hex digits over a local file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def write_json(path: Path, value: Any) -> None:
    """Replace `path` atomically by `value` as JSON."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Replace `path` atomically by `text`."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


class Store:
    """One run directory and its manifest.

    Raises StoreError where the directory cannot be made, written or trusted, or another process holds it.
    """

    def __init__(self, run_dir: str | Path) -> None:
        if "://" in str(run_dir):
            raise ConfigError(
                f"run_dir={run_dir}: a run directory needs atomic renames; give a path on a disk or a shared "
                "file system that all workers mount (WARC inputs may be any fsspec URI)"
            )
        self.path = Path(run_dir).absolute()
        self.manifest_path = self.path / "manifest.json"
        self.manifest: dict[str, Any] = {"version": MANIFEST_VERSION, "stages": {}}

    def open(self) -> None:
        """Make the directory if needed and read its manifest."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.path}: cannot make the run directory ({error}); choose another --run_dir"
            ) from None
        if not os.access(self.path, os.W_OK):
            raise StoreError(f"{self.path}: the run directory is not writable; choose another --run_dir")
        if self.manifest_path.exists():
            self.manifest = read_manifest(self.path)
        elif any(entry.name != ".lock" for entry in self.path.iterdir()):
            raise StoreError(
                f"{self.path}: not empty and without a manifest.json, so not a run directory; choose another --run_dir"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory against a second writer; the kernel lets go when the process dies."""
        with open(self.path / ".lock", "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.seek(0)
                raise StoreError(
                    f"{self.path}: in use by another mine.py ({lock.read().strip() or 'unknown process'}); "
                    "wait for it or choose another --run_dir"
                ) from None
            lock.truncate(0)
            lock.write(f"pid {os.getpid()} on {os.uname().nodename}")
            lock.flush()
            yield

    def start(self, config: dict[str, Any]) -> None:
        """Write the configuration that the coming stages run under."""
        self.manifest.setdefault("created", now())
        self.manifest["config"] = config
        self.manifest["config_hash"] = digest(config)
        self._save()

    def stage(self, name: str) -> dict[str, Any] | None:
        """The manifest's entry of a stage, or None where it never finished."""
        return self.manifest["stages"].get(name)

    def is_done(self, name: str, inputs_hash: str) -> bool:
        """Whether the stage finished on exactly these inputs."""
        entry = self.stage(name)
        return bool(entry and entry["state"] == "done" and entry["inputs_hash"] == inputs_hash)

    def finish(self, name: str, *, inputs_hash: str, started: str, seconds: float, **facts: Any) -> None:
        """Record a finished stage: counts `in_`, `kept`, `dropped` by reason, and whatever else it tells."""
        facts = {"in" if key == "in_" else key: value for key, value in facts.items()}
        self.manifest["stages"][name] = {
            "state": "done",
            "inputs_hash": inputs_hash,
            "started": started,
            "seconds": round(seconds, 2),
            "code_version": code_version(),
            **facts,
        }
        self._save()

    def forget(self, names: list[str]) -> None:
        """Drop stages from the manifest; their tables are replaced when they run again."""
        for name in names:
            self.manifest["stages"].pop(name, None)
        self._save()

    def round_dir(self, number: int) -> Path:
        """rounds/01 and so on."""
        return self.path / "rounds" / f"{number:02d}"

    def _save(self) -> None:
        try:
            write_json(self.manifest_path, self.manifest)
        except OSError as error:
            raise StoreError(f"{self.manifest_path}: cannot be written ({error})") from None


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """The manifest of a run directory; StoreError with the remedy where it is absent or damaged."""
    path = run_dir / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{run_dir}: no manifest.json here, so not a run directory of mine.py") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: damaged ({error}); restore it, or delete the run directory and run again") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("stages"), dict):
        raise StoreError(f"{path}: damaged (no stages); restore it, or delete the run directory and run again")
    if manifest.get("version") != MANIFEST_VERSION:
        raise StoreError(f"{path}: version {manifest.get('version')!r}, this code reads version {MANIFEST_VERSION}")
    return manifest


def fresh_partial(table: Path) -> Path:
    """An absent path beside `table` to write to; what a killed run left there is removed."""
    partial = table.with_name(f"{table.name}.partial")
    remove(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    return partial


def publish(partial: Path, table: Path) -> None:
    """Make a finished table visible under its name, in place of an older one."""
    remove(table)
    os.replace(partial, table)


def remove(path: Path) -> None:
    """Delete a file or a folder, present or not."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def code_version() -> str:
    """The installed distribution's version, `unknown` when run uninstalled."""
    try:
        return importlib.metadata.version("motherlode")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
