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

static uint64_t section_len(const struct index *ix, enum seg_section s)
{
    return ix->header->sections[s].len;
}

static const void *section_at(const struct index *ix, enum seg_section s)
{
    return ix->map + ix->header->sections[s].offset;
}

static int check_header(const struct index *ix, const char *path, struct err *err)
{
    const struct seg_header *h = ix->header;
    if (ix->map_len < SEG_HEADER_BYTES || memcmp(h->magic, SEG_MAGIC, sizeof h->magic) != 0)
        return corrupt(err, path, "not an index file");
    if (h->crc != crc32c(0, h, offsetof(struct seg_header, crc)))
        return corrupt(err, path, "checksum of the header");
    if (h->version != SEG_VERSION || h->analyzer_version != ANALYZER_VERSION ||
        h->analyzer > ANALYZER_CODE) {
        err_set(err, ERR_CORRUPT, "index '%s' was written by another version", path);
        err_hint(err, "index the source again");
        return -ERR_CORRUPT;
    }
    if (h->file_bytes != ix->map_len)
        return corrupt(err, path, "its length is not what the header says");
    if (!memchr(h->revision, 0, sizeof h->revision) ||
        !memchr(h->fingerprint, 0, sizeof h->fingerprint))
        return corrupt(err, path, "revision in the header");
    return 0;
}

static int check_sections(const struct index *ix, const char *path, struct err *err)
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
        const struct seg_section_ref *s = &ix->header->sections[i];
        if (s->offset % SEG_ALIGN || s->offset < SEG_HEADER_BYTES ||
            !in_range(s->offset, s->len, ix->map_len) || s->len % record[i] ||
            s->len / record[i] > (record[i] == 1 ? UINT64_MAX : UINT32_MAX) ||
            crc32c(0, ix->map + s->offset, s->len) != s->crc)
            return corrupt(err, path, section_names[i]);
    }
    return 0;
}

static void set_tables(struct index *ix)
{
    ix->text = section_at(ix, SEG_TEXT);
    ix->strings = section_at(ix, SEG_STRINGS);
    ix->term_strings = section_at(ix, SEG_TERM_STRINGS);
    ix->files = section_at(ix, SEG_FILES);
    ix->chunks = section_at(ix, SEG_CHUNKS);
    ix->paths = section_at(ix, SEG_PATHS);
    ix->terms = section_at(ix, SEG_TERMS);
    ix->entries = section_at(ix, SEG_ENTRIES);
    ix->lists = section_at(ix, SEG_LISTS);
    ix->lists_len = section_len(ix, SEG_LISTS);
    ix->files_count = (uint32_t)(section_len(ix, SEG_FILES) / sizeof *ix->files);
    ix->chunks_count = (uint32_t)(section_len(ix, SEG_CHUNKS) / sizeof *ix->chunks);
    ix->entries_count = (uint32_t)(section_len(ix, SEG_ENTRIES) / sizeof *ix->entries);
}

static bool files_are_sound(struct index *ix)
{
    uint64_t text_len = section_len(ix, SEG_TEXT), strings_len = section_len(ix, SEG_STRINGS),
             chunk = 0;
    for (uint32_t i = 0; i < ix->files_count; i++) {
        const struct seg_file *f = &ix->files[i];
        if (!in_range(f->text_offset, f->text_len, text_len) ||
            !in_range(f->path_offset, f->path_len, strings_len) ||
            !in_range(f->language_offset, f->language_len, strings_len) ||
            f->first_chunk != chunk || !in_range(chunk, f->chunk_count, ix->chunks_count))
            return false;
        chunk += f->chunk_count;
        if (f->chunk_count > ix->file_chunks_max)
            ix->file_chunks_max = f->chunk_count;
    }
    return chunk == ix->chunks_count;
}

static bool chunks_are_sound(const struct index *ix)
{
    uint64_t strings_len = section_len(ix, SEG_STRINGS);
    for (uint32_t i = 0; i < ix->chunks_count; i++) {
        const struct seg_chunk *c = &ix->chunks[i];
        if (c->file >= ix->files_count)
            return false;
        const struct seg_file *f = &ix->files[c->file];
        if (i < f->first_chunk || i - f->first_chunk >= f->chunk_count ||
            !in_range(c->text_start, c->text_len, f->text_len) ||
            !in_range(c->symbol_offset, c->symbol_len, strings_len) ||
            !in_range(c->kind_offset, c->kind_len, strings_len))
            return false;
    }
    return true;
}

static bool paths_are_sound(const struct index *ix)
{
    if (section_len(ix, SEG_PATHS) / sizeof *ix->paths != ix->files_count)
        return false;
    for (uint32_t i = 0; i < ix->files_count; i++) {
        if (ix->paths[i].file >= ix->files_count)
            return false;
    }
    return true;
}

/*
 * Ranges of every term follow each other; what the entries name exists. Lists are checked where
 * they are decoded.
 */
static bool terms_are_sound(struct index *ix)
{
    uint64_t count = section_len(ix, SEG_TERMS) / sizeof *ix->terms;
    if (count == 0)
        return false;
    ix->terms_count = (uint32_t)(count - 1);
    const struct seg_term *t = ix->terms, *end = &ix->terms[ix->terms_count];
    if (end->first_entry != ix->entries_count || end->list_offset != ix->lists_len ||
        end->string_offset != section_len(ix, SEG_TERM_STRINGS))
        return false;
    for (; t < end; t++) {
        if (t->first_entry > t[1].first_entry || t->list_offset > t[1].list_offset ||
            t->string_offset > t[1].string_offset)
            return false;
        uint64_t list_len = t[1].list_offset - t->list_offset;
        for (uint32_t i = t->first_entry; i < t[1].first_entry && i < ix->entries_count; i++) {
            const struct seg_entry *e = &ix->entries[i];
            if (e->file >= ix->files_count || (i > t->first_entry && e->file <= e[-1].file))
                return false;
            if (e->where & SEG_INLINE
                    ? (e->where & ~SEG_INLINE) >> 16 >= ix->files[e->file].chunk_count
                    : e->where >= list_len)
                return false;
        }
    }
    return true;
}

