#include "engine/engine_priv.h"

#include "base/limits.h"
#include "base/mem.h"
#include "engine/bench_source.h"
#include "providers/registry.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

static char **copy_list(const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    char **copy = mem_alloc((n + 1) * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = mem_strdup(list[i]);
    return copy;
}

static void free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        mem_free(list[i]);
    mem_free(list);
}

/* Resolved, because a job refuses to read through links. */
static int open_repos(struct engine *e, const char *dir, struct err *err)
{
    e->allow_hosts = copy_list(e->options.fetch_policy.allow_hosts);
    e->allow_private_hosts = copy_list(e->options.fetch_policy.allow_private_hosts);
    if (!dir)
        return 0;
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot make the folder for repositories '%s'", dir);
    char *real = realpath(dir, NULL);
    if (!real)
        return err_errno(err, errno, "cannot use the folder for repositories '%s'", dir);
    e->repos_dir = mem_strdup(real);
    mem_free(real);
    remote_remove_leftovers(e);
    return 0;
}

static int copy_allow_paths(struct engine *e, const char *const *paths, struct err *err)
{
    size_t n = 0;
    while (paths && paths[n])
        n++;
    e->allow_paths = mem_alloc((n + 1) * sizeof *e->allow_paths);
    for (size_t i = 0; i < n; i++) {
        char *real = realpath(paths[i], NULL);
        if (!real)
            return err_errno(err, errno, "cannot use --allow-path '%s'", paths[i]);
        e->allow_paths[i] = mem_strdup(real);
        mem_free(real);
    }
    return 0;
}

int engine_new(const struct engine_options *options, struct engine **ret, struct err *err)
{
    struct engine *e = mem_alloc(sizeof *e);
    e->options = *options;
    e->index_dir = mem_strdup(options->index_dir);
    lock_init(&e->publish);
    lock_init(&e->rows);
    lock_init(&e->lock);
    lock_init(&e->questions_lock);
    list_init(&e->embed_queue);
    cond_init(&e->idle);
    map_init(&e->sources);
    list_init(&e->running);
    buf_init(&e->filters, LIMIT_FILTERS_BYTES);
    int r = copy_allow_paths(e, options->allow_paths, err);
    if (r == 0)
        r = filters_text(&options->filters, &e->filters, err);
    if (r == 0 && mkdir(e->index_dir, 0700) < 0 && errno != EEXIST)
        r = err_errno(err, errno, "cannot make the index folder '%s'", e->index_dir);
    if (r == 0)
        remove_leftovers(e);
    if (r == 0)
        r = open_repos(e, options->repos_dir, err);
    if (r == 0 && options->bench_source)
        r = bench_source_new(&e->bench, err);
    if (r < 0) {
        engine_free(e);
        return r;
    }
    if (e->options.embeds && engine_embedder(e))
        embedding_resume(e);
    *ret = e;
    return 0;
}

size_t engine_drain(struct engine *e)
{
    lock_enter(&e->lock);
    e->stopping = true;
    size_t n = e->running_count;
    lock_leave(&e->lock);
    return n;
}

/* With e->lock held. */
static void stop_running(struct engine *e, struct running *r)
{
    stream_request_stop(r->stream);
    if (r->stop)
        r->stop(e, r);
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    lock_enter(&e->lock);
    e->stopping = true;
    list_each(n, &e->running) stop_running(e, container_of(n, struct running, link));
    while (e->running_count || e->call_count)
        cond_wait(&e->idle, &e->lock);
    lock_leave(&e->lock);
    bench_source_free(e->bench);
    size_t at = 0;
    struct span key;
    void *value;
    while (map_each(&e->sources, &at, &key, &value))
        live_source_free(value);
    map_done(&e->sources);
    free_list(e->allow_paths);
    free_list(e->allow_hosts);
    free_list(e->allow_private_hosts);
    mem_free(e->repos_dir);
    buf_done(&e->filters);
    mem_free(e->index_dir);
    lock_done(&e->publish);
    lock_done(&e->rows);
    lock_done(&e->lock);
    questions_done(e);
    cond_done(&e->idle);
    mem_free(e);
}

struct hub *engine_hub(struct engine *e)
{
    return e->options.hub;
}

struct worker_pool *engine_workers(struct engine *e)
{
    return e->options.workers;
}

/* With e->lock held. */
static int check_room(const struct engine *e, size_t count, size_t max, const char *what,
                      struct err *err)
{
    int result = 0;
    if (e->stopping)
        result = err_set(err, ERR_UNAVAILABLE, "the server is shutting down");
    else if (count >= max)
        result = err_set(err, ERR_LIMIT, "%zu %s", max, what);
    if (result < 0)
        err_hint(err, "ask again in a few seconds");
    return result;
}

