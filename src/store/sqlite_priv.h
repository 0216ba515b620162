#pragma once
/*
 * The SQLite backend, inside: one connection (struct sqlconn) used by one thread at a time, its statements by name, and
 * struct query, one run of a statement. Every failure of SQLite becomes an ERR_ code with a message here.
 */
#include "store/store_priv.h"

#include <limits.h>
#include <sqlite3.h>
#include <stdatomic.h>

#define SQLITE_READERS_MAX 4
#define SQLITE_BUSY_MS 2000 /* another program (shell, backup) holds the write lock */
#define SQLITE_MMAP_BYTES (64 << 20)
#define SQLITE_DAMAGED_COUNT 1000 /* files set aside, after which we refuse to begin anew */

enum sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_SAVEPOINT,
    SQL_RELEASE,
    SQL_ROLLBACK_TO,
    SQL_SOURCE_PUT,
    SQL_SOURCE_GET,
    SQL_SOURCE_FIND,
    SQL_SOURCE_LIST,
    SQL_SOURCE_DELETE,
    SQL_SOURCE_EXISTS,
    SQL_SKIPPED_CLEAR,
    SQL_SKIPPED_ADD,
    SQL_SKIPPED_LIST,
    SQL_STREAM_PUT,
    SQL_STREAM_GET,
    SQL_STREAM_KEY,
    SQL_STREAMS_UNFINISHED,
    SQL_STREAMS_EXPIRE,
    SQL_BLOCK_CLEAR,
    SQL_BLOCK_ADD,
    SQL_BLOCK_HOLDING,
    SQL_BLOCK_AFTER,
    SQL_COUNT
};

struct sqlconn {
    sqlite3 *db;                    /* owned; NULL = closed */
    sqlite3_stmt *stmts[SQL_COUNT]; /* owned; prepared on first use */
    const char *path;               /* borrowed from the store */
    _Atomic bool *is_suspect;       /* borrowed: set when SQLite reports damage */
    struct sqlconn *next;           /* free list's */
};

/* Opens the file; a reader's connection cannot write. On failure the connection is closed again. */
int sqlconn_open(struct sqlconn *c, const char *path, bool is_writer, _Atomic bool *is_suspect,
                 struct err *err) MUST_CHECK;
void sqlconn_close(struct sqlconn *c); /* fine when closed */
/* Runs the statements of a text, ignoring rows. */
int sqlconn_exec(struct sqlconn *c, const char *sql, struct err *err) MUST_CHECK;
/* The one number that a statement yields; 0 when no row. */
int sqlconn_number(struct sqlconn *c, const char *sql, int64_t *ret, struct err *err) MUST_CHECK;
/* The same for a word; "" when no row. */
int sqlconn_word(struct sqlconn *c, const char *sql, char *ret, size_t size,
                 struct err *err) MUST_CHECK;
/* Ends a transaction without its changes, also one that SQLite has ended already. Cannot fail. */
void sqlconn_rollback(struct sqlconn *c);

/*
 * One run of a statement; errors are sticky, so binds need no check:
 *   struct query q CLEANUP(query_done) = query_start(c, SQL_X, err);
 *   query_text(&q, 1, id);
 *   while ((r = query_step(&q)) > 0) …            1 = a row, 0 = the end, negative = failed
 */
struct query {
    struct sqlconn *c;
    sqlite3_stmt *stmt;
    struct err *err;
    int result;
};
struct query query_start(struct sqlconn *c, enum sql which, struct err *err) MUST_CHECK;
void query_text(struct query *q, int at, const char *s); /* borrowed until query_done; NULL = "" */
void query_blob(struct query *q, int at, struct span s); /* borrowed until query_done */
void query_int(struct query *q, int at, int64_t v);
int query_step(struct query *q) MUST_CHECK;
int query_run(struct query *q) MUST_CHECK; /* to the end: 0 or negative */
int64_t query_changes(const struct query *q);
int64_t query_col_int(const struct query *q, int at);
/* Owned copy, or NULL when memory is gone. */
char *query_col_text(const struct query *q, int at) MUST_CHECK;
void query_col_copy(const struct query *q, int at, char *ret, size_t size);
struct span query_col_blob(const struct query *q, int at); /* until the next step */
void query_done(struct query *q);

/*
 * Refuses what is not ours (-ERR_UNSUPPORTED: another program's database, or a newer schema), then brings the schema up
 * to date, one transaction a migration. -ERR_CORRUPT when the file is damaged.
 */
int migrate(struct sqlconn *c, struct err *err) MUST_CHECK;

struct sqlite_store {
    struct store base; /* first */
    char dir[PATH_MAX], path[PATH_MAX], note[PATH_MAX + 256];
    int lock_fd;
    struct sqlconn writer; /* the writer thread's, and the next */
    bool is_troubled;      /* the last group failed: said once, not a group */
    _Atomic bool is_suspect;

    struct lock lock; /* guards the readers below */
    struct cond returned;
    struct sqlconn readers[SQLITE_READERS_MAX];
    bool is_used[SQLITE_READERS_MAX]; /* open, or being opened by the thread that took it */
    struct sqlconn *free_readers;
};

static inline struct sqlite_store *sqlite_of(struct store *s)
{
    return container_of(s, struct sqlite_store, base);
}

/* A reader's connection, waiting for one when all are out; give it back. */
int reader_take(struct sqlite_store *s, struct sqlconn **ret, struct err *err) MUST_CHECK;
void reader_give(struct sqlite_store *s, struct sqlconn *c);

/* dir.c: the data directory. */
int dir_make(const char *dir, struct err *err) MUST_CHECK;
int dir_lock(const char *dir, int *ret_fd, struct err *err) MUST_CHECK;
int path_join(char ret[PATH_MAX], const char *dir, const char *name, struct err *err) MUST_CHECK;

int sqlite_source_put(struct store *s, const struct store_source *src, struct err *err);
int sqlite_source_get(struct store *s, const char *tenant, const char *id, struct store_source *ret,
                      struct err *err);
int sqlite_source_find(struct store *s, const char *tenant, const char *name_or_location,
                       struct store_source *ret, struct err *err);
int sqlite_source_list(struct store *base, const char *tenant, struct store_source **ret,
                       size_t *ret_count, struct err *err);
int sqlite_source_delete(struct store *s, const char *tenant, const char *id, struct err *err);
int sqlite_skipped_put(struct store *s, const char *tenant, const char *source_id,
                       const struct store_skipped *items, size_t count, struct err *err);
int sqlite_skipped_list(struct store *base, const char *tenant, const char *source_id,
                        size_t offset, size_t max, struct store_skipped **ret, size_t *ret_count,
                        struct err *err);
int sqlite_apply(void *ctx, struct write_op *op, struct err *err);
int sqlite_stream_get(struct store *base, const char *tenant, const char *id,
                      struct store_stream *ret, struct err *err);
int sqlite_block_get(struct store *base, const char *stream_id, uint64_t seq, char **ret_bytes,
                     size_t *ret_len, uint64_t *ret_first, struct err *err);
int sqlite_streams_unfinished(struct store *base, struct store_stream **ret, size_t *ret_count,
                              struct err *err);
int sqlite_streams_expire(struct store *s, int64_t closed_before_ms, size_t max, size_t *ret_count,
                          struct err *err);
