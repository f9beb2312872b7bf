"""A run directory opened for reading: the one place where inspection touches the store.

Everything goes through DuckDB views over the Parquet globs, made when first asked for, so that a command reads
the tables and columns it shows and no others: page text is read for the pages on show only.
"""

import glob
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from mining.errors import ConfigError, StoreError
from mining.prefixes import Label, read_labels
from mining.store import read_manifest

Row = dict[str, Any]

FIXED_STAGES = ("ingest", "dedup", "decontaminate", "export")
_STAGE_OF = {
    "pages": "ingest",
    "dropped": "ingest",
    "duplicates": "dedup",
    "contaminated": "decontaminate",
    "corpus": "export",
}
DOMAIN_ORDERS = {
    "collected": "collected DESC",
    "share": "share DESC, pages DESC",
    "bound": "bound DESC, pages DESC",
    "uncollected": "uncollected DESC",
    "pages": "pages DESC",
    "tokens": "tokens DESC",
    "mean_score": "mean_score DESC",
    "change": "change DESC NULLS LAST",
    "host": "host",
}
PREFIX_ORDERS = {
    "uncollected": "uncollected DESC",
    "collected": "collected DESC",
    "share": "share DESC, pages DESC",
    "bound": "bound DESC, pages DESC",
    "pages": "pages DESC",
    "prefix": "prefix",
}
_MAX_CHAIN = 20
_REMEDY = "take its stage out of manifest.json and run the same pipelines/mine.py line again"

# What stands in for a table that no stage has written yet; a table not named here must be there.
_COLUMNS_WHEN_ABSENT = {
    "dropped": "url VARCHAR, reason VARCHAR, detail VARCHAR, warc_file VARCHAR, warc_offset BIGINT, warc_length BIGINT",
    "duplicates": "page_id VARCHAR, kept_id VARCHAR, kind VARCHAR, jaccard FLOAT",
    "contaminated": "page_id VARCHAR, benchmark VARCHAR, item VARCHAR, gram VARCHAR, place INTEGER, "
    '"end" INTEGER, units INTEGER, rule VARCHAR, action VARCHAR',
    "corpus": "page_id VARCHAR, url VARCHAR, host VARCHAR, domain VARCHAR, language VARCHAR, text VARCHAR, "
    "n_tokens INTEGER, score DOUBLE, first_round INTEGER, formulas_kept INTEGER",
    "seed": "text VARCHAR, url VARCHAR, label VARCHAR, source VARCHAR, page_id VARCHAR, language VARCHAR",
    "prefixes": "prefix VARCHAR, host VARCHAR, domain VARCHAR, depth INTEGER, pages BIGINT, collected BIGINT, "
    "uncollected BIGINT, share DOUBLE, bound DOUBLE, mean_score DOUBLE, uncollected_tokens BIGINT, proposed BOOLEAN, "
    "label VARCHAR, annotator VARCHAR",
}
_ADDED = ("pages", "dropped", "duplicates")
"""Tables that each addition to the run has a part of."""
_SINGLE_FILES = ("seed", "domains", "prefixes")


