"""The house rules that a reader relies on: who imports what, no shadowing names, documented options."""

import ast
import dataclasses
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for folder in ("mining", "rl", "pipelines") for path in (REPOSITORY / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def importers(name: str) -> set[str]:
    hits = (path for path in SOURCES if any(one == name or one.startswith(f"{name}.") for one in imports(path)))
    return {str(path.relative_to(REPOSITORY)) for path in hits}


def test_the_halves_meet_only_at_the_corpus() -> None:
    assert not {path for path in importers("rl") if path.startswith("mining")}
    assert not {path for path in importers("mining") if path.startswith("rl")}


def test_engines_and_fasttext_stay_in_their_rooms() -> None:
    assert {path for path in importers("pyspark") if not path.startswith("mining/spark/")} <= {
        "pipelines/mine.py",
        "mining/inspect/doctor.py",
    }
    assert importers("fasttext") <= {"mining/classifier.py", "mining/inspect/doctor.py"}


def test_no_script_shadows_a_library() -> None:
    taken = {name.split("-")[0].lower() for name in sys.stdlib_module_names}
    taken |= {dist.metadata["Name"].replace("-", "_").lower() for dist in importlib.metadata.distributions()}
    taken -= {"motherlode"}
    assert not {path.stem for folder in ("pipelines", "rl") for path in (REPOSITORY / folder).glob("*.py")} & taken


def fields(config_class: Any) -> list[tuple[Any, dataclasses.Field]]:
    found = []
    for item in dataclasses.fields(config_class):
        found.append((config_class, item))
        if dataclasses.is_dataclass(item.type):
            found += fields(item.type)
    return found


def test_every_mining_option_says_what_it_is_for() -> None:
    import inspect

    from mining.config import MineConfig

    for owner, item in fields(MineConfig):
        body = ast.parse(inspect.getsource(owner)).body[0].body
        place = next(
            i for i, node in enumerate(body) if isinstance(node, ast.AnnAssign) and node.target.id == item.name
        )
        doc = body[place + 1] if place + 1 < len(body) else None
        assert isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant), f"{owner.__name__}.{item.name}"


@pytest.mark.parametrize("name", ["README.md", "mining/README.md", "rl/README.md"])
def test_every_file_that_a_readme_names_exists(name: str) -> None:
    import re

    text = (REPOSITORY / name).read_text(encoding="utf-8")
    for word in set(re.findall(r"\b(?:pipelines|configs|rl|mining|tests)/[\w/.]+\.(?:py|yaml|sh|md)\b", text)):
        assert (REPOSITORY / word).exists(), word
    assert "_TRANSCRIPT" not in text and "_COST" not in text
