#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "stream/stream_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * What the journal holds beyond the store becomes closed streams in memory, which are then stored
 * like any other: so the time it takes does not depend on the store, and a store that fails now is
 * tried again later. Whatever has no end gets one. The old files stay until all of it is stored;
 * done again after a crash in the middle it comes to the same, since only events past the store's
 * last one count.
 */
#define WINDOW_BYTES \
    (4u << 20)          /* of a file in memory; holds the largest record several times over */
#define KEY_CACHE 4096u /* streams found without the table; a power of two */
#define JOURNAL_FILES_MAX 65536u

/* A stream that the journal speaks of. */
struct replay {
    struct stream *stream; /* ref; last_seq: the store's, then with what the journal adds */
    bool is_done, has_gap;
    bool is_stored; /* closed in the store: nothing to add */
};

struct key_slot {
    uint64_t key;
    struct replay *replay;
};

struct recovery {
    struct hub *hub;
    int dir_fd;
    struct map streams;     /* id → struct replay, owned */
    struct map keys;        /* of the file being read: key's 8 bytes → struct replay */
    struct key_slot *cache; /* in front of `keys` */
    char *window;
    uint64_t *files; /* numbers, ascending */
    size_t file_count, file_cap;
    uint64_t next_segment;
    uint64_t damaged, orphans, events, interrupted;
};

/* ---- records ---- */

/* The value of done's first member, which is ours: {"reason":"…" */
static struct span reason_of(struct span payload)
{
    struct span start = SPAN_LIT("{\"reason\":\"");
    if (!span_starts(payload, start))
        return SPAN_LIT("unknown");
    payload = span_skip(payload, start.len);
    ptrdiff_t end = span_find_char(payload, '"');
    return span_first(payload, end > 0 ? (size_t)end : 0);
}

static void set_done(struct replay *rp, struct span payload)
{
    struct stream *s = rp->stream;
    struct span reason = span_first(reason_of(payload), sizeof s->reason - 1);
    rp->is_done = true;
    s->is_closed = true;
    s->closed_ms = clock_wall_ms();
    snprintf(s->reason, sizeof s->reason, "%.*s", (int)reason.len, reason.ptr);
}

static int add_record(struct recovery *rc, struct replay *rp, const struct record *rec,
                      struct span bytes)
{
    struct stream *s = rp->stream;
    if (rp->is_done || rec->seq <= s->last_seq)
        return 0; /* the store has it */
    if (rec->seq > s->last_seq + 1 || rp->has_gap) {
        rp->has_gap = true; /* a damaged part lies before: what follows would be read as if it were
                               the whole */
        rc->orphans++;
        return 0;
    }
    char *at = tail_reserve(&s->tail, rec->seq, bytes.len);
    if (!at)
        return -ERR_NO_MEMORY;
    memcpy(at, bytes.ptr, bytes.len);
    tail_added(&s->tail, rec->seq, bytes.len,
               0); /* old files are kept as a whole, not by segment */
    s->last_seq = s->committed_seq = rec->seq;
    rc->events++;
    if (rec->type == STREAM_DONE)
        set_done(rp, rec->payload);
    return 0;
}

static void copy_text(char *to, size_t size, struct span text)
{
    snprintf(to, size, "%.*s", (int)text.len, text.ptr ? text.ptr : "");
}

static int new_replay(struct recovery *rc, const struct store_stream *row, struct replay **ret)
{
    struct replay *rp = mem_try(sizeof *rp);
    if (!rp)
        return -ERR_NO_MEMORY;
    int r = map_set(&rc->streams, span_str(row->id), rp, NULL);
    if (r < 0) {
        mem_free(rp);
        return r;
    }
    struct stream *s = stream_new(rc->hub, row->id, row->tenant, row->kind, true);
    s->created_ms = row->created_ms;
    s->last_seq = s->committed_seq = s->spilled_seq = row->last_seq;
    rp->stream = s;
    rp->is_done = rp->is_stored = row->is_closed;
    *ret = rp;
    return 0;
}

/* 0, -ERR_CORRUPT (the record is none of ours), other codes: recovery cannot go on. */
static int open_stream(struct recovery *rc, const struct record *rec, struct err *err)
{
    struct record_open o;
    struct store_stream row = {0};
    if (!record_open_parse(rec->payload, &o) || o.id.len >= sizeof row.id ||
        o.tenant.len >= sizeof row.tenant || o.kind.len >= sizeof row.kind)
        return -ERR_CORRUPT;
    struct replay *rp = map_get(&rc->streams, o.id);
    if (!rp) {
        char tenant[STORE_ID_MAX], id[STORE_ID_MAX];
        copy_text(id, sizeof id, o.id);
        copy_text(tenant, sizeof tenant, o.tenant);
        int r = store_stream_get(rc->hub->store, tenant, id, &row, err);
        if (r < 0 && r != -ERR_NOT_FOUND)
            return r == -ERR_CORRUPT ? -ERR_IO : r;
        if (r < 0) {
            row = (struct store_stream){.created_ms = o.created_ms};
            memcpy(row.id, id, sizeof id);
            memcpy(row.tenant, tenant, sizeof tenant);
            copy_text(row.kind, sizeof row.kind, o.kind);
        }
        r = new_replay(rc, &row, &rp);
        if (r < 0)
            return r;
    }
    rc->cache[rec->key & (KEY_CACHE - 1)] = (struct key_slot){rec->key, rp};
    return map_set(&rc->keys, span_of((const char *)&rec->key, sizeof rec->key), rp, NULL);
}

