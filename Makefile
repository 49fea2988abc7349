# The four commands. What is longer than a line lives in xtask/, where it is Rust.

.PHONY: run test bench check

# A server on the standard ports with a looping clip on it, and the addresses to open.
run:
	cargo run --release --package millstream -- demo

# Installs what the tests need (as root on Debian; elsewhere it says what to install), then runs them all.
test:
	cargo xtask setup
	cargo test --workspace

# Processor time per gigabit beside a bare write() program, delay, storms. `cargo xtask bench --help`.
bench:
	cargo xtask bench

# What every change must pass: format, clippy, documentation, tests.
check:
	cargo xtask check