int engine_enter(struct engine *e, struct err *err)
{
    lock_enter(&e->lock);
    int r =
        check_room(e, e->call_count, ENGINE_CALLS_MAX, "requests are already being worked on", err);
    if (r == 0)
        e->call_count++;
    lock_leave(&e->lock);
    return r;
}

void engine_leave(struct engine *e)
{
    lock_enter(&e->lock);
    if (!--e->call_count)
        cond_broadcast(&e->idle);
    lock_leave(&e->lock);
}

int running_room(struct engine *e, struct err *err)
{
    lock_enter(&e->lock);
    int r =
        check_room(e, e->running_count, LIMIT_ANSWERS_COUNT, "answers are already being made", err);
    lock_leave(&e->lock);
    return r;
}

int running_enter(struct engine *e, struct running *r, struct stream *s, struct err *err)
{
    lock_enter(&e->lock);
    int result =
        check_room(e, e->running_count, LIMIT_ANSWERS_COUNT, "answers are already being made", err);
    if (result == 0) {
        r->stream = stream_ref_producer(s);
        list_append(&e->running, &r->link);
        e->running_count++;
    }
    lock_leave(&e->lock);
    return result;
}

void running_leave(struct engine *e, struct running *r)
{
    struct stream *s = r->stream;
    lock_enter(&e->lock);
    list_remove(&r->link);
    e->running_count--;
    r->stream = NULL;
    stream_unref_producer(
        s); /* before engine_free may return: the hub must outlive every reference */
    if (!e->running_count)
        cond_broadcast(&e->idle);
    lock_leave(&e->lock);
}

int engine_stop(struct engine *e, const char *tenant, const char *id)
{
    int result = -ERR_NOT_FOUND;
    lock_enter(&e->lock);
    list_each(n, &e->running)
    {
        struct stream *s = container_of(n, struct running, link)->stream;
        if (strcmp(stream_id(s), id) != 0 || strcmp(stream_tenant(s), tenant) != 0)
            continue;
        stop_running(e, container_of(n, struct running, link));
        result = 0;
    }
    lock_leave(&e->lock);
    return result;
}

void emit_status(struct stream *s, const char *stage, double progress, const char *fmt, ...)
{
    char message[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    struct buf b = BUF_INIT(4096);
    struct json_writer w = json_writer(&b);
    jw_obj(&w);
    jw_kstr(&w, "stage", stage);
    jw_key(&w, "progress");
    if (progress < 0)
        jw_null(&w);
    else
        jw_num(&w, (double)(int)(progress * 1000) / 1000);
    jw_kstr(&w, "message", message);
    jw_end_obj(&w);
    if (!buf_failed(&b))
        IGNORE(stream_append(s, STREAM_STATUS,
                             buf_span(&b))); /* progress may be lost, the end may not */
    buf_done(&b);
}

void emit_error(struct stream *s, const struct err *err, const char *phase, const char *text)
{
    struct buf b = BUF_INIT(8192);
    struct json_writer w = json_writer(&b);
    jw_obj(&w);
    jw_kstr(&w, "code", err_name(err->code));
    jw_kstr(&w, "message", err->msg);
    jw_kstr(&w, "hint", err->hint);
    jw_kint(&w, "status", err_http_status(err->code));
    jw_kstr(&w, "phase", phase);
    if (text)
        jw_kstr(&w, "text", text);
    jw_end_obj(&w);
    if (!buf_failed(&b))
        IGNORE(stream_append(s, STREAM_ERROR,
                             buf_span(&b))); /* the close that follows says "error" in any case */
    buf_done(&b);
}

void engine_models_json(struct engine *e, struct buf *out)
{
    if (e->options.registry) {
        registry_models_json(e->options.registry, out);
        return;
    }
    struct json_writer w = json_writer(out);
    jw_obj(&w);
    jw_key(&w, "providers");
    jw_arr(&w);
    jw_obj(&w);
    jw_kstr(&w, "id", ENGINE_PROVIDER_LOCAL);
    jw_kstr(&w, "name", "Local");
    jw_key(&w, "models");
    jw_arr(&w);
    jw_obj(&w);
    jw_kstr(&w, "id", ENGINE_MODEL_LOCAL);
    jw_kstr(&w, "name", ENGINE_MODEL_LOCAL);
    jw_end_obj(&w);
    jw_end_arr(&w);
    jw_kbool(&w, "supportsCustomModel", false);
    jw_end_obj(&w);
    jw_end_arr(&w);
    jw_kstr(&w, "defaultProvider", ENGINE_PROVIDER_LOCAL);
    jw_kstr(&w, "defaultModel", ENGINE_MODEL_LOCAL);
    jw_end_obj(&w);
}
