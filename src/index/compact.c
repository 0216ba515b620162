/*
 * Makes one segment of several: living files are copied in path order, the terms of the segments are
 * walked side by side and their entries renumbered. Nothing is analysed again. The result is, byte
 * for byte, what building the same files anew gives.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "index/build_priv.h"
#include "index/index_priv.h"
#include "index/update.h"

#include <stdlib.h>

#define IS_SET 1u             /* in seg_touch.reserved, in memory only */
#define CANCEL_INTERVAL 1024u /* files or terms between two looks at the flag */

/* What becomes of a segment. */
struct source {
    bool is_chosen;
    uint32_t *to_new;            /* owned; of each of its files; UINT32_MAX: not in it */
    uint32_t term;               /* next */
    uint32_t entry, entries_end; /* of the term being merged */
};

struct index_merge {
    char *manifest;         /* owned */
    struct index *from;     /* ref */
    struct source *sources; /* owned; of each part of from */
    unsigned chosen;
    char name[SEG_FILE_NAME_BYTES];
    struct segment *seg; /* ref; the result */
    bool is_published;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory to merge segments of the index");
}

/* ---- which ---- */

struct sized {
    uint64_t bytes;
    unsigned part;
};

static int compare_sized(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return x->part < y->part ? -1 : x->part > y->part;
}

static bool is_mostly_dead(const struct part *p)
{
    uint64_t all = p->seg->header->sections[SEG_TEXT].len;
    return p->dead_count && (double)(all - p->live_text) > INDEX_DEAD_SHARE_MAX * (double)all;
}

/*
 * Chooses: segments with too much that is dead, and when there are too many, the small ones, each
 * only while it is not much larger than those before together: so a byte is copied few times.
 * Returns how many.
 */
static unsigned choose(const struct index *ix, bool *ret_is_chosen)
{
    struct sized order[LIMIT_INDEX_SEGMENTS_COUNT];
    unsigned n =
        ix->parts_count < LIMIT_INDEX_SEGMENTS_COUNT ? ix->parts_count : LIMIT_INDEX_SEGMENTS_COUNT;
    unsigned chosen = 0, left = n;
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        order[i] = (struct sized){ix->parts[i].live_text, i};
        ret_is_chosen[i] = is_mostly_dead(&ix->parts[i]);
        sum += ret_is_chosen[i] ? ix->parts[i].live_text : 0;
        chosen += ret_is_chosen[i];
    }
    if (chosen == 0 && n <= 1 + INDEX_DELTAS_MAX)
        return 0;
    qsort(order, n, sizeof *order, compare_sized);
    for (unsigned i = 0; i < n; i++) {
        bool *is_chosen = &ret_is_chosen[order[i].part];
        if (*is_chosen)
            continue;
        if (left <= 1 + INDEX_DELTAS_MAX / 2 && order[i].bytes > 2 * sum)
            break;
        *is_chosen = true;
        sum += order[i].bytes;
        chosen++;
        left--;
    }
    return chosen;
}

bool index_merge_is_due(const struct index *ix)
{
    bool is_chosen[LIMIT_INDEX_SEGMENTS_COUNT];
    return choose(ix, is_chosen) > 0;
}

/* ---- merging ---- */

struct merging {
    struct index_merge *m;
    struct index_builder *b;
    struct terms terms;
    const _Atomic bool *cancel;
};

static bool is_cancelled(const struct merging *g, uint32_t n)
{
    return g->cancel && n % CANCEL_INTERVAL == 0 &&
           atomic_load_explicit(g->cancel, memory_order_relaxed);
}

static int cancelled(struct err *err)
{
    return err_set(err, ERR_CANCELLED, "cancelled while merging segments of the index");
}

