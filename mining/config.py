"""The configuration of a mining run: dataclass defaults, a YAML file over them, the command line over that."""

import dataclasses
import difflib
import re
import sys
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeVar, overload

import jsonargparse

from mining.annotate import LabelsConfig
from mining.classifier import ClassifierConfig
from mining.decontaminate import DecontaminateConfig
from mining.domains import DomainConfig
from mining.errors import ConfigError
from mining.ingest import IngestConfig
from mining.minhash import DedupConfig
from mining.prefixes import PrefixConfig
from mining.rounds import RoundsConfig

STAGES = ("ingest", "dedup", "rounds", "decontaminate", "export")


@dataclass(frozen=True)
class SeedConfig:
    """The documents that the first classifier learns from: JSON lines with `text`, optionally `url`, `language`."""

    positive: list[str] = field(default_factory=lambda: ["seed/positive.jsonl.gz"])
    """Documents of the wanted domain: files or globs, relative ones under data_dir."""
    negative: list[str] = field(default_factory=list)
    """Documents that are certainly not of it; may be empty, pages of the crawl are always drawn as well."""
    max_positives: int = 500_000
    """At most this many seed documents are used (paper: 500,000), drawn by hash."""
    max_negatives: int = 500_000
    """At most this many negatives from files."""
    crawl_negatives: float = 1.0
    """Random pages of the crawl drawn as negatives, for each positive (paper: 1). Collected pages and pages under
    prefixes labelled math are never drawn."""
    seed: int = 0
    """Seed of every draw."""


@dataclass(frozen=True)
class DecontaminationConfig:
    """Which benchmarks must not be in the corpus, and the rule."""

    benchmarks: list[str] = field(default_factory=lambda: ["benchmarks/*.jsonl.gz"])
    """Benchmark files: JSON lines with `id`, `question`, and `answer`, `solution` where there are any; relative ones
    under data_dir."""
    rule: DecontaminateConfig = field(default_factory=DecontaminateConfig)
    """How a match is found and what it costs."""


@dataclass(frozen=True)
class ExportConfig:
    """What the corpus is written as."""

    jsonl: bool = False
    """Also write corpus/*.jsonl.zst."""


@dataclass(frozen=True)
class SparkConfig:
    """Spark settings; anything given to spark-submit wins."""

    master: str = "local[*]"
    """Only when started by plain `python`: spark-submit brings its own (`--master`, local[*] without)."""
    driver_memory: str = "2g"
    """Heap of the driver, likewise; under spark-submit give --driver-memory instead."""
    extra: dict[str, str] = field(default_factory=dict)
    """Further Spark properties by their names."""


@dataclass(frozen=True)
class MineConfig:
    """Mine a domain corpus out of WARC files by recall rounds (DeepSeekMath, section 2.1)."""

    run_dir: str = "runs/mine"
    """Where tables, rounds and the corpus go; running the same line again goes on where it stopped."""
    data_dir: str = "."
    """Folder that relative input paths start from."""
    stages: str = "ingest,dedup,rounds,decontaminate,export"
    """Stages to run, comma-separated; each needs those before it to have run."""
    rerun: bool = False
    """Run finished stages again where the config or the inputs changed; without it that is an error."""
    scale: Literal["toy", "node", "cluster"] = "node"
    """Sets the number of partitions: toy (seconds a stage), node (one machine), cluster (adaptive, large)."""
    ingest: IngestConfig = field(default_factory=IngestConfig)
    """WARC to pages."""
    dedup: DedupConfig = field(default_factory=DedupConfig)
    """Duplicates: URL twins, equal texts, near-duplicates."""
    seed: SeedConfig = field(default_factory=SeedConfig)
    """Seed documents and negatives."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """The page classifier."""
    rounds: RoundsConfig = field(default_factory=RoundsConfig)
    """The recall loop: cut, caps and stop."""
    domains: DomainConfig = field(default_factory=DomainConfig)
    """Which hosts become candidates."""
    prefixes: PrefixConfig = field(default_factory=PrefixConfig)
    """Which URL prefixes are proposed for a label."""
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    """Who labels prefixes."""
    decontaminate: DecontaminationConfig = field(default_factory=DecontaminationConfig)
    """Benchmark decontamination."""
    export: ExportConfig = field(default_factory=ExportConfig)
    """The corpus on disk."""
    spark: SparkConfig = field(default_factory=SparkConfig)
    """The engine."""


def mine_part(cfg: MineConfig) -> MineConfig:
    """The settings that mine.py knows of an entry's config that has more: what the manifest keeps."""
    return MineConfig(**{item.name: getattr(cfg, item.name) for item in dataclasses.fields(MineConfig)})


def stage_names(cfg: MineConfig) -> list[str]:
    """The wanted stages in running order; ConfigError for a name that is none."""
    wanted = [name.strip() for name in cfg.stages.split(",") if name.strip()]
    for name in wanted:
        if name not in STAGES:
            raise ConfigError(f"stages={cfg.stages}: no stage {name!r}{did_you_mean(name, STAGES)}")
    return [name for name in STAGES if name in wanted]


def did_you_mean(name: str, known: Any) -> str:
    """`; did you mean 'x'?` for the nearest known name, else the list of them."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f" (there are {', '.join(known)})"


def option_names(config_class: Any, prefix: str = "") -> list[str]:
    """All dotted option names of a configuration class."""
    names = []
    for item in dataclasses.fields(config_class):
        names.append(prefix + item.name)
        if dataclasses.is_dataclass(item.type):
            names += option_names(item.type, f"{prefix}{item.name}.")
    return names


class _Parser(jsonargparse.ArgumentParser):
    """jsonargparse with the nearest name in the message for an unknown option, and no abbreviations."""

    config_class: type[MineConfig] = MineConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        names = option_names(self.config_class)
        unknown = re.search(r"unrecognized arguments: --([\w.]+)", message)
        inside = re.search(r"(?:Group '([\w.]+)' does not accept|[Oo]ption|[Kk]ey) ?(?:option )?'([\w.]+)'", message)
        hint = ""
        if unknown:
            hint = did_you_mean(unknown.group(1), names)
        elif inside and "not accept" in message:
            full = ".".join(part for part in inside.groups() if part)
            hint = did_you_mean(full, names)
        sys.stderr.write(f"error: {message}{hint}\nsee {self.prog} --help\n")
        sys.exit(2)


Config = TypeVar("Config", bound=MineConfig)


@overload
def load_config(args: list[str] | None = None) -> MineConfig: ...
@overload
def load_config(args: list[str] | None = None, *, config_class: type[Config]) -> Config: ...
def load_config(args: list[str] | None = None, *, config_class: type[MineConfig] = MineConfig) -> MineConfig:
    """The configuration of a command line; exits with 2 and the nearest name on an unknown option.

    config_class: MineConfig, or one that adds an entry's own options to it.
    """
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = type("_ParserOfClass", (_Parser,), {"config_class": config_class})
    config: MineConfig = jsonargparse.auto_cli(config_class, args=args, as_positional=False, parser_class=parser)
    stage_names(config)
    return config
