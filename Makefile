# A thin front over meson and ninja; everything real is in meson.build, dev/ and tools/.
# `make help` lists the targets.

BUILD ?= build
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
FUZZ_SECONDS ?= 60
FUZZ_LONG_SECONDS ?= 3600
SANITIZE = -Db_lundef=false -Db_sanitize=

.DEFAULT_GOAL := all
.PHONY: all help setup run test lint fmt asan tsan fuzz fuzz-long fault coverage bench soak deb clean

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j$(JOBS)
	@if [ -x $(BUILD)/src/app/headwater ]; then ln -sf src/app/headwater $(BUILD)/headwater; \
	elif [ ! -x $(BUILD)/headwater ]; then echo "make: note: no program headwater is defined yet (src/app)"; fi

$(BUILD)/build.ninja:
	@command -v meson >/dev/null || { echo "make: meson is missing; ./dev/setup installs it" >&2; exit 2; }
	meson setup $(BUILD)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  make            build/headwater"

setup: ## install what building and testing need (dev/setup)
	@dev/setup

run: ## build, index the sample repository, serve on http://127.0.0.1:8001
	@dev/run

test: ## everything that must pass before a merge (dev/test)
	@dev/test

lint: ## our lints, then clang-tidy on src
	@/usr/bin/python3 tests/lint/run.py
	@/usr/bin/python3 tools/tidy.py

fmt: ## clang-format 14 on all C files
	@clang-format --version | grep -q 'version 14\.' || \
	  { echo "make fmt: clang-format 14 is needed: other versions lay code out differently" >&2; exit 2; }
	@git ls-files -co --exclude-standard 'src/*.[ch]' 'tests/*.[ch]' 'bench/*.[ch]' 'sdk/*.[ch]' | \
	  while read -r f; do [ -f "$$f" ] && echo "$$f"; done | xargs -r clang-format -i

asan: ## unit tests and fuzz corpora under ASan and UBSan
	@tools/sanitize.sh asan

tsan: ## unit tests of loop, stream and store under TSan
	@tools/sanitize.sh tsan

fuzz: ## each fuzz target for FUZZ_SECONDS (60) under clang's ASan and UBSan
	@tools/fuzz.sh $(FUZZ_SECONDS)

fuzz-long: ## the same for FUZZ_LONG_SECONDS (3600) each; the corpus in .cache/fuzz grows over runs
	@tools/fuzz.sh --keep $(FUZZ_LONG_SECONDS)

fault: ## fails the 1st, 2nd, 3rd … allocation, read, write and SQL step of the program in turn
	@tests/fault/cli.sh

coverage: ## line coverage of the unit tests, summary and HTML (gcovr)
	@tools/coverage.sh

bench: all ## the benchmarks, results into bench/results
	@bench/run

soak: ## hours of mixed load with restarts
	@[ -x bench/soak ] || { echo "make soak: bench/soak is missing: the load generator is not written yet" >&2; exit 2; }
	@bench/soak

deb: ## a Debian package
	@[ -d packaging/debian ] || { echo "make deb: packaging/debian is missing: no package description is written yet" >&2; exit 2; }
	@packaging/debian/build

clean: ## remove all build directories
	rm -rf build build-*
