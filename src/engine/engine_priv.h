#pragma once
/* What the files of engine/ share. */
#include "base/lock.h"
#include "base/map.h"
#include "engine/engine.h"
#include "retrieval/retrieval.h"

#define ENGINE_RUNNING_MAX 1024    /* answers and index jobs at a time */
#define FRESHNESS_INTERVAL_MS 2000 /* a source's tree is looked at for changes at most this often */
#define FRESHNESS_COST_FACTOR 10   /* … nor more often than this many times what a look takes */
#define LIVE_SOURCES_MAX 256 /* sources with an open index; the one unused for longest goes first */

struct index_job;
struct bench_source;

/* A source that has been used since start: its open index and the job that is renewing it. */
struct live_source {
    struct store_source row;
    struct index *index;    /* ref; NULL until there is one */
    struct index_job *job;  /* borrowed while it runs */
    uint64_t checked_ms;    /* monotonic time of the last look at the tree */
    uint64_t check_cost_ms; /* what that look took */
    uint64_t used;          /* engine->uses when it was last named */
    bool is_index_lost;     /* row.index_file cannot be used: not tried again */
    char lost_why[200];
};

/* Work that engine_stop can reach: embedded in answers and index jobs. */
struct running {
    struct list link;
    struct stream *stream; /* ref */
    /* Called after the stop flag was raised, with engine->lock held: ends a wait. Or NULL. */
    void (*stop)(struct engine *e, struct running *r);
};

struct engine {
    struct engine_options options;
    char *index_dir;
    char **allow_paths;         /* resolved, NULL-terminated */
    struct buf filters;         /* canonical text for requests without any */
    struct bench_source *bench; /* owned; NULL unless asked for */
    struct lock rows; /* held over read, change and write of a source's row; blocks: workers only */
    struct lock lock; /* all below; never held while something blocks */
    struct cond idle;
    struct map sources; /* id → struct live_source */
    uint64_t uses;
    struct list running;
    size_t running_count, call_count;
    bool stopping;
};

/* Whether running_enter would refuse now: asked before anything is made that would only be thrown away. */
int running_room(struct engine *e, struct err *err) MUST_CHECK;
/* 0 or -ERR_LIMIT / -ERR_UNAVAILABLE (stopping). */
int running_enter(struct engine *e, struct running *r, struct stream *s,
                  struct err *err) MUST_CHECK;
void running_leave(struct engine *e, struct running *r);

/* Events in the shapes that stream.h names. Failures are the stream's (closed, no memory): the work polls for them. */
void emit_status(struct stream *s, const char *stage, double progress /* <0 = unknown */,
                 const char *fmt, ...) PRINTF(4, 5);
void emit_error(struct stream *s, const struct err *err,
                const char *phase /* "prepare" or "generate" */,
                const char *text /* what a plain-text client sees, or NULL: made from err */);

/*
 * sources.c. Resolves what a caller named to a source, making a row for a new directory. Blocks.
 * -ERR_NOT_FOUND, -ERR_FORBIDDEN (outside of --allow-path), -ERR_UNSUPPORTED (remote).
 */
int source_resolve(struct engine *e, const struct engine_caller *who, struct span named,
                   struct span name, char ret_id[STORE_ID_MAX], struct err *err) MUST_CHECK;
/*
 * The same for the files that the filters leave (filters.c): without any that is the source itself, else one of its own, made
 * at the first time. It is called "name~hash" unless `name` says otherwise. -ERR_INVALID, -ERR_LIMIT: bad filters.
 */
int source_resolve_wanted(struct engine *e, const struct engine_caller *who, struct span named,
                          struct span name, const struct engine_filters *filters,
                          char ret_id[STORE_ID_MAX], struct err *err) MUST_CHECK;
/* The source with exactly this location; made when there is none. */
int source_at(struct engine *e, const struct engine_caller *who, const char *location,
              const char *kind, struct span name, char ret_id[STORE_ID_MAX],
              struct err *err) MUST_CHECK;
/* A row's location is a path (or URL), and after a line end the canonical text of its filters (ingest/filter_set.h). */
struct span location_path(struct span location);
struct span location_filters(struct span location);
/* The canonical text of what a request wants. */
int filters_text(const struct engine_filters *f, struct buf *out, struct err *err) MUST_CHECK;
/* Reference to the open index, or NULL when there is none, the tree has changed since, or *cancel (may be NULL). Blocks. */
struct index *source_fresh_index(struct engine *e, const char *id, const _Atomic bool *cancel);
/* The newest index there is, fresh or not; NULL when none. */
struct index *source_any_index(struct engine *e, const char *id);
/* Copies what callers show: name and revision. */
bool source_names(struct engine *e, const char *id, char *ret_name, size_t name_size,
                  char *ret_revision, size_t revision_size);
struct live_source *source_live(struct engine *e, const char *id); /* with e->lock held */
void live_source_free(struct live_source *s);

/* What changes in a source's row; NULL = stays. */
struct source_change {
    const char *name, *index_file, *revision, *fingerprint, *state, *error;
    const struct index_stats *stats; /* with skipped, and the time of indexing is now */
    int64_t skipped;
    struct index *index; /* ref, becomes the source's index; taken when it succeeds */
};
/*
 * In the store first, then in memory: what is in memory is never ahead of the store. *ret_old_file (or NULL): the file name
 * that was replaced, owned. Blocks.
 */
int source_change(struct engine *e, const char *id, const struct source_change *change,
                  char **ret_old_file, struct err *err) MUST_CHECK;
/* leftovers.c: removes files of the index folder that no source refers to: what a kill left behind. Blocks. */
void remove_leftovers(struct engine *e);

/*
 * indexing.c. Starts the job of a source, or joins the one that runs. *ret_stream (or NULL): the job's own stream, a reference.
 */
int indexing_start(struct engine *e, const char *source_id, struct index_waiter *waiter,
                   struct stream **ret_stream, struct err *err) MUST_CHECK;
/* Ends a wait early by submitting `then`. With e->lock held. */
void indexing_cut_wait(struct engine *e, struct index_waiter *w);
