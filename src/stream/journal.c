#include "stream/journal.h"

#include "base/bug.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "stream/journal_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define KEEP_BATCH_BYTES (1u << 20) /* a larger batch buffer is given back once written */
#define NAME_BYTES 32

struct segment_file {
    struct list link; /* journal's, oldest first */
    uint64_t number;
    size_t users; /* owners whose oldest unspilled record is here */
    bool exists;
};

struct journal {
    struct lock lock;
    struct bell own_bell, *bell;
    bool kicked, has_failed;
    uint64_t batch_no; /* of the pending batch */
    uint64_t segment;  /* of the pending batch */
    struct journal_batch batches[2], *pending, *taken;
    struct list segments;
    void (*added)(struct journal_owner *o);
    /* log thread's */
    int dir_fd, fd;
    uint64_t fd_segment, fd_bytes, segment_bytes;
    struct journal_sync *sync; /* owned, or NULL */
};

static void segment_name(uint64_t number, char *ret)
{
    snprintf(ret, NAME_BYTES, "%0*llu.log", JOURNAL_NAME_DIGITS, (unsigned long long)number);
}

bool journal_name_parse(const char *name, uint64_t *ret_segment)
{
    struct span s = span_str(name);
    if (!span_ends(s, SPAN_LIT(".log")) || s.len < JOURNAL_NAME_DIGITS + 4)
        return false;
    char exact[NAME_BYTES];
    uint64_t n;
    if (!parse_u64(span_first(s, s.len - 4), &n) || n == 0 || n == UINT64_MAX)
        return false;
    segment_name(n, exact);
    if (strcmp(exact, name) != 0)
        return false;
    *ret_segment = n;
    return true;
}

int journal_header_parse(struct span bytes, uint64_t *ret_segment)
{
    if (bytes.len < JOURNAL_HEADER_BYTES)
        return -ERR_NOT_FOUND;
    if (!span_eq(span_first(bytes, 8), SPAN_LIT(JOURNAL_MAGIC)))
        return -ERR_CORRUPT;
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | (uint8_t)bytes.ptr[8 + i];
    *ret_segment = n;
    return 0;
}

/* Of a segment that has users or is written to: it exists. */
static struct segment_file *find_segment(struct journal *j, uint64_t number)
{
    for (struct list *n = j->segments.prev;; n = n->prev) {
        BUG_ON(n == &j->segments);
        struct segment_file *f = container_of(n, struct segment_file, link);
        if (f->number == number)
            return f;
    }
}

static void begin_segment(struct journal *j, uint64_t number)
{
    struct segment_file *f = mem_alloc(sizeof *f);
    f->number = number;
    list_append(&j->segments, &f->link);
    j->segment = number;
}

