/*
 * The manifest: which segments make the snapshot, and which of their files are replaced. It is
 * replaced whole, by rename, so that a kill leaves the old or the new one. What it does not name is
 * a left-over.
 */
#include "base/fault.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "index/build_priv.h"
#include "index/index_priv.h"
#include "index/update.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARTIAL_SUFFIX ".partial"
#define DAMAGE_TEXT_BYTES 300u

/* A read manifest; its tables point into bytes. */
struct manifest {
    uint8_t *bytes; /* owned */
    size_t len;
    const struct man_header *head;
    const struct man_part *parts;
    const uint32_t *dead;
    const struct seg_touch *touches;
};

static int corrupt(struct err *err, const char *path, const char *what)
{
    err_set(err, ERR_CORRUPT, "index '%s' is damaged: %s", path, what);
    err_hint(err, "index the source again");
    return -ERR_CORRUPT;
}

int manifest_is(const char *path, struct err *err)
{
    char magic[8];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot open the index '%s'", path);
    ssize_t n = fault_hit(FAULT_READ) ? (errno = EIO, -1) : read(fd, magic, sizeof magic);
    int rc = n < 0 ? err_errno(err, errno, "cannot read the index '%s'", path)
                   : n == (ssize_t)sizeof magic && memcmp(magic, MAN_MAGIC, sizeof magic) == 0;
    close(fd);
    return rc;
}

/* ---- reading ---- */

static int read_bytes(struct manifest *m, const char *path, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    if (fd < 0)
        return err_errno(err, errno, "cannot open the index '%s'", path);
    if (fstat(fd, &st) < 0) {
        rc = err_errno(err, errno, "cannot read the index '%s'", path);
    } else if (st.st_size < (off_t)sizeof *m->head ||
               st.st_size > (off_t)LIMIT_INDEX_MANIFEST_BYTES) {
        rc = corrupt(err, path, "its length cannot be");
    } else {
        size_t size = (size_t)st.st_size;
        m->bytes = mem_try(size);
        while (m->bytes && rc == 0 && m->len < size) {
            ssize_t n = fault_hit(FAULT_READ) ? (errno = EIO, -1)
                                              : read(fd, m->bytes + m->len, size - m->len);
            if (n <= 0)
                rc = err_errno(err, n < 0 ? errno : EIO, "cannot read the index '%s'", path);
            else
                m->len += (size_t)n;
        }
        if (!m->bytes) {
            err_set(err, ERR_NO_MEMORY, "no memory to open the index '%s'", path);
            rc = -ERR_NO_MEMORY;
        }
    }
    close(fd);
    return rc;
}

static bool take_room(size_t *at, size_t len, size_t count, size_t size)
{
    size_t bytes;
    if (!mul_size(count, size, &bytes) || bytes > len - *at)
        return false;
    *at += bytes;
    return true;
}

static bool is_segment_name(const char name[SEG_FILE_NAME_BYTES])
{
    if (!memchr(name, 0, SEG_FILE_NAME_BYTES))
        return false;
    struct span s = span_str(name);
    return s.len > 4 && name[0] != '.' && span_find_char(s, '/') < 0 &&
           span_ends(s, SPAN_LIT(INDEX_SEGMENT_SUFFIX));
}

/* Sets the tables; false when something does not add up. */
static bool lay_out(struct manifest *m)
{
    const struct man_header *h = m->head;
    size_t at = sizeof *h, dead = 0, touches = 0;
    if (h->parts_count > LIMIT_INDEX_SEGMENTS_COUNT || h->analyzer > ANALYZER_CODE ||
        !memchr(h->revision, 0, sizeof h->revision) ||
        !memchr(h->fingerprint, 0, sizeof h->fingerprint) ||
        !memchr(h->recipe, 0, sizeof h->recipe))
        return false;
    m->parts = (const struct man_part *)(const void *)(m->bytes + at);
    if (!take_room(&at, m->len, h->parts_count, sizeof *m->parts))
        return false;
    for (uint32_t i = 0; i < h->parts_count; i++) {
        if (!is_segment_name(m->parts[i].name))
            return false;
        dead += m->parts[i].dead_count;
        touches += m->parts[i].touch_count;
    }
    m->dead = (const uint32_t *)(const void *)(m->bytes + at);
    if (!take_room(&at, m->len, dead + dead % 2, sizeof *m->dead))
        return false;
    m->touches = (const struct seg_touch *)(const void *)(m->bytes + at);
    return take_room(&at, m->len, touches, sizeof *m->touches) && at == m->len;
}

