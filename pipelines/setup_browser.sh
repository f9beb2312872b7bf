#!/usr/bin/env bash
# A Chromium for the browser tests: the machine's, else Debian's where we are root. Without one those tests skip.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then
    echo "browser for the tests: $(command -v "$name")"
    exit 0
  fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "no Chromium found: installing Debian's chromium"
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; then
    echo "browser for the tests: $(command -v chromium)"
    exit 0
  fi
fi
echo "no Chromium, and none can be installed here: the tests marked browser will be skipped"
