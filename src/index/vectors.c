/* The vector file: see vectors_priv.h for its bytes. */
#include "index/vectors_priv.h"

#include "base/fault.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "text/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <math.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PENDING_MAX ((size_t)1 << 20)
#define READ_BLOCK ((size_t)1 << 20)
#define LENGTH_SLACK 1e-3 /* of 1: a row that was written by us is a unit vector */

struct vectors {
    char *path; /* owned */
    int fd;
    char key[VECTOR_KEY_MAX];
    unsigned dims;
    struct vector_hash *hashes; /* owned; of each row, pending ones included */
    size_t hashes_cap;
    uint32_t rows, written; /* in all, damaged ones included; in the file */
    uint32_t *slots; /* owned; row + 1 by hash, 0 = empty; a power of two, at most half full */
    size_t slots_count;
    size_t count, damaged;
    uint8_t *pending; /* owned; rows written..rows */
    size_t pending_len;
    bool is_new;      /* the name of the file may not be on disk */
    bool is_unsynced; /* rows in the file may not be on disk */
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory for the vectors");
}

struct vector_hash vector_hash_of(struct span text)
{
    uint8_t digest[SHA256_SIZE];
    struct vector_hash h;
    sha256(text.ptr, text.len, digest);
    memcpy(&h, digest, sizeof h);
    return h;
}

void vector_chunk_text(const struct index_chunk_view *chunk, struct buf *out)
{
    size_t start = out->len;
    buf_put_span(out, chunk->path);
    buf_putc(out, '\n');
    buf_put_span(out, chunk->symbol);
    buf_puts(out, "\n\n");
    buf_put_span(out, chunk->text);
    if (buf_failed(out) || out->len - start <= VECTOR_TEXT_MAX)
        return;
    out->len = start + utf8_cut(span_of(out->ptr + start, out->len - start), VECTOR_TEXT_MAX);
    out->ptr[out->len] = 0;
}

/* ---- which row a text has ---- */

static size_t slot_of(const struct vectors *v, struct vector_hash hash)
{
    size_t at = hash_bytes(&hash, sizeof hash) & (v->slots_count - 1);
    while (v->slots[at]) {
        const struct vector_hash *h = &v->hashes[v->slots[at] - 1];
        if (h->a == hash.a && h->b == hash.b)
            break;
        at = (at + 1) & (v->slots_count - 1);
    }
    return at;
}

uint32_t vectors_find(const struct vectors *v, struct vector_hash hash)
{
    uint32_t row = v->slots_count ? v->slots[slot_of(v, hash)] : 0;
    return row ? row - 1 : VECTOR_NO_ROW;
}

/* Room for one more row in the tables. */
static int grow_tables(struct vectors *v, struct err *err)
{
    if (v->rows == v->hashes_cap) {
        size_t cap = v->hashes_cap + v->hashes_cap / 4 + 256;
        struct vector_hash *p = mem_try_realloc(v->hashes, cap * sizeof *p);
        if (!p)
            return no_memory(err);
        v->hashes = p;
        v->hashes_cap = cap;
    }
    if (2 * (v->count + 1) <= v->slots_count)
        return 0;
    size_t count = v->slots_count ? v->slots_count * 2 : 512;
    uint32_t *slots = mem_try_array(count, sizeof *slots), *old = v->slots;
    if (!slots)
        return no_memory(err);
    size_t old_count = v->slots_count;
    v->slots = slots;
    v->slots_count = count;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i])
            slots[slot_of(v, v->hashes[old[i] - 1])] = old[i];
    }
    mem_free(old);
    return 0;
}

/* grow_tables was called. */
static void take_row(struct vectors *v, struct vector_hash hash)
{
    v->hashes[v->rows] = hash;
    size_t at = slot_of(v, hash);
    if (!v->slots[at]) {
        v->slots[at] = v->rows + 1;
        v->count++;
    }
    v->rows++;
}

/* ---- open ---- */

static int read_at(int fd, void *to, size_t len, off_t at)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = fault_hit(FAULT_READ)
                        ? (errno = EIO, -1)
                        : pread(fd, (char *)to + have, len - have, at + (off_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO; /* shorter than it was a moment ago */
        have += (size_t)n;
    }
    return 0;
}

