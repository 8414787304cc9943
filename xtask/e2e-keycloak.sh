#!/bin/sh
# Fetches Keycloak by Maven, once, and runs the tests that sign in at it. Needs Java 17 or later and Maven.
set -u
cd "$(dirname "$0")/.." || exit 2
version=26.7.3
for tool in java mvn unzip; do
    command -v $tool >/dev/null 2>&1 || {
        echo "e2e-keycloak: install $tool (OpenJDK 17 or later, Maven, unzip)" >&2
        exit 2
    }
done
tools="${XDG_CACHE_HOME:-$HOME/.cache}/tollgate/tools"
export TOLLGATE_KEYCLOAK="$tools/keycloak-$version"
if ! [ -x "$TOLLGATE_KEYCLOAK/bin/kc.sh" ]; then
    partial="$tools/keycloak-partial"
    rm -rf "$partial" && mkdir -p "$partial" &&
        mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
            -Dartifact="org.keycloak:keycloak-quarkus-dist:$version:zip" -DoutputDirectory="$partial" >&2 &&
        unzip -q "$partial/keycloak-quarkus-dist-$version.zip" -d "$partial" &&
        mv "$partial/keycloak-$version" "$TOLLGATE_KEYCLOAK" && rm -rf "$partial" || exit 2
fi
exec "${CARGO:-cargo}" test --workspace --test control keycloak -- --ignored --nocapture
