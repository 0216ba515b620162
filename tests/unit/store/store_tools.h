#pragma once
/* What the store's test programs share: a scratch directory, opening either backend, posting and waiting. */
#include "../cm.h"
#include "store/store.h"

struct scratch {
    char dir[64];
};
void scratch_make(struct scratch *s);
void scratch_remove(struct scratch *s);

/* One row of the parameter table: a backend and where it keeps its data. */
struct backend {
    const char *name;
    bool is_sqlite;
    struct scratch scratch;
    struct store *store;
};
void backend_open(struct backend *b);
void backend_close(struct backend *b);

/* Posts and waits for `done`: its result, or that of a refused post. */
int post_and_wait(struct store *s, const struct store_stream *streams, size_t stream_count,
                  const struct store_block *blocks, size_t block_count);
struct store_stream stream_row(const char *tenant, const char *id);
struct store_source source_row(const char *tenant, const char *id,
                               const char *name); /* static strings */
