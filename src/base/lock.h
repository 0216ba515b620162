#pragma once
/*
 * Mutex and condition, thin over pthreads. Used only in base/, loop/, stream/, store/,
 * providers/breaker.c, fetch/probe.c and where an index snapshot is published (docs/architecture.md). Order,
 * outermost first; never take one to the left while holding one to its right:
 *   engine publish → engine rows → engine registry → kept questions → stream hub table → stream →
 *   journal → stream port → store queue → worker queue → mailbox → endpoint health → log
 */
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct lock {
    pthread_mutex_t m;
};
#define LOCK_INIT                 \
    {                             \
        PTHREAD_MUTEX_INITIALIZER \
    }

static inline void lock_init(struct lock *l)
{
    pthread_mutex_init(&l->m, NULL);
}
static inline void lock_done(struct lock *l)
{
    pthread_mutex_destroy(&l->m);
}
static inline void lock_enter(struct lock *l)
{
    pthread_mutex_lock(&l->m);
}
static inline void lock_leave(struct lock *l)
{
    pthread_mutex_unlock(&l->m);
}

struct cond {
    pthread_cond_t c;
};
#define COND_INIT                \
    {                            \
        PTHREAD_COND_INITIALIZER \
    }

static inline void cond_init(struct cond *c)
{
    pthread_cond_init(&c->c, NULL);
}
static inline void cond_done(struct cond *c)
{
    pthread_cond_destroy(&c->c);
}
static inline void cond_wait(struct cond *c, struct lock *l)
{
    pthread_cond_wait(&c->c, &l->m);
}
/* Waits at most `ms`; like cond_wait it may return early, so the caller looks at its condition and clock. */
static inline void cond_wait_ms(struct cond *c, struct lock *l, uint64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_clockwait(&c->c, &l->m, CLOCK_MONOTONIC, &until);
}
static inline void cond_signal(struct cond *c)
{
    pthread_cond_signal(&c->c);
}
static inline void cond_broadcast(struct cond *c)
{
    pthread_cond_broadcast(&c->c);
}

/*
 * One thread sleeps until it is rung for. A condition costs two system calls more a wake-up, and ringing it while a lock
 * is held makes both threads wait for that lock. All zero at first.
 *
 *   sleeper: lock; while (nothing to do) { n = bell_listen(b); unlock; bell_sleep(b, n, ms); lock; } bell_hush(b); unlock
 *   others:  lock; add something to do; unlock; bell_ring(b)
 */
struct bell {
    _Atomic uint32_t rings;
    _Atomic bool is_heard; /* somebody sleeps, or is about to */
};

static inline uint32_t bell_listen(struct bell *b)
{
    uint32_t rings = atomic_load(&b->rings);
    atomic_store(&b->is_heard, true);
    return rings;
}
static inline void bell_hush(struct bell *b)
{
    atomic_store(&b->is_heard, false);
}
/* True when ringing would wake somebody. */
static inline bool bell_is_heard(const struct bell *b)
{
    return atomic_load(&b->is_heard);
}
/* Until it was rung since bell_listen, or `ms` have passed (UINT64_MAX: no limit); may return early. */
static inline void bell_sleep(struct bell *b, uint32_t listened, uint64_t ms)
{
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    (void)syscall(SYS_futex, &b->rings, FUTEX_WAIT_PRIVATE, listened, ms == UINT64_MAX ? NULL : &t,
                  NULL, 0);
}
/* One atomic exchange when nobody sleeps. */
static inline void bell_ring(struct bell *b)
{
    if (!atomic_exchange(&b->is_heard, false))
        return;
    atomic_fetch_add(&b->rings, 1);
    (void)syscall(SYS_futex, &b->rings, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
