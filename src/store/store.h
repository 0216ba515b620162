#pragma once
/*
 * Everything durable but index files: sources, finished parts of streams, settings. The only place with SQL.
 * Domain operations behind one vtable with two backends: SQLite (WAL; one writer thread that groups commits, readers
 * beside it) and memory (tests). Every row carries a tenant; one exists: "default" (STORE_TENANT_DEFAULT).
 *
 * Threads: calls without "post" block: workers, main and the stream's log thread only, never a loop.
 * store_post_* may be called from anywhere; `done` runs on the writer thread after the commit.
 * What a blocking write or `done` has reported as done survives kill -9 (a power cut may cost the last moments).
 * Writes take effect in the order in which they were queued, posts and blocking ones alike; a blocking one waits for room.
 * Errors: -ERR_NOT_FOUND, -ERR_EXISTS, -ERR_IO (disk), -ERR_CORRUPT, -ERR_NO_MEMORY, -ERR_LIMIT (queue full),
 * -ERR_INVALID and -ERR_TOO_LARGE (arguments), -ERR_BUSY (another program holds the database's write lock).
 */
#include "base/err.h"
#include "base/span.h"

#define STORE_TENANT_DEFAULT "default"
#define STORE_ID_MAX 64 /* with NUL */

struct store;

/*
 * Opens (and creates, migrates) DIR/headwater.db and takes the lock file DIR/headwater.lock: a data directory belongs to one
 * process. -ERR_BUSY when another holds it. A damaged database is set aside as headwater.db.damaged-N, a new one is begun
 * and *ret_note (ret_note may be NULL) says so (owned by the store; NULL otherwise). -ERR_UNSUPPORTED, the file
 * untouched: a newer version wrote it, or it is another program's. Opening reads little whatever the size; only after damage
 * was met in the last run (DIR/headwater.db.suspect) the whole file is checked.
 */
int store_open_sqlite(const char *dir, struct store **ret, const char **ret_note,
                      struct err *err) MUST_CHECK;
int store_open_memory(struct store **ret, struct err *err) MUST_CHECK;
void store_close(struct store *s); /* finishes what was posted */

/* ---- sources: what has been indexed ---- */

struct store_source {
    char id[STORE_ID_MAX];
    char tenant[STORE_ID_MAX];
    char *name;       /* unique per tenant; what a client may name instead of the location */
    char *kind;       /* "local" … */
    char *location;   /* absolute path or URL, no credentials */
    char *index_file; /* file name below DIR/index, or "" while there is none */
    char *revision;   /* git revision or "" */
    char *fingerprint;
    char *state; /* "new" "indexing" "ready" "failed" */
    char *error; /* why it failed, or "" */
    int64_t files, chunks, bytes, skipped;
    int64_t created_ms, indexed_ms; /* wall clock */
};
void store_source_done(struct store_source *s); /* frees the strings */

/* Inserts or replaces by id. -ERR_EXISTS when another source of the tenant has the name. */
int store_source_put(struct store *s, const struct store_source *src, struct err *err) MUST_CHECK;
int store_source_get(struct store *s, const char *tenant, const char *id, struct store_source *ret,
                     struct err *err) MUST_CHECK;
/* By name, else by location. */
int store_source_find(struct store *s, const char *tenant, const char *name_or_location,
                      struct store_source *ret, struct err *err) MUST_CHECK;
/* In order of name; *ret is an owned array. */
int store_source_list(struct store *s, const char *tenant, struct store_source **ret,
                      size_t *ret_count, struct err *err) MUST_CHECK;
int store_source_delete(struct store *s, const char *tenant, const char *id,
                        struct err *err) MUST_CHECK;

struct store_skipped {
    char *path, *reason;
};
/* Replaces the list of files left out of a source. */
int store_skipped_put(struct store *s, const char *tenant, const char *source_id,
                      const struct store_skipped *items, size_t count, struct err *err) MUST_CHECK;
int store_skipped_list(struct store *s, const char *tenant, const char *source_id, size_t offset,
                       size_t max, struct store_skipped **ret, size_t *ret_count,
                       struct err *err) MUST_CHECK;
void store_skipped_free(struct store_skipped *items, size_t count);

/* ---- streams: see stream/stream.h, the only caller ---- */

struct store_stream {
    char id[STORE_ID_MAX];
    char tenant[STORE_ID_MAX];
    char kind[32];     /* "answer", "index" … */
    uint64_t last_seq; /* of the last stored event */
    bool is_closed;
    char reason[32]; /* done's reason once closed */
    int64_t created_ms, closed_ms;
};
/* A run of events first..last in the log's record format, opaque here. */
struct store_block {
    const char *stream_id;
    uint64_t first_seq, last_seq;
    struct span bytes; /* copied */
};
/*
 * One transaction: stream rows inserted or updated, blocks added (replacing blocks of the same stream with the same first_seq).
 * `done` (may be NULL) gets 0 or a negative code on the writer thread: -ERR_NOT_FOUND when a block's stream has no row
 * (neither before nor in this post), -ERR_EXISTS when a stream's id belongs to another tenant. In `done`, post but never
 * block. Everything is copied. Returns -ERR_LIMIT when the queue is full, -ERR_INVALID, -ERR_TOO_LARGE or
 * -ERR_NO_MEMORY: nothing is posted then, and `done` is not called.
 */
int store_post_streams(struct store *s, const struct store_stream *streams, size_t stream_count,
                       const struct store_block *blocks, size_t block_count,
                       void (*done)(void *ctx, int result), void *ctx) MUST_CHECK;
int store_stream_get(struct store *s, const char *tenant, const char *id, struct store_stream *ret,
                     struct err *err) MUST_CHECK;
/*
 * The block that holds event seq (of several the one that begins last), or the first one after it; its bytes in
 * *ret_bytes (owned), its first number in *ret_first.
 * -ERR_NOT_FOUND past the end.
 */
int store_block_get(struct store *s, const char *stream_id, uint64_t seq, char **ret_bytes,
                    size_t *ret_len, uint64_t *ret_first, struct err *err) MUST_CHECK;
/* Ids of streams not closed, for recovery; owned array. */
int store_streams_unfinished(struct store *s, struct store_stream **ret, size_t *ret_count,
                             struct err *err) MUST_CHECK;
/* Deletes closed streams older than the wall-clock time, at most max of them; *ret_count how many. */
int store_streams_expire(struct store *s, int64_t closed_before_ms, size_t max, size_t *ret_count,
                         struct err *err) MUST_CHECK;
