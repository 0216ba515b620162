#pragma once
/* What the tests of stream/ share: a world (directory, store, workers, loop, hub) and readers that check as they read. */
#include "../cm.h"
#include "stream/stream.h"

struct world {
    char dir[64];
    char journal[96];
    struct store *store;
    struct worker_pool *workers;
    struct loop *loop;
    struct hub *hub;
    bool is_memory; /* store in memory: survives hub_close, not the process */
};
void world_open(struct world *w, bool is_memory, uint64_t segment_bytes);
void world_open_dir(struct world *w, const char *dir,
                    uint64_t segment_bytes);             /* an existing directory, SQLite */
void world_hub(struct world *w, uint64_t segment_bytes); /* opens the hub (again) */
void world_hub_close(struct world *w);
void world_close(struct world *w); /* and deletes the directory */
void world_close_keep(struct world *w);
void remove_tree(const char *dir);

/* Runs fn(arg) on the loop and waits for it. */
void on_loop(struct world *w, void (*fn)(void *arg), void *arg);

/* Frames: u8 type, u64 seq, u32 length, payload. */
extern const struct stream_codec kit_codec;       /* merges */
extern const struct stream_codec kit_codec_plain; /* does not */

/* What a reader has seen, in a form that does not depend on how tokens were merged. */
struct seen {
    char *text; /* all tokens; for each other event "\1<type><payload>\2" */
    size_t len, cap;
    uint64_t last_seq;
    uint64_t frames;
    bool has_done;
    char *big; /* bytes of a frame that is not whole yet */
    size_t big_len, big_cap;
};
void seen_done(struct seen *s);
void seen_event(struct seen *s, enum stream_event_type type, uint64_t seq, struct span payload);
void seen_bytes(struct seen *s, const char *p, size_t len); /* of kit_codec */

struct reader {
    struct follower follower;
    struct world *world;
    struct stream *stream; /* borrowed */
    const struct stream_codec *codec;
    struct seen seen;
    size_t per_wake;       /* bytes taken at each wake; 0 = all */
    uint64_t stop_after;   /* stops by itself past that number; 0 = never */
    unsigned reconnect_in; /* random: reconnects after so many steps; 0 = never */
    unsigned reconnects;
    uint64_t random;
    bool claims_more; /* `after` is not what it has seen */
    bool is_stopped, is_failed;
    int error;
    char reason[32];
    uv_timer_t pace;
    bool has_pace;
    _Atomic bool ended;
};
void reader_start(struct reader *r, struct world *w, struct stream *s, uint64_t after);
void reader_wait(struct reader *r); /* until ended, failed or stopped by itself */
uint64_t reader_seen(struct reader *r, uint64_t *ret_frames /* or NULL */); /* last number so far */
void reader_stop(struct reader *r);

struct stream *find_stream(struct world *w, const char *id, int *ret_result);
struct stream *new_stream(struct world *w, bool is_durable);
void append_text(struct stream *s, const char *text);
void wait_ms(unsigned ms);
/* All committed events of a stream, until its end when it is closed. */
void read_all(struct stream *s, struct seen *ret);
/* Waits (at most some seconds) until cond(arg). */
bool wait_until(bool (*cond)(void *arg), void *arg);
