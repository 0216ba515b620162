/*
 * What the event log costs. CPU is that of the whole process (log thread, store and loop included).
 *
 *   bench_stream DIR [PART]     DIR is made and must not hold data that you want to keep
 *
 * append   2 threads, 1,000 streams, 64-byte tokens, journal and SQLite store: paced at 100,000/s, then at full speed
 * live     the same paced load with a follower on each stream
 * fanout   1,000 followers of one stream
 * replay   64 followers read a closed stream of 256 tokens of 64 bytes, over and over: peek and consume only, no sockets
 * start    opening after a kill: a journal of 32 MiB, of streams that ran and of streams that were finished
 */
#include "base/clock.h"
#include "base/mem.h"
#include "stream/stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STREAMS 1000
#define THREADS 2
#define PAYLOAD 64
#define PACED_PER_SECOND 100000
#define PACED_SECONDS 4
#define FULL_EVENTS 2000000
#define REPLAYERS 64
#define REPLAY_EVENTS 256
#define REPLAY_ROUNDS 400
#define FANOUT_EVENTS 4000
#define START_BYTES (32u << 20)

static const char *dir;

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "bench_stream: %s: %s\n", what, err ? err->msg : "failed");
    exit(1);
}

static double cpu_seconds(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u))
        die("getrusage", NULL);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void report(const char *what, uint64_t began_ns, double cpu, uint64_t events)
{
    double wall = (double)(clock_ns() - began_ns) / 1e9;
    printf("%-34s %9llu events %10.0f/s %8.3f CPU-s per million\n", what,
           (unsigned long long)events, (double)events / wall,
           (cpu_seconds() - cpu) / (double)events * 1e6);
    fflush(stdout);
}

struct world {
    struct store *store;
    struct worker_pool *workers;
    struct loop *loop;
    struct hub *hub;
};

static void world_open(struct world *w)
{
    struct err err;
    const char *note;
    char journal[512];
    snprintf(journal, sizeof journal, "%s/journal", dir);
    if (store_open_sqlite(dir, &w->store, &note, &err) < 0 ||
        worker_pool_new(2, 1, &w->workers, &err) < 0 || loop_new("bench", &w->loop, &err) < 0 ||
        loop_start(w->loop, &err) < 0)
        die("open", &err);
    uint64_t began = clock_ns();
    if (hub_open(&(struct hub_options){journal, 1000, 0}, w->store, w->workers, &w->hub, &err) < 0)
        die("hub_open", &err);
    uint64_t took = clock_ns() - began;
    if (took > 3000000)
        printf("    hub_open took %.1f ms\n", (double)took / 1e6);
}

static void world_close(struct world *w)
{
    loop_stop(w->loop);
    hub_close(w->hub);
    worker_pool_free(w->workers);
    loop_free(w->loop);
    store_close(w->store);
}

/* ---- append ---- */

struct producer {
    pthread_t thread;
    struct stream **streams;
    uint64_t count;
    bool is_paced;
    uint64_t refused;
};

