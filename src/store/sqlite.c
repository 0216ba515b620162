/*
 * The SQLite backend's frame: opening (lock, check, setting damage aside), readers, and how a group of writes becomes
 * one transaction. The operations are in sqlite_sources.c and sqlite_streams.c.
 */
#include "base/log.h"
#include "base/mem.h"
#include "store/sqlite_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- writing ---- */

static int run_sql(struct sqlconn *c, enum sql which, struct err *err)
{
    struct query q CLEANUP(query_done) = query_start(c, which, err);
    return query_run(&q);
}

/* In a transaction of its own. */
static void run_alone(struct sqlite_store *s, struct write_op *op)
{
    op->result = run_sql(&s->writer, SQL_BEGIN, op->err);
    if (op->result)
        return;
    op->result = op->run(s, op, op->err);
    if (!op->result)
        op->result = run_sql(&s->writer, SQL_COMMIT, op->err);
    if (op->result)
        sqlconn_rollback(&s->writer);
}

/* 0 when the transaction goes on, also when the operation failed; else it is lost. */
static int run_in_group(struct sqlite_store *s, struct write_op *op)
{
    int r = run_sql(&s->writer, SQL_SAVEPOINT, NULL);
    if (r)
        return r;
    op->result = op->run(s, op, op->err);
    if (op->result) {
        /* a full disk, an I/O error or lack of memory may end the whole transaction, not the statement alone */
        if (sqlite3_get_autocommit(s->writer.db))
            return op->result;
        r = run_sql(&s->writer, SQL_ROLLBACK_TO, NULL);
        if (r)
            return r;
    }
    return run_sql(&s->writer, SQL_RELEASE, NULL);
}

/* All in one transaction, each behind a savepoint, so that a failing one takes nothing with it. */
static int run_group(struct sqlite_store *s, struct write_op *ops)
{
    int r = 0;
    for (struct write_op *op = ops; op && !r; op = op->next)
        r = run_in_group(s, op);
    if (!r)
        r = run_sql(&s->writer, SQL_COMMIT, NULL);
    if (r)
        sqlconn_rollback(&s->writer);
    return r;
}

/* A full disk fails every group: one line when it begins, one when it is over. */
static void note_trouble(struct sqlite_store *s, int result)
{
    if (result && !s->is_troubled)
        LOG_ERROR("store", "a group of writes failed", LOG_S("path", s->path),
                  LOG_S("error", err_name(result)));
    else if (!result && s->is_troubled)
        LOG_INFO("store", "writes succeed again", LOG_S("path", s->path));
    s->is_troubled = result != 0;
}

/*
 * When the transaction as a whole is lost, each operation is tried again alone: those that can be kept are, and
 * each failure is told to the one that it belongs to.
 */
static void sqlite_commit(void *ctx, struct write_op *ops)
{
    struct sqlite_store *s = ctx;
    sqlconn_rollback(&s->writer); /* normally nothing to do */
    if (!ops->next) {
        run_alone(s, ops);
        return; /* its caller is told; it may be no more than a name that is taken */
    }
    struct err why = {0};
    int r = run_sql(&s->writer, SQL_BEGIN, &why);
    if (r) { /* locked or broken: it would be the same for each, and may take SQLITE_BUSY_MS */
        for (struct write_op *op = ops; op; op = op->next) {
            op->result = r;
            if (op->err)
                *op->err = why;
        }
    } else {
        r = run_group(s, ops);
        for (struct write_op *op = r ? ops : NULL; op; op = op->next)
            run_alone(s, op);
    }
    note_trouble(s, r);
}

/* ---- reading ---- */

/* An unused slot, marked used; NULL when there is none. */
static struct sqlconn *claim_slot(struct sqlite_store *s)
{
    for (size_t i = 0; i < SQLITE_READERS_MAX; i++) {
        if (s->is_used[i])
            continue;
        s->is_used[i] = true;
        return &s->readers[i];
    }
    return NULL;
}

