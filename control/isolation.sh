#!/bin/sh
# Proof of isolation: the tests at full size, then each planted bug, which they must find.
set -eu
cd "$(dirname "$0")/.."
run() { cargo test --release --quiet --package tollgate-control --features planted --test control isolation::; }
echo "isolation: ${ISOLATION_REQUESTS:=1000000} requests of ${ISOLATION_TENANTS:=200} tenants"
# Most find a connection of their own; a quarter closes one of somebody else's.
export ISOLATION_BACKENDS=$((ISOLATION_TENANTS * 13 / 10))
export ISOLATION_REQUESTS ISOLATION_TENANTS
run
# A handler that panics in the middle of a change leaves nothing to anybody.
ISOLATION_REQUESTS=5000 ISOLATION_TENANTS=20 ISOLATION_BACKENDS=12
TOLLGATE_PLANTED=panic run
echo "isolation: it holds while handlers panic"
# A bug is found among few requests, or the tests are blind.
ISOLATION_REQUESTS=2000 ISOLATION_TENANTS=5
for bug in pool-key placement-cache cursor pooled-roles; do
    if TOLLGATE_PLANTED=$bug run >/dev/null 2>&1; then
        echo "isolation: the planted bug \`$bug\` was not found" >&2
        exit 1
    fi
    echo "isolation: the planted bug \`$bug\` was found"
done
