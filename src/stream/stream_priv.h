#pragma once
/*
 * What the files of stream/ share. Who does what:
 *   stream.c  producing: append, close, commit   tail.c  the chunks of records in memory
 *   spill.c   chunks to the store                hub.c   table, log thread, open and close
 *   recover.c the journal after a crash          read.c  reading chunks and stored blocks
 *   port.c    wake-ups to a loop                 feed.c  shared frames; follow.c one reader
 *
 * Locks, outermost first: hub table → stream → journal → port → mailbox. The store's queue and the
 * worker queue are entered with none of them held.
 */
#include "base/bug.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "stream/journal.h"
#include "stream/record.h"
#include "stream/stream.h"

#include <stdatomic.h>

enum stream_metric {
    M_EVENTS,
    M_EVENT_BYTES,
    M_BATCHES,
    M_JOURNAL_BYTES,
    M_JOURNAL_ERRORS,
    M_SYNC_ERRORS,
    M_SPILLS,
    M_SPILL_ERRORS,
    M_LIVE,
    M_FOLLOWERS,
    M_MERGED_FRAMES,
    M_BLOCK_READS,
    STREAM_METRICS
};
extern struct metric stream_metrics[STREAM_METRICS];

/* ---- tail ---- */

/* Consecutive records; becomes one block of the store. Immutable once sealed. The stream's lock
 * guards it. */
struct chunk {
    struct list link;
    uint64_t first_seq, last_seq; /* last < first while empty */
    uint64_t segment;             /* of the journal, that holds its first record */
    char *bytes;                  /* owned */
    size_t len, cap;
    bool is_sealed, is_spilled;
};

struct tail {
    struct list chunks;
    size_t bytes, unspilled_bytes;
};

/* Where a reader left off, so that it need not walk the chunk again: next_seq starts at offset of
 * chunk first_seq. */
struct tail_mark {
    uint64_t first_seq, next_seq;
    size_t offset;
};

void tail_init(struct tail *t);
void tail_done(struct tail *t);
/* Room for `size` bytes at the end of the last chunk, or NULL (no memory); nothing has changed
 * until tail_added. */
char *tail_reserve(struct tail *t, uint64_t seq, size_t size);
void tail_added(struct tail *t, uint64_t seq, size_t size, uint64_t segment);
void tail_seal(struct tail *t);
/* Drops records from number `seq` on. */
void tail_cut(struct tail *t, uint64_t seq);
/* Drops spilled chunks from the front while at least `keep` bytes stay. */
void tail_trim(struct tail *t, size_t keep);
/* Drops chunks from the front, spilled or not, while at least `keep` bytes stay (streams in memory
 * only). */
void tail_forget(struct tail *t, size_t keep);
/* Records from `seq` to the end of their chunk; false when not in memory. `mark` may be NULL. */
bool tail_find(const struct tail *t, uint64_t seq, struct tail_mark *mark, struct span *ret);
/* Bytes from `seq` to the end, about; SIZE_MAX when it is older than the tail. */
size_t tail_bytes_from(const struct tail *t, uint64_t seq);

/* ---- stream ---- */

struct stream {
    struct hub *hub;            /* ref */
    _Atomic unsigned refs;      /* of both kinds */
    _Atomic unsigned producers; /* of those, the producers' */
    _Atomic bool stop;
    bool is_durable;
    char id[STORE_ID_MAX], tenant[STORE_ID_MAX], kind[32];
    uint64_t key;
    int64_t created_ms;

    struct lock lock; /* guards all below */
    struct cond advanced;
    unsigned readers_waiting;
    struct tail tail;
    uint64_t last_seq, committed_seq;
    size_t uncounted_bytes; /* payload for the metric, at the next commit */
    uint64_t spilled_seq;   /* in the store up to here */
    int64_t closed_ms;
    bool is_closed; /* done has been appended */
    bool is_broken; /* the journal lost its last events: they were taken back */
    bool
        is_done_unlogged; /* done could not enter the journal: committed with the event before it */
    bool is_stored;       /* closed and complete in the store (or not durable) */
    bool has_live_ref;    /* the hub's own reference, until is_stored */
    bool is_spilling, must_spill;
    bool is_recovered; /* from old journal files, which wait for it */
    unsigned spill_failures;
    uint64_t spill_retry_ms;
    char reason[32];
    struct list feeds;
    struct journal_owner owner; /* the journal's lock guards it */
    struct list attention;      /* hub's attention_lock guards it */
    bool has_attention;
};

