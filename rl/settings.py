"""Settings of an entry: dataclass defaults, YAML over them, the command line over that.

jsonargparse reads the dataclass, its field docs and the YAML; this module adds the refusal of unknown keys by the
nearest name, and the exit codes.
"""

import argparse
import dataclasses
import difflib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, set_parsing_settings

from rl.errors import ConfigError, TrainingError

Config = TypeVar("Config")


class _HelpFormatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the entry's docstring: its launch lines are meant to be copied."""


def launch(main: Callable[[Any], None], config_class: type, *, argv: Sequence[str] | None = None) -> int:
    """The exit code of `main(settings)`: 0, or 2 with a message where the user can mend it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        main(read_settings(config_class, arguments, description=main.__globals__["__doc__"]))
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def read_settings(config_class: type[Config], argv: Sequence[str], *, description: str = "") -> Config:
    """An instance of `config_class` from `--config FILE` and `--any.field value`.

    Raises ConfigError for an unknown key, a missing file or a value of the wrong type.
    """
    known = set(_keys(config_class))
    _refuse_unknown_options(argv, known)
    for path in _config_files(argv):
        _refuse_unknown_keys(path, known)
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(exit_on_error=False, description=description, formatter_class=_HelpFormatter)
    parser.add_argument("--config", action="config", help="YAML file with any of the settings below")
    parser.add_class_arguments(config_class)
    try:
        values = vars(parser.instantiate(parser.parse_args(list(argv))))
    except ConfigError:
        raise
    except Exception as error:  # jsonargparse wraps argparse, YAML and type errors in several classes
        raise ConfigError(" ".join(str(error).split())) from error
    return config_class(**{field.name: values[field.name] for field in dataclasses.fields(config_class)})  # type: ignore[arg-type]


def as_dict(settings: Any) -> dict[str, Any]:
    """The settings as plain, JSON-ready values, nested as in YAML."""
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(settings).items()
    }


def _keys(config_class: Any, prefix: str = "") -> Iterator[str]:
    for field in dataclasses.fields(config_class):
        yield prefix + field.name
        if dataclasses.is_dataclass(field.type):
            yield from _keys(field.type, f"{prefix}{field.name}.")


def _config_files(argv: Sequence[str]) -> list[Path]:
    files = []
    for position, argument in enumerate(argv):
        if argument.startswith("--config="):
            files.append(Path(argument.removeprefix("--config=")))
        elif argument == "--config" and position + 1 < len(argv):
            files.append(Path(argv[position + 1]))
    return files


def _refuse_unknown_options(argv: Sequence[str], known: set[str]) -> None:
    for argument in argv:
        name = argument.removeprefix("--").split("=", 1)[0]
        if argument.startswith("--") and name not in known | {"config", "help", "print_config"}:
            raise ConfigError(f"--{name}: no such setting{_nearest(name, known)}")


def _refuse_unknown_keys(path: Path, known: set[str]) -> None:
    if not path.is_file():
        raise ConfigError(f"--config {path}: no such file")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected `setting: value` lines, found {type(tree).__name__}")
    for key in _tree_keys(tree):
        if key not in known:
            raise ConfigError(f"{path}: {key}: no such setting{_nearest(key, known)}")


def _tree_keys(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _tree_keys(value, f"{prefix}{key}.")


def _nearest(name: str, known: set[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not matches:
        # `--lr` is meant for `--optim.lr`
        matches = sorted(key for key in known if key.rpartition(".")[2] == name)[:1]
    return f"; did you mean {matches[0]}?" if matches else "; see --help"