static void append_one(struct producer *p, uint64_t i)
{
    static const char text[PAYLOAD + 1] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct stream *s = p->streams[i % (STREAMS / THREADS)];
    int r;
    while ((r = stream_append(s, STREAM_TOKEN, span_of(text, PAYLOAD))) == -ERR_LIMIT) {
        p->refused++;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    if (r < 0)
        die("stream_append", NULL);
}

static void *produce(void *arg)
{
    struct producer *p = arg;
    uint64_t began = clock_ns(), per_ms = PACED_PER_SECOND / THREADS / 1000;
    for (uint64_t i = 0; i < p->count; i++) {
        if (p->is_paced && i % per_ms == 0) {
            uint64_t due = began + i / per_ms * 1000000, now = clock_ns();
            if (due > now)
                nanosleep(&(struct timespec){.tv_nsec = (long)(due - now)}, NULL);
        }
        append_one(p, i);
    }
    return NULL;
}

static void make_streams(struct world *w, struct stream **ret, int count)
{
    struct err err;
    for (int i = 0; i < count; i++)
        if (stream_create(w->hub, &(struct stream_new){NULL, "bench", true}, &ret[i], &err) < 0)
            die("stream_create", &err);
}

static uint64_t run_producers(struct stream **streams, bool is_paced, uint64_t events)
{
    struct producer p[THREADS];
    uint64_t refused = 0;
    for (int i = 0; i < THREADS; i++) {
        p[i] =
            (struct producer){.streams = streams + i * (STREAMS / THREADS), .is_paced = is_paced};
        p[i].count = events / THREADS;
        if (pthread_create(&p[i].thread, NULL, produce, &p[i]))
            die("pthread_create", NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(p[i].thread, NULL);
        refused += p[i].refused;
    }
    return refused;
}

static void bench_append(const char *what, bool is_paced, uint64_t events)
{
    struct world w;
    static struct stream *streams[STREAMS];
    world_open(&w);
    make_streams(&w, streams, STREAMS);
    uint64_t began = clock_ns();
    double cpu = cpu_seconds();
    uint64_t refused = run_producers(streams, is_paced, events);
    report(what, began, cpu, events);
    if (refused)
        printf("    producers waited %llu times for the log\n", (unsigned long long)refused);
    began = clock_ns();
    cpu = cpu_seconds();
    for (int i = 0; i < STREAMS; i++) {
        stream_close(streams[i], "stop", NULL);
        stream_unref_producer(streams[i]);
    }
    world_close(&w);
    report("    closing, storing the rest", began, cpu, events);
}

/* ---- following ---- */

static void encode(const struct stream_event *e, struct buf *out)
{
    char header[2] = {(char)0x81, (char)e->payload.len};
    buf_put(out, header, 2);
    buf_put_span(out, e->payload);
}
static const struct stream_codec codec = {"bench", encode, true};

struct reader {
    struct follower follower;
    struct group *group;
    uint64_t bytes;
};

struct group {
    struct world *world;
    struct loop_msg msg;
    struct stream *stream, **streams;
    struct reader *readers;
    int count, left, rounds;
    uint64_t bytes;
    _Atomic bool done;
};

static void start_round(struct group *g);

static void on_wake(struct follower *f)
{
    struct reader *r = container_of(f, struct reader, follower);
    struct iovec iov[FOLLOWER_SEGMENTS_COUNT + 1];
    int count = ARRAY_LEN(iov);
    enum follower_result result;
    while ((result = follower_peek(f, iov, &count)) == FOLLOWER_READY) {
        size_t bytes = 0;
        for (int i = 0; i < count; i++)
            bytes += iov[i].iov_len;
        follower_consume(f, bytes);
        r->group->bytes += bytes;
        count = ARRAY_LEN(iov);
    }
    if (result == FOLLOWER_WAIT)
        return;
    if (result == FOLLOWER_FAILED)
        die("a follower", NULL);
    follower_stop(f);
    if (--r->group->left == 0)
        start_round(r->group);
}

static void next_round(struct loop_msg *msg)
{
    struct group *g = container_of(msg, struct group, msg);
    g->left = g->count;
    for (int i = 0; i < g->count; i++) {
        g->readers[i].group = g;
        follower_start(&g->readers[i].follower, g->world->loop,
                       g->streams ? g->streams[i] : g->stream, &codec, 0, on_wake);
    }
    for (int i = 0; i < g->count; i++)
        on_wake(&g->readers[i].follower);
}

static void start_round(struct group *g)
{
    if (g->rounds-- == 0) {
        atomic_store(&g->done, true);
        return;
    }
    g->msg.deliver = next_round;
    loop_post(g->world->loop, &g->msg);
}

static void wait_done(struct group *g)
{
    while (!atomic_load(&g->done))
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static void bench_live(void)
{
    struct world w;
    static struct stream *streams[STREAMS];
    static struct reader readers[STREAMS];
    world_open(&w);
    make_streams(&w, streams, STREAMS);
    struct group g = {
        .world = &w, .streams = streams, .readers = readers, .count = STREAMS, .rounds = 1};
    start_round(&g);
    uint64_t began = clock_ns(), events = PACED_PER_SECOND * PACED_SECONDS;
    double cpu = cpu_seconds();
    run_producers(streams, true, events);
    report("live, paced, one follower each", began, cpu, events);
    for (int i = 0; i < STREAMS; i++) {
        stream_close(streams[i], "stop", NULL);
        stream_unref_producer(streams[i]);
    }
    wait_done(&g);
    world_close(&w);
}

/* One producer, many readers of the same stream. */
static void bench_fanout(void)
{
    struct world w;
    struct stream *s;
    static struct reader readers[STREAMS];
    world_open(&w);
    make_streams(&w, &s, 1);
    struct group g = {.world = &w, .stream = s, .readers = readers, .count = STREAMS, .rounds = 1};
    start_round(&g);
    uint64_t began = clock_ns();
    double cpu = cpu_seconds();
    for (int i = 0; i < FANOUT_EVENTS; i++) {
        if (stream_append(s, STREAM_TOKEN, span_of("0123456789abcdef0123456789abcdef", 32)) < 0)
            die("stream_append", NULL);
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    stream_close(s, "stop", NULL);
    stream_unref_producer(s);
    wait_done(&g);
    report("fan-out of one to 1,000 (frames)", began, cpu, (uint64_t)FANOUT_EVENTS * STREAMS);
    world_close(&w);
}

static struct stream *found;
static _Atomic bool is_found;

static void on_found(void *ctx, struct stream *s, int result)
{
    (void)ctx;
    (void)result;
    found = s;
    atomic_store(&is_found, true);
}

static void bench_replay(bool from_store)
{
    struct world w;
    struct stream *s;
    static struct reader readers[REPLAYERS];
    world_open(&w);
    make_streams(&w, &s, 1);
    struct producer p = {.streams = (struct stream * [STREAMS / THREADS]){NULL}};
    for (int i = 0; i < STREAMS / THREADS; i++)
        p.streams[i] = s;
    for (uint64_t i = 0; i < REPLAY_EVENTS; i++)
        append_one(&p, i);
    stream_close(s, "stop", NULL);
    char id[64];
    snprintf(id, sizeof id, "%s", stream_id(s));
    stream_unref_producer(s);
    if (from_store) { /* as after a restart: nothing of it in memory */
        world_close(&w);
        world_open(&w);
    }
    atomic_store(&is_found, false);
    hub_find(w.hub, w.loop, NULL, id, on_found, NULL);
    while (!atomic_load(&is_found))
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    struct group g = {.world = &w, .stream = found, .readers = readers, .count = REPLAYERS};
    g.rounds = REPLAY_ROUNDS;
    uint64_t began = clock_ns();
    double cpu = cpu_seconds();
    start_round(&g);
    wait_done(&g);
    report(from_store ? "replay from the store" : "replay of one just finished", began, cpu,
           (uint64_t)REPLAY_ROUNDS * REPLAYERS * REPLAY_EVENTS);
    stream_unref(found);
    world_close(&w);
}

/* ---- start ---- */

static void fill_and_die(bool closes)
{
    struct world w;
    static struct stream *streams[STREAMS];
    world_open(&w);
    make_streams(&w, streams, STREAMS);
    run_producers(streams, false, START_BYTES / (PAYLOAD + 13));
    for (int i = 0; closes && i < STREAMS; i++)
        stream_close(streams[i], "stop", NULL);
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL); /* let the log and the store settle */
    _exit(0);
}

static void bench_start(bool closes)
{
    struct world w;
    pid_t pid = fork();
    if (pid == 0)
        fill_and_die(closes);
    if (pid < 0 || waitpid(pid, NULL, 0) != pid)
        die("fork", NULL);
    printf("start after a kill, %s\n", closes ? "streams finished" : "streams running");
    fflush(stdout);
    world_open(&w);
    world_close(&w);
}

/* What pacing itself costs: the same naps, nothing appended. */
static void bench_pace(void)
{
    uint64_t began = clock_ns(), ticks = PACED_SECONDS * 1000;
    double cpu = cpu_seconds();
    for (uint64_t i = 0; i < ticks * THREADS;
         i++) /* one thread does the naps of all, half as long */
        nanosleep(&(struct timespec){.tv_nsec = 1000000 / THREADS - 60000}, NULL);
    report("pacing alone (no events)", began, cpu, PACED_PER_SECOND * PACED_SECONDS);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: bench_stream DIR [start|paced|full|live|fanout|replay]\n");
        return 2;
    }
    dir = argv[1];
    const char *only = argc > 2 ? argv[2] : NULL;
    (void)mkdir(dir, 0700);
    if (!only || !strcmp(only, "start")) {
        bench_start(true);
        bench_start(false);
    }
    if (!only || !strcmp(only, "paced")) {
        bench_pace();
        bench_append("append, paced 100,000/s", true, PACED_PER_SECOND * PACED_SECONDS);
    }
    if (!only || !strcmp(only, "full"))
        bench_append("append, full speed", false, FULL_EVENTS);
    if (!only || !strcmp(only, "live"))
        bench_live();
    if (!only || !strcmp(only, "fanout"))
        bench_fanout();
    if (!only || !strcmp(only, "replay")) {
        bench_replay(false);
        bench_replay(true);
    }
    return 0;
}
