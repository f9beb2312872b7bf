"""A run directory as mine.py leaves it after one round, made straight from SQL: any number of hosts in seconds."""

import json
from collections.abc import Sequence
from pathlib import Path

import duckdb

CUT = 0.5


def write_run(
    path: Path, *, hosts: int, pages_per_folder: int = 8, more_pages: Sequence[tuple[str, str, str]] = ()
) -> Path:
    """`path` as a run of one round; a host's folders math/, notes/ and news/ have 3, 1 and 0 pages collected.

    more_pages: (url, title, text) of uncollected pages on a host of their own.
    """
    sql = duckdb.connect()
    sql.execute(
        f"""CREATE TABLE page AS
        SELECT md5(h || '|' || f || '|' || k) AS page_id,
               format('https://site{{:05d}}.example/{{}}/{{}}', h, f, k) AS url,
               format('site{{:05d}}.example', h) AS host, f AS folder, format('Lecture {{}} of {{}}', k, h) AS title,
               repeat(format('Page {{}}: let $x_{{}} \\in \\mathbb{{{{R}}}}$ and so on. ', k, k), 12) AS text,
               100 + (h * 7 + k) % 50 AS n_tokens,
               CASE WHEN f = 'math' AND k % 3 = 0 THEN 1.0 WHEN f = 'notes' AND k % 10 = 0 THEN 0.6 ELSE -1.0 END
                   + (hash(h * 1000 + k) % 400) / 1000.0 AS score
        FROM range({hosts}) AS a(h), (VALUES ('math'), ('notes'), ('news')) AS b(f),
             range({pages_per_folder}) AS c(k)"""
    )
    for place, (url, title, text) in enumerate(more_pages):
        host = url.split("/")[2]
        row = [f"{place:032x}", url, host, "news", title, text, 100, -0.5]
        sql.execute("INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    counts = f"""count(*) AS pages, count(*) FILTER (score >= {CUT}) AS collected,
        count(*) FILTER (score < {CUT}) AS uncollected, avg((score >= {CUT})::INT) AS share,
        avg((score >= {CUT})::INT) / 2 AS bound, avg(score) AS mean_score"""
    tables = {
        "pages/0": """SELECT page_id, url, host, host AS domain, 'en' AS language, title, text, n_tokens,
            length(text)::INT AS n_chars, '2024-05-20T10:00:00Z' AS fetch_time, 1 AS formulas_kept FROM page""",
        "rounds/01/scores/0": """SELECT page_id, url, host, host AS domain, 'en' AS language, n_tokens, score
            FROM page ORDER BY page_id""",
        "rounds/01/collected/0": f"SELECT page_id, score, n_tokens FROM page WHERE score >= {CUT}",
        "rounds/01/domains": f"""SELECT host, host AS domain, {counts}, sum(n_tokens)::BIGINT AS tokens,
            (sum(n_tokens) FILTER (score >= {CUT}))::BIGINT AS collected_tokens, NULL::BIGINT AS prev_collected,
            TRUE AS candidate, NULL::VARCHAR AS label FROM page GROUP BY host""",
        "rounds/01/prefixes": f"""SELECT host || '/' || folder || '/' AS prefix, host, host AS domain, 1 AS depth,
            {counts}, (sum(n_tokens) FILTER (score < {CUT}))::BIGINT AS uncollected_tokens,
            folder <> 'news' AS proposed, NULL::VARCHAR AS label, NULL::VARCHAR AS annotator
            FROM page GROUP BY host, folder""",
    }
    for name, query in tables.items():
        file = path / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        literal = str(file).replace("'", "''")
        sql.execute(f"COPY ({query}) TO '{literal}' (FORMAT parquet, ROW_GROUP_SIZE 20000)")
    done = {"state": "done", "inputs_hash": "0", "seconds": 1.0, "in": 1, "kept": 1, "dropped": {}}
    config = {"labels": {"annotator": "file", "file": ""}, "data_dir": "data"}
    manifest = {"version": 1, "config": config, "stages": dict.fromkeys(("ingest", "dedup", "round-01"), done)}
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    metrics = {"round": 1, "cut": {"rule": "threshold", "threshold": CUT}}
    (path / "rounds" / "01" / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return path
