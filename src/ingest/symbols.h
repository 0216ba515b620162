#pragma once
/*
 * Named parts of a text (functions, classes, headings …) as line ranges, found by our own scanners or by
 * universal-ctags. Ranges come unsorted and may overlap wrongly; symbols_settle turns them into a forest.
 * Thread: owner.
 */
#include "ingest/language.h"
#include "ingest/pool.h"

#include <stdatomic.h>

struct symbol {
    uint32_t first, last; /* lines from 1, inclusive */
    struct span name;     /* borrowed from the text or from names */
    const char *kind;     /* static: "function", "class", "heading", … */
    int32_t parent;       /* index, or -1; set by symbols_settle */
    uint32_t depth;       /* 0 at the top; set by symbols_settle */
    bool is_container;    /* symbol_is_container(kind); set by symbols_settle */
    bool is_test;         /* set by chunk_text, by what the text says */
};

struct symbol_list {
    struct symbol *items; /* owned */
    size_t count, cap;
    struct pool names;
};

/* 0 or -ERR_NO_MEMORY; past LIMIT_SYMBOLS_COUNT nothing is added. */
int symbols_add(struct symbol_list *l, uint32_t first, uint32_t last, struct span name,
                const char *kind) MUST_CHECK;
void symbols_clear(struct symbol_list *l);
void symbols_done(struct symbol_list *l);
/*
 * Sorts by place and makes the ranges nest: each within its parent and within 1..line_count, siblings apart
 * (of two that overlap, the later gives way). Deeper than LIMIT_SYMBOL_DEPTH is dropped.
 */
void symbols_settle(struct symbol_list *l, uint32_t line_count);
/*
 * Adds to the symbols of ctags those of our own scanners, which know where a declaration begins; of what both have
 * found, ours is kept. 0 or -ERR_NO_MEMORY.
 */
int symbols_join(struct symbol_list *l, struct span text, const struct language *lang) MUST_CHECK;
/* Kinds whose body holds members: they may be opened, others are only split. */
bool symbol_is_container(const char *kind);

/* Own scanners. 0 or -ERR_NO_MEMORY. */
int symbols_scan(struct symbol_list *l, struct span text, const struct language *lang) MUST_CHECK;
/* Parts of symbols_scan, by family (symbols_brace.c, symbols_line.c, symbols_part.c). */
int symbols_scan_brace(struct symbol_list *l, struct span text,
                       const struct language *lang) MUST_CHECK;
int symbols_scan_lines(struct symbol_list *l, struct span text,
                       const struct language *lang) MUST_CHECK;
int symbols_scan_parts(struct symbol_list *l, struct span text,
                       const struct language *lang) MUST_CHECK;

/* One file of a batch for ctags. */
struct symbols_job {
    struct span text;            /* borrowed */
    const struct language *lang; /* its ctags_ext is not NULL */
    struct symbol_list symbols;  /* owned by the caller; filled */
    bool is_done;                /* ctags finished this one */
};

/*
 * Runs ctags once over the jobs: names are made up ("7.py"), contents go in on standard input, seccomp sandbox,
 * no configuration files, limits on time, CPU and memory. A job that ctags did not finish keeps is_done false.
 * 0; -ERR_UNAVAILABLE when there is no ctags (that can do this), -ERR_CANCELLED, -ERR_NO_MEMORY, other codes when it
 * failed half way. Blocks.
 */
int symbols_ctags(struct symbols_job *jobs, size_t count, const _Atomic bool *cancel,
                  struct err *err) MUST_CHECK;
/* The reading half: ctags' output for the jobs. Any bytes are safe. 0 or -ERR_NO_MEMORY. */
int symbols_ctags_parse(struct symbols_job *jobs, size_t count, struct span output) MUST_CHECK;
