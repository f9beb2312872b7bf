"""What this machine has for mining and training, and how to get what it lacks."""

import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mining.html import source

MIN_PYTHON = (3, 11)
MIN_JAVA = 17
MIN_DISK_GB = 10
MIN_MEMORY_GB = 4
_GB = 1024**3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked for: what was found and what to do about it."""

    name: str
    status: str
    """ok | warn | missing; `missing` is for what mining cannot do without."""
    found: str
    remedy: str = ""


def checks(where: Path) -> list[Check]:
    """All checks, in the order a set-up goes; `where` is the folder whose disk is looked at."""
    return [
        python(),
        java(os.environ, [where, Path(__file__).parents[2]]),
        spark(),
        *packages(),
        fasttext(fasttext_owners()),
        extractor(),
        torch(),
        optional("transformers", remedy="pip install 'motherlode[rl]', for training"),
        optional("vllm", remedy="not needed; faster rollouts: see rl/README.md"),
        disk(where),
        memory(),
    ]


def extractor() -> Check:
    """Whether the page cleaner was compiled when the package was installed."""
    if source.compiled is not None:
        return Check("page cleaner", "ok", "compiled")
    remedy = "install gcc, then in the checkout: pip install --force-reinstall --no-deps --no-cache-dir ."
    return Check("page cleaner", "warn", "the slow one in Python; extraction takes about four times as long", remedy)


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Whether the interpreter is new enough."""
    found = f"{'.'.join(map(str, version))} ({sys.executable})"
    if version < MIN_PYTHON:
        return Check("Python", "missing", found, f"use Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or newer")
    return Check("Python", "ok", found)


def java(environment: dict[str, str] | os._Environ[str], projects: Iterable[Path]) -> Check:
    """The Java that Spark would start (JAVA_HOME goes before PATH), or one under a project's .java."""
    remedy = "apt-get install openjdk-17-jre-headless, or bash pipelines/setup_java.sh python (into .java, no root)"
    candidates = []
    if home := environment.get("JAVA_HOME"):
        candidates.append(("JAVA_HOME", Path(home) / "bin" / "java"))
    elif on_path := shutil.which("java", path=environment.get("PATH")):
        candidates.append(("PATH", Path(on_path)))
    for project in dict.fromkeys(projects):
        named = project / ".java" / "home"
        homes = [Path(named.read_text(encoding="utf-8").strip()) / "bin" / "java"] if named.is_file() else []
        candidates += [(".java", file) for file in [*homes, *sorted(project.glob(".java/**/bin/java"))]]
    wrong = []
    for place, file in candidates:
        version = java_version(file)
        found = f"{version or 'none that runs'} by {place} ({file})"
        if version is None or version < MIN_JAVA:
            wrong.append(found)
        elif place == ".java":
            return Check("Java", "warn", found, f"export JAVA_HOME={file.parent.parent} before spark-submit")
        else:
            return Check("Java", "ok", found)
    return Check(
        "Java", "missing", "; ".join(wrong) or "not by JAVA_HOME, PATH or .java", f"Java 17 or newer: {remedy}"
    )


def java_version(file: Path) -> int | None:
    """The feature release (8, 17, 25) of a java binary; None where it does not run."""
    try:
        answer = subprocess.run([file, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    stated = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(stated.group(1)) if stated else None


def spark() -> Check:
    """Whether pyspark is there, and its spark-submit reachable."""
    version = distribution_version("pyspark")
    if version is None:
        return Check("Spark", "missing", "pyspark is not installed", "pip install 'pyspark>=4.3,<5'")
    submit = shutil.which("spark-submit")
    if submit is None:
        bin_dir = Path(sys.executable).parent
        return Check("Spark", "warn", f"pyspark {version}, no spark-submit on PATH", f"export PATH={bin_dir}:$PATH")
    return Check("Spark", "ok", f"pyspark {version} ({submit})")


def packages() -> list[Check]:
    """One line for mining's other packages, or one a missing one."""
    found = {
        name: distribution_version(name) for name in ("duckdb", "fastwarc", "pyarrow", "resiliparse", "tldextract")
    }
    lacking = [name for name, version in found.items() if version is None]
    if lacking:
        return [Check(name, "missing", "not installed", "pip install motherlode") for name in lacking]
    return [Check("packages", "ok", ", ".join(f"{name} {version}" for name, version in found.items()))]


def fasttext_owners() -> list[str]:
    """The installed distributions that own the `fasttext` module."""
    return sorted(set(importlib.metadata.packages_distributions().get("fasttext", [])))


def fasttext(owners: list[str]) -> Check:
    """Whether fastText imports, and from the one distribution whose training does not run into NaN."""
    remedy = "pip uninstall the others, then pip install --force-reinstall fasttext-community"
    if not owners:
        return Check("fastText", "missing", "not installed", "pip install fasttext-community")
    try:
        importlib.import_module("fasttext")
    except (ImportError, OSError) as error:
        return Check("fastText", "missing", f"{', '.join(owners)}: does not import ({error})", remedy)
    versions = ", ".join(f"{owner} {distribution_version(owner)}" for owner in owners)
    if len(owners) > 1:
        return Check("fastText", "warn", f"{versions}: they overwrite one another", remedy)
    if owners != ["fasttext-community"]:
        return Check("fastText", "warn", f"{versions}: training may end in NaN", remedy)
    return Check("fastText", "ok", versions)


def torch() -> Check:
    """Whether torch is there, and what it can compute on."""
    remedy = "pip install 'motherlode[rl]', for training"
    if distribution_version("torch") is None:
        return Check("torch", "warn", "not installed", remedy)
    try:
        module = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return Check("torch", "warn", f"does not import ({error})", remedy)
    if not module.cuda.is_available():
        return Check("torch", "ok", f"{module.__version__}, CPU only")
    names = [module.cuda.get_device_name(place) for place in range(module.cuda.device_count())]
    return Check("torch", "ok", f"{module.__version__}, CUDA {module.version.cuda}: {', '.join(names)}")


def optional(name: str, *, remedy: str) -> Check:
    """A package that mining does without."""
    version = distribution_version(name)
    return Check(name, "ok", version) if version else Check(name, "warn", "not installed", remedy)


def disk(where: Path) -> Check:
    """Free space where the run would be written."""
    free = shutil.disk_usage(where).free / _GB
    if free < MIN_DISK_GB:
        return Check(
            "disk", "warn", f"{free:.1f} GB free in {where}", f"have {MIN_DISK_GB} GB, or set another --run_dir"
        )
    return Check("disk", "ok", f"{free:.0f} GB free in {where}")


def memory() -> Check:
    """Memory of the machine or of the container's limit, whichever is less."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GB
    except (ValueError, OSError):
        return Check("memory", "warn", "unknown", f"have {MIN_MEMORY_GB} GB")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (stated := limit.read_text().strip()).isdecimal():
        total = min(total, int(stated) / _GB)
    if total < MIN_MEMORY_GB:
        return Check("memory", "warn", f"{total:.1f} GB", f"have {MIN_MEMORY_GB} GB, or lower spark.driver_memory")
    return Check("memory", "ok", f"{total:.0f} GB, {os.cpu_count()} cores")


def distribution_version(name: str) -> str | None:
    """The installed version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
