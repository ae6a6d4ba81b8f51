#!/usr/bin/env bash
# Builds the book from docs/ to target/book. A test (crates/cli/tests/cli/book.rs) checks its links.
#
#   .ci/book.sh
#
# Exit status: 0 all is well, 1 mdBook reported a problem, 77 mdBook is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v mdbook >/dev/null || {
  echo "not built: mdbook is missing (cargo install mdbook --locked)" >&2
  exit 77
}
log=$(mdbook build docs 2>&1) || { echo "$log" >&2; exit 1; }
! grep -E "WARN|ERROR" <<<"$log"
