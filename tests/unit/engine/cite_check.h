#pragma once
/* Scans a text cut into pieces and writes down all that came out: used by the unit tests and the fuzz target. */
#include "base/buf.h"
#include "engine/cite.h"

struct scan {
    struct buf text, log; /* log: "path:start-end state" lines */
    bool is_late;         /* a citation was reported after its text */
};

static const char *const scan_paths[] = {"src/a.c", "docs/My Guide.md", "app/[id]/page.tsx",
                                         "docs/説明.md", "x"};
static const char scan_file[] = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n"
                                "eight\nnine\nten\neleven\ntwelve";

static bool scan_lookup(void *ctx, struct span path, struct span *ret_text)
{
    (void)ctx;
    for (size_t i = 0; i < ARRAY_LEN(scan_paths); i++) {
        if (span_is(path, scan_paths[i])) {
            *ret_text = span_str(scan_file);
            return true;
        }
    }
    return false;
}

static int scan_citation(void *ctx, const struct citation *c)
{
    struct scan *s = ctx;
    struct buf key = BUF_INIT(4096);
    buf_put_span(&s->log, c->path);
    buf_printf(&s->log, ":%u-%u %s\n", c->start, c->end, cite_state_name(c->state));
    buf_put_span(&key, c->path);
    buf_printf(&key, "#L%u", c->start);
    if (span_find(buf_span(&s->text), buf_span(&key)) >= 0)
        s->is_late = true;
    buf_done(&key);
    return 0;
}

static int scan_text(void *ctx, struct span text)
{
    struct scan *s = ctx;
    buf_put_span(&s->text, text);
    return 0;
}

/* Pieces of `step` bytes; 0 = sizes that follow from `seed`. */
static int scan_run_all(struct scan *s, struct span text, size_t step, unsigned seed)
{
    const struct cite_sink sink = {s, scan_lookup, scan_citation, scan_text};
    struct cite_scanner scanner;
    *s = (struct scan){BUF_INIT(1u << 22), BUF_INIT(1u << 22), false};
    cite_init(&scanner, &sink);
    while (text.len) {
        seed = seed * 1103515245u + 12345u;
        size_t n = step ? step : 1 + (seed >> 16) % 37;
        if (cite_feed(&scanner, span_first(text, n)) < 0)
            return -1;
        text = span_skip(text, n);
    }
    return cite_end(&scanner);
}

static void scan_done(struct scan *s)
{
    buf_done(&s->text);
    buf_done(&s->log);
}
