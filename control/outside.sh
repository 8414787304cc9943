#!/bin/sh
# From outside: `tollgate up`, the CLI, curl and psql. Every route of permissions.txt is called by nobody, another tenant's
# administrator, and each role; allowed, refused and not-to-be-seen must be as the table says.
#   control/outside.sh [PORT]
set -eu
cd "$(dirname "$0")/.."
programs=${CARGO_TARGET_DIR:-$HOME/.cache/tollgate/target}/debug
port=${1:-18082}
api=http://127.0.0.1:$port
folder=$(mktemp -d /tmp/tg-outside.XXXXXX)
chmod 755 "$folder"
tollgate() { "$programs/tollgate" --data "$folder/data" --run "$folder/run" "$@"; }
trap 'tollgate down >/dev/null 2>&1; rm -rf "$folder"' EXIT
tollgate up --port "$port" --json >"$folder/up.json" 2>/dev/null

member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
key() { tollgate key create outside --role "$2" ${1:+--tenant "$1"} --json | member secret; }
for tenant in acme beta; do
    operation=$(tollgate tenant create "$tenant" --display-name T --json | grep -o 'op_[0-9A-Z]*' | head -1)
    tollgate operation wait "$operation" --json >/dev/null
done
platform_admin=$(cat "$folder/data/keys/admin.key")
platform_auditor=$(key "" auditor)
tenant_admin=$(key acme tenant-admin)
auditor=$(key acme auditor)
billing=$(key acme billing)
plain_member=$(key acme member)
other=$(key beta tenant-admin)

calls=0 wrong=0
# Status and code of a call without a body: what is permitted is refused later, for another reason.
call() {
    curl -s -o "$folder/body" -w '%{http_code}' -X "$1" -H 'If-Match: "0"' ${3:+-H "Authorization: Bearer $3"} "$api$2"
}
expect() { # name, method, path, credential, may|may-not|unseen|nobody
    status=$(call "$2" "$3" "$4")
    code=$(member code <"$folder/body")
    case $5:$status:$code in
        nobody:401:unauthenticated | unseen:404:tenant-not-found | may-not:403:forbidden) ;;
        may:2*:* | may:404:not-found | may:409:* | may:4[12]?:*) ;;
        *) wrong=$((wrong + 1)); echo "$1: $2 $3: expected $5, got $status $code" >&2 ;;
    esac
    calls=$((calls + 1))
}
while read -r method path permission roles; do
    # A call that would do something for good is only asked for as a dry run.
    real=$(echo "$path" | sed 's/{tenant_id}/acme/; s/{[a-z_]*}/nothing/g')
    [ "$method" = GET ] || real="$real?dry_run=true"
    may() { case ", $roles," in *", $1,"*) echo may ;; *) echo may-not ;; esac; }
    expect nobody "$method" "$real" "" nobody
    case $path in
        */tenants/*) expect "other tenant" "$method" "$real" "$other" unseen ;;
        *) expect "other tenant" "$method" "$real" "$other" "$(may tenant-admin)" ;;
    esac
    expect member "$method" "$real" "$plain_member" "$(may member)"
    expect billing "$method" "$real" "$billing" "$(may billing)"
    expect auditor "$method" "$real" "$auditor" "$(may auditor)"
    expect tenant-admin "$method" "$real" "$tenant_admin" "$(may tenant-admin)"
    expect "platform auditor" "$method" "$real" "$platform_auditor" "$(may 'platform auditor')"
    expect platform-admin "$method" "$real" "$platform_admin" "$(may platform-admin)"
done <control/permissions.txt
for path in /healthz /readyz; do
    [ "$(call GET $path "")" = 200 ] || wrong=$((wrong + 1))
done
[ "$(call GET /metrics "")" = 401 ] || wrong=$((wrong + 1))
# What psql sees of the platform's database: no secret, no key, and each tenant's database by a random name.
socket=$(member socket <"$folder/up.json")
PGPASSWORD=$(cat "$folder/data/keys/postgres.password")
export PGPASSWORD
ask() { psql -XAtq -h "$socket" -U tollgate -d "$1" -c "$2"; }
is() { # what, got, expected
    [ "$2" = "$3" ] || { wrong=$((wrong + 1)); echo "$1: expected $3, got $2" >&2; }
}
platform=$(member platform_database <"$folder/up.json")
is "databases named after a tenant" "$(ask postgres "SELECT count(*) FROM pg_database WHERE datname ~ 'acme|beta|demo'")" 0
is "databases of tenants" "$(ask postgres "SELECT count(*) FROM pg_database WHERE datname ~ '^d_[a-z2-7]{16}$'")" 3
is "active tenants" "$(ask "$platform" "SELECT count(*) FROM tenants WHERE state = 'active'")" 3
is "keys kept as they are" "$(ask "$platform" "SELECT count(*) FROM platform_api_keys t WHERE t::text ~ 'tg[pk]_'")" 0
unaudited=$(ask "$platform" "UPDATE tenants SET display_name = 'x' WHERE id = 'acme'" 2>&1 || true)
case $unaudited in *audit*) ;; *) is "an unaudited change" "$unaudited" refused ;; esac
echo "$calls calls, $wrong wrong"
[ "$wrong" = 0 ]