static int check(struct manifest *m, const char *path, struct err *err)
{
    const struct man_header *h = m->head;
    if (!h || memcmp(h->magic, MAN_MAGIC, sizeof h->magic) != 0 ||
        h->crc != crc32c(0, h, offsetof(struct man_header, crc)))
        return corrupt(err, path, "checksum of the manifest's head");
    if (h->version != MAN_VERSION) {
        err_set(err, ERR_UNSUPPORTED, "index '%s' was written by another version", path);
        err_hint(err, "index the source again");
        return -ERR_UNSUPPORTED;
    }
    if (h->file_bytes != m->len || h->body_crc != crc32c(0, h + 1, m->len - sizeof *h))
        return corrupt(err, path, "checksum of the manifest");
    return lay_out(m) ? 0 : corrupt(err, path, "tables of the manifest");
}

/* ---- damage ---- */

struct span index_dir_of(const char *path)
{
    struct span s = span_str(path);
    return span_first(s, (size_t)(span_rfind_char(s, '/') + 1));
}

struct span index_stem_of(const char *manifest_path)
{
    struct span s = span_skip(span_str(manifest_path), index_dir_of(manifest_path).len);
    ptrdiff_t dot = span_rfind_char(s, '.');
    return dot > 0 ? span_first(s, (size_t)dot) : s;
}

/* Renames it beside the manifest; the name says of what it was. */
static void set_aside(const char *manifest_path, const char *path, const char *suffix)
{
    char to[SEG_PATH_MAX + 32];
    struct span dir = index_dir_of(manifest_path), stem = index_stem_of(manifest_path);
    for (int n = 1; n <= INDEX_DAMAGED_KEPT_COUNT; n++) {
        int len = snprintf(to, sizeof to, SPAN_FMT SPAN_FMT "%s.damaged-%d", SPAN_ARG(dir),
                           SPAN_ARG(stem), suffix, n);
        if (len < 0 || (size_t)len >= sizeof to)
            return;
        if (n == INDEX_DAMAGED_KEPT_COUNT || access(to, F_OK) < 0)
            break;
    }
    (void)rename(path, to); /* it may have been set aside by another reader at the same time */
}

int segment_path_of(const char *manifest, const char *name, char ret[SEG_PATH_MAX + 80],
                    struct err *err)
{
    struct span dir = index_dir_of(manifest);
    int n = snprintf(ret, SEG_PATH_MAX + 80, SPAN_FMT "%s", SPAN_ARG(dir), name);
    return n > 0 && n < (int)SEG_PATH_MAX + 80
               ? 0
               : err_set(err, ERR_INVALID, "path of the index is too long");
}

void segment_remove(const char *manifest, const char *name)
{
    char path[SEG_PATH_MAX + 80];
    if (segment_path_of(manifest, name, path, NULL) == 0)
        (void)unlink(path); /* whoever has it mapped keeps it; what stays is swept at start */
}

int segment_new_name(const char *manifest, char ret[SEG_FILE_NAME_BYTES], struct err *err)
{
    char unique[INDEX_RANDOM_CHARS + 1];
    struct span stem = index_stem_of(manifest);
    random_id(unique, INDEX_RANDOM_CHARS);
    int n = snprintf(ret, SEG_FILE_NAME_BYTES, SPAN_FMT "-%s" INDEX_SEGMENT_SUFFIX, SPAN_ARG(stem),
                     unique);
    return n > 0 && n < (int)SEG_FILE_NAME_BYTES
               ? 0
               : err_set(err, ERR_INVALID, "name of the index is too long");
}

/* ---- opening ---- */

struct opening {
    const struct manifest *m;
    const char *path;
    struct part parts[LIMIT_INDEX_SEGMENTS_COUNT];
    unsigned count, damaged;
    struct err first; /* damage */
};

