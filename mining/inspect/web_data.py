"""What the labelling page shows of a run: hosts worth a label, a host's prefixes and its pages.

Hosts and prefixes of the round on show are held in DuckDB's memory (they are few); pages are read from Parquet when
they are shown. A table that mine.py has made anew since is read again.
"""

import glob
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mining.inspect.label_log import Standing
from mining.inspect.tables import Row, Run, open_run
from mining.inspect.web_audits import AuditSample
from mining.prefixes import Label, PrefixConfig, label_for, label_index, propose, sections_of
from mining.url import PrefixParts, host_of, prefix_parts

ORDERS = {
    "tokens": "open_tokens DESC, open_pages DESC",
    "pages": "open_pages DESC, open_tokens DESC",
    "share": "share DESC, pages DESC",
    "size": "pages DESC",
    "host": "host",
}
SHOWN = {
    "todo": "num_open > 0",
    "second": "num_second > 0",
    "labelled": "num_labelled > 0",
    "skipped": "num_skipped > 0",
    "disputed": "num_disputed > 0",
    "candidates": "candidate",
    "all": "TRUE",
}
PAGE_SIZE = 20
_HOSTS_KEPT = 32
_PLACES_KEPT = 500_000
_SAMPLE_CHARS = 6000

_QUEUE = """
CREATE OR REPLACE TEMP TABLE queue AS
WITH cover AS (
    SELECT r.prefix, arg_max(g.label, g.size) FILTER (g.label <> '') AS label, bool_or(g.mine) AS mine,
           bool_or(g.label <> '' AND NOT g.mine) AS others, bool_or(g.skipped AND g.key = r.key) AS skipped,
           bool_or(g.disputed AND g.key = r.key) AS disputed
    FROM prefix_rows r JOIN given g
      ON g.host = r.host_key AND (g.key = r.key OR (NOT g.query AND starts_with(r.key, g.key)))
    GROUP BY r.prefix
), per_host AS (
    SELECT r.host, count(*) AS num_prefixes,
        count(*) FILTER (r.proposed AND c.label IS NULL AND NOT coalesce(c.skipped, FALSE)) AS num_open,
        sum(r.uncollected) FILTER (r.proposed AND c.label IS NULL AND NOT coalesce(c.skipped, FALSE)) AS open_pages,
        sum(r.uncollected_tokens) FILTER (r.proposed AND c.label IS NULL AND NOT coalesce(c.skipped, FALSE))
            AS open_tokens,
        count(*) FILTER (c.others AND NOT coalesce(c.mine, FALSE) AND NOT coalesce(c.skipped, FALSE)) AS num_second,
        count(*) FILTER (c.label IS NOT NULL) AS num_labelled,
        count(*) FILTER (c.skipped) AS num_skipped, count(*) FILTER (c.disputed) AS num_disputed,
        count(*) FILTER (c.label = 'math') AS num_math,
        sum(r.uncollected) FILTER (c.label = 'math') AS math_pages,
        sum(r.uncollected_tokens) FILTER (c.label = 'math') AS math_tokens,
        sum(r.uncollected) FILTER (r.proposed) AS proposed_pages,
        sum(r.uncollected_tokens) FILTER (r.proposed) AS proposed_tokens,
        count(*) FILTER (r.proposed) AS num_proposed
    FROM prefix_rows r LEFT JOIN cover c USING (prefix) GROUP BY r.host
)
SELECT h.host, h.domain, h.pages, h.collected, h.share, h.candidate, h.uncollected,
       COLUMNS(p.* EXCLUDE (host))::BIGINT
FROM hosts h LEFT JOIN per_host p USING (host)
"""


@dataclass(frozen=True, slots=True)
class HostPage:
    """A page of the host on show."""

    page_id: str
    url: str
    score: float
    n_tokens: int
    collected: bool


