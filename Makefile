# Holm. `make help` says what can be made. Everything is incremental: cargo and the caches decide what is old.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help deps build image demo test lint cross-check unit mobys-profile fuzz-briefly integration test-full folders crashes bench fuzz clean
# One thing at a time: cargo uses all processors by itself, and output stays readable.
.NOTPARALLEL:

# How long each fuzz target runs in `make fuzz`, in seconds.
FUZZ_SECONDS ?= 600

# holmd is one static file, so it can be all there is in the machine. The target is named although it is the
# builder's own, as only then build scripts and macros are not made static too; its folder is its own since the
# flags differ from those of all other programs. It stands at a fixed address: otherwise each of its processes, a
# shim a container among them, would relocate 700 KB of its own for itself.
guest_target := x86_64-unknown-linux-gnu
build_guest := CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" \
	LIBSECCOMP_LINK_TYPE=static LIBSECCOMP_LIB_PATH="$$(dirname "$$(gcc -print-file-name=libseccomp.a)")" \
	cargo build --locked --profile guest --target $(guest_target) --target-dir target/guest

help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

deps: ## install the Debian packages that building and running need
	@.ci/deps build machine registry

build: ## programs: target/release/holm and target/release/holmd
	@.ci/deps build
	cargo build --locked --release -p holm -p holm-vm-image -p holm-tests --bin holm --bin holm-vm-image --bin holm-registry
	$(build_guest) -p holmd -p holm-tests --bin holmd --bin hello --bin echo --bin holm-probe
	install -C target/guest/$(guest_target)/guest/{holmd,hello,echo,holm-probe} target/release/

image: build ## guest image: target/vm-image/
	target/release/holm-vm-image build target/release/holmd target/vm-image

demo: image ## run hello-world in a real machine, from a registry on this computer
	@.ci/deps machine registry
	tests/demo

test: lint cross-check unit mobys-profile fuzz-briefly image integration ## everything that decides about a change

lint: ## formatting, clippy, licences, known vulnerabilities
	@.ci/deps build
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	.ci/deny

cross-check: ## type-check the host's crates for Windows and macOS
	@.ci/deps cross
	.ci/cross-check

unit: ## tests beside the code
	@.ci/deps build test
	cargo test --locked --workspace --exclude holm-tests

mobys-profile: ## our default seccomp profile against moby's
	@.ci/deps build moby
	.ci/mobys-profile

fuzz-briefly: ## ten seconds a fuzz target
	BOLERO_RANDOM_TEST_TIME_MS=10000 cargo test --locked --workspace --exclude holm-tests fuzz::

integration: image ## what a user does, through the built programs and real clients
	@.ci/deps machine registry test
	cargo test --locked -p holm-tests

test-full: test fuzz folders crashes bench ## also what is slow: long fuzzing, benchmarks, real servers, a second build of the kernel
	cargo test --locked -p holm-tests --test compose -- --ignored
	target/release/holm-vm-image verify

folders: ## POSIX test suite and long coherence test of shared folders
	@.ci/deps build test
	cargo install --quiet --locked --root target/tools --target-dir target/tools/build pjdfstest@0.2.2
	cargo run --locked -p holm-tests --bin holm-pjdfstest -- target/tools/bin/pjdfstest
	HOLM_COHERENCE_STEPS=20000 cargo test --locked -p holm-tests --test folders

crashes: ## the image store, killed 200 times
	HOLM_CRASHES=200 cargo test --locked -p holm-tests --test crash

bench: image ## how fast it is, as ratios to what everybody knows
	@.ci/deps machine registry bench
	.ci/bench-vsock
	cargo run --locked --release -p holm-tests --bin holm-bench

fuzz: ## FUZZ_SECONDS (600) a fuzz target
	BOLERO_RANDOM_TEST_TIME_MS=$(FUZZ_SECONDS)000 cargo test --locked --workspace --exclude holm-tests fuzz::

clean: ## remove what was built here; caches stay
	cargo clean