static int copy_files(struct merging *g, struct err *err)
{
    const struct index *ix = g->m->from;
    for (unsigned i = 0; i < ix->parts_count; i++) {
        struct source *s = &g->m->sources[i];
        uint32_t files = ix->parts[i].seg->files_count;
        if (!s->is_chosen)
            continue;
        s->to_new = mem_try_array((size_t)files + 1, sizeof *s->to_new);
        if (!s->to_new)
            return no_memory(err);
        for (uint32_t f = 0; f < files; f++)
            s->to_new[f] = UINT32_MAX;
    }
    for (uint32_t id = 0; id < ix->files_count; id++) {
        struct file_ref at = index_locate(ix, id);
        struct source *s = &g->m->sources[at.part];
        if (is_cancelled(g, id))
            return cancelled(err);
        if (!s->is_chosen)
            continue;
        s->to_new[at.file] = g->b->files_count;
        int rc = builder_copy(g->b, ix, id, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static struct span term_name(const struct segment *g, uint32_t term)
{
    const struct seg_term *t = &g->terms[term];
    return span_of(g->term_strings + t->string_offset, t[1].string_offset - t->string_offset);
}

static struct span least_term(const struct index_merge *m, bool *ret_is_there)
{
    struct span least = SPAN_NULL;
    *ret_is_there = false;
    for (unsigned i = 0; i < m->from->parts_count; i++) {
        const struct segment *g = m->from->parts[i].seg;
        if (!m->sources[i].is_chosen || m->sources[i].term >= g->terms_count)
            continue;
        struct span name = term_name(g, m->sources[i].term);
        if (!*ret_is_there || span_cmp(name, least) < 0)
            least = name;
        *ret_is_there = true;
    }
    return least;
}

static void skip_gone(const struct segment *g, struct source *s)
{
    while (s->entry < s->entries_end && s->to_new[g->entries[s->entry].file] == UINT32_MAX)
        s->entry++;
}

/* Sets the entries of the term in every segment that has it; whether a living one is among them. */
static bool open_term(struct index_merge *m, struct span name)
{
    bool any = false;
    for (unsigned i = 0; i < m->from->parts_count; i++) {
        const struct segment *g = m->from->parts[i].seg;
        struct source *s = &m->sources[i];
        s->entry = s->entries_end = 0;
        if (!s->is_chosen || s->term >= g->terms_count || !span_eq(term_name(g, s->term), name))
            continue;
        s->entry = g->terms[s->term].first_entry;
        s->entries_end = g->terms[s->term + 1].first_entry;
        skip_gone(g, s);
        any |= s->entry < s->entries_end;
    }
    return any;
}

/* The source whose next entry has the least new number, and the number where its turn ends. */
static unsigned least_entry(const struct index_merge *m, uint32_t *ret_until)
{
    unsigned best = m->from->parts_count;
    uint32_t least = UINT32_MAX;
    *ret_until = UINT32_MAX;
    for (unsigned i = 0; i < m->from->parts_count; i++) {
        const struct source *s = &m->sources[i];
        if (s->entry >= s->entries_end)
            continue;
        uint32_t id = s->to_new[m->from->parts[i].seg->entries[s->entry].file];
        if (id < least) {
            *ret_until = least;
            least = id;
            best = i;
        } else if (id < *ret_until) {
            *ret_until = id;
        }
    }
    return best;
}

/* Puts one entry with its new number. False: its list does not decode. */
static bool put_entry(struct merging *g, const struct segment *seg, uint32_t term,
                      const struct seg_entry *e, uint32_t id)
{
    uint32_t count = 1, chunk = 0, tf = 0, delta, chunks = seg->files[e->file].chunk_count;
    float best = 0;
    if (e->where & SEG_INLINE) {
        chunk = (e->where & ~SEG_INLINE) >> 16;
        tf = e->where & 0xffff;
        terms_file(&g->terms, 1);
        best = terms_chunk(&g->terms, id, chunk, chunk, tf);
    } else {
        const uint8_t *at = seg->lists + seg->terms[term].list_offset + e->where,
                      *end = seg->lists + seg->terms[term + 1].list_offset;
        if (!seg_get_varint(&at, end, &count) || count == 0 || count > chunks)
            return false;
        terms_file(&g->terms, count);
        for (uint32_t i = 0; i < count; i++) {
            if (!seg_get_varint(&at, end, &delta) || !seg_get_varint(&at, end, &tf) ||
                delta >= chunks - chunk)
                return false;
            chunk += delta;
            float part = terms_chunk(&g->terms, id, chunk, delta, tf);
            best = part > best ? part : best;
        }
    }
    terms_end_file(&g->terms, id, e->file_tf, count, chunk, tf, best);
    return true;
}

static bool merge_entries(struct merging *g)
{
    struct index_merge *m = g->m;
    uint32_t until;
    for (;;) {
        unsigned i = least_entry(m, &until);
        if (i == m->from->parts_count)
            return true;
        const struct segment *seg = m->from->parts[i].seg;
        struct source *s = &m->sources[i];
        do {
            const struct seg_entry *e = &seg->entries[s->entry++];
            if (!put_entry(g, seg, s->term, e, s->to_new[e->file]))
                return false;
            skip_gone(seg, s);
        } while (s->entry < s->entries_end && s->to_new[seg->entries[s->entry].file] < until);
    }
}

static void close_term(struct index_merge *m, struct span name)
{
    for (unsigned i = 0; i < m->from->parts_count; i++) {
        struct source *s = &m->sources[i];
        const struct segment *g = m->from->parts[i].seg;
        if (s->is_chosen && s->term < g->terms_count && span_eq(term_name(g, s->term), name))
            s->term++;
    }
}

static int merge_terms(struct merging *g, struct err *err)
{
    bool is_there, is_sound = true, is_stopped = false;
    builder_begin_terms(g->b, &g->terms);
    for (uint32_t n = 1; is_sound && !g->terms.error; n++) {
        struct span name = least_term(g->m, &is_there);
        is_stopped = is_cancelled(g, n);
        if (!is_there || is_stopped)
            break;
        if (open_term(g->m, name)) {
            terms_begin(&g->terms, name);
            is_sound = merge_entries(g);
            terms_end(&g->terms);
        }
        close_term(g->m, name);
    }
    int failed = terms_done(&g->terms);
    if (is_stopped)
        return cancelled(err);
    if (!is_sound)
        return err_set(err, ERR_CORRUPT, "a list of postings of the index does not decode");
    return failed ? err_errno(err, -failed, "cannot merge segments of the index") : 0;
}

static int merge(struct index_merge *m, const _Atomic bool *cancel, struct err *err)
{
    char path[SEG_PATH_MAX + 80];
    struct merging g = {.m = m, .cancel = cancel};
    struct index_build_options o = {.analyzer = m->from->analyzer};
    int rc = segment_new_name(m->manifest, m->name, err);
    if (rc == 0)
        rc = segment_path_of(m->manifest, m->name, path, err);
    if (rc == 0)
        rc = index_builder_new(path, &o, &g.b, err);
    if (rc == 0)
        rc = copy_files(&g, err);
    if (rc == 0)
        rc = merge_terms(&g, err);
    if (rc == 0)
        rc = builder_publish(g.b, err);
    if (rc == 0)
        rc = seg_open(path, &m->seg, err);
    index_builder_free(g.b);
    return rc;
}

static int merge_new(const char *manifest, struct index *ix, bool all, const _Atomic bool *cancel,
                     struct index_merge **ret, struct err *err)
{
    bool is_chosen[LIMIT_INDEX_SEGMENTS_COUNT];
    struct index_merge *m = mem_try(sizeof *m);
    if (!m)
        return no_memory(err);
    m->from = index_ref(ix);
    m->manifest = mem_try_strndup(manifest, strlen(manifest));
    m->sources = mem_try_array((size_t)ix->parts_count + 1, sizeof *m->sources);
    unsigned count = all ? ix->parts_count : choose(ix, is_chosen);
    bool has_room = m->manifest && m->sources;
    for (unsigned i = 0; has_room && i < ix->parts_count; i++)
        m->sources[i].is_chosen = all || (count && is_chosen[i]);
    int rc = has_room ? merge(m, cancel, err) : no_memory(err);
    if (rc < 0) {
        index_merge_free(m);
        return rc;
    }
    *ret = m;
    return 0;
}

int index_merge_new(const char *manifest, struct index *ix, const _Atomic bool *cancel,
                    struct index_merge **ret, struct err *err)
{
    return merge_new(manifest, ix, false, cancel, ret, err);
}

int index_merge_all(const char *manifest, struct index *ix, struct index_merge **ret,
                    struct err *err)
{
    return merge_new(manifest, ix, true, NULL, ret, err);
}

void index_merge_free(struct index_merge *m)
{
    if (!m)
        return;
    if (m->name[0] && !m->is_published)
        segment_remove(m->manifest, m->name);
    for (unsigned i = 0; m->sources && i < m->from->parts_count; i++)
        mem_free(m->sources[i].to_new);
    seg_unref(m->seg);
    index_unref(m->from);
    mem_free(m->sources);
    mem_free(m->manifest);
    mem_free(m);
}

/* ---- publishing ---- */

/* The part of m->from that became part of the result, or its number past the last. */
static unsigned merged_source(const struct index_merge *m, const struct part *p)
{
    for (unsigned i = 0; i < m->from->parts_count; i++)
        if (m->sources[i].is_chosen && strcmp(m->from->parts[i].name, p->name) == 0)
            return i;
    return m->from->parts_count;
}

/* By new number: which files live on, and which were touched since. */
static void carry_state(const struct index_merge *m, const struct part *p, unsigned source,
                        uint8_t *alive, struct seg_touch *touched)
{
    const uint32_t *to_new = m->sources[source].to_new;
    for (uint32_t f = 0; f < p->seg->files_count; f++)
        if (to_new[f] != UINT32_MAX)
            alive[to_new[f]] = 1;
    for (uint32_t i = 0; i < p->dead_count; i++)
        if (to_new[p->dead[i]] != UINT32_MAX)
            alive[to_new[p->dead[i]]] = 0;
    for (uint32_t i = 0; i < p->touch_count; i++) {
        uint32_t f = to_new[p->touches[i].file];
        if (f != UINT32_MAX)
            touched[f] = (struct seg_touch){f, IS_SET, p->touches[i].mtime_ns, p->touches[i].stamp};
    }
}

static void fill_part(struct index_merge *m, struct part *p, const uint8_t *alive,
                      const struct seg_touch *touched)
{
    for (uint32_t f = 0; f < m->seg->files_count; f++) {
        if (!alive[f]) {
            p->dead[p->dead_count++] = f;
        } else if (touched[f].reserved && touched[f].stamp != m->seg->files[f].stamp) {
            p->touches[p->touch_count] = touched[f];
            p->touches[p->touch_count++].reserved = 0;
        }
    }
}

static int publish(struct index_merge *m, struct index *current, struct part *parts,
                   struct index **ret, struct err *err)
{
    size_t files = (size_t)m->seg->files_count + 1;
    struct part *p = &parts[0];
    struct snapshot_in in;
    uint8_t *alive = mem_try(files);
    struct seg_touch *touched = mem_try_array(files, sizeof *touched);
    *p = (struct part){.seg = m->seg,
                       .dead = mem_try_array(files, sizeof *p->dead),
                       .touches = mem_try_array(files, sizeof *p->touches)};
    memcpy(p->name, m->name, sizeof p->name);
    snapshot_describe(current, &in);
    in.parts = parts;
    in.parts_count = 1;
    bool has_room = alive && touched && p->dead && p->touches;
    for (unsigned i = 0; has_room && i < current->parts_count; i++) {
        unsigned source = merged_source(m, &current->parts[i]);
        if (source == m->from->parts_count)
            parts[in.parts_count++] = current->parts[i];
        else
            carry_state(m, &current->parts[i], source, alive, touched);
    }
    if (has_room)
        fill_part(m, p, alive, touched);
    int rc = has_room ? manifest_publish(m->manifest, &in, current, ret, err) : no_memory(err);
    mem_free(alive);
    mem_free(touched);
    mem_free(p->dead);
    mem_free(p->touches);
    return rc;
}

int index_merge_publish(struct index_merge *m, struct index *current, struct index **ret,
                        struct err *err)
{
    struct part *parts = mem_try_array((size_t)current->parts_count + 1, sizeof *parts);
    if (!parts)
        return no_memory(err);
    int rc = publish(m, current, parts, ret, err);
    mem_free(parts);
    m->is_published |= rc == 0;
    return rc;
}