@dataclass
class Run:
    """One run directory, open for reading; make it with `open_run`."""

    path: Path
    manifest: Mapping[str, Any]
    metrics: Mapping[int, Mapping[str, Any]]
    """metrics.json of each finished round, in order: a round that the manifest does not name is not finished."""
    connection: duckdb.DuckDBPyConnection
    _views: set[str] = field(default_factory=set)

    @property
    def rounds(self) -> list[int]:
        """Numbers of the finished rounds, ascending."""
        return list(self.metrics)

    @property
    def stages(self) -> Mapping[str, Mapping[str, Any]]:
        """The manifest's stages in the order they ran."""
        return self.manifest.get("stages", {})

    @property
    def additions(self) -> Sequence[Mapping[str, Any]]:
        """What pipelines/refetch.py added, as the manifest has it: number, after_round, counts."""
        return self.manifest.get("additions", [])

    def is_done(self, stage: str) -> bool:
        """Whether the manifest says that `stage` is done."""
        return self.stages.get(stage, {}).get("state") == "done"

    def open_round(self) -> int | None:
        """The round after the finished ones, where its tables stand and only labels are wanting."""
        number = self.rounds[-1] + 1 if self.metrics else 1
        is_open = (self.path / "rounds" / f"{number:02d}" / "prefixes.parquet").is_file()
        is_open = is_open and self.is_done("dedup") and f"round-{number:02d}" not in self.stages
        return number if is_open else None

    def stages_left(self) -> list[str]:
        """Stages that are not done, an open round first; empty for a finished run."""
        number = self.open_round()
        left = [f"round-{number:02d}"] if number else []
        left += [name for name, stage in self.stages.items() if stage.get("state") != "done"]
        return left + [name for name in FIXED_STAGES if name not in self.stages]

    def round_number(self, wanted: int | None = None) -> int:
        """`wanted` where that round's tables stand, the last such round where it is None."""
        number = self.open_round()
        there = [*self.rounds, *([number] if number else [])]
        if not there:
            raise ConfigError(f"{self.path}: no round is finished yet; run pipelines/mine.py on, with the same line")
        if wanted is not None and wanted not in there:
            raise ConfigError(f"--round {wanted}: {self.path} has no such round; it has {', '.join(map(str, there))}")
        return wanted or there[-1]

    def relation(self, table: str, round_number: int | None = None) -> str:
        """Name of the view over `table`, for use in SQL; `round_number` for the tables of a round.

        A table that a later stage has yet to write is empty, and so is one left over from a stage that the manifest
        no longer knows; one that a finished stage must have written raises StoreError.
        """
        name = table if round_number is None else f"{table}_{round_number:02d}"
        if name in self._views:
            return name
        folder = self.path if round_number is None else self.path / "rounds" / f"{round_number:02d}"
        place = folder / (f"{table}.parquet" if table in _SINGLE_FILES else table)
        there = place.is_file() if table in _SINGLE_FILES else any(place.glob("*.parquet"))
        is_current = table not in _STAGE_OF or self.is_done(_STAGE_OF[table])
        if there and is_current:
            is_file = table in _SINGLE_FILES
            files = glob.escape(str(place)) if is_file else self.files(table, place)
            self._execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM read_parquet({_literal(files)})", ())
        elif table in _COLUMNS_WHEN_ABSENT:
            self._execute(f"CREATE TEMP TABLE {name} ({_COLUMNS_WHEN_ABSENT[table]})", ())
        else:
            if not is_current:
                raise StoreError(f"{place}: stage {_STAGE_OF[table]} is not done; run pipelines/mine.py on")
            raise StoreError(f"{place}: no Parquet table there; {_REMEDY}")
        self._views.add(name)
        return name

    def files(self, table: str, folder: Path) -> list[str]:
        """Patterns of a table's files: those in `folder`, and of what was added to the run."""
        folders = [folder]
        if table in _ADDED:
            added = (self.path / "additions" / f"{one['number']:02d}" / table for one in self.additions)
            folders += [one for one in added if any(one.glob("*.parquet"))]
        return [glob.escape(str(one)) + "/*.parquet" for one in folders]

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        """The answer of a query as dicts, one a row."""
        cursor = self._execute(query, parameters)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, values, strict=True)) for values in self._fetch(cursor)]

    def row(self, query: str, parameters: Sequence[object] = ()) -> Row | None:
        """The first row of a query's answer, None where it has none."""
        return next(iter(self.rows(query, parameters)), None)

    def offer(self, name: str, columns: Mapping[str, Sequence[object]]) -> str:
        """Name under which SQL can join these columns, given as Python lists of strings or integers."""
        self.connection.register(name, pa.table({key: pa.array(values) for key, values in columns.items()}))
        return name

    def _execute(self, query: str, parameters: Sequence[object]) -> duckdb.DuckDBPyConnection:
        try:
            return self.connection.execute(query, list(parameters))
        except duckdb.Error as error:
            raise _damage(self.path, error) from error

    def _fetch(self, cursor: duckdb.DuckDBPyConnection) -> list[tuple]:
        try:
            return cursor.fetchall()
        except duckdb.Error as error:
            raise _damage(self.path, error) from error


def _literal(files: str | Sequence[str]) -> str:
    """Paths as SQL; a view takes no parameters."""
    if isinstance(files, str):
        return "'" + files.replace("'", "''") + "'"
    return f"[{', '.join(map(_literal, files))}]"


