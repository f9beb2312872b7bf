"""A run in sums, as the report shows them: one query each, over the columns that it needs."""

from collections.abc import Sequence
from typing import Any

from mining.audits import estimate
from mining.inspect.formats import probability
from mining.inspect.label_log import PAGES, Book
from mining.inspect.tables import FIXED_STAGES, Row, Run
from mining.inspect.web_audits import AuditSample
from mining.rounds import logit

CUTS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""P(math) of the cuts that `other_cuts` tries."""
STEPS = ("seed", "train", "score", "cut", "aggregate", "annotate")
"""The timed steps of a round, in their order."""
_JACCARD_BARS = 10


def new_hosts(run: Run, number: int, *, limit: int) -> list[Row]:
    """The hosts of which a round collected pages and the round before none, by pages: host, pages, collected, label."""
    return run.rows(
        f"""SELECT host, pages, collected, label FROM {run.relation("domains", number)}
            WHERE collected > 0 AND coalesce(prev_collected, 0) = 0
            ORDER BY collected DESC, host LIMIT ?""",
        [limit],
    )


def other_cuts(run: Run, number: int) -> list[Row]:
    """What the cuts of CUTS and the one that was made keep of a round's pages, lowest first.

    probability, score (its logit), pages, tokens, share of all pages, and is_made.
    """
    cut = run.metrics[number].get("cut", {}).get("threshold")
    scores = [logit(one) for one in CUTS if cut is None or abs(logit(one) - cut) > 0.01]
    sums = "".join(
        f", count(*) FILTER (score >= {score!r}) AS pages_{place}"
        f", coalesce(sum(n_tokens) FILTER (score >= {score!r}), 0) AS tokens_{place}"
        for place, score in enumerate(scores)
    )
    total = run.row(f"SELECT count(*) AS n{sums} FROM {run.relation('scores', number)}") or {}
    rows = [
        {"score": score, "is_made": False, "pages": total[f"pages_{place}"], "tokens": total[f"tokens_{place}"]}
        for place, score in enumerate(scores)
    ]
    if cut is not None:
        # What was made may end among pages of one score, so it is counted and not worked out.
        made = (
            f"SELECT count(*) AS pages, coalesce(sum(n_tokens), 0) AS tokens FROM {run.relation('collected', number)}"
        )
        rows.append({"score": cut, "is_made": True, **(run.row(made) or {})})
    return [
        {**row, "probability": probability(row["score"]), "share": row["pages"] / total["n"] if total["n"] else None}
        for row in sorted(rows, key=lambda row: row["score"])
    ]


def languages(run: Run, number: int, *, limit: int) -> list[Row]:
    """Pages after dedup by language: pages, tokens, and of them what a round collected; the most frequent first."""
    return run.rows(
        f"""SELECT p.language AS language, count(*) AS pages, sum(p.n_tokens) AS tokens,
                   count(c.page_id) AS collected,
                   coalesce(sum(p.n_tokens) FILTER (c.page_id IS NOT NULL), 0) AS collected_tokens
            {_kept_pages(run, number)} GROUP BY ALL ORDER BY pages DESC, language LIMIT ?""",
        [limit],
    )


def formula_shares(run: Run, number: int) -> list[Row]:
    """Two rows, collected pages and the others: pages, pages with a formula, formulas found and kept, tokens."""
    return run.rows(
        f"""SELECT c.page_id IS NOT NULL AS collected, count(*) AS pages, sum(p.n_tokens) AS tokens,
                   count(*) FILTER (p.formulas_found > 0) AS with_formulas,
                   sum(p.formulas_found) AS found, sum(p.formulas_kept) AS kept
            {_kept_pages(run, number)} GROUP BY ALL ORDER BY collected DESC"""
    )


def formula_kinds(run: Run, number: int) -> list[Row] | None:
    """Formulas by the markup they came in: kind, pages, found, kept, and those of pages that a round collected.

    None where the pages table is of a run that did not count by kind.
    """
    columns = {row["column_name"] for row in run.rows(f"DESCRIBE {run.relation('pages')}")}
    if "formulas_by_kind" not in columns:
        return None
    return run.rows(
        f"""SELECT one.kind AS kind, count(*) AS pages, sum(one.found) AS found, sum(one.kept) AS kept,
                   coalesce(sum(one.found) FILTER (is_collected), 0) AS collected_found,
                   coalesce(sum(one.kept) FILTER (is_collected), 0) AS collected_kept
            FROM (SELECT unnest(p.formulas_by_kind) AS one, c.page_id IS NOT NULL AS is_collected
                  {_kept_pages(run, number)})
            GROUP BY ALL ORDER BY found DESC, kind"""
    )


def _kept_pages(run: Run, number: int) -> str:
    """FROM clause: pages `p` without duplicates, `c` beside those that a round collected."""
    return f"""FROM {run.relation("pages")} p ANTI JOIN {run.relation("duplicates")} d USING (page_id)
               LEFT JOIN {run.relation("collected", number)} c USING (page_id)"""


def duplicate_kinds(run: Run) -> list[Row]:
    """Removed pages by kind: n, tokens, the pages kept for them, and their mean Jaccard similarity."""
    if not run.is_done("dedup"):
        return []
    return run.rows(
        f"""SELECT kind, count(*) AS n, count(DISTINCT kept_id) AS kept, sum(n_tokens) AS tokens,
                   avg(jaccard) AS jaccard
            FROM {run.relation("duplicates")} JOIN {run.relation("pages")} USING (page_id)
            GROUP BY kind ORDER BY n DESC, kind"""
    )


def jaccard_bars(run: Run) -> tuple[list[float], list[int]]:
    """(edges, near-duplicates between them) by Jaccard similarity to the kept page; no bars without near-duplicates."""
    rows = run.rows(f"SELECT jaccard FROM {run.relation('duplicates')} WHERE kind = 'near' AND jaccard IS NOT NULL")
    if not rows:
        return [], []
    low = min(0.5, *(row["jaccard"] for row in rows))
    width = (1 - low) / _JACCARD_BARS
    counts = [0] * _JACCARD_BARS
    for row in rows:
        counts[min(int((row["jaccard"] - low) / width), _JACCARD_BARS - 1)] += 1
    return [low + width * place for place in range(_JACCARD_BARS + 1)], counts


def stages(run: Run) -> list[Row]:
    """The stages in running order: what went in, was kept and dropped, seconds, and what went in a second."""
    found = []
    added = {f"addition-{one['number']:02d}": one for one in run.additions}
    entries = {**run.stages, **added}
    for name in [*FIXED_STAGES[:2], *added, *(s for s in run.stages if s not in FIXED_STAGES), *FIXED_STAGES[2:]]:
        entry = entries.get(name)
        if entry:
            seconds, taken = entry.get("seconds"), entry.get("in")
            found.append(
                {
                    "name": name,
                    "state": entry.get("state"),
                    "seconds": seconds,
                    "in": taken,
                    "kept": entry.get("kept"),
                    "dropped": sum((entry.get("dropped") or {}).values()),
                    "rate": taken / seconds if seconds and taken is not None else None,
                }
            )
    return found


def round_steps(run: Run) -> tuple[Sequence[str], list[dict[str, Any]]]:
    """(the steps that any round has timed, one row of seconds a round, `other` for what no step accounts for)."""
    timed = {number: run.metrics[number].get("seconds") or {} for number in run.rounds}
    steps = [step for step in STEPS if any(step in seconds for seconds in timed.values())]
    rows = []
    for number, seconds in timed.items():
        total = run.stages.get(f"round-{number:02d}", {}).get("seconds")
        rest = max(total - sum(seconds.values()), 0.0) if total is not None else None
        rows.append({"round": number, "seconds": {step: seconds.get(step) for step in steps}, "other": rest})
    return steps, rows


def audit_estimates(run: Run) -> list[dict[str, Any]]:
    """What the audited pages of held-out hosts say of each round; empty where nobody has audited a page.

    round, audited (pages that count there), math of them, precision and recall, each an Estimate.
    """
    book = Book(run.path / PAGES.name, PAGES)
    if not run.rounds or not book.file.exists():
        return []
    standing = book.standing()
    found = []
    for number in run.rounds:
        counts = AuditSample(run, number).counts(standing)
        audited, math = sum(one.audited for one in counts), sum(one.math for one in counts)
        found.append({"round": number, "audited": audited, "math": math, **estimate(counts)})
    return found if any(row["audited"] for row in found) else []
