#pragma once
/* What the files of engine/ share. */
#include "base/lock.h"
#include "base/map.h"
#include "engine/engine.h"
#include "fetch/clone.h"
#include "index/vectors.h"
#include "retrieval/retrieval.h"

#include <limits.h>

#define FRESHNESS_INTERVAL_MS 2000 /* a source's tree is looked at for changes at most this often */
#define FRESHNESS_COST_FACTOR 10   /* … nor more often than this many times what a look takes */
#define LIVE_SOURCES_MAX 256 /* sources with an open index; the one unused for longest goes first */

struct index_job;
struct bench_source;
struct embed_job;

#define EMBED_JOBS_MAX 2 /* sources being embedded at a time; others queue */
#define QUESTIONS_KEPT_MAX 256
#define VECTORS_SUFFIX ".hwv" /* "<source>-<8 hex digits of the embedder's key>.hwv" */

/* What /v1/sources says of a source's vectors. */
struct vector_state {
    const char
        *state; /* "queued" "embedding" "waiting" "ready" "stopped"; NULL: not looked at yet */
    uint32_t covered, total, failed; /* chunks */
    char why[200];
    char stream[STORE_ID_MAX];
    uint64_t told_ms,
        join_cost_ms; /* monotonic time of the above; what joining index and vectors took */
};

/* A source that has been used since start: its open index and the job that is renewing it. */
struct live_source {
    struct store_source row;
    struct index *index;         /* ref; NULL until there is one */
    struct index_job *job;       /* borrowed while it runs */
    uint64_t checked_ms;         /* monotonic time of the last look at the tree */
    uint64_t check_cost_ms;      /* what that look took */
    uint64_t used;               /* engine->uses when it was last named */
    uint64_t remote_ms;          /* monotonic time of the last look at where it is fetched from */
    bool is_fetch_failed;        /* that look, or the fetch, failed */
    bool is_index_lost;          /* row.index_file cannot be used: not tried again */
    bool is_merging;             /* segments of its index become one, in the background */
    bool wants_rebuild;          /* the next job is to read and cut everything again */
    struct vector_leg *leg;      /* ref; of this index or of the one before it; or NULL */
    struct embed_job *embed_job; /* borrowed while it runs */
    struct vector_state vectors;
    char lost_why[200];
};

/* Work that engine_stop can reach: embedded in answers and index jobs. */
struct running {
    struct list link;
    struct stream *stream; /* ref, a producer's */
    /* Called after the stop flag was raised, with engine->lock held: ends a wait. Or NULL. */
    void (*stop)(struct engine *e, struct running *r);
};

