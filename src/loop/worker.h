#pragma once
/*
 * Threads for whatever may block or take long: disk, SQL reads, search, chunking, children. Two lanes with threads of
 * their own: FAST for what a person waits for (search, answers), SLOW at lower priority for indexing, so that the
 * second never holds up the first. Queues are bounded: a full one refuses (-ERR_LIMIT), it does not wait.
 */
#include "loop/loop.h"

enum worker_lane { WORKER_FAST, WORKER_SLOW, WORKER_LANES };

/* Embed it. The task owns itself from submit until done (or until run when origin is NULL). */
struct work {
    struct work *next;            /* queue's */
    void (*run)(struct work *w);  /* on a worker */
    void (*done)(struct work *w); /* on `origin`'s thread; NULL when origin is NULL */
    struct loop *origin;          /* borrowed; must outlive the task */
    struct loop_msg msg;          /* internal */
};

struct worker_pool;
int worker_pool_new(unsigned fast_threads, unsigned slow_threads, struct worker_pool **ret,
                    struct err *err) MUST_CHECK;
/* Runs what is queued, then ends the threads. */
void worker_pool_free(struct worker_pool *p);
/* 0 or -ERR_LIMIT (queue of LIMIT_WORK_QUEUE_COUNT full; nothing happened). Thread: any. */
int worker_submit(struct worker_pool *p, enum worker_lane lane, struct work *w) MUST_CHECK;
/* Tasks waiting in a lane. Thread: any. */
size_t worker_queued(struct worker_pool *p, enum worker_lane lane);
