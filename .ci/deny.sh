#!/usr/bin/env bash
# Checks licences, sources and duplicates of the dependencies, and known vulnerabilities in them.
#
#   .ci/deny.sh
#
# Exit status: 0 all is well, 1 a check failed, 77 cargo-deny is missing or the list of advisories cannot
# be fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo-deny >/dev/null || {
  echo "not checked: cargo-deny is missing (cargo install cargo-deny --locked)" >&2
  exit 77
}
cargo deny --all-features check --hide-inclusion-graph bans licenses sources
cargo deny fetch db >/dev/null 2>&1 || {
  echo "not checked: the list of advisories cannot be fetched" >&2
  exit 77
}
cargo deny --all-features check advisories
