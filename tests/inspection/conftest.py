"""A small finished run whose every number can be worked by hand."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mining.audits import Audit, write_audits
from mining.page import DROPPED_SCHEMA, PAGES_SCHEMA

HOSTILE_TITLE = '<script>alert("t")</script> [bold red]x[/] \x1b[31m\u202etxt'
HOSTILE_URL = 'https://shop.example/"><script>alert(1)</script>'

# page id: url, language, title, text
PAGES = {
    "p1": ("https://math.example/a/1", "en", "Primes", "A prime has two divisors.\n\nSo 6 is none."),
    "p2": ("https://math.example/a/2", "en", "Sums", "The sum of 1..n is $n(n+1)/2$."),
    "p3": ("https://math.example/b/1", "en", "Angles", "A triangle's angles sum to $\\pi$."),
    "p4": ("https://blog.example/math/x", "en", "Limits", "A limit is approached."),
    "p5": ("https://blog.example/math/y", "en", "Series", "A series is a sum without end."),
    "p6": ("https://blog.example/food/z", "en", HOSTILE_TITLE, "Boil the rice.\x1b[2J <b>well</b>"),
    "p7": ("https://shop.example/1", "en", "Two for one", "Buy 2, pay 1."),
    "p8": (HOSTILE_URL, "en", "Deals", "All must go."),
    "p9": ("https://math.example/a/1?utm_source=x", "en", "Primes", "A prime has two divisors.\n\nSo 6 is none."),
    "p10": ("https://mirror.example/x", "en", "Limits", "A limit is approached, they say."),
    "p11": ("https://mirror.example/x/print", "en", "Limits", "A limit is approached, they say."),
    "p12": ("https://zh.example/1", "zh", "素数", "素数只有两个因数。"),
}
# p11 -> p10 -> p4: what stands for p11 is two steps away.
DUPLICATES = [("p9", "p1", "url", 1.0), ("p11", "p10", "exact", 1.0), ("p10", "p4", "near", 0.9)]
DROPPED = [
    ("https://math.example/paper.pdf", "not_html", "application/pdf"),
    ("https://math.example/empty", "too_short", "3 characters"),
    ("https://odd.example/e", "too_short", "0 characters"),
]
SCORES = {
    1: {"p1": 3.0, "p2": 2.0, "p3": 0.5, "p4": 1.0, "p5": -1.0, "p6": -2.0, "p7": -3.0, "p8": -4.0, "p12": -0.5},
    2: {"p1": 4.0, "p2": 3.0, "p3": 2.0, "p4": 2.5, "p5": 1.5, "p6": -1.0, "p7": 1.1, "p8": -5.0, "p12": 1.2},
}
CUT = 1.0  # collects p1 p2 p4, then p1 p2 p3 p4 p5 p7 p12
_NOT_MATH = ("p6", "p7", "p8")
# host, pages, collected in round 1, collected in round 2, candidate in round 1, label in round 1
HOSTS = [
    ("math.example", 3, 2, 3, True, "math"),
    ("blog.example", 3, 1, 2, True, "mixed"),
    ("shop.example", 2, 0, 1, False, None),
    ("zh.example", 1, 0, 1, False, None),
]
CONTAMINATED = [
    ("p2", "gsm8k", "gsm8k-7", "the sum of", 0, 10, 3, "short_exact", "page"),
    ("p4", "math", "math-3", "a limit is approached as x goes to zero from above", 0, 12, 11, "ten_gram", "segment"),
]


def tokens(page_id: str) -> int:
    return 100 * int(page_id[1:])


def host_of(url: str) -> str:
    return url.split("/")[2]


def write(file: Path, columns: Mapping[str, Sequence[Any]], schema: pa.Schema | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns), schema=schema), file)


def page_columns() -> dict[str, list[Any]]:
    rows = []
    for place, (page_id, (url, language, title, text)) in enumerate(PAGES.items()):
        rows.append(
            {
                "page_id": page_id,
                "url": url,
                "host": host_of(url),
                "domain": host_of(url),
                "crawl": "CC-MAIN-2024-22",
                "fetch_time": f"2024-05-20T10:00:{place:02d}Z",
                "warc_file": "web/00000.warc.gz",
                "warc_offset": 1000 * place,
                "warc_length": 900,
                "payload_digest": "sha1:ABC",
                "charset": "utf-8",
                "truncated": False,
                "language": language,
                "language_score": 0.9,
                "title": title,
                "text": text,
                "n_chars": len(text),
                "n_tokens": tokens(page_id),
                "formulas_found": 2,
                "formulas_kept": 1,
                "formulas_by_kind": [{"kind": "delimiters", "found": 2, "kept": 1}],
            }
        )
    return {name: [row[name] for row in rows] for name in PAGES_SCHEMA.names}


def write_round(run_dir: Path, number: int) -> None:
    folder = run_dir / "rounds" / f"{number:02d}"
    scores = SCORES[number]
    taken = [page for page, score in scores.items() if score >= CUT]
    write(
        folder / "scores" / "0.parquet",
        {
            "page_id": list(scores),
            "url": [PAGES[p][0] for p in scores],
            "host": [host_of(PAGES[p][0]) for p in scores],
            "n_tokens": [tokens(p) for p in scores],
            "score": list(scores.values()),
        },
    )
    write(
        folder / "collected" / "0.parquet",
        {"page_id": taken, "score": [scores[p] for p in taken], "n_tokens": [tokens(p) for p in taken]},
    )
    seed_urls = {"p1": "math"} if number == 1 else {"p1": "math", "p5": "math"}
    write(
        folder / "seed.parquet",
        {
            "text": [PAGES[p][3] for p in seed_urls],
            "url": [PAGES[p][0] for p in seed_urls],
            "label": list(seed_urls.values()),
            "source": ["seed", "prefix"][: len(seed_urls)],
            "page_id": pa.array([None, "p5"][: len(seed_urls)], pa.string()),
            "language": ["en"] * len(seed_urls),
        },
    )
    collected = [host[1 + number] for host in HOSTS]
    write(
        folder / "domains.parquet",
        {
            "host": [host[0] for host in HOSTS],
            "domain": [host[0] for host in HOSTS],
            "pages": [host[1] for host in HOSTS],
            "collected": collected,
            "share": [n / host[1] for n, host in zip(collected, HOSTS, strict=True)],
            "bound": [0.2, 0.06, 0.0, 0.0],
            "tokens": [600, 1500, 1500, 1200],
            "collected_tokens": [300, 400, 0, 0],
            "mean_score": [1.83, -0.67, -3.5, -0.5],
            "prev_collected": pa.array([None] * 4 if number == 1 else [host[2] for host in HOSTS], pa.int64()),
            "candidate": [host[4] for host in HOSTS],
            "label": pa.array([host[5] for host in HOSTS] if number == 1 else [None] * 4, pa.string()),
        },
    )
    write(
        folder / "prefixes.parquet",
        {
            "prefix": ["blog.example/food", "blog.example/math", "math.example"],
            "host": ["blog.example", "blog.example", "math.example"],
            "domain": ["blog.example", "blog.example", "math.example"],
            "depth": [1, 1, 0],
            "pages": [1, 2, 3],
            "collected": [0, number, 1 + number],
            "uncollected": [1, 2 - number, 2 - number],
            "share": [0.0, number / 2, (1 + number) / 3],
            "bound": [0.0, 0.1, 0.2],
            "mean_score": [-2.0, 0.0, 1.83],
            "uncollected_tokens": [600, 500, 300],
            "proposed": [False, True, True],
            "label": pa.array(["not_math", "math", "math"] if number == 1 else [None] * 3, pa.string()),
            "annotator": pa.array(["rules"] * 3 if number == 1 else [None] * 3, pa.string()),
        },
    )
    (folder / "labels.csv").write_text(
        "prefix,label,annotator,labelled_at,note\nblog.example/math,math,ada,2024-06-01T00:00:00Z,clear\n"
        if number == 1
        else "prefix,label,annotator,labelled_at,note\n",
        encoding="utf-8",
    )
    edges = [-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0]
    bins = [sum(low <= s < high for s in scores.values()) for low, high in itertools.pairwise(edges)]
    metrics = {
        "round": number,
        "pages": 9,
        "positives": number,
        "negatives": 4,
        "positives_by_source": {"seed": 1} if number == 1 else {"seed": 1, "prefix": 1},
        "collected": len(taken),
        "collected_tokens": sum(map(tokens, taken)),
        "cut": {"rule": "threshold", "threshold": CUT, "value": 0.731},
        "new_pages": 3 if number == 1 else 4,
        "overlap_last": None if number == 1 else 3 / 7,
        "domains": 2 if number == 1 else 4,
        "new_domains": 2,
        "candidates": 2,
        "prefixes_math": 2 if number == 1 else 0,
        "seconds": {"train": 1.5, "score": 2.5, "aggregate": 0.5},
        "histogram": {
            "edges": edges,
            "pages": bins,
            "tokens": [100 * n for n in bins],
            "collected": [n if low >= CUT else 0 for n, low in zip(bins, edges, strict=False)],
        },
    }
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A finished run of two rounds, in a folder whose name a careless glob or quote would trip over."""
    path = tmp_path / "run [a]'s"
    write(path / "pages" / "0.parquet", page_columns(), PAGES_SCHEMA)
    write(
        path / "dropped" / "0.parquet",
        {
            "url": [row[0] for row in DROPPED],
            "reason": [row[1] for row in DROPPED],
            "detail": [row[2] for row in DROPPED],
            "warc_file": ["web/00000.warc.gz"] * 3,
            "warc_offset": [90_000, 91_000, 92_000],
            "warc_length": [500] * 3,
        },
        DROPPED_SCHEMA,
    )
    columns = zip(*DUPLICATES, strict=True)
    write(
        path / "duplicates" / "0.parquet",
        dict(zip(("page_id", "kept_id", "kind", "jaccard"), map(list, columns), strict=True)),
    )
    for number in SCORES:
        write_round(path, number)
    names = ("page_id", "benchmark", "item", "gram", "place", "end", "units", "rule", "action")
    write(
        path / "contaminated" / "0.parquet",
        dict(zip(names, map(list, zip(*CONTAMINATED, strict=True)), strict=True)),
    )
    kept = ["p1", "p3", "p4", "p5", "p7", "p12"]
    write(
        path / "corpus" / "0.parquet",
        {
            "page_id": kept,
            "url": [PAGES[p][0] for p in kept],
            "host": [host_of(PAGES[p][0]) for p in kept],
            "domain": [host_of(PAGES[p][0]) for p in kept],
            "language": [PAGES[p][1] for p in kept],
            "text": [PAGES[p][3] for p in kept],
            "n_tokens": [tokens(p) for p in kept],
            "score": [SCORES[2][p] for p in kept],
            "first_round": [1, 2, 1, 2, 2, 2],
            "formulas_kept": [1] * 6,
        },
    )
    done = {"state": "done", "seconds": 2.0, "in": 12, "kept": 12, "dropped": {}}
    stages: dict[str, Any] = dict.fromkeys(("dedup", "round-01", "round-02", "decontaminate", "export"), done)
    ingest = {**done, "in": 15, "dropped": {"not_html": 1, "too_short": 2}}
    stages["decontaminate"] = {**done, "pages_with_matches": 2, "items_matched": 2, "items": 40}
    manifest = {"version": 1, "config": {}, "created": "2024-06-01T12:00:00Z", "stages": {"ingest": ingest, **stages}}
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    """Truth for the run: 9 math pages (one of them dropped at ingest, two removed as duplicates) and 3 others."""
    rows = [
        {"url": PAGES[p][0], "label": "math", "language": PAGES[p][1], "stratum": "uniform"}
        for p in ("p1", "p2", "p3", "p4", "p5", "p9", "p11", "p12")
    ]
    rows.append({"url": DROPPED[0][0], "label": "math", "language": "en", "stratum": "mixed", "borderline": True})
    rows += [{"url": PAGES[p][0], "label": "nonmath", "language": "en", "stratum": "mixed"} for p in ("p6", "p7", "p8")]
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def edit_manifest() -> Callable[[Path, Callable[[dict[str, Any]], None]], None]:
    """A function that changes a run's manifest in place."""

    def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        change(manifest)
        (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    return edit


@pytest.fixture
def audit_all() -> Callable[[Path], None]:
    """A function that writes an audits.csv over all pages of a run: p6, p7 and p8 are not math."""

    def audit(path: Path) -> None:
        write_audits(
            path / "audits.csv",
            [Audit(url, "not_math" if page in _NOT_MATH else "math", "ada") for page, (url, *_) in PAGES.items()],
        )

    return audit
