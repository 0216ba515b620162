#pragma once
/*
 * The resumable event log. A stream is an ordered log of typed events numbered from 1. Events are
 * appended first and delivered from the log: what a reader has seen is still there after kill -9.
 * Whoever reads (live, late, reconnecting, second tab, after a restart) is the same thing: a
 * follower, i.e. a cursor.
 *
 * Path of an event:  stream_append → in-memory tail + journal buffer → log thread writes the batch
 * to the journal file (one write for all streams: group commit) → event is committed → loops with
 * followers are woken → frames. Full tails and closed streams are moved ("spilled") into the store
 * as blocks; journal files are deleted when nothing in them is unspilled. Memory per stream is
 * bounded (LIMIT_STREAM_TAIL, LIMIT_STREAM_BACKLOG); older events are read back from the store.
 * docs/adr/0010-event-log.md has the measurement behind journal + store and what power loss may
 * cost.
 *
 * Threads: stream_append/close/ref/unref: any. Followers: their loop.
 */
#include "base/buf.h"
#include "base/list.h"
#include "loop/worker.h"
#include "store/store.h"

#include <sys/uio.h>

enum stream_event_type {
    STREAM_STATUS = 1, /* payload: JSON object {"stage","progress"(0..1)|null,"message"} */
    STREAM_TOKEN = 2,  /* payload: the text itself, valid UTF-8 */
    STREAM_CITATION = 3,
    STREAM_USAGE = 4,
    STREAM_ERROR = 5,
    STREAM_RESET =
        7, /* {"reason"}: the text so far is void, the answer begins anew (another provider took over) */
    STREAM_DONE = 6, /* payload: {"reason":…}; always the last event */
};
const char *stream_event_name(enum stream_event_type type); /* "status", "token", … */

struct stream_event {
    uint64_t seq; /* from 1; of a merged token: that of its last part */
    enum stream_event_type type;
    struct span payload;
};

/* ---- hub ---- */

struct hub;
struct stream;

struct hub_options {
    const char *journal_dir;   /* created; NULL = no journal (memory store only, tests) */
    uint64_t sync_interval_ms; /* fdatasync of the journal at most this often; 0 = never (default
                                  1000) */
    uint64_t segment_bytes;    /* journal file size before the next is begun; 0 = 32 MiB */
};
/*
 * Replays the journal and starts the log thread. Streams that had no end get done
 * {"reason":"interrupted"}. What the store lacked can be read at once and is stored in the
 * background; the old files stay until it is. -ERR_IO and others: nothing was deleted. A damaged
 * journal file is counted, said in the log and skipped from the damage on (kept as *.damaged).
 */
int hub_open(const struct hub_options *options, struct store *store, struct worker_pool *workers,
             struct hub **ret, struct err *err) MUST_CHECK;
/*
 * Commits and spills everything; what a failing store does not take in 10 s stays in the journal.
 * Live streams are closed as "interrupted". No follower may be left. References to streams may
 * outlive it, but only to be given up. Blocks.
 */
void hub_close(struct hub *h);
/* False while events cannot be made durable (disk full …): new answers are refused meanwhile. Thread: any. */
bool hub_is_writable(struct hub *h);

/* ---- producing ---- */

struct stream_new {
    const char *tenant; /* NULL = default */
    const char *kind;   /* "answer" … */
    /* false: the last LIMIT_STREAM_TAIL bytes live in memory, until closed and unreferenced */
    bool is_durable;
    /* From stream_new_id, for who must know it before the stream exists; NULL = a new one. */
    const char *id;
};
/* An unguessable id. Thread: any. */
void stream_new_id(char ret[STORE_ID_MAX]);
/*
 * A new stream with an unguessable id and one reference, a producer's. It exists for a later process
 * from its first committed event on. -ERR_LIMIT (LIMIT_STREAMS_COUNT), -ERR_NO_MEMORY.
 */
int stream_create(struct hub *h, const struct stream_new *what, struct stream **ret,
                  struct err *err) MUST_CHECK;
const char *stream_id(const struct stream *s);
const char *stream_tenant(const struct stream *s);
/*
 * References are of two kinds. A reader's keeps the memory and nothing else: it neither holds a
 * stream open nor ends it. A producer's says that more events may come: when the last producer
 * lets go without stream_close, nobody will ever write the end, so the stream is ended at once, as
 * "error", for all who follow it. Each kind is given up by its own function; only who holds a
 * producer's reference may make another.
 */
struct stream *stream_ref(struct stream *s);
void stream_unref(struct stream *s);
struct stream *stream_ref_producer(struct stream *s);
void stream_unref_producer(struct stream *s);

