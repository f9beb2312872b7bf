"""Everything that happened to one page, from its WARC record to the corpus, and why in plain words."""

from typing import Any

from mining.inspect import formats
from mining.inspect.tables import Row, Run, labels
from mining.prefixes import label_for, label_index
from mining.url import canonical_url, host_of, prefix_matches

_MAX_LISTED = 10
_MAX_STEPS = 100
_WANTED_COLUMNS = """page_id, url, host, domain, crawl, fetch_time, warc_file, warc_offset, warc_length,
    payload_digest, charset, truncated, language, language_score, title, n_chars, n_tokens, formulas_found,
    formulas_kept, formulas_by_kind"""


def explain(run: Run, wanted: str) -> dict[str, Any]:
    """All that the tables know of the page with URL (or page_id) `wanted`, JSON-able, with `verdict` in plain words.

    `found` is `page`, `dropped` or None; where None, `nearest` lists URLs like it. A URL that no page has is also
    looked for by its canonical form, then `matched_by` is `canonical`.
    """
    pages, dropped, matched_by = _find(run, wanted)
    if pages:
        return {"found": "page", "query": wanted, "matched_by": matched_by, **_page_story(run, pages)}
    if dropped:
        first = dropped[0]
        detail = f" ({first['detail']})" if first.get("detail") else ""
        verdict = f"Not in the corpus: dropped at ingest, {first['reason']}{detail}."
        return {"found": "dropped", "query": wanted, "matched_by": matched_by, "dropped": dropped, "verdict": verdict}
    return {
        "found": None,
        "query": wanted,
        "nearest": _nearest(run, wanted),
        "verdict": "No record of this URL: the crawl does not hold it, or its record was not an HTTP response.",
    }


def _find(run: Run, wanted: str) -> tuple[list[Row], list[Row], str]:
    """The pages, else the dropped records, that `wanted` names, and by what."""
    known, dropped = run.relation("pages"), run.relation("dropped")
    spellings = [wanted] if "://" in wanted else [wanted, f"https://{wanted}", f"http://{wanted}"]
    marks = ", ".join("?" * len(spellings))
    query = f"SELECT {_WANTED_COLUMNS} FROM {known} WHERE url IN ({marks}) OR page_id = ? ORDER BY fetch_time, page_id"
    pages = run.rows(query, [*spellings, wanted])
    if pages:
        return pages, [], "page_id" if pages[0]["page_id"] == wanted else "url"
    lost = run.rows(f"SELECT * FROM {dropped} WHERE url IN ({marks}) ORDER BY warc_file, warc_offset", spellings)
    if lost:
        return [], lost, "url"
    twins = _canonical_twins(run, wanted)
    if not twins:
        return [], [], ""
    marks = ", ".join("?" * len(twins))
    query = f"SELECT {_WANTED_COLUMNS} FROM {known} WHERE url IN ({marks}) ORDER BY fetch_time, page_id"
    pages = run.rows(query, twins)
    lost = [] if pages else run.rows(f"SELECT * FROM {dropped} WHERE url IN ({marks}) ORDER BY url", twins)
    return pages, lost, "canonical"


def _canonical_twins(run: Run, url: str) -> list[str]:
    """URLs of the run whose canonical form is that of `url`, looked for on its host with and without `www.`."""
    canonical, host = canonical_url(url), host_of(url)
    if not host:
        return []
    bare = host.removeprefix("www.")
    rows = run.rows(
        f"""SELECT DISTINCT url FROM {run.relation("pages")} WHERE host IN (?, ?)
            UNION SELECT url FROM {run.relation("dropped")} WHERE contains(lower(url), ?) ORDER BY url""",
        [bare, f"www.{bare}", bare],
    )
    return [row["url"] for row in rows if canonical_url(row["url"]) == canonical]


