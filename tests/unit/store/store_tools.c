#include "store_tools.h"

#include <dirent.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void scratch_make(struct scratch *s)
{
    snprintf(s->dir, sizeof s->dir, "%s", "/tmp/headwater-store-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
}

void scratch_remove(struct scratch *s)
{
    DIR *d = opendir(s->dir);
    if (!d)
        return;
    struct dirent *e;
    while ((e = readdir(d))) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", s->dir, e->d_name);
        (void)unlink(path); /* "." and ".." refuse */
    }
    closedir(d);
    (void)rmdir(s->dir);
}

void backend_open(struct backend *b)
{
    struct err err = {0};
    int r = b->is_sqlite ? store_open_sqlite(b->scratch.dir, &b->store, NULL, &err)
                         : store_open_memory(&b->store, &err);
    if (r)
        fail_msg("%s: %s", b->name, err.msg);
}

void backend_close(struct backend *b)
{
    store_close(b->store);
    b->store = NULL;
}

struct waiter {
    sem_t done;
    int result;
};

static void on_done(void *ctx, int result)
{
    struct waiter *w = ctx;
    w->result = result;
    sem_post(&w->done);
}

int post_and_wait(struct store *s, const struct store_stream *streams, size_t stream_count,
                  const struct store_block *blocks, size_t block_count)
{
    struct waiter w;
    sem_init(&w.done, 0, 0);
    int r = store_post_streams(s, streams, stream_count, blocks, block_count, on_done, &w);
    if (!r) {
        while (sem_wait(&w.done))
            ;
        r = w.result;
    }
    sem_destroy(&w.done);
    return r;
}

struct store_stream stream_row(const char *tenant, const char *id)
{
    struct store_stream st = {.kind = "answer", .created_ms = 1000};
    snprintf(st.tenant, sizeof st.tenant, "%s", tenant);
    snprintf(st.id, sizeof st.id, "%s", id);
    return st;
}

struct store_source source_row(const char *tenant, const char *id, const char *name)
{
    static char name_copy[4][64], location[4][128], empty[] = "", kind[] = "local",
                                                    state[] = "ready";
    static unsigned at;
    unsigned i = at++ % 4;
    snprintf(name_copy[i], sizeof name_copy[i], "%s", name);
    snprintf(location[i], sizeof location[i], "/src/%s", name);
    struct store_source src = {.name = name_copy[i],
                               .kind = kind,
                               .location = location[i],
                               .index_file = empty,
                               .revision = empty,
                               .fingerprint = empty,
                               .state = state,
                               .error = empty,
                               .files = 1,
                               .chunks = 2,
                               .bytes = 3,
                               .skipped = 4,
                               .created_ms = 5,
                               .indexed_ms = 6};
    snprintf(src.tenant, sizeof src.tenant, "%s", tenant);
    snprintf(src.id, sizeof src.id, "%s", id);
    return src;
}