@dataclass
class PrefixRow:
    """A row of a host's prefix tree, with the pages that a label on it would govern."""

    prefix: str
    key: PrefixParts
    proposed: bool
    depth: int = 0
    """Rows above it on its path."""
    name: str = ""
    """What it adds to the row above."""
    pages: list[HostPage] = field(default_factory=list)

    @cached_property
    def left(self) -> list[HostPage]:
        """Uncollected pages in the random order in which they are shown."""
        return sorted((page for page in self.pages if not page.collected), key=_random_order)

    @cached_property
    def taken(self) -> list[HostPage]:
        """Collected pages, in such an order too."""
        return sorted((page for page in self.pages if page.collected), key=_random_order)

    @property
    def collected(self) -> int:
        return len(self.taken)

    @property
    def uncollected(self) -> int:
        return len(self.left)

    @cached_property
    def uncollected_tokens(self) -> int:
        return sum(page.n_tokens for page in self.left)

    @property
    def share(self) -> float:
        return self.collected / len(self.pages) if self.pages else 0.0


def _random_order(page: HostPage) -> bytes:
    return hashlib.md5(page.page_id.encode()).digest()


@dataclass(frozen=True)
class HostView:
    """One host: its entry in the round's table and its tree, parents before children."""

    host: str
    domain: str
    pages: int
    collected: int
    rows: list[PrefixRow]