int reader_take(struct sqlite_store *s, struct sqlconn **ret, struct err *err)
{
    struct sqlconn *c;
    lock_enter(&s->lock);
    while (!(c = s->free_readers) && !(c = claim_slot(s)))
        cond_wait(&s->returned, &s->lock);
    if (c == s->free_readers)
        s->free_readers = c->next;
    lock_leave(&s->lock);
    int r = c->db ? 0 : sqlconn_open(c, s->path, false, &s->is_suspect, err);
    if (r) {
        lock_enter(&s->lock);
        s->is_used[c - s->readers] = false;
        cond_signal(&s->returned);
        lock_leave(&s->lock);
        return r;
    }
    *ret = c;
    return 0;
}

void reader_give(struct sqlite_store *s, struct sqlconn *c)
{
    lock_enter(&s->lock);
    c->next = s->free_readers;
    s->free_readers = c;
    cond_signal(&s->returned);
    lock_leave(&s->lock);
}

/* ---- opening ---- */

/*
 * Cheap whatever the size: the header, the schema, and a path from the root to a leaf of each tree. SQLite itself compares
 * the file's length with its header's. The whole file is read only when damage was seen in the last run.
 */
static int check(struct sqlconn *c, bool is_suspect, struct err *err)
{
    char verdict[256] = "ok";
    int r = sqlconn_exec(c,
                         "SELECT * FROM source LIMIT 1; SELECT * FROM skipped LIMIT 1;"
                         "SELECT max(n) FROM stream; SELECT max(id) FROM stream;"
                         "SELECT max(closed_ms) FROM stream WHERE is_closed = 1;"
                         "SELECT max(id) FROM stream WHERE is_closed = 0;"
                         "SELECT max(rowid) FROM block; SELECT max(stream) FROM block",
                         err);
    if (!r && is_suspect)
        r = sqlconn_word(c, "PRAGMA quick_check(1)", verdict, sizeof verdict, err);
    if (!r && strcmp(verdict, "ok") != 0)
        r = err_set(err, ERR_CORRUPT, "database '%s': %s", c->path, verdict);
    return r;
}

static int suspect_path(const struct sqlite_store *s, char ret[PATH_MAX], struct err *err)
{
    return path_join(ret, s->dir, "headwater.db.suspect", err);
}

static int open_database(struct sqlite_store *s, struct err *err)
{
    char mark[PATH_MAX];
    int r = suspect_path(s, mark, err);
    if (!r)
        r = sqlconn_open(&s->writer, s->path, true, &s->is_suspect, err);
    if (!r)
        r = migrate(&s->writer, err);
    bool is_suspect = !r && access(mark, F_OK) == 0;
    if (!r)
        r = check(&s->writer, is_suspect, err);
    if (r)
        sqlconn_close(&s->writer);
    else if (is_suspect)
        (void)unlink(mark); /* left behind it only costs another check */
    return r;
}

static const char *const file_ends[] = {"", "-wal", "-shm"};

/* The first number under which no file is kept. */
static int damaged_name(const struct sqlite_store *s, char ret[PATH_MAX], struct err *err)
{
    for (int n = 1; n <= SQLITE_DAMAGED_COUNT; n++) {
        bool is_taken = false;
        char path[PATH_MAX + 8];
        int len = snprintf(ret, PATH_MAX, "%s.damaged-%d", s->path, n);
        if (len < 0 || len >= PATH_MAX)
            return err_set(err, ERR_TOO_LARGE, "the path of the data directory is too long");
        for (size_t i = 0; i < ARRAY_LEN(file_ends); i++) {
            snprintf(path, sizeof path, "%s%s", ret, file_ends[i]);
            struct stat st;
            is_taken |= lstat(path, &st) == 0;
        }
        if (!is_taken)
            return 0;
    }
    int r = err_set(err, ERR_CORRUPT, "'%s' is damaged, and %d damaged files are kept already",
                    s->path, SQLITE_DAMAGED_COUNT);
    err_hint(err, "remove headwater.db.damaged-* once you have looked at them");
    return r;
}