/* With a reference; not in the table. */
struct stream *stream_new(struct hub *h, const char *id, const char *tenant, const char *kind,
                          bool is_durable);
void stream_open_record(const struct stream *s, struct record_open *ret);
/* The journal has written events up to seq, or lost those after the committed ones. Log thread. */
void stream_batch_written(struct stream *s, uint64_t seq, int result);
/* Tells followers and readers that there is more. The stream's lock is held. */
void stream_notify(struct stream *s);
/* Memory that nobody needs any more. The stream's lock is held. */
void stream_trim(struct stream *s);
/* The payload of a done event, in at most LIMIT_STREAM_EVENT; owned. */
char *stream_done_payload(const char *reason, const char *extra, size_t *ret_len);
#define STREAM_DONE_SMALL_MAX 128u
/* The same without extra, into STREAM_DONE_SMALL_MAX bytes; the reason cut to what struct stream
 * holds. */
size_t stream_done_small(char *ret, const char *reason);

/* ---- spill ---- */

/* Sends to the store what is due. Log thread, no lock held. Returns ms until it wants to be called
 * again, or UINT64_MAX. */
uint64_t stream_spill(struct stream *s, uint64_t now_ms);
/* True when stream_spill has something to do (perhaps later). The stream's lock is held. */
bool stream_is_spill_due(const struct stream *s);

/* ---- hub ---- */

struct hub {
    _Atomic unsigned refs;       /* the owner's and one a stream */
    struct store *store;         /* borrowed */
    struct worker_pool *workers; /* borrowed */
    struct journal *journal;     /* owned */
    pthread_t log_thread;
    bool has_log_thread;
    /* log thread's */
    uint64_t journal_retry_ms, seen_segment, last_batch_ns;
    struct list delayed; /* streams to look at again at … */
    uint64_t delayed_ms;

    struct bell
        bell; /* the log thread's; here because it may be rung until the last reference goes */
    _Atomic bool is_from_loop; /* of the pending batch: a loop gathers by itself */
    _Atomic size_t recovering; /* recovered streams that the store lacks yet */
    uint64_t *old_files;       /* owned: numbers of the files they came from; log thread's */
    size_t old_file_count;

    struct lock table_lock;
    struct map table; /* id → struct stream, weak */
    uint64_t next_key;
    bool is_closing;

    struct lock attention_lock;
    struct list attention; /* streams the log thread shall look at; each holds a ref */

    struct lock ports_lock;
    struct list ports;

    struct lock ops_lock; /* spills under way */
    struct cond ops_done;
    size_t ops;
    _Atomic bool stop_log;
};
void hub_unref(struct hub *h);
/*
 * Something is in the journal's pending batch: the log thread is woken, from a loop at the end of its turn, so that all the
 * turn's events are one batch. No lock held. Thread: any.
 */
void hub_wake_log(struct hub *h);
/* The log thread will call stream_spill. Thread: any; the stream's lock may be held. */
void hub_attention(struct hub *h, struct stream *s);
/*
 * Replays DIR: what the store lacks is in the table afterwards, closed, to be spilled; h->old_files
 * go when it is. *ret_next gets the number of the next journal file. On failure nothing was
 * deleted. Before there is a log thread.
 */
int hub_recover(struct hub *h, const char *dir, uint64_t *ret_next, struct err *err) MUST_CHECK;

/* ---- reading ---- */

/* A block of the store, checked. */
struct block {
    uint64_t first_seq, last_seq;
    char *bytes; /* owned */
    size_t len;
    struct tail_mark mark;
};
/* The block with event seq. Blocks. -ERR_NOT_FOUND, -ERR_IO, -ERR_CORRUPT, … */
int block_read(struct stream *s, uint64_t seq, struct block **ret, struct err *err) MUST_CHECK;
void block_free(struct block *b);
/* Records from seq to the block's end; false when it is not in there. */
bool block_find(struct block *b, uint64_t seq, struct span *ret);
struct stream_event record_event(const struct record *r);

