# The two commands of the README are `make run` and `make test`; CONTRIBUTING.md describes the others.

.PHONY: run quick test test-all test-windows test-bundle test-browser test-prometheus test-long test-fuzz fuzz check build \
    windows windows-release dist bench schema

NUMBER ?= +1 4255551212
MINUTES ?= 10
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# Names of test files say which part they belong to; .config/nextest.toml leaves these parts out of `make test`.
PART := cargo nextest run --workspace --ignore-default-filter --no-tests fail --filterset

# Builds the library, and places a call through it, loaded as a host loads it, to a telephone in the browser. If nobody
# picks up within 20 s, the telephone approves by itself.
run:
	cargo build --profile demo --package phonegate-library --package place-call --package phonegate-demo
	$(TARGET_DIR)/demo/demo $(TARGET_DIR)/demo/place_call $(TARGET_DIR)/demo/libphonegate.so "$(NUMBER)"

# The tests, and what they load and run. One call of cargo, so that it resolves one set of features: with two it compiles
# tokio and all above it twice.
build:
	cargo build --workspace --lib --bins --tests

# The tests that neither wait nor load the machine: for every change while working.
quick: build
	cargo nextest run --workspace --profile quick

# Installs what is missing, and runs every test of what a Linux machine can show.
test:
	scripts/install-tools test
	$(MAKE) build
	cargo nextest run --workspace

# Everything. Each part can be run alone.
test-all: test check test-fuzz test-prometheus test-browser test-long test-windows test-bundle

# The library, the tool and the shim under Wine, and in Microsoft's .NET for Windows.
test-windows:
	scripts/install-tools windows
	$(MAKE) build windows
	$(PART) 'binary(/^windows|^wine_/)'

# The bundles for Windows and Linux.
test-bundle:
	scripts/install-tools windows
	$(MAKE) build dist
	$(PART) 'binary(dist)'

# The report, in Chromium.
test-browser:
	scripts/install-tools browser
	$(MAKE) build
	$(PART) 'binary(/_browser$$/)'

# The metrics, by promtool and node_exporter.
test-prometheus:
	scripts/install-tools prometheus
	$(MAKE) build
	$(PART) 'binary(/_prometheus$$/)'

# Floods and long runs.
test-long:
	scripts/install-tools test
	$(MAKE) build
	PHONEGATE_KILLS=500 $(PART) 'test(/_long$$/) | binary(sqlite_store) & test(/^kills::/)'

# Each fuzz target for 10 s, from its corpus. It finds what a change breaks. Rare faults need `make fuzz`.
test-fuzz:
	scripts/install-tools fuzz
	scripts/fuzz run 10

# All fuzz targets, or one, for a longer time: make fuzz MINUTES=60 TARGET=datagram
fuzz:
	scripts/install-tools fuzz
	scripts/fuzz run $$(($(MINUTES) * 60)) $(TARGET)

# What needs no running: format, lints, documentation, dependencies.
check:
	scripts/install-tools check
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	cargo deny --workspace check bans licenses sources
	# The fuzz targets are a separate workspace.
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --manifest-path fuzz/Cargo.toml --target-dir $(TARGET_DIR)/fuzz --locked --all-targets -- -D warnings
	cargo deny --manifest-path fuzz/Cargo.toml --config fuzz/deny.toml check bans licenses sources
	scripts/check-advisories

# Builds the library and the tool for Windows, on Linux, and both with faults to inject for the tests.
windows: windows-release
	scripts/cargo-windows build --profile windows-dev --locked --package phonegate-library --package phonegate-cli

windows-release:
	scripts/cargo-windows build --release --locked --package phonegate-library --package phonegate-cli --lib
	# The tool contains the hash of the library, so it is built last. This build also writes the list of sources, which
	# phonegate.dll and phonegate.exe share.
	PHONEGATE_SHIPPED_LIBRARY="$(abspath $(TARGET_DIR))/x86_64-pc-windows-gnu/release/phonegate.dll" \
	    scripts/cargo-windows build --release --locked --package phonegate-cli

# Packs the bundles for Windows and for Linux into dist/, and checks them.
dist:
	scripts/install-tools bundle
	$(MAKE) windows-release
	CARGO_ENCODED_RUSTFLAGS="$$(scripts/remapped)" cargo build --release --locked --target x86_64-unknown-linux-gnu \
	    --package phonegate-library --package phonegate-cli
	rm -rf dist
	scripts/dist windows linux
	scripts/check-dist --again dist/*.zip dist/*.tar.gz

# Measures polls in C# and through the C ABI, the stores, calls over a SIP trunk, the memory of calls by Twilio, and the
# reading of SIP messages, and prints a table of each.
bench:
	scripts/install-tools test
	cargo build --release --package phonegate-library
	cargo bench --bench abi
	cargo bench --bench store
	cargo bench --bench sip
	cargo bench --bench twilio
	cargo bench --package phonegate-sip --bench agent --bench messages

# Writes the schema that editors use, after a change of the configuration's types.
schema:
	cargo run --quiet --package phonegate-cli -- schema > phonegate.schema.json