static struct replay *replay_of(struct recovery *rc, uint64_t key)
{
    struct key_slot *slot = &rc->cache[key & (KEY_CACHE - 1)];
    if (slot->replay && slot->key == key)
        return slot->replay;
    struct replay *rp = map_get(&rc->keys, span_of((const char *)&key, sizeof key));
    if (rp)
        *slot = (struct key_slot){key, rp};
    return rp;
}

/* Records of a window. *ret_used: bytes of whole records. -ERR_CORRUPT at a damaged one. */
static int replay_window(struct recovery *rc, struct span bytes, size_t *ret_used, struct err *err)
{
    struct span rest = bytes;
    enum record_result result;
    for (;;) {
        struct record rec;
        const char *at = rest.ptr;
        *ret_used = (size_t)(rest.ptr - bytes.ptr);
        result = record_next(&rest, &rec);
        if (result != RECORD_OK)
            break;
        int r = 0;
        if (rec.type == RECORD_OPEN) {
            r = open_stream(rc, &rec, err);
        } else {
            struct replay *rp = replay_of(rc, rec.key);
            if (rp)
                r = add_record(rc, rp, &rec, span_of(at, (size_t)(rest.ptr - at)));
            else
                r = -ERR_CORRUPT;
        }
        if (r < 0)
            return r;
    }
    return result == RECORD_DAMAGED ? -ERR_CORRUPT : 0;
}

static bool is_all_zero(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i])
            return false;
    return true;
}

