#include "fake_http.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

struct http_client {
    struct loop *loop;
    struct fake_http *state;
};

struct http_call {
    struct http_client *client;
    const struct fake_script *script;
    const struct http_call_callbacks *callbacks;
    void *ctx;
    size_t at;
    bool has_head, is_gone, is_due, is_paused;
    struct loop_defer later;
};

struct http_client *fake_http_client(struct loop *loop, struct fake_http *state)
{
    struct http_client *c = mem_alloc(sizeof *c);
    *c = (struct http_client){loop, state};
    return c;
}

void fake_http_free(struct http_client *c)
{
    mem_free(c);
}

static void play(struct loop_defer *d)
{
    struct http_call *c = container_of(d, struct http_call, later);
    const struct fake_script *s = c->script;
    struct http_answer answer = {.status = s->status,
                                 .retry_after_ms = s->retry_after_ms ? s->retry_after_ms : -1,
                                 .is_connect_failure = s->status == 0};
    if (!c->is_gone && s->status && !c->has_head) {
        c->has_head = true;
        c->callbacks->head(c->ctx, &answer);
    }
    while (!c->is_gone && !c->is_paused && s->pieces[c->at]) {
        if (!c->callbacks->body(c->ctx, span_str(s->pieces[c->at])))
            c->is_paused = !c->is_gone;
        else
            c->at++;
    }
    if (!c->is_gone && (c->is_paused || s->stays_open)) {
        c->is_due = false; /* until here a cancel within a callback leaves the freeing to us */
        return;
    }
    if (!c->is_gone)
        c->callbacks->end(c->ctx, &answer, s->result, s->why ? s->why : "");
    mem_free(c);
}

static void play_later(struct http_call *c)
{
    if (c->is_due)
        return;
    c->is_due = true;
    loop_defer(c->client->loop, &c->later);
}

int http_call_start(struct http_client *c, const struct http_call_options *options,
                    const struct http_call_callbacks *callbacks, void *ctx, struct http_call **ret,
                    struct err *err)
{
    struct fake_http *f = c->state;
    if (f->is_refusing)
        return err_set(err, ERR_LIMIT, "too many requests under way");
    if (f->started < 16)
        snprintf(f->urls[f->started], sizeof f->urls[0], "%s", options->url);
    f->started++;
    static const struct fake_script none = {.result = -ERR_UNAVAILABLE, .why = "no script left"};
    const struct fake_script *s = f->next < f->count ? &f->scripts[f->next++] : &none;
    if (s == &none || (s->host && !strstr(options->url, s->host)))
        f->unexpected++;
    struct http_call *call = mem_alloc(sizeof *call);
    *call = (struct http_call){
        .client = c, .script = s, .callbacks = callbacks, .ctx = ctx, .later = {.run = play}};
    play_later(call);
    *ret = call;
    return 0;
}

void http_call_cancel(struct http_call *call)
{
    call->client->state->cancelled++;
    call->is_gone = true;
    play_later(call); /* frees it */
}

void http_call_resume(struct http_call *call)
{
    call->is_paused = false;
    play_later(call);
}
