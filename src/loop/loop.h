#pragma once
/*
 * An event loop on a thread of its own: sockets, timers and everything of the objects that live on it.
 * One per core by default; each object belongs to one loop for life. Other threads reach it only by
 * loop_post: the message owns its payload. A callback that runs longer than LOOP_TURN_WARN_MS is logged.
 */
#include "base/err.h"
#include "base/list.h"

#include <uv.h>

#define LOOP_TURN_WARN_MS 20
#define LOOP_TICK_MS 100 /* grain of struct timer */

struct loop;

/* The loop exists, its thread does not yet: handles may be added by the caller until loop_start. */
int loop_new(const char *name, struct loop **ret, struct err *err) MUST_CHECK;
int loop_start(struct loop *l, struct err *err) MUST_CHECK;
/*
 * Asks the loop to end once every handle on it is closed (owners close theirs, e.g. on a posted message), and
 * waits for the thread. Works for a loop that was never started. Thread: not the loop's own.
 */
void loop_stop(struct loop *l);
void loop_free(struct loop *l);

uv_loop_t *loop_uv(struct loop *l);
/* The loop whose thread this is, or NULL. Thread: any. */
struct loop *loop_current(void);

/* A message; embed it. Delivered in the order posted. After loop_stop has begun it is still delivered. */
struct loop_msg {
    struct loop_msg *next; /* mailbox's */
    void (*deliver)(struct loop_msg *msg);
};
/* Never blocks, never fails. Thread: any. */
void loop_post(struct loop *l, struct loop_msg *msg);

/* Runs at the end of this turn, when no callback is on the stack: the place to free objects. Thread: loop. */
struct loop_defer {
    struct list link;
    void (*run)(struct loop_defer *d);
};
void loop_defer(struct loop *l, struct loop_defer *d);

/*
 * Coarse timers (grain LOOP_TICK_MS, never early): cheap enough for one per connection. Zero-initialised is "not
 * set". Setting a set timer moves it. For finer timing use uv_timer_t. Thread: loop.
 */
struct timer {
    struct list link;
    uint64_t due_ms;
    void (*fire)(struct timer *t);
};
void timer_set(struct loop *l, struct timer *t, uint64_t delay_ms, void (*fire)(struct timer *t));
void timer_clear(struct timer *t);
/* Monotonic milliseconds, read once a turn. */
uint64_t loop_now_ms(struct loop *l);
