/*
 * Merges the spilled runs, which are in term order, into the terms of a segment. A term's postings of run n come before those of run n + 1, so that files stay in order
 * without sorting.
 */
#include "index/build_priv.h"

#include "base/bug.h"
#include "base/fault.h"
#include "base/mem.h"

#include <errno.h>
#include <unistd.h>

#define CURSOR_BUFFER (32u << 10)

struct cursor {
    uint64_t offset, end; /* in the run file: next byte to read, end of the run */
    size_t pos, used;     /* in buf */
    uint8_t *buf;         /* owned */
    char term[ANALYZER_TERM_MAX];
    uint32_t term_len;
    uint32_t left; /* bytes of postings of this term not yet taken */
    bool has_term;
};

struct merge {
    const struct runs *runs;
    struct terms *out;
    struct cursor *cursors; /* owned */
    size_t count;
};

static int cursor_get(struct merge *m, struct cursor *c)
{
    if (c->pos == c->used) {
        uint64_t left = c->end - c->offset;
        size_t want = left < CURSOR_BUFFER ? (size_t)left : CURSOR_BUFFER;
        ssize_t n =
            fault_hit(FAULT_READ) ? -1 : pread(m->runs->out.fd, c->buf, want, (off_t)c->offset);
        if (n <= 0) {
            m->out->error = n < 0 && errno ? errno : EIO;
            return 0;
        }
        c->offset += (uint64_t)n;
        c->used = (size_t)n;
        c->pos = 0;
    }
    return c->buf[c->pos++];
}

static void cursor_read(struct merge *m, struct cursor *c, void *ret, size_t len)
{
    uint8_t *p = ret;
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(m->out->error ? 0 : cursor_get(m, c));
}

static uint32_t cursor_varint(struct merge *m, struct cursor *c)
{
    uint32_t v = 0;
    for (unsigned shift = 0; shift < 35 && !m->out->error; shift += 7) {
        int b = cursor_get(m, c);
        c->left--;
        v |= (uint32_t)(b & 0x7f) << shift;
        if (b < 0x80)
            break;
    }
    return v;
}

static void cursor_next_term(struct merge *m, struct cursor *c)
{
    c->has_term = c->pos < c->used || c->offset < c->end;
    if (!c->has_term)
        return;
    cursor_read(m, c, &c->term_len, sizeof c->term_len);
    if (c->term_len > sizeof c->term)
        m->out->error = EIO;
    else
        cursor_read(m, c, c->term, c->term_len);
    cursor_read(m, c, &c->left, sizeof c->left);
}

static struct span term_of(const struct cursor *c)
{
    return span_of(c->term, c->term_len);
}

/* One file's postings of the term. */
static void merge_file(struct merge *m, struct cursor *c, uint32_t *last_file)
{
    uint32_t file = *last_file + cursor_varint(m, c);
    uint32_t file_tf = cursor_varint(m, c), count = cursor_varint(m, c), chunk = 0, tf = 0;
    float best = 0;
    terms_file(m->out, count);
    for (uint32_t i = 0; i < count && !m->out->error; i++) {
        uint32_t delta = cursor_varint(m, c);
        chunk += delta;
        tf = cursor_varint(m, c);
        float part = terms_chunk(m->out, file, chunk, delta, tf);
        best = part > best ? part : best;
    }
    terms_end_file(m->out, file, file_tf, count, chunk, tf, best);
    *last_file = file;
}

static void merge_term(struct merge *m)
{
    const struct cursor *least = NULL;
    for (size_t i = 0; i < m->count; i++) {
        const struct cursor *c = &m->cursors[i];
        if (c->has_term && (!least || span_cmp(term_of(c), term_of(least)) < 0))
            least = c;
    }
    BUG_ON(!least); /* called while has_terms */
    char bytes[ANALYZER_TERM_MAX];
    struct span name = span_of(bytes, least->term_len);
    memcpy(bytes, least->term, least->term_len);
    terms_begin(m->out, name);
    for (size_t i = 0; i < m->count; i++) {
        struct cursor *c = &m->cursors[i];
        if (!c->has_term || !span_eq(term_of(c), name))
            continue;
        uint32_t last_file = 0;
        while (c->left > 0 && !m->out->error)
            merge_file(m, c, &last_file);
        if (!m->out->error)
            cursor_next_term(m, c);
    }
    terms_end(m->out);
}

static bool has_terms(const struct merge *m)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->cursors[i].has_term)
            return true;
    }
    return false;
}

static int open_cursors(struct merge *m, struct err *err)
{
    const struct run *runs = (const struct run *)(const void *)m->runs->list.ptr;
    m->count = m->runs->list.len / sizeof *runs;
    m->cursors = mem_try_array(m->count, sizeof *m->cursors);
    for (size_t i = 0; m->cursors && i < m->count; i++) {
        struct cursor *c = &m->cursors[i];
        c->offset = runs[i].offset;
        c->end = runs[i].offset + runs[i].len;
        c->buf = mem_try(CURSOR_BUFFER);
        if (!c->buf)
            return err_set(err, ERR_NO_MEMORY, "no memory to merge the postings of the index");
        cursor_next_term(m, c);
    }
    return m->cursors ? 0
                      : err_set(err, ERR_NO_MEMORY, "no memory to merge the postings of the index");
}

int merge_runs(const struct runs *runs, struct terms *out, struct err *err)
{
    struct merge m = {.runs = runs, .out = out};
    int rc = open_cursors(&m, err);
    while (rc == 0 && !out->error && has_terms(&m))
        merge_term(&m);
    int failed = terms_done(out);
    if (rc == 0 && failed)
        rc = err_errno(err, -failed, "cannot merge the postings of the index");
    for (size_t i = 0; m.cursors && i < m.count; i++)
        mem_free(m.cursors[i].buf);
    mem_free(m.cursors);
    return rc;
}
