#include "app/runtime.h"

#include "api/api.h"
#include "app/options.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "providers/run.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOOPS_MAX 32
#define EXPIRE_BATCH 1000
#define BUSY_PATIENCE_MS 500
#define STOP_SHARE_MS 1000 /* of the drain: for what does not end by itself */

struct runtime {
    const struct options *options; /* borrowed */
    struct store *store;
    struct worker_pool *workers;
    struct hub *hub;
    struct engine *engine;
    struct api *api;
    struct server *server;
    struct loop *loops[LOOPS_MAX];
    size_t loop_count;
    struct registry *registry;
    struct runner *runner;
    struct engine_upstream upstreams[LOOPS_MAX];
    char *socket;
    char *journal_dir, *index_dir, *repos_dir;
};

static char *path_in(const char *dir, const char *name)
{
    struct buf b = BUF_INIT(PATH_MAX);
    buf_printf(&b, "%s/%s", dir, name);
    return buf_detach(&b);
}

/* Cores that this process may use: fewer than there are where it is pinned or in a container's set. */
static unsigned core_count(void)
{
    cpu_set_t set;
    long n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                         : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > LOOPS_MAX ? LOOPS_MAX : (unsigned)n;
}

/* One connection is one descriptor: take as many as the system lets us have. */
static void raise_descriptor_limit(void)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
            LOG_WARN("app", "the descriptor limit could not be raised",
                     LOG_U("limit", lim.rlim_cur));
    }
}

/*
 * A server that was killed may leave a child between fork and exec, which holds the directory for another moment: a restart
 * must not fail for that. Commands have a loop of their own (client.c).
 */
static int open_store(struct runtime *r, const char *dir, bool serve, const char **ret_note,
                      struct err *err)
{
    uint64_t until = clock_ms() + (serve ? BUSY_PATIENCE_MS : 0);
    int result;
    while ((result = store_open_sqlite(dir, &r->store, ret_note, err)) == -ERR_BUSY &&
           clock_ms() < until)
        clock_pause_ms(10);
    return result;
}

static int open_storage(struct runtime *r, bool serve, struct err *err)
{
    const char *dir = option_str(r->options, OPT_DATA), *note;
    int result = open_store(r, dir, serve, &note, err);
    if (result < 0)
        return result;
    if (note)
        LOG_WARN("app", "the database was damaged", LOG_S("note", note));
    r->socket = path_in(dir, "headwater.sock");
    r->journal_dir = path_in(dir, "journal");
    r->index_dir = path_in(dir, "index");
    r->repos_dir = path_in(dir, "repos");
    if (!r->socket || !r->journal_dir || !r->index_dir || !r->repos_dir)
        return err_set(err, ERR_INVALID, "the data directory's name is too long");
    uint64_t keep_ms = option_u64(r->options, OPT_STREAM_RETENTION);
    size_t expired = 0;
    if (keep_ms && store_streams_expire(r->store, clock_wall_ms() - (int64_t)keep_ms, EXPIRE_BATCH,
                                        &expired, err) < 0)
        LOG_WARN("app", "old streams could not be removed", LOG_S("why", err->msg));
    return 0;
}

static json_t *list_option(const struct options *o, enum option_id id)
{
    json_t *list = json_array();
    for (size_t i = 0; i < option_count(o, id); i++)
        json_array_append_new(list, json_string(option_item(o, id, i)));
    return list;
}

static const char *environment(void *ctx, const char *name)
{
    const char *value = options_env(ctx, name);
    return value && value[0] ? value : NULL;
}

/* The items, NULL-terminated; the array is the caller's. */
static const char **list_of(const struct options *o, enum option_id id)
{
    size_t n = option_count(o, id);
    const char **list = mem_alloc((n + 1) * sizeof *list);
    for (size_t i = 0; i < n; i++)
        list[i] = option_item(o, id, i);
    return list;
}

