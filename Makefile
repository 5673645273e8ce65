# duralog: build, test, install. `make help` explains the targets.
#
# V=1 shows the commands. SAN=address|thread|undefined builds with a sanitizer
# into a directory of its own. CC, CFLAGS, LDFLAGS, PREFIX, DESTDIR as usual.

VERSION_MAJOR := 0
VERSION := 0.1.0
SOVERSION := $(VERSION_MAJOR)

CC ?= cc
CFLAGS ?= -O2 -g
AR ?= ar
OBJCOPY ?= objcopy
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
INSTALL ?= install

V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' $(1) $(2);)

BUILD := build$(if $(SAN),/san-$(SAN))$(if $(filter clang%,$(notdir $(CC))),/clang)

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Werror
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE $(WARNINGS) -Iinclude -fPIC -pthread $(SANFLAGS) $(CFLAGS)
ALL_LDFLAGS := -pthread $(SANFLAGS) $(LDFLAGS)
LIB_CFLAGS := -fvisibility=hidden
INSTRUMENTED_CFLAGS := -DDURALOG_INSTRUMENTED -Ilib

# What is only for tests does not go into the library.
TEST_ONLY_SRC := lib/io_sim.c lib/sim_disk.c lib/io_fault.c lib/io_threads.c
LIB_SRC := $(filter-out $(TEST_ONLY_SRC),$(sort $(wildcard lib/*.c)))
LIB_OBJ := $(LIB_SRC:lib/%.c=$(BUILD)/obj/%.o)
INSTRUMENTED_OBJ := $(patsubst lib/%.c,$(BUILD)/instrumented/%.o,$(sort $(wildcard lib/*.c)))

TOOL_OBJ := $(patsubst examples/%.c,$(BUILD)/examples/%.o,$(sort examples/duralog.c $(wildcard examples/tool_*.c)))
DEMO_OBJ := $(patsubst examples/%.c,$(BUILD)/examples/%.o,$(sort examples/demo.c $(wildcard examples/demo_*.c)))
SIMPLE_EXAMPLES := $(patsubst %,$(BUILD)/examples/%,hello group_commit kv tailing event_loop consumer exactly_once)

# Unit tests link the instrumented objects and see everything; API tests link
# the shared object and see what a host sees.
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/unit/test_*.c)))
API_TESTS := $(patsubst tests/api/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/api/test_*.c)))
# Crash tests share what is not named test_*: model, operations, explorer.
CRASH_TESTS := $(patsubst tests/crash/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/crash/test_*.c)))
CRASH_OBJ := $(patsubst tests/crash/%.c,$(BUILD)/tests/obj/crash/%.o,\
               $(filter-out tests/crash/test_%,$(sort $(wildcard tests/crash/*.c))))
# The table that ends the demo. It runs on the simulated disk, and on nothing that
# only testing needs to be installed.
POWER_OBJ := $(patsubst %,$(BUILD)/tests/obj/%.o,power/power_table crash/model crash/model_group)
POWER_LINKED := $(POWER_OBJ) $(BUILD)/examples/demo_lines.o \
                $(filter-out %/io_fault.o,$(INSTRUMENTED_OBJ))
SCRIPT_TESTS := $(sort $(wildcard tests/script/test_*.sh))
SUPPORT_OBJ := $(patsubst tests/%.c,$(BUILD)/tests/obj/%.o,$(sort $(wildcard tests/support*.c)))
TEST_LIBS := -lcmocka -lfiu

BENCH_OBJ := $(patsubst bench/%.c,$(BUILD)/bench/%.o,$(sort $(wildcard bench/*.c)))

LIBS := $(BUILD)/libduralog.a $(BUILD)/libduralog.so

.PHONY: all
all: $(LIBS) $(BUILD)/duralog $(SIMPLE_EXAMPLES) ## build the library, the tool and the examples

.DELETE_ON_ERROR:
.SECONDARY:

# ---- what must be installed ----

NEED := .ci/need
$(BUILD)/.need-build: $(NEED)
	@mkdir -p $(@D) && $(NEED) cc:gcc objcopy:binutils xxhash.h:libxxhash-dev && touch $@
$(BUILD)/.need-check: $(NEED) $(BUILD)/.need-build
	@$(NEED) cmocka.h:libcmocka-dev fiu.h:libfiu-dev clang:clang && touch $@

.PHONY: deps
deps: $(NEED) ## install what building and testing need
	@$(NEED) cc:gcc objcopy:binutils xxhash.h:libxxhash-dev cmocka.h:libcmocka-dev fiu.h:libfiu-dev clang:clang

# ---- compiling; a change of flags rebuilds ----

FLAGS_NOW := $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)
$(BUILD)/.flags: .FORCE | $(BUILD)/.need-build
	@mkdir -p $(@D); echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' > $@
.PHONY: .FORCE
.FORCE:

compile = $(call say,CC,$<) mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(1) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.o: lib/%.c $(BUILD)/.flags
	$(call compile,$(LIB_CFLAGS))
$(BUILD)/instrumented/%.o: lib/%.c $(BUILD)/.flags
	$(call compile,$(INSTRUMENTED_CFLAGS))
$(BUILD)/instrumented/io_fault.o: | $(BUILD)/.need-check
$(BUILD)/examples/%.o: examples/%.c $(BUILD)/.flags
	$(call compile)
$(BUILD)/bench/%.o: bench/%.c $(BUILD)/.flags
	$(call compile)
$(BUILD)/tests/obj/unit/%.o: tests/unit/%.c $(BUILD)/.flags | $(BUILD)/.need-check
	$(call compile,$(INSTRUMENTED_CFLAGS) -Itests)
$(BUILD)/tests/obj/crash/%.o: tests/crash/%.c $(BUILD)/.flags | $(BUILD)/.need-check
	$(call compile,$(INSTRUMENTED_CFLAGS) -Itests)
$(POWER_OBJ): $(BUILD)/tests/obj/%.o: tests/%.c $(BUILD)/.flags
	$(call compile,$(INSTRUMENTED_CFLAGS) -Itests -Itests/crash -Iexamples)
$(BUILD)/tests/obj/api/%.o: tests/api/%.c $(BUILD)/.flags | $(BUILD)/.need-check
	$(call compile,-Itests)
$(BUILD)/tests/obj/%.o: tests/%.c $(BUILD)/.flags | $(BUILD)/.need-check
	$(call compile,-Itests)

# ---- the library ----

# One relocatable object whose hidden symbols are made local, so that internal
# names cannot clash with the host's.
$(BUILD)/libduralog.a: $(LIB_OBJ)
	$(call say,AR,$@) $(CC) -r -nostdlib -o $(BUILD)/obj/duralog.whole.o $(LIB_OBJ) && \
	$(OBJCOPY) --localize-hidden $(BUILD)/obj/duralog.whole.o && \
	rm -f $@ && $(AR) rcs $@ $(BUILD)/obj/duralog.whole.o

$(BUILD)/libduralog.so.$(VERSION): $(LIB_OBJ) lib/duralog.map
	$(call say,LD,$@) $(CC) -shared -Wl,-soname,libduralog.so.$(SOVERSION) \
	  -Wl,--version-script=lib/duralog.map -Wl,-z,defs -Wl,-z,nodelete -o $@ $(LIB_OBJ) $(ALL_LDFLAGS)
$(BUILD)/libduralog.so: $(BUILD)/libduralog.so.$(VERSION)
	$(Q)ln -sf libduralog.so.$(VERSION) $(BUILD)/libduralog.so.$(SOVERSION) && \
	ln -sf libduralog.so.$(SOVERSION) $@

$(BUILD)/duralog: $(TOOL_OBJ) $(BUILD)/libduralog.a
	$(call say,LD,$@) $(CC) -o $@ $^ $(ALL_LDFLAGS)
$(SIMPLE_EXAMPLES): $(BUILD)/examples/%: $(BUILD)/examples/%.o $(BUILD)/libduralog.a
	$(call say,LD,$@) $(CC) -o $@ $^ $(ALL_LDFLAGS)
$(BUILD)/examples/demo: $(DEMO_OBJ) $(BUILD)/libduralog.a
	$(call say,LD,$@) $(CC) -o $@ $^ $(ALL_LDFLAGS)

# ---- demo ----

.PHONY: demo
demo: $(BUILD)/examples/demo $(BUILD)/tests/power_table ## in each mode: append real input, kill the writer, cut the power, compare
	$(Q)$(BUILD)/examples/demo $(DEMO_DIR) -- $(wildcard lib/*.[ch] include/*.h)
	$(Q)$(BUILD)/tests/power_table

# ---- tests ----

$(BUILD)/libinstrumented.a: $(INSTRUMENTED_OBJ)
	$(call say,AR,$@) rm -f $@ && $(AR) rcs $@ $^
$(UNIT_TESTS): $(BUILD)/tests/%: $(BUILD)/tests/obj/unit/%.o $(SUPPORT_OBJ) $(BUILD)/libinstrumented.a
	$(call say,LD,$@) $(CC) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(ALL_LDFLAGS) $(TEST_LIBS)
$(BUILD)/tests/test_fault: $(patsubst %,$(BUILD)/tests/obj/unit/fault_%.o,story groups plots rules)
$(CRASH_TESTS): $(BUILD)/tests/%: $(BUILD)/tests/obj/crash/%.o $(CRASH_OBJ) $(SUPPORT_OBJ) $(BUILD)/libinstrumented.a
	$(call say,LD,$@) $(CC) -o $@ $^ $(ALL_LDFLAGS) $(TEST_LIBS)
$(BUILD)/tests/power_table: $(POWER_LINKED)
	$(call say,LD,$@) $(CC) -o $@ $^ $(ALL_LDFLAGS)
$(API_TESTS): $(BUILD)/tests/%: $(BUILD)/tests/obj/api/%.o $(SUPPORT_OBJ) $(BUILD)/libduralog.so
	$(call say,LD,$@) $(CC) -o $@ $(filter %.o,$^) -L$(BUILD) -lduralog \
	  -Wl,-rpath,'$$ORIGIN/..' $(ALL_LDFLAGS) $(TEST_LIBS)

# It kills the example.
$(BUILD)/tests/test_kv: | $(BUILD)/examples/kv

# The golden files are made by the release whose format they hold, and kept.
GOLDEN_TOOLS := $(BUILD)/tests/golden_make $(BUILD)/tests/golden_dump
$(GOLDEN_TOOLS): $(BUILD)/tests/%: $(BUILD)/tests/obj/unit/%.o $(BUILD)/libinstrumented.a
	$(call say,LD,$@) $(CC) -o $@ $^ $(ALL_LDFLAGS) -lfiu
.PHONY: golden
golden: $(GOLDEN_TOOLS) ## make the golden files of this format version again
	$(Q)tests/golden/make.sh $(BUILD)

.PHONY: tests
tests: all $(UNIT_TESTS) $(CRASH_TESTS) $(API_TESTS) $(BUILD)/tests/power_table ## build the tests

.PHONY: check
check: ## run all tests in all builds; the last line counts them
	$(Q)$(MAKE) --no-print-directory -j2 tests
	$(Q)$(MAKE) --no-print-directory -j2 tests SAN=address,undefined
	$(Q)$(MAKE) --no-print-directory -j2 tests SAN=thread
	$(Q)$(MAKE) --no-print-directory -j2 tests CC=clang
	$(Q)BUILD=$(BUILD) tests/run.sh

.PHONY: check-fast
check-fast: ## run the tests of the plain build only
	$(Q)$(MAKE) --no-print-directory -j2 tests
	$(Q)BUILD=$(BUILD) FAST=1 tests/run.sh

.PHONY: check-crash check-crash-long check-syncs check-valgrind
check-crash: ## a million crash states and more, on all cores (minutes)
	$(Q)$(MAKE) --no-print-directory -j2 $(BUILD)/tests/test_crash
	$(Q)BUILD=$(BUILD) tests/crash/check_crash.sh crash
check-crash-long: ## the same with larger budgets and crashes three deep (hours)
	$(Q)$(MAKE) --no-print-directory -j2 $(BUILD)/tests/test_crash
	$(Q)BUILD=$(BUILD) tests/crash/check_crash.sh long
check-syncs: ## skip each sync in turn: some test must notice
	$(Q)$(MAKE) --no-print-directory -j2 tests
	$(Q)BUILD=$(BUILD) tests/script/test_syncs.sh
check-valgrind: ## the tests of one process under valgrind (minutes)
	$(Q).ci/need valgrind:valgrind
	$(Q)$(MAKE) --no-print-directory -j2 tests
	$(Q)BUILD=$(BUILD) tests/valgrind.sh

# ---- benchmarks ----

# The peers, header:package:library. One that is not installed is left out of the
# program, and named in its table.
PEERS := lmdb.h:liblmdb-dev:lmdb sqlite3.h:libsqlite3-dev:sqlite3 db.h:libdb-dev:db \
         leveldb/c.h:libleveldb-dev:leveldb rocksdb/c.h:librocksdb-dev:rocksdb
words_of = $(subst :, ,$(1))
PEER_LIBS = $(foreach p,$(PEERS),$(shell printf '\043include <%s>\n' $(word 1,$(call words_of,$(p))) | \
              $(CC) -E -x c - >/dev/null 2>&1 && echo -l$(word 3,$(call words_of,$(p)))))
# Installing one, or removing it, compiles its contender again.
$(BUILD)/.peers: .FORCE | $(BUILD)/.need-build
	@mkdir -p $(@D); echo '$(PEER_LIBS)' | cmp -s - $@ || echo '$(PEER_LIBS)' > $@
$(patsubst bench/%.c,$(BUILD)/bench/%.o,$(wildcard bench/peer_*.c)): $(BUILD)/.peers
# Calls for memory are counted: bench/allocations.h.
BENCH_WRAP := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=posix_memalign
$(BUILD)/bench/bench: $(BENCH_OBJ) $(BUILD)/libduralog.a
	$(call say,LD,$@) $(CC) -o $@ $^ $(ALL_LDFLAGS) $(BENCH_WRAP) -lm $(PEER_LIBS)
.PHONY: bench bench-quick bench-deps bench-plots bench-publish
bench-deps: $(NEED) ## install what is measured beside the library, and gnuplot
	$(Q)$(NEED) $(foreach p,$(PEERS),$(word 1,$(call words_of,$(p))):$(word 2,$(call words_of,$(p)))) gnuplot:gnuplot-nox
bench: ## print ratios against the least code that does the same work, and against peers
	-$(Q)$(MAKE) --no-print-directory bench-deps
	$(Q)$(MAKE) --no-print-directory $(BUILD)/bench/bench && $(BUILD)/bench/bench
	-$(Q)bench/plots.sh $(BUILD)/bench/results.tsv $(BUILD)/bench/plots
bench-quick: $(BUILD)/bench/bench ## the main ratios, in two minutes
	$(Q)$(BUILD)/bench/bench --quick
bench-plots: ## draw what make bench measured, into build/bench/plots
	$(Q)bench/plots.sh $(BUILD)/bench/results.tsv $(BUILD)/bench/plots
bench-publish: bench-plots ## put these pictures where the README shows them
	$(Q)mkdir -p bench/plots && cp $(BUILD)/bench/plots/*.svg $(BUILD)/bench/plots/*.png bench/plots/

# ---- install ----

$(BUILD)/duralog.pc: .FORCE
	$(Q)mkdir -p $(@D) && printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(patsubst $(PREFIX)/%,$${prefix}/%,$(LIBDIR))' \
	  'includedir=$(patsubst $(PREFIX)/%,$${prefix}/%,$(INCLUDEDIR))' '' \
	  'Name: duralog' 'Description: embeddable durable log' 'Version: $(VERSION)' \
	  'Libs: -L$${libdir} -lduralog' 'Libs.private: -pthread' 'Cflags: -I$${includedir}' > $@

.PHONY: install uninstall
install: all $(BUILD)/duralog.pc ## install under DESTDIR and PREFIX
	$(Q)$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(BINDIR)
	$(Q)$(INSTALL) -m 644 include/duralog.h $(DESTDIR)$(INCLUDEDIR)/
	$(Q)$(INSTALL) -m 644 $(BUILD)/libduralog.a $(DESTDIR)$(LIBDIR)/
	$(Q)$(INSTALL) -m 755 $(BUILD)/libduralog.so.$(VERSION) $(DESTDIR)$(LIBDIR)/
	$(Q)ln -sf libduralog.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libduralog.so.$(SOVERSION)
	$(Q)ln -sf libduralog.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libduralog.so
	$(Q)$(INSTALL) -m 644 $(BUILD)/duralog.pc $(DESTDIR)$(LIBDIR)/pkgconfig/
	$(Q)$(INSTALL) -m 755 $(BUILD)/duralog $(DESTDIR)$(BINDIR)/
	$(Q)$(INSTALL) -d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(COMPLETIONDIR)
	$(Q)$(INSTALL) -m 644 examples/duralog.1 $(DESTDIR)$(MANDIR)/man1/
	$(Q)$(INSTALL) -m 644 examples/duralog.bash $(DESTDIR)$(COMPLETIONDIR)/duralog
uninstall: ## remove what install installed
	$(Q)rm -f $(DESTDIR)$(INCLUDEDIR)/duralog.h $(DESTDIR)$(LIBDIR)/libduralog.a \
	  $(DESTDIR)$(LIBDIR)/libduralog.so* $(DESTDIR)$(LIBDIR)/pkgconfig/duralog.pc $(DESTDIR)$(BINDIR)/duralog \
	  $(DESTDIR)$(MANDIR)/man1/duralog.1 $(DESTDIR)$(COMPLETIONDIR)/duralog

# ---- housekeeping ----

FORMATTED := $(wildcard include/*.h lib/*.[ch] examples/*.[ch] tests/*.[ch] tests/*/*.[ch] bench/*.[ch])
.PHONY: format lint clean help
format: ## format all sources with clang-format
	$(Q)clang-format -i $(FORMATTED)
lint: ## layers, leftovers, formatting, static analysis
	$(Q)tests/script/test_layers.sh
	$(Q)clang-format --dry-run -Werror $(FORMATTED)
	$(Q)cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability \
	  --suppress=missingIncludeSystem --suppress=selfAssignment --inline-suppr -Iinclude -D__BYTE_ORDER__=1234 \
	  -D__ORDER_LITTLE_ENDIAN__=1234 lib/*.c
clean: ## remove everything built
	$(Q)rm -rf build
help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
