/* Promises of the log on disk: what was seen is still there, every stream has one end, damage is contained. */
#include "kit.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "stream/stream_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- records ---- */

static void a_record_cut_or_changed_anywhere_is_noticed(void **state)
{
    (void)state;
    char bytes[256], changed[256];
    struct record in = {STREAM_TOKEN, 300, 70000, SPAN_LIT("some text")}, out;
    size_t len = record_put(bytes, &in);
    assert_int_equal(len, record_size(&in));
    struct span rest = span_of(bytes, len);
    assert_int_equal(record_next(&rest, &out), RECORD_OK);
    assert_int_equal(record_next(&rest, &out), RECORD_END);
    assert_true(out.type == in.type && out.key == in.key && out.seq == in.seq &&
                span_eq(out.payload, in.payload));
    for (size_t n = 1; n < len; n++) {
        rest = span_of(bytes, n);
        assert_int_equal(record_next(&rest, &out), RECORD_TORN);
        assert_int_equal(rest.len, n);
    }
    for (size_t i = 0; i < len * 8; i++) {
        memcpy(changed, bytes, len);
        changed[i / 8] ^= (char)(1 << (i % 8));
        rest = span_of(changed, len);
        assert_int_equal(record_next(&rest, &out), RECORD_DAMAGED);
    }
}

/* ---- restarts ---- */

static char *id_of(struct stream *s)
{
    return strdup(stream_id(s));
}

static void assert_ends_once(const struct seen *seen, const char *reason)
{
    char end[80];
    int n = snprintf(end, sizeof end, "\1\6{\"reason\":\"%s\"}\2", reason);
    assert_true(seen->len >= (size_t)n);
    assert_memory_equal(seen->text + seen->len - n, end, (size_t)n);
    const char *first = memmem(seen->text, seen->len, "\1\6", 2);
    assert_ptr_equal(first, seen->text + seen->len - n);
}

/* Nobody writes a stream that was given up or was written by another process: it has ended. */
static struct stream *find_ended(struct world *w, const char *id)
{
    struct stream *s = find_stream(w, id, NULL);
    assert_non_null(s);
    assert_true(stream_is_closed(s));
    return s;
}

static void assert_stored(struct world *w, const char *id, const char *text, const char *reason)
{
    struct stream *s = find_ended(w, id);
    struct seen seen;
    read_all(s, &seen);
    assert_memory_equal(seen.text, text, strlen(text));
    assert_ends_once(&seen, reason);
    struct reader *r = calloc(1, sizeof *r);
    reader_start(r, w, s, 0);
    reader_wait(r);
    assert_int_equal(r->seen.len, seen.len);
    assert_memory_equal(r->seen.text, seen.text, seen.len);
    assert_string_equal(r->reason, reason);
    seen_done(&r->seen);
    free(r);
    seen_done(&seen);
    stream_unref(s);
}

static size_t files_in(const char *dir, const char *ending)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    size_t n = 0;
    while (d && (e = readdir(d)))
        n += span_ends(span_str(e->d_name), span_str(ending));
    if (d)
        closedir(d);
    return n;
}

static void a_restart_keeps_events_and_ends_what_runs_once(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, false, 0);
    struct stream *a = new_stream(&w, true), *b = new_stream(&w, true);
    char *ida = id_of(a), *idb = id_of(b);
    append_text(a, "finished");
    stream_close(a, "stop", NULL);
    append_text(b, "running");
    stream_unref_producer(a);
    stream_unref_producer(b); /* given up without a close */
    for (int i = 0; i < 4; i++) {
        assert_stored(&w, ida, "finished", "stop");
        assert_stored(&w, idb, "running", "error");
        world_hub_close(&w);
        assert_int_equal(files_in(w.journal, ".log"), 0);
        world_hub(&w, 0);
    }
    int result = 0;
    assert_null(find_stream(&w, "st_unknown", &result));
    assert_int_equal(result, -ERR_NOT_FOUND);
    free(ida);
    free(idb);
    world_close(&w);
}

