#!/usr/bin/env bash
# Find a Java of 17 or newer for Spark, or install one: Debian's where we are root, else a JDK under .java by PyPI's
# install-jdk. Says what it found. Usage: setup_java.sh PYTHON
set -euo pipefail
python=$1

version_of() { "$1" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }

usable() { command -v "$1" >/dev/null 2>&1 && [ "$(version_of "$1")" -ge 17 ] 2>/dev/null; }

for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} java; do
  if usable "$java"; then
    echo "Java $(version_of "$java"): $(command -v "$java")"
    exit 0
  fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "no Java 17 or newer found: installing Debian's openjdk-17-jre-headless"
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq openjdk-17-jre-headless >/dev/null; then
    java=$(find /usr/lib/jvm -path '*17*' -name java -type f -perm -u+x | sort | head -n 1)
    if usable "$java"; then
      mkdir -p .java
      dirname "$(dirname "$java")" > .java/home
      echo "Java $(version_of "$java"): $java"
      exit 0
    fi
  fi
fi
echo "no Java 17 or newer found: installing a JDK 17 into .java with install-jdk"
"$python" -m pip install --disable-pip-version-check -q install-jdk==1.1.0
mkdir -p .java
"$python" - <<'PY'
import pathlib

import jdk

home = pathlib.Path(jdk.install("17", path=".java"))
pathlib.Path(".java/home").write_text(f"{home.resolve()}\n")
print(f"Java 17: {home.resolve()}")
PY
