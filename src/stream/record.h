#pragma once
/*
 * The binary form of an event, the same bytes in the tail in memory, in journal files and in the
 * store's blocks:
 *
 *   u32 little-endian: length of the body in the low 24 bits, a check of that length in the high 8
 *   u32 little-endian: CRC-32C of the body, started with the word before
 *   body: u8 type, varint key, varint seq, payload to the end
 *
 * The key is the stream's number within one journal file, bound to its id by a RECORD_OPEN of the
 * same file; in a block it says nothing. The check of the length lets a damaged length be told from
 * a record cut short. Pure functions. Thread: any.
 */
#include "base/limits.h"
#include "base/span.h"

#define RECORD_HEADER_BYTES 8u
#define RECORD_FIELDS_MAX_BYTES 21u /* type and two varints */
#define RECORD_MAX_BYTES (RECORD_HEADER_BYTES + RECORD_FIELDS_MAX_BYTES + LIMIT_STREAM_EVENT)
#define RECORD_OPEN 16u /* payload: see record_put_open */

struct record {
    uint8_t type; /* enum stream_event_type or RECORD_OPEN */
    uint64_t key;
    uint64_t seq; /* of an open record: last number before it */
    struct span payload;
};

enum record_result {
    RECORD_OK,
    RECORD_END,     /* nothing left */
    RECORD_TORN,    /* the bytes end within a record; rest untouched */
    RECORD_DAMAGED, /* the bytes are no record; rest untouched */
};

/* Bytes that record_put will write. */
size_t record_size(const struct record *r);
/* Writes record_size(r) bytes; payload at most LIMIT_STREAM_EVENT. */
size_t record_put(char *out, const struct record *r);
/* Cuts the next record off *rest; its payload points into the span. Bytes may be anything. */
enum record_result record_next(struct span *rest, struct record *ret);
/* The same for bytes that are known to be whole (our own memory, a block that was checked): CRC not
 * computed. */
bool record_next_checked(struct span *rest, struct record *ret);
/*
 * True when the span is whole event records numbered without a gap from `first`; *ret_last gets the
 * last number.
 */
bool record_check_run(struct span bytes, uint64_t first, uint64_t *ret_last);

/* What an open record tells of a stream. */
struct record_open {
    struct span id, tenant, kind;
    int64_t created_ms;
};
#define RECORD_OPEN_MAX_BYTES 512u
/* Into at least RECORD_OPEN_MAX_BYTES; each text below 128 bytes. Returns the payload's length. */
size_t record_open_put(char *out, const struct record_open *o);
bool record_open_parse(struct span payload, struct record_open *ret);
