# The two commands of the README are `make run` and `make test`; CONTRIBUTING.md tells of the others.

.PHONY: run test check windows windows-release dist bench schema

NUMBER ?= +1 4255551212
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Builds the library, and places a demonstration call through it, loaded as a host loads it.
run:
	cargo build --release --package phonegate-library
	PHONEGATE_CONFIG=examples/demo.json cargo run --quiet --example place_call -- $(TARGET)/release/libphonegate.so "$(NUMBER)"

# Installs what is missing, and runs everything.
test:
	scripts/install-test-tools
	$(MAKE) check
	cargo build --workspace --lib --bins --examples
	$(MAKE) windows
	cargo nextest run --workspace

# What needs no running: format, lints, documentation.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Builds the library and the tool for Windows, on Linux, and both with faults to inject for the tests.
windows: windows-release
	scripts/cargo-windows build --profile windows-dev --locked --package phonegate-library --package phonegate-cli

windows-release:
	scripts/cargo-windows build --release --locked --package phonegate-library --package phonegate-cli
	# Built already: its sources are written down last, since cargo has one list for phonegate.dll and phonegate.exe.
	scripts/cargo-windows build --release --locked --quiet --package phonegate-cli

# Packs the bundles for Windows and for Linux into dist/, and checks them.
dist:
	scripts/install-dist-tools
	$(MAKE) windows-release
	CARGO_ENCODED_RUSTFLAGS="$$(scripts/remapped)" cargo build --release --locked --target x86_64-unknown-linux-gnu \
	    --package phonegate-library --package phonegate-cli
	rm -rf dist
	scripts/dist windows linux
	scripts/check-dist --again dist/*.zip dist/*.tar.gz

# Measures the C ABI, and calls over a SIP trunk (needs sipp), and prints a table of each.
bench:
	cargo build --release --package phonegate-library
	cargo bench --bench abi
	cargo bench --bench store
	cargo bench --bench sip

# Writes the schema that editors use, after a change of the configuration's types.
schema:
	cargo run --quiet --package phonegate-cli -- schema > phonegate.schema.json