def _nearest(run: Run, wanted: str) -> list[str]:
    """Up to five URLs most like `wanted`: of its host where the run has it, else of the host spelt most like it."""
    pages, dropped = run.relation("pages"), run.relation("dropped")
    host = host_of(wanted)
    if not run.rows(f"SELECT 1 FROM {pages} WHERE host = ? LIMIT 1", [host]):
        query = f"SELECT host FROM (SELECT DISTINCT host FROM {pages}) ORDER BY levenshtein(host, ?), host LIMIT 1"
        host = (run.row(query, [host[:200]]) or {"host": host})["host"]
    rows = run.rows(
        f"""SELECT url FROM (SELECT url FROM {pages} WHERE host = ?
                             UNION SELECT url FROM {dropped} WHERE contains(url, ?))
            ORDER BY levenshtein(left(url, 300), ?), url LIMIT 5""",
        [host, f"://{host}/", wanted[:300]],
    )
    return [row["url"] for row in rows]


def _page_story(run: Run, captures: list[Row]) -> dict[str, Any]:
    """The story of the capture that dedup kept, or of the first one; the other captures are named."""
    chains = {page["page_id"]: _chain(run, page["page_id"]) for page in captures}
    page = next((page for page in captures if not chains[page["page_id"]]), captures[0])
    chain = chains[page["page_id"]]
    standing_id = chain[-1]["kept_id"] if chain else page["page_id"]
    standing = page if not chain else _page(run, standing_id)
    text = run.row(f"SELECT left(text, 1200) AS text FROM {run.relation('pages')} WHERE page_id = ?", [page["page_id"]])
    removed = run.rows(
        f"""SELECT d.page_id, p.url, d.kind, d.jaccard FROM {run.relation("duplicates")} d
            JOIN {run.relation("pages")} p USING (page_id) WHERE d.kept_id = ? ORDER BY d.kind, p.url""",
        [page["page_id"]],
    )
    story: dict[str, Any] = {
        "page": page,
        "text": (text or {"text": ""})["text"],
        "other_captures": [other["page_id"] for other in captures if other is not page],
        "duplicate_of": chain,
        "standing": {"page_id": standing_id, "url": standing["url"]},
        "removed_in_favour": removed[:_MAX_LISTED],
        "num_removed_in_favour": len(removed),
        "rounds": [_in_round(run, number, standing) for number in run.rounds],
        "contamination": run.rows(
            f"SELECT * FROM {run.relation('contaminated')} WHERE page_id = ? ORDER BY benchmark, item", [standing_id]
        ),
        "corpus": run.row(
            f"SELECT first_round, n_tokens, score FROM {run.relation('corpus')} WHERE page_id = ?", [standing_id]
        ),
        "exported": run.is_done("export"),
    }
    return {**story, "verdict": verdict(story)}


def _page(run: Run, page_id: str) -> Row:
    row = run.row(f"SELECT {_WANTED_COLUMNS} FROM {run.relation('pages')} WHERE page_id = ?", [page_id])
    return row or {"page_id": page_id, "url": "a page that pages/ does not hold", "host": "", "domain": ""}


def _chain(run: Run, page_id: str) -> list[Row]:
    """The steps from a removed page to the one kept in the end: page_id, kept_id, kept_url, kind, jaccard."""
    steps: list[Row] = []
    while len(steps) < _MAX_STEPS:
        step = run.row(
            f"""SELECT d.page_id, d.kept_id, p.url AS kept_url, d.kind, d.jaccard
                FROM {run.relation("duplicates")} d LEFT JOIN {run.relation("pages")} p ON p.page_id = d.kept_id
                WHERE d.page_id = ? LIMIT 1""",
            [page_id],
        )
        if step is None:
            break
        steps.append(step)
        page_id = step["kept_id"]
    return steps


def _in_round(run: Run, number: int, page: Row) -> dict[str, Any]:
    """Score, rank (1 is best), cut, collected or not, seed use, and the labels of host and prefix in one round."""
    page_id = page["page_id"]
    scores = run.relation("scores", number)
    found = run.row(f"SELECT score FROM {scores} WHERE page_id = ?", [page_id])
    score = found["score"] if found else None
    place = None
    if score is not None:
        place = run.row(f"SELECT 1 + count(*) FILTER (score > ?) AS rank, count(*) AS of FROM {scores}", [score])
    taken = run.row(f"SELECT 1 AS yes FROM {run.relation('collected', number)} WHERE page_id = ?", [page_id])
    domain = run.row(
        f"""SELECT host, pages, collected, share, bound, candidate, label FROM {run.relation("domains", number)}
            WHERE host = ?""",
        [page["host"]],
    )
    return {
        "round": number,
        "score": score,
        "probability": None if score is None else formats.probability(score),
        "rank": place and place["rank"],
        "of": place and place["of"],
        "percentile": place and 100 * (1 - (place["rank"] - 1) / place["of"]),
        "threshold": run.metrics[number].get("cut", {}).get("threshold"),
        "collected": taken is not None,
        "seed": run.rows(f"SELECT label, source FROM {run.relation('seed', number)} WHERE page_id = ?", [page_id]),
        "domain": domain,
        "prefix": _prefix_label(run, number, page),
    }


