# What people type. Everything a target needs is set up on the way, and skipped
# when it is there: see scripts/setup.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help demo test soak flat oracle fuzz bench bench-replay lint setup guests

help: ## show this list
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup guests ## run a handler on a throwaway MongoDB and watch it for five seconds
	@$(CARGO) build -p oplet -p oplet-testkit --bin oplet --bin demo
	@$(TARGET_DIR)/debug/demo

test: setup guests ## run every test
	$(CARGO) test --workspace

soak: setup guests ## kill everything again and again, for hours; ROUNDS=50 for less
	OPLET_SOAK_ROUNDS=$(or $(ROUNDS),500) $(CARGO) test -p oplet --test behaviour -- --nocapture --test-threads 1 soak::

flat: setup guests ## ten million ops through an AssemblyScript handler, whose memory must not grow; OPS=100000 for less
	OPLET_ASSEMBLYSCRIPT_OPS=$(or $(OPS),10000000) $(CARGO) test -p oplet --test behaviour -- --nocapture assemblyscript::memory::memory_stays_flat

oracle: setup guests ## compare 100,000 random writes as the oplog and as the server's change stream tell them; WRITES=20000 for less
	OPLET_WRITES=$(or $(WRITES),100000) $(CARGO) test -p oplet --test behaviour -- --nocapture parity::random::

fuzz: setup ## feed rubbish to what reads a guest's memory; FUZZ_SECONDS=600 for each target
	@scripts/fuzz

bench: setup guests ## measure against the driver's bare cursor loop; DOCS=50000 for a quick look
	$(CARGO) bench -p oplet $(if $(DOCS),-- --docs $(DOCS))

bench-replay: setup guests ## measure `oplet replay` of a million ops; OPS=100000 for a quick look
	$(CARGO) bench -p oplet -- --replay-only $(if $(OPS),--replay-ops $(OPS))

lint: ## check the format and run clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

setup: ## get a mongod and the wasm target, if missing
	@scripts/setup

guests: setup
	@scripts/build-guests
