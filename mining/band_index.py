"""The band index of a run: what a later crawl needs in order to be deduplicated against this one.

One row a page, under `band_index/` of the run directory: its keys, its verification sample and what decides who
stays, some 6 bytes a token and no text. `_index.json` beside the rows says how they were made.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from mining.errors import ConfigError, StoreError
from mining.minhash import DedupConfig, MinHashConfig, Sets, band_keys, signature, verification_sample
from mining.shingles import shingles, text_digest, tokens, windows
from mining.store import publish, read_manifest, write_json
from mining.url import canonical_url

INDEX_VERSION = 1
"""Rises when the same text gives other shingles or bands."""

INDEX_SCHEMA = pa.schema(
    [
        ("page_id", pa.string()),
        ("crawl", pa.string()),
        ("url_key", pa.string()),
        ("text_key", pa.string()),
        ("bands", pa.list_(pa.int64())),
        ("shingles", pa.list_(pa.int32())),
        ("formulas_kept", pa.int32()),
        ("n_chars", pa.int32()),
        ("fetched", pa.int64()),
    ]
)
PAGE_COLUMNS = ("page_id", "crawl", "url", "text", "formulas_kept", "n_chars", "fetch_time")
"""What the index is made of."""


@dataclass(frozen=True)
class BandIndex:
    """The index of a finished run."""

    path: Path
    """The table."""
    duplicates: Path
    """The run's duplicates/: its pages that went, and for which."""
    inputs_hash: str
    """What its dedup stage was made from; names the corpus."""


def index_rows(batch: pa.RecordBatch | pa.Table, cfg: MinHashConfig) -> pa.RecordBatch:
    """The INDEX_SCHEMA of pages with PAGE_COLUMNS; `fetched` is in seconds since 1970, 0 where there is no date."""
    bands, samples, text_keys = [], [], []
    for text in batch.column("text").to_pylist():
        found = tokens(text)
        bands.append(band_keys(signature(windows(found, cfg.candidate_shingle_size), cfg), cfg))
        samples.append(verification_sample(shingles(found, cfg.shingle_size), cfg))
        text_keys.append(text_digest(text))
    return pa.RecordBatch.from_arrays(
        [
            batch.column("page_id"),
            batch.column("crawl"),
            pa.array([canonical_url(url) for url in batch.column("url").to_pylist()], pa.string()),
            pa.array(text_keys, pa.string()),
            _lists(bands, pa.int64()),
            _lists(samples, pa.int32()),
            batch.column("formulas_kept"),
            batch.column("n_chars"),
            pa.array([_seconds(date) for date in batch.column("fetch_time").to_pylist()], pa.int64()),
        ],
        schema=INDEX_SCHEMA,
    )


def _seconds(date: str | None) -> int:
    try:
        parsed = datetime.fromisoformat(date or "")
    except ValueError:
        return 0
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


def _lists(arrays: list[np.ndarray], kind: pa.DataType) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in arrays])]).astype(np.int32)
    values = np.concatenate(arrays) if arrays else np.empty(0, kind.to_pandas_dtype())
    return pa.ListArray.from_arrays(offsets, pa.array(values, kind))


def sets_of(column: pa.ListArray) -> Sets:
    """The sets of an Arrow column of lists, without copying their values."""
    offsets = column.offsets.to_numpy()
    return Sets(offsets - offsets[0], column.values.to_numpy()[offsets[0] : offsets[-1]])


def publish_index(rows: Path, table: Path, *, cfg: MinHashConfig, earlier: Sequence[BandIndex]) -> None:
    """Make the written rows visible as a run's band index."""
    facts = {
        "version": INDEX_VERSION,
        "minhash": dataclasses.asdict(cfg),
        "against": [index.inputs_hash for index in earlier],
    }
    write_json(rows / "_index.json", facts)
    publish(rows, table)


def open_indexes(cfg: DedupConfig, run_dir: str) -> list[BandIndex]:
    """The band indexes that `cfg.against` names, in its order.

    ConfigError where one is absent, made with other MinHash settings, or was itself deduplicated against a run that
    is not named; nothing is read but manifests.
    """
    found: list[BandIndex] = []
    needed: dict[str, str] = {}
    for name in cfg.against:
        earlier = Path(name).absolute()
        if earlier == Path(run_dir).absolute():
            raise ConfigError(f"dedup.against: {name} is this run's own directory; name runs of earlier crawls")
        index, against = _open_index(earlier, cfg.minhash)
        found.append(index)
        needed.update(dict.fromkeys(against, name))
    missing = set(needed) - {index.inputs_hash for index in found}
    if missing:
        raise ConfigError(
            f"dedup.against: {needed[min(missing)]} was itself deduplicated against a run that is not named (dedup "
            f"inputs_hash {min(missing)} in its manifest.json); name that run directory, too"
        )
    return found


def _open_index(run_dir: Path, cfg: MinHashConfig) -> tuple[BandIndex, list[str]]:
    try:
        entry = read_manifest(run_dir)["stages"].get("dedup", {})
    except StoreError as error:
        raise ConfigError(f"dedup.against: {error}") from None
    path = run_dir / "band_index"
    if entry.get("state") != "done" or not path.is_dir():
        raise ConfigError(f"dedup.against: {run_dir} has no band_index; run its dedup stage (--stages dedup) first")
    try:
        facts = json.loads((path / "_index.json").read_text(encoding="utf-8"))
        version, theirs, against = facts["version"], facts["minhash"], facts["against"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"dedup.against: {path}/_index.json: damaged ({error!r}); run that dedup stage again"
        ) from None
    if version != INDEX_VERSION:
        raise ConfigError(
            f"dedup.against: {path} has version {version}, this code makes {INDEX_VERSION}: equal texts have other "
            "bands; run that dedup stage again with this code"
        )
    ours = dataclasses.asdict(cfg)
    different = [
        f"{name}: {theirs.get(name)} there, {ours[name]} here" for name in ours if theirs.get(name) != ours[name]
    ]
    if different:
        raise ConfigError(
            f"dedup.against: {path} was made with other MinHash settings ({'; '.join(different)}); set "
            "dedup.minhash like that run's, or run its dedup stage again with these"
        )
    return BandIndex(path, run_dir / "duplicates", entry["inputs_hash"]), against
