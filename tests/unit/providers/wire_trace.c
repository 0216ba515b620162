#include "wire_trace.h"

#include "base/bug.h"
#include "base/json.h"
#include "base/mem.h"
#include "providers/wire_priv.h"
#include "text/utf8.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- files ---- */

static void put_be(struct buf *out, size_t v, unsigned bytes)
{
    while (bytes--)
        buf_putc(out, (char)(v >> (8 * bytes)));
}

static void put_string_header(struct buf *out, const char *name, struct span value)
{
    put_be(out, strlen(name), 1);
    buf_puts(out, name);
    put_be(out, 7, 1);
    put_be(out, value.len, 2);
    buf_put_span(out, value);
}

void trace_put_frame(struct buf *out, const char *type, const char *header, struct span name,
                     struct span payload)
{
    struct buf headers = BUF_INIT(1 << 16), m = BUF_INIT(8u << 20);
    put_string_header(&headers, header, name);
    put_string_header(&headers, ":content-type", SPAN_LIT("application/json"));
    put_string_header(&headers, ":message-type", span_str(type));
    put_be(&m, 16 + headers.len + payload.len, 4);
    put_be(&m, headers.len, 4);
    put_be(&m, wire_crc32(0, buf_span(&m)), 4);
    buf_put_span(&m, buf_span(&headers));
    buf_put_span(&m, payload);
    put_be(&m, wire_crc32(0, buf_span(&m)), 4);
    buf_put_span(out, buf_span(&m));
    buf_done(&headers);
    buf_done(&m);
}

/* "event NAME JSON", "exception NAME JSON", "error CODE text" */
static void put_messages(struct buf *out, struct span text)
{
    struct span line, type;
    while (span_next(&text, '\n', &line)) {
        struct span name;
        if (!line.len)
            continue;
        BUG_ON(!span_next(&line, ' ', &type) || !span_next(&line, ' ', &name));
        if (span_is(type, "error")) {
            struct buf headers = BUF_INIT(1 << 16), m = BUF_INIT(1 << 16);
            put_string_header(&headers, ":message-type", type);
            put_string_header(&headers, ":error-code", name);
            put_string_header(&headers, ":error-message", line);
            put_be(&m, 16 + headers.len, 4);
            put_be(&m, headers.len, 4);
            put_be(&m, wire_crc32(0, buf_span(&m)), 4);
            buf_put_span(&m, buf_span(&headers));
            put_be(&m, wire_crc32(0, buf_span(&m)), 4);
            buf_put_span(out, buf_span(&m));
            buf_done(&headers);
            buf_done(&m);
        } else {
            bool is_event = span_is(type, "event");
            trace_put_frame(out, is_event ? "event" : "exception",
                            is_event ? ":event-type" : ":exception-type", name, line);
        }
    }
}

static void put_body(struct buf *out, struct span head, struct span text)
{
    if (span_ends(head, SPAN_LIT("messages"))) {
        put_messages(out, text);
        return;
    }
    if (span_ends(head, SPAN_LIT("chomp")))
        while (text.len && text.ptr[text.len - 1] == '\n')
            text.len--;
    bool is_crlf = span_ends(head, SPAN_LIT("crlf"));
    for (size_t i = 0; i < text.len; i++) {
        if (is_crlf && text.ptr[i] == '\n')
            buf_putc(out, '\r');
        buf_putc(out, text.ptr[i]);
    }
}

static void read_trace(struct trace *t, const char *path)
{
    static char text[1 << 16];
    FILE *f = fopen(path, "rb");
    BUG_ON(!f);
    struct span s = span_of(text, fread(text, 1, sizeof text, f)), head;
    fclose(f);
    ptrdiff_t at = span_find(s, SPAN_LIT("\n--- expect\n"));
    BUG_ON(at < 0 || s.len == sizeof text);
    buf_init(&t->body, 1 << 20);
    buf_init(&t->expect, 1 << 16);
    buf_put_span(&t->expect, span_skip(s, (size_t)at + 12));
    s = span_first(s, (size_t)at + 1);
    BUG_ON(!span_next(&s, '\n', &head) || !span_starts(head, SPAN_LIT("--- ")));
    put_body(&t->body, head, s);
}

static int by_name(const void *a, const void *b)
{
    const struct trace *x = a, *y = b;
    return strcmp(x->name, y->name);
}

