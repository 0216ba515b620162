#include "loop/loop.h"

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * Wheel of timers: slot = tick modulo slots, each a list in no order. A timer further away than one turn of
 * the wheel stays in its slot and is looked at once a turn. The tick timer runs only while a timer is set.
 */
#define WHEEL_SLOTS 1024

struct loop {
    uv_loop_t uv;
    char name[16];
    uv_poll_t wake; /* of wake_fd */
    int wake_fd;
    uv_prepare_t turn_end;
    uv_check_t turn_begin;
    uv_timer_t tick;
    pthread_t thread;
    bool started, stopping, tick_runs;
    struct list wheel[WHEEL_SLOTS];
    uint64_t wheel_tick; /* last tick handled */
    size_t timers_set;
    struct list deferred;
    uint64_t turn_began_ms;
    _Atomic(struct loop_msg *) mail; /* newest first */
    _Atomic unsigned posting;        /* threads inside loop_post */
};

static _Thread_local struct loop *current_loop;

struct loop *loop_current(void)
{
    return current_loop;
}

uv_loop_t *loop_uv(struct loop *l)
{
    return &l->uv;
}

uint64_t loop_now_ms(struct loop *l)
{
    return uv_now(&l->uv);
}

static void run_deferred(struct loop *l)
{
    struct list *n;
    while ((n = list_pop(&l->deferred))) {
        struct loop_defer *d = container_of(n, struct loop_defer, link);
        d->run(d);
    }
}

static void deliver_mail(struct loop *l)
{
    struct loop_msg *newest = atomic_exchange(&l->mail, NULL), *m = NULL;
    while (newest) {
        struct loop_msg *before = newest->next;
        newest->next = m;
        m = newest;
        newest = before;
    }
    while (m) {
        struct loop_msg *next = m->next; /* the message is gone once delivered */
        m->next = NULL;
        m->deliver(m);
        m = next;
    }
}

static void on_wake(uv_poll_t *p, int status, int events)
{
    (void)status;
    (void)events;
    struct loop *l = p->data;
    uint64_t count;
    if (read(l->wake_fd, &count, sizeof count) < 0)
        BUG_ON(errno != EAGAIN && errno != EINTR);
    deliver_mail(l);
}

static void on_turn_begin(uv_check_t *c)
{
    struct loop *l = c->data;
    l->turn_began_ms = clock_ms();
}

static void on_turn_end(uv_prepare_t *p)
{
    struct loop *l = p->data;
    run_deferred(l);
    uint64_t took = l->turn_began_ms ? clock_ms() - l->turn_began_ms : 0;
    if (took > LOOP_TURN_WARN_MS)
        LOG_DEBUG("loop", "a turn took long", LOG_S("loop", l->name), LOG_U("ms", took));
}

static void fire_slot(struct loop *l, struct list *slot, uint64_t now)
{
    struct list due;
    list_init(&due);
    list_each(n, slot)
    {
        struct timer *t = container_of(n, struct timer, link);
        if (t->due_ms <= now) {
            list_remove(n);
            list_append(&due, n);
        }
    }
    struct list *n;
    while ((n = list_pop(&due))) {
        l->timers_set--;
        struct timer *t = container_of(n, struct timer, link);
        t->link.next = t->link.prev = NULL;
        t->fire(t);
    }
}

static void on_tick(uv_timer_t *h)
{
    struct loop *l = h->data;
    uint64_t now = uv_now(&l->uv), tick = now / LOOP_TICK_MS;
    if (tick - l->wheel_tick > WHEEL_SLOTS)
        l->wheel_tick = tick - WHEEL_SLOTS;
    while (l->wheel_tick < tick) {
        l->wheel_tick++;
        fire_slot(l, &l->wheel[l->wheel_tick % WHEEL_SLOTS], now);
    }
    if (!l->timers_set) {
        uv_timer_stop(&l->tick);
        l->tick_runs = false;
    }
}

/* The loop of a set timer is found through the thread: timers are touched by their loop only. */
void timer_clear(struct timer *t)
{
    if (!t->link.next)
        return;
    list_remove(&t->link);
    t->link.next = t->link.prev = NULL;
    if (current_loop)
        current_loop->timers_set--;
}