class RunData:
    """One run directory as the labelling page reads it; calls come one at a time (`lock`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self._signature: object = None
        self._queue_of: object = None
        self._hosts: OrderedDict[str, list[HostPage]] = OrderedDict()
        self._trees: dict[tuple[object, ...], list[PrefixRow]] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self.run: Run
        self.number: int
        self.refresh()

    def refresh(self) -> None:
        """Read the run again where mine.py has written a manifest or a round's tables since."""
        files = [self.path / "manifest.json", *sorted(self.path.glob("rounds/*/prefixes.parquet"))]
        signature = [(str(file), file.stat().st_mtime_ns) for file in files if file.exists()]
        if signature == self._signature:
            return
        run = open_run(self.path)
        number = run.round_number()
        # One view is one person's: more threads only get in the way of the job that may run beside.
        run.connection.execute("SET threads = 2")
        _load(run, number)
        self.run, self.number, self._queue_of = run, number, None
        self._hosts.clear()
        self._trees.clear()
        self._places.clear()
        self.sample = AuditSample(run, self.number)
        self._signature = signature

    # -- hosts

    def queue(
        self, standing: Standing, version: object, annotator: str, *, show: str, sort: str, search: str, page: int
    ) -> tuple[list[Row], int]:
        """(the hosts of one page of the list, how many there are in all)."""
        self._renew_queue(standing, version, annotator)
        order = ORDERS[sort]
        if show not in ("todo", "second"):  # what is decided has nothing open to rank it by
            order = order.replace("open_", "proposed_")
        wanted = search.strip().lower()
        rows = self.run.rows(
            f"""SELECT *, count(*) OVER () AS total FROM queue
                WHERE {SHOWN[show]} AND (? = '' OR contains(host, ?) OR contains(domain, ?))
                ORDER BY {order} NULLS LAST, host LIMIT ? OFFSET ?""".replace("DESC,", "DESC NULLS LAST,"),
            [wanted, wanted, wanted, PAGE_SIZE, PAGE_SIZE * (page - 1)],
        )
        return rows, rows[0]["total"] if rows else 0

    def next_host(
        self, standing: Standing, version: object, annotator: str, *, show: str, sort: str, search: str
    ) -> str:
        """The first host of the list that is left to do, '' where none is."""
        rows, _ = self.queue(standing, version, annotator, show=show, sort=sort, search=search, page=1)
        return str(rows[0]["host"]) if rows else ""

    def progress(self, standing: Standing, version: object, annotator: str) -> Row:
        """How far the labelling is: hosts and prefixes, and what the labels math bring."""
        self._renew_queue(standing, version, annotator)
        return (
            self.run.row(
                """SELECT count(*) FILTER (num_proposed > 0) AS hosts, count(*) FILTER (num_open > 0) AS open_hosts,
                      coalesce(sum(num_proposed), 0) AS prefixes, coalesce(sum(num_open), 0) AS open_prefixes,
                      coalesce(sum(math_pages), 0) AS math_pages, coalesce(sum(math_tokens), 0) AS math_tokens,
                      coalesce(sum(open_pages), 0) AS open_pages, coalesce(sum(open_tokens), 0) AS open_tokens
               FROM queue"""
            )
            or {}
        )

    def _renew_queue(self, standing: Standing, version: object, annotator: str) -> None:
        of = (version, annotator)
        if of == self._queue_of:
            return
        columns: dict[str, list[Any]] = {
            name: [] for name in ("host", "key", "query", "label", "size", "mine", "skipped", "disputed")
        }
        table = standing.table()
        for key in {key for found in standing.acts.values() for key, acts in found.items() if acts}:
            assert isinstance(key, PrefixParts)
            own = standing.current(annotator, key)
            text = key_text(key)
            said = set(standing.labels(key).values())
            row = (
                key.host, text, bool(key.parameters), table[key].label if key in table else "", len(text),
                own is not None and bool(own.label), own is not None and own.action == "skip", len(said) > 1,
            )  # fmt: skip
            for name, value in zip(columns, row, strict=True):
                columns[name].append(value)
        self.run.connection.execute(_GIVEN)
        if columns["host"]:
            self.run.connection.execute(f"INSERT INTO given SELECT * FROM {self.run.offer('given_acts', columns)}")
        self.run.connection.execute(_QUEUE)
        self._queue_of = of

    def host(self, host: str, standing: Standing, asked: str = "") -> HostView | None:
        """A host's tree, with the rows that somebody labelled or asks for; None for a host that the round has not."""
        entry = self.run.row("SELECT * FROM hosts WHERE host = ?", [host])
        if entry is None:
            return None
        pages = self._pages_of(host)
        prefixes = {row["prefix"]: row["proposed"] for row in self.run.rows(
            "SELECT prefix, proposed FROM prefix_rows WHERE host = ? ORDER BY prefix", [host]
        )}  # fmt: skip
        if not prefixes:
            settings = PrefixConfig(**self.run.manifest.get("config", {}).get("prefixes", {}))
            facts = ((p.url, p.collected, p.score, p.n_tokens) for p in pages)
            found = propose(sections_of(facts, settings), settings)
            prefixes = {row.prefix: row.proposed for row in found}
        bare = prefix_parts(host).host
        known = {prefix_parts(prefix) for prefix in prefixes}
        labelled = [act.target for key, act in standing.table().items() if getattr(key, "host", "") == bare]
        for prefix in [*labelled, *([asked] if asked and prefix_parts(asked).host == bare else [])]:
            if prefix_parts(prefix) not in known:
                prefixes[prefix] = False
                known.add(prefix_parts(prefix))
        of = (host, tuple(prefixes.items()))
        rows = self._trees.get(of)
        if rows is None:  # a second for 100,000 pages, so not at every press
            rows = self._trees[of] = _tree(prefixes, pages)
            while len(self._trees) > _HOSTS_KEPT:
                self._trees.pop(next(iter(self._trees)))
        return HostView(host, entry["domain"], entry["pages"], entry["collected"], rows)

    def _pages_of(self, host: str) -> list[HostPage]:
        found = self._hosts.get(host)
        if found is None:
            rows = self.run.rows(
                f"""SELECT s.page_id, s.url, s.score, s.n_tokens, c.page_id IS NOT NULL AS collected
                    FROM (SELECT * FROM {self.run.relation("scores", self.number)} WHERE host = ?) s
                    LEFT JOIN {self.run.relation("collected", self.number)} c USING (page_id) ORDER BY s.url""",
                [host],
            )
            found = [HostPage(**row) for row in rows]
            self._find("host = ?", [host])
            self._hosts[host] = found
            while len(self._hosts) > _HOSTS_KEPT:
                self._hosts.popitem(last=False)
        self._hosts.move_to_end(host)
        return found

    # -- pages

    def samples(self, row: PrefixRow, *, n: int, draw: int) -> tuple[list[Row], list[Row]]:
        """`n` pages left and `n` collected ones of a tree's row, at random, the next ones for the next `draw`."""
        drawn = []
        for pages in (row.left, row.taken):
            start = (draw * n) % len(pages) if len(pages) > n else 0
            drawn += (pages[start:] + pages[:start])[:n]
        texts = self.texts([page.page_id for page in drawn], max_chars=_SAMPLE_CHARS)
        rows = [
            {**texts[page.page_id], "score": page.score, "collected": page.collected}
            for page in drawn
            if page.page_id in texts
        ]
        return [one for one in rows if not one["collected"]], [one for one in rows if one["collected"]]

    def texts(self, page_ids: Sequence[str], *, max_chars: int) -> dict[str, Row]:
        """Title, address, language and text of pages, by page id."""
        unknown = [page_id for page_id in page_ids if page_id not in self._places]
        if unknown:
            self._find(f"page_id IN ({', '.join('?' * len(unknown))})", unknown)
        by_file: dict[str, list[int]] = {}
        for page_id in page_ids:
            if page_id in self._places:
                file, number = self._places[page_id]
                by_file.setdefault(file, []).append(number)
        found: dict[str, Row] = {}
        for file, numbers in by_file.items():
            # By row number DuckDB reads the parts of the file that hold them: 40 ms for what takes 300 by page_id.
            for row in self.run.rows(
                f"""SELECT page_id, url, host, title, language, n_tokens, left(text, {int(max_chars)}) AS text
                    FROM read_parquet(?) WHERE file_row_number IN ({", ".join(map(str, numbers))})""",
                [glob.escape(file)],
            ):
                found[row["page_id"]] = row
        return found

    def _find(self, condition: str, parameters: Sequence[object]) -> None:
        """Note in which file and row the pages that meet a condition stand."""
        self.run.relation("pages")  # says what is wrong where there is no such table
        files = self.run.files("pages", self.path / "pages")
        if len(self._places) > _PLACES_KEPT:
            self._places.clear()
        for row in self.run.rows(
            f"SELECT page_id, filename, file_row_number FROM read_parquet(?) WHERE {condition}", [files, *parameters]
        ):
            self._places[row["page_id"]] = (row["filename"], row["file_row_number"])