struct trace *traces_load(const char *folder, size_t *ret_count)
{
    static const struct {
        const char *name;
        const struct wire_format *format;
    } formats[] = {{"openai", &wire_openai},
                   {"gemini", &wire_gemini},
                   {"ollama", &wire_ollama},
                   {"anthropic", &wire_anthropic},
                   {"bedrock", &wire_bedrock}};
    struct trace *all = mem_alloc(200 * sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, formats[i].name);
        DIR *d = opendir(path);
        BUG_ON(!d);
        for (struct dirent *e; (e = readdir(d)) != NULL;) {
            if (!span_ends(span_str(e->d_name), SPAN_LIT(".txt")))
                continue;
            BUG_ON(count == 200);
            struct trace *t = &all[count++];
            t->format = formats[i].format;
            snprintf(t->name, sizeof t->name, "%s/%.100s", formats[i].name, e->d_name);
            snprintf(path, sizeof path, "%s/%s", folder, t->name);
            read_trace(t, path);
        }
        closedir(d);
    }
    qsort(all, count, sizeof *all, by_name);
    *ret_count = count;
    return all;
}

void traces_free(struct trace *traces, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_done(&traces[i].body);
        buf_done(&traces[i].expect);
    }
    mem_free(traces);
}

/* ---- replay ---- */

struct recorder {
    struct replay *replay;
    struct buf run; /* of text or reasoning */
    enum wire_event_type type;
};

static void end_run(struct recorder *r)
{
    if (!r->run.len)
        return;
    buf_puts(&r->replay->out, r->type == WIRE_TEXT ? "text " : "reasoning ");
    json_put_string(&r->replay->out, buf_span(&r->run));
    buf_putc(&r->replay->out, '\n');
    buf_clear(&r->run);
}

static int record(void *ctx, const struct wire_event *e)
{
    static const char *const classes[] = {"none",     "auth",    "rate",     "overloaded",
                                          "too_long", "invalid", "filtered", "other"};
    struct recorder *r = ctx;
    struct buf *out = &r->replay->out;
    BUG_ON(!utf8_is_valid(e->text));
    BUG_ON(r->replay->has_finish || r->replay->has_error); /* they are the last */
    if (e->type == WIRE_TEXT || e->type == WIRE_REASONING) {
        BUG_ON(!e->text.len);
        if (e->type != r->type)
            end_run(r);
        r->type = e->type;
        buf_put_span(&r->run, e->text);
        return 0;
    }
    end_run(r);
    if (e->type == WIRE_USAGE) {
        buf_printf(out, "usage %llu %llu %llu %llu", (unsigned long long)e->prompt_tokens,
                   (unsigned long long)e->completion_tokens,
                   (unsigned long long)e->reasoning_tokens, (unsigned long long)e->cached_tokens);
        if (e->cache_write_tokens)
            buf_printf(out, " written %llu", (unsigned long long)e->cache_write_tokens);
        buf_putc(out, '\n');
    } else if (e->type == WIRE_FINISH) {
        r->replay->has_finish = true;
        buf_printf(out, "finish %s\n", e->finish);
    } else {
        r->replay->has_error = true;
        buf_printf(out, "error %s ", classes[e->error_class]);
        json_put_string(out, e->text);
        buf_putc(out, '\n');
    }
    return 0;
}

struct replay trace_replay(const struct wire_format *format, struct span bytes, size_t first,
                           size_t step)
{
    struct replay ret = {.out = BUF_INIT(64u << 20)};
    struct recorder rec = {&ret, BUF_INIT(32u << 20), WIRE_TEXT};
    struct wire_reader *reader = NULL;
    ret.result = format->reader_new(&reader);
    int fed = ret.result;
    size_t n = first;
    while (bytes.len && fed == 0) {
        fed = format->feed(reader, span_first(bytes, n), record, &rec);
        bytes = span_skip(bytes, n);
        n = step;
    }
    if (reader) {
        ret.result = format->finish(reader, record, &rec);
        BUG_ON(fed < 0 && ret.result != fed);
        format->reader_free(reader);
    }
    end_run(&rec);
    buf_done(&rec.run);
    buf_puts(&ret.out, ret.result == 0               ? "end ok\n"
                       : fed < 0                     ? "end bad\n"
                       : ret.result == -ERR_UPSTREAM ? "end cut\n"
                                                     : "end failed\n");
    return ret;
}

void replay_done(struct replay *r)
{
    buf_done(&r->out);
}
