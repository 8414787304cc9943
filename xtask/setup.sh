#!/bin/sh
# Installs what the project needs and is missing; `setup.sh lint` also what only the lints need.
# Where it may not install, it prints what to install and stops with 2.
set -u
cd "$(dirname "$0")/.." || exit 2
missing=""
made=""
command -v cc >/dev/null 2>&1 || missing="$missing build-essential"
command -v make >/dev/null 2>&1 || missing="$missing make"
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        # shellcheck disable=SC2086
        apt-get update -qq && apt-get install -y -qq $missing || exit 2
        made=yes
    else
        echo "setup: install these packages and try again:$missing" >&2
        exit 2
    fi
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: install Rust 1.95 or later (rustup, or your distribution's cargo) and try again" >&2
    exit 2
fi
need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
have=$(rustc --version | cut -d' ' -f2)
if [ "$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n1)" != "$need" ]; then
    echo "setup: Rust $need or later is needed, this is $have; update it and try again" >&2
    exit 2
fi
if [ "${1:-}" = lint ]; then
    cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 || {
        rustup component add clippy rustfmt || {
            echo "setup: install clippy and rustfmt for this toolchain" >&2
            exit 2
        }
    }
    if ! cargo deny --version >/dev/null 2>&1; then
        made=yes
        echo "setup: installing cargo-deny (some minutes, once)"
        cargo install --quiet --locked cargo-deny || {
            echo "setup: install cargo-deny" >&2
            exit 2
        }
    fi
fi
[ -n "$made" ] || echo "  setup     nothing to install" >&2
