/* Repositories of other machines: from a source's row to a folder of files, and back to nothing. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "engine/engine_priv.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define RETRY_AFTER_MS 30000 /* a remote that failed is not asked by every question */

enum { M_FETCHES, M_FAILED, M_UNCHANGED };
static struct metric metrics[] = {
    [M_FETCHES] = METRIC_COUNTER("headwater_fetches_total",
                                 "looks at remote repositories, however they ended"),
    [M_FAILED] = METRIC_COUNTER("headwater_fetches_failed_total", "of these, failed"),
    [M_UNCHANGED] = METRIC_COUNTER("headwater_fetches_unchanged_total", "of these, without news"),
};

static int name_of(const char *location, struct source_name *ret, struct err *err)
{
    int r = source_name_parse(span_str(location), SPAN_NULL, SPAN_NULL, ret, err);
    return r == -ERR_NOT_FOUND ? err_set(err, ERR_INVALID, "'%s' is no repository", location) : r;
}

/* What was given with the request, else the owner's own for that host. */
static int pick(const struct engine *e, const struct index_ask *ask, const struct source_name *n,
                struct credential *ret, struct err *err)
{
    if (ask->given.user[0]) {
        *ret = ask->given;
        return 0;
    }
    return credential_pick(n, span_str(ask->given.secret), e->options.env, e->options.env_ctx, ret,
                           err);
}

/* The folder was resolved when it was named, and allowed as that. */
static int check_folder(const struct source_name *n, struct err *err)
{
    if (n->scheme != SCHEME_FILE)
        return 0;
    CLEANUP(mem_freep) char *real = realpath(n->path, NULL);
    if (real && strcmp(real, n->path) == 0)
        return 0;
    return real ? err_set(err, ERR_FORBIDDEN, "'%s' has become a link to another place", n->path)
                : err_set(err, ERR_NOT_FOUND, "there is no repository at '%s' any more", n->path);
}

int remote_fetch(struct engine *e, const char *location, const struct index_ask *ask,
                 const _Atomic bool *cancel,
                 void (*progress)(void *ctx, double fraction, const char *message), void *ctx,
                 struct clone_result *ret, struct err *err)
{
    const struct engine_options *o = &e->options;
    struct source_name n = {0};
    struct credential c = {0};
    *ret = (struct clone_result){0};
    metric_register(metrics, ARRAY_LEN(metrics));
    if (!e->repos_dir)
        return err_set(err, ERR_UNSUPPORTED, "no repositories are fetched here");
    union { /* lists of our own strings, read only */
        char **in;
        const char *const *out;
    } hosts = {.in = e->allow_hosts}, private_hosts = {.in = e->allow_private_hosts};
    struct clone_options co = {
        .dir = e->repos_dir,
        .guard = {hosts.out, private_hosts.out, o->fetch_policy.allow_ssh},
        .max_bytes = o->max_clone_bytes,
        .loop = o->upstream_count ? o->upstreams[0].loop : NULL,
        .env = o->env,
        .env_ctx = o->env_ctx,
    };
    struct clone_request rq = {
        .name = &n,
        .credential = &c,
        .is_guarded = ask->is_guarded,
        .cancel = cancel,
        .progress = progress,
        .ctx = ctx,
    };
    int r = name_of(location, &n, err);
    if (r == 0)
        r = check_folder(&n, err);
    if (r == 0)
        r = pick(e, ask, &n, &c, err);
    if (r == 0)
        r = clone_update(&co, &rq, ret, err);
    credential_done(&c);
    metric_add(&metrics[M_FETCHES], 1);
    metric_add(&metrics[M_FAILED], r < 0 && r != -ERR_CANCELLED);
    metric_add(&metrics[M_UNCHANGED], r == 0 && ret->is_unchanged);
    return r;
}

void remote_note(struct engine *e, const char *source_id, int result)
{
    uint64_t interval = e->options.refresh_interval_ms, now = clock_ms();
    uint64_t early = result < 0 && interval > RETRY_AFTER_MS ? interval - RETRY_AFTER_MS : 0;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, source_id);
    if (s) {
        s->remote_ms = now > early ? now - early : 1;
        s->is_fetch_failed = result < 0;
    }
    lock_leave(&e->lock);
}

void remote_forget(struct engine *e, const char *location)
{
    struct source_name n;
    struct err err = {0};
    char dir[SOURCE_DIR_MAX];
    if (!e->repos_dir || name_of(location, &n, &err) < 0)
        return;
    source_name_dir(&n, dir);
    if (clone_remove(e->repos_dir, dir, &err) < 0)
        LOG_WARN("engine", "a clone could not be removed", LOG_S("why", err.msg));
}

static bool is_used(const struct store_source *rows, size_t count, const char *dir)
{
    for (size_t i = 0; i < count; i++) {
        struct source_name n;
        char used[SOURCE_DIR_MAX];
        if (strcmp(rows[i].kind, SOURCE_KIND_GIT) != 0 || name_of(rows[i].location, &n, NULL) < 0)
            continue;
        source_name_dir(&n, used);
        if (strcmp(used, dir) == 0)
            return true;
    }
    return false;
}

void remote_remove_leftovers(struct engine *e)
{
    struct store_source *rows = NULL;
    size_t count = 0;
    struct err err = {0};
    const struct dirent *d;
    DIR *dir = opendir(e->repos_dir);
    if (!dir)
        return;
    if (store_source_list(e->options.store, STORE_TENANT_DEFAULT, &rows, &count, &err) < 0) {
        (void)closedir(dir);
        return;
    }
    while ((d = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): dir is ours alone */
        if (d->d_name[0] == '.' || is_used(rows, count, d->d_name))
            continue;
        if (clone_remove(e->repos_dir, d->d_name, &err) < 0)
            LOG_WARN("engine", "a left-over clone could not be removed", LOG_S("why", err.msg));
        else
            LOG_INFO("engine", "removed a clone that no source refers to",
                     LOG_S("clone", d->d_name));
    }
    for (size_t i = 0; i < count; i++)
        store_source_done(&rows[i]);
    mem_free(rows);
    (void)closedir(dir);
}
