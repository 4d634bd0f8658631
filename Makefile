# make boot    build everything and boot it in QEMU        make test    every test, boots included
# make image   only build the image                        make lint    rustfmt and clippy
# make soak    what takes longer
# make bench   how long things take                        make clean   remove what was built
# make fuzz    damaged packages, images and configurations, for minutes

CONFIG    ?= examples/cloud-config.yaml
IMAGE_DIR ?= target/image
# For each target of fuzz/
FUZZ_SECONDS ?= 60

TARGET   := x86_64-unknown-linux-gnu
PROGRAMS := target/$(TARGET)/release
PACKAGES := $(shell sed -e '/^\# tests/,$$d' -e 's/\#.*//' host-packages.txt)
SUDO     := $(if $(filter-out 0,$(shell id -u)),sudo)

export IMAGE_DIR := $(abspath $(IMAGE_DIR))

.PHONY: boot test soak lint bench fuzz image programs setup clean
.DEFAULT_GOAL := boot

boot: image
	@$(PROGRAMS)/machine boot --image $(IMAGE_DIR)/coreos.qcow2 --config $(CONFIG)

test: PACKAGES := $(shell sed -e 's/\#.*//' host-packages.txt)
test: lint image
	cargo test --locked --workspace --exclude qemu-tests
	cargo test --locked -p qemu-tests

soak: PACKAGES := $(shell sed -e 's/\#.*//' host-packages.txt)
soak: image
	image/other-host.sh $(PROGRAMS)/image target/other-host
	cargo test --locked -p coreos-init --test command -- --ignored
	cargo test --locked -p qemu-tests --test scenarios -- --ignored

lint: setup
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

bench: PACKAGES := $(shell sed -e 's/\#.*//' host-packages.txt)
bench: image
	@image/bench.sh $(PROGRAMS)/image target/bench
	@cargo build --release --locked -p channels --example delta-bench -p update-agent --example apply-bench
	@channels/bench.sh $(PROGRAMS) $(IMAGE_DIR) target/bench
	@coreos-init/bench.sh $(PROGRAMS) target/bench
	@$(PROGRAMS)/machine bench --image $(IMAGE_DIR)/coreos.qcow2
	@cargo bench --locked -q -p fleet --bench cluster

fuzz: PACKAGES := $(shell sed -e 's/\#.*//' host-packages.txt)
fuzz: setup
	cargo test --release --locked -p image --test damaged -- --ignored
	fuzz/run $(FUZZ_SECONDS)
	fuzz/sources/run $(FUZZ_SECONDS)

image: programs
	@$(PROGRAMS)/image build --output $(IMAGE_DIR)

programs: setup
	@cargo build --release --locked -p image -p coreos-init -p coreos-install -p channels -p cluster -p fleet -p update-agent -p qemu-tests
	@ln -sf fleetd $(PROGRAMS)/fleetctl

# The only step that may ask for root.
setup:
	@command -v cargo >/dev/null || { echo >&2 "cargo not found: install Rust 1.90 or later (https://rustup.rs)"; exit 1; }
	@missing=$$(for package in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q '^install ok installed' || printf ' %s' $$package; \
	done); \
	if [ -n "$$missing" ]; then \
		echo "installing Debian packages:$$missing"; \
		$(SUDO) apt-get update -qq && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	fi

clean:
	rm -rf target