def open_run(run_dir: str | Path) -> Run:
    """The run directory with its manifest and round metrics read; ConfigError where it is none."""
    path = Path(run_dir)
    if not path.is_dir():
        raise ConfigError(f"{run_dir}: no such directory; give the --run_dir that pipelines/mine.py wrote")
    if not (path / "manifest.json").is_file():
        raise ConfigError(f"{run_dir}: no manifest.json in it; give the --run_dir that pipelines/mine.py wrote")
    manifest = read_manifest(path)
    metrics = {}
    for stage in sorted(manifest["stages"]):
        file = path / "rounds" / stage.removeprefix("round-") / "metrics.json"
        if stage.startswith("round-") and manifest["stages"][stage].get("state") == "done" and file.is_file():
            metrics[int(file.parent.name)] = read_object(file)
    connection = duckdb.connect(":memory:")
    # Extensions would be fetched from the network; a progress bar would land in piped output.
    for setting in ("autoinstall_known_extensions", "autoload_known_extensions", "enable_progress_bar"):
        connection.execute(f"SET {setting} = false")
    return Run(path=path, manifest=manifest, metrics=metrics, connection=connection)


def made_by(run: Run) -> list[Row]:
    """A row a stage, in the order they ran: when, in how many seconds, and by which config.

    `config` is the hash of the settings that the stage depends on; `unlike_now` says where they differ from those of
    the last run on the directory: such a stage would be made again, or would come out the same.
    """
    from mining.lineage import differences

    now = run.manifest.get("config", {})
    rows = []
    for name, stage in run.stages.items():
        config = stage.get("config", {})
        present = {section: now.get(section) for section in config}
        rows.append(
            {
                "stage": name,
                "state": stage.get("state"),
                "started": stage.get("started"),
                "seconds": stage.get("seconds"),
                "config": stage.get("config_hash"),
                "unlike_now": differences(config, present),
            }
        )
    return rows


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in `file`; StoreError with line and column where it is damaged."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{file}: cannot be read ({error}); restore it or mine into a fresh --run_dir") from error
    except json.JSONDecodeError as error:
        raise StoreError(
            f"{file}: broken JSON at line {error.lineno}, column {error.colno} ({error.msg}); "
            "restore it or mine into a fresh --run_dir"
        ) from error
    if not isinstance(value, dict):
        raise StoreError(f"{file}: holds a {type(value).__name__}, not an object; mine into a fresh --run_dir")
    return value


def domains(
    run: Run, round_number: int, *, sort: str = "collected", limit: int | None = None, candidates: bool = False
) -> list[Row]:
    """A round's hosts with `uncollected` and `change` (pages collected more than last round) added."""
    query = f"""
        SELECT *, pages - collected AS uncollected,
               CASE WHEN prev_collected IS NULL THEN NULL ELSE collected - prev_collected END AS change
        FROM {run.relation("domains", round_number)}
        WHERE candidate OR NOT ? ORDER BY {DOMAIN_ORDERS[sort]}, host LIMIT ?"""
    return run.rows(query, [candidates, limit])


def prefixes(
    run: Run,
    round_number: int,
    *,
    domain: str | None = None,
    sort: str = "uncollected",
    limit: int | None = None,
    proposed: bool = False,
) -> list[Row]:
    """A round's URL prefixes of one host or registrable domain (None: of all); `proposed` leaves the others out.

    A domain that the round has never seen raises ConfigError with the nearest names.
    """
    hosts = run.relation("domains", round_number)
    if domain is not None and not run.rows(f"SELECT 1 FROM {hosts} WHERE ? IN (host, domain) LIMIT 1", [domain]):
        near = run.rows(f"SELECT host FROM {hosts} ORDER BY levenshtein(host, ?), host LIMIT 3", [domain[:200].lower()])
        names = ", ".join(row["host"] for row in near)
        raise ConfigError(f"--domain {domain}: round {round_number} of {run.path} has no such host; nearest: {names}")
    return run.rows(
        f"""SELECT * FROM {run.relation("prefixes", round_number)}
            WHERE (? IS NULL OR ? IN (host, domain)) AND (proposed OR NOT ?)
            ORDER BY {PREFIX_ORDERS[sort]}, prefix LIMIT ?""",
        [domain, domain, proposed, limit],
    )