static int open_part(struct opening *o, const struct man_part *from, const uint32_t *dead,
                     const struct seg_touch *touches, struct err *err)
{
    char path[SEG_PATH_MAX + 80];
    struct err why = {0};
    struct part *p = &o->parts[o->count];
    int rc = segment_path_of(o->path, from->name, path, err);
    if (rc < 0)
        return rc;
    *p = (struct part){.dead = (uint32_t *)(uintptr_t)dead,
                       .dead_count = from->dead_count,
                       .touches = (struct seg_touch *)(uintptr_t)touches,
                       .touch_count = from->touch_count};
    memcpy(p->name, from->name, sizeof p->name);
    rc = seg_open(path, &p->seg, &why);
    if (rc == 0 &&
        (p->seg->map_len != from->file_bytes || p->seg->header->crc != from->segment_crc ||
         p->seg->files_count != from->files_count ||
         p->seg->header->analyzer != o->m->head->analyzer))
        rc = corrupt(&why, path, "it is not the file that the manifest names");
    if (rc == 0) {
        o->count++;
        return 0;
    }
    seg_unref(take_ptr(p->seg));
    if (rc != -ERR_CORRUPT && rc != -ERR_NOT_FOUND) {
        *err = why;
        return rc;
    }
    if (rc == -ERR_CORRUPT)
        set_aside(o->path, path, INDEX_SEGMENT_SUFFIX);
    if (o->damaged++ == 0)
        o->first = why;
    return 0;
}

static int open_parts(struct opening *o, struct err *err)
{
    const uint32_t *dead = o->m->dead;
    const struct seg_touch *touches = o->m->touches;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < o->m->head->parts_count; i++) {
        const struct man_part *p = &o->m->parts[i];
        rc = open_part(o, p, dead, touches, err);
        dead += p->dead_count;
        touches += p->touch_count;
    }
    if (rc == 0 && o->damaged && o->count == 0) {
        *err = o->first;
        rc = -o->first.code;
    }
    return rc;
}

static int join(struct opening *o, struct index **ret, struct err *err)
{
    const struct man_header *h = o->m->head;
    struct snapshot_in in = {
        .parts = o->parts,
        .parts_count = o->count,
        .analyzer = (enum analyzer)h->analyzer,
        .revision = h->revision,
        .fingerprint = o->damaged ? "" : h->fingerprint,
        .recipe = h->recipe,
        .content = h->content,
        .retry_count = h->retry_count,
    };
    int rc = snapshot_new(&in, ret, err);
    if (rc < 0 || !o->damaged)
        return rc;
    char text[DAMAGE_TEXT_BYTES];
    int n = snprintf(text, sizeof text, "%u of %u segments: %.200s", o->damaged,
                     o->damaged + o->count, o->first.msg);
    (*ret)->damage = mem_try_strndup(text, strlen(text));
    if (n > 0 && (*ret)->damage)
        return 0;
    index_unref(take_ptr(*ret));
    return err_set(err, ERR_NO_MEMORY, "no memory to open the index '%s'", o->path);
}

int manifest_open(const char *path, struct index **ret, struct err *err)
{
    struct manifest m = {0};
    struct err local;
    err = err ? err : &local;
    struct opening *o = mem_try(sizeof *o);
    int rc = o ? read_bytes(&m, path, err)
               : err_set(err, ERR_NO_MEMORY, "no memory to open the index '%s'", path);
    if (rc == 0) {
        m.head = (const struct man_header *)(const void *)m.bytes;
        rc = check(&m, path, err);
    }
    if (rc == 0) {
        o->m = &m;
        o->path = path;
        rc = open_parts(o, err);
        if (rc == 0)
            rc = join(o, ret, err);
    }
    if (rc == -ERR_CORRUPT)
        set_aside(path, path, INDEX_MANIFEST_SUFFIX);
    for (unsigned i = 0; o && i < o->count; i++)
        seg_unref(o->parts[i].seg);
    mem_free(o);
    mem_free(m.bytes);
    return rc;
}

int index_manifest_names(const char *manifest, struct span segment)
{
    struct manifest m = {0};
    struct err err = {0};
    int rc = read_bytes(&m, manifest, &err);
    if (rc == 0) {
        m.head = (const struct man_header *)(const void *)m.bytes;
        rc = check(&m, manifest, &err);
    }
    bool found = false;
    for (uint32_t i = 0; rc == 0 && i < m.head->parts_count; i++)
        found |= span_is(segment, m.parts[i].name);
    mem_free(m.bytes);
    return rc == -ERR_IO || rc == -ERR_NO_MEMORY ? rc : found;
}

/* ---- writing ---- */

static size_t laid_out_size(const struct index *ix, size_t *ret_dead, size_t *ret_touches)
{
    size_t dead = 0, touches = 0;
    for (unsigned i = 0; i < ix->parts_count; i++) {
        dead += ix->parts[i].dead_count;
        touches += ix->parts[i].touch_count;
    }
    *ret_dead = dead + dead % 2;
    *ret_touches = touches;
    return sizeof(struct man_header) + ix->parts_count * sizeof(struct man_part) +
           *ret_dead * sizeof(uint32_t) + touches * sizeof(struct seg_touch);
}