int journal_open(const struct journal_options *options, struct journal **ret, struct err *err)
{
    struct journal *j = mem_alloc(sizeof *j);
    lock_init(&j->lock);
    j->bell = options->bell ? options->bell : &j->own_bell;
    list_init(&j->segments);
    j->pending = &j->batches[0];
    j->taken = &j->batches[1];
    j->batch_no = 1;
    j->dir_fd = j->fd = -1;
    j->segment_bytes = options->segment_bytes;
    j->added = options->added;
    begin_segment(j, options->first_segment);
    int r = 0;
    if (options->dir) {
        j->dir_fd = open(options->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (j->dir_fd < 0)
            r = err_errno(err, errno, "cannot open the journal's directory '%s'", options->dir);
        else if (options->sync_interval_ms)
            r = journal_sync_new(j->dir_fd, options->sync_interval_ms, &j->sync, err);
    }
    if (r < 0) {
        journal_close(j, false);
        return r;
    }
    *ret = j;
    return 0;
}

void journal_delete_file(struct journal *j, uint64_t segment)
{
    char name[NAME_BYTES];
    segment_name(segment, name);
    if (unlinkat(j->dir_fd, name, 0) < 0 && errno != ENOENT)
        LOG_WARN("stream", "a journal file could not be deleted", LOG_S("file", name),
                 LOG_S("error", err_text(errno)));
}

static void remove_file(struct journal *j, const struct segment_file *f)
{
    if (f->exists)
        journal_delete_file(j, f->number);
}

void journal_close(struct journal *j, bool remove)
{
    if (!j)
        return;
    journal_sync_free(j->sync);
    struct list *n;
    while ((n = list_pop(&j->segments))) {
        struct segment_file *f = container_of(n, struct segment_file, link);
        if (remove)
            remove_file(j, f);
        mem_free(f);
    }
    if (j->fd >= 0)
        close(j->fd);
    if (j->dir_fd >= 0)
        close(j->dir_fd);
    for (int i = 0; i < 2; i++) {
        mem_free(j->batches[i].items);
        mem_free(j->batches[i].bytes);
    }
    lock_done(&j->lock);
    mem_free(j);
}

/* ---- producers ---- */

static int reserve(struct journal_batch *b, size_t more, bool needs_item)
{
    if (b->len + more > LIMIT_JOURNAL_PENDING && b->len)
        return -ERR_LIMIT;
    if (b->len + more > b->bytes_cap) {
        size_t cap = b->bytes_cap ? b->bytes_cap : 16384;
        while (cap < b->len + more)
            cap *= 2;
        char *p = mem_try_realloc(b->bytes, cap);
        if (!p)
            return -ERR_NO_MEMORY;
        b->bytes = p;
        b->bytes_cap = cap;
    }
    if (needs_item && b->count == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 256;
        struct journal_item *p = mem_try_realloc(b->items, cap * sizeof *p);
        if (!p)
            return -ERR_NO_MEMORY;
        b->items = p;
        b->cap = cap;
    }
    return 0;
}

static void put_open(struct journal *j, struct journal_owner *o, uint64_t key,
                     const struct record_open *open, uint64_t seq)
{
    char payload[RECORD_OPEN_MAX_BYTES];
    struct record r = {.type = RECORD_OPEN, .key = key, .seq = seq - 1};
    r.payload = span_of(payload, record_open_put(payload, open));
    j->pending->len += record_put(j->pending->bytes + j->pending->len, &r);
    o->open_segment = j->segment;
}

static int put_locked(struct journal *j, struct journal_owner *o, uint64_t key,
                      const struct record_open *open, struct span record, uint64_t seq)
{
    if (j->has_failed)
        return -ERR_IO;
    bool needs_open = o->open_segment != j->segment, needs_item = o->batch_no != j->batch_no;
    size_t more = record.len;
    if (needs_open)
        more += RECORD_HEADER_BYTES + RECORD_FIELDS_MAX_BYTES + RECORD_OPEN_MAX_BYTES;
    int r = reserve(j->pending, more, needs_item);
    if (r < 0)
        return r;
    if (needs_open)
        put_open(j, o, key, open, seq);
    struct journal_batch *b = j->pending;
    memcpy(b->bytes + b->len, record.ptr, record.len);
    b->len += record.len;
    if (needs_item) {
        o->batch_no = j->batch_no;
        o->batch_index = b->count++;
        b->items[o->batch_index].owner = o;
        j->added(o);
    }
    b->items[o->batch_index].seq = seq;
    if (!o->oldest_segment) {
        o->oldest_segment = j->segment;
        find_segment(j, j->segment)->users++;
    }
    return 0;
}

int journal_put(struct journal *j, struct journal_owner *o, uint64_t key,
                const struct record_open *open, struct span record, uint64_t seq,
                uint64_t *ret_segment)
{
    lock_enter(&j->lock);
    int r = put_locked(j, o, key, open, record, seq);
    *ret_segment = j->segment;
    lock_leave(&j->lock);
    return r;
}

void journal_owner_moved(struct journal *j, struct journal_owner *o, uint64_t oldest_segment)
{
    bool wakes = false;
    lock_enter(&j->lock);
    uint64_t left = o->oldest_segment;
    if (left)
        wakes = --find_segment(j, left)->users == 0 && left < j->segment; /* may be deleted now */
    o->oldest_segment = oldest_segment;
    if (oldest_segment)
        find_segment(j, oldest_segment)->users++;
    lock_leave(&j->lock);
    if (wakes)
        journal_kick(j);
}

uint64_t journal_segment(struct journal *j)
{
    lock_enter(&j->lock);
    uint64_t n = j->segment;
    lock_leave(&j->lock);
    return n;
}

void journal_kick(struct journal *j)
{
    lock_enter(&j->lock);
    j->kicked = true;
    lock_leave(&j->lock);
    bell_ring(j->bell);
}

/* ---- log thread ---- */

void journal_wait(struct journal *j, uint64_t timeout_ms)
{
    uint64_t began = clock_ms(), passed = 0;
    lock_enter(&j->lock);
    while (!j->pending->count && !j->kicked && passed < timeout_ms) {
        uint32_t listened = bell_listen(j->bell);
        lock_leave(&j->lock);
        bell_sleep(j->bell, listened, timeout_ms == UINT64_MAX ? UINT64_MAX : timeout_ms - passed);
        lock_enter(&j->lock);
        passed = clock_ms() - began;
    }
    bell_hush(j->bell);
    j->kicked = false;
    lock_leave(&j->lock);
}

struct journal_batch *journal_take(struct journal *j)
{
    struct journal_batch *old = j->taken;
    if (old->bytes_cap > KEEP_BATCH_BYTES) {
        mem_free(take_ptr(old->bytes));
        old->bytes_cap = 0;
    }
    old->len = old->count = 0;
    lock_enter(&j->lock);
    struct journal_batch *b = NULL;
    if (j->pending->count) {
        b = j->pending;
        b->segment = j->segment;
        j->pending = old;
        j->taken = b;
        j->batch_no++;
        /* The next batch goes to a new file when this one fills its own. */
        uint64_t before = j->fd_segment == b->segment ? j->fd_bytes : JOURNAL_HEADER_BYTES;
        if (before + b->len >= j->segment_bytes)
            begin_segment(j, j->segment + 1);
    }
    lock_leave(&j->lock);
    return b;
}

/* Bytes written, all of them, or a negative errno. */
static int write_all(int fd, const char *p, size_t len)
{
    while (len) {
        ssize_t n = fault_hit(FAULT_WRITE) ? (errno = ENOSPC, -1) : write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Makes the file of a segment the one that is written. On failure no file is. */
static int switch_file(struct journal *j, uint64_t number, struct err *err)
{
    char name[NAME_BYTES], header[JOURNAL_HEADER_BYTES] = JOURNAL_MAGIC;
    segment_name(number, name);
    for (int i = 0; i < 8; i++)
        header[8 + i] = (char)(number >> (8 * i));
    if (j->fd >= 0)
        close(j->fd);
    j->fd_segment = 0;
    j->fd = openat(j->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (j->fd < 0)
        return err_errno(err, errno, "cannot create journal file '%s'", name);
    lock_enter(&j->lock);
    find_segment(j, number)->exists = true;
    lock_leave(&j->lock);
    int r = write_all(j->fd, header, sizeof header);
    if (r < 0) {
        close(j->fd);
        j->fd = -1;
        return err_errno(err, -r, "cannot write journal file '%s'", name);
    }
    j->fd_segment = number;
    j->fd_bytes = sizeof header;
    if (j->sync)
        journal_sync_attach(j->sync, j->fd);
    return 0;
}

static void fail(struct journal *j)
{
    if (j->fd >= 0 && j->fd_segment)
        if (ftruncate(j->fd, (off_t)j->fd_bytes) < 0)
            LOG_WARN("stream", "a half-written batch could not be cut off the journal file",
                     LOG_S("error", err_text(errno)));
    lock_enter(&j->lock);
    j->has_failed = true;
    lock_leave(&j->lock);
}

int journal_write(struct journal *j, const struct journal_batch *batch, struct err *err)
{
    if (j->dir_fd < 0)
        return 0;
    int r = j->fd_segment == batch->segment ? 0 : switch_file(j, batch->segment, err);
    if (r == 0) {
        r = write_all(j->fd, batch->bytes, batch->len);
        if (r < 0)
            r = err_errno(err, -r, "cannot write %zu bytes to journal file %08llu.log", batch->len,
                          (unsigned long long)batch->segment);
    }
    if (r < 0) {
        fail(j);
        return -ERR_IO;
    }
    j->fd_bytes += batch->len;
    if (j->sync)
        journal_sync_mark(j->sync);
    return 0;
}

bool journal_has_failed(struct journal *j)
{
    lock_enter(&j->lock);
    bool failed = j->has_failed;
    lock_leave(&j->lock);
    return failed;
}

int journal_retry(struct journal *j, struct err *err)
{
    lock_enter(&j->lock);
    BUG_ON(j->pending->count); /* refused since the failure */
    struct segment_file *last = container_of(j->segments.prev, struct segment_file, link);
    uint64_t next = j->segment + (last->exists ? 1 : 0);
    if (last->exists)
        begin_segment(j, next);
    lock_leave(&j->lock);
    int r = switch_file(j, next, err);
    if (r < 0)
        return r;
    lock_enter(&j->lock);
    j->has_failed = false;
    lock_leave(&j->lock);
    return 0;
}

void journal_delete_spilled(struct journal *j)
{
    for (;;) {
        lock_enter(&j->lock);
        struct segment_file *f = container_of(j->segments.next, struct segment_file, link);
        bool is_free = f->number < j->segment && !f->users && f->number != j->taken->segment;
        if (is_free)
            list_remove(&f->link);
        lock_leave(&j->lock);
        if (!is_free)
            return;
        remove_file(j, f);
        mem_free(f);
    }
}

uint64_t journal_sync_failed(const struct journal *j)
{
    return j->sync ? journal_sync_failures(j->sync) : 0;
}
