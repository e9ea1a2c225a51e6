# Lango: what there is to do with it. Each of these installs first what it needs and is missing (tools/setup.sh).

TARGETS ?= armv7-unknown-linux-musleabihf aarch64-unknown-linux-musl x86_64-unknown-linux-musl
target_folder := $(abspath $(or $(CARGO_TARGET_DIR),target))
programs := $(target_folder)/lab
# What examines the portal's pages: root may have another home than who runs this.
axe = $(shell . tools/paths.sh && echo "$$LANGO_AXE")
# OpenWrt's own uci, for the tests of the router's scripts.
uci = $(shell . tools/paths.sh && echo "$$LANGO_UCI")
# As the routers' programs, for this machine's processor.
own_target = $(shell uname -m)-unknown-linux-musl

keys = $(if $(KEYS),--keys '$(KEYS)')
# The same version packed anew: routers take it for newer.
release = $(if $(RELEASE),--release '$(RELEASE)')
# When the sources were changed: the same ones make the same packages.
changed = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct))

# The lab runs the programs as they are shipped, at a speed that says something: profile "lab" of Cargo.toml.
build_programs = cargo build --profile lab -p lango -p lango-relay
# Only the tests run as root, so that nothing that is built belongs to root.
cargo_test = cargo --config "target.'cfg(unix)'.runner = ['$(CURDIR)/tools/as-root.sh']" test

.DEFAULT_GOAL := help
.PHONY: help demo gallery emulate test chaos test-kernel test-firmware bench fuzz lint router sizes reproduce packages image clean setup

help: ## what there is
	@echo 'Lango, the software inside a prepaid Wi-Fi router.'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

demo: ## one customer's way through the real parts; AUTO=1: ends by itself, 0 only if all of it was seen
	@tools/setup.sh build lab
	@echo 'Building (the first time takes some minutes)'
	@$(build_programs) -p lango-lab
	@LANGO_BIN_DIR=$(programs) $(programs)/lango-demo $(if $(filter-out 0,$(AUTO)),--auto)

gallery: ## a picture of every page of the portal, in each language, light and dark, into out/gallery; ONLY=own: of an operator's own one
	@tools/setup.sh build lab browser
	@$(build_programs) -p lango-portal-tests
	@LANGO_BIN_DIR=$(programs) tools/as-root.sh $(programs)/lango-gallery out/gallery $(ONLY)

# For these processors: the image that tools/firmware.sh makes of the program in out/router.
rust_target = $(if $(filter armv7,$(1)),armv7-unknown-linux-musleabihf,$(1)-unknown-linux-musl)
firmware_image = tools/setup.sh build cross kernel firmware && \
	cargo build --quiet --profile lab -p lango-images && \
	$(if $(filter-out 0,$(BUILT)),true,tools/router.sh $(foreach arch,$(1),$(call rust_target,$(arch)))) && \
	for arch in $(1); do tools/firmware.sh $$arch >/dev/null || exit 1; done

emulate: ## a router without a router: boots an emulated one with the package, its portal at http://127.0.0.1:8080; ARCH=armv7: a 32-bit one; PORT=…
	@$(call firmware_image,$(or $(ARCH),aarch64))
	@PORT='$(PORT)' tools/emulate.sh $(target_folder)/firmware/$(or $(ARCH),aarch64)

test: ## all tests: units, the rules, the whole path in the lab, and the portal in a real browser
	@tools/setup.sh build lab browser packages
	LANGO_UCI=$(uci) $(cargo_test) --workspace --exclude lango-lab --exclude lango-portal-tests
	$(build_programs)
	LANGO_BIN_DIR=$(programs) $(cargo_test) -p lango-lab
	LANGO_BIN_DIR=$(programs) LANGO_AXE=$(axe) $(cargo_test) -p lango-portal-tests

chaos: ## hundreds of payments while everything is killed, cut off and slowed, then the books; QUICK=1: a short one; SEED=… PAYMENTS=…; PAGE=1: writes its figures to docs/chaos.md
	@tools/setup.sh build lab
	@$(build_programs) -p lango-chaos
	@LANGO_BIN_DIR=$(programs) tools/as-root.sh $(programs)/lango-chaos $(if $(filter-out 0,$(PAGE)),--page docs/chaos.md)

bench: ## grants, forwarding, take-over and memory of the routers' program beside plain NAT, the portal beside a bare server, written to docs/bench.md; QUICK=1: a short look at this machine's build, nothing is written
ifneq ($(filter-out 0,$(QUICK)),)
	@tools/setup.sh build lab
	@cargo build --profile lab -p lango -p lango-relay -p lango-bench
	@LANGO_BIN_DIR=$(programs) tools/as-root.sh $(programs)/lango-bench --quick