static int open_engine(struct runtime *r, bool serve, struct err *err)
{
    unsigned cores = core_count();
    int result =
        worker_pool_new(cores < 2 ? 2 : cores, cores < 2 ? 1 : cores / 2, &r->workers, err);
    struct hub_options ho = {
        .journal_dir = r->journal_dir,
        .sync_interval_ms = option_u64(r->options, OPT_STREAM_SYNC),
    };
    if (result == 0)
        result = hub_open(&ho, r->store, r->workers, &r->hub, err);
    if (result < 0)
        return result;
    const char **paths = list_of(r->options, OPT_ALLOW_PATH);
    const char **hosts = list_of(r->options, OPT_ALLOW_HOST);
    const char **private_hosts = list_of(r->options, OPT_ALLOW_PRIVATE_HOST);
    json_t *include = serve ? list_option(r->options, OPT_INCLUDE) : NULL;
    json_t *exclude = serve ? list_option(r->options, OPT_EXCLUDE) : NULL;
    union { /* the callback's context is not const */
        const struct options *in;
        void *out;
    } options = {.in = r->options};
    struct engine_options eo = {
        .index_dir = r->index_dir,
        .allow_paths = paths,
        .repos_dir = r->repos_dir,
        .fetch_policy = {hosts, private_hosts, option_bool(r->options, OPT_ALLOW_SSH)},
        .max_clone_bytes = option_u64(r->options, OPT_MAX_CLONE_SIZE),
        .refresh_interval_ms = option_u64(r->options, OPT_REFRESH_INTERVAL),
        .env = environment,
        .env_ctx = options.out,
        .default_language = "en",
        .filters = {.include = include, .exclude = exclude},
        .bench_source = serve && option_bool(r->options, OPT_BENCH_SOURCE),
        .store = r->store,
        .hub = r->hub,
        .workers = r->workers,
        .registry = r->registry,
        .runner = r->runner,
        .upstreams = r->upstreams,
        .upstream_count = r->loop_count,
        .embeds = serve,
    };
    result = engine_new(&eo, &r->engine, err); /* copies the lists */
    mem_free(paths);
    mem_free(hosts);
    mem_free(private_hosts);
    json_decref(include);
    json_decref(exclude);
    return result;
}

/* Commands that never ask a model do not have these options. */
static void set_patience(struct runtime *r)
{
    enum command_id command = options_command(r->options);
    if (command != CMD_SERVE && command != CMD_ASK)
        return;
    const struct runner_limits limits = {
        .first_token_timeout_ms = option_u64(r->options, OPT_FIRST_TOKEN_TIMEOUT),
        .idle_timeout_ms = option_u64(r->options, OPT_IDLE_TIMEOUT),
        .retry_budget_ms = option_u64(r->options, OPT_RETRY_BUDGET),
    };
    runner_set_limits(r->runner, &limits);
}

static int open_providers(struct runtime *r, struct err *err)
{
    union { /* the callback's context is not const */
        const struct options *in;
        void *out;
    } options = {.in = r->options};
    struct registry_options ro = {
        .env = environment,
        .env_ctx = options.out,
        .config_dir = environment(options.out, "DEEPWIKI_CONFIG_DIR"),
        .default_provider = option_str(r->options, OPT_PROVIDER),
        .default_model = option_str(r->options, OPT_MODEL),
        .embedder = option_str(r->options, OPT_EMBEDDER),
    };
    int result = registry_new(&ro, &r->registry, err);
    if (result == 0)
        result = runner_new(&r->runner, err);
    if (result == 0)
        set_patience(r);
    for (size_t i = 0; result == 0 && i < r->loop_count; i++) {
        struct http_client_options ho = {0};
        r->upstreams[i].loop = r->loops[i];
        result = http_client_new(r->loops[i], &ho, &r->upstreams[i].http, err);
    }
    return result;
}

struct close_client {
    struct loop_msg msg;
    struct http_client *http;
};

static void on_close_client(struct loop_msg *m)
{
    struct close_client *c = container_of(m, struct close_client, msg);
    http_client_free(c->http);
    mem_free(c);
}

/* A client belongs to its loop; a loop that never started delivers in loop_free. */
static void close_clients(struct runtime *r)
{
    for (size_t i = 0; i < r->loop_count; i++) {
        if (!r->upstreams[i].http)
            continue;
        struct close_client *c = mem_alloc(sizeof *c);
        *c = (struct close_client){{NULL, on_close_client}, take_ptr(r->upstreams[i].http)};
        loop_post(r->loops[i], &c->msg);
    }
}

static int open_loops(struct runtime *r, bool serve, struct err *err)
{
    uint64_t wanted = serve ? option_u64(r->options, OPT_THREADS) : 1;
    size_t n = wanted ? (size_t)wanted : core_count();
    if (n > LOOPS_MAX)
        n = LOOPS_MAX;
    for (size_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "loop-%zu", i);
        int result = loop_new(name, &r->loops[i], err);
        if (result < 0)
            return result;
        r->loop_count++;
    }
    return 0;
}

