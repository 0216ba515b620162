#pragma once
/*
 * The writer: one thread and a bounded queue of operations, in order of arrival. It takes what is queued (at most a
 * group) and hands it to the backend's `commit`, which runs the operations in one transaction; only then are
 * the operations' `done` called, in order. While one group commits, the next gathers: the busier, the larger the groups.
 */
#include "base/err.h"
#include "base/lock.h"

#include <stdbool.h>

#define WRITER_QUEUE_COUNT 4096 /* operations waiting; past it a post is refused, a call waits */
#define WRITER_QUEUE_BYTES (64u << 20) /* their payload */
#define WRITER_GROUP_COUNT 256         /* operations in one transaction */
#define WRITER_GROUP_BYTES (8u << 20)

/* Embed it. It belongs to the writer from writer_post or writer_call until `done`, which may free it. */
struct write_op {
    struct write_op *next; /* queue's */
    /* The work, inside the transaction; may run a second time when the transaction was lost. */
    int (*run)(void *ctx, struct write_op *op, struct err *err);
    void (*done)(struct write_op *op); /* after the commit, writer thread */
    struct err *err;                   /* borrowed; where a failure is described, or NULL */
    size_t bytes;                      /* payload, for the bounds */
    int result;
    struct writer *writer; /* writer_call's, and the next */
    bool is_finished;
};

struct writer {
    /* Runs the operations of the list and sets each one's result. */
    void (*commit)(void *ctx, struct write_op *ops);
    void *ctx;
    pthread_t thread;
    struct lock lock;
    struct cond wake, room, finished;
    struct write_op *first, *last;
    size_t count, bytes;
    bool stopping;
};

int writer_start(struct writer *w, void (*commit)(void *ctx, struct write_op *ops), void *ctx,
                 struct err *err) MUST_CHECK;
/* Runs what is queued, also what `done` callbacks queue meanwhile, then ends the thread. */
void writer_stop(struct writer *w);
/* 0 or -ERR_LIMIT (the queue is full; nothing happened). Never blocks on the disk. Thread: any. */
int writer_post(struct writer *w, struct write_op *op) MUST_CHECK;
/* Queues op (waiting for room), waits for its commit and returns its result. Not from a `done`. */
int writer_call(struct writer *w, struct write_op *op, struct err *err) MUST_CHECK;
