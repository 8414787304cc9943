# make up: the main job. make test: everything. Both install what is missing first.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/tollgate/target
# Where ccache is installed, C++ is compiled once for all profiles.
export PATH := /usr/lib/ccache:$(PATH)
CASES ?= 1000000
CARGO := cargo

.PHONY: setup setup-lint setup-test up down test lint bench bench-control parity parity-go mutants fuzz torture shuttle asan isolation outside e2e-keycloak

setup:
	@./xtask/setup.sh

setup-test:
	@./xtask/setup.sh test

setup-lint:
	@./xtask/setup.sh lint

up: setup
	@$(CARGO) build --quiet --package tollgate-cli --package tollgate-sidecar --package tollgate-control
	@$(CARGO_TARGET_DIR)/debug/tollgate up

down:
	@$(CARGO_TARGET_DIR)/debug/tollgate down

test: setup-test
	$(CARGO) build --workspace
	$(CARGO) test --workspace

lint: setup-lint
	$(CARGO) fmt --all --check
	$(CARGO) xtask tidy
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	$(CARGO) fetch --quiet --locked
	$(CARGO) deny --offline check bans licenses sources

bench: setup
	$(CARGO) build --release --package tollgate-sidecar
	cd benches && MIMALLOC_PURGE_DELAY=-1 $(CARGO) run --release --bin bench

parity: setup
	CASES=$(CASES) $(CARGO) test --release --package tollgate-oracle parity:: -- --nocapture

# The dialect casbin-go against Casbin for Go itself. Needs Go 1.21 or later; where it is not, nothing is proved.
parity-go: export PATH := $(PATH):/usr/local/go/bin
parity-go: setup
	@command -v go >/dev/null || { echo "parity-go: there is no Go toolchain: go.dev/dl" >&2; exit 1; }
	cd oracle/go && go vet . && go build -o $(CARGO_TARGET_DIR)/casbin-go .
	CASES=$(CASES) CASBIN_GO=$(CARGO_TARGET_DIR)/casbin-go \
		$(CARGO) test --release --package tollgate-oracle parity_go:: -- --ignored --nocapture

# Bugs planted into a copy, one by one: the tests must find each. Some fifteen minutes.
mutants: setup
	$(CARGO) xtask mutants

# Processes that are killed under load, at full size: some four minutes.
torture: setup
	$(CARGO) build --workspace
	TORTURE=25 $(CARGO) test --workspace --test sidecar crash:: -- --nocapture
	TORTURE=30 $(CARGO) test --workspace --test kills -- --nocapture

# Counters and reservations under schedules that are chosen one by one.
shuttle: setup
	RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/shuttle \
		$(CARGO) test --release --package tollgate-engine --test shuttle

# The mapping and its users under AddressSanitizer, with leaks.
asan: setup
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/asan \
		$(CARGO) test --package tollgate-cells --tests --target $$(rustc -vV | sed -n 's/^host: //p')

# A million requests of 200 tenants, then each planted bug: some ten minutes.
isolation: setup-test
	./control/isolation.sh

# Tenants ready, reads and writes beside bare SQL, 200 tenants on 40 connections.
bench-control: setup-test
	$(CARGO) test --release --package tollgate-control --test control figures -- --ignored --nocapture

# People of a real Keycloak sign in and out: needs Java and Maven, fetches Keycloak once.
e2e-keycloak: setup-test
	./xtask/e2e-keycloak.sh

# Every route as each role, by `tollgate up`, curl and psql alone.
outside: setup-test
	$(CARGO) build --workspace
	./control/outside.sh

fuzz: setup
	./fuzz/run.sh
