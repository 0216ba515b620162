/* Promises of loop/: messages in order from many threads, timers never early, work returns to its loop. */
#include "../cm.h"
#include "base/clock.h"
#include "base/mem.h"
#include "loop/worker.h"

#include <pthread.h>
#include <stdatomic.h>

#define SENDERS 4
#define EACH 5000

struct counted {
    struct loop_msg msg;
    int sender, number;
};
static int last_seen[SENDERS];
static _Atomic int received;

static void on_counted(struct loop_msg *m)
{
    struct counted *c = container_of(m, struct counted, msg);
    assert_int_equal(c->number, last_seen[c->sender] + 1);
    last_seen[c->sender] = c->number;
    mem_free(c);
    atomic_fetch_add(&received, 1);
}

struct sender {
    struct loop *loop;
    int id;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 1; i <= EACH; i++) {
        struct counted *c = mem_alloc(sizeof *c);
        *c = (struct counted){{NULL, on_counted}, s->id, i};
        loop_post(s->loop, &c->msg);
    }
    return NULL;
}

static struct loop *started_loop(void)
{
    struct loop *l;
    struct err err;
    assert_int_equal(loop_new("test", &l, &err), 0);
    assert_int_equal(loop_start(l, &err), 0);
    return l;
}

static void messages_arrive_once_and_in_order(void **state)
{
    (void)state;
    struct loop *l = started_loop();
    pthread_t t[SENDERS];
    struct sender s[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){l, i};
        assert_int_equal(pthread_create(&t[i], NULL, send_all, &s[i]), 0);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(t[i], NULL);
    loop_stop(l);
    assert_int_equal(atomic_load(&received), SENDERS * EACH);
    loop_free(l);
}

struct timed {
    struct loop_msg msg;
    struct timer timer, cleared, far;
    uv_timer_t keep; /* a handle keeps the loop alive until both have fired */
    struct loop *loop;
    uint64_t set_at, fired_at;
    bool cleared_fired;
};

static void on_fire(struct timer *t)
{
    struct timed *x = container_of(t, struct timed, timer);
    x->fired_at = loop_now_ms(x->loop);
    timer_clear(&x->far);
    uv_close((uv_handle_t *)&x->keep, NULL);
}

static void on_cleared(struct timer *t)
{
    container_of(t, struct timed, cleared)->cleared_fired = true;
}

static void on_keep(uv_timer_t *t)
{
    (void)t;
}

static void set_timers(struct loop_msg *m)
{
    struct timed *x = container_of(m, struct timed, msg);
    uv_timer_init(loop_uv(x->loop), &x->keep);
    uv_timer_start(&x->keep, on_keep, 60000, 0);
    x->set_at = loop_now_ms(x->loop);
    timer_set(x->loop, &x->timer, 5000, on_fire);
    timer_set(x->loop, &x->timer, 250, on_fire); /* moved */
    timer_set(x->loop, &x->cleared, 150, on_cleared);
    timer_set(x->loop, &x->far, 3600000, on_cleared); /* more than a turn of the wheel away */
    timer_clear(&x->cleared);
}

static void timers_are_never_early_and_can_be_cleared(void **state)
{
    (void)state;
    struct loop *l = started_loop();
    struct timed x = {.msg.deliver = set_timers, .loop = l};
    loop_post(l, &x.msg);
    loop_stop(l); /* waits for the handle that on_fire closes */
    assert_true(x.fired_at >= x.set_at + 250);
    assert_false(x.cleared_fired);
    loop_free(l);
}

struct task {
    struct work work;
    pthread_t ran_on;
    _Atomic int *done;
};

static void run_task(struct work *w)
{
    container_of(w, struct task, work)->ran_on = pthread_self();
}

static void task_done(struct work *w)
{
    struct task *t = container_of(w, struct task, work);
    assert_true(loop_current() == w->origin);
    assert_false(pthread_equal(t->ran_on, pthread_self()));
    atomic_fetch_add(t->done, 1);
}

static void work_returns_to_its_loop(void **state)
{
    (void)state;
    enum { N = 200 };
    static struct task tasks[N];
    _Atomic int done = 0;
    struct err err;
    struct worker_pool *p;
    struct loop *l = started_loop();
    assert_int_equal(worker_pool_new(2, 1, &p, &err), 0);
    for (int i = 0; i < N; i++) {
        tasks[i] =
            (struct task){.work = {.run = run_task, .done = task_done, .origin = l}, .done = &done};
        assert_int_equal(worker_submit(p, i % 2 ? WORKER_FAST : WORKER_SLOW, &tasks[i].work), 0);
    }
    worker_pool_free(p); /* runs what is queued */
    loop_stop(l);
    assert_int_equal(atomic_load(&done), N);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_arrive_once_and_in_order),
        cmocka_unit_test(timers_are_never_early_and_can_be_cleared),
        cmocka_unit_test(work_returns_to_its_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
