/*
 * Joins segments into one snapshot. Ids are given by path order over all living files, so they do
 * not tell which segment a file is in: a merge changes no id, and ties fall as in a full rebuild.
 */
#include "index/index_priv.h"

#include "base/mem.h"

#include <stdlib.h>

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory to open the index");
}

static int corrupt(struct err *err, const struct part *p, const char *what)
{
    err_set(err, ERR_CORRUPT, "index segment '%s' is damaged: %s", p->name, what);
    err_hint(err, "index the source again");
    return -ERR_CORRUPT;
}

struct index *index_ref(struct index *ix)
{
    atomic_fetch_add_explicit(&ix->refs, 1, memory_order_relaxed);
    return ix;
}

static void part_done(struct part *p)
{
    seg_unref(p->seg);
    mem_free(p->dead);
    mem_free(p->touches);
    mem_free(p->ids);
    *p = (struct part){0};
}

void index_unref(struct index *ix)
{
    if (!ix || atomic_fetch_sub_explicit(&ix->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; ix->parts && i < ix->parts_count; i++)
        part_done(&ix->parts[i]);
    mem_free(ix->parts);
    mem_free(ix->head);
    mem_free(ix->damage);
    mem_free(ix->refs_of);
    mem_free(ix->first_chunks);
    mem_free(ix->file_norms);
    mem_free(ix);
}

/* ---- making ---- */

static void *copy_array(const void *from, size_t count, size_t size)
{
    void *to = mem_try_array(count ? count : 1, size);
    if (to && count)
        memcpy(to, from, count * size);
    return to;
}

static bool numbers_are_sound(const struct part *p)
{
    for (uint32_t i = 0; i < p->dead_count; i++)
        if (p->dead[i] >= p->seg->files_count || (i && p->dead[i] <= p->dead[i - 1]))
            return false;
    for (uint32_t i = 0; i < p->touch_count; i++)
        if (p->touches[i].file >= p->seg->files_count ||
            (i && p->touches[i].file <= p->touches[i - 1].file))
            return false;
    return true;
}

static int take_part(struct index *ix, const struct part *from, struct err *err)
{
    if (!numbers_are_sound(from))
        return corrupt(err, from, "its list of replaced files");
    if (from->dead_count == from->seg->files_count && from->seg->files_count)
        return 0;
    struct part *p = &ix->parts[ix->parts_count++];
    *p = (struct part){.seg = seg_ref(from->seg),
                       .dead_count = from->dead_count,
                       .touch_count = from->touch_count};
    memcpy(p->name, from->name, sizeof p->name);
    p->dead = copy_array(from->dead, from->dead_count, sizeof *p->dead);
    p->touches = copy_array(from->touches, from->touch_count, sizeof *p->touches);
    return p->dead && p->touches ? 0 : no_memory(err);
}

static int take_head(struct index *ix, const struct snapshot_in *in, struct err *err)
{
    size_t r = strlen(in->revision) + 1, f = strlen(in->fingerprint) + 1,
           n = strlen(in->recipe) + 1;
    ix->head = mem_try(r + f + n);
    if (!ix->head)
        return no_memory(err);
    memcpy(ix->head, in->revision, r);
    memcpy(ix->head + r, in->fingerprint, f);
    memcpy(ix->head + r + f, in->recipe, n);
    ix->revision = ix->head;
    ix->fingerprint = ix->head + r;
    ix->recipe = ix->head + r + f;
    return 0;
}

/* Where the merge of the parts' files stands in one part. */
struct part_cursor {
    uint32_t file, dead; /* next of each */
};

static void skip_dead(const struct part *p, struct part_cursor *c, uint32_t dead_id)
{
    for (; c->dead < p->dead_count && p->dead[c->dead] == c->file; c->dead++, c->file++)
        p->ids[c->file] = dead_id;
}

/* The part whose next path comes first, and the path that ends its turn (none: SPAN_NULL). */
static unsigned least_part(const struct index *ix, const struct part_cursor *cursors,
                           struct span *ret_until)
{
    unsigned best = ix->parts_count;
    struct span least = SPAN_NULL;
    *ret_until = SPAN_NULL;
    for (unsigned i = 0; i < ix->parts_count; i++) {
        const struct segment *g = ix->parts[i].seg;
        if (cursors[i].file >= g->files_count)
            continue;
        struct span path = segment_path(g, cursors[i].file);
        if (best == ix->parts_count || span_cmp(path, least) < 0) {
            *ret_until = least;
            least = path;
            best = i;
        } else if (!ret_until->ptr || span_cmp(path, *ret_until) < 0) {
            *ret_until = path;
        }
    }
    return best;
}

static void put_file(struct index *ix, uint32_t id, unsigned part, uint32_t file, uint64_t *chunks,
                     uint64_t *terms)
{
    struct part *p = &ix->parts[part];
    const struct seg_file *f = &p->seg->files[file];
    p->ids[file] = id;
    ix->refs_of[id] = (struct file_ref){part, file};
    ix->first_chunks[id] = (uint32_t)*chunks;
    p->live_text += f->text_len;
    *chunks += f->chunk_count;
    *terms += f->terms_count;
}

static int number_files(struct index *ix, struct part_cursor *cursors, uint64_t *ret_terms,
                        struct err *err)
{
    uint64_t chunks = 0;
    uint32_t id = 0;
    struct span last = SPAN_NULL, until;
    for (unsigned i = 0; i < ix->parts_count; i++)
        skip_dead(&ix->parts[i], &cursors[i], ix->files_count);
    while (id < ix->files_count) {
        unsigned n = least_part(ix, cursors, &until);
        if (n == ix->parts_count)
            break;
        const struct part *p = &ix->parts[n];
        do {
            struct span path = segment_path(p->seg, cursors[n].file);
            if (until.ptr && span_cmp(path, until) > 0)
                break;
            if (id && span_cmp(path, last) <= 0)
                return corrupt(err, p, "its files are out of order");
            put_file(ix, id++, n, cursors[n].file++, &chunks, ret_terms);
            last = path;
            skip_dead(p, &cursors[n], ix->files_count);
        } while (cursors[n].file < p->seg->files_count);
    }
    ix->first_chunks[id] = (uint32_t)chunks;
    ix->chunks_count = (uint32_t)chunks;
    return 0;
}

/* The general case: files of several segments, or of one without its dead. */
static int join_parts(struct index *ix, uint64_t *ret_terms, struct err *err)
{
    uint64_t files = 0, chunks = 0;
    for (unsigned i = 0; i < ix->parts_count; i++) {
        struct part *p = &ix->parts[i];
        files += p->seg->files_count - p->dead_count;
        chunks += p->seg->chunks_count;
        p->ids = mem_try_array((size_t)p->seg->files_count + 1, sizeof *p->ids);
        if (!p->ids)
            return no_memory(err);
    }
    if (files >= UINT32_MAX || chunks >= UINT32_MAX)
        return err_set(err, ERR_TOO_LARGE, "too many passages for one index");
    ix->files_count = (uint32_t)files;
    ix->refs_of = mem_try_array(files + 1, sizeof *ix->refs_of);
    ix->first_chunks = mem_try_array(files + 1, sizeof *ix->first_chunks);
    struct part_cursor *cursors = mem_try_array(ix->parts_count + 1, sizeof *cursors);
    int rc = ix->refs_of && ix->first_chunks && cursors ? number_files(ix, cursors, ret_terms, err)
                                                        : no_memory(err);
    mem_free(cursors);
    return rc;
}

static void use_as_it_is(struct index *ix, uint64_t *ret_terms)
{
    struct part *p = &ix->parts[0];
    ix->files_count = p->seg->files_count;
    ix->chunks_count = p->seg->chunks_count;
    *ret_terms = p->seg->header->chunk_terms_total;
    p->live_text = p->seg->header->sections[SEG_TEXT].len;
}

static float bound_ratio(float average, float built)
{
    float r = average / built;
    return r > 1.0f ? (r < 255.0f ? r : 255.0f) : 1.0f; /* at 255 every bound is the largest */
}

/* What scores need: averages over the living. */
static int set_norms(struct index *ix, uint64_t terms, struct err *err)
{
    ix->average = seg_average(terms, ix->chunks_count);
    float average = seg_average(terms, ix->files_count);
    ix->file_norms = mem_try_array((size_t)ix->files_count + 1, sizeof *ix->file_norms);
    if (!ix->file_norms)
        return no_memory(err);
    ix->file_norms[ix->files_count] = BM25_K1;
    for (uint32_t i = 0; i < ix->files_count; i++) {
        struct file_ref at = index_locate(ix, i);
        ix->file_norms[i] = seg_norm(ix->parts[at.part].seg->files[at.file].terms_count, average);
    }
    for (unsigned i = 0; i < ix->parts_count; i++) {
        struct part *p = &ix->parts[i];
        p->bound_ratio = bound_ratio(ix->average, p->seg->average);
        ix->text_bytes += p->live_text;
        if (p->seg->file_chunks_max > ix->file_chunks_max)
            ix->file_chunks_max = p->seg->file_chunks_max;
    }
    return 0;
}

#define COMMON_SHARE 8u

static void note_languages(struct index *ix)
{
    uint32_t counts[PROSE_LANGUAGES] = {0}, all = 0;
    for (uint32_t i = 0; i < ix->files_count; i++) {
        struct file_ref at = index_locate(ix, i);
        uint8_t prose = ix->parts[at.part].seg->files[at.file].prose;
        if (prose == 0 || prose > PROSE_LANGUAGES)
            continue;
        counts[prose - 1]++;
        all++;
    }
    for (size_t i = 0; i < PROSE_LANGUAGES; i++) {
        if (counts[i])
            ix->languages |= PROSE_BIT(i);
        if (counts[i] && counts[i] >= all / COMMON_SHARE)
            ix->common_languages |= PROSE_BIT(i);
    }
    for (unsigned i = 0; i < ix->parts_count; i++)
        ix->scripts |= ix->parts[i].seg->header->scripts;
}

static int fill(struct index *ix, const struct snapshot_in *in, struct err *err)
{
    uint64_t terms = 0;
    int rc = take_head(ix, in, err);
    for (unsigned i = 0; rc == 0 && i < in->parts_count; i++)
        rc = take_part(ix, &in->parts[i], err);
    if (rc < 0)
        return rc;
    if (ix->parts_count == 1 && ix->parts[0].dead_count == 0)
        use_as_it_is(ix, &terms);
    else
        rc = join_parts(ix, &terms, err);
    if (rc == 0)
        note_languages(ix);
    return rc < 0 ? rc : set_norms(ix, terms, err);
}

int snapshot_new(const struct snapshot_in *in, struct index **ret, struct err *err)
{
    struct index *ix = mem_try(sizeof *ix);
    if (!ix)
        return no_memory(err);
    atomic_init(&ix->refs, 1);
    ix->analyzer = in->analyzer;
    ix->content = in->content;
    ix->retry_count = in->retry_count;
    ix->parts = mem_try_array(in->parts_count + 1, sizeof *ix->parts);
    int rc = ix->parts ? fill(ix, in, err) : no_memory(err);
    if (rc < 0) {
        index_unref(ix);
        return rc;
    }
    *ret = ix;
    return 0;
}

void snapshot_describe(const struct index *ix, struct snapshot_in *ret)
{
    *ret = (struct snapshot_in){
        .parts = ix->parts,
        .parts_count = ix->parts_count,
        .analyzer = ix->analyzer,
        .revision = ix->revision,
        .fingerprint = ix->fingerprint,
        .recipe = ix->recipe,
        .content = ix->content,
        .retry_count = ix->retry_count,
    };
}

static int open_single(const char *path, struct index **ret, struct err *err)
{
    struct part p = {0};
    int rc = seg_open(path, &p.seg, err);
    if (rc < 0)
        return rc;
    const struct seg_header *h = p.seg->header;
    struct snapshot_in in = {
        .parts = &p,
        .parts_count = 1,
        .analyzer = (enum analyzer)h->analyzer,
        .revision = h->revision,
        .fingerprint = h->fingerprint,
        .recipe = "",
    };
    rc = snapshot_new(&in, ret, err);
    seg_unref(p.seg);
    return rc;
}

int index_open(const char *path, struct index **ret, struct err *err)
{
    int is_manifest = manifest_is(path, err);
    return is_manifest < 0    ? is_manifest
           : is_manifest == 0 ? open_single(path, ret, err)
                              : manifest_open(path, ret, err);
}

/* ---- reading ---- */

void index_stats(const struct index *ix, struct index_stats *ret)
{
    *ret = (struct index_stats){
        .files = ix->files_count,
        .chunks = ix->chunks_count,
        .text_bytes = ix->text_bytes,
        .revision = ix->revision,
        .fingerprint = ix->fingerprint,
        .damage = ix->damage ? ix->damage : "",
        .segments = ix->parts_count,
        .languages = ix->languages,
        .scripts = ix->scripts,
        .analyzer = ix->analyzer,
    };
    for (unsigned i = 0; i < ix->parts_count; i++)
        if (ix->parts[i].seg->terms_count > ret->terms)
            ret->terms = ix->parts[i].seg->terms_count;
}

static const struct seg_touch *find_touch(const struct part *p, uint32_t file)
{
    uint32_t lo = 0, hi = p->touch_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (p->touches[mid].file < file)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < p->touch_count && p->touches[lo].file == file ? &p->touches[lo] : NULL;
}

bool index_file(const struct index *ix, uint32_t file, struct index_file_view *ret)
{
    if (file >= ix->files_count)
        return false;
    struct file_ref at = index_locate(ix, file);
    const struct part *p = &ix->parts[at.part];
    const struct segment *g = p->seg;
    const struct seg_file *f = &g->files[at.file];
    const struct seg_touch *touch = find_touch(p, at.file);
    *ret = (struct index_file_view){
        .id = file,
        .path = segment_path(g, at.file),
        .language = span_of(g->strings + f->language_offset, f->language_len),
        .text = span_of(g->text + f->text_offset, f->text_len),
        .size = f->size,
        .mtime_ns = touch ? touch->mtime_ns : f->mtime_ns,
        .stamp = touch ? touch->stamp : f->stamp,
        .hash = f->hash,
        .is_test = f->is_test != 0,
        .first_chunk = index_first_chunk(ix, file),
        .chunk_count = f->chunk_count,
    };
    return true;
}

bool index_file_by_path(const struct index *ix, struct span path, struct index_file_view *ret)
{
    uint32_t file;
    for (unsigned i = 0; i < ix->parts_count; i++) {
        const struct part *p = &ix->parts[i];
        if (segment_find_path(p->seg, path, &file) && part_id(p, file) < ix->files_count)
            return index_file(ix, part_id(p, file), ret);
    }
    return false;
}

/* The file that a chunk is of. */
static uint32_t file_of(const struct index *ix, uint32_t chunk)
{
    if (!ix->first_chunks)
        return ix->parts[0].seg->chunks[chunk].file;
    uint32_t lo = 0, hi = ix->files_count; /* the last file that begins at or before it */
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (ix->first_chunks[mid] <= chunk)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

bool index_chunk(const struct index *ix, uint32_t chunk, struct index_chunk_view *ret)
{
    if (chunk >= ix->chunks_count)
        return false;
    uint32_t file = file_of(ix, chunk);
    struct file_ref at = index_locate(ix, file);
    const struct segment *g = ix->parts[at.part].seg;
    const struct seg_file *f = &g->files[at.file];
    const struct seg_chunk *c = &g->chunks[f->first_chunk + (chunk - index_first_chunk(ix, file))];
    *ret = (struct index_chunk_view){
        .id = chunk,
        .file = file,
        .start_line = c->start_line,
        .end_line = c->end_line,
        .path = segment_path(g, at.file),
        .symbol = span_of(g->strings + c->symbol_offset, c->symbol_len),
        .symbol_kind = span_of(g->strings + c->kind_offset, c->kind_len),
        .language = span_of(g->strings + f->language_offset, f->language_len),
        .text = span_of(g->text + f->text_offset + c->text_start, c->text_len),
        .kind = c->kind & (uint8_t)~SEG_KIND_TEST,
        .is_test = f->is_test != 0 || (c->kind & SEG_KIND_TEST),
    };
    return true;
}
