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

#define INGEST_RECIPE "cut 1" /* changes when the same files would be read or cut differently */
#define INGEST_HASH_BYTES 16u

struct ingest_file {
    struct span path;     /* relative to the root, '/' separators, valid UTF-8 */
    struct span text;     /* whole content as valid UTF-8, line ends as in the file */
    struct span language; /* "c", "python", "markdown", … or "text" */
    uint64_t size;        /* bytes on disk */
    int64_t mtime_ns;
    uint64_t
        stamp; /* of size, times and inode when it was read; 0: it may have changed since without a trace */
    uint8_t hash[INGEST_HASH_BYTES]; /* of its bytes on disk: the first of their SHA-256 */
    bool is_known;                   /* ingest_known.has_chunks said so: not cut, no chunks here */
    bool is_test;                    /* a test rather than implementation, judged by path */
    const struct ingest_chunk
        *chunks; /* in line order; together they cover every non-blank line once */
    size_t chunk_count;
};

struct ingest_skipped {
    struct span path;
    const char *
        reason; /* a sentence for people: "larger than 2 MB", "binary", "generated (minified)", … */
};

/*
 * What is known of the files from before, so that they need not be read or cut. Called by ingest_next, each file once
 * and by path, though up to a batch ahead of what is handed out. Each may be NULL.
 */
struct ingest_known {
    void *ctx;
    /* True: a file with this stamp is as it was; it is not read. */
    bool (*is_same)(void *ctx, struct span path, uint64_t stamp);
    /* True: these are the bytes it had; it is neither cut nor handed out. */
    bool (*is_same_text)(void *ctx, struct span path, const uint8_t hash[INGEST_HASH_BYTES],
                         uint64_t stamp, int64_t mtime_ns);
    /* True: chunks of these bytes in this language are at hand, whatever the path: it is handed out without. */
    bool (*has_chunks)(void *ctx, const uint8_t hash[INGEST_HASH_BYTES], struct span language);
};

struct ingest_options {
    const char *root;            /* absolute path of a directory, or of one file */
    const char *const *excludes; /* extra gitignore-style patterns, NULL-terminated, or NULL */
    const char *const *includes; /* if given: only files that match one of them */
    const _Atomic bool *cancel;  /* or NULL */
    bool use_ctags;              /* when installed */
    struct ingest_known known;
};

struct ingest_progress {
    uint64_t files_total; /* known after the walk, which the first ingest_next does */
    uint64_t files_done;
    uint64_t bytes_done;
    uint64_t skipped_count;
    uint64_t
        failed_count; /* of the skipped: may do better at the next try, without having changed */
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

/* Leaves out a file that was handed out; reason is a static sentence. 0 or -ERR_NO_MEMORY. */
int ingest_leave_out(struct ingest *in, struct span path, const char *reason) MUST_CHECK;

/*
 * A cheap fingerprint of the tree (paths and stamps of every file that would be read, and the ignore rules): equal
 * fingerprints mean that nothing changed. Blocks for the walk only.
 */
int ingest_fingerprint(const struct ingest_options *options, char ret[17],
                       struct err *err) MUST_CHECK;
/* The same of the walk that the first ingest_next did; "" before. */
void ingest_walked_fingerprint(const struct ingest *in, char ret[17]);

/* The git revision checked out at root (40 hex digits; read from .git by ourselves, no program run), or "" when none. */
void ingest_revision(const char *root, char ret[65]);
