#include "base/bug.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/sqlite_priv.h"

#include <stdio.h>

static const char *const sql_text[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_SAVEPOINT] = "SAVEPOINT op",
    [SQL_RELEASE] = "RELEASE op",
    [SQL_ROLLBACK_TO] = "ROLLBACK TO op",
#define SOURCE_COLUMNS                                                                          \
    "id, tenant, name, kind, location, index_file, revision, fingerprint, state, error, files," \
    " chunks, bytes, skipped, created_ms, indexed_ms"
    [SQL_SOURCE_PUT] =
        "INSERT INTO source (" SOURCE_COLUMNS ")"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
        " ON CONFLICT (tenant, id) DO UPDATE SET name = excluded.name, kind = excluded.kind,"
        " location = excluded.location, index_file = excluded.index_file,"
        " revision = excluded.revision, fingerprint = excluded.fingerprint,"
        " state = excluded.state, error = excluded.error, files = excluded.files,"
        " chunks = excluded.chunks, bytes = excluded.bytes, skipped = excluded.skipped,"
        " created_ms = excluded.created_ms, indexed_ms = excluded.indexed_ms",
    [SQL_SOURCE_GET] = "SELECT " SOURCE_COLUMNS " FROM source WHERE tenant = ?1 AND id = ?2",
    [SQL_SOURCE_FIND] = "SELECT " SOURCE_COLUMNS " FROM source"
                        " WHERE tenant = ?1 AND (name = ?2 OR location = ?2)"
                        " ORDER BY name = ?2 DESC, name LIMIT 1",
    [SQL_SOURCE_LIST] = "SELECT " SOURCE_COLUMNS " FROM source WHERE tenant = ?1 ORDER BY name",
    [SQL_SOURCE_DELETE] = "DELETE FROM source WHERE tenant = ?1 AND id = ?2",
    [SQL_SOURCE_EXISTS] = "SELECT 1 FROM source WHERE tenant = ?1 AND id = ?2",
    [SQL_SKIPPED_CLEAR] = "DELETE FROM skipped WHERE tenant = ?1 AND source_id = ?2",
    [SQL_SKIPPED_ADD] = "INSERT INTO skipped (tenant, source_id, n, path, reason)"
                        " VALUES (?1, ?2, ?3, ?4, ?5)",
    [SQL_SKIPPED_LIST] = "SELECT path, reason FROM skipped"
                         " WHERE tenant = ?1 AND source_id = ?2 AND n >= ?3 ORDER BY n LIMIT ?4",
#define STREAM_COLUMNS "id, tenant, kind, last_seq, is_closed, reason, created_ms, closed_ms"
    [SQL_STREAM_PUT] =
        "INSERT INTO stream (" STREAM_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        " ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, last_seq = excluded.last_seq,"
        " is_closed = excluded.is_closed, reason = excluded.reason,"
        " created_ms = excluded.created_ms, closed_ms = excluded.closed_ms"
        " WHERE tenant = excluded.tenant",
    [SQL_STREAM_GET] = "SELECT " STREAM_COLUMNS " FROM stream WHERE id = ?1 AND tenant = ?2",
    [SQL_STREAM_KEY] = "SELECT n FROM stream WHERE id = ?1",
    [SQL_STREAMS_UNFINISHED] =
        "SELECT " STREAM_COLUMNS " FROM stream WHERE is_closed = 0 ORDER BY id",
    [SQL_STREAMS_EXPIRE] =
        "DELETE FROM stream WHERE n IN (SELECT n FROM stream"
        " WHERE is_closed = 1 AND closed_ms < ?1 ORDER BY closed_ms, id LIMIT ?2)",
    [SQL_BLOCK_CLEAR] = "DELETE FROM block WHERE stream = ?1 AND first_seq = ?2",
    [SQL_BLOCK_ADD] =
        "INSERT INTO block (stream, first_seq, last_seq, bytes) VALUES (?1, ?2, ?3, ?4)",
    [SQL_BLOCK_HOLDING] =
        "SELECT first_seq, bytes FROM block WHERE stream = (SELECT n FROM stream WHERE id = ?1)"
        " AND first_seq <= ?2 AND last_seq >= ?2 ORDER BY first_seq DESC LIMIT 1",
    [SQL_BLOCK_AFTER] =
        "SELECT first_seq, bytes FROM block WHERE stream = (SELECT n FROM stream WHERE id = ?1)"
        " AND first_seq > ?2 ORDER BY first_seq LIMIT 1",
};