/* A machine without IPv6 is no reason not to start, as long as nobody asked for [::1] by name. */
static int listen_tcp(struct runtime *r, struct err *err)
{
    size_t n = option_count(r->options, OPT_LISTEN), bound = 0;
    for (size_t i = 0; i < n; i++) {
        const char *address = option_item(r->options, OPT_LISTEN, i);
        unsigned port;
        int result = server_listen(r->server, address, &port, err);
        if (result < 0) {
            bool by_default =
                option_source(r->options, OPT_LISTEN) != SOURCE_FLAG && address[0] == '[';
            if (!by_default)
                return result;
            LOG_INFO("app", "not listening on IPv6", LOG_S("address", address),
                     LOG_S("why", err->msg));
            continue;
        }
        const char *colon = strrchr(address, ':');
        printf("listening on http://%.*s:%u\n", (int)(colon ? colon - address : 0), address, port);
        bound++;
    }
    return bound ? 0 : err_set(err, ERR_INVALID, "nothing to listen on");
}

static int open_server(struct runtime *r, bool serve, struct err *err)
{
    struct api_options ao = {
        .engine = r->engine,
        .enable_echo = serve && option_bool(r->options, OPT_ENABLE_ECHO),
        .started_ms = clock_wall_ms(),
    };
    r->api = api_new(&ao);
    struct server_callbacks callbacks;
    api_callbacks(r->api, &callbacks);
    struct buf origins = BUF_INIT(64u << 10);
    for (size_t i = 0; i < option_count(r->options, OPT_CORS_ORIGINS); i++)
        buf_printf(&origins, "%s%s", i ? "," : "", option_item(r->options, OPT_CORS_ORIGINS, i));
    struct server_options so = {.cors_origins = origins.len ? buf_str(&origins) : NULL};
    int result = server_new(r->loops, r->loop_count, &so, &callbacks, &r->server, err); /* copies */
    buf_done(&origins);
    if (result < 0)
        return result;
    struct buf address = BUF_INIT(PATH_MAX);
    buf_printf(&address, "unix:%s", r->socket);
    result = server_listen(r->server, buf_str(&address), NULL, err);
    buf_done(&address);
    if (result < 0) {
        err_hint(err, "the socket's path may be too long: choose a shorter --data directory");
        return result;
    }
    return serve ? listen_tcp(r, err) : 0;
}

int runtime_start(const struct runtime_options *o, struct runtime **ret, struct err *err)
{
    struct runtime *r = mem_alloc(sizeof *r);
    r->options = o->options;
    raise_descriptor_limit();
    int result = open_storage(r, o->serve, err);
    if (result == 0)
        result = open_loops(r, o->serve, err);
    if (result == 0)
        result = open_providers(r, err);
    if (result == 0)
        result = open_engine(r, o->serve, err);
    if (result == 0)
        result = open_server(r, o->serve, err);
    for (size_t i = 0; result == 0 && i < r->loop_count; i++)
        result = loop_start(r->loops[i], err);
    if (result < 0) {
        runtime_stop(r);
        return result;
    }
    server_start(r->server);
    (void)fflush(stdout);
    *ret = r;
    return 0;
}

/* In the order in which nothing is used after it is gone: connections, answers, log, threads, store. */
void runtime_stop(struct runtime *r)
{
    if (!r)
        return;
    if (r->api)
        api_set_draining(r->api);
    if (r->engine)
        engine_drain(r->engine);
    if (r->server) {
        /* The last part of the time is for work that has to be stopped. */
        uint64_t time = option_u64(r->options, OPT_DRAIN_TIMEOUT);
        server_drain(r->server, time - (time < STOP_SHARE_MS * 4 ? time / 4 : STOP_SHARE_MS));
        server_free(r->server);
    }
    engine_free(r->engine);
    if (r->hub)
        hub_close(r->hub);
    worker_pool_free(r->workers);
    close_clients(r);
    for (size_t i = 0; i < r->loop_count; i++) {
        loop_stop(r->loops[i]);
        loop_free(r->loops[i]);
    }
    api_free(r->api);
    runner_free(r->runner);
    registry_free(r->registry);
    if (r->store)
        store_close(r->store); /* the data directory is free from here on: nothing of it is ours */
    mem_free(r->socket);
    mem_free(r->journal_dir);
    mem_free(r->index_dir);
    mem_free(r->repos_dir);
    mem_free(r);
}

const char *runtime_socket(const struct runtime *r)
{
    return r->socket;
}
