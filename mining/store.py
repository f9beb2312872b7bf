"""The run directory: what is done, what is left, and tables that are whole or absent.

A table is written under `<name>.<random>.partial` and renamed when it is complete; a reader never sees half of one,
and a worker that outlives its killed driver writes under another name than the next run. The manifest says which
stage made what, from which inputs and config. Run directories live on a file system that the driver and every worker
see (a local disk in local mode; NFS, Lustre or a mounted bucket on a cluster).
"""

import dataclasses
import datetime
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mining.errors import ConfigError, StoreError

MANIFEST_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Addition:
    """Pages brought into a run after one of its rounds (pipelines/refetch.py).

    They lie in a run directory of their own below the run, made with the run's settings and deduplicated against it
    and the additions before, so that nothing of the run is made again for them.
    """

    number: int
    path: Path
    after_round: int
    """The rounds after this one see the pages."""


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
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace `path` atomically by `text`; what stood there stays until the new text is on the disk."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # a rename may reach the disk before the bytes do
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The value of a JSON file of the run directory; StoreError with the remedy where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: damaged ({error}); delete it and run the same line again") from None


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
        self.before_path = self.path / "manifest.before.json"
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
        elif self.before_path.exists():
            raise StoreError(f"{self.manifest_path}: missing; {_restore(self.path)}")
        elif any(entry.name != ".lock" for entry in self.path.iterdir()):
            raise StoreError(
                f"{self.path}: not empty and without a manifest.json, so not a run directory; choose another --run_dir"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory against a second writer; the kernel lets go when the process dies, however it dies."""
        try:
            lock = open(self.path / ".lock", "a+")  # noqa: SIM115 - closed below, after the yield
        except OSError as error:
            raise StoreError(f"{self.path}/.lock: cannot be written ({error}); choose another --run_dir") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                lock.seek(0)
                holder = lock.read().strip() or "unknown process"
                raise StoreError(_refusal(self.path, holder, error)) from None
            try:
                lock.truncate(0)
                lock.write(f"pid {os.getpid()} on {os.uname().nodename} since {now()}")
                lock.flush()
            except OSError as error:
                raise StoreError(f"{self.path}/.lock: cannot be written ({error}); free some space") from None
            yield

    def start(self, config: dict[str, Any]) -> None:
        """Write the configuration that the coming stages run under, and sweep up what killed runs left."""
        for left in (*self.path.glob("*.partial"), *self.path.glob("rounds/*/*.partial")):
            remove(left)
        self.manifest.setdefault("created", now())
        self.manifest["config"] = config
        self.manifest["config_hash"] = digest(config)
        self._save()

    def stage(self, name: str) -> dict[str, Any] | None:
        """The manifest's entry of a stage, or None where it never finished."""
        return self.manifest["stages"].get(name)

    def is_done(self, name: str, inputs_hash: str) -> bool:
        """Whether the stage finished on exactly these inputs.

        A stage that was marked stale counts when its inputs turn out to be the same after all.
        """
        entry = self.stage(name)
        if not entry or entry["inputs_hash"] != inputs_hash:
            return False
        if entry["state"] == "stale":
            entry["state"] = "done"
            self._save()
        return bool(entry["state"] == "done")

    def finish(self, name: str, *, inputs_hash: str, started: str, seconds: float, **facts: Any) -> None:
        """Record a finished stage: counts `in_`, `kept`, `dropped` by reason, and whatever else it tells."""
        facts = {"in" if key == "in_" else key: value for key, value in facts.items()}
        if "config" in facts:
            facts["config_hash"] = digest(facts["config"])
        self.manifest["stages"][name] = {
            "state": "done",
            "inputs_hash": inputs_hash,
            "started": started,
            "seconds": round(seconds, 2),
            "code_version": code_version(),
            **facts,
        }
        self._save()

    def note(self, name: str, config: dict[str, Any]) -> None:
        """Keep in mind that another config would make the same of a finished stage."""
        entry = self.manifest["stages"][name]
        if config not in (entry.get("config"), entry.get("also_config")):
            entry["also_config"] = config
            self._save()

    def mark_stale(self, names: list[str]) -> None:
        """Say that stages were made by another config; their tables stand until the stages run again."""
        for name in names:
            self.manifest["stages"][name]["state"] = "stale"
        self._save()

    def forget(self, names: list[str]) -> None:
        """Drop stages from the manifest, as before they are made again: a table must not outlive its entry's truth."""
        known = [name for name in names if name in self.manifest["stages"]]
        for name in known:
            del self.manifest["stages"][name]
        if known:
            self._save()

    def round_dir(self, number: int) -> Path:
        """rounds/01 and so on."""
        return self.path / "rounds" / f"{number:02d}"

    def addition_dir(self, number: int) -> Path:
        """additions/01 and so on."""
        return self.path / "additions" / f"{number:02d}"

    def additions(self) -> list[Addition]:
        """What was added to the run, in order."""
        entries = self.manifest.get("additions", [])
        return [Addition(one["number"], self.addition_dir(one["number"]), one["after_round"]) for one in entries]

    def add(self, addition: Addition, **facts: Any) -> None:
        """Enter an addition, or its new facts, in the manifest."""
        entries = [one for one in self.manifest.get("additions", []) if one["number"] != addition.number]
        entries.append({"number": addition.number, "after_round": addition.after_round, **facts})
        self.manifest["additions"] = sorted(entries, key=lambda one: one["number"])
        self._save()

    def move_additions(self, after_round: int) -> None:
        """Let what was added after a later round than this come in after this one: the loop ends here by now."""
        for entry in self.manifest.get("additions", []):
            entry["after_round"] = min(entry["after_round"], after_round)
        self._save()

    def _save(self) -> None:
        try:
            if self.manifest_path.exists():
                write_text(self.before_path, self.manifest_path.read_text(encoding="utf-8"))
            write_json(self.manifest_path, self.manifest)
        except OSError as error:
            raise StoreError(
                f"{self.manifest_path}: cannot be written ({error}); what was finished before is kept: mend that and "
                "run the same line again"
            ) from None


def _refusal(path: Path, holder: str, error: OSError) -> str:
    """Why the lock cannot be had."""
    if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
        return f"{path}: in use by another process ({holder}); wait for it or choose another --run_dir"
    return f"{path}: this file system cannot lock files ({error}); mount it with flock, or choose another --run_dir"


def _restore(run_dir: Path) -> str:
    """What to do about a manifest that is lost; at worst the stage that finished last runs again."""
    if (run_dir / "manifest.before.json").exists():
        return f"restore the one before it (cp {run_dir}/manifest.before.json {run_dir}/manifest.json) and run again"
    return "restore it from a backup, or choose another --run_dir"


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """The manifest of a run directory; StoreError with the remedy where it is absent or damaged."""
    path = run_dir / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{run_dir}: no manifest.json here, so not a run directory of mine.py") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: damaged ({error}); {_restore(run_dir)}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("stages"), dict):
        raise StoreError(f"{path}: damaged (no stages); {_restore(run_dir)}")
    if manifest.get("version") != MANIFEST_VERSION:
        raise StoreError(
            f"{path}: version {manifest.get('version')!r}, this code reads version {MANIFEST_VERSION}; use the code "
            "that made it, or choose another --run_dir"
        )
    return manifest


def fresh_partial(table: Path) -> Path:
    """An absent path beside `table` to write to; what killed runs left there is removed."""
    table.parent.mkdir(parents=True, exist_ok=True)
    for left in table.parent.glob(f"{table.name}.*partial"):
        remove(left)
    return _beside(table)


def publish(partial: Path, table: Path) -> None:
    """Make a finished table visible under its name, in place of an older one.

    Deleting a folder takes time, so the older one first loses its name: under it stands a whole table or none.
    """
    discard(table)
    os.replace(partial, table)


def discard(table: Path) -> None:
    """Delete a table, present or not, without ever showing half of it."""
    if not table.exists():
        return
    old = _beside(table)
    os.replace(table, old)
    remove(old)


def _beside(table: Path) -> Path:
    return table.with_name(f"{table.name}.{secrets.token_hex(4)}.partial")


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
