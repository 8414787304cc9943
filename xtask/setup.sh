#!/bin/sh
# Installs what the project needs and is missing; `setup.sh lint` and `setup.sh test` also what only
# lints and tests need.
# Where it may not install, it prints what to install and stops with 2.
set -u
cd "$(dirname "$0")/.." || exit 2
missing=""
made=""
{ command -v cc && command -v c++; } >/dev/null 2>&1 || missing="$missing build-essential"
command -v make >/dev/null 2>&1 || missing="$missing make"
# RocksDB's bindings are made with libclang; ccache spares whoever builds it in two profiles.
clang_is_there() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    for found in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib*/libclang*.so* /usr/lib/*/libclang*.so*; do
        case $found in *libclang-cpp*) continue ;; esac # another library
        [ -e "$found" ] && return 0
    done
    return 1
}
clang_is_there || missing="$missing libclang-dev"
# Postgres by its binaries: they need not be on the PATH.
{ command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1 || missing="$missing postgresql"
command -v psql >/dev/null 2>&1 || missing="$missing postgresql-client"
if [ "${1:-}" = test ]; then
    python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
    command -v node >/dev/null 2>&1 || missing="$missing nodejs"
    command -v npm >/dev/null 2>&1 || missing="$missing npm"
fi
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        command -v ccache >/dev/null 2>&1 || missing="$missing ccache"
        # shellcheck disable=SC2086
        apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >&2 || exit 2
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
if [ "${1:-}" = test ]; then
    # Tests make keys with openssl, mounts with unshare, requests with curl.
    for tool in openssl unshare curl; do
        command -v $tool >/dev/null 2>&1 || {
            echo "setup: install $tool; tests use it" >&2
            exit 2
        }
    done
    # Single programs, without the servers that their packages would start.
    tools="${XDG_CACHE_HOME:-$HOME/.cache}/tollgate/tools"
    for wanted in promtool:prometheus:usr/bin pgbouncer:pgbouncer:usr/sbin; do
        program="${wanted%%:*}" folder="${wanted##*:}" package="${wanted#*:}" package="${package%%:*}"
        if ! command -v "$program" >/dev/null 2>&1 && ! [ -x "$tools/$program" ]; then
            made=yes
            mkdir -p "$tools/partial" && (
                cd "$tools/partial" && { [ "$(id -u)" != 0 ] || apt-get update -qq; } &&
                    apt-get download -qq "$package" 2>/dev/null &&
                    dpkg -x "${package}"_*.deb . && mv "$folder/$program" ..
            ) || {
                echo "setup: put $program (of $package) on the PATH; tests run it" >&2
                exit 2
            }
            rm -rf "$tools/partial"
        fi
    done
    # What PgBouncer is linked with.
    libraries=""
    ldconfig -p 2>/dev/null | grep -q 'libcares\.so\.2' || libraries="libc-ares2"
    ldconfig -p 2>/dev/null | grep -q 'libevent-2\.1\.so\.7' || libraries="$libraries libevent-2.1-7"
    if [ -n "$libraries" ]; then
        made=yes
        # shellcheck disable=SC2086
        [ "$(id -u)" = 0 ] && apt-get install -y -qq --no-install-recommends $libraries >&2 || {
            echo "setup: install these packages and try again: $libraries" >&2
            exit 2
        }
    fi
    # Programs in Python in environments of their own, made anew when their versions change.
    for wanted in sdks:sidecar/tests/sidecar/sdks.txt schemathesis:control/tests/control/schemathesis.txt; do
        home="$tools/${wanted%%:*}" list="${wanted#*:}"
        if ! cmp -s "$list" "$home/installed.txt"; then
            made=yes
            rm -rf "$home"
            { python3 -m venv "$home" && "$home/bin/pip" install --quiet --requirement "$list" &&
                cp "$list" "$home/installed.txt"; } >&2 || {
                echo "setup: install python3 with venv and pip; tests drive the SDKs of OpenAI and Anthropic, and schemathesis with it" >&2
                exit 2
            }
        fi
    done
    # The identity provider that people sign in at, likewise.
    oidc="control/tests/control/oidc/package.json"
    if ! cmp -s "$oidc" "$tools/oidc/installed.json"; then
        made=yes
        rm -rf "$tools/oidc"
        { mkdir -p "$tools/oidc" && cp "$oidc" "$tools/oidc/package.json" &&
            npm install --prefix "$tools/oidc" --silent --no-package-lock --no-audit --no-fund &&
            cp "$oidc" "$tools/oidc/installed.json"; } >&2 || {
            echo "setup: install Node.js 20 or later with npm; tests sign people in at a real identity provider" >&2
            exit 2
        }
    fi
fi
built="${CARGO_TARGET_DIR:-$HOME/.cache/tollgate/target}/debug/build"
if ! ls "$built"/librocksdb-sys-*/out/librocksdb.a >/dev/null 2>&1; then
    made=yes
    echo "  setup     the first build compiles RocksDB: 25 minutes of one core, once" >&2
fi
[ -n "$made" ] || echo "  setup     nothing to install" >&2
