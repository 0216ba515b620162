#pragma once
/*
 * Mutex and condition, thin over pthreads. Used only in base/, loop/, stream/, store/,
 * providers/breaker.c, fetch/probe.c and where an index snapshot is published (docs/architecture.md). Order,
 * outermost first; never take one to the left while holding one to its right:
 *   engine rows → engine registry → stream hub table → stream → journal → stream port →
 *   store queue → worker queue → mailbox → endpoint health → log
 */
#include <pthread.h>
#include <stdint.h>
#include <time.h>

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