static void encode(const struct index *ix, uint8_t *bytes, size_t len, size_t dead_count)
{
    struct man_header *h = (struct man_header *)(void *)bytes;
    struct man_part *parts = (struct man_part *)(void *)(h + 1);
    uint32_t *dead = (uint32_t *)(void *)(parts + ix->parts_count);
    struct seg_touch *touches = (struct seg_touch *)(void *)(dead + dead_count);
    memcpy(h->magic, MAN_MAGIC, sizeof h->magic);
    h->version = MAN_VERSION;
    h->analyzer = (uint32_t)ix->analyzer;
    h->file_bytes = len;
    h->content = ix->content;
    h->parts_count = ix->parts_count;
    h->retry_count = ix->retry_count;
    snprintf(h->revision, sizeof h->revision, "%s", ix->revision);
    snprintf(h->fingerprint, sizeof h->fingerprint, "%s", ix->fingerprint);
    snprintf(h->recipe, sizeof h->recipe, "%s", ix->recipe);
    for (unsigned i = 0; i < ix->parts_count; i++) {
        const struct part *p = &ix->parts[i];
        parts[i] = (struct man_part){.file_bytes = p->seg->map_len,
                                     .segment_crc = p->seg->header->crc,
                                     .files_count = p->seg->files_count,
                                     .dead_count = p->dead_count,
                                     .touch_count = p->touch_count};
        memcpy(parts[i].name, p->name, sizeof p->name);
        if (p->dead_count)
            memcpy(dead, p->dead, p->dead_count * sizeof *dead);
        if (p->touch_count)
            memcpy(touches, p->touches, p->touch_count * sizeof *touches);
        dead += p->dead_count;
        touches += p->touch_count;
    }
    h->body_crc = crc32c(0, h + 1, len - sizeof *h);
    h->crc = crc32c(0, h, offsetof(struct man_header, crc));
}

static int write_partial(const char *partial, const uint8_t *bytes, size_t len)
{
    int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int rc = write_all(fd, bytes, len);
    if (rc == 0)
        rc = fault_hit(FAULT_SYNC) ? -EIO : fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static int manifest_write(const char *path, const struct index *ix, struct err *err)
{
    char partial[SEG_PATH_MAX + 16];
    size_t dead, touches, len = laid_out_size(ix, &dead, &touches);
    int n = snprintf(partial, sizeof partial, "%s" PARTIAL_SUFFIX, path);
    if (n < 0 || (size_t)n >= sizeof partial)
        return err_set(err, ERR_INVALID, "path of the index is too long");
    if (len > LIMIT_INDEX_MANIFEST_BYTES)
        return err_set(err, ERR_TOO_LARGE, "too many changes for one manifest of the index");
    uint8_t *bytes = mem_try(len);
    if (!bytes)
        return err_set(err, ERR_NO_MEMORY, "no memory to write the manifest of the index");
    encode(ix, bytes, len, dead);
    int rc = write_partial(partial, bytes, len);
    mem_free(bytes);
    bool is_published = false;
    if (rc == 0)
        rc = file_publish(partial, path, &is_published);
    if (is_published) /* it counts from the rename on: a later failure is no way back */
        return 0;
    unlink(partial);
    return rc < 0 ? err_errno(err, -rc, "cannot write the index '%s'", path) : 0;
}

static bool names(const struct index *ix, const char *name)
{
    for (unsigned i = 0; i < ix->parts_count; i++)
        if (strcmp(ix->parts[i].name, name) == 0)
            return true;
    return false;
}

int manifest_publish(const char *path, const struct snapshot_in *in, const struct index *current,
                     struct index **ret, struct err *err)
{
    struct index *ix = NULL;
    if (in->parts_count > LIMIT_INDEX_SEGMENTS_COUNT)
        return err_set(err, ERR_LIMIT, "the index has too many segments; they wait to be merged");
    int rc = snapshot_new(in, &ix, err);
    if (rc == 0)
        rc = manifest_write(path, ix, err);
    if (rc < 0) {
        index_unref(ix);
        return rc;
    }
    for (unsigned i = 0; current && i < current->parts_count; i++)
        if (!names(ix, current->parts[i].name))
            segment_remove(path, current->parts[i].name);
    for (unsigned i = 0; i < in->parts_count; i++)
        if (!names(ix, in->parts[i].name)) /* nothing in it is alive */
            segment_remove(path, in->parts[i].name);
    *ret = ix;
    return 0;
}
