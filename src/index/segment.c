/* One segment file: mapping and verification. */
#include "index/index_priv.h"

#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const section_names[SEG_SECTIONS] = {
    "text", "strings", "files", "chunks", "paths", "term strings", "terms", "entries", "lists",
};

static int corrupt(struct err *err, const char *path, const char *what)
{
    err_set(err, ERR_CORRUPT, "index '%s' is damaged: %s", path, what);
    err_hint(err, "index the source again");
    return -ERR_CORRUPT;
}

static bool in_range(uint64_t offset, uint64_t len, uint64_t size)
{
    return offset <= size && len <= size - offset;
}

static uint64_t section_len(const struct segment *g, enum seg_section s)
{
    return g->header->sections[s].len;
}

static const void *section_at(const struct segment *g, enum seg_section s)
{
    return g->map + g->header->sections[s].offset;
}

static int check_header(const struct segment *g, const char *path, struct err *err)
{
    const struct seg_header *h = g->header;
    if (g->map_len < SEG_HEADER_BYTES || memcmp(h->magic, SEG_MAGIC, sizeof h->magic) != 0)
        return corrupt(err, path, "not an index file");
    if (h->crc != crc32c(0, h, offsetof(struct seg_header, crc)))
        return corrupt(err, path, "checksum of the header");
    if (h->version != SEG_VERSION || h->analyzer_version != ANALYZER_VERSION ||
        h->analyzer > ANALYZER_CODE) {
        err_set(err, ERR_CORRUPT, "index '%s' was written by another version", path);
        err_hint(err, "index the source again");
        return -ERR_CORRUPT;
    }
    if (h->file_bytes != g->map_len)
        return corrupt(err, path, "its length is not what the header says");
    if (!memchr(h->revision, 0, sizeof h->revision) ||
        !memchr(h->fingerprint, 0, sizeof h->fingerprint))
        return corrupt(err, path, "revision in the header");
    return 0;
}

static int check_sections(const struct segment *g, const char *path, struct err *err)
{
    static const size_t record[SEG_SECTIONS] = {1,
                                                1,
                                                sizeof(struct seg_file),
                                                sizeof(struct seg_chunk),
                                                sizeof(struct seg_path),
                                                1,
                                                sizeof(struct seg_term),
                                                sizeof(struct seg_entry),
                                                1};
    for (int i = 0; i < SEG_SECTIONS; i++) {
        const struct seg_section_ref *s = &g->header->sections[i];
        if (s->offset % SEG_ALIGN || s->offset < SEG_HEADER_BYTES ||
            !in_range(s->offset, s->len, g->map_len) || s->len % record[i] ||
            s->len / record[i] > (record[i] == 1 ? UINT64_MAX : UINT32_MAX) ||
            crc32c(0, g->map + s->offset, s->len) != s->crc)
            return corrupt(err, path, section_names[i]);
    }
    return 0;
}

static void set_tables(struct segment *g)
{
    g->text = section_at(g, SEG_TEXT);
    g->strings = section_at(g, SEG_STRINGS);
    g->term_strings = section_at(g, SEG_TERM_STRINGS);
    g->files = section_at(g, SEG_FILES);
    g->chunks = section_at(g, SEG_CHUNKS);
    g->paths = section_at(g, SEG_PATHS);
    g->terms = section_at(g, SEG_TERMS);
    g->entries = section_at(g, SEG_ENTRIES);
    g->lists = section_at(g, SEG_LISTS);
    g->lists_len = section_len(g, SEG_LISTS);
    g->files_count = (uint32_t)(section_len(g, SEG_FILES) / sizeof *g->files);
    g->chunks_count = (uint32_t)(section_len(g, SEG_CHUNKS) / sizeof *g->chunks);
    g->entries_count = (uint32_t)(section_len(g, SEG_ENTRIES) / sizeof *g->entries);
}

static bool files_are_sound(struct segment *g)
{
    uint64_t text_len = section_len(g, SEG_TEXT), strings_len = section_len(g, SEG_STRINGS),
             chunk = 0;
    for (uint32_t i = 0; i < g->files_count; i++) {
        const struct seg_file *f = &g->files[i];
        if (!in_range(f->text_offset, f->text_len, text_len) ||
            !in_range(f->path_offset, f->path_len, strings_len) ||
            !in_range(f->language_offset, f->language_len, strings_len) ||
            f->first_chunk != chunk || !in_range(chunk, f->chunk_count, g->chunks_count))
            return false;
        chunk += f->chunk_count;
        if (f->chunk_count > g->file_chunks_max)
            g->file_chunks_max = f->chunk_count;
    }
    return chunk == g->chunks_count;
}

