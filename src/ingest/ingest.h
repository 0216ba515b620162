#pragma once
/*
 * Source → files with chunks. A blocking pull iterator over a local directory: walks it (never following a
 * symbolic link out of it), applies the ignore rules, decodes, skips what is not text with the reason kept,
 * and cuts each file into chunks by syntax. Nothing here fails as a whole because of one file.
 * Thread: a worker; one iterator, one thread.
 *
 *   struct ingest *in;
 *   ingest_open(&options, &in, &err);
 *   while ((r = ingest_next(in, &file, &err)) > 0) …   // file is borrowed until the next call
 *   ingest_free(in);
 */
#include "base/err.h"
#include "base/span.h"
#include <stdatomic.h>

enum chunk_kind { CHUNK_CODE, CHUNK_PROSE, CHUNK_DATA };

struct ingest_chunk {
    uint32_t start_line, end_line; /* from 1, inclusive */
    size_t start, len;             /* bytes of ingest_file.text; whole lines, but a line longer than
                                      LIMIT_CHUNK_BYTES is several chunks with the same line number */
    struct span symbol;            /* "Class.method", "function", heading text, or empty */
    struct span symbol_kind;       /* "function", "class", "heading", … or empty */
    enum chunk_kind kind;
    bool is_test; /* by what it says (#[test], TestCase, describe …), wherever its file stands */
};

struct ingest_file {
    struct span path;     /* relative to the root, '/' separators, valid UTF-8 */
    struct span text;     /* whole content as valid UTF-8, line ends as in the file */
    struct span language; /* "c", "python", "markdown", … or "text" */
    uint64_t size;        /* bytes on disk */
    int64_t mtime_ns;
    bool is_test; /* a test rather than implementation, judged by path */
    const struct ingest_chunk
        *chunks; /* in line order; together they cover every non-blank line once */
    size_t chunk_count;
};

struct ingest_skipped {
    struct span path;
    const char *
        reason; /* a sentence for people: "larger than 2 MB", "binary", "generated (minified)", … */
};

struct ingest_options {
    const char *root;            /* absolute path of a directory, or of one file */
    const char *const *excludes; /* extra gitignore-style patterns, NULL-terminated, or NULL */
    const char *const *includes; /* if given: only files that match one of them */
    const _Atomic bool *cancel;  /* or NULL */
    bool use_ctags;              /* when installed */
};

struct ingest_progress {
    uint64_t files_total; /* known after the walk, which the first ingest_next does */
    uint64_t files_done;
    uint64_t bytes_done;
    uint64_t skipped_count;
};

struct ingest;

/* -ERR_NOT_FOUND / -ERR_FORBIDDEN when the root cannot be read. */
int ingest_open(const struct ingest_options *options, struct ingest **ret,
                struct err *err) MUST_CHECK;
void ingest_free(struct ingest *in);
/* 1: *ret filled; 0: end; <0: -ERR_CANCELLED, -ERR_NO_MEMORY. A file that fails is skipped with its reason. */
int ingest_next(struct ingest *in, struct ingest_file *ret, struct err *err) MUST_CHECK;
void ingest_progress(const struct ingest *in, struct ingest_progress *ret);
/* What was left out and why, in path order of discovery; valid until ingest_free. Directories end with '/'. */
const struct ingest_skipped *ingest_skipped(const struct ingest *in, size_t *ret_count);

/*
 * A cheap fingerprint of the tree (paths, sizes, modification times of every file that would be read, and the ignore
 * rules): equal fingerprints mean that nothing changed. Blocks for the walk only.
 */
int ingest_fingerprint(const struct ingest_options *options, char ret[17],
                       struct err *err) MUST_CHECK;

/* The git revision checked out at root (40 hex digits; read from .git by ourselves, no program run), or "" when none. */
void ingest_revision(const char *root, char ret[65]);
