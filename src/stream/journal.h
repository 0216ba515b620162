#pragma once
/*
 * Append-only segment files DIR/NNNNNNNN.log: 16 bytes of header (JOURNAL_MAGIC, u64 segment
 * number), then records (stream/record.h). Producers copy records into the pending batch; the log
 * thread takes everything pending at once and writes it with one call. A batch is whole or failed,
 * never in between, as far as readers can tell.
 *
 * A segment is deleted when neither it nor an older one holds a record that is not yet in the
 * store. Each owner (a stream) tells through journal_owner_moved where its oldest such record is.
 *
 * Threads: journal_put, journal_owner_moved, journal_kick: any. The rest: the log thread.
 */
#include "base/err.h"
#include "base/list.h"
#include "base/lock.h"
#include "stream/record.h"

#define JOURNAL_MAGIC "HWJRNL1\n"
#define JOURNAL_HEADER_BYTES 16u
#define JOURNAL_NAME_DIGITS 8

struct journal;

/* Embedded by a stream; all zero at first. The journal's lock guards it. */
struct journal_owner {
    uint64_t batch_no;       /* the batch that names it … */
    size_t batch_index;      /* … at this place */
    uint64_t open_segment;   /* last segment that binds its key */
    uint64_t oldest_segment; /* holds its oldest record that is not in the store; 0 = none */
};

struct journal_item {
    struct journal_owner *owner;
    uint64_t seq; /* last one in the batch */
};

struct journal_batch {
    struct journal_item *items;
    size_t count, cap;
    char *bytes;
    size_t len, bytes_cap;
    uint64_t segment;
};

struct journal_options {
    const char *dir; /* NULL: nothing is written, batches still form */
    uint64_t first_segment, segment_bytes, sync_interval_ms;
    void (*added)(struct journal_owner
                      *o); /* owner entered a batch; under the journal's lock: takes a reference */
    struct bell *bell;     /* borrowed: what journal_wait sleeps on; NULL = its own */
};

int journal_open(const struct journal_options *options, struct journal **ret,
                 struct err *err) MUST_CHECK;
/* Flushes and closes; with `remove` also deletes all segments (nothing in them is needed). NULL is
 * fine. */
void journal_close(struct journal *j, bool remove);

/*
 * Adds one record of the owner: the open record too when the segment lacks it. The log thread is
 * not woken: the caller rings the bell once it has left its own locks. *ret_segment gets
 * the segment it will be in. -ERR_LIMIT (LIMIT_JOURNAL_PENDING), -ERR_NO_MEMORY, -ERR_IO (the last
 * write failed and no new segment could be begun yet): nothing was added.
 */
int journal_put(struct journal *j, struct journal_owner *o, uint64_t key,
                const struct record_open *open, struct span record, uint64_t seq,
                uint64_t *ret_segment) MUST_CHECK;
void journal_owner_moved(struct journal *j, struct journal_owner *o, uint64_t oldest_segment);

/* Waits until something is pending, journal_kick was called, or the time has passed (UINT64_MAX: no
 * limit). */
void journal_wait(struct journal *j, uint64_t timeout_ms);
void journal_kick(struct journal *j);

/* Everything pending, or NULL; valid until the next take. */
struct journal_batch *journal_take(struct journal *j);
/* 0 or -ERR_IO: then the file was cut back to the last whole batch and journal_put refuses until
 * journal_retry succeeds. */
int journal_write(struct journal *j, const struct journal_batch *batch, struct err *err) MUST_CHECK;
bool journal_has_failed(struct journal *j);
/* Begins a fresh segment after a failure. */
int journal_retry(struct journal *j, struct err *err) MUST_CHECK;

/* Number of the segment that puts go to now. Thread: any. */
uint64_t journal_segment(struct journal *j);
/* Deletes what is no longer needed. */
void journal_delete_spilled(struct journal *j);
/* Deletes a file of an earlier process. */
void journal_delete_file(struct journal *j, uint64_t segment);
uint64_t journal_sync_failed(const struct journal *j);

/* Parses a file's header: 0, -ERR_NOT_FOUND (cut short), -ERR_CORRUPT. */
int journal_header_parse(struct span bytes, uint64_t *ret_segment) MUST_CHECK;
/* "00000012.log" → 12; false for other names. */
bool journal_name_parse(const char *name, uint64_t *ret_segment);
