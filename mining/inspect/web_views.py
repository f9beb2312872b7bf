"""What each view of the labelling page shows, as plain values for its template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from mining.annotate import is_unattended
from mining.audits import HELD_OUT_SHARE, estimate
from mining.inspect.label_log import Act, Book, Standing, agreements
from mining.inspect.tables import Row
from mining.inspect.web_charts import score_histogram
from mining.inspect.web_data import ORDERS, PAGE_SIZE, SHOWN, HostView, PrefixRow, RunData, key_text
from mining.inspect.web_text import page_markup
from mining.prefixes import Label, label_for, label_index
from mining.url import PrefixParts, host_of, prefix_parts

_SAMPLES = 3
_EXCERPT_CHARS = 1500
_WHOLE_CHARS = 60_000
_AUDIT_CHARS = 12_000
_MAX_DISPUTES = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """Who looks, and at which part of the list."""

    annotator: str
    show: str
    """A key of SHOWN."""
    sort: str
    """A key of ORDERS."""
    search: str
    page: int


class Views:
    """The views over a run's data and the two books; the data's lock is held by the caller."""

    def __init__(self, data: RunData, labels: Book, audits: Book) -> None:
        self.data, self.labels, self.audits = data, labels, audits

    def queue(self, asked: Asked) -> dict[str, Any]:
        """The list of hosts."""
        standing, version = self.labels.standing(), self.labels.signature()
        rows, total = self.data.queue(
            standing, version, asked.annotator, show=asked.show, sort=asked.sort, search=asked.search, page=asked.page
        )
        return {
            "rows": rows,
            "total": total,
            "first": PAGE_SIZE * (asked.page - 1) + 1,
            "last_page": max(1, -(-total // PAGE_SIZE)),
            "shown": SHOWN,
            "orders": ORDERS,
            **self._common(standing, asked),
        }

    def host(self, asked: Asked, host: str, prefix: str, draw: str) -> dict[str, Any] | None:
        """One host: its tree, and the chosen prefix with its pages; None for a host that the round has not."""
        standing = self.labels.standing()
        view = self.data.host(host, standing, prefix)
        if view is None or not view.rows:
            return None
        chosen = self._chosen(view, standing, asked, prefix)
        number = int(draw) if draw.isdecimal() and len(draw) < 6 else 0
        place = view.rows.index(chosen)
        config = self.data.run.manifest.get("config", {}).get("rounds", {})
        scores = [page.score for page in chosen.pages]
        left, taken = self._samples(chosen, number)
        return {
            "view": view,
            "chosen": chosen,
            "chosen_effect": _effect(view, chosen.prefix, standing),
            "rows": [self._tree_row(row, standing, asked) for row in view.rows],
            "before": view.rows[place - 1].prefix if place else "",
            "after": view.rows[place + 1].prefix if place + 1 < len(view.rows) else "",
            "draw": number,
            "cap": config.get("max_positives_per_host"),
            "histogram": score_histogram(
                scores, [page.collected for page in chosen.pages], cut=self._cut(), name=f"Scores under {chosen.prefix}"
            ),
            "left": left,
            "taken": taken,
            "own": standing.current(asked.annotator, chosen.key),
            **self._common(standing, asked),
        }

    def page(self, page_id: str) -> dict[str, Any] | None:
        """One page's text at length."""
        page = self.data.texts([page_id], max_chars=_WHOLE_CHARS).get(page_id)
        return page and {"page": page, "text": page_markup(page["text"], max_chars=_WHOLE_CHARS)}

    def audit(self, asked: Asked) -> dict[str, Any]:
        """The next page to audit, and what the audited ones say."""
        standing = self.audits.standing()
        sample = self.data.sample
        page = sample.next_page(standing, asked.annotator, second=asked.show == "second")
        if page is not None:
            texts = self.data.texts([page["page_id"]], max_chars=_AUDIT_CHARS + 1)
            page = {**page, "title": "", "text": "", **texts.get(page["page_id"], {})}
        counts = sample.counts(standing)
        last = standing.trail.get(asked.annotator, [])
        table = standing.table()
        strata = []
        for stratum, count in zip(sample.strata(), counts, strict=True):
            seen = sum(page["url"] in table for page in stratum["pages"])
            strata.append({**stratum, "count": count, "seen": seen, "rest": stratum["num_pages"]})
        return {
            "page": page,
            "text": page and page_markup(page["text"], max_chars=_AUDIT_CHARS),
            "strata": strata,
            "estimates": estimate(counts),
            "num_audited": len(table),
            "num_held_out": sum(count.audited for count in counts),
            "share": HELD_OUT_SHARE,
            "number": self.data.number,
            "last": last[-1] if last else None,
        }

    def agreement(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Who labelled how much, how far they agree, and on what they do not."""
        found = {}
        for name, standing in (("prefixes", self.labels.standing()), ("pages", self.audits.standing())):
            people = [{"name": one, **_tally(standing, one)} for one in standing.annotators]
            disputed = [key for key in standing.newest if len(set(standing.labels(key).values())) > 1]
            disputes = [{"target": standing.table()[key].target, "labels": standing.labels(key)} for key in disputed]
            found[name] = {
                "people": people,
                "pairs": agreements(standing),
                "disputes": sorted(disputes, key=lambda one: str(one["target"]))[:_MAX_DISPUTES],
                "num_disputes": len(disputes),
            }
        imported = {key: query[key] for key in ("rows", "new") if query.get(key, "").isdecimal()}
        return {**found, "imported": imported, "file": str(self.labels.file), "audit_file": str(self.audits.file)}

    def audited_page(self, page_id: str) -> Row | None:
        """The page of this round's sample that has this id, with its round."""
        page = self.data.sample.page(page_id)
        return page and {**page, "round": self.data.number}

    # -- where to go

    def host_address(self, asked: Asked, prefix: str) -> str:
        """The address of the view in which `prefix` is chosen."""
        host = self._host_of(prefix)
        return f"/host/{quote(host, safe='')}?{list_query(asked, prefix=prefix)}"

    def after_label(self, asked: Asked, host: str, target: str) -> str:
        """The next prefix of the host that is to do, else the next host of the list, else the list."""
        standing, version = self.labels.standing(), self.labels.signature()
        view = self.data.host(host, standing, target)
        if view is None:
            return list_address(asked)
        key = prefix_parts(target)
        place = next((place for place, row in enumerate(view.rows) if row.key == key), -1)
        rest = view.rows[place + 1 :] + view.rows[: max(place, 0)]
        wanted = self._wanted(standing, asked)
        following = next((row for row in rest if wanted(row)), None)
        if following is not None:
            return f"/host/{quote(host, safe='')}?{list_query(asked, prefix=following.prefix)}"
        if asked.show not in ("todo", "second"):
            prefix = view.rows[place + 1].prefix if place + 1 < len(view.rows) else target
            return f"/host/{quote(host, safe='')}?{list_query(asked, prefix=prefix)}"
        name = self.data.next_host(
            standing, version, asked.annotator, show=asked.show, sort=asked.sort, search=asked.search
        )
        return f"/host/{quote(name, safe='')}?{list_query(asked)}" if name and name != host else list_address(asked)

    # -- parts

    def _host_of(self, prefix: str) -> str:
        """The round's host that a prefix is on: people write prefixes without `www.`."""
        bare = prefix_parts(prefix).host
        names = [host_of(f"http://{prefix}"), bare, f"www.{bare}"]
        rows = self.data.run.rows("SELECT host FROM hosts WHERE host IN (?, ?, ?)", names)
        known = {row["host"] for row in rows}
        return next((name for name in names if name in known), bare)

    def _wanted(self, standing: Standing, asked: Asked) -> Any:
        """Whether a row is still to do for this person in this list."""
        index = label_index(Label(act.target, act.label) for act in standing.table().values())

        def wanted(row: PrefixRow) -> bool:
            own = standing.current(asked.annotator, row.key)
            if own is not None:
                return False
            covered = label_for(f"http://{row.prefix}", index)
            if asked.show == "second":
                return covered is not None and not self._own_cover(standing, asked.annotator, row.key)
            return row.proposed and covered is None

        return wanted

    def _own_cover(self, standing: Standing, annotator: str, key: PrefixParts) -> bool:
        text = key_text(key)
        own = standing.acts.get(annotator, {})
        return any(
            found and found[-1].label and isinstance(other, PrefixParts) and not other.parameters
            and text.startswith(key_text(other))
            for other, found in own.items()
        )  # fmt: skip

    def _chosen(self, view: HostView, standing: Standing, asked: Asked, prefix: str) -> PrefixRow:
        if prefix:
            key = prefix_parts(prefix)
            named = next((row for row in view.rows if row.key == key), None)
            if named is not None:
                return named
        wanted = self._wanted(standing, asked)
        return next((row for row in view.rows if wanted(row)), view.rows[0])

    def _tree_row(self, row: PrefixRow, standing: Standing, asked: Asked) -> dict[str, Any]:
        """A row of the tree; what others said of it stays hidden until this person has spoken."""
        own = standing.current(asked.annotator, row.key)
        labels = standing.labels(row.key)
        others = {
            name: label
            for name, label in labels.items()
            if name != asked.annotator and (own is not None or is_unattended(Label(row.prefix, label, name)))
        }
        hidden = len([name for name in labels if name != asked.annotator]) - len(others)
        return {"row": row, "own": own, "others": others, "hidden": hidden}

    def _samples(self, row: PrefixRow, draw: int) -> list[list[Row]]:
        """Pages left and pages collected, with their texts as markup."""
        return [
            [{**page, "markup": page_markup(page["text"], max_chars=_EXCERPT_CHARS)} for page in pages]
            for pages in self.data.samples(row, n=_SAMPLES, draw=draw)
        ]

    def _cut(self) -> float | None:
        found = self.data.run.metrics.get(self.data.number, {}).get("cut", {}).get("threshold")
        return found if isinstance(found, (int, float)) else None

    def _common(self, standing: Standing, asked: Asked) -> dict[str, Any]:
        """Progress, and the last act with its effect."""
        progress = self.data.progress(standing, self.labels.signature(), asked.annotator)
        trail: Sequence[Act] = standing.trail.get(asked.annotator, ())
        last = trail[-1] if trail else None
        effect = None
        if last is not None and last.label == "math":
            view = self.data.host(self._host_of(last.target), standing)
            effect = _effect(view, last.target, standing) if view else None
        return {"progress": progress, "last": last, "effect": effect, "number": self.data.number}


@dataclass(frozen=True, slots=True)
class Effect:
    """What a label math on a prefix brings, or brought, to the next round's positives."""

    pages: int
    """Uncollected pages for which it is the longest labelled prefix."""
    tokens: int
    rows: int
    """Rows below it that have no label of their own and go along."""


def _effect(view: HostView, prefix: str, standing: Standing) -> Effect:
    key = prefix_parts(prefix)
    labelled = [Label(act.target, act.label) for other, act in standing.table().items() if other != key]
    index = label_index([*labelled, Label(prefix, "math", "asked")])
    ruled = []
    for row in view.rows:
        found = label_for(f"http://{row.prefix}", index)
        if found is not None and found.annotator == "asked":
            ruled.append(row)
    return Effect(
        pages=sum(row.uncollected for row in ruled),
        tokens=sum(row.uncollected_tokens for row in ruled),
        rows=sum(row.key != key for row in ruled),
    )


def _tally(standing: Standing, annotator: str) -> dict[str, int]:
    acts = [found[-1] for found in standing.acts[annotator].values() if found]
    return {
        "math": sum(act.label == "math" for act in acts),
        "not_math": sum(act.label == "not_math" for act in acts),
        "skipped": sum(act.action == "skip" for act in acts),
    }


def list_address(asked: Asked) -> str:
    """The address of the list as it was filtered."""
    query = list_query(asked)
    return f"/?{query}" if query else "/"


def list_query(asked: Asked, **more: str) -> str:
    """The part of an address that keeps the list as it was filtered, after `more`."""
    plain = {"show": "todo", "sort": "tokens", "q": ""}
    kept = {"show": asked.show, "sort": asked.sort, "q": asked.search}
    return urlencode({**more, **{key: value for key, value in kept.items() if value != plain[key]}})