static int verify(struct index *ix, const char *path, struct err *err)
{
    int rc = check_header(ix, path, err);
    if (rc == 0)
        rc = check_sections(ix, path, err);
    if (rc < 0)
        return rc;
    set_tables(ix);
    if (!files_are_sound(ix))
        return corrupt(err, path, "file table");
    if (!chunks_are_sound(ix))
        return corrupt(err, path, "chunk table");
    if (!paths_are_sound(ix))
        return corrupt(err, path, "path table");
    if (!terms_are_sound(ix))
        return corrupt(err, path, "term table");
    return 0;
}

static int set_norms(struct index *ix, struct err *err)
{
    ix->average = seg_average(ix->header->chunk_terms_total, ix->chunks_count);
    float average = seg_average(ix->header->file_terms_total, ix->files_count);
    ix->file_norms = mem_try_array(ix->files_count, sizeof *ix->file_norms);
    if (!ix->file_norms)
        return err_set(err, ERR_NO_MEMORY, "no memory to open an index of %u files",
                       ix->files_count);
    for (uint32_t i = 0; i < ix->files_count; i++)
        ix->file_norms[i] = seg_norm(ix->files[i].terms_count, average);
    return 0;
}

static int map_file(struct index *ix, const char *path, struct err *err)
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
            ix->map = p;
            ix->map_len = (size_t)st.st_size;
            ix->header = p;
        }
    }
    close(fd);
    return rc;
}

int index_open(const char *path, struct index **ret, struct err *err)
{
    struct index *ix = mem_try(sizeof *ix);
    if (!ix)
        return err_set(err, ERR_NO_MEMORY, "no memory to open the index '%s'", path);
    atomic_init(&ix->refs, 1);
    int rc = map_file(ix, path, err);
    if (rc == 0)
        rc = verify(ix, path, err);
    if (rc == 0)
        rc = set_norms(ix, err);
    if (rc < 0) {
        index_unref(ix);
        return rc;
    }
    *ret = ix;
    return 0;
}

struct index *index_ref(struct index *ix)
{
    atomic_fetch_add_explicit(&ix->refs, 1, memory_order_relaxed);
    return ix;
}

void index_unref(struct index *ix)
{
    if (!ix || atomic_fetch_sub_explicit(&ix->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (ix->map)
        munmap((void *)(uintptr_t)ix->map, ix->map_len);
    mem_free(ix->file_norms);
    mem_free(ix);
}

void index_stats(const struct index *ix, struct index_stats *ret)
{
    *ret = (struct index_stats){
        .files = ix->files_count,
        .chunks = ix->chunks_count,
        .text_bytes = section_len(ix, SEG_TEXT),
        .terms = ix->terms_count,
        .revision = ix->header->revision,
        .fingerprint = ix->header->fingerprint,
        .analyzer = (enum analyzer)ix->header->analyzer,
    };
}

bool index_file(const struct index *ix, uint32_t file, struct index_file_view *ret)
{
    if (file >= ix->files_count)
        return false;
    const struct seg_file *f = &ix->files[file];
    *ret = (struct index_file_view){
        .id = file,
        .path = span_of(ix->strings + f->path_offset, f->path_len),
        .language = span_of(ix->strings + f->language_offset, f->language_len),
        .text = span_of(ix->text + f->text_offset, f->text_len),
        .size = f->size,
        .mtime_ns = f->mtime_ns,
        .is_test = f->is_test != 0,
        .first_chunk = f->first_chunk,
        .chunk_count = f->chunk_count,
    };
    return true;
}

bool index_file_by_path(const struct index *ix, struct span path, struct index_file_view *ret)
{
    uint64_t hash = hash_stable(path.ptr, path.len);
    uint32_t lo = 0, hi = ix->files_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (ix->paths[mid].hash < hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < ix->files_count && ix->paths[lo].hash == hash; lo++) {
        if (index_file(ix, ix->paths[lo].file, ret) && span_eq(ret->path, path))
            return true;
    }
    return false;
}

bool index_chunk(const struct index *ix, uint32_t chunk, struct index_chunk_view *ret)
{
    if (chunk >= ix->chunks_count)
        return false;
    const struct seg_chunk *c = &ix->chunks[chunk];
    const struct seg_file *f = &ix->files[c->file];
    *ret = (struct index_chunk_view){
        .id = chunk,
        .file = c->file,
        .start_line = c->start_line,
        .end_line = c->end_line,
        .path = span_of(ix->strings + f->path_offset, f->path_len),
        .symbol = span_of(ix->strings + c->symbol_offset, c->symbol_len),
        .symbol_kind = span_of(ix->strings + c->kind_offset, c->kind_len),
        .language = span_of(ix->strings + f->language_offset, f->language_len),
        .text = span_of(ix->text + f->text_offset + c->text_start, c->text_len),
        .kind = c->kind & (uint8_t)~SEG_KIND_TEST,
        .is_test = f->is_test != 0 || (c->kind & SEG_KIND_TEST),
    };
    return true;
}

uint32_t index_find_term(const struct index *ix, struct span term)
{
    uint32_t lo = 0, hi = ix->terms_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct seg_term *t = &ix->terms[mid];
        int c = span_cmp(
            span_of(ix->term_strings + t->string_offset, t[1].string_offset - t->string_offset),
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