/* ---- errors ---- */

static enum err_code code_of(int rc, int extended)
{
    switch (rc) {
    case SQLITE_NOMEM:
        return ERR_NO_MEMORY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_TOOBIG:
        return ERR_TOO_LARGE;
    case SQLITE_CONSTRAINT:
        if (extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY)
            return ERR_EXISTS;
        return extended == SQLITE_CONSTRAINT_FOREIGNKEY ? ERR_NOT_FOUND : ERR_INTERNAL;
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
        return ERR_INTERNAL;
    default: /* IOERR, FULL, READONLY, CANTOPEN, PERM, NOLFS, PROTOCOL … */
        return ERR_IO;
    }
}

static int fail(struct sqlconn *c, int rc, int extended, struct err *err)
{
    enum err_code code = code_of(rc & 0xff, extended);
    const char *why = c->db && sqlite3_extended_errcode(c->db) == extended ? sqlite3_errmsg(c->db)
                                                                           : sqlite3_errstr(rc);
    int r = err_set(err, code, "database '%s': %s", c->path, why);
    if (code == ERR_CORRUPT) {
        if (!atomic_exchange(c->is_suspect, true))
            LOG_ERROR("store", "the database is damaged", LOG_S("path", c->path),
                      LOG_S("cause", why));
        err_hint(err, "restart: the file is checked at start and set aside if it is damaged");
    } else if ((rc & 0xff) == SQLITE_FULL) {
        err_hint(err, "make room on the disk");
    } else if (code == ERR_BUSY) {
        err_hint(err, "another program holds the database: end it");
    } else if (code == ERR_IO) {
        err_hint(err, "check the disk, and that the directory is writable");
    }
    return r;
}

static int fail_now(struct sqlconn *c, int rc, struct err *err)
{
    return fail(c, rc, c->db ? sqlite3_extended_errcode(c->db) : rc, err);
}

/* The only call of sqlite3_step: 1 = a row, 0 = the end, negative = failed. */
static int step(struct sqlconn *c, sqlite3_stmt *stmt, struct err *err)
{
    if (fault_hit(FAULT_SQL))
        return fail(c, SQLITE_IOERR, SQLITE_IOERR, err);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        return 1;
    return rc == SQLITE_DONE ? 0 : fail_now(c, rc, err);
}

/* ---- connection ---- */

