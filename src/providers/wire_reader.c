#include "base/mem.h"
#include "providers/wire_priv.h"

static bool is_over(const struct wire_reader *r)
{
    return r->is_ended || r->has_error;
}

/* What the text helpers call: notes a refusal, which must reach the caller unchanged. */
static int forward(void *ctx, const struct wire_event *e)
{
    struct wire_reader *r = ctx;
    int result = r->sink.emit(r->sink.ctx, e);
    if (result < 0)
        r->refused = result;
    return result < 0 ? result : 0;
}

static struct wire_sink inner_sink(struct wire_reader *r)
{
    return (struct wire_sink){forward, r};
}

static int end_text(struct wire_reader *r)
{
    struct wire_sink sink = inner_sink(r);
    return wire_text_end(&r->text, &sink);
}

/* ---- for dialects ---- */

int wire_put_answer(struct wire_reader *r, const json_t *string)
{
    struct wire_sink sink = inner_sink(r);
    struct span s = json_span(string);
    return s.len ? wire_text_answer(&r->text, s, r->has_marks, &sink) : 0;
}

int wire_put_reasoning(struct wire_reader *r, const json_t *string)
{
    struct wire_sink sink = inner_sink(r);
    struct span s = json_span(string);
    return s.len ? wire_text_reasoning(&r->text, s, r->has_marks, &sink) : 0;
}

int wire_put_usage(struct wire_reader *r)
{
    const struct wire_usage *a = &r->usage, *b = &r->told;
    if (a->prompt == b->prompt && a->completion == b->completion && a->reasoning == b->reasoning &&
        a->cached == b->cached && a->cache_write == b->cache_write)
        return 0;
    r->told = r->usage;
    struct wire_event e = {.type = WIRE_USAGE,
                           .prompt_tokens = a->prompt,
                           .completion_tokens = a->completion,
                           .reasoning_tokens = a->reasoning,
                           .cached_tokens = a->cached,
                           .cache_write_tokens = a->cache_write};
    return forward(r, &e);
}

int wire_put_problem(struct wire_reader *r, const struct wire_problem *p)
{
    char text[600];
    int result = end_text(r);
    if (result < 0)
        return result;
    r->has_error = true;
    wire_problem_text(p, text, sizeof text);
    struct wire_event e = {
        .type = WIRE_ERROR, .text = span_str(text), .error_class = wire_problem_class(p)};
    return forward(r, &e);
}

static int put_finish(struct wire_reader *r)
{
    int result = end_text(r);
    if (result < 0 || !r->finish || r->has_told_finish || r->has_error)
        return result;
    r->has_told_finish = true;
    struct wire_event e = {.type = WIRE_FINISH, .finish = r->finish};
    return forward(r, &e);
}

int wire_put_end(struct wire_reader *r)
{
    r->is_ended = true;
    return put_finish(r);
}

void wire_set_finish(struct wire_reader *r, const char *from, const struct wire_word *words,
                     size_t count)
{
    if (!from || !*from)
        return;
    r->finish = "other";
    for (size_t i = 0; i < count; i++)
        if (span_eq_nocase(span_str(words[i].from), span_str(from)))
            r->finish = words[i].to;
}

uint64_t wire_count(const json_t *obj, const char *key)
{
    int64_t v = json_int(obj, key, 0);
    return v > 0 ? (uint64_t)v : 0;
}

/* ---- bytes to values ---- */

static int take_json(struct wire_reader *r, struct span name, struct span text)
{
    int result = 0;
    if (is_over(r))
        return 0;
    struct span piece;
    if (r->dialect->quick && !span_is(name, "error") &&
        r->dialect->quick(text, &r->scratch, &piece)) {
        struct wire_sink sink = inner_sink(r);
        r->has_marks = false;
        return piece.len ? wire_text_answer(&r->text, piece, false, &sink) : 0;
    }
    json_t *v = wire_json_read(text, &r->has_marks, &result);
    if (!v)
        return result;
    result = json_is_object(v) ? r->dialect->value(r, name, v) : -ERR_UPSTREAM;
    json_decref(v);
    return result;
}

static int take_value(void *ctx, struct span text)
{
    return take_json(ctx, SPAN_NULL, text);
}

