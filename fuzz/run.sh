#!/bin/sh
# Fuzzes each target for SECONDS_EACH seconds (60), starting from its corpus and policies/.
set -eu
cd "$(dirname "$0")/.."
command -v cargo-fuzz >/dev/null 2>&1 || {
    echo "fuzz: install cargo-fuzz (cargo install --locked cargo-fuzz) and try again" >&2
    exit 2
}
for target in frame_decode model_parse policy_parse expr_compile http_json bundle_decode; do
    found="$(mktemp -d)"
    cargo fuzz run --sanitizer none "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="${SECONDS_EACH:-60}" -timeout=10
    rm -r "$found"
done
