"""Input files by pattern: what they are, how large, and the name that provenance keeps."""

import glob
import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

import fsspec

from mining.errors import ConfigError


@dataclass(frozen=True)
class InputFile:
    """One input file as found."""

    uri: str
    size: int
    version: str
    """Modification time or etag: changes when the file is replaced."""

    def facts(self) -> tuple[str, int, str]:
        """What a stage's hash is made of; the folder is left out, so that data may be moved."""
        return posixpath.basename(self.uri), self.size, self.version


def find_files(patterns: Sequence[str], *, data_dir: str, field: str) -> list[InputFile]:
    """The files of all patterns, sorted, each once. ConfigError where a pattern finds nothing.

    patterns: paths, globs or fsspec URIs; relative ones start from data_dir. field: the config key, for the message.
    """
    found: dict[str, InputFile] = {}
    for pattern in patterns:
        full = pattern if "://" in pattern or os.path.isabs(pattern) else _join(data_dir, pattern)
        files = _remote(full) if "://" in full else _local(full)
        if not files:
            raise ConfigError(f"{field}={pattern}: nothing found at {full}; check data_dir={data_dir} and the pattern")
        found.update((file.uri, file) for file in files)
    return [found[uri] for uri in sorted(found)]


def provenance_names(files: Sequence[InputFile]) -> list[str]:
    """The files' paths below the deepest folder they share: what `warc_file` holds, wherever the data lie."""
    if not files:
        return []
    folders = [posixpath.dirname(file.uri) for file in files]
    root = posixpath.commonpath(folders) if len(set(folders)) > 1 else folders[0]
    crawl_data = re.search(r"(^|/)crawl-data(/|$)", root)
    if crawl_data:  # Common Crawl's own paths stay whole, so that they can be fetched again
        root = root[: crawl_data.start()]
    return [file.uri[len(root) :].lstrip("/") for file in files]


def crawl_of(uri: str, default: str) -> str:
    """The name of the crawl in a path (CC-MAIN-2024-22), else the default."""
    match = re.search(r"CC-MAIN-\d{4}-\d{2}", uri)
    return match.group() if match else default


def _join(folder: str, name: str) -> str:
    return posixpath.join(folder, name) if "://" in folder else os.path.join(os.path.abspath(folder), name)


def _local(pattern: str) -> list[InputFile]:
    files = []
    for path in glob.glob(pattern, recursive=True):
        if os.path.isfile(path):
            stat = os.stat(path)
            files.append(InputFile(path, stat.st_size, str(stat.st_mtime_ns)))
    return files


def _remote(pattern: str) -> list[InputFile]:
    filesystem, path = fsspec.core.url_to_fs(pattern)
    try:
        names = filesystem.glob(path) if glob.has_magic(path) else [path] if filesystem.exists(path) else []
        infos = [(filesystem.unstrip_protocol(name), filesystem.info(name)) for name in names]
    except OSError as error:
        raise ConfigError(f"{pattern}: cannot be listed ({error})") from None
    return [
        InputFile(
            uri, int(info.get("size") or 0), str(info.get("ETag") or info.get("mtime") or info.get("created") or "")
        )
        for uri, info in infos
    ]