_GIVEN = (
    "CREATE OR REPLACE TEMP TABLE given (host VARCHAR, key VARCHAR, query BOOLEAN, label VARCHAR, size BIGINT, "
    "mine BOOLEAN, skipped BOOLEAN, disputed BOOLEAN)"
)


def key_text(key: PrefixParts) -> str:
    """A prefix's key as text in which a folder's key begins the keys of all that it holds."""
    folder = "/".join((key.host, *key.segments)) + "/"
    return folder + ("?" + "&".join(sorted(key.parameters)) if key.parameters else "")


def _load(run: Run, number: int) -> None:
    """Hosts and prefixes of a round as tables in memory."""
    hosts, prefixes = run.relation("domains", number), run.relation("prefixes", number)
    run.connection.execute(
        f"CREATE TEMP TABLE hosts AS SELECT host, domain, pages, collected, share, candidate, "
        f"pages - collected AS uncollected FROM {hosts}"
    )
    names = [row["prefix"] for row in run.rows(f"SELECT prefix FROM {prefixes}")]
    keys = [prefix_parts(prefix) for prefix in names]
    if names:
        columns = {"prefix": names, "host_key": [k.host for k in keys], "key": [key_text(k) for k in keys]}
        run.offer("prefix_keys", columns)
    else:
        run.connection.execute("CREATE TEMP TABLE prefix_keys (prefix VARCHAR, host_key VARCHAR, key VARCHAR)")
    run.connection.execute(
        f"CREATE TEMP TABLE prefix_rows AS SELECT p.prefix, p.host, k.host_key, k.key, p.proposed, p.uncollected, "
        f"p.uncollected_tokens FROM {prefixes} p JOIN prefix_keys k USING (prefix)"
    )


def _tree(prefixes: dict[str, bool], pages: Sequence[HostPage]) -> list[PrefixRow]:
    """The rows in the order of a tree, each with the pages for which it is the longest prefix."""
    index = label_index(Label(prefix, "math") for prefix in prefixes)
    ruling = [label_for(page.url, index) for page in pages]
    if not all(ruling):  # a table of prefixes that leaves pages out still shows all of the host
        return _tree({**prefixes, f"{host_of(pages[0].url)}/": False}, pages)
    rows = sorted(
        (PrefixRow(prefix, prefix_parts(prefix), proposed) for prefix, proposed in prefixes.items()),
        key=lambda row: key_text(row.key),
    )
    by_prefix = {row.prefix: row for row in rows}
    for page, found in zip(pages, ruling, strict=True):
        assert found is not None, "every page is ruled"
        by_prefix[found.prefix].pages.append(page)
    above: list[PrefixRow] = []
    for row in rows:
        text = key_text(row.key)
        while above and (above[-1].key.parameters or not text.startswith(key_text(above[-1].key))):
            above.pop()
        row.depth = len(above)
        row.name = text[len(key_text(above[-1].key)) :] if above else row.prefix
        above.append(row)
    return rows