static void closing_the_hub_ends_live_streams(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true, 0);
    struct stream *s = new_stream(&w, true), *empty = new_stream(&w, true);
    char *id = id_of(s), *id_empty = id_of(empty);
    append_text(s, "text");
    world_hub_close(&w);
    assert_int_equal(stream_append(s, STREAM_TOKEN, SPAN_LIT("late")), -ERR_CANCELLED);
    stream_unref_producer(s);
    stream_unref_producer(empty);
    world_hub(&w, 0);
    assert_stored(&w, id, "text", "interrupted");
    assert_stored(&w, id_empty, "", "interrupted");
    free(id);
    free(id_empty);
    world_close(&w);
}

/* ---- kill -9 ---- */

#define CRASH_STREAMS 4

static size_t expected_payload(int stream, uint64_t seq, char *ret)
{
    int n = snprintf(ret, 64, "<%d:%llu>", stream, (unsigned long long)seq);
    size_t more = (size_t)(seq % 50) * (seq % 97 == 0 ? 200 : 1);
    memset(ret + n, 'a' + (int)(seq % 26), more);
    return (size_t)n + more;
}

struct told { /* through the pipe, at once: below PIPE_BUF */
    int stream;
    uint64_t seq;
    char id[STORE_ID_MAX];
};

struct teller {
    struct follower follower;
    struct told told;
    int fd;
    struct buf in;
};

static void tell(struct follower *f)
{
    struct teller *t = container_of(f, struct teller, follower);
    struct iovec iov[4];
    int count = 4;
    while (follower_peek(f, iov, &count) == FOLLOWER_READY) {
        size_t taken = 0;
        for (int i = 0; i < count; i++) {
            buf_put(&t->in, iov[i].iov_base, iov[i].iov_len);
            taken += iov[i].iov_len;
        }
        follower_consume(f, taken);
        while (t->in.len >= 13) {
            uint32_t len;
            memcpy(&len, t->in.ptr + 9, 4);
            if (t->in.len < 13 + (size_t)len)
                break;
            memcpy(&t->told.seq, t->in.ptr + 1, 8);
            buf_drop(&t->in, 13 + (size_t)len);
        }
        if (write(t->fd, &t->told, sizeof t->told) != sizeof t->told)
            _exit(3);
        count = 4;
    }
}

struct child {
    struct world w;
    struct stream *streams[CRASH_STREAMS];
    struct teller tellers[CRASH_STREAMS];
};

static void start_tellers(void *arg)
{
    struct child *c = arg;
    for (int i = 0; i < CRASH_STREAMS; i++) {
        follower_start(&c->tellers[i].follower, c->w.loop, c->streams[i], &kit_codec_plain, 0,
                       tell);
        tell(&c->tellers[i].follower);
    }
}

static void run_child(const char *dir, int fd)
{
    static struct child c;
    world_open_dir(&c.w, dir, 200000);
    for (int i = 0; i < CRASH_STREAMS; i++) {
        c.streams[i] = new_stream(&c.w, true);
        c.tellers[i].fd = fd;
        c.tellers[i].told.stream = i;
        snprintf(c.tellers[i].told.id, STORE_ID_MAX, "%s", stream_id(c.streams[i]));
        buf_init(&c.tellers[i].in, 16 << 20);
    }
    on_loop(&c.w, start_tellers, &c);
    for (uint64_t seq = 1;; seq++) {
        for (int i = 0; i < CRASH_STREAMS; i++) {
            char payload[16384];
            size_t len = expected_payload(i, seq, payload);
            while (stream_append(c.streams[i], STREAM_TOKEN, span_of(payload, len)) == -ERR_LIMIT)
                wait_ms(1);
        }
        if (seq % 64 == 0)
            wait_ms(1);
    }
}

struct checking {
    int stream;
    uint64_t next, done;
};

