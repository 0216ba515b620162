/* Promises of the SQLite backend alone: files, locks, damage, kill -9, groups that fail. */
#include "store_tools.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define T STORE_TENANT_DEFAULT

static int set_up(void **state)
{
    static struct scratch scratch;
    scratch_make(&scratch);
    *state = &scratch;
    return 0;
}

static int tear_down(void **state)
{
    fault_disarm();
    scratch_remove(*state);
    return 0;
}

static const char *dir_of(void **state)
{
    return ((struct scratch *)*state)->dir;
}

static struct store *open_noted(const char *dir, const char **ret_note)
{
    struct store *s = NULL;
    struct err err = {0};
    if (store_open_sqlite(dir, &s, ret_note, &err))
        fail_msg("%s", err.msg);
    return s;
}

static struct store *open_at(const char *dir)
{
    const char *note;
    struct store *s = open_noted(dir, &note);
    assert_null(note);
    return s;
}

static void path_of(char ret[256], const char *dir, const char *name)
{
    assert_in_range(snprintf(ret, 256, "%s/%s", dir, name), 1, 255);
}

static bool has_file(const char *dir, const char *name)
{
    char path[256];
    path_of(path, dir, name);
    return access(path, F_OK) == 0;
}

static void put(struct store *s, const char *id, const char *name)
{
    struct store_source src = source_row(T, id, name);
    struct err err;
    assert_int_equal(store_source_put(s, &src, &err), 0);
}

/* A stream "s" with `count` blocks of `len` bytes. */
static void fill(struct store *s, int count, size_t len)
{
    char *bytes = calloc(1, len);
    memset(bytes, 'x', len);
    struct store_stream st = stream_row(T, "s");
    for (int i = 1; i <= count; i++) {
        struct store_block b = {"s", (uint64_t)i, (uint64_t)i, span_of(bytes, len)};
        assert_int_equal(post_and_wait(s, &st, 1, &b, 1), 0);
    }
    free(bytes);
}

static void overwrite(const char *dir, off_t from, size_t len)
{
    char path[256];
    path_of(path, dir, "headwater.db");
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    char *junk = malloc(len);
    memset(junk, 0xff, len);
    assert_int_equal(pwrite(fd, junk, len, from), len);
    free(junk);
    close(fd);
}

