#pragma once
/* One source's embedding job, as embedding.c (which job, when, what it left) and embedding_job.c (its steps) share it. */
#include "engine/engine_priv.h"
#include "index/vectors.h"
#include "providers/embed.h"

#define EMBED_FAILED_MAX 1000 /* chunks listed with their reason; more are only counted */
/* While an index grows, its snapshots are joined with the vectors at most this often, nor more often than that many times what it takes. */
#define JOIN_INTERVAL_MS 2000
#define JOIN_COST_FACTOR 20

/* A chunk that got no vector. */
struct embed_failure {
    uint32_t chunk;
    char why[160];
};

/* Texts on their way: made by a worker, sent by a loop, stored by a worker. */
struct embed_batch {
    uint32_t *chunks; /* owned, as all here; LIMIT_EMBED_TEXTS_COUNT places */
    struct vector_hash *hashes;
    size_t *at, *len; /* in bytes */
    bool *is_told;
    size_t count;
    struct buf bytes;
    float *values; /* count × dims, once the first has come */
    bool *has_values;
    unsigned dims;
};

struct embed_job {
    struct work work;
    struct list link; /* engine->embed_queue while it is queued */
    struct running running;
    struct engine *engine;
    const struct engine_upstream *upstream;
    char source_id[STORE_ID_MAX], tenant[STORE_ID_MAX];
    _Atomic int refs;      /* the job, and stops on their way to the loop */
    _Atomic bool is_again; /* the source has a new index: join that, at the latest before the end */
    _Atomic bool
        is_newer;   /* the same of one that is replaced again soon: join it when it is time */
    bool is_queued; /* under engine->lock */
    _Atomic bool is_on_loop;

    /* worker */
    struct index *index;     /* ref */
    struct vectors *vectors; /* owned */
    uint32_t *todo;          /* owned: chunks without a vector */
    size_t todo_count, next;
    uint32_t covered, total, failed_count;
    struct embed_failure *failed;   /* owned; EMBED_FAILED_MAX */
    bool is_leg_behind;             /* the file has more than the leg */
    uint64_t join_ms, join_cost_ms; /* when the leg was last published, what it took */
    uint64_t began_ms;
    uint32_t embedded;

    /* either, one at a time */
    struct embed_batch batch;
    int result;
    char why[200];
    unsigned pauses; /* in a row */
    bool is_paused;  /* the next step on the loop is a pause */

    /* loop */
    struct loop_msg to_loop;
    struct timer timer;
    struct embed_run *run;
    bool is_waiting; /* the timer of a pause runs */
};

/* embedding.c */
const char *vector_path(const struct engine *e, const char *source_id, struct buf *path);
/* Opens the vector file of a source; one that cannot be read is begun anew. Worker. */
int vectors_of(struct engine *e, const char *source_id, struct vectors **ret,
               struct err *err) MUST_CHECK;
/* The leg becomes the source's if that still has the index. Takes the reference. */
void publish_leg(struct engine *e, const char *source_id, struct vector_leg *leg);
/* "queued", "embedding", "waiting", "ready", "stopped" and why, for /v1/sources. */
void put_job_state(struct embed_job *job, const char *state, const char *why);
/* Whether another job found out that the embedder refuses us; *ret_why in that case. */
bool is_embedder_stopped(struct engine *e, char *ret_why, size_t size);
/* Chunks that failed, behind the files that were left out. */
void report_failures(const struct embed_job *job);
/* How long to wait after a join that took so long. */
uint64_t join_pause_ms(uint64_t cost_ms);
/* Gives the place to the next in the queue. */
void embedding_next(struct engine *e);

/* embedding_job.c */
struct embed_job *embed_job_new(struct engine *e, const char *source_id,
                                const char *tenant) MUST_CHECK;
void embed_job_run(struct work *work);
void embed_job_begin(struct embed_job *job); /* leaves the queue; with engine->lock held */
void embed_job_stop(struct engine *e, struct running *r); /* with engine->lock held */
void embed_job_unref(struct embed_job *job);
