#pragma once
/* What the files of engine/ share. */
#include "base/lock.h"
#include "base/map.h"
#include "engine/engine.h"
#include "retrieval/retrieval.h"

#define ENGINE_RUNNING_MAX 1024    /* answers and index jobs at a time */
#define FRESHNESS_INTERVAL_MS 2000 /* a source's tree is looked at for changes at most this often */

struct index_job;
struct bench_source;

/* A source that has been used since start: its open index and the job that is renewing it. */
struct live_source {
    struct store_source row;
    struct index *index;   /* ref; NULL until there is one */
    struct index_job *job; /* borrowed while it runs */
    uint64_t checked_ms;   /* monotonic time of the last look at the tree */
};

/* Work that engine_stop can reach: embedded in answers and index jobs. */
struct running {
    struct list link;
    struct stream *stream; /* ref */
};

struct engine {
    struct engine_options options;
    char *index_dir;
    char **allow_paths;         /* resolved, NULL-terminated */
    struct bench_source *bench; /* owned; NULL unless asked for */
    struct lock lock;           /* all below */
    struct cond idle;
    struct map sources; /* id → struct live_source */
    struct list running;
    size_t running_count;
    bool stopping;
};

/* running.c: 0 or -ERR_LIMIT / -ERR_UNAVAILABLE (stopping). */
int running_enter(struct engine *e, struct running *r, struct stream *s,
                  struct err *err) MUST_CHECK;
void running_leave(struct engine *e, struct running *r);

/* Events in the shapes that stream.h names. Failures are the stream's (closed, no memory): the work polls for them. */
void emit_status(struct stream *s, const char *stage, double progress /* <0 = unknown */,
                 const char *fmt, ...) PRINTF(4, 5);
void emit_error(struct stream *s, const struct err *err,
                const char *phase /* "prepare" or "generate" */);

/*
 * sources.c. Resolves what a caller named to a source, making a row for a new directory. Blocks.
 * -ERR_NOT_FOUND, -ERR_FORBIDDEN (outside of --allow-path), -ERR_UNSUPPORTED (remote).
 */
int source_resolve(struct engine *e, const struct engine_caller *who, struct span named,
                   struct span name, char ret_id[STORE_ID_MAX], struct err *err) MUST_CHECK;
/* Reference to the open index, or NULL when there is none or the tree has changed since. Blocks. */
struct index *source_fresh_index(struct engine *e, const char *id);
/* The newest index there is, fresh or not; NULL when none. */
struct index *source_any_index(struct engine *e, const char *id);
/* Copies what callers show: name and revision. */
bool source_names(struct engine *e, const char *id, char *ret_name, size_t name_size,
                  char *ret_revision, size_t revision_size);
struct live_source *source_live(struct engine *e, const char *id); /* with e->lock held */

/*
 * indexing.c. Starts the job of a source, or joins the one that runs. `then` (or NULL) is submitted to the FAST lane when the job has
 * ended, whatever its end; `follow` (or NULL) gets copies of its status events. *ret_stream (or NULL): the job's own stream, a reference.
 */
struct index_waiter {
    struct list link;
    struct work *then;
    struct stream *follow; /* ref */
    int result;            /* set before `then` runs */
    struct err why;
};
int indexing_start(struct engine *e, const char *source_id, struct index_waiter *waiter,
                   struct stream **ret_stream, struct err *err) MUST_CHECK;
