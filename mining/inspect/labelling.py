"""A person's label on a URL prefix, written where the next run of mine.py reads it."""

import dataclasses
from pathlib import Path

from mining.errors import ConfigError
from mining.inspect.tables import Run, among
from mining.prefixes import Label, read_labels, write_labels
from mining.store import write_text
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
    """Write `label` into the file, in place of an older one on the same prefix, which is returned."""
    if not prefix_parts(label.prefix).host:
        raise ConfigError(f"{label.prefix}: no host in it; write a prefix as host/path, such as blog.example/math")
    try:
        standing = read_labels(file.read_text(encoding="utf-8")) if file.exists() else []
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"{file}: cannot be read as labels ({error}); mend that line first") from error
    key = prefix_parts(label.prefix)
    older = [other for other in standing if prefix_parts(other.prefix) == key]
    label = dataclasses.replace(
        label, prefix=older[0].prefix if older else label.prefix.partition("://")[2] or label.prefix
    )
    kept = [other for other in standing if other not in older]
    try:
        write_text(file, write_labels([*kept, label]))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({error.strerror}); mend that or its folder") from error
    return older[0] if older else None


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
