#pragma once
/* What every answer of the local provider must keep, whatever it was asked: used by unit tests and the fuzz target. */
#include "base/buf.h"
#include "providers/chat.h"
#include "text/lines.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>

struct answer {
    struct buf text;
    unsigned deltas, cancel_after, fail_after; /* 0 = never */
    _Atomic bool cancel;
    int fail_code;
};

static int answer_delta(void *ctx, struct span piece)
{
    struct answer *a = ctx;
    a->deltas++;
    if (a->fail_after && a->deltas == a->fail_after)
        return a->fail_code;
    buf_put_span(&a->text, piece);
    if (a->cancel_after && a->deltas == a->cancel_after)
        atomic_store(&a->cancel, true);
    return 0;
}

static int answer_run(struct answer *a, const struct chat_request *request,
                      struct chat_usage *usage, struct err *err)
{
    struct chat_request r = *request;
    struct chat_sink sink = {a, answer_delta};
    a->text = BUF_INIT(1u << 22);
    r.cancel = &a->cancel;
    return local_chat(&r, &sink, usage, err);
}

static size_t tick_run(struct span line)
{
    size_t n = 0;
    while (n < line.len && line.ptr[n] == '`')
        n++;
    return n;
}

/* The cited passage for a citation that ends the text before `hash`; NULL when no passage holds it. */
static const struct chat_passage *cited_passage(const struct chat_request *r, struct span text,
                                                size_t hash, uint32_t *ret_start, uint32_t *ret_end)
{
    uint64_t v[2] = {0, 0};
    size_t i = hash + 2, k = 0;
    for (; k < 2; k++) {
        while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9')
            v[k] = v[k] * 10 + (uint64_t)(text.ptr[i++] - '0');
        if (k == 0 && span_starts(span_skip(text, i), SPAN_LIT("-L")))
            i += 2;
        else
            break;
    }
    if (k == 0)
        v[1] = v[0];
    *ret_start = (uint32_t)v[0];
    *ret_end = (uint32_t)v[1];
    for (size_t p = 0; p < r->passage_count; p++) {
        const struct chat_passage *in = &r->passages[p];
        if (in->path.len <= hash && in->path.len &&
            memcmp(text.ptr + hash - in->path.len, in->path.ptr, in->path.len) == 0 &&
            v[0] >= in->start_line && v[0] <= v[1] && v[1] <= in->end_line)
            return in;
    }
    return NULL;
}

#define CHECK(cond, what) \
    do {                  \
        if (!(cond))      \
            return what;  \
    } while (0)

/* NULL, or what is wrong: open fence, a citation outside the passages, code that is not in the cited lines. */
static const char *answer_fault(const struct chat_request *r, struct span text)
{
    struct span rest = text, line, cited = SPAN_NULL;
    size_t fence = 0;
    CHECK(utf8_is_valid(text), "not UTF-8");
    while (span_next(&rest, '\n', &line)) {
        size_t ticks = tick_run(line);
        if (fence) {
            if (ticks == fence && line.len == ticks)
                fence = 0;
            else
                CHECK(span_find(cited, line) >= 0, "code that is not in the cited lines");
            continue;
        }
        if (ticks >= 3) {
            CHECK(cited.len, "code without a citation above it");
            fence = ticks;
            continue;
        }
        for (size_t i = 0; i + 2 < line.len; i++) {
            uint32_t start, end;
            bool is_ours = line.ptr[i] == '#' && line.ptr[i + 1] == 'L' && line.ptr[i + 2] >= '0' &&
                           line.ptr[i + 2] <= '9';
            if (!is_ours)
                continue;
            const struct chat_passage *p = cited_passage(r, line, i, &start, &end);
            CHECK(p, "citation outside the passages");
            cited = lines_slice(p->text, start - p->start_line + 1, end - p->start_line + 1);
        }
    }
    CHECK(!fence, "open fence");
    return NULL;
}