static int corrupt(const struct vectors *v, const char *what, struct err *err)
{
    err_set(err, ERR_CORRUPT, "vector file '%s' is damaged: %s", v->path, what);
    err_hint(err, "remove it; the source is embedded again");
    return -ERR_CORRUPT;
}

static int check_header(struct vectors *v, const struct vector_header *h, struct err *err)
{
    if (memcmp(h->magic, VECTOR_MAGIC, sizeof h->magic) != 0)
        return corrupt(v, "not a vector file", err);
    if (h->crc != crc32c(0, h, offsetof(struct vector_header, crc)))
        return corrupt(v, "checksum of the header", err);
    if (h->version != VECTOR_VERSION)
        return err_set(err, ERR_UNSUPPORTED, "vector file '%s' was written by another version",
                       v->path);
    if (!memchr(h->key, 0, sizeof h->key) || h->dims == 0 || h->dims > VECTOR_DIMS_MAX)
        return corrupt(v, "key or dimensions in the header", err);
    if (strcmp(h->key, v->key) != 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "vector file '%s' holds vectors of another embedder ('%s')", v->path,
                       h->key);
    v->dims = h->dims;
    return 0;
}

static bool is_sound(const uint8_t *row, unsigned dims)
{
    uint32_t crc;
    memcpy(&crc, row, sizeof crc);
    if (crc != crc32c(0, row + sizeof crc, vector_stride(dims) - sizeof crc))
        return false;
    const float *values = (const float *)(const void *)(row + VECTOR_ROW_HEAD);
    float square = vector_dot(values, values, dims);
    return fabs((double)square - 1) < LENGTH_SLACK; /* not so for what is not finite */
}

/* Takes the sound rows of a block; *ret_sound: the number behind the last of them. */
static int take_block(struct vectors *v, const uint8_t *block, uint32_t count, uint32_t *ret_sound,
                      struct err *err)
{
    for (uint32_t i = 0; i < count; i++, block += vector_stride(v->dims)) {
        struct vector_hash hash;
        int rc = grow_tables(v, err);
        if (rc < 0)
            return rc;
        if (is_sound(block, v->dims)) {
            memcpy(&hash, block + 4, sizeof hash);
            take_row(v, hash);
            *ret_sound = v->rows;
        } else {
            v->hashes[v->rows++] = (struct vector_hash){0};
            v->damaged++;
        }
    }
    return 0;
}

static int read_rows(struct vectors *v, uint32_t rows, struct err *err)
{
    size_t stride = vector_stride(v->dims);
    uint32_t per_block = (uint32_t)(READ_BLOCK / stride), sound = 0;
    uint8_t *block = mem_try((size_t)per_block * stride);
    if (!block)
        return no_memory(err);
    int rc = 0;
    while (rc == 0 && v->rows < rows) {
        uint32_t n = rows - v->rows < per_block ? rows - v->rows : per_block;
        rc = read_at(v->fd, block, n * stride,
                     (off_t)VECTOR_HEADER_BYTES + (off_t)v->rows * (off_t)stride);
        rc = rc < 0 ? err_errno(err, -rc, "cannot read the vectors '%s'", v->path)
                    : take_block(v, block, n, &sound, err);
    }
    mem_free(block);
    if (rc == 0) { /* what is behind the last sound row is written over */
        v->damaged -= v->rows - sound;
        v->rows = v->written = sound;
    }
    return rc;
}

/* A header that was being written when the machine stopped: nothing was lost with it. */
static bool is_torn_header(const uint8_t *bytes, size_t len)
{
    size_t n = len < sizeof VECTOR_MAGIC - 1 ? len : sizeof VECTOR_MAGIC - 1;
    return memcmp(bytes, VECTOR_MAGIC, n) == 0;
}

static int read_file(struct vectors *v, uint64_t size, struct err *err)
{
    struct vector_header h = {0};
    size_t head = size < sizeof h ? (size_t)size : sizeof h;
    int rc = read_at(v->fd, &h, head, 0);
    if (rc < 0)
        return err_errno(err, -rc, "cannot read the vectors '%s'", v->path);
    if (head < sizeof h)
        return is_torn_header((const uint8_t *)&h, head) ? 0 : corrupt(v, "not a vector file", err);
    rc = check_header(v, &h, err);
    if (rc < 0)
        return rc;
    uint64_t rows = (size - sizeof h) / vector_stride(v->dims);
    if (rows > LIMIT_VECTORS_COUNT)
        return err_set(err, ERR_TOO_LARGE, "vector file '%s' has more than %u rows", v->path,
                       (unsigned)LIMIT_VECTORS_COUNT);
    return read_rows(v, (uint32_t)rows, err);
}