static int check_event(void *ctx, const struct stream_event *e)
{
    struct checking *c = ctx;
    char payload[16384];
    assert_int_equal(e->seq, ++c->next);
    assert_int_equal(c->done, 0);
    if (e->type == STREAM_DONE) {
        assert_true(span_is(e->payload, "{\"reason\":\"interrupted\"}"));
        c->done = e->seq;
        return 0;
    }
    size_t len = expected_payload(c->stream, e->seq, payload);
    assert_int_equal(e->payload.len, len);
    assert_memory_equal(e->payload.ptr, payload, len);
    return 0;
}

static void kill_round(const char *dir, unsigned ms)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        run_child(dir, fds[1]);
        _exit(2);
    }
    close(fds[1]);
    struct told told, last[CRASH_STREAMS] = {{0}};
    uint64_t until = 0;
    while (read(fds[0], &told, sizeof told) == sizeof told) {
        last[told.stream] = told;
        if (!until)
            until =
                clock_ms() + ms; /* from the first event seen: start-up time is not part of it */
        if (until != UINT64_MAX && clock_ms() >= until) {
            kill(pid, SIGKILL);
            until = UINT64_MAX; /* what is in the pipe was seen, too */
        }
    }
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    struct world w;
    world_open_dir(&w, dir, 0);
    for (int i = 0; i < CRASH_STREAMS; i++) {
        if (!last[i].seq)
            continue;
        struct stream *s = find_stream(&w, last[i].id, NULL);
        assert_non_null(s);
        struct checking c = {.stream = i};
        struct err err;
        assert_int_equal(stream_read(s, 0, true, check_event, &c, &err), 0);
        assert_true(c.done > last[i].seq);
        stream_unref(s);
    }
    world_close_keep(&w);
}

static void what_was_seen_survives_kill_9(void **state)
{
    (void)state;
    char dir[] = "/tmp/hw-crash-XXXXXX";
    assert_non_null(mkdtemp(dir));
    srand(7);
    for (int i = 0; i < 30; i++)
        kill_round(dir, (unsigned)(rand() % 60));
    remove_tree(dir);
}

/* ---- torn and damaged files ---- */

struct file {
    char bytes[4096];
    size_t len, last3; /* last3: where the last three records begin */
};

static void build_file(struct file *f, const char *id, int events)
{
    memset(f, 0, sizeof *f);
    memcpy(f->bytes, JOURNAL_MAGIC, 8);
    f->bytes[8] = 1;
    f->len = JOURNAL_HEADER_BYTES;
    char payload[RECORD_OPEN_MAX_BYTES];
    struct record_open open = {span_str(id), SPAN_LIT("default"), SPAN_LIT("answer"), 1};
    struct record r = {RECORD_OPEN, 9, 0, span_of(payload, record_open_put(payload, &open))};
    f->len += record_put(f->bytes + f->len, &r);
    for (int i = 1; i <= events; i++) {
        if (i == events - 2)
            f->last3 = f->len;
        int n = snprintf(payload, sizeof payload, "%d,", i);
        struct record t = {STREAM_TOKEN, 9, (uint64_t)i, span_of(payload, (size_t)n)};
        f->len += record_put(f->bytes + f->len, &t);
    }
}

