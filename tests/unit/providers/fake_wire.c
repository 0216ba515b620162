#include "fake_wire.h"

#include "base/mem.h"

#include <stdio.h>

struct wire_reader {
    struct buf line;
    bool has_end;
};

static int build(const struct wire_target *t, struct span prompt, bool stream,
                 struct wire_request *ret, struct err *err)
{
    (void)stream;
    if (!t->base_url)
        return err_set(err, ERR_INVALID, "the endpoint has no base URL");
    struct buf url = BUF_INIT(1000), header = BUF_INIT(1000);
    buf_printf(&url, "%s/%s", t->base_url, t->model);
    buf_printf(&header, "Authorization: Bearer %s", t->api_key ? t->api_key : "");
    ret->url = buf_detach(&url);
    ret->headers = mem_alloc(2 * sizeof *ret->headers);
    ret->headers[0] = buf_detach(&header);
    ret->body = mem_try_strndup(prompt.ptr, prompt.len);
    ret->body_len = prompt.len;
    return 0;
}

static int reader_new(struct wire_reader **ret)
{
    *ret = mem_try(sizeof **ret);
    if (!*ret)
        return -ERR_NO_MEMORY;
    buf_init(&(*ret)->line, 4u << 20);
    return 0;
}

static int error_event(struct span s, int (*emit)(void *, const struct wire_event *), void *ctx)
{
    struct span number = SPAN_NULL;
    uint64_t c = 0;
    IGNORE(span_next(&s, ':', &number));
    if (!parse_u64(number, &c))
        return -ERR_UPSTREAM;
    return emit(ctx, &(struct wire_event){
                         .type = WIRE_ERROR, .error_class = (enum wire_error_class)c, .text = s});
}

static int usage_event(struct span s, int (*emit)(void *, const struct wire_event *), void *ctx)
{
    struct span a = SPAN_NULL, b = SPAN_NULL;
    struct wire_event e = {.type = WIRE_USAGE};
    if (!span_next(&s, ':', &a) || !span_next(&s, ':', &b) || !parse_u64(a, &e.prompt_tokens) ||
        !parse_u64(b, &e.completion_tokens))
        return -ERR_UPSTREAM;
    uint64_t *const more[] = {&e.cached_tokens, &e.cache_write_tokens, &e.reasoning_tokens};
    for (size_t i = 0; i < ARRAY_LEN(more) && span_next(&s, ':', &a); i++)
        if (!parse_u64(a, more[i]))
            return -ERR_UPSTREAM;
    return emit(ctx, &e);
}

static int one_line(struct wire_reader *r, struct span line,
                    int (*emit)(void *, const struct wire_event *), void *ctx)
{
    struct span rest = span_skip(line, 2);
    if (span_starts(line, SPAN_LIT("t:")))
        return emit(ctx, &(struct wire_event){.type = WIRE_TEXT, .text = rest});
    if (span_starts(line, SPAN_LIT("r:")))
        return emit(ctx, &(struct wire_event){.type = WIRE_REASONING, .text = rest});
    if (span_starts(line, SPAN_LIT("u:")))
        return usage_event(rest, emit, ctx);
    if (span_starts(line, SPAN_LIT("f:")))
        return emit(ctx,
                    &(struct wire_event){.type = WIRE_FINISH,
                                         .finish = span_is(rest, "length") ? "length" : "stop"});
    if (span_starts(line, SPAN_LIT("e:")))
        return error_event(rest, emit, ctx);
    r->has_end = r->has_end || span_is(line, ".");
    return span_is(line, ".") ? 0 : -ERR_UPSTREAM;
}

static int feed(struct wire_reader *r, struct span bytes,
                int (*emit)(void *, const struct wire_event *), void *ctx)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.ptr[i] != '\n') {
            buf_putc(&r->line, bytes.ptr[i]);
            continue;
        }
        int rc = one_line(r, buf_span(&r->line), emit, ctx);
        buf_clear(&r->line);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int finish(struct wire_reader *r, int (*emit)(void *, const struct wire_event *), void *ctx)
{
    (void)emit, (void)ctx;
    return r->has_end ? 0 : -ERR_UPSTREAM;
}

static void reader_free(struct wire_reader *r)
{
    buf_done(&r->line);
    mem_free(r);
}

static enum wire_error_class classify(int status, struct span body, char *ret_message, size_t size)
{
    snprintf(ret_message, size, SPAN_FMT, SPAN_ARG(body));
    return span_find(body, SPAN_LIT("too long")) >= 0 ? WIRE_ERROR_TOO_LONG
           : status == 401                            ? WIRE_ERROR_AUTH
           : status == 429                            ? WIRE_ERROR_RATE
           : status >= 500                            ? WIRE_ERROR_OVERLOADED
                                                      : WIRE_ERROR_INVALID;
}

const struct wire_format fake_wire = {"fake", build,       reader_new, feed,
                                      finish, reader_free, classify};
