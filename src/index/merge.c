/*
 * Merges the spilled runs, which are in term order, into the TERM_STRINGS, TERMS, ENTRIES and LISTS
 * sections. A term's postings of run n come before those of run n + 1, so that files stay in order
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
    const struct merge_in *in;
    struct section *sections;
    struct cursor *cursors; /* owned */
    size_t count;
    struct pool list; /* one file's chunk list */
    uint64_t entries_count;
    int error; /* errno, sticky */
};

static int cursor_get(struct merge *m, struct cursor *c)
{
    if (c->pos == c->used) {
        uint64_t left = c->end - c->offset;
        size_t want = left < CURSOR_BUFFER ? (size_t)left : CURSOR_BUFFER;
        ssize_t n =
            fault_hit(FAULT_READ) ? -1 : pread(m->in->runs->out.fd, c->buf, want, (off_t)c->offset);
        if (n <= 0) {
            m->error = n < 0 && errno ? errno : EIO;
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
        p[i] = (uint8_t)(m->error ? 0 : cursor_get(m, c));
}

static uint32_t cursor_varint(struct merge *m, struct cursor *c)
{
    uint32_t v = 0;
    for (unsigned shift = 0; shift < 35 && !m->error; shift += 7) {
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
        m->error = EIO;
    else
        cursor_read(m, c, c->term, c->term_len);
    cursor_read(m, c, &c->left, sizeof c->left);
}

static struct span term_of(const struct cursor *c)
{
    return span_of(c->term, c->term_len);
}

static bool list_put(struct merge *m, uint32_t v)
{
    uint8_t bytes[5];
    size_t n = seg_put_varint(bytes, v);
    void *at = pool_add(&m->list, n);
    if (at)
        memcpy(at, bytes, n);
    else
        m->error = ENOMEM;
    return at != NULL;
}

/* One file's postings of the term: an entry, and a list unless the entry holds its one chunk. */
static void merge_file(struct merge *m, struct cursor *c, uint32_t *last_file,
                       struct seg_term *term)
{
    uint32_t file = *last_file + cursor_varint(m, c);
    uint32_t file_tf = cursor_varint(m, c), count = cursor_varint(m, c), chunk = 0, tf = 0;
    float best = 0;
    m->list.len = 0;
    list_put(m, count);
    for (uint32_t i = 0; i < count && !m->error; i++) {
        uint32_t delta = cursor_varint(m, c);
        chunk += delta;
        tf = cursor_varint(m, c);
        uint32_t length = m->in->chunk_terms_count[m->in->first_chunk[file] + chunk];
        float part = seg_tf_part((float)tf, seg_norm(length, m->in->average));
        best = part > best ? part : best;
        list_put(m, delta);
        list_put(m, tf);
    }
    struct section *lists = &m->sections[SEG_LISTS];
    uint64_t at = lists->len - term->list_offset;
    struct seg_entry e = {.file = file,
                          .where = (uint32_t)at,
                          .file_tf = (uint16_t)(file_tf > UINT16_MAX ? UINT16_MAX : file_tf),
                          .bound = seg_bound(best)};
    if (count == 1 && chunk <= SEG_INLINE_CHUNK_MAX && tf <= SEG_INLINE_TF_MAX)
        e.where = SEG_INLINE | chunk << 16 | tf;
    else if (at >= SEG_INLINE)
        m->error = EFBIG;
    else
        section_put(lists, m->list.ptr, m->list.len);
    section_put(&m->sections[SEG_ENTRIES], &e, sizeof e);
    m->entries_count++;
    term->chunk_count += count;
    *last_file = file;
}

static void put_term(struct merge *m, struct seg_term *t)
{
    uint64_t string = m->sections[SEG_TERM_STRINGS].len;
    if (string > UINT32_MAX || m->entries_count > UINT32_MAX)
        m->error = EFBIG;
    t->string_offset = (uint32_t)string;
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
    struct seg_term t = {.list_offset = m->sections[SEG_LISTS].len,
                         .first_entry = (uint32_t)m->entries_count};
    put_term(m, &t);
    section_put(&m->sections[SEG_TERM_STRINGS], name.ptr, name.len);
    for (size_t i = 0; i < m->count; i++) {
        struct cursor *c = &m->cursors[i];
        if (!c->has_term || !span_eq(term_of(c), name))
            continue;
        uint32_t last_file = 0;
        while (c->left > 0 && !m->error)
            merge_file(m, c, &last_file, &t);
        if (!m->error)
            cursor_next_term(m, c);
    }
    section_put(&m->sections[SEG_TERMS], &t, sizeof t);
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
    const struct run *runs = (const struct run *)(const void *)m->in->runs->list.ptr;
    m->count = m->in->runs->list.len / sizeof *runs;
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

int merge_runs(const struct merge_in *in, struct section sections[SEG_SECTIONS], struct err *err)
{
    struct merge m = {.in = in, .sections = sections};
    int rc = open_cursors(&m, err);
    while (rc == 0 && !m.error && has_terms(&m))
        merge_term(&m);
    struct seg_term end = {.list_offset = sections[SEG_LISTS].len,
                           .first_entry = (uint32_t)m.entries_count};
    put_term(&m, &end);
    section_put(&sections[SEG_TERMS], &end, sizeof end);
    if (rc == 0 && m.error)
        rc = err_errno(err, m.error, "cannot merge the postings of the index");
    for (size_t i = 0; m.cursors && i < m.count; i++)
        mem_free(m.cursors[i].buf);
    mem_free(m.cursors);
    mem_free(m.list.ptr);
    return rc;
}