/* ---- wake-ups ---- */

/* One a loop and hub: gathers the feeds that have more, so that a batch costs each loop one
 * message. */
struct port {
    struct list link; /* hub's */
    struct loop *loop;
    _Atomic unsigned refs;
    struct lock lock;
    struct list dirty; /* feeds */
    struct list stop;  /* in `dirty` during a delivery: where it ends */
    bool is_posted;
    bool needs_post;
    struct loop_msg msg;
    struct buf frame, text; /* the loop's: one event encoded; tokens being merged */
    struct loop_defer ring; /* the loop's: wakes the log thread */
    struct hub *rings_for;  /* ref while `ring` is due */
};
struct port *port_get(struct hub *h, struct loop *loop); /* borrowed from the hub */
void port_unref(struct port *p);
/* The feed has more. Stream's lock held (so that the feed exists). With `post` the loop is woken
 * now, else by ports_post. */
void port_mark(struct port *p, struct feed *f, bool post);
void ports_post(struct hub *h);
void port_ring(struct loop_defer *d); /* hub.c: of hub_wake_log */

/* ---- feeds ---- */

/* Encoded frames of consecutive events. Never grows in place: its bytes stay where they are.
 * Loop's. */
struct segment {
    struct list link; /* feed's; points to itself once dropped */
    unsigned refs;
    uint64_t first_seq, last_seq;
    size_t len, cap;
    uint32_t *starts; /* owned: where each event begins */
    size_t starts_cap;
    char bytes[];
};
void segment_unref(struct segment *s);

struct feed_read;
/* Frames of one stream for one codec on one loop. Its fields belong to the loop, but for `dirty`.
 */
struct feed {
    struct list stream_link; /* stream's lock */
    struct list dirty_link;  /* port's lock */
    bool is_dirty;           /* port's lock */
    struct port *port;
    struct stream *stream; /* ref */
    const struct stream_codec *codec;
    size_t follower_count;
    struct list followers; /* not waiting */
    struct list waiting;   /* for events */
    struct list reading;   /* for a block */
    struct list segments;
    size_t segment_bytes;
    uint64_t next_seq; /* to be encoded next */
    uint64_t done_seq; /* of the done event once known, else 0 */
    bool is_replay;    /* the stream is closed */
    bool is_at_edge; /* nothing is committed past next_seq, or a message that says so is on its way
                      */
    struct tail_mark mark;
    struct block *block;    /* owned: last one read from the store */
    struct feed_read *read; /* under way, or NULL */
    struct timer retry;     /* the worker queue was full */
    struct loop_defer defer;
};
struct feed *feed_get(struct stream *s, struct loop *loop, const struct stream_codec *codec,
                      uint64_t next_seq);
/* After the last follower has left. Its memory lives until the end of the turn. */
void feed_release(struct feed *f);
/* On the loop, when the port brings news. */
void feed_advanced(struct feed *f);

enum feed_result { FEED_MORE, FEED_NOTHING, FEED_NEEDS_BLOCK, FEED_NO_MEMORY, FEED_GONE };
/* Encodes up to a segment's worth of new events for all. */
enum feed_result feed_extend(struct feed *f);
/* The segment that holds seq, or NULL. */
struct segment *feed_segment(const struct feed *f, uint64_t seq);
/* Merged frames from *seq on into `own`; *seq gets the next number. */
enum feed_result feed_merge(struct feed *f, uint64_t *seq, struct buf *own);
/* Fetches the block with seq; followers in `reading` are woken then. */
void feed_request(struct feed *f, uint64_t seq);
/* Drops the shared segments; sharing goes on at seq. */
void feed_jump(struct feed *f, uint64_t seq);
/* follow.c: block with `seq` has come (or could not be read). True: to be woken; it is in no list
 * then. */
bool follower_read_done(struct follower *f, uint64_t seq, int result);
void follower_wake(struct follower *f);
