/*
 * What SQLite costs for event payloads: each event a row, in grouped commits, against blocks of 64 KiB through the
 * store as it is. Events have 100 bytes of payload and come from one stream, or round-robin from STREAMS. Prints a
 * table; CPU is that of the whole process, checkpoints and closing included. Then how long opening 1 GB takes.
 *
 *   bench_store DIR [events]     DIR is made and must not hold data that you want to keep
 */
#include "base/clock.h"
#include "base/mem.h"
#include "store/store.h"

#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define STREAMS 1000
#define PAYLOAD 100
#define RECORD (PAYLOAD + 16) /* a log record: sequence number, type, length, checksum */
#define BLOCK (64u << 10)
#define PER_BLOCK (BLOCK / RECORD)
#define BIG_BYTES (1ull << 30)

static const char *dir;

static void die(const char *what)
{
    fprintf(stderr, "bench_store: %s failed\n", what);
    exit(1);
}

static double cpu_seconds(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u))
        die("getrusage");
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct run {
    uint64_t wall;
    double cpu;
};

static struct run begin(void)
{
    return (struct run){clock_ns(), cpu_seconds()};
}

static void end(struct run r, const char *what, uint64_t events)
{
    double wall = (double)(clock_ns() - r.wall) / 1e9, cpu = cpu_seconds() - r.cpu;
    printf("%-36s %9llu events %10.0f events/s %7.3f CPU-s per million\n", what,
           (unsigned long long)events, (double)events / wall, cpu / (double)events * 1e6);
    fflush(stdout);
}

static void path_of(char ret[512], const char *name)
{
    if (snprintf(ret, 512, "%s/%s", dir, name) >= 512)
        die("a shorter DIR");
}

static void clean(void)
{
    static const char *const names[] = {"rows.db",       "rows.db-wal",      "rows.db-shm",
                                        "headwater.db",  "headwater.db-wal", "headwater.db-shm",
                                        "headwater.lock"};
    char path[512];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        path_of(path, names[i]);
        (void)unlink(path);
    }
}

/* ---- an event a row ---- */

static void exec(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        die(sqlite3_errmsg(db));
}

static sqlite3 *rows_open(void)
{
    char path[512];
    path_of(path, "rows.db");
    sqlite3 *db;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL))
        die("opening rows.db");
    exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA mmap_size = 67108864;"
             "CREATE TABLE IF NOT EXISTS event (stream INTEGER NOT NULL, seq INTEGER NOT NULL,"
             " type INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (stream, seq))"
             " WITHOUT ROWID");
    return db;
}

static void rows_write(sqlite3 *db, uint64_t events, uint64_t streams, uint64_t group)
{
    static const char payload[PAYLOAD] = "payload";
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(db, "INSERT INTO event VALUES (?1, ?2, 2, ?3)", -1, &stmt, NULL))
        die("preparing");
    exec(db, "BEGIN");
    for (uint64_t i = 0; i < events; i++) {
        sqlite3_bind_int64(stmt, 1, (sqlite3_int64)(i % streams));
        sqlite3_bind_int64(stmt, 2, (sqlite3_int64)(i / streams + 1));
        sqlite3_bind_blob(stmt, 3, payload, PAYLOAD, SQLITE_STATIC);
        if (sqlite3_step(stmt) != SQLITE_DONE)
            die("inserting");
        sqlite3_reset(stmt);
        if ((i + 1) % group == 0)
            exec(db, "COMMIT; BEGIN");
    }
    exec(db, "COMMIT");
    sqlite3_finalize(stmt);
}

static void rows_read(sqlite3 *db)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(
            db, "SELECT seq, payload FROM event WHERE stream = ?1 AND seq > 0 ORDER BY seq", -1,
            &stmt, NULL))
        die("preparing");
    uint64_t seen = 0;
    struct run r = begin();
    for (int stream = 0; stream < STREAMS; stream++) {
        sqlite3_bind_int64(stmt, 1, stream);
        while (sqlite3_step(stmt) == SQLITE_ROW)
            seen += sqlite3_column_bytes(stmt, 1) == PAYLOAD;
        sqlite3_reset(stmt);
    }
    end(r, "read back, rows", seen);
    sqlite3_finalize(stmt);
}

