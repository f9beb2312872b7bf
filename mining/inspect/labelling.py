"""A person's label on a URL prefix, written where the next run of mine.py reads it."""

from pathlib import Path

from mining.errors import ConfigError
from mining.inspect.label_log import PREFIXES, Act, Book
from mining.inspect.tables import Run, among
from mining.prefixes import Label
from mining.url import prefix_matches, prefix_parts


def labels_file(run: Run) -> Path:
    """The file that this run takes labels from; ConfigError where it takes them from rules or a table of hosts."""
    config = run.manifest.get("config", {})
    settings = config.get("labels", {})
    annotator = settings.get("annotator", "file")
    if annotator != "file":
        raise ConfigError(f"labels.annotator={annotator}: this run asks nobody; mine with --labels.annotator file")
    if settings.get("file"):
        return Path(config.get("data_dir", "."), settings["file"])
    return run.path / "labels.csv"


def add_label(file: Path, label: Label) -> Label | None:
    """Write `label` into the file and its log, in place of an older one on the same prefix, which is returned.

    The older one may be someone else's: of each prefix the newest label counts, as on the labelling page.
    """
    key = prefix_parts(label.prefix)
    if not key.host:
        raise ConfigError(f"{label.prefix}: no host in it; write a prefix as host/path, such as blog.example/math")
    book = Book(file, PREFIXES)
    older = book.standing().table().get(key)
    target = older.target if older else label.prefix.partition("://")[2] or label.prefix
    book.write([Act(label.labelled_at, label.annotator, "label", target, label.label, note=label.note)])
    return Label(target, older.label, older.annotator, older.at, older.note) if older else None


def covered(run: Run, prefix: str) -> tuple[int, int]:
    """(pages under the prefix, those of them that the last round left), after dedup."""
    number = run.round_number()
    host = prefix_parts(prefix).host
    rows = run.rows(
        f"""SELECT page_id, url FROM {run.relation("pages")} SEMI JOIN {run.relation("scores", number)} USING (page_id)
            WHERE host IN (?, ?)""",
        [host, f"www.{host}"],
    )
    under = {row["page_id"] for row in rows if prefix_matches(prefix, row["url"])}
    return len(under), len(under) - len(among(run, run.relation("collected", number), under))