static int set_aside(struct sqlite_store *s, const char *why, struct err *err)
{
    char kept[PATH_MAX], mark[PATH_MAX];
    int r = damaged_name(s, kept, err);
    if (r)
        return r;
    for (size_t i = 0; i < ARRAY_LEN(file_ends); i++) {
        char from[PATH_MAX + 8], to[PATH_MAX + 8];
        snprintf(from, sizeof from, "%s%s", s->path, file_ends[i]);
        snprintf(to, sizeof to, "%s%s", kept, file_ends[i]);
        if (rename(from, to) && errno != ENOENT)
            return err_errno(err, errno, "cannot set the damaged database '%s' aside", from);
    }
    if (!suspect_path(s, mark, NULL))
        (void)unlink(mark); /* it was about the old file, like the suspicion */
    atomic_store(&s->is_suspect, false);
    snprintf(s->note, sizeof s->note,
             "the database was damaged and has been set aside as '%s'; a new one was begun (%s)",
             kept, why);
    LOG_ERROR("store", "damaged database set aside", LOG_S("as", kept), LOG_S("cause", why));
    return 0;
}

static int open_locked(struct sqlite_store *s, struct err *err)
{
    struct err first = {0};
    int r = open_database(s, &first);
    if (r == -ERR_CORRUPT) {
        r = set_aside(s, first.msg, err);
        return r ? r : open_database(s, err);
    }
    if (r && err)
        *err = first;
    return r;
}

/* Damage seen while running makes the next start read the whole file. */
static void leave_mark(struct sqlite_store *s)
{
    char mark[PATH_MAX];
    if (suspect_path(s, mark, NULL))
        return;
    int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

static void free_store(struct sqlite_store *s)
{
    for (size_t i = 0; i < SQLITE_READERS_MAX; i++)
        sqlconn_close(&s->readers[i]);
    sqlconn_close(&s->writer);
    if (atomic_load(&s->is_suspect))
        leave_mark(s);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    cond_done(&s->returned);
    lock_done(&s->lock);
    mem_free(s);
}

static void sqlite_close(struct store *base)
{
    free_store(sqlite_of(base));
}

static const struct store_backend sqlite_backend = {
    .close = sqlite_close,
    .source_put = sqlite_source_put,
    .source_get = sqlite_source_get,
    .source_find = sqlite_source_find,
    .source_list = sqlite_source_list,
    .source_delete = sqlite_source_delete,
    .skipped_put = sqlite_skipped_put,
    .skipped_list = sqlite_skipped_list,
    .apply = sqlite_apply,
    .stream_get = sqlite_stream_get,
    .block_get = sqlite_block_get,
    .streams_unfinished = sqlite_streams_unfinished,
    .streams_expire = sqlite_streams_expire,
};

int store_open_sqlite(const char *dir, struct store **ret, const char **ret_note, struct err *err)
{
    struct sqlite_store *s = mem_alloc(sizeof *s);
    s->base.backend = &sqlite_backend;
    s->lock_fd = -1;
    lock_init(&s->lock);
    cond_init(&s->returned);
    int r = dir_make(dir, err);
    if (!r)
        r = path_join(s->path, dir, "headwater.db", err);
    if (!r) {
        memcpy(s->dir, dir, strlen(dir) + 1); /* shorter than path, which fitted */
        r = dir_lock(dir, &s->lock_fd, err);
    }
    if (!r)
        r = open_locked(s, err);
    if (!r)
        r = writer_start(&s->base.writer, sqlite_commit, s, err);
    if (r) {
        free_store(s);
        return r;
    }
    if (ret_note)
        *ret_note = s->note[0] ? s->note : NULL;
    *ret = &s->base;
    return 0;
}