static off_t end_of(const struct vectors *v)
{
    return v->dims ? (off_t)VECTOR_HEADER_BYTES + (off_t)v->written * (off_t)vector_stride(v->dims)
                   : 0;
}

static int open_file(struct vectors *v, struct err *err)
{
    v->fd = open(v->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (v->fd < 0)
        return err_errno(err, errno, "cannot open the vectors '%s'", v->path);
    if (flock(v->fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? err_set(err, ERR_BUSY, "vector file '%s' is in use", v->path)
                   : err_errno(err, errno, "cannot lock the vectors '%s'", v->path);
    struct stat st;
    if (fstat(v->fd, &st) < 0)
        return err_errno(err, errno, "cannot read the vectors '%s'", v->path);
    if (!S_ISREG(st.st_mode))
        return corrupt(v, "not a file", err);
    v->is_new = st.st_size < (off_t)VECTOR_HEADER_BYTES;
    int rc = read_file(v, (uint64_t)st.st_size, err);
    if (rc == 0 && end_of(v) < st.st_size && ftruncate(v->fd, end_of(v)) < 0)
        rc = err_errno(err, errno, "cannot cut the vectors '%s'", v->path);
    if (rc == 0 && v->written == 0)
        v->dims = 0; /* the first row decides */
    return rc;
}

static void vectors_free(struct vectors *v)
{
    if (v->fd >= 0) {
        (void)flock(v->fd, LOCK_UN); /* a leg's mapping would keep the lock */
        close(v->fd);
    }
    mem_free(v->path);
    mem_free(v->hashes);
    mem_free(v->slots);
    mem_free(v->pending);
    mem_free(v);
}

int vectors_open(const char *path, const char *key, struct vectors **ret, struct err *err)
{
    size_t key_len = strlen(key);
    if (key_len == 0 || key_len >= VECTOR_KEY_MAX)
        return err_set(err, ERR_INVALID, "an embedder's key has 1 to %u bytes", VECTOR_KEY_MAX - 1);
    struct vectors *v = mem_try(sizeof *v);
    if (!v)
        return no_memory(err);
    v->fd = -1;
    memcpy(v->key, key, key_len);
    v->path = mem_try_strndup(path, strlen(path));
    int rc = v->path ? open_file(v, err) : no_memory(err);
    if (rc < 0) {
        vectors_free(v);
        return rc;
    }
    *ret = v;
    return 0;
}

/* ---- write ---- */

static int write_at(int fd, const void *from, size_t len, off_t at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = fault_hit(FAULT_WRITE)
                        ? (errno = ENOSPC, -1)
                        : pwrite(fd, (const char *)from + done, len - done, at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

static int write_header(const struct vectors *v)
{
    struct vector_header h = {.version = VECTOR_VERSION, .dims = v->dims};
    memcpy(h.magic, VECTOR_MAGIC, sizeof h.magic);
    memcpy(h.key, v->key, sizeof h.key);
    h.crc = crc32c(0, &h, offsetof(struct vector_header, crc));
    return write_at(v->fd, &h, sizeof h, 0);
}

/* A write that fails is made again, at the same place, by the next flush. */
static int flush_pending(struct vectors *v, struct err *err)
{
    if (v->pending_len == 0)
        return 0;
    v->is_unsynced = true;
    int rc = v->written == 0 ? write_header(v) : 0;
    if (rc == 0)
        rc = write_at(v->fd, v->pending, v->pending_len, end_of(v));
    if (rc < 0)
        return err_errno(err, -rc, "cannot write the vectors '%s'", v->path);
    v->written = v->rows;
    v->pending_len = 0;
    return 0;
}

static void put_row(struct vectors *v, struct vector_hash hash, const float *values, double length)
{
    uint8_t *row = v->pending + v->pending_len;
    memcpy(row + 4, &hash, sizeof hash);
    for (unsigned i = 0; i < v->dims; i++) {
        float x = (float)((double)values[i] / length);
        memcpy(row + VECTOR_ROW_HEAD + i * sizeof x, &x, sizeof x);
    }
    uint32_t crc = crc32c(0, row + 4, vector_stride(v->dims) - 4);
    memcpy(row, &crc, sizeof crc);
    v->pending_len += vector_stride(v->dims);
}

static int check_values(const struct vectors *v, const float *values, unsigned dims,
                        double *ret_length, struct err *err)
{
    if (dims == 0 || dims > VECTOR_DIMS_MAX || (v->dims && dims != v->dims))
        return err_set(err, ERR_INVALID, "a vector of %u dimensions, where %u are expected", dims,
                       v->dims ? v->dims : VECTOR_DIMS_MAX);
    *ret_length = vector_length(values, dims);
    if (!isfinite(*ret_length) || *ret_length <= 0)
        return err_set(err, ERR_INVALID, "a vector that is %s",
                       isfinite(*ret_length) ? "all zero" : "not finite");
    return 0;
}

int vectors_add(struct vectors *v, struct vector_hash hash, const float *values, unsigned dims,
                struct err *err)
{
    double length = 0;
    int rc = check_values(v, values, dims, &length, err);
    if (rc < 0 || vectors_has(v, hash))
        return rc;
    if (v->rows >= LIMIT_VECTORS_COUNT)
        return err_set(err, ERR_LIMIT, "vector file '%s' is full (%u rows)", v->path,
                       (unsigned)LIMIT_VECTORS_COUNT);
    if (!v->pending && !(v->pending = mem_try(PENDING_MAX)))
        return no_memory(err);
    if (v->pending_len + vector_stride(dims) > PENDING_MAX)
        rc = flush_pending(v, err);
    if (rc == 0)
        rc = grow_tables(v, err);
    if (rc < 0)
        return rc;
    v->dims = dims;
    put_row(v, hash, values, length);
    take_row(v, hash);
    return 0;
}

static int sync_folder(const char *path)
{
    char *copy = mem_strdup(path);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): dirname works in our copy */
    int dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mem_free(copy);
    if (dir < 0)
        return -errno;
    /* some file systems have no such thing for folders */
    int rc = fsync(dir) < 0 && errno != EINVAL ? -errno : 0;
    close(dir);
    return rc;
}

int vectors_sync(struct vectors *v, struct err *err)
{
    int rc = flush_pending(v, err);
    if (rc < 0 || !v->is_unsynced)
        return rc;
    rc = fault_hit(FAULT_SYNC) ? -EIO : fdatasync(v->fd) < 0 ? -errno : 0;
    if (rc == 0 && v->is_new)
        rc = sync_folder(v->path);
    if (rc < 0)
        return err_errno(err, -rc, "cannot write the vectors '%s' to disk", v->path);
    v->is_new = v->is_unsynced = false;
    return 0;
}

void vectors_close(struct vectors *v)
{
    if (!v)
        return;
    IGNORE(flush_pending(v, NULL)); /* what cannot be written is embedded again */
    vectors_free(v);
}

/* ---- views ---- */

unsigned vectors_dims(const struct vectors *v)
{
    return v->dims;
}

size_t vectors_count(const struct vectors *v)
{
    return v->count;
}

size_t vectors_damaged(const struct vectors *v)
{
    return v->damaged;
}

bool vectors_has(const struct vectors *v, struct vector_hash hash)
{
    return vectors_find(v, hash) != VECTOR_NO_ROW;
}

int vectors_map(struct vectors *v, const uint8_t **ret, size_t *ret_len, struct err *err)
{
    int rc = flush_pending(v, err);
    if (rc < 0)
        return rc;
    *ret = NULL;
    *ret_len = (size_t)end_of(v);
    if (*ret_len == 0)
        return 0;
    void *p = fault_hit(FAULT_READ) ? (errno = ENOMEM, MAP_FAILED)
                                    : mmap(NULL, *ret_len, PROT_READ, MAP_SHARED, v->fd, 0);
    if (p == MAP_FAILED)
        return err_errno(err, errno, "cannot map the vectors '%s'", v->path);
    *ret = p;
    return 0;
}