static void sql_on(const char *dir, const char *sql)
{
    char path[256];
    path_of(path, dir, "headwater.db");
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* ---- files ---- */

static void everything_is_there_after_reopening(void **state)
{
    struct store *s = open_at(dir_of(state));
    char path[] = "p", reason[] = "r";
    struct store_skipped one = {path, reason}, *items;
    put(s, "a", "alpha");
    assert_int_equal(store_skipped_put(s, T, "a", &one, 1, NULL), 0);
    fill(s, 3, 10000);
    store_close(s);
    s = open_at(dir_of(state));
    struct store_source got;
    assert_int_equal(store_source_get(s, T, "a", &got, NULL), 0);
    assert_string_equal(got.name, "alpha");
    store_source_done(&got);
    size_t count, len;
    assert_int_equal(store_skipped_list(s, T, "a", 0, 9, &items, &count, NULL), 0);
    assert_int_equal(count, 1);
    store_skipped_free(items, count);
    char *bytes;
    uint64_t first;
    assert_int_equal(store_block_get(s, "s", 3, &bytes, &len, &first, NULL), 0);
    assert_int_equal(len, 10000);
    assert_true(bytes[0] == 'x' && bytes[len - 1] == 'x');
    mem_free(bytes);
    store_close(s);
}

static void missing_directories_are_made_private(void **state)
{
    char deep[256], sub[256];
    path_of(sub, dir_of(state), "one");
    path_of(deep, dir_of(state), "one/two");
    store_close(open_at(deep));
    struct stat st;
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(sub, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    struct scratch made;
    snprintf(made.dir, sizeof made.dir, "%.63s", deep);
    scratch_remove(&made);
    assert_int_equal(rmdir(sub), 0);
}

static void directory_that_is_a_file_is_refused(void **state)
{
    char path[256];
    path_of(path, dir_of(state), "plain");
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    struct store *s;
    struct err err;
    assert_int_equal(store_open_sqlite(path, &s, NULL, &err), -ERR_INVALID);
    assert_non_null(strstr(err.msg, path));
}

static void directory_in_use_is_refused(void **state)
{
    struct store *s = open_at(dir_of(state)), *second;
    struct err err;
    char pid[32];
    snprintf(pid, sizeof pid, "process %d", (int)getpid());
    assert_int_equal(store_open_sqlite(dir_of(state), &second, NULL, &err), -ERR_BUSY);
    assert_non_null(strstr(err.msg, pid));
    assert_true(err.hint[0] != 0);
    pid_t child = fork();
    if (child == 0) /* refused before any thread or database is touched */
        _exit(store_open_sqlite(dir_of(state), &second, NULL, NULL) == -ERR_BUSY ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    put(s, "a", "alpha"); /* the holder is undisturbed */
    assert_int_equal(store_open_sqlite(dir_of(state), &second, NULL, &err), -ERR_BUSY);
    store_close(s);
    store_close(open_at(dir_of(state)));
}

/* ---- damage and versions ---- */

static void check_set_aside(const char *dir, const char *kept)
{
    const char *note;
    struct store *s = open_noted(dir, &note);
    assert_non_null(note);
    assert_non_null(strstr(note, kept));
    assert_true(has_file(dir, kept));
    struct store_source got;
    assert_int_equal(store_source_get(s, T, "a", &got, NULL), -ERR_NOT_FOUND);
    put(s, "a", "alpha");
    store_close(s);
    assert_false(has_file(dir, "headwater.db.suspect"));
    s = open_at(dir); /* said once */
    assert_int_equal(store_source_get(s, T, "a", &got, NULL), 0);
    store_source_done(&got);
    store_close(s);
}

static void damaged_header_is_set_aside(void **state)
{
    struct store *s = open_at(dir_of(state));
    put(s, "a", "alpha");
    store_close(s);
    overwrite(dir_of(state), 0, 64);
    check_set_aside(dir_of(state), "headwater.db.damaged-1");
    overwrite(dir_of(state), 0, 64);
    check_set_aside(dir_of(state), "headwater.db.damaged-2"); /* and the first one is kept */
    assert_true(has_file(dir_of(state), "headwater.db.damaged-1"));
}

static void damaged_schema_is_set_aside(void **state)
{
    struct store *s = open_at(dir_of(state));
    put(s, "a", "alpha");
    store_close(s);
    overwrite(dir_of(state), 100, 3996);
    check_set_aside(dir_of(state), "headwater.db.damaged-1");
}

static void damaged_tree_root_is_set_aside(void **state)
{
    struct store *s = open_at(dir_of(state));
    put(s, "a", "alpha");
    store_close(s);
    overwrite(dir_of(state), 4096, 4096);
    check_set_aside(dir_of(state), "headwater.db.damaged-1");
}

static void truncated_file_is_set_aside(void **state)
{
    struct store *s = open_at(dir_of(state));
    put(s, "a", "alpha");
    fill(s, 10, 10000);
    store_close(s);
    char path[256];
    path_of(path, dir_of(state), "headwater.db");
    assert_int_equal(truncate(path, 20480), 0);
    check_set_aside(dir_of(state), "headwater.db.damaged-1");
}

static void empty_file_is_a_new_database(void **state)
{
    char path[256];
    path_of(path, dir_of(state), "headwater.db");
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    store_close(open_at(dir_of(state)));
}

static void damage_met_while_running_is_an_error_and_checked_at_the_next_start(void **state)
{
    const char *dir = dir_of(state);
    struct store *s = open_at(dir);
    fill(s, 50, 20000);
    store_close(s);
    overwrite(dir, 40 * 4096, 100 * 4096);
    s = open_at(dir); /* the damage is where a start does not look */
    int corrupt = 0;
    for (uint64_t seq = 1; seq <= 50; seq++) {
        char *bytes = NULL;
        size_t len;
        uint64_t first;
        struct err err;
        int r = store_block_get(s, "s", seq, &bytes, &len, &first, &err);
        assert_true(r == 0 || r == -ERR_CORRUPT);
        if (r) {
            assert_true(err.hint[0] != 0);
            corrupt++;
        }
        mem_free(bytes);
    }
    assert_true(corrupt > 0 && corrupt < 50);
    store_close(s);
    assert_true(has_file(dir, "headwater.db.suspect"));
    check_set_aside(dir, "headwater.db.damaged-1");
    assert_false(has_file(dir, "headwater.db.suspect"));
}

static void suspicion_without_damage_is_dropped(void **state)
{
    char path[256];
    struct store *s = open_at(dir_of(state));
    put(s, "a", "alpha");
    store_close(s);
    path_of(path, dir_of(state), "headwater.db.suspect");
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    store_close(open_at(dir_of(state)));
    assert_false(has_file(dir_of(state), "headwater.db.suspect"));
}

static void newer_schema_is_refused_and_left_alone(void **state)
{
    store_close(open_at(dir_of(state)));
    sql_on(dir_of(state), "PRAGMA user_version = 999");
    struct store *s;
    struct err err;
    assert_int_equal(store_open_sqlite(dir_of(state), &s, NULL, &err), -ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "schema 999"));
    assert_true(err.hint[0] != 0);
    assert_false(has_file(dir_of(state), "headwater.db.damaged-1"));
    sql_on(dir_of(state), "PRAGMA user_version = 1");
    store_close(open_at(dir_of(state)));
}

static void other_programs_database_is_refused_and_left_alone(void **state)
{
    sql_on(dir_of(state), "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
    struct store *s;
    struct err err;
    assert_int_equal(store_open_sqlite(dir_of(state), &s, NULL, &err), -ERR_UNSUPPORTED);
    sql_on(dir_of(state), "SELECT x FROM theirs");
    assert_false(has_file(dir_of(state), "headwater.db-wal"));
}

static void every_failing_step_of_opening_is_an_error_and_no_damage(void **state)
{
    for (int is_new = 1; is_new >= 0; is_new--) {
        for (uint64_t nth = 1;; nth++) {
            assert_true(nth < 1000);
            if (is_new)
                scratch_remove(*state); /* each time from nothing */
            struct store *s = NULL;
            struct err err = {0};
            fault_arm(FAULT_SQL, nth, 0);
            int r = store_open_sqlite(dir_of(state), &s, NULL, &err);
            bool is_past = fault_seen(FAULT_SQL) < nth;
            fault_disarm();
            assert_true(r == 0 || (r == -ERR_IO && err.msg[0]));
            if (!r)
                store_close(s);
            assert_false(has_file(dir_of(state), "headwater.db.damaged-1"));
            s = open_at(dir_of(state));
            put(s, "a", "alpha");
            store_close(s);
            if (is_past)
                break;
        }
    }
}

/* ---- groups ---- */

struct gate {
    sem_t entered, open;
};

static void hold_writer(void *ctx, int result)
{
    struct gate *g = ctx;
    assert_int_equal(result, 0);
    sem_post(&g->entered);
    while (sem_wait(&g->open))
        ;
}

static void keep_result(void *ctx, int result)
{
    *(int *)ctx = result;
}

/* Ten posts that become one group; the fourth names an unknown stream. */
static void post_group(struct store *s, int results[10], uint64_t fault_nth)
{
    struct gate g;
    sem_init(&g.entered, 0, 0);
    sem_init(&g.open, 0, 0);
    assert_int_equal(store_post_streams(s, NULL, 0, NULL, 0, hold_writer, &g), 0);
    while (sem_wait(&g.entered))
        ;
    for (int i = 0; i < 10; i++) {
        char id[8];
        snprintf(id, sizeof id, "g%d", i);
        struct store_stream st = stream_row(T, id);
        struct store_block b = {i == 3 ? "unknown" : id, 1, 1, SPAN_LIT("x")};
        results[i] = 99;
        assert_int_equal(store_post_streams(s, &st, 1, &b, 1, keep_result, &results[i]), 0);
    }
    if (fault_nth)
        fault_arm(FAULT_SQL, fault_nth, 0);
    sem_post(&g.open);
    while (post_and_wait(s, NULL, 0, NULL,
                         0)) /* in order: the ten are done; itself it may meet the fault */
        ;
}

static void failing_post_takes_nothing_of_its_group_along(void **state)
{
    struct store *s = open_at(dir_of(state));
    int results[10];
    post_group(s, results, 0);
    for (int i = 0; i < 10; i++) {
        char id[8];
        snprintf(id, sizeof id, "g%d", i);
        struct store_stream got;
        int want = i == 3 ? -ERR_NOT_FOUND : 0;
        assert_int_equal(results[i], want);
        assert_int_equal(store_stream_get(s, T, id, &got, NULL), want);
    }
    store_close(s);
}

static void result_of_each_post_is_true_whichever_step_of_its_group_fails(void **state)
{
    for (uint64_t nth = 1;; nth++) {
        assert_true(nth < 300);
        struct store *s = open_at(dir_of(state));
        int results[10];
        post_group(s, results, nth);
        bool is_past = fault_seen(FAULT_SQL) < nth;
        fault_disarm();
        store_close(s);
        s = open_at(dir_of(state));
        size_t count;
        for (int i = 0; i < 10; i++) {
            char id[8];
            snprintf(id, sizeof id, "g%d", i);
            struct store_stream got;
            int there = store_stream_get(s, T, id, &got, NULL);
            assert_true(results[i] == 0 || results[i] == -ERR_IO || i == 3);
            assert_int_equal(there, results[i] ? -ERR_NOT_FOUND : 0);
            if (!there) { /* away for the next round */
                got.is_closed = true;
                assert_int_equal(post_and_wait(s, &got, 1, NULL, 0), 0);
            }
        }
        assert_int_equal(store_streams_expire(s, INT64_MAX, 100, &count, NULL), 0);
        store_close(s);
        if (is_past)
            break;
    }
}

static void lock_held_by_another_program_is_said(void **state)
{
    struct store *s = open_at(dir_of(state));
    char path[256];
    path_of(path, dir_of(state), "headwater.db");
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct store_source src = source_row(T, "a", "alpha");
    struct err err;
    assert_int_equal(store_source_put(s, &src, &err), -ERR_BUSY);
    assert_true(err.hint[0] != 0);
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(store_source_put(s, &src, &err), 0);
    store_close(s);
}

static void full_disk_is_an_error_until_there_is_room(void **state)
{
    struct store *s = open_at(dir_of(state));
    fill(s, 5, 10000);
    struct rlimit old, small = {300000, 0};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static char bytes[100000];
    struct store_stream st = stream_row(T, "big");
    int r = 0;
    uint64_t stored = 0;
    for (uint64_t i = 1; i < 20 && !r; i++) {
        struct store_block b = {"big", i, i, span_of(bytes, sizeof bytes)};
        r = post_and_wait(s, &st, 1, &b, 1);
        stored += !r;
    }
    struct store_source src = source_row(T, "a", "alpha");
    struct err err = {0};
    int small_write = store_source_put(s, &src, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(r, -ERR_IO);
    assert_true(small_write == 0 || (small_write == -ERR_IO && err.hint[0]));
    put(s, "a", "alpha");
    store_close(s);
    s = open_at(dir_of(state));
    char *got;
    size_t len;
    uint64_t first;
    for (uint64_t i = 1; i <= stored + 1; i++) { /* all that was acknowledged, and nothing else */
        assert_int_equal(store_block_get(s, "big", i, &got, &len, &first, NULL),
                         i <= stored ? 0 : -ERR_NOT_FOUND);
        if (i <= stored)
            mem_free(got);
    }
    assert_int_equal(store_block_get(s, "s", 5, &got, &len, &first, NULL), 0);
    mem_free(got);
    store_close(s);
}

/* ---- kill -9 ---- */

static void acknowledge(void *ctx, int result)
{
    uint32_t number = (uint32_t)(uintptr_t)ctx;
    if (result || write(STDOUT_FILENO, &number, sizeof number) != sizeof number)
        _exit(3);
}

/* The child: writes for ever, saying on standard output which writes are done. */
static int write_for_ever(const char *dir)
{
    struct store *s;
    if (store_open_sqlite(dir, &s, NULL, NULL))
        return 2;
    static char bytes[3000];
    for (uintptr_t i = 1;; i++) {
        struct store_stream st = stream_row(T, "s");
        st.last_seq = i;
        memset(bytes, (int)('a' + i % 26), sizeof bytes);
        struct store_block b = {"s", i, i, span_of(bytes, sizeof bytes)};
        int r;
        while ((r = store_post_streams(s, &st, 1, &b, 1, acknowledge, (void *)i)) == -ERR_LIMIT)
            sched_yield();
        if (r)
            return 2;
    }
}

static void acknowledged_writes_survive_kill_9(void **state)
{
    for (uint32_t round = 0; round < 5; round++) {
        int out[2];
        assert_int_equal(pipe2(out, O_CLOEXEC), 0);
        pid_t child = fork();
        if (child == 0) {
            dup2(out[1], STDOUT_FILENO);
            execl("/proc/self/exe", "test_store_sqlite", "write", dir_of(state), (char *)NULL);
            _exit(4);
        }
        close(out[1]);
        uint32_t number, last = 0;
        while (read(out[0], &number, sizeof number) == sizeof number) {
            last = number;
            if (number == 200 + round * 777)
                kill(child, SIGKILL);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        close(out[0]);
        assert_true(last >= 200);
        struct store *s = open_at(dir_of(state));
        struct store_stream st;
        assert_int_equal(store_stream_get(s, T, "s", &st, NULL), 0);
        assert_true(st.last_seq >= last);
        for (uint64_t seq = 1; seq <= last; seq++) {
            char *bytes;
            size_t len;
            uint64_t first;
            assert_int_equal(store_block_get(s, "s", seq, &bytes, &len, &first, NULL), 0);
            assert_int_equal(first, seq);
            assert_int_equal(len, 3000);
            assert_int_equal(bytes[2999], 'a' + seq % 26);
            mem_free(bytes);
        }
        store_close(s);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0)
        return write_for_ever(argv[2]);
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(everything_is_there_after_reopening),
        CASE(missing_directories_are_made_private),
        CASE(directory_that_is_a_file_is_refused),
        CASE(directory_in_use_is_refused),
        CASE(damaged_header_is_set_aside),
        CASE(damaged_schema_is_set_aside),
        CASE(damaged_tree_root_is_set_aside),
        CASE(truncated_file_is_set_aside),
        CASE(empty_file_is_a_new_database),
        CASE(damage_met_while_running_is_an_error_and_checked_at_the_next_start),
        CASE(suspicion_without_damage_is_dropped),
        CASE(newer_schema_is_refused_and_left_alone),
        CASE(other_programs_database_is_refused_and_left_alone),
        CASE(every_failing_step_of_opening_is_an_error_and_no_damage),
        CASE(failing_post_takes_nothing_of_its_group_along),
        CASE(result_of_each_post_is_true_whichever_step_of_its_group_fails),
        CASE(lock_held_by_another_program_is_said),
        CASE(full_disk_is_an_error_until_there_is_room),
        CASE(acknowledged_writes_survive_kill_9),
    };
    return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