int sqlconn_open(struct sqlconn *c, const char *path, bool is_writer, _Atomic bool *is_suspect,
                 struct err *err)
{
    *c = (struct sqlconn){.path = path, .is_suspect = is_suspect};
    int flags = is_writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    int rc =
        sqlite3_open_v2(path, &c->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    int r = rc == SQLITE_OK ? 0 : fail_now(c, rc, err);
    if (!r) {
        sqlite3_extended_result_codes(c->db, 0);
        sqlite3_busy_timeout(c->db, SQLITE_BUSY_MS);
        sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        char sql[64];
        snprintf(sql, sizeof sql, "PRAGMA mmap_size = %d", SQLITE_MMAP_BYTES);
        r = sqlconn_exec(c, sql, err);
    }
    if (!r)
        r = sqlconn_exec(c, "PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON", err);
    if (r)
        sqlconn_close(c);
    return r;
}

void sqlconn_close(struct sqlconn *c)
{
    for (size_t i = 0; i < SQL_COUNT; i++) {
        sqlite3_finalize(c->stmts[i]);
        c->stmts[i] = NULL;
    }
    int rc = sqlite3_close(c->db);
    BUG_ON(rc != SQLITE_OK); /* a statement is still open */
    c->db = NULL;
}

int sqlconn_exec(struct sqlconn *c, const char *sql, struct err *err)
{
    int r = 0;
    while (!r && *sql) {
        sqlite3_stmt *stmt = NULL;
        const char *rest = sql;
        int rc = sqlite3_prepare_v2(c->db, sql, -1, &stmt, &rest);
        if (rc != SQLITE_OK)
            return fail_now(c, rc, err);
        do {
            r = stmt ? step(c, stmt, err) : 0;
        } while (r > 0);
        sqlite3_finalize(stmt);
        sql = rest;
    }
    return r;
}

int sqlconn_number(struct sqlconn *c, const char *sql, int64_t *ret, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(c->db, sql, -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return fail_now(c, rc, err);
    int r = step(c, stmt, err);
    if (r >= 0)
        *ret = r ? sqlite3_column_int64(stmt, 0) : 0;
    sqlite3_finalize(stmt);
    return r < 0 ? r : 0;
}

int sqlconn_word(struct sqlconn *c, const char *sql, char *ret, size_t size, struct err *err)
{
    struct query q = {.c = c, .err = err};
    int rc = sqlite3_prepare_v2(c->db, sql, -1, &q.stmt, NULL);
    if (rc != SQLITE_OK)
        return fail_now(c, rc, err);
    int r = step(c, q.stmt, err);
    ret[0] = 0;
    if (r > 0)
        query_col_copy(&q, 0, ret, size);
    sqlite3_finalize(q.stmt);
    return r < 0 ? r : 0;
}

void sqlconn_rollback(struct sqlconn *c)
{
    /* past fault injection: SQLite rolls back even when it reports an error, and the next BEGIN would tell */
    if (!sqlite3_get_autocommit(c->db))
        (void)sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- query ---- */

struct query query_start(struct sqlconn *c, enum sql which, struct err *err)
{
    struct query q = {.c = c, .err = err};
    if (!c->stmts[which]) {
        int rc = sqlite3_prepare_v3(c->db, sql_text[which], -1, SQLITE_PREPARE_PERSISTENT,
                                    &c->stmts[which], NULL);
        if (rc != SQLITE_OK)
            q.result = fail_now(c, rc, err);
    }
    q.stmt = c->stmts[which];
    return q;
}

static void bound(struct query *q, int rc)
{
    if (rc != SQLITE_OK)
        q->result = fail_now(q->c, rc, q->err);
}

void query_text(struct query *q, int at, const char *s)
{
    if (!q->result)
        bound(q, sqlite3_bind_text(q->stmt, at, s ? s : "", -1, SQLITE_STATIC));
}

void query_blob(struct query *q, int at, struct span s)
{
    if (!q->result)
        bound(q, sqlite3_bind_blob64(q->stmt, at, s.len ? s.ptr : "", s.len, SQLITE_STATIC));
}

void query_int(struct query *q, int at, int64_t v)
{
    if (!q->result)
        bound(q, sqlite3_bind_int64(q->stmt, at, v));
}

int query_step(struct query *q)
{
    if (q->result)
        return q->result;
    int r = step(q->c, q->stmt, q->err);
    if (r < 0)
        q->result = r;
    return r;
}

int query_run(struct query *q)
{
    int r;
    while ((r = query_step(q)) > 0)
        ;
    return r;
}

int64_t query_changes(const struct query *q)
{
    return sqlite3_changes64(q->c->db);
}

int64_t query_col_int(const struct query *q, int at)
{
    return sqlite3_column_int64(q->stmt, at);
}

struct span query_col_blob(const struct query *q, int at)
{
    const char *p = sqlite3_column_blob(q->stmt, at);
    return span_of(p, p ? (size_t)sqlite3_column_bytes(q->stmt, at) : 0);
}

char *query_col_text(const struct query *q, int at)
{
    struct span s = query_col_blob(q, at);
    return mem_try_strndup(s.ptr, s.len);
}

void query_col_copy(const struct query *q, int at, char *ret, size_t size)
{
    struct span s = span_first(query_col_blob(q, at), size - 1);
    if (s.len)
        memcpy(ret, s.ptr, s.len);
    ret[s.len] = 0;
}

void query_done(struct query *q)
{
    if (!q->stmt)
        return;
    sqlite3_reset(q->stmt); /* its code repeats step's */
    sqlite3_clear_bindings(q->stmt);
}