static void write_file(const char *dir, const char *name, const char *bytes, size_t len)
{
    char path[512];
    mkdir(dir, 0700);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

static bool is_recovered(void *arg)
{
    struct hub *h = arg;
    lock_enter(&h->table_lock);
    bool empty = h->table.count == 0;
    lock_leave(&h->table_lock);
    return empty && atomic_load(&h->recovering) == 0;
}

static bool has_no_files(void *arg)
{
    return files_in(arg, ".log") == 0;
}

/* The text before the end; must be "1,2,…,n," for some n. */
static int recovered_count(struct hub *h, const char *id)
{
    assert_true(wait_until(is_recovered, h));
    struct store_stream row;
    struct err err;
    assert_int_equal(store_stream_get(h->store, "default", id, &row, &err), 0);
    assert_true(row.is_closed);
    assert_string_equal(row.reason, "interrupted");
    struct stream *s = stream_new(h, id, "default", "", true);
    s->last_seq = s->committed_seq = row.last_seq;
    s->is_closed = s->is_stored = true;
    struct seen seen;
    read_all(s, &seen);
    assert_ends_once(&seen, "interrupted");
    char expected[64];
    size_t len = 0;
    for (uint64_t i = 1; i < row.last_seq; i++)
        len += (size_t)snprintf(expected + len, sizeof expected - len, "%d,", (int)i);
    assert_memory_equal(seen.text, expected, len);
    seen_done(&seen);
    stream_unref(s);
    return (int)row.last_seq - 1;
}

static int recover_from(char *dir, const struct file *f, size_t len, size_t *ret_damaged)
{
    struct err err = {0};
    struct store *store;
    struct worker_pool *workers;
    struct hub *h;
    write_file(dir, "00000001.log", f->bytes, len);
    assert_int_equal(store_open_memory(&store, &err), 0);
    assert_int_equal(worker_pool_new(1, 1, &workers, &err), 0);
    if (hub_open(&(struct hub_options){dir, 0, 0}, store, workers, &h, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(wait_until(has_no_files, dir)); /* once all is stored */
    *ret_damaged = files_in(dir, ".damaged");
    int n = recovered_count(h, "st_torn");
    hub_close(h);
    worker_pool_free(workers);
    store_close(store);
    remove_tree(dir);
    return n;
}

static void torn_and_damaged_tails_keep_all_before_them(void **state)
{
    (void)state;
    char dir[] = "/tmp/hw-torn-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct file f;
    size_t damaged;
    build_file(&f, "st_torn", 8);
    assert_int_equal(recover_from(dir, &f, f.len, &damaged), 8);
    assert_int_equal(damaged, 0);
    for (size_t len = f.last3; len < f.len; len++) {
        int n = recover_from(dir, &f, len, &damaged);
        assert_in_range(n, 5, 7);
        assert_int_equal(damaged, 0); /* what kill -9 does is no damage */
    }
    for (size_t at = f.last3; at < f.len; at++) {
        struct file bad = f;
        bad.bytes[at] = (char)(bad.bytes[at] ^ 0x10);
        assert_in_range(recover_from(dir, &bad, bad.len, &damaged), 5, 7);
        assert_int_equal(damaged, 1);
    }
    struct file zeros = f; /* a power cut leaves zeros behind */
    assert_int_equal(recover_from(dir, &zeros, f.len + 1000, &damaged), 8);
    assert_int_equal(damaged, 0);
}

/* ---- faults ---- */

static struct stream *broken;

static bool is_broken_closed(void *arg)
{
    (void)arg;
    return stream_is_closed(broken);
}

static bool can_append(void *arg)
{
    struct world *w = arg;
    struct stream *s = new_stream(w, true);
    bool ok = stream_append(s, STREAM_TOKEN, SPAN_LIT("works again")) == 0;
    stream_close(s, "stop", NULL);
    stream_unref_producer(s);
    return ok;
}

static void a_failed_write_ends_streams_without_losing_what_was_committed(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, false, 0);
    struct stream *s = new_stream(&w, true), *idle = new_stream(&w, true);
    struct reader *r = calloc(1, sizeof *r);
    char *id = id_of(s), *id_idle = id_of(idle);
    reader_start(r, &w, s, 0);
    append_text(s, "safe ");
    append_text(idle, "idle");
    while (reader_seen(r, NULL) < 1)
        wait_ms(1);
    fault_arm(FAULT_WRITE, 1, 1000000);
    append_text(s, "lost");
    broken = s;
    assert_true(wait_until(is_broken_closed, NULL));
    reader_wait(r);
    assert_string_equal(r->reason, "error");
    assert_memory_equal(r->seen.text, "safe \1\6", 7);
    assert_int_equal(stream_append(s, STREAM_TOKEN, SPAN_LIT("x")), -ERR_CANCELLED);
    assert_int_equal(stream_append(idle, STREAM_TOKEN, SPAN_LIT("x")), -ERR_IO);
    assert_true(stream_is_closed(idle));
    wait_ms(1100); /* a retry that fails as well */
    fault_disarm();
    assert_true(wait_until(can_append, &w));
    stream_unref_producer(s);
    stream_unref_producer(idle);
    assert_stored(&w, id, "safe \1\6", "error");
    assert_stored(&w, id_idle, "idle\1\6", "error");
    world_hub_close(&w);
    world_hub(&w, 0);
    assert_stored(&w, id, "safe \1\6", "error");
    seen_done(&r->seen);
    free(r);
    free(id);
    free(id_idle);
    world_close(&w);
}

static bool has_sync_error(void *arg)
{
    return journal_sync_failed(((struct world *)arg)->hub->journal) > 0;
}

static void a_failed_flush_is_counted_and_harms_no_stream(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, false, 0);
    fault_arm(FAULT_SYNC, 1, 0);
    struct stream *s = new_stream(&w, true);
    append_text(s, "text");
    assert_true(wait_until(has_sync_error, &w));
    fault_disarm();
    append_text(s, "more");
    char *id = id_of(s);
    stream_close(s, "stop", NULL);
    stream_unref_producer(s);
    assert_stored(&w, id, "textmore\1\6", "stop");
    free(id);
    world_close(&w);
}

static void try_everything(struct world *w)
{
    struct err err;
    struct stream *s;
    if (stream_create(w->hub, &(struct stream_new){.kind = "answer", .is_durable = true}, &s,
                      &err) < 0) {
        assert_int_equal(err.code, ERR_NO_MEMORY);
        return;
    }
    struct seen model = {0};
    struct reader *r = calloc(1, sizeof *r);
    reader_start(r, w, s, 0);
    for (int i = 0; i < 40; i++) {
        int result = stream_append(s, STREAM_TOKEN, SPAN_LIT("0123456789"));
        if (result == 0)
            seen_event(&model, STREAM_TOKEN, model.last_seq + 1, SPAN_LIT("0123456789"));
        else
            assert_int_equal(result, -ERR_NO_MEMORY);
    }
    stream_close(s, "stop", NULL);
    seen_event(&model, STREAM_DONE, model.last_seq + 1, SPAN_LIT("{\"reason\":\"stop\"}"));
    reader_wait(r);
    if (r->is_failed) {
        assert_int_equal(r->error, -ERR_NO_MEMORY);
    } else {
        assert_int_equal(r->seen.len, model.len);
        assert_memory_equal(r->seen.text, model.text, model.len);
    }
    fault_disarm();
    char *id = id_of(s);
    stream_unref_producer(s);
    model.text[model.len - 1] = 0; /* the text before the end of the end */
    assert_stored(w, id, model.text, "stop");
    free(id);
    seen_done(&model);
    seen_done(&r->seen);
    free(r);
}

static void no_memory_at_any_point_does_no_harm(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true, 0);
    for (uint64_t n = 1; n <= 40; n++) {
        fault_arm(FAULT_ALLOC, n, n % 3 ? 0 : 3);
        try_everything(&w);
        fault_disarm();
    }
    world_close(&w);
}