static int take_sse(void *ctx, const struct sse_event *e)
{
    struct wire_reader *r = ctx;
    struct span data = span_trim(e->data);
    if (is_over(r) || !data.len)
        return 0;
    if (span_is(data, "[DONE]"))
        return wire_put_end(r);
    return take_json(r, e->event, data);
}

static int take_frame(void *ctx, const struct wire_frame *m)
{
    struct wire_reader *r = ctx;
    if (is_over(r) || span_is(m->type, "event"))
        return take_json(r, m->name, m->payload);
    struct wire_problem p = {.code = m->name, .message = m->message};
    int ignored = 0;
    bool has_marks;
    json_t *v = m->payload.len ? wire_json_read(m->payload, &has_marks, &ignored) : NULL;
    if (v && wire_problem_read(v, &p) && !p.code.len)
        p.code = m->name;
    int result = wire_put_problem(r, &p);
    json_decref(v);
    return result;
}

/* The first byte that is no white space (or byte order mark) tells what the body is. */
static void choose_framing(struct wire_reader *r, struct span *bytes)
{
    while (bytes->len && strchr(" \t\r\n\xef\xbb\xbf", bytes->ptr[0]) && bytes->ptr[0] &&
           !r->dialect->is_frames)
        *bytes = span_skip(*bytes, 1);
    if (!bytes->len)
        return;
    char c = bytes->ptr[0];
    if (c == '{' || c == '[' || r->dialect->is_values)
        r->framing =
            WIRE_VALUES; /* a binary message starts with the high byte of a length: never '{' */
    else
        r->framing = r->dialect->is_frames ? WIRE_FRAMES : WIRE_SSE;
}

static int feed_framed(struct wire_reader *r, struct span bytes)
{
    if (r->framing == WIRE_UNKNOWN)
        choose_framing(r, &bytes);
    if (r->framing == WIRE_SSE)
        return sse_feed(&r->sse, bytes, take_sse, r);
    if (r->framing == WIRE_FRAMES)
        return wire_frames_feed(&r->frames, bytes, take_frame, r);
    return r->framing == WIRE_VALUES ? wire_split_feed(&r->split, bytes, take_value, r) : 0;
}

/* ---- the reader ---- */

int wire_reader_new(const struct wire_dialect *d, struct wire_reader **ret)
{
    struct wire_reader *r = mem_try(sizeof *r);
    if (!r)
        return -ERR_NO_MEMORY;
    r->dialect = d;
    sse_init(&r->sse, LIMIT_WIRE_EVENT);
    wire_split_init(&r->split);
    wire_frames_init(&r->frames);
    wire_text_init(&r->text, d->has_tags);
    buf_init(&r->scratch, LIMIT_WIRE_EVENT);
    *ret = r;
    return 0;
}

void wire_reader_free(struct wire_reader *r)
{
    if (!r)
        return;
    sse_done(&r->sse);
    wire_split_done(&r->split);
    wire_frames_done(&r->frames);
    wire_text_done(&r->text);
    buf_done(&r->scratch);
    mem_free(r);
}

int wire_reader_feed(struct wire_reader *r, struct span bytes,
                     int (*emit)(void *ctx, const struct wire_event *e), void *ctx)
{
    if (r->failed < 0)
        return r->failed;
    if (is_over(r) || !bytes.len)
        return 0;
    r->sink = (struct wire_sink){emit, ctx};
    int result = feed_framed(r, bytes);
    if (is_over(r) && !r->refused)
        result = 0; /* the rest is not ours to judge */
    r->failed = result < 0 ? result : 0;
    return r->failed;
}

int wire_reader_finish(struct wire_reader *r, int (*emit)(void *ctx, const struct wire_event *e),
                       void *ctx)
{
    if (r->failed < 0)
        return r->failed;
    r->sink = (struct wire_sink){emit, ctx};
    int result = 0;
    /* Servers leave out the blank line after the last event; a cut one does not parse. */
    if (!is_over(r) && r->framing == WIRE_SSE)
        result = sse_feed(&r->sse, SPAN_LIT("\n\n"), take_sse, r);
    if (result < 0 && (r->refused || result != -ERR_UPSTREAM))
        return r->failed = result;
    result = put_finish(r);
    if (result < 0)
        return r->failed = result;
    return is_over(r) || r->finish ? 0 : -ERR_UPSTREAM;
}