static bool chunks_are_sound(const struct segment *g)
{
    uint64_t strings_len = section_len(g, SEG_STRINGS);
    for (uint32_t i = 0; i < g->chunks_count; i++) {
        const struct seg_chunk *c = &g->chunks[i];
        if (c->file >= g->files_count)
            return false;
        const struct seg_file *f = &g->files[c->file];
        if (i < f->first_chunk || i - f->first_chunk >= f->chunk_count ||
            !in_range(c->text_start, c->text_len, f->text_len) ||
            !in_range(c->symbol_offset, c->symbol_len, strings_len) ||
            !in_range(c->kind_offset, c->kind_len, strings_len))
            return false;
    }
    return true;
}

static bool paths_are_sound(const struct segment *g)
{
    if (section_len(g, SEG_PATHS) / sizeof *g->paths != g->files_count)
        return false;
    for (uint32_t i = 0; i < g->files_count; i++) {
        if (g->paths[i].file >= g->files_count)
            return false;
    }
    return true;
}

/*
 * Ranges of every term follow each other; what the entries name exists. Lists are checked where
 * they are decoded.
 */
static bool terms_are_sound(struct segment *g)
{
    uint64_t count = section_len(g, SEG_TERMS) / sizeof *g->terms;
    if (count == 0)
        return false;
    g->terms_count = (uint32_t)(count - 1);
    const struct seg_term *t = g->terms, *end = &g->terms[g->terms_count];
    if (end->first_entry != g->entries_count || end->list_offset != g->lists_len ||
        end->string_offset != section_len(g, SEG_TERM_STRINGS))
        return false;
    for (; t < end; t++) {
        if (t->first_entry > t[1].first_entry || t->list_offset > t[1].list_offset ||
            t->string_offset > t[1].string_offset)
            return false;
        uint64_t list_len = t[1].list_offset - t->list_offset;
        for (uint32_t i = t->first_entry; i < t[1].first_entry && i < g->entries_count; i++) {
            const struct seg_entry *e = &g->entries[i];
            if (e->file >= g->files_count || (i > t->first_entry && e->file <= e[-1].file))
                return false;
            if (e->where & SEG_INLINE
                    ? (e->where & ~SEG_INLINE) >> 16 >= g->files[e->file].chunk_count
                    : e->where >= list_len)
                return false;
        }
    }
    return true;
}

static int verify(struct segment *g, const char *path, struct err *err)
{
    int rc = check_header(g, path, err);
    if (rc == 0)
        rc = check_sections(g, path, err);
    if (rc < 0)
        return rc;
    set_tables(g);
    if (!files_are_sound(g))
        return corrupt(err, path, "file table");
    if (!chunks_are_sound(g))
        return corrupt(err, path, "chunk table");
    if (!paths_are_sound(g))
        return corrupt(err, path, "path table");
    if (!terms_are_sound(g))
        return corrupt(err, path, "term table");
    return 0;
}

static int map_file(struct segment *g, const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot open the index '%s'", path);
    struct stat st;
    int rc = 0;
    if (fault_hit(FAULT_READ) || fstat(fd, &st) < 0) {
        rc = err_errno(err, EIO, "cannot read the index '%s'", path);
    } else if (!S_ISREG(st.st_mode) || st.st_size < (off_t)SEG_HEADER_BYTES) {
        rc = corrupt(err, path, "not an index file");
    } else {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            rc = err_errno(err, errno, "cannot map the index '%s'", path);
        } else {
            g->map = p;
            g->map_len = (size_t)st.st_size;
            g->header = p;
        }
    }
    close(fd);
    return rc;
}

int seg_open(const char *path, struct segment **ret, struct err *err)
{
    struct segment *g = mem_try(sizeof *g);
    if (!g)
        return err_set(err, ERR_NO_MEMORY, "no memory to open the index '%s'", path);
    atomic_init(&g->refs, 1);
    int rc = map_file(g, path, err);
    if (rc == 0)
        rc = verify(g, path, err);
    if (rc < 0) {
        seg_unref(g);
        return rc;
    }
    g->average = seg_average(g->header->chunk_terms_total, g->chunks_count);
    *ret = g;
    return 0;
}

struct segment *seg_ref(struct segment *g)
{
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void seg_unref(struct segment *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (g->map)
        munmap((void *)(uintptr_t)g->map, g->map_len);
    mem_free(g);
}

bool segment_find_path(const struct segment *g, struct span path, uint32_t *ret)
{
    uint64_t hash = hash_stable(path.ptr, path.len);
    uint32_t lo = 0, hi = g->files_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (g->paths[mid].hash < hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < g->files_count && g->paths[lo].hash == hash; lo++) {
        if (span_eq(segment_path(g, g->paths[lo].file), path)) {
            *ret = g->paths[lo].file;
            return true;
        }
    }
    return false;
}

uint32_t segment_find_term(const struct segment *g, struct span term)
{
    uint32_t lo = 0, hi = g->terms_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct seg_term *t = &g->terms[mid];
        int c = span_cmp(
            span_of(g->term_strings + t->string_offset, t[1].string_offset - t->string_offset),
            term);
        if (c == 0)
            return mid;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return UINT32_MAX;
}
