#include "index/lexical.h"

#include "base/fault.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "index/build_priv.h"
#include "index/index_priv.h"
#include "text/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MEMORY_DEFAULT (64u << 20)
#define PARTIAL_SUFFIX ".partial"

static int no_memory(struct err *err)
{
    err_set(err, ERR_NO_MEMORY, "no memory to build the index");
    return -ERR_NO_MEMORY;
}

static int open_sections(struct index_builder *b, struct err *err)
{
    int fd = open(b->partial, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(err, errno, "cannot create '%s'", b->partial);
    int rc = section_init(&b->sections[SEG_TEXT], fd, err);
    for (int i = SEG_STRINGS; rc == 0 && i < SEG_SECTIONS; i++) {
        fd = temp_open(b->partial, err);
        rc = fd < 0 ? fd : section_init(&b->sections[i], fd, err);
    }
    if (rc == 0 && lseek(b->sections[SEG_TEXT].fd, SEG_HEADER_BYTES, SEEK_SET) < 0)
        rc = err_errno(err, errno, "cannot seek in '%s'", b->partial);
    return rc;
}

int index_builder_new(const char *path, const struct index_build_options *options,
                      struct index_builder **ret, struct err *err)
{
    const char *revision = options->revision ? options->revision : "";
    const char *fingerprint = options->fingerprint ? options->fingerprint : "";
    if (strlen(revision) >= SEG_NAME_BYTES || strlen(fingerprint) >= SEG_NAME_BYTES)
        return err_set(err, ERR_INVALID, "revision or fingerprint is longer than %u bytes",
                       SEG_NAME_BYTES - 1);
    size_t n = strlen(path);
    if (n > SEG_PATH_MAX)
        return err_set(err, ERR_INVALID, "path of the index is longer than %u bytes", SEG_PATH_MAX);
    struct index_builder *b = mem_try(sizeof *b);
    if (!b)
        return no_memory(err);
    b->analyzer = options->analyzer;
    memcpy(b->revision, revision, strlen(revision));
    memcpy(b->fingerprint, fingerprint, strlen(fingerprint));
    b->path = mem_try_strndup(path, n);
    b->partial = mem_try(n + sizeof PARTIAL_SUFFIX);
    int rc = b->path && b->partial ? 0 : no_memory(err);
    if (rc == 0) {
        snprintf(b->partial, n + sizeof PARTIAL_SUFFIX, "%s%s", path, PARTIAL_SUFFIX);
        rc = open_sections(b, err);
    }
    if (rc == 0)
        rc = runs_init(&b->runs, b->partial,
                       options->memory_bytes ? options->memory_bytes : MEMORY_DEFAULT, err);
    if (rc < 0) {
        index_builder_free(b);
        return rc;
    }
    *ret = b;
    return 0;
}

void index_builder_free(struct index_builder *b)
{
    if (!b)
        return;
    if (b->partial && b->sections[SEG_TEXT].fd > 0 && !b->is_published)
        unlink(b->partial);
    for (int i = 0; i < SEG_SECTIONS; i++)
        section_done(&b->sections[i]);
    runs_done(&b->runs);
    for (size_t i = 0; i < PROSE_LANGUAGES; i++)
        analyst_free(b->analysts[i]);
    mem_free(b->lengths.ptr);
    mem_free(b->first_chunks.ptr);
    mem_free(b->paths.ptr);
    mem_free(b->path);
    mem_free(b->partial);
    mem_free(b->last_path);
    mem_free(b);
}

static uint32_t put_string(struct index_builder *b, struct span s)
{
    uint32_t at = (uint32_t)b->sections[SEG_STRINGS].len;
    section_put(&b->sections[SEG_STRINGS], s.ptr, s.len);
    return at;
}

static uint32_t put_repeated(struct index_builder *b, struct span s, char *last, size_t *last_len,
                             uint32_t *at)
{
    if (*last_len != s.len || (s.len && memcmp(last, s.ptr, s.len) != 0)) {
        *at = put_string(b, s);
        if (s.len)
            memcpy(last, s.ptr, s.len);
        *last_len = s.len;
    }
    return *at;
}

static bool put_u32(struct pool *p, uint32_t v)
{
    void *at = pool_add(p, sizeof v);
    if (at)
        memcpy(at, &v, sizeof v);
    return at != NULL;
}

static void take_term(void *ctx, struct span term, uint32_t position)
{
    struct index_builder *b = ctx;
    (void)position;
    b->chunk_terms += b->weight;
    runs_add(&b->runs, term, b->weight);
}

static struct span cut(struct span s, size_t max)
{
    return span_first(s, utf8_cut(s, max));
}

/* Everything of a chunk but its terms. */
static int put_chunk(struct index_builder *b, const struct index_chunk_in *in, uint32_t terms)
{
    struct span symbol = cut(in->symbol, SEG_SYMBOL_MAX),
                kind = cut(in->symbol_kind, SEG_SYMBOL_KIND_MAX);
    struct seg_chunk c = {
        .file = b->files_count,
        .start_line = in->start_line,
        .end_line = in->end_line,
        .text_start = (uint32_t)in->start,
        .text_len = (uint32_t)in->len,
        .symbol_offset = put_string(b, symbol),
        .kind_offset = put_repeated(b, kind, b->last_kind_text, &b->last_kind_len, &b->last_kind),
        .terms_count = terms,
        .symbol_len = (uint16_t)symbol.len,
        .kind_len = (uint8_t)kind.len,
        .kind = (uint8_t)(in->kind | (in->is_test ? SEG_KIND_TEST : 0)),
    };
    section_put(&b->sections[SEG_CHUNKS], &c, sizeof c);
    b->chunks_count++;
    b->chunk_terms_total += terms;
    return put_u32(&b->lengths, terms) ? 0 : -ERR_NO_MEMORY;
}

#define KIND_PROSE 1 /* enum chunk_kind of ingest, which this module does not know */

static bool is_prose(const struct index_builder *b, const struct index_file_in *file)
{
    return b->analyzer == ANALYZER_PROSE ||
           (file->chunk_count && file->chunks[0].kind == KIND_PROSE);
}

/* The language and the scripts of a file, and who reads it. */
static int choose_analyst(struct index_builder *b, const struct index_file_in *file)
{
    enum prose_language language = PROSE_ENGLISH;
    uint32_t scripts = script_set(file->text);
    b->prose = 0;
    if (is_prose(b, file)) {
        language = prose_language_guess(file->text);
        b->prose = (uint8_t)(1 + language);
    }
    b->scripts |= scripts;
    b->analyst = NULL;
    if (language == PROSE_ENGLISH && !(scripts & SCRIPT_BIT(SCRIPT_SOUTHEAST_ASIA)))
        return 0;
    int rc = b->analysts[language]
                 ? 0
                 : analyst_new(b->analyzer, PROSE_BIT(language), &b->analysts[language]);
    b->analyst = b->analysts[language];
    if (b->analyst)
        analyst_drop(b->analyst, language);
    return rc;
}

static void read_terms(struct index_builder *b, struct span text)
{
    if (b->analyst)
        analyst_read(b->analyst, text, take_term, b);
    else
        analyze(b->analyzer, text, take_term, b);
}

static int add_chunk(struct index_builder *b, const struct index_file_in *file, uint32_t number)
{
    const struct index_chunk_in *in = &file->chunks[number];
    b->chunk_terms = 0;
    b->weight = 1;
    read_terms(b, span_of(file->text.ptr + in->start, in->len));
    b->weight = seg_symbol_weight(b->analyzer);
    read_terms(b, in->symbol);
    b->weight = SEG_PATH_WEIGHT;
    analyze(b->analyzer, file->path, take_term, b);
    runs_end_chunk(&b->runs, number);
    return put_chunk(b, in, b->chunk_terms);
}

static int check_room(const struct index_builder *b, const struct index_file_in *file,
                      struct err *err)
{
    if (file->path.len > SEG_PATH_MAX)
        return err_set(err, ERR_TOO_LARGE, "path of a file is longer than %u bytes", SEG_PATH_MAX);
    if (file->text.len >= UINT32_MAX || file->chunk_count >= UINT32_MAX - b->chunks_count)
        return err_set(err, ERR_TOO_LARGE, "file '" SPAN_FMT "' is too large for the index",
                       SPAN_ARG(file->path));
    if (b->sections[SEG_STRINGS].len > UINT32_MAX / 2)
        return err_set(err, ERR_TOO_LARGE, "too many names for one index");
    return 0;
}

static int check_file(const struct index_builder *b, const struct index_file_in *file,
                      struct err *err)
{
    int rc = check_room(b, file, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < file->chunk_count; i++) {
        const struct index_chunk_in *c = &file->chunks[i];
        if (c->start > file->text.len || c->len > file->text.len - c->start)
            return err_set(err, ERR_INVALID,
                           "chunk %zu of '" SPAN_FMT "' is outside the file's text", i,
                           SPAN_ARG(file->path));
    }
    return 0;
}

static int put_file(struct index_builder *b, const struct index_file_in *file, uint64_t text_offset,
                    uint32_t first_chunk, uint32_t terms_count)
{
    struct span language = cut(file->language, SEG_LANGUAGE_MAX);
    struct seg_file f = {
        .text_offset = text_offset,
        .size = file->size,
        .mtime_ns = file->mtime_ns,
        .text_len = (uint32_t)file->text.len,
        .path_offset = put_string(b, file->path),
        .path_len = (uint32_t)file->path.len,
        .language_offset = put_repeated(b, language, b->last_language_text, &b->last_language_len,
                                        &b->last_language),
        .first_chunk = first_chunk,
        .chunk_count = (uint32_t)file->chunk_count,
        .terms_count = terms_count,
        .language_len = (uint16_t)language.len,
        .is_test = file->is_test,
        .prose = b->prose,
        .stamp = file->stamp,
    };
    memcpy(f.hash, file->hash, sizeof f.hash);
    section_put(&b->sections[SEG_FILES], &f, sizeof f);
    struct seg_path *p = pool_add(&b->paths, sizeof *p);
    if (!p || !put_u32(&b->first_chunks, first_chunk))
        return -ERR_NO_MEMORY;
    *p = (struct seg_path){hash_stable(file->path.ptr, file->path.len), b->files_count, 0};
    return 0;
}

/* What ends a file, put from outside or copied. */
static int end_file(struct index_builder *b, int rc, uint64_t terms, struct err *err)
{
    b->file_terms_total += terms;
    b->files_count++;
    if (rc < 0 || b->runs.failed) {
        b->is_broken = true;
        return no_memory(err);
    }
    for (int i = 0; i < SEG_SECTIONS; i++) {
        if (b->sections[i].error) {
            b->is_broken = true;
            return err_errno(err, b->sections[i].error, "cannot write the index '%s'", b->path);
        }
    }
    return 0;
}

int index_builder_add(struct index_builder *b, const struct index_file_in *file, struct err *err)
{
    int rc = check_file(b, file, err);
    if (rc < 0)
        return rc; /* nothing taken: the caller may go on without this file */
    uint64_t text_offset = b->sections[SEG_TEXT].len, before = b->chunk_terms_total;
    uint32_t first_chunk = b->chunks_count;
    section_put(&b->sections[SEG_TEXT], file->text.ptr, file->text.len);
    rc = choose_analyst(b, file);
    for (uint32_t i = 0; rc == 0 && i < file->chunk_count; i++)
        rc = add_chunk(b, file, i);
    uint64_t terms = b->chunk_terms_total - before;
    if (rc == 0)
        rc = put_file(b, file, text_offset, first_chunk,
                      terms > UINT32_MAX ? UINT32_MAX : (uint32_t)terms);
    runs_end_file(&b->runs, b->files_count);
    rc = end_file(b, rc, terms, err);
    if (rc < 0 || !runs_is_full(&b->runs))
        return rc;
    rc = runs_spill(&b->runs, err);
    b->is_broken |= rc < 0;
    return rc;
}

static int compare_paths(const void *a, const void *b)
{
    const struct seg_path *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->file < y->file ? -1 : x->file > y->file;
}

/* Appends a finished section to the segment and fills its reference. */
static int append_section(struct index_builder *b, int i, uint64_t *offset,
                          struct seg_section_ref *ref)
{
    static const char zeros[SEG_ALIGN];
    struct section *s = &b->sections[i];
    int out = b->sections[SEG_TEXT].fd;
    section_flush(s);
    if (s->error)
        return -s->error;
    *ref = (struct seg_section_ref){.offset = *offset, .len = s->len, .crc = s->crc};
    uint64_t left = i == SEG_TEXT ? 0 : s->len;
    if (left && lseek(s->fd, 0, SEEK_SET) < 0)
        return -errno;
    while (left > 0) {
        size_t want = left < (256u << 10) ? (size_t)left : (256u << 10);
        ssize_t n = read(s->fd, s->buf, want);
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        int rc = write_all(out, s->buf, (size_t)n);
        if (rc < 0)
            return rc;
        left -= (uint64_t)n;
    }
    uint64_t pad = (SEG_ALIGN - s->len % SEG_ALIGN) % SEG_ALIGN;
    *offset += s->len + pad;
    return write_all(out, zeros, (size_t)pad);
}

static int write_segment(struct index_builder *b)
{
    union {
        struct seg_header h;
        char bytes[SEG_HEADER_BYTES];
    } page = {0};
    struct seg_header *h = &page.h;
    memcpy(h->magic, SEG_MAGIC, sizeof h->magic);
    h->version = SEG_VERSION;
    h->analyzer_version = ANALYZER_VERSION;
    h->analyzer = (uint32_t)b->analyzer;
    h->scripts = b->scripts;
    h->chunk_terms_total = b->chunk_terms_total;
    h->file_terms_total = b->file_terms_total;
    memcpy(h->revision, b->revision, sizeof h->revision);
    memcpy(h->fingerprint, b->fingerprint, sizeof h->fingerprint);
    uint64_t offset = SEG_HEADER_BYTES;
    for (int i = 0; i < SEG_SECTIONS; i++) {
        int rc = append_section(b, i, &offset, &h->sections[i]);
        if (rc < 0)
            return rc;
    }
    h->file_bytes = offset;
    h->crc = crc32c(0, h, offsetof(struct seg_header, crc));
    int fd = b->sections[SEG_TEXT].fd;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    int rc = write_all(fd, &page, sizeof page);
    if (rc < 0)
        return rc;
    return fault_hit(FAULT_SYNC) ? -EIO : fsync(fd) < 0 ? -errno : 0;
}

int builder_copy(struct index_builder *b, const struct index *from, uint32_t file, struct err *err)
{
    struct index_file_view v;
    if (!index_file(from, file, &v))
        return err_set(err, ERR_INVALID, "no such file in the index");
    struct index_file_in in = {.path = v.path,
                               .language = v.language,
                               .text = v.text,
                               .size = v.size,
                               .mtime_ns = v.mtime_ns,
                               .stamp = v.stamp,
                               .is_test = v.is_test,
                               .chunk_count = v.chunk_count};
    memcpy(in.hash, v.hash, sizeof in.hash);
    int rc = check_room(b, &in, err);
    if (rc < 0)
        return rc;
    struct file_ref at = index_locate(from, file);
    const struct segment *g = from->parts[at.part].seg;
    b->prose = g->files[at.file].prose;
    b->scripts |= script_set(v.text);
    uint64_t text_offset = b->sections[SEG_TEXT].len, before = b->chunk_terms_total;
    uint32_t first_chunk = b->chunks_count;
    section_put(&b->sections[SEG_TEXT], v.text.ptr, v.text.len);
    for (uint32_t i = 0; rc == 0 && i < v.chunk_count; i++) {
        const struct seg_chunk *c = &g->chunks[g->files[at.file].first_chunk + i];
        struct index_chunk_in chunk = {
            .start_line = c->start_line,
            .end_line = c->end_line,
            .start = c->text_start,
            .len = c->text_len,
            .symbol = span_of(g->strings + c->symbol_offset, c->symbol_len),
            .symbol_kind = span_of(g->strings + c->kind_offset, c->kind_len),
            .kind = c->kind & (uint8_t)~SEG_KIND_TEST,
            .is_test = c->kind & SEG_KIND_TEST};
        rc = put_chunk(b, &chunk, c->terms_count);
    }
    uint64_t terms = b->chunk_terms_total - before;
    if (rc == 0)
        rc = put_file(b, &in, text_offset, first_chunk,
                      terms > UINT32_MAX ? UINT32_MAX : (uint32_t)terms);
    return end_file(b, rc, terms, err);
}

int builder_check_order(struct index_builder *b, struct span path, struct err *err)
{
    if (path.len > SEG_PATH_MAX)
        return 0; /* refused by whoever adds it */
    if (!b->last_path)
        b->last_path = mem_try(SEG_PATH_MAX);
    if (!b->last_path)
        return no_memory(err);
    if (b->files_count && span_cmp(path, span_of(b->last_path, b->last_path_len)) <= 0)
        return err_set(err, ERR_INVALID, "'" SPAN_FMT "' is out of order", SPAN_ARG(path));
    memcpy(b->last_path, path.ptr, path.len);
    b->last_path_len = path.len;
    return 0;
}

void builder_begin_terms(struct index_builder *b, struct terms *ret)
{
    *ret = (struct terms){
        .sections = b->sections,
        .lengths = (const uint32_t *)(const void *)b->lengths.ptr,
        .first_chunk = (const uint32_t *)(const void *)b->first_chunks.ptr,
        .average = seg_average(b->chunk_terms_total, b->chunks_count),
    };
}

int builder_publish(struct index_builder *b, struct err *err)
{
    if (b->files_count)
        qsort(b->paths.ptr, b->files_count, sizeof(struct seg_path), compare_paths);
    section_put(&b->sections[SEG_PATHS], b->paths.ptr, b->paths.len);
    int rc = write_segment(b);
    if (rc == 0)
        rc = file_publish(b->partial, b->path, &b->is_published);
    return rc < 0 ? err_errno(err, -rc, "cannot write the index '%s'", b->path) : 0;
}

int index_builder_finish(struct index_builder *b, struct err *err)
{
    if (b->is_broken)
        return err_set(err, ERR_INTERNAL,
                       "the index '%s' is incomplete: adding a file failed before", b->path);
    int rc = runs_spill(&b->runs, err);
    if (rc < 0)
        return rc;
    struct terms terms;
    builder_begin_terms(b, &terms);
    rc = merge_runs(&b->runs, &terms, err);
    return rc < 0 ? rc : builder_publish(b, err);
}