def sample(
    run: Run, round_number: int, *, n: int = 5, seed: int = 0, host: str | None = None, collected: bool = True
) -> list[Row]:
    """`n` pages drawn uniformly from those a round collected (or left), with the beginning of their text.

    The same seed draws the same pages, whatever the files' order. Text is read for the drawn pages alone.
    """
    scores, taken = run.relation("scores", round_number), run.relation("collected", round_number)
    pages = run.relation("pages")
    host_filter = f"AND s.page_id IN (SELECT page_id FROM {pages} WHERE host = ?)" if host else ""
    drawn = run.rows(
        f"""SELECT s.page_id, s.score FROM {scores} s {"SEMI" if collected else "ANTI"} JOIN {taken} c USING (page_id)
            WHERE TRUE {host_filter} ORDER BY md5(s.page_id || ?), s.page_id LIMIT ?""",
        [*([host] if host else []), f"|{seed}", n],
    )
    if not drawn:
        return []
    marks = ", ".join("?" * len(drawn))
    ids = [row["page_id"] for row in drawn]
    details = run.rows(
        f"""SELECT page_id, url, host, language, title, n_tokens, left(text, 1000) AS text
            FROM {pages} WHERE page_id IN ({marks})""",
        ids,
    )
    by_id = {row["page_id"]: row for row in details}
    return [{**by_id[row["page_id"]], "score": row["score"]} for row in drawn if row["page_id"] in by_id]


def kept_pages(run: Run, urls: Iterable[str]) -> dict[str, set[str]]:
    """For each URL the page ids that stand for it after dedup; a URL that no page has is left out.

    A page removed as a duplicate is followed to the page kept for it, over several steps where need be.
    """
    asked = run.offer("asked_urls", {"url": sorted(set(urls))})
    run.rows(
        f"""CREATE OR REPLACE TEMP TABLE standing AS
            SELECT url, page_id FROM {run.relation("pages")} SEMI JOIN {asked} USING (url)"""
    )
    duplicates = run.relation("duplicates")
    for _ in range(_MAX_CHAIN):
        if not run.rows(f"SELECT 1 FROM standing SEMI JOIN {duplicates} USING (page_id) LIMIT 1"):
            break
        run.rows(
            f"""CREATE OR REPLACE TEMP TABLE standing AS
                SELECT DISTINCT s.url, coalesce(d.kept_id, s.page_id) AS page_id
                FROM standing s LEFT JOIN {duplicates} d USING (page_id)"""
        )
    else:
        raise StoreError(f"{run.path}/duplicates: pages name one another as kept, in a circle; run stage dedup again")
    standing: dict[str, set[str]] = {}
    for row in run.rows("SELECT url, page_id FROM standing"):
        standing.setdefault(row["url"], set()).add(row["page_id"])
    return standing


def among(run: Run, relation: str, page_ids: Iterable[str], *, column: str = "TRUE") -> dict[str, Any]:
    """`column` of those of `page_ids` that are in `relation`."""
    asked = run.offer("asked_pages", {"page_id": sorted(set(page_ids))})
    found = run.rows(f"SELECT page_id, {column} AS value FROM {relation} SEMI JOIN {asked} USING (page_id)")
    return {row["page_id"]: row["value"] for row in found}


def labels(run: Run, round_number: int) -> list[Label]:
    """The labels in a round's labels.csv, none where nobody has labelled yet; StoreError where it is no such file."""
    file = run.path / "rounds" / f"{round_number:02d}" / "labels.csv"
    if not file.is_file():
        return []
    try:
        return read_labels(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise StoreError(f"{file}: cannot be read as labels ({error}); mend that line") from error


def _damage(path: Path, error: duckdb.Error) -> Exception:
    """What the user is told of a table that DuckDB cannot read; a mistake in our own SQL comes back as it is."""
    if isinstance(error, duckdb.ParserException | duckdb.CatalogException):
        return error
    reason = " ".join(str(error).partition("LINE 1:")[0].split())[:300]  # what follows is our own SQL
    return StoreError(f"{path}: a table cannot be read ({reason}); {_REMEDY}")