else
	@tools/setup.sh build lab cross
	@tools/router.sh $(own_target)
	@cargo build --profile lab -p lango-relay -p lango-bench
	@LANGO_BIN_DIR=out/router/$(own_target):$(programs) tools/as-root.sh $(programs)/lango-bench --page docs/bench.md --readme README.md
endif

test-kernel: ## the gate's tests on an emulated ARM router with Linux 6.1; ARCH=armv7: a 32-bit one; QUICK=1: some of them
	@tools/setup.sh build cross kernel
	@tools/test-kernel.sh

# The short run takes the processor that is further from this machine's.
emulated = $(or $(ARCH),$(if $(filter-out 0,$(QUICK)),armv7,aarch64 armv7))
test-firmware: ## the package on emulated ARM routers that boot, sell and lose their power; ARCH=armv7: one of them; QUICK=1: one, in some minutes; BUILT=1: of the programs that lie in out/router; PAGE=1: writes its figures to docs/firmware.md
	@tools/setup.sh lab
	@$(call firmware_image,$(emulated))
	@cargo build --profile lab -p lango-relay -p lango-firmware
	@LANGO_BIN_DIR=$(programs) tools/as-root.sh $(programs)/lango-firmware $(if $(filter-out 0,$(QUICK)),--quick) $(if $(filter-out 0,$(PAGE)),--page docs/firmware.md) \
		$(addprefix $(target_folder)/firmware/,$(emulated))

fuzz: ## every parser of bytes from outside, SECONDS_EACH=60 each; ONLY='…' for some of them
	@tools/setup.sh build fuzz
	@tools/fuzz.sh $(ONLY)

lint: ## formatting, clippy, and what comes in from outside (licences, bans, sources)
	@tools/setup.sh build lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@tools/deny.sh
	@tools/links.sh
	shellcheck tools/*.sh .ci/run
	tools/setup.sh check
	shellcheck images/emulated/*.sh
	shellcheck -x images/scripts/* images/files/lib/*/*.sh images/files/etc/init.d/* images/files/etc/uci-defaults/* images/files/etc/hotplug.d/*/*

router: ## static programs for the routers' processors, and their sizes, held to their budgets; TARGETS='…' for others
	@tools/setup.sh build cross
	@tools/router.sh $(TARGETS)

sizes: ## sizes of the routers' programs that are built, and what they were when last recorded; RECORD=1: records them
	@tools/sizes.sh $(if $(filter-out 0,$(RECORD)),--record)

# A target takes two builds from nothing, and the library's: too long for .ci/run.
reproduce: ## builds the routers' programs twice, the second time elsewhere, and compares them byte by byte; TARGETS='…' for some of them
	@tools/setup.sh build cross
	@tools/reproduce.sh $(TARGETS)

packages: ## OpenWrt packages and signed feeds for every board, into out/packages, and read back; BUILT=1: of the programs that lie in out/router, for their boards alone; KEYS=folder: signed with other keys than those in out/keys; RELEASE=2: of the same version, packed anew
	@tools/setup.sh build packages
	@cargo build --quiet --profile lab -p lango-images
ifeq ($(filter-out 0,$(BUILT)),)
	@tools/setup.sh cross
	@tools/router.sh $$($(programs)/lango-images targets)
endif
	@SOURCE_DATE_EPOCH=$(changed) $(programs)/lango-images packages $(if $(filter-out 0,$(BUILT)),--built) $(keys) $(release)
	@tools/read-packages.sh

image: ## an image by OpenWrt's ImageBuilder: BOARD=hap-ac2 IMAGEBUILDER=folder, and ARGUMENTS='--router FILE --ca FILE --release-key FILE --ssh-keys FILE --manage-from ADDRESS …' (docs/openwrt.md)
	@test -n '$(BOARD)' -a -n '$(IMAGEBUILDER)' || { echo "make image wants BOARD=… (board/README.md) and IMAGEBUILDER=folder" >&2; exit 64; }
	@tools/setup.sh build
	@cargo build --quiet --profile lab -p lango-images
	@SOURCE_DATE_EPOCH=$(changed) $(programs)/lango-images image '$(BOARD)' '$(IMAGEBUILDER)' $(keys) $(release) $(ARGUMENTS)

setup: ## only installs what is missing, for all of these
	@tools/setup.sh build lab browser lint cross kernel firmware fuzz packages

clean: ## removes what was built here; what is kept outside the repository stays (tools/paths.sh), and so do feeds' keys in out/keys
	cargo clean
	@# Routers trust no other keys than those: without them no package of ours gets onto them any more.
	[ ! -d out ] || find out -mindepth 1 -maxdepth 1 ! -name keys -exec rm -rf {} +