static void recovery_without_memory_or_disk_fails_and_deletes_nothing(void **state)
{
    (void)state;
    char dir[] = "/tmp/hw-fault-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct file f;
    build_file(&f, "st_torn", 8);
    write_file(dir, "00000001.log", f.bytes, f.len);
    struct err err = {0};
    struct store *store;
    struct worker_pool *workers;
    assert_int_equal(store_open_memory(&store, &err), 0);
    assert_int_equal(worker_pool_new(1, 1, &workers, &err), 0);
    struct hub *h = NULL;
    int r = -1;
    for (uint64_t n = 1; n < 200 && r < 0; n++) {
        fault_arm(n % 2 ? FAULT_ALLOC : FAULT_READ, n / 2 + 1, 0);
        if (n % 2 == 0 && n > 2)
            continue;
        r = hub_open(&(struct hub_options){dir, 0, 0}, store, workers, &h, &err);
        fault_disarm();
        assert_true(r == 0 || files_in(dir, ".log") == 1);
    }
    assert_int_equal(r, 0);
    assert_int_equal(recovered_count(h, "st_torn"), 8);
    hub_close(h);
    worker_pool_free(workers);
    store_close(store);
    remove_tree(dir);
}

static void a_recovered_stream_is_readable_before_the_store_has_it(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, false, 0);
    world_hub_close(&w);
    struct file f;
    build_file(&f, "st_torn", 8);
    write_file(w.journal, "00000007.log", f.bytes, f.len);
    fault_arm(FAULT_SQL, 4, UINT64_MAX / 2); /* the look-ups of recovery work, the writes do not */
    world_hub(&w, 0);
    assert_true(atomic_load(&w.hub->recovering) == 1);
    assert_stored(&w, "st_torn", "1,2,3,4,5,6,7,8,", "interrupted");
    assert_int_equal(files_in(w.journal, ".log"), 1);
    fault_disarm();
    assert_int_equal(recovered_count(w.hub, "st_torn"), 8);
    assert_true(wait_until(has_no_files, w.journal));
    world_close(&w);
}

