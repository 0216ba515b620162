#include "run_bed.h"

static uint64_t bed_random(void *ctx)
{
    return ((struct bed *)ctx)->random;
}
static uint64_t bed_now(void *ctx)
{
    return ((struct bed *)ctx)->clock_ms;
}

void bed_up(struct bed *b)
{
    struct err err;
    *b = (struct bed){0};
    assert_int_equal(loop_new("test", &b->loop, &err), 0);
    assert_int_equal(loop_start(b->loop, &err), 0);
    assert_int_equal(runner_new(&b->runner, &err), 0);
    runner_set_sources(b->runner, &(struct runner_sources){bed_random, bed_now, NULL, b});
    static const char *const labels[] = {"one", "two", "three"};
    static const char *const urls[] = {"http://one", "http://two", "http://three"};
    for (size_t i = 0; i < 3; i++)
        b->endpoints[i] = (struct provider_endpoint){
            .format = &fake_wire,
            .label = labels[i],
            .target = {.base_url = urls[i], .api_key = "sk-very-secret-key"}};
}

void bed_down(struct bed *b)
{
    assert_int_equal(b->http.unexpected, 0);
    loop_stop(b->loop);
    loop_free(b->loop);
    runner_free(b->runner);
}

static void on_resume(struct timer *t)
{
    struct told *o = container_of(t, struct told, resume);
    o->is_paused = false;
    run_resume(o->run);
}

static bool on_text(void *ctx, struct span text)
{
    struct told *o = ctx;
    if (o->is_paused)
        o->was_text_after_pause = true;
    buf_put_span(&o->text, text);
    o->texts++;
    if (o->texts == o->cancel_at) {
        run_cancel(o->run);
        return true;
    }
    if (o->texts == o->pause_at) {
        o->is_paused = true;
        timer_set(o->bed->loop, &o->resume, 250, on_resume);
        return false;
    }
    return true;
}

static void on_reset(void *ctx, const char *why)
{
    struct told *o = ctx;
    buf_clear(&o->text);
    buf_printf(&o->resets, "[%s]", why);
    if (o->cancel_in_reset)
        run_cancel(o->run);
}

static void on_note(void *ctx, const char *message)
{
    struct told *o = ctx;
    buf_printf(&o->notes, "[%s]", message);
}

static void on_end(void *ctx, int result, enum wire_error_class error_class, const char *message,
                   const struct chat_usage *usage)
{
    struct told *o = ctx;
    o->ends++;
    o->result = result;
    o->error_class = error_class;
    snprintf(o->message, sizeof o->message, "%s", message);
    snprintf(o->finish, sizeof o->finish, "%s", usage->finish);
    o->usage = *usage;
    timer_clear(&o->cancel);
    timer_clear(&o->resume);
    sem_post(&o->over);
}

static const struct run_callbacks callbacks = {on_text, on_reset, on_note, on_end};

static void on_cancel_due(struct timer *t)
{
    run_cancel(container_of(t, struct told, cancel)->run);
}

static void start_on_loop(struct loop_msg *m)
{
    struct told *o = container_of(m, struct told, msg);
    struct err err;
    o->start_result =
        run_start(o->bed->runner, o->client, &o->request, &callbacks, o, &o->run, &err);
    if (o->start_result < 0)
        sem_post(&o->over);
    else if (o->cancel_at_start)
        run_cancel(o->run);
    else if (o->cancel_after_ms)
        timer_set(o->bed->loop, &o->cancel, o->cancel_after_ms, on_cancel_due);
}

static void settled(struct loop_msg *m)
{
    sem_post(&container_of(m, struct told, msg)->over);
}

void play(struct bed *b, struct told *o, size_t endpoints, const struct fake_script *scripts,
          size_t count)
{
    b->http.scripts = scripts;
    b->http.count = count;
    b->http.next = b->http.started = b->http.cancelled = 0;
    o->bed = b;
    o->client = fake_http_client(b->loop, &b->http);
    o->request.provider = o->provider ? o->provider : "fake";
    o->request.model = (struct provider_model){.id = "m",
                                               .price = {.input_per_million = 2,
                                                         .output_per_million = 10,
                                                         .cached_per_million = 0.5,
                                                         .cache_write_per_million = 2.5,
                                                         .is_known = true}};
    o->request.endpoints = b->shared ? b->shared->endpoints : b->endpoints;
    o->request.endpoint_count = endpoints;
    o->request.prompt = SPAN_LIT(PROMPT);
    o->text = BUF_INIT(o->text_max ? o->text_max : 100000);
    o->notes = o->resets = BUF_INIT(100000);
    sem_init(&o->over, 0, 0);
    o->msg.deliver = start_on_loop;
    loop_post(b->loop, &o->msg);
    sem_wait(&o->over);
    o->msg.deliver = settled; /* one turn later everything of the run is gone */
    loop_post(b->loop, &o->msg);
    sem_wait(&o->over);
    fake_http_free(o->client);
    if (o->start_result == 0)
        assert_int_equal(o->ends, 1);
}
void told_done(struct told *o)
{
    buf_done(&o->text);
    buf_done(&o->notes);
    buf_done(&o->resets);
    sem_destroy(&o->over);
}

void expect(const struct told *o, int result, const char *text, uint64_t prompt,
            uint64_t completion, bool is_estimate)
{
    assert_int_equal(o->result, result);
    assert_string_equal(buf_str(&o->text), text);
    assert_int_equal(o->usage.prompt_tokens, prompt);
    assert_int_equal(o->usage.completion_tokens, completion);
    assert_int_equal(o->usage.is_estimate, is_estimate);
    double off = o->usage.cost - ((double)prompt * 2 + (double)completion * 10) / 1e6;
    assert_true(off < 1e-12 && off > -1e-12);
}
