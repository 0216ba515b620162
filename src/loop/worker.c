#include "loop/worker.h"

#include "base/limits.h"
#include "base/lock.h"
#include "base/mem.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define THREADS_MAX 64
#define SLOW_NICE 10

struct lane {
    struct worker_pool *pool;
    enum worker_lane kind;
    struct lock lock;
    struct cond wake;
    struct work *first, *last;
    size_t count;
    bool stopping;
};

struct worker_pool {
    struct lane lanes[WORKER_LANES];
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
};

static void on_done(struct loop_msg *msg)
{
    struct work *w = container_of(msg, struct work, msg);
    w->done(w);
}

static struct work *next_task(struct lane *lane)
{
    lock_enter(&lane->lock);
    while (!lane->first && !lane->stopping)
        cond_wait(&lane->wake, &lane->lock);
    struct work *w = lane->first;
    if (w) {
        lane->first = w->next;
        if (!lane->first)
            lane->last = NULL;
        lane->count--;
    }
    lock_leave(&lane->lock);
    return w;
}

static void *worker_main(void *arg)
{
    struct lane *lane = arg;
    pthread_setname_np(pthread_self(), lane->kind == WORKER_SLOW ? "work-slow" : "work-fast");
    if (lane->kind == WORKER_SLOW)
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), SLOW_NICE); /* best effort: still correct */
    struct work *w;
    while ((w = next_task(lane))) {
        struct loop *origin = w->origin;
        w->run(w); /* without an origin the task may be gone now */
        if (origin)
            loop_post(origin, &w->msg);
    }
    return NULL;
}

int worker_submit(struct worker_pool *p, enum worker_lane lane, struct work *w)
{
    struct lane *l = &p->lanes[lane];
    w->next = NULL;
    w->msg.deliver = on_done;
    lock_enter(&l->lock);
    if (l->count >= LIMIT_WORK_QUEUE_COUNT || l->stopping) {
        lock_leave(&l->lock);
        return -ERR_LIMIT;
    }
    if (l->last)
        l->last->next = w;
    else
        l->first = w;
    l->last = w;
    l->count++;
    cond_signal(&l->wake);
    lock_leave(&l->lock);
    return 0;
}

size_t worker_queued(struct worker_pool *p, enum worker_lane lane)
{
    struct lane *l = &p->lanes[lane];
    lock_enter(&l->lock);
    size_t n = l->count;
    lock_leave(&l->lock);
    return n;
}

int worker_pool_new(unsigned fast_threads, unsigned slow_threads, struct worker_pool **ret,
                    struct err *err)
{
    if (!fast_threads || !slow_threads || fast_threads + slow_threads > THREADS_MAX)
        return err_set(err, ERR_INVALID, "1 to %d worker threads, not %u", THREADS_MAX,
                       fast_threads + slow_threads);
    struct worker_pool *p = mem_alloc(sizeof *p);
    for (int i = 0; i < WORKER_LANES; i++) {
        p->lanes[i].pool = p;
        p->lanes[i].kind = (enum worker_lane)i;
        lock_init(&p->lanes[i].lock);
        cond_init(&p->lanes[i].wake);
    }
    for (unsigned i = 0; i < fast_threads + slow_threads; i++) {
        struct lane *lane = &p->lanes[i < fast_threads ? WORKER_FAST : WORKER_SLOW];
        int r = pthread_create(&p->threads[i], NULL, worker_main, lane);
        if (r) {
            worker_pool_free(p);
            return err_errno(err, r, "cannot start a worker thread");
        }
        p->thread_count++;
    }
    *ret = p;
    return 0;
}

void worker_pool_free(struct worker_pool *p)
{
    if (!p)
        return;
    for (int i = 0; i < WORKER_LANES; i++) {
        lock_enter(&p->lanes[i].lock);
        p->lanes[i].stopping = true;
        cond_broadcast(&p->lanes[i].wake);
        lock_leave(&p->lanes[i].lock);
    }
    for (unsigned i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    for (int i = 0; i < WORKER_LANES; i++) {
        lock_done(&p->lanes[i].lock);
        cond_done(&p->lanes[i].wake);
    }
    mem_free(p);
}
