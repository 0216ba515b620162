#pragma once
/*
 * Inside of store/: the vtable that a backend fills in, and what both backends share. store.c checks arguments and
 * calls the backend; every write runs on the one writer thread (writer_priv.h), in the order in which it was queued.
 */
#include "store/store.h"
#include "store/writer_priv.h"

#define STORE_TEXT_MAX (64u << 10)  /* bytes of one string of a row */
#define STORE_SKIPPED_COUNT 1000000 /* rows of one source's list: no walk sees more files */
#define STORE_POST_COUNT 65536      /* streams, and blocks, in one post */

struct
    store_post { /* one call of store_post_streams: a single allocation owns everything it points to */
    struct write_op op;
    struct store_stream *streams;
    struct store_block *blocks;
    size_t stream_count, block_count;
    void (*done)(void *ctx, int result);
    void *ctx;
};

/*
 * Arguments are those of the public functions, checked. `apply` runs a post on the writer thread; it is all or
 * nothing. The other writes block until the writer has committed them.
 */
struct store_backend {
    void (*close)(struct store *s); /* the writer has stopped; frees s */
    int (*source_put)(struct store *s, const struct store_source *src, struct err *err);
    int (*source_get)(struct store *s, const char *tenant, const char *id, struct store_source *ret,
                      struct err *err);
    int (*source_find)(struct store *s, const char *tenant, const char *name_or_location,
                       struct store_source *ret, struct err *err);
    int (*source_list)(struct store *s, const char *tenant, struct store_source **ret,
                       size_t *ret_count, struct err *err);
    int (*source_delete)(struct store *s, const char *tenant, const char *id, struct err *err);
    int (*skipped_put)(struct store *s, const char *tenant, const char *source_id,
                       const struct store_skipped *items, size_t count, struct err *err);
    int (*skipped_list)(struct store *s, const char *tenant, const char *source_id, size_t offset,
                        size_t max, struct store_skipped **ret, size_t *ret_count, struct err *err);
    int (*apply)(void *ctx, struct write_op *op, struct err *err);
    int (*stream_get)(struct store *s, const char *tenant, const char *id, struct store_stream *ret,
                      struct err *err);
    int (*block_get)(struct store *s, const char *stream_id, uint64_t seq, char **ret_bytes,
                     size_t *ret_len, uint64_t *ret_first, struct err *err);
    int (*streams_unfinished)(struct store *s, struct store_stream **ret, size_t *ret_count,
                              struct err *err);
    int (*streams_expire)(struct store *s, int64_t closed_before_ms, size_t max, size_t *ret_count,
                          struct err *err);
};

struct store { /* first member of a backend's own struct */
    const struct store_backend *backend;
    struct writer writer;
};

/*
 * Room for one more item in an owned array that doubles: the array, perhaps moved, or NULL when memory is gone (the
 * old one is valid then).
 */
void *store_grow(void *items, size_t count, size_t *cap, size_t item_size) MUST_CHECK;
static inline int store_no_memory(struct err *err)
{
    err_set(err, ERR_NO_MEMORY, "out of memory in the store");
    return -ERR_NO_MEMORY;
}

/* Messages that both backends must say alike; here, so that each sees that it gets a failure. */
static inline int store_source_missing(const char *id, struct err *err)
{
    err_set(err, ERR_NOT_FOUND, "there is no source '%s'", id);
    return -ERR_NOT_FOUND;
}
static inline int store_source_taken(const char *name, struct err *err)
{
    err_set(err, ERR_EXISTS, "another source has the name '%s'", name);
    err_hint(err, "choose another name, or delete that source first");
    return -ERR_EXISTS;
}
static inline int store_stream_missing(const char *id, struct err *err)
{
    err_set(err, ERR_NOT_FOUND, "there is no stream '%s'", id);
    return -ERR_NOT_FOUND;
}
static inline int store_stream_foreign(const char *id, struct err *err)
{
    err_set(err, ERR_EXISTS, "stream '%s' belongs to another tenant", id);
    return -ERR_EXISTS;
}
static inline int store_block_missing(const char *id, uint64_t seq, struct err *err)
{
    err_set(err, ERR_NOT_FOUND, "stream '%s' has no stored event %llu or later", id,
            (unsigned long long)seq);
    return -ERR_NOT_FOUND;
}
