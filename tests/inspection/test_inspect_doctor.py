"""doctor.py: what counts as there, and what is said of what is not."""

from pathlib import Path

import pytest

from mining.inspect import doctor


def fake_java(folder: Path, version: str) -> Path:
    """A program that states a version as java does: on stderr."""
    file = folder / "bin" / "java"
    file.parent.mkdir(parents=True)
    file.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize(("stated", "release"), [("17.0.15", 17), ("1.8.0_392", 8), ("25", 25), ("21-ea", 21)])
def test_java_version_is_its_feature_release(tmp_path: Path, stated: str, release: int) -> None:
    assert doctor.java_version(fake_java(tmp_path, stated)) == release


def test_java_of_java_home_is_the_one_spark_starts(tmp_path: Path) -> None:
    fake_java(tmp_path / "old", "11.0.2")
    fake_java(tmp_path / "new", "17.0.15")
    environment = {"JAVA_HOME": str(tmp_path / "old"), "PATH": str(tmp_path / "new" / "bin")}
    check = doctor.java(environment, [])
    assert check.status == "missing"
    assert "11 by JAVA_HOME" in check.found
    assert doctor.java({"PATH": environment["PATH"]}, []).status == "ok"


def test_java_of_the_project_is_found_with_the_line_that_uses_it(tmp_path: Path) -> None:
    file = fake_java(tmp_path / ".java" / "jdk-17.0.1-jre", "17.0.1")
    check = doctor.java({"PATH": str(tmp_path)}, [tmp_path])
    assert check.status == "warn"
    assert check.remedy.startswith(f"export JAVA_HOME={file.parent.parent}")


def test_java_that_setup_named_is_found(tmp_path: Path) -> None:
    fake_java(tmp_path / "elsewhere", "17.0.1")
    (tmp_path / ".java").mkdir()
    (tmp_path / ".java" / "home").write_text(f"{tmp_path / 'elsewhere'}\n")
    assert doctor.java({"PATH": ""}, [tmp_path]).remedy.startswith(f"export JAVA_HOME={tmp_path / 'elsewhere'} ")


def test_no_java_is_missing_with_two_ways_to_get_it(tmp_path: Path) -> None:
    check = doctor.java({"PATH": str(tmp_path)}, [tmp_path])
    assert check.status == "missing"
    assert "openjdk-17-jre-headless" in check.remedy
    assert "setup_java.sh" in check.remedy


def test_java_that_does_not_run_is_missing(tmp_path: Path) -> None:
    file = fake_java(tmp_path, "17")
    file.write_text("#!/bin/sh\nexit 1\n")
    assert doctor.java({"JAVA_HOME": str(tmp_path)}, []).status == "missing"


def test_old_python_is_missing() -> None:
    assert doctor.python((3, 10, 4)).status == "missing"
    assert doctor.python((3, 11, 0)).status == "ok"


def test_two_owners_of_fasttext_are_warned_of() -> None:
    assert doctor.fasttext([]).status == "missing"
    assert doctor.fasttext(["fasttext", "fasttext-community"]).status == "warn"
    assert doctor.fasttext(doctor.fasttext_owners()).status == "ok"


def test_little_room_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_DISK_GB", 10**9)
    monkeypatch.setattr(doctor, "MIN_MEMORY_GB", 10**9)
    assert doctor.disk(tmp_path).status == doctor.memory().status == "warn"


def test_a_missing_compiler_is_told(monkeypatch):
    monkeypatch.setattr(doctor.source, "compiled", None)
    assert (doctor.extractor().status, "gcc" in doctor.extractor().remedy) == ("warn", True)