def _prefix_label(run: Run, number: int, page: Row) -> Row | None:
    """The label over the page in one round (labels.csv before the table), else the longest proposed prefix."""
    given = label_for(page["url"], label_index(labels(run, number)))
    if given:
        return {"prefix": given.prefix, "label": given.label, "annotator": given.annotator, "note": given.note}
    rows = run.rows(
        f"""SELECT prefix, label, annotator, pages, collected, share FROM {run.relation("prefixes", number)}
            WHERE host = ? AND (label IS NOT NULL OR proposed)""",
        [page["host"]],
    )
    over = [row for row in rows if prefix_matches(row["prefix"], page["url"])]
    return max(over, key=lambda row: (row["label"] is not None, len(row["prefix"])), default=None)


def verdict(story: dict[str, Any]) -> str:
    """One or two sentences: whether the page is in the corpus, and why."""
    reason = _reason(story)
    if not story["duplicate_of"]:
        return reason
    step = story["duplicate_of"][0]
    near = f"a near duplicate (Jaccard {step['jaccard']:.2f})"
    kind = {"near": near, "exact": "an exact duplicate", "url": "another capture"}.get(step["kind"], step["kind"])
    many = len(story["duplicate_of"]) > 1
    kept = f"What stands for both, {story['standing']['url']}," if many else "That page"
    return f"Removed as {kind} of {step['kept_url']}. {kept} is {reason[0].lower()}{reason[1:]}"


def _reason(story: dict[str, Any]) -> str:
    rounds = story["rounds"]
    if story["corpus"]:
        cut = [hit for hit in story["contamination"] if hit["action"] == "segment"]
        without = f" {len(cut)} segment(s) that match benchmark items were cut out of its text." if cut else ""
        return f"In the corpus since round {story['corpus']['first_round']}: {_against_cut(rounds[-1])}.{without}"
    if not rounds:
        return "Not judged yet: no round is finished."
    last = rounds[-1]
    whole = [hit for hit in story["contamination"] if hit["action"] == "page"]
    if whole:
        hit = whole[0]
        return f"Removed by decontamination: it holds item {hit['item']} of {hit['benchmark']} ({hit['rule']})."
    if last["score"] is None:
        return f"Not scored in round {last['round']}, so it could not be collected."
    if not last["collected"]:
        earlier = [entry["round"] for entry in rounds if entry["collected"]]
        once = f" It had been collected in round {', '.join(map(str, earlier))}." if earlier else ""
        return f"Not collected in the last round: {_against_cut(last)}.{once}"
    if not story["exported"]:
        return f"Collected in the last round: {_against_cut(last)}. The corpus is not exported yet."
    return (
        f"Collected in round {last['round']}, yet export left it out: "
        "stages.export.dropped in manifest.json counts its reasons."
    )


def _against_cut(entry: dict[str, Any]) -> str:
    if entry["score"] is None:
        return f"it has no score in round {entry['round']}"
    place = f"P = {entry['probability']:.3f}, rank {entry['rank']:,} of {entry['of']:,}"
    score = f"its score of {entry['score']:+.2f} in round {entry['round']} ({place})"
    if entry["threshold"] is None:
        return f"{score}; the round states no cut"
    cut = f"the cut of {entry['threshold']:+.2f}"
    if entry["score"] < entry["threshold"]:
        return f"{score} is below {cut}"
    return f"{score} reaches {cut}" if entry["collected"] else f"{score} is at {cut}, where the budget was full"