static void bench_rows(uint64_t events, uint64_t streams, uint64_t group)
{
    char what[64];
    clean();
    snprintf(what, sizeof what, "rows, %llu streams, commits of %llu", (unsigned long long)streams,
             (unsigned long long)group);
    struct run r = begin();
    sqlite3 *db = rows_open();
    rows_write(db, events, streams, group);
    sqlite3_close(db);
    end(r, what, events);
}

/* ---- blocks through the store ---- */

#define WINDOW 256 /* posts under way */

static void on_done(void *ctx, int result)
{
    if (result)
        die("a post");
    sem_post(ctx);
}

static struct store *blocks_open(void)
{
    struct store *s;
    struct err err;
    if (store_open_sqlite(dir, &s, NULL, &err))
        die(err.msg);
    return s;
}

/* Returns the events written. */
static uint64_t blocks_write(struct store *s, uint64_t events)
{
    static char bytes[BLOCK];
    sem_t window;
    sem_init(&window, 0, WINDOW);
    uint64_t blocks = (events + PER_BLOCK - 1) / PER_BLOCK;
    for (uint64_t i = 0; i < blocks; i++) {
        struct store_stream st = {.tenant = STORE_TENANT_DEFAULT, .kind = "answer"};
        snprintf(st.id, sizeof st.id, "stream-%llu", (unsigned long long)(i % STREAMS));
        uint64_t first = i / STREAMS * PER_BLOCK + 1;
        st.last_seq = first + PER_BLOCK - 1;
        for (uint64_t e = 0; e < PER_BLOCK; e++) /* the copying that a real spill does */
            memset(bytes + e * RECORD, (int)('a' + e % 26), RECORD);
        struct store_block b = {st.id, first, st.last_seq, span_of(bytes, PER_BLOCK * RECORD)};
        while (sem_wait(&window))
            ;
        if (store_post_streams(s, &st, 1, &b, 1, on_done, &window))
            die("posting");
    }
    for (int i = 0; i < WINDOW; i++)
        while (sem_wait(&window))
            ;
    sem_destroy(&window);
    return blocks * PER_BLOCK;
}

static void blocks_read(struct store *s)
{
    uint64_t seen = 0;
    struct run r = begin();
    for (int i = 0; i < STREAMS; i++) {
        char id[STORE_ID_MAX], *bytes;
        snprintf(id, sizeof id, "stream-%d", i);
        size_t len;
        uint64_t first, next = 1;
        while (!store_block_get(s, id, next, &bytes, &len, &first, NULL)) {
            seen += len / RECORD;
            next = first + len / RECORD;
            mem_free(bytes);
        }
    }
    end(r, "read back, blocks", seen);
}

static void bench_blocks(uint64_t events)
{
    clean();
    struct run r = begin();
    struct store *s = blocks_open();
    uint64_t written = blocks_write(s, events);
    store_close(s);
    end(r, "blocks of 64 KiB, store", written);
    s = blocks_open();
    blocks_read(s);
    store_close(s);
}

static void bench_start(void)
{
    clean();
    struct store *s = blocks_open();
    (void)blocks_write(s, BIG_BYTES / RECORD);
    store_close(s);
    char path[512];
    path_of(path, "headwater.db");
    struct stat st;
    if (stat(path, &st))
        die("stat");
    for (int i = 0; i < 3; i++) {
        uint64_t from = clock_ns();
        s = blocks_open();
        uint64_t opened = clock_ns();
        store_close(s);
        printf("open %lld MB: %.2f ms\n", (long long)(st.st_size >> 20),
               (double)(opened - from) / 1e6);
    }
    clean();
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_store DIR [events]\n");
        return 2;
    }
    dir = argv[1];
    uint64_t events = 1000000;
    if (argc > 2 && !parse_u64(span_str(argv[2]), &events))
        die("reading the number of events");
    if (mkdir(dir, 0700) && access(dir, W_OK))
        die("making DIR");
    static const uint64_t groups[] = {100, 300, 1000};
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        bench_rows(events, 1, groups[i]); /* keys in order: the best case for rows */
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        bench_rows(events, STREAMS, groups[i]);
    sqlite3 *db = rows_open();
    rows_read(db);
    sqlite3_close(db);
    bench_blocks(events * 4);
    bench_start();
    return 0;
}