static void a_reader_is_told_when_the_store_cannot_be_read(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, false, 0);
    struct stream *s = new_stream(&w, true);
    append_text(s, "text");
    stream_close(s, "stop", NULL);
    char *id = id_of(s);
    stream_unref_producer(s);
    world_hub_close(&w);
    world_hub(&w, 0);
    s = find_stream(&w, id, NULL);
    assert_non_null(s);
    fault_arm(FAULT_SQL, 1, UINT64_MAX / 2);
    struct reader *r = calloc(1, sizeof *r);
    reader_start(r, &w, s, 0);
    reader_wait(r);
    fault_disarm();
    assert_true(r->is_failed);
    assert_int_equal(r->error, -ERR_IO);
    free(r);
    r = calloc(1, sizeof *r);
    reader_start(r, &w, s, 0); /* the same client again */
    reader_wait(r);
    assert_false(r->is_failed);
    assert_string_equal(r->reason, "stop");
    seen_done(&r->seen);
    free(r);
    stream_unref(s);
    free(id);
    world_close(&w);
}

static void nobody_finds_a_stream_of_another_tenant(void **state)
{
    (void)state;
    struct world w;
    struct err err;
    struct stream *s;
    world_open(&w, true, 0);
    assert_int_equal(
        stream_create(
            w.hub, &(struct stream_new){.tenant = "another", .kind = "answer", .is_durable = true},
            &s, &err),
        0);
    append_text(s, "secret");
    int result = 0;
    assert_null(find_stream(&w, stream_id(s), &result));
    assert_int_equal(result, -ERR_NOT_FOUND);
    stream_close(s, "stop", NULL);
    char *id = id_of(s);
    stream_unref_producer(s);
    assert_null(find_stream(&w, id, &result));
    assert_int_equal(result, -ERR_NOT_FOUND);
    free(id);
    world_close(&w);
}

/* ---- bounds ---- */

static bool accepts(void *arg)
{
    return stream_append(arg, STREAM_TOKEN, SPAN_LIT("x")) == 0;
}

static void a_store_that_fails_slows_the_producer_and_loses_nothing(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, false, 1 << 20);
    struct stream *s = new_stream(&w, true);
    char *text = malloc(10000);
    memset(text, 'y', 10000);
    fault_arm(FAULT_SQL, 1, UINT64_MAX / 2);
    size_t appended = 0;
    int r;
    while ((r = stream_append(s, STREAM_TOKEN, span_of(text, 10000))) == 0)
        appended++;
    assert_int_equal(r, -ERR_LIMIT);
    assert_in_range(appended * 10000, LIMIT_STREAM_BACKLOG - 20000, LIMIT_STREAM_BACKLOG);
    assert_int_equal(stream_append(s, STREAM_TOKEN, span_of(text, LIMIT_STREAM_EVENT + 1)),
                     -ERR_TOO_LARGE);
    fault_disarm();
    assert_true(wait_until(accepts, s));
    stream_close(s, "stop", NULL);
    struct seen seen;
    read_all(s, &seen);
    assert_true(seen.len > appended * 10000);
    seen_done(&seen);
    free(text);
    stream_unref_producer(s);
    world_close(&w);
}