static ssize_t read_some(int fd, char *to, size_t size)
{
    size_t have = 0;
    while (have < size) {
        ssize_t n = fault_hit(FAULT_READ) ? (errno = EIO, -1) : read(fd, to + have, size - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

/* -ERR_CORRUPT: damaged at some place, all before it was taken. */
static int replay_fd(struct recovery *rc, int fd, const char *name, struct err *err)
{
    size_t have = 0;
    bool is_first = true;
    for (;;) {
        ssize_t n = read_some(fd, rc->window + have, WINDOW_BYTES - have);
        if (n < 0)
            return err_errno(err, errno, "cannot read journal file '%s'", name);
        bool is_end = have + (size_t)n < WINDOW_BYTES;
        have += (size_t)n;
        struct span bytes = span_of(rc->window, have);
        uint64_t number;
        size_t header = is_first ? JOURNAL_HEADER_BYTES : 0, used = 0;
        int r = is_first ? journal_header_parse(bytes, &number) : 0;
        if (r == -ERR_NOT_FOUND)
            return 0; /* killed while it was begun */
        is_first = false;
        if (r == 0)
            r = replay_window(rc, span_skip(bytes, header), &used, err);
        used += header;
        if (r == -ERR_CORRUPT && is_end && is_all_zero(span_skip(bytes, used)))
            return 0; /* the end of a file that lost its last bytes with the power */
        if (r < 0 || is_end)
            return r;
        have -= used;
        memmove(rc->window, rc->window + used, have);
    }
}

static int replay_file(struct recovery *rc, uint64_t number, struct err *err)
{
    char name[32], kept[48];
    snprintf(name, sizeof name, "%0*llu.log", JOURNAL_NAME_DIGITS, (unsigned long long)number);
    int fd = openat(rc->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot open journal file '%s'", name);
    map_done(&rc->keys);
    memset(rc->cache, 0, KEY_CACHE * sizeof *rc->cache);
    int r = replay_fd(rc, fd, name, err);
    close(fd);
    if (r != -ERR_CORRUPT)
        return r;
    rc->damaged++;
    snprintf(kept, sizeof kept, "%s.damaged", name);
    LOG_ERROR("stream",
              "a journal file is damaged; what follows the damage in it is lost, the file is kept",
              LOG_S("file", kept));
    /* A copy by name: the original goes with the others once all is stored. */
    if (linkat(rc->dir_fd, name, rc->dir_fd, kept, 0) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot keep damaged journal file '%s'", name);
    return 0;
}

/* ---- the end ---- */

static int add_interrupted(struct recovery *rc, struct replay *rp)
{
    char payload[STREAM_DONE_SMALL_MAX],
        bytes[STREAM_DONE_SMALL_MAX + RECORD_HEADER_BYTES + RECORD_FIELDS_MAX_BYTES];
    struct record rec = {.type = STREAM_DONE, .seq = rp->stream->last_seq + 1};
    rec.payload = span_of(payload, stream_done_small(payload, "interrupted"));
    rp->has_gap = false;
    rc->interrupted++;
    return add_record(rc, rp, &rec, span_of(bytes, record_put(bytes, &rec)));
}

static int add_unfinished(struct recovery *rc, struct err *err)
{
    struct store_stream *rows CLEANUP(mem_freep) = NULL;
    size_t count = 0;
    int r = store_streams_unfinished(rc->hub->store, &rows, &count, err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct replay *rp;
        if (!map_get(&rc->streams, span_str(rows[i].id)))
            r = new_replay(rc, &rows[i], &rp);
    }
    return r;
}

/* Every stream that the store lacks the end of gets one, and enters the table, from where it is
 * stored. */
static int end_all(struct recovery *rc)
{
    size_t at = 0;
    struct span id;
    void *value;
    int r = 0;
    while (r == 0 && map_each(&rc->streams, &at, &id, &value)) {
        struct replay *rp = value;
        if (!rp->is_done)
            r = add_interrupted(rc, rp);
        if (r == 0 && !rp->is_stored)
            r = map_set(&rc->hub->table, id, rp->stream, NULL);
    }
    return r;
}

/* From here nothing fails: the streams are the hub's. */
static void hand_over(struct recovery *rc)
{
    struct hub *h = rc->hub;
    size_t at = 0;
    struct span id;
    void *value;
    while (map_each(&h->table, &at, &id, &value)) {
        struct stream *s = value;
        s->has_live_ref = s->is_recovered = true;
        stream_ref(s);
        h->recovering++;
    }
    h->old_files = take_ptr(rc->files);
    h->old_file_count = rc->file_count;
}

/* ---- files ---- */

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static int add_file(struct recovery *rc, const char *name)
{
    uint64_t number;
    if (!journal_name_parse(name, &number))
        return 0;
    if (number >= rc->next_segment)
        rc->next_segment = number + 1;
    if (rc->file_count == rc->file_cap) {
        size_t cap = rc->file_cap ? rc->file_cap * 2 : 64;
        uint64_t *p = cap > JOURNAL_FILES_MAX ? NULL : mem_try_realloc(rc->files, cap * sizeof *p);
        if (!p)
            return -ERR_NO_MEMORY;
        rc->files = p;
        rc->file_cap = cap;
    }
    rc->files[rc->file_count++] = number;
    return 0;
}

static int list_files(struct recovery *rc, const char *dir, struct err *err)
{
    rc->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = rc->dir_fd < 0 ? NULL : opendir(dir);
    if (!d)
        return err_errno(err, errno, "cannot read the journal's directory '%s'", dir);
    const struct dirent *e;
    int r = 0;
    while (r == 0 && (e = readdir(d))) /* NOLINT(concurrency-mt-unsafe): d is ours alone */
        r = add_file(rc, e->d_name);
    closedir(d);
    if (rc->file_count)
        qsort(rc->files, rc->file_count, sizeof *rc->files, compare_numbers);
    return r;
}

static int run(struct recovery *rc, const char *dir, struct err *err)
{
    int r = dir ? list_files(rc, dir, err) : 0;
    if (r == 0 && rc->file_count) {
        rc->window = mem_try(WINDOW_BYTES);
        rc->cache = mem_try_array(KEY_CACHE, sizeof *rc->cache);
        if (!rc->window || !rc->cache)
            r = -ERR_NO_MEMORY;
    }
    for (size_t i = 0; r == 0 && i < rc->file_count; i++)
        r = replay_file(rc, rc->files[i], err);
    if (r == 0)
        r = add_unfinished(rc, err);
    return r < 0 ? r : end_all(rc);
}

static void done(struct recovery *rc)
{
    size_t at = 0;
    struct span id;
    void *value;
    while (map_each(&rc->streams, &at, &id, &value)) {
        struct replay *rp = value;
        stream_unref(rp->stream);
        mem_free(rp);
    }
    map_done(&rc->streams);
    map_done(&rc->keys);
    mem_free(rc->cache);
    mem_free(rc->window);
    mem_free(rc->files);
    if (rc->dir_fd >= 0)
        close(rc->dir_fd);
}

int hub_recover(struct hub *h, const char *dir, uint64_t *ret_next, struct err *err)
{
    struct recovery rc = {.hub = h, .dir_fd = -1, .next_segment = 1};
    struct err why = {0};
    int r = run(&rc, dir, &why);
    if (r == 0) {
        hand_over(&rc);
        *ret_next = rc.next_segment;
        if (rc.file_count || rc.interrupted)
            LOG_INFO("stream", "the journal has been replayed", LOG_U("files", rc.file_count),
                     LOG_U("events", rc.events), LOG_U("interrupted", rc.interrupted),
                     LOG_U("damaged_files", rc.damaged), LOG_U("events_dropped", rc.orphans));
    } else if (err) {
        *err = why;
        if (!err->code)
            err_set(err, (enum err_code) - r, "the store failed");
        err_prefix(err, "cannot replay the journal");
        err_hint(err, "nothing was deleted: free disk space or repair the store and start again");
    }
    done(&rc);
    return r;
}
