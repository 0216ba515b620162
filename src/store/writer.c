#include "store/writer_priv.h"

#include "base/bug.h"
#include "base/metric.h"

enum { M_COMMITS, M_WRITES, M_FAILURES, M_REFUSED, M_QUEUED };

static struct metric metrics[] = {
    [M_COMMITS] = METRIC_COUNTER("headwater_store_commits_total", "groups of writes committed"),
    [M_WRITES] = METRIC_COUNTER("headwater_store_writes_total", "write operations"),
    [M_FAILURES] = METRIC_COUNTER("headwater_store_write_failures_total", "writes that failed"),
    [M_REFUSED] = METRIC_COUNTER("headwater_store_refused_total", "posts refused, queue full"),
    [M_QUEUED] = METRIC_GAUGE("headwater_store_queued_bytes", "payload waiting to be written"),
};

/* The next group cut off the queue; NULL when the thread is to end. */
static struct write_op *take_group(struct writer *w)
{
    lock_enter(&w->lock);
    while (!w->first && !w->stopping)
        cond_wait(&w->wake, &w->lock);
    struct write_op *ops = w->first, *end = NULL;
    size_t count = 0, bytes = 0;
    /* one operation is always taken: a single large one makes a group of its own */
    for (struct write_op *op = ops; op; op = op->next) {
        if (end && (count >= WRITER_GROUP_COUNT || op->bytes > WRITER_GROUP_BYTES - bytes))
            break;
        end = op;
        count++;
        bytes += op->bytes;
        if (bytes >= WRITER_GROUP_BYTES)
            break;
    }
    if (end) {
        w->first = end->next;
        if (!w->first)
            w->last = NULL;
        end->next = NULL;
        w->count -= count;
        w->bytes -= bytes;
        metric_set(&metrics[M_QUEUED], (int64_t)w->bytes);
        cond_broadcast(&w->room);
    }
    lock_leave(&w->lock);
    return ops;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    pthread_setname_np(pthread_self(), "store-writer");
    struct write_op *op;
    while ((op = take_group(w))) {
        w->commit(w->ctx, op);
        metric_add(&metrics[M_COMMITS], 1);
        while (op) {
            struct write_op *next = op->next; /* done may free op */
            metric_add(&metrics[M_WRITES], 1);
            metric_add(&metrics[M_FAILURES], op->result != 0);
            op->done(op);
            op = next;
        }
    }
    return NULL;
}

int writer_start(struct writer *w, void (*commit)(void *ctx, struct write_op *ops), void *ctx,
                 struct err *err)
{
    metric_register(metrics, ARRAY_LEN(metrics));
    *w = (struct writer){.commit = commit, .ctx = ctx};
    lock_init(&w->lock);
    cond_init(&w->wake);
    cond_init(&w->room);
    cond_init(&w->finished);
    int e = pthread_create(&w->thread, NULL, writer_main, w);
    if (!e)
        return 0;
    cond_done(&w->finished);
    cond_done(&w->room);
    cond_done(&w->wake);
    lock_done(&w->lock);
    return err_errno(err, e, "cannot start the store's writer thread");
}

void writer_stop(struct writer *w)
{
    lock_enter(&w->lock);
    w->stopping = true;
    cond_signal(&w->wake);
    lock_leave(&w->lock);
    pthread_join(w->thread, NULL);
    cond_done(&w->finished);
    cond_done(&w->room);
    cond_done(&w->wake);
    lock_done(&w->lock);
}

static bool has_room(const struct writer *w, const struct write_op *op)
{
    return w->count == 0 ||
           (w->count < WRITER_QUEUE_COUNT &&
            (w->bytes >= WRITER_QUEUE_BYTES ? 0 : WRITER_QUEUE_BYTES - w->bytes) >= op->bytes);
}

static void enqueue(struct writer *w, struct write_op *op)
{
    op->next = NULL;
    if (w->last)
        w->last->next = op;
    else
        w->first = op;
    w->last = op;
    w->count++;
    w->bytes += op->bytes;
    metric_set(&metrics[M_QUEUED], (int64_t)w->bytes);
    cond_signal(&w->wake);
}

int writer_post(struct writer *w, struct write_op *op)
{
    lock_enter(&w->lock);
    bool is_room = has_room(w, op);
    if (is_room)
        enqueue(w, op);
    lock_leave(&w->lock);
    if (!is_room)
        metric_add(&metrics[M_REFUSED], 1);
    return is_room ? 0 : -ERR_LIMIT;
}

static void finish_call(struct write_op *op)
{
    struct writer *w = op->writer;
    lock_enter(&w->lock);
    op->is_finished =
        true; /* under the lock: the caller's stack frame may go as soon as it is free */
    cond_broadcast(&w->finished);
    lock_leave(&w->lock);
}

int writer_call(struct writer *w, struct write_op *op, struct err *err)
{
    BUG_ON(pthread_equal(pthread_self(), w->thread)); /* it would wait for itself */
    op->done = finish_call;
    op->writer = w;
    op->err = err;
    op->is_finished = false;
    lock_enter(&w->lock);
    while (!has_room(w, op))
        cond_wait(&w->room, &w->lock);
    enqueue(w, op);
    while (!op->is_finished)
        cond_wait(&w->finished, &w->lock);
    lock_leave(&w->lock);
    return op->result;
}