/*
 * 0; -ERR_LIMIT (the log is behind by LIMIT_STREAM_BACKLOG: wait and try again); -ERR_TOO_LARGE;
 * -ERR_CANCELLED (closed); -ERR_INVALID (STREAM_DONE: use stream_close); -ERR_NO_MEMORY; -ERR_IO
 * (the journal cannot be written; the stream is closed with an error as soon as it can).
 */
int stream_append(struct stream *s, enum stream_event_type type, struct span payload) MUST_CHECK;
/* Appends done {"reason":reason} (reason: below 32 bytes, no quotes; + `extra`: more members as
 * JSON text without braces, or NULL); further appends are refused. Idempotent. */
void stream_close(struct stream *s, const char *reason, const char *extra);
bool stream_is_closed(const struct stream *s);
uint64_t stream_last_seq(const struct stream *s); /* appended, perhaps not yet committed */

/* A flag anyone may raise and the producer polls (stop, cancel). */
void stream_request_stop(struct stream *s);
const _Atomic bool *stream_stop_flag(const struct stream *s);

/* ---- following ---- */

/*
 * Turns events into the bytes of one dialect and transport framing. Stateless and shared by all: an
 * event's bytes depend on the event alone (encode may write nothing: the dialect does not carry
 * it). `merge`: consecutive token events may be given as one. encode runs on the follower's loop
 * under the stream's lock: it may only turn bytes into bytes.
 */
struct stream_codec {
    const char *name;
    void (*encode)(const struct stream_event *event, struct buf *out);
    bool merge;
};

/*
 * A cursor of one reader, embedded by its owner, living on one loop. Frames are encoded once per
 * (stream, codec, loop) into shared segments; a follower that is behind gets merged frames of its
 * own, at most LIMIT_MERGED_FRAME at a time. All fields are private to stream/.
 */
#define FOLLOWER_SEGMENTS_COUNT 4
struct feed;
struct segment;
struct follower {
    struct list link;
    struct feed *feed;
    struct loop *loop;
    void (*wake)(struct follower *f);
    uint64_t next_seq;
    struct segment *held[FOLLOWER_SEGMENTS_COUNT]; /* refs: shared bytes being sent, in order */
    int held_count;
    int state;
    int error;
    size_t offset;  /* in held[0] */
    struct buf own; /* merged bytes of this follower alone; come before held */
    size_t own_offset;
};

enum follower_result {
    FOLLOWER_READY,  /* bytes returned */
    FOLLOWER_WAIT,   /* nothing now; wake() will be called */
    FOLLOWER_END,    /* everything up to and including done has been consumed */
    FOLLOWER_FAILED, /* could not be read (see follower_error) */
};

/*
 * Starts after event number `after` (0 = from the first; beyond the end of a closed stream = at its
 * done event). `wake` runs on the loop when a WAIT is over; never from inside a follower_* call.
 */
void follower_start(struct follower *f, struct loop *loop, struct stream *s,
                    const struct stream_codec *codec, uint64_t after,
                    void (*wake)(struct follower *f));
/*
 * Bytes ready to send, as up to *count pieces (FOLLOWER_SEGMENTS_COUNT + 1 is as many as it ever
 * gives). They stay where they are until the next follower_consume or follower_stop, also over
 * turns, so an asynchronous write may use them. What was not consumed is returned again. More
 * pieces = more frames in one write.
 */
enum follower_result follower_peek(struct follower *f, struct iovec *iov, int *count);
/* At most what the last peek returned. */
void follower_consume(struct follower *f, size_t bytes);
/* Valid from END to stop: reason of the done event ("stop", …). */
const char *follower_reason(const struct follower *f);
/*
 * Valid after FAILED: -ERR_IO or -ERR_CORRUPT (the store), -ERR_NO_MEMORY, -ERR_NOT_FOUND (the
 * events it wants are gone: a stream that is not durable keeps its last LIMIT_STREAM_TAIL bytes).
 * The reader may start again at its last number.
 */
int follower_error(const struct follower *f);
void follower_stop(struct follower *f); /* safe in any state, also when never started (all zero) */

/*
 * Finds a stream by id: a live one, or one that is stored (read on a worker). `found` runs on the
 * loop with a reference that the callee owns, or NULL and -ERR_NOT_FOUND / -ERR_IO / -ERR_LIMIT
 * (workers busy: try again). Always asynchronous.
 */
void hub_find(struct hub *h, struct loop *loop, const char *tenant, const char *id,
              void (*found)(void *ctx, struct stream *s, int result), void *ctx);

/* Blocking reading for workers, tests and tools: calls `each` for every committed event after
 * `after`; waits for the end if `wait`. */
int stream_read(struct stream *s, uint64_t after, bool wait,
                int (*each)(void *ctx, const struct stream_event *event), void *ctx,
                struct err *err) MUST_CHECK;