struct engine {
    struct engine_options options;
    char *index_dir;
    char **allow_paths;                        /* resolved, NULL-terminated */
    char *repos_dir;                           /* resolved; NULL: nothing is fetched */
    char **allow_hosts, **allow_private_hosts; /* NULL-terminated */
    struct buf filters;                        /* canonical text for requests without any */
    struct bench_source *bench;                /* owned; NULL unless asked for */
    struct lock
        publish; /* held while a source's next snapshot is made of its current; blocks: workers only */
    struct lock rows; /* held over read, change and write of a source's row; blocks: workers only */
    struct lock lock; /* all below; never held while something blocks */
    struct cond idle;
    struct map sources; /* id → struct live_source */
    uint64_t uses;
    struct list running;
    size_t running_count, call_count;
    struct list embed_queue; /* of struct embed_job */
    unsigned embed_running;
    char embed_stopped
        [200]; /* why the embedder is not asked any more: its key is refused …; or "" */
    uint64_t embed_stopped_ms;
    bool stopping;
    struct lock questions_lock;      /* the next two; innermost */
    struct kept_question *questions; /* owned; QUESTIONS_KEPT_MAX */
    uint64_t question_uses;
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
 * The same for everything that can be named: a repository's URL makes a source of kind "git". *ret_ask (may be NULL): what its job needs
 * of this request; index_ask_done.
 */
struct index_ask {
    bool is_guarded;         /* asked for by a client */
    bool must_build;         /* also when nothing has changed */
    struct credential given; /* of the request; user "": the host's kind decides */
};
int source_resolve_access(struct engine *e, const struct engine_caller *who, struct span named,
                          const struct source_access *access, struct span name,
                          char ret_id[STORE_ID_MAX], struct index_ask *ret_ask,
                          struct err *err) MUST_CHECK;
static inline void index_ask_done(struct index_ask *a)
{
    credential_done(&a->given);
}
/*
 * The same for the files that the filters leave (filters.c): without any that is the source itself, else one of its own, made
 * at the first time. It is called "name~hash" unless `name` says otherwise. -ERR_INVALID, -ERR_LIMIT: bad filters.
 */
int source_resolve_wanted(struct engine *e, const struct engine_caller *who, struct span named,
                          const struct source_access *access, struct span name,
                          const struct engine_filters *filters, char ret_id[STORE_ID_MAX],
                          struct index_ask *ret_ask, struct err *err) MUST_CHECK;
/* The source with exactly this location; made when there is none, called `name` or like `base`. */
int source_at(struct engine *e, const struct engine_caller *who, const char *location,
              const char *kind, const char *base, struct span name, char ret_id[STORE_ID_MAX],
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
/* Its location, and what its host is ("local", "git", "github" …), for a prompt. */
void source_address(struct engine *e, const char *id, char *ret_location, size_t size,
                    const char **ret_type);
/* Whether the last job could not fetch it. */
bool source_fetch_failed(struct engine *e, const char *id);
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
/* Makes the index the source's, without the row. The reference moves; no effect when the source was let go. */
void source_set_index(struct engine *e, const char *id, struct index *ix);

/* publish.c */
struct index_update;
int index_manifest_path(const struct engine *e, const char *id, char ret[PATH_MAX],
                        struct err *err) MUST_CHECK;
/*
 * Seals the update, writes the manifest, the row (of `change`: revision, fingerprint, state, error, skipped) and makes
 * it the source's index. Blocks.
 */
int publish_update(struct engine *e, const char *id, struct index_update *u,
                   struct source_change *change, uint32_t retry_count, bool is_last,
                   struct err *err) MUST_CHECK;
/* Merges segments of the source's index until that is not due any more, unless somebody is at it. Blocks, long. */
void merge_if_due(struct engine *e, const char *id, const _Atomic bool *cancel);
/* The row of a source into the table of used sources. Blocks. */
int source_load(struct engine *e, const char *tenant, const char *id, struct err *err) MUST_CHECK;

/* embedding.c. The embedder, when chunks and questions are to be embedded; else NULL. */
const struct embedder *engine_embedder(const struct engine *e);
/* Starts the job that embeds what a source's newest index has and its vector file has not, or tells the one that runs. */
void embedding_start(struct engine *e, const char *source_id);
/*
 * The same for a snapshot that will soon be replaced: not when a job has just been at it, in proportion to what joining
 * vectors and index takes. What is left out is made up for by a later snapshot, or by a search that lacks the vectors.
 */
void embedding_follow(struct engine *e, const char *source_id);
/* The source is being removed: its job ends without it. With e->lock held. */
void embedding_stop(struct engine *e, struct live_source *s);
/* At start: goes on where an earlier process was. */
void embedding_resume(struct engine *e);
/*
 * The vectors of this index: a reference, or NULL. Where there are none yet a server starts the job that finds them; a
 * command reads the file. Blocks.
 */
struct vector_leg *source_leg(struct engine *e, const char *id, struct index *ix);
/* "vectors": … of a source; with e->lock held. live may be NULL. */
void embedding_put_state(const struct engine *e, const struct live_source *live,
                         struct json_writer *w);

/*
 * question.c. Asks for the vector of a question. 0: go on (question_vector has it, or w->question_why says why not);
 * ENGINE_WAITS: `then` is submitted when it is there, or will not be. Blocks never.
 */
int question_ask(struct engine *e, struct index_waiter *w, struct span question,
                 unsigned dims) MUST_CHECK;
/* A copy of the kept vector, owned by the caller; NULL when there is none of these dimensions. */
float *question_vector(struct engine *e, struct span question, unsigned dims);
/* Puts both into the options of a search; NULL: by words only. */
static inline void retrieve_by_vectors(struct retrieval_options *o, const struct vector_leg *leg,
                                       const float *vector)
{
    if (!leg || !vector)
        return;
    o->vectors = leg;
    o->query_vector = vector;
    o->query_dims = vector_leg_dims(leg);
}
void questions_done(struct engine *e);
/* Ends the wait by submitting `then`; with e->lock held. */
void question_cut_wait(struct engine *e, struct index_waiter *w);
/* The waiter goes; with e->lock held. */
void question_forget(struct index_waiter *w);

/* leftovers.c: removes files of the index folder that no source refers to: what a kill left behind. Blocks. */
void remove_leftovers(struct engine *e);
/* Removes the vectors of a source, by whatever embedder. Blocks. */
void remove_vectors(const struct engine *e, const char *source_id);

/*
 * remote.c: repositories of other machines. A source's job calls remote_fetch first: what it indexes is the tree in *ret. Both block.
 */
#define SOURCE_KIND_GIT "git"
int remote_fetch(struct engine *e, const char *location, const struct index_ask *ask,
                 const _Atomic bool *cancel,
                 void (*progress)(void *ctx, double fraction, const char *message), void *ctx,
                 struct clone_result *ret, struct err *err) MUST_CHECK;
/* Notes that the remote was looked at, and how that ended. */
void remote_note(struct engine *e, const char *source_id, int result);
/* Removes what was fetched for a location; of no other. */
void remote_forget(struct engine *e, const char *location);
/* Removes clones that no source refers to. */
void remote_remove_leftovers(struct engine *e);

/*
 * indexing.c. Starts the job of a source, or joins the one that runs. `ask` (or NULL: nobody's in particular, guarded) is copied. *ret_stream (or
 * NULL): the job's own stream, a reference.
 */
int indexing_start(struct engine *e, const char *source_id, const struct index_ask *ask,
                   struct index_waiter *waiter, struct stream **ret_stream,
                   struct err *err) MUST_CHECK;
/* Ends a wait early by submitting `then`. With e->lock held. */
void indexing_cut_wait(struct engine *e, struct index_waiter *w);
