#pragma once
/*
 * The list of what was left out, with the reason for people. Items stay where they are until skip_done,
 * also when the list grows. Thread: owner.
 */
#include "ingest/ingest.h"
#include "ingest/pool.h"

struct skip_array;

struct skip_list {
    struct pool pool;             /* owns the paths */
    struct ingest_skipped *items; /* owned through `arrays` */
    size_t count, cap;
    uint64_t dropped_count;    /* past LIMIT_SKIPPED_COUNT: counted, not kept */
    struct skip_array *arrays; /* owned: the array in use and those outgrown */
};

/* Copies path (made valid UTF-8; '/' appended to a directory's); reason is a static sentence. 0 or -ERR_NO_MEMORY. */
int skip_add(struct skip_list *l, struct span path, bool is_dir, const char *reason) MUST_CHECK;
void skip_done(struct skip_list *l);
