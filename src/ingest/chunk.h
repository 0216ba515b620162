#pragma once
/*
 * Text → chunks. Units are what the symbols name (with the comment, decorators, attributes or template line directly
 * above). A function or method of three lines or more is a chunk of its own, so a container that holds one is opened at
 * its members (an object of JavaScript only when it is large); one too large to be one chunk is cut at statement borders,
 * first around the larger functions that it holds, and each part keeps its name. What else is small is put together with its
 * neighbours, but tests only with tests. Promises, for any valid UTF-8 and any symbols:
 *   every non-blank line is in exactly one chunk, in line order; a chunk begins and ends with a non-blank line;
 *   no chunk exceeds LIMIT_CHUNK_BYTES; chunks are whole lines, except that a single line longer than the limit
 *   is cut at character borders into several chunks of that same line.
 * Thread: owner.
 */
#include "base/buf.h"
#include "ingest/symbols.h"

struct chunk_set {
    struct ingest_chunk *items; /* owned; spans point into the text, names and static strings */
    size_t count, cap;
    struct buf names;         /* owned; qualified names */
    struct chunk_line *lines; /* owned; scratch, kept from file to file */
    size_t lines_cap;
    struct chunk_piece *pieces; /* owned; scratch */
    size_t pieces_cap;
};

/* Replaces the contents of *set. `symbols` are settled here; NULL = own scanners. 0 or -ERR_NO_MEMORY. */
int chunk_text(struct chunk_set *set, struct span text, const struct language *lang,
               struct symbol_list *symbols) MUST_CHECK;
void chunk_done(struct chunk_set *set);
