# The two commands of the README are `make run` and `make test`.

.PHONY: run test

NUMBER ?= +1 4255551212

# Builds the library, and places a demonstration call through it, loaded as a host loads it.
run:
	cargo build --release --lib
	PHONEGATE_CONFIG=examples/demo.json cargo run --quiet --example place_call -- target/release/libphonegate.so "$(NUMBER)"

# Runs everything.
test:
	cargo build
	cargo nextest run --workspace
