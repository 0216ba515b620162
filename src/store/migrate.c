/*
 * The schema, as numbered steps: PRAGMA user_version counts those that have been made. A step is never edited
 * once released; a change is a new step at the end.
 */
#include "base/log.h"
#include "store/sqlite_priv.h"

#include <stdio.h>

#define APPLICATION_ID 0x48575452 /* "HWTR": how file(1) and we know our own */

static const char *const migrations[] = {
    /*
     * Blocks live in a rowid table: a new one goes to the end of the tree whatever its stream, and
     * one of up to 4 KB (a short answer's only one) stays within a leaf page. The index that finds them
     * holds numbers only and so remains in memory.
     */
    "CREATE TABLE source ("
    " tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,"
    " location TEXT NOT NULL, index_file TEXT NOT NULL, revision TEXT NOT NULL,"
    " fingerprint TEXT NOT NULL, state TEXT NOT NULL, error TEXT NOT NULL,"
    " files INTEGER NOT NULL, chunks INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " skipped INTEGER NOT NULL, created_ms INTEGER NOT NULL, indexed_ms INTEGER NOT NULL,"
    " PRIMARY KEY (tenant, id), UNIQUE (tenant, name));"
    "CREATE INDEX source_location ON source (tenant, location);"
    "CREATE TABLE skipped ("
    " tenant TEXT NOT NULL, source_id TEXT NOT NULL, n INTEGER NOT NULL, path TEXT NOT NULL,"
    " reason TEXT NOT NULL, PRIMARY KEY (tenant, source_id, n),"
    " FOREIGN KEY (tenant, source_id) REFERENCES source (tenant, id) ON DELETE CASCADE)"
    " WITHOUT ROWID;"
    "CREATE TABLE stream ("
    " n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, kind TEXT NOT NULL,"
    " last_seq INTEGER NOT NULL, is_closed INTEGER NOT NULL, reason TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, closed_ms INTEGER NOT NULL);"
    "CREATE INDEX stream_open ON stream (id) WHERE is_closed = 0;"
    "CREATE INDEX stream_closed ON stream (closed_ms) WHERE is_closed = 1;"
    "CREATE TABLE block ("
    " stream INTEGER NOT NULL REFERENCES stream (n) ON DELETE CASCADE,"
    " first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, bytes BLOB NOT NULL);"
    "CREATE UNIQUE INDEX block_at ON block (stream, first_seq, last_seq);",
};

/* What the file is: our schema's version, 0 for an empty file; anything else is refused untouched. */
static int identify(struct sqlconn *c, int64_t *ret_version, struct err *err)
{
    int64_t application = 0, version = 0, tables = 0;
    int r = sqlconn_number(c, "PRAGMA application_id", &application, err);
    if (!r)
        r = sqlconn_number(c, "PRAGMA user_version", &version, err);
    if (!r)
        r = sqlconn_number(c, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (r)
        return r;
    bool is_new = application == 0 && version == 0 && tables == 0;
    if (!is_new && (application != APPLICATION_ID || version < 1)) {
        r = err_set(err, ERR_UNSUPPORTED, "'%s' is another program's database", c->path);
        err_hint(err, "move it away, or choose another data directory with --data");
        return r;
    }
    if (version > (int64_t)ARRAY_LEN(migrations)) {
        r = err_set(err, ERR_UNSUPPORTED,
                    "'%s' was written by a newer headwater (schema %lld, this one knows %zu)",
                    c->path, (long long)version, ARRAY_LEN(migrations));
        err_hint(err, "start the newer version, or choose another data directory with --data");
        return r;
    }
    *ret_version = version;
    return 0;
}

/* Where WAL is impossible (some network file systems) SQLite answers with another mode instead of an error. */
static int use_wal(struct sqlconn *c, struct err *err)
{
    char mode[16];
    int r = sqlconn_exec(c,
                         "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                         "PRAGMA foreign_keys = ON; PRAGMA secure_delete = FAST;"
                         "PRAGMA journal_size_limit = 67108864",
                         err);
    if (!r)
        r = sqlconn_word(c, "PRAGMA journal_mode", mode, sizeof mode, err);
    if (!r && strcmp(mode, "wal") != 0) {
        r = err_set(err, ERR_IO, "'%s' lies on a file system without shared memory maps", c->path);
        err_hint(err, "put the data directory on a local disk");
    }
    return r;
}

static int migrate_to(struct sqlconn *c, int64_t version, struct err *err)
{
    char mark[128];
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %lld; COMMIT",
             APPLICATION_ID, (long long)version);
    int r = sqlconn_exec(c, "BEGIN IMMEDIATE", err);
    if (!r)
        r = sqlconn_exec(c, migrations[version - 1], err);
    if (!r)
        r = sqlconn_exec(c, mark, err);
    if (r) {
        sqlconn_rollback(c);
        err_prefix(err, "cannot bring the database to schema %lld", (long long)version);
    }
    return r;
}

int migrate(struct sqlconn *c, struct err *err)
{
    int64_t version = 0;
    int r = identify(c, &version, err);
    if (!r)
        r = use_wal(c, err);
    int64_t from = version;
    while (!r && version < (int64_t)ARRAY_LEN(migrations))
        r = migrate_to(c, ++version, err);
    if (!r && from && from < version)
        LOG_INFO("store", "database migrated", LOG_I("from", from), LOG_I("to", version));
    return r;
}