void timer_set(struct loop *l, struct timer *t, uint64_t delay_ms, void (*fire)(struct timer *t))
{
    timer_clear(t);
    uint64_t now = uv_now(&l->uv);
    t->fire = fire;
    t->due_ms = now + delay_ms;
    if (!l->tick_runs) {
        l->wheel_tick = now / LOOP_TICK_MS;
        uv_timer_start(&l->tick, on_tick, LOOP_TICK_MS, LOOP_TICK_MS);
        l->tick_runs = true;
    }
    uint64_t slot = t->due_ms / LOOP_TICK_MS + 1; /* the first tick that is not early */
    list_append(&l->wheel[slot % WHEEL_SLOTS], &t->link);
    l->timers_set++;
}

void loop_defer(struct loop *l, struct loop_defer *d)
{
    list_append(&l->deferred, &d->link);
}

/*
 * Without a lock: whoever is woken by the write would run into it. The write may come after the message was delivered, which
 * is why loop_free waits for those who are still in here.
 */
void loop_post(struct loop *l, struct loop_msg *msg)
{
    static const uint64_t one = 1;
    atomic_fetch_add(&l->posting, 1);
    struct loop_msg *before = atomic_load(&l->mail);
    do
        msg->next = before;
    while (!atomic_compare_exchange_weak(&l->mail, &before, msg));
    if (!before)
        while (write(l->wake_fd, &one, sizeof one) < 0)
            BUG_ON(errno != EINTR); /* it cannot be full: one count a message at most */
    atomic_fetch_sub(&l->posting, 1);
}

int loop_new(const char *name, struct loop **ret, struct err *err)
{
    struct loop *l = mem_alloc(sizeof *l);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = l->wake_fd < 0 ? -errno : uv_loop_init(&l->uv);
    if (r < 0) {
        if (l->wake_fd >= 0)
            close(l->wake_fd);
        mem_free(l);
        return err_set(err, ERR_UNAVAILABLE, "cannot make an event loop: %s", uv_strerror(r));
    }
    for (size_t i = 0; name[i] && i + 1 < sizeof l->name; i++)
        l->name[i] = name[i];
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&l->wheel[i]);
    list_init(&l->deferred);
    BUG_ON(uv_poll_init(&l->uv, &l->wake, l->wake_fd) < 0);
    BUG_ON(uv_poll_start(&l->wake, UV_READABLE, on_wake) < 0);
    uv_prepare_init(&l->uv, &l->turn_end);
    uv_check_init(&l->uv, &l->turn_begin);
    uv_timer_init(&l->uv, &l->tick);
    l->wake.data = l->turn_end.data = l->turn_begin.data = l->tick.data = l;
    uv_prepare_start(&l->turn_end, on_turn_end);
    uv_check_start(&l->turn_begin, on_turn_begin);
    uv_unref((uv_handle_t *)&l->turn_end);
    uv_unref((uv_handle_t *)&l->turn_begin);
    uv_unref((uv_handle_t *)&l->tick);
    *ret = l;
    return 0;
}

static void *loop_main(void *arg)
{
    struct loop *l = arg;
    current_loop = l;
    pthread_setname_np(pthread_self(), l->name);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    run_deferred(l);
    deliver_mail(l);
    uv_run(&l->uv, UV_RUN_NOWAIT);
    run_deferred(l);
    return NULL;
}

int loop_start(struct loop *l, struct err *err)
{
    int r = pthread_create(&l->thread, NULL, loop_main, l);
    if (r)
        return err_errno(err, r, "cannot start the thread of loop '%s'", l->name);
    l->started = true;
    return 0;
}

struct stop_msg {
    struct loop_msg msg;
    struct loop *loop;
};

static void on_stop(struct loop_msg *msg)
{
    struct stop_msg *s = container_of(msg, struct stop_msg, msg);
    /* From here the loop lives only as long as its users' handles do. */
    uv_unref((uv_handle_t *)&s->loop->wake);
    mem_free(s);
}

void loop_stop(struct loop *l)
{
    if (!l || l->stopping)
        return;
    l->stopping = true;
    if (!l->started)
        return;
    struct stop_msg *s = mem_alloc(sizeof *s);
    s->msg.deliver = on_stop;
    s->loop = l;
    loop_post(l, &s->msg);
    pthread_join(l->thread, NULL);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    loop_stop(l);
    struct loop *before = current_loop;
    current_loop = l;
    deliver_mail(l);
    while (atomic_load(&l->posting))
        sched_yield(); /* its message has come, its call is about to return */
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_close((uv_handle_t *)&l->turn_end, NULL);
    uv_close((uv_handle_t *)&l->turn_begin, NULL);
    uv_close((uv_handle_t *)&l->tick, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    run_deferred(l);
    current_loop = before;
    BUG_ON(uv_loop_close(&l->uv) != 0);
    close(l->wake_fd);
    mem_free(l);
}