/* ---- many ---- */

#define MANY 1000
#define EACH 60

struct producing {
    pthread_t thread;
    struct stream **streams;
};

static void *produce(void *arg)
{
    struct producing *p = arg;
    for (int i = 0; i < EACH; i++)
        for (int k = 0; k < MANY / 2; k++) {
            char text[64];
            int n = snprintf(text, sizeof text, "[%d %d]", k, i);
            while (stream_append(p->streams[k], STREAM_TOKEN, span_of(text, (size_t)n)) ==
                   -ERR_LIMIT)
                wait_ms(1);
        }
    for (int k = 0; k < MANY / 2; k++)
        stream_close(p->streams[k], "stop", NULL);
    return NULL;
}

static bool has_few_files(void *arg)
{
    return files_in(((struct world *)arg)->journal, ".log") <= 2;
}

static void a_thousand_streams_from_two_threads_are_whole(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, false, 300000);
    static struct stream *streams[MANY];
    for (int i = 0; i < MANY; i++)
        streams[i] = new_stream(&w, true);
    struct producing p[2] = {{0, streams}, {0, streams + MANY / 2}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&p[i].thread, NULL, produce, &p[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(p[i].thread, NULL);
    for (int k = 0; k < MANY; k++) {
        struct seen seen;
        read_all(streams[k], &seen);
        assert_int_equal(seen.last_seq, EACH + 1);
        char last[64];
        int n = snprintf(last, sizeof last, "[%d %d]\1\6{\"reason\":\"stop\"}\2", k % (MANY / 2),
                         EACH - 1);
        assert_memory_equal(seen.text + seen.len - n, last, (size_t)n);
        seen_done(&seen);
    }
    assert_true(wait_until(has_few_files, &w)); /* rotated, and deleted once all is stored */
    for (int i = 0; i < MANY; i++)
        stream_unref_producer(streams[i]);
    world_close(&w);
}

static bool is_released(void *arg)
{
    struct stream *s = arg;
    lock_enter(&s->lock);
    bool released = s->is_stored && s->tail.bytes == 0;
    lock_leave(&s->lock);
    return released;
}

static bool is_table_empty(void *arg)
{
    struct hub *h = arg;
    lock_enter(&h->table_lock);
    bool empty = h->table.count == 0;
    lock_leave(&h->table_lock);
    return empty;
}

static void a_finished_stream_takes_no_memory(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true, 0);
    struct stream *s = new_stream(&w, true);
    for (int i = 0; i < 1000; i++)
        append_text(s, "0123456789012345678901234567890123456789");
    stream_close(s, "stop", NULL);
    assert_true(wait_until(is_released, s));
    stream_unref_producer(s);
    assert_true(wait_until(is_table_empty, w.hub));
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_cut_or_changed_anywhere_is_noticed),
        cmocka_unit_test(
            what_was_seen_survives_kill_9), /* forks: first, and with no threads of ours */
        cmocka_unit_test(a_restart_keeps_events_and_ends_what_runs_once),
        cmocka_unit_test(closing_the_hub_ends_live_streams),
        cmocka_unit_test(torn_and_damaged_tails_keep_all_before_them),
        cmocka_unit_test(a_failed_write_ends_streams_without_losing_what_was_committed),
        cmocka_unit_test(a_failed_flush_is_counted_and_harms_no_stream),
        cmocka_unit_test(no_memory_at_any_point_does_no_harm),
        cmocka_unit_test(recovery_without_memory_or_disk_fails_and_deletes_nothing),
        cmocka_unit_test(a_recovered_stream_is_readable_before_the_store_has_it),
        cmocka_unit_test(a_reader_is_told_when_the_store_cannot_be_read),
        cmocka_unit_test(nobody_finds_a_stream_of_another_tenant),
        cmocka_unit_test(a_store_that_fails_slows_the_producer_and_loses_nothing),
        cmocka_unit_test(a_thousand_streams_from_two_threads_are_whole),
        cmocka_unit_test(a_finished_stream_takes_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
