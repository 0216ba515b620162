#include "ingest/ingest.h"

#include "base/fault.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/chunk.h"
#include "ingest/encoding.h"
#include "ingest/filter.h"
#include "ingest/notebook.h"
#include "ingest/walk.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define INGEST_VERSION 2     /* counted up when the same files give other chunks */
#define CTAGS_FAILURES_MAX 3 /* then it is not tried again in this run */

/* A file that was read and waits to be handed out. */
struct slot {
    const struct walk_entry *entry;
    char *bytes;        /* owned; as read */
    struct buf decoded; /* owned; used when bytes had to be changed */
    struct span text;
    const struct language *lang;
    uint64_t size;
    int64_t mtime_ns;
    uint64_t stamp;
    uint8_t hash[INGEST_HASH_BYTES];
    struct symbols_job job;
    bool has_job;
    bool has_cells; /* a notebook: its symbols are in job */
    bool is_known;  /* its chunks are at hand */
};

_Static_assert(INGEST_HASH_BYTES <= SHA256_SIZE, "the hash is the first bytes of a SHA-256");

struct ingest {
    struct ingest_options options;
    char *root;      /* owned */
    char **patterns; /* owned: excludes and includes, NULL after each */
    struct walk walk;
    bool is_walked;
    size_t next;        /* entry to read next */
    struct slot *slots; /* owned; LIMIT_BATCH_FILES_COUNT */
    size_t slot_count, slot_at;
    struct chunk_set chunks;
    struct symbols_job *jobs; /* owned; scratch of a batch */
    unsigned ctags_failures;
    uint64_t files_done, bytes_done, failed_count;
};

/* ---- options are copied: the caller's may go ---- */

static size_t list_length(const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

static int copy_list(char **to, const char *const *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = mem_try_strndup(from[i], strlen(from[i]));
        if (!to[i])
            return -ERR_NO_MEMORY;
    }
    return 0;
}

static int copy_options(struct ingest *in, const struct ingest_options *o)
{
    size_t e = list_length(o->excludes), i = list_length(o->includes);
    in->options = *o;
    in->root = mem_try_strndup(o->root ? o->root : "", o->root ? strlen(o->root) : 0);
    in->patterns = mem_try_array(e + i + 2, sizeof in->patterns[0]);
    if (!in->root || !in->patterns || copy_list(in->patterns, o->excludes, e) < 0 ||
        copy_list(in->patterns + e + 1, o->includes, i) < 0)
        return -ERR_NO_MEMORY;
    in->options.root = in->root;
    in->options.excludes = o->excludes ? (const char *const *)in->patterns : NULL;
    in->options.includes = i ? (const char *const *)(in->patterns + e + 1) : NULL;
    return 0;
}

static void free_patterns(struct ingest *in)
{
    size_t lists = 0;
    size_t e = list_length(in->options.excludes);
    for (size_t i = 0; in->patterns && lists < 2; i++) {
        if (!in->patterns[i])
            lists++;
        mem_free(in->patterns[i]);
    }
    (void)e;
    mem_free(in->patterns);
}

int ingest_open(const struct ingest_options *options, struct ingest **ret, struct err *err)
{
    struct ingest *in = mem_alloc(sizeof *in);
    in->walk.root_fd = -1;
    int r = copy_options(in, options);
    if (r == 0) {
        in->slots = mem_try_array(LIMIT_BATCH_FILES_COUNT, sizeof in->slots[0]);
        in->jobs = mem_try_array(LIMIT_BATCH_FILES_COUNT, sizeof in->jobs[0]);
        r = in->slots && in->jobs ? 0 : -ERR_NO_MEMORY;
    }
    if (r < 0)
        r = err_set(err, ERR_NO_MEMORY, "not enough memory to open '%s'", options->root);
    else
        r = walk_open(&in->walk, &in->options, err);
    if (r < 0) {
        ingest_free(in);
        return r;
    }
    *ret = in;
    return 0;
}

static void slot_done(struct slot *s)
{
    mem_free(s->bytes);
    buf_done(&s->decoded);
    symbols_done(&s->job.symbols);
    *s = (struct slot){0};
}

void ingest_free(struct ingest *in)
{
    if (!in)
        return;
    for (size_t i = 0; in->slots && i < in->slot_count; i++)
        slot_done(&in->slots[i]);
    walk_close(&in->walk);
    chunk_done(&in->chunks);
    free_patterns(in);
    mem_free(in->slots);
    mem_free(in->jobs);
    mem_free(in->root);
    mem_free(in);
}

/* ---- one file ---- */

static int64_t mtime_of(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* Fills bytes and size, or says why not. *ret_len is what was read. */
static const char *read_open_file(int fd, struct slot *s, size_t *ret_len)
{
    struct stat before, after;
    if (fstat(fd, &before) < 0 || !S_ISREG(before.st_mode))
        return "no longer a regular file";
    if (before.st_size > (off_t)LIMIT_FILE_BYTES)
        return "larger than 2 MB";
    size_t size = (size_t)before.st_size, len = 0;
    s->bytes = mem_try_realloc(NULL, size + 1);
    if (!s->bytes)
        return "not enough memory to read it";
    while (len <= size) {
        ssize_t n =
            fault_hit(FAULT_READ) ? (errno = EIO, -1) : read(fd, s->bytes + len, size + 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return "cannot be read (input/output error)";
        if (n == 0)
            break;
        len += (size_t)n;
    }
    if (fstat(fd, &after) < 0 || len != size || after.st_size != before.st_size ||
        mtime_of(&after) != mtime_of(&before))
        return "changed while it was read";
    uint8_t hash[SHA256_SIZE];
    sha256(s->bytes, len, hash);
    memcpy(s->hash, hash, sizeof s->hash);
    s->size = (uint64_t)size;
    s->mtime_ns = mtime_of(&after);
    s->stamp = walk_stamp(&after);
    *ret_len = len;
    return NULL;
}

/* A notebook becomes the text of its cells; what only bears the name of one stays JSON. */
static const char *read_notebook(struct slot *s)
{
    struct buf text;
    if (!span_is(span_str(s->lang->name), "notebook"))
        return NULL;
    buf_init(&text, (size_t)LIMIT_FILE_BYTES * 3 + 16);
    int r = notebook_text(s->text, &text, &s->job.symbols);
    if (r > 0) {
        buf_done(&s->decoded);
        s->decoded = text;
        s->text = buf_span(&s->decoded);
        s->has_cells = true;
        return NULL;
    }
    buf_done(&text);
    symbols_clear(&s->job.symbols);
    s->lang = language_named(SPAN_LIT("json"));
    return r < 0 ? "not enough memory to read it" : NULL;
}

/* Reads the file's bytes. A failure here may be over at the next try. */
static const char *load(struct ingest *in, struct slot *s, size_t *ret_len)
{
    int fd = walk_open_file(&in->walk, s->entry->path);
    if (fd < 0)
        return errno == EACCES  ? "no permission to read it"
               : errno == ELOOP ? "a symbolic link; links are not followed"
                                : "cannot be opened (gone meanwhile?)";
    const char *reason = read_open_file(fd, s, ret_len);
    close(fd);
    return reason;
}

/* Its text and language, or why it is not wanted. */
static const char *decode(struct slot *s, size_t len)
{
    buf_init(&s->decoded, (size_t)LIMIT_FILE_BYTES * 3 + 16);
    const char *reason = encoding_decode(span_of(s->bytes, len), &s->decoded, &s->text);
    if (reason)
        return reason;
    s->lang = language_of(s->entry->path, s->text);
    reason = read_notebook(s);
    if (reason)
        return reason;
    return filter_content(s->text, span_str(s->lang->name));
}

/* ---- batches ---- */

static bool is_cancelled(const struct ingest *in)
{
    return in->options.cancel && atomic_load_explicit(in->options.cancel, memory_order_relaxed);
}

static bool wants_ctags(const struct ingest *in)
{
    return in->options.use_ctags && in->ctags_failures < CTAGS_FAILURES_MAX;
}

static bool wants_symbols(const struct slot *s)
{
    return s->lang->ctags_ext && !s->is_known;
}

static int run_ctags(struct ingest *in, struct err *err)
{
    struct err local = {0};
    size_t n = 0;
    for (size_t i = 0; i < in->slot_count; i++)
        if (wants_symbols(&in->slots[i]))
            in->jobs[n++] =
                (struct symbols_job){.text = in->slots[i].text, .lang = in->slots[i].lang};
    if (n == 0)
        return 0;
    int r = symbols_ctags(in->jobs, n, in->options.cancel, &local);
    for (size_t i = 0, k = 0; i < in->slot_count; i++)
        if (wants_symbols(&in->slots[i])) {
            in->slots[i].job = in->jobs[k++];
            in->slots[i].has_job = in->slots[i].job.is_done;
        }
    if (r == -ERR_CANCELLED)
        return err_set(err, ERR_CANCELLED, "cancelled");
    if (r == -ERR_UNAVAILABLE) {
        in->ctags_failures = CTAGS_FAILURES_MAX;
        LOG_DEBUG("ingest", "ctags is not used", LOG_S("why", local.msg));
    } else if (r < 0) {
        in->ctags_failures++;
        LOG_DEBUG("ingest", "ctags failed; own scanners are used", LOG_S("why", local.msg));
    }
    return 0;
}

/* 1: the slot holds a file to hand out; 0: it is left out, or as it was; <0: no memory. */
static int take_entry(struct ingest *in, const struct walk_entry *e, struct slot *s)
{
    const struct ingest_known *known = &in->options.known;
    size_t len = 0;
    *s = (struct slot){.entry = e};
    if (known->is_same && known->is_same(known->ctx, e->path, e->stamp))
        return 0;
    const char *reason = load(in, s, &len);
    in->failed_count += reason != NULL;
    bool is_same = !reason && known->is_same_text &&
                   known->is_same_text(known->ctx, e->path, s->hash, s->stamp, s->mtime_ns);
    if (!reason && !is_same)
        reason = decode(s, len);
    if (!reason && !is_same) {
        s->is_known =
            known->has_chunks && known->has_chunks(known->ctx, s->hash, span_str(s->lang->name));
        return 1;
    }
    slot_done(s);
    return is_same ? 0 : skip_add(&in->walk.skipped, e->path, false, reason);
}

/* Reads the next files, one, or as many as ctags is to see at once. */
static int fill(struct ingest *in, struct err *err)
{
    size_t bytes = 0;
    in->slot_count = in->slot_at = 0;
    while (in->next < in->walk.count && in->slot_count < LIMIT_BATCH_FILES_COUNT &&
           bytes < LIMIT_BATCH_BYTES && (in->slot_count == 0 || wants_ctags(in))) {
        if (is_cancelled(in))
            return err_set(err, ERR_CANCELLED, "cancelled");
        struct slot *s = &in->slots[in->slot_count];
        int r = take_entry(in, &in->walk.entries[in->next++], s);
        if (r < 0)
            return err_set(err, ERR_NO_MEMORY, "not enough memory to go on");
        if (r == 0) {
            in->files_done++;
            continue;
        }
        bytes += s->text.len;
        in->slot_count++;
    }
    return wants_ctags(in) && in->slot_count ? run_ctags(in, err) : 0;
}

/*
 * Test or implementation, by convention of names: folders, "test_x", "x_test", "x.spec", "XTest". What merely
 * has "test" in a word (latest, attestation) is none.
 */
static bool is_test_path(struct span path)
{
    static const char folders[] = "test tests __tests__ __test__ spec specs testing testdata e2e "
                                  "unittests unit_tests testsuite t fixtures __mocks__";
    struct span part;
    while (span_find_char(path, '/') >= 0 && span_next(&path, '/', &part)) {
        struct span rest = span_str(folders), folder;
        while (span_next(&rest, ' ', &folder))
            if (span_eq_nocase(part, folder))
                return true;
    }
    ptrdiff_t dot = span_find_char(path, '.');
    struct span stem = dot > 0 ? span_first(path, (size_t)dot) : path;
    struct span tail = dot > 0 ? span_skip(path, (size_t)dot) : SPAN_NULL;
    return span_starts(stem, SPAN_LIT("test_")) || span_starts(stem, SPAN_LIT("test-")) ||
           span_ends(stem, SPAN_LIT("_test")) || span_ends(stem, SPAN_LIT("-test")) ||
           span_ends(stem, SPAN_LIT("_tests")) || span_ends(stem, SPAN_LIT("_spec")) ||
           span_ends(stem, SPAN_LIT("-spec")) || span_ends(stem, SPAN_LIT("Test")) ||
           span_ends(stem, SPAN_LIT("Tests")) || span_ends(stem, SPAN_LIT("Spec")) ||
           span_is(stem, "tests") || span_is(stem, "conftest") ||
           span_starts(tail, SPAN_LIT(".test.")) || span_starts(tail, SPAN_LIT(".spec.")) ||
           span_starts(tail, SPAN_LIT(".e2e."));
}

static int hand_out(struct ingest *in, struct slot *s, struct ingest_file *ret, struct err *err)
{
    bool has_tags = s->has_job && s->job.symbols.count > 0;
    bool has_symbols = has_tags || s->has_cells;
    int r = has_tags && !s->is_known ? symbols_join(&s->job.symbols, s->text, s->lang) : 0;
    if (r == 0 && !s->is_known)
        r = chunk_text(&in->chunks, s->text, s->lang, has_symbols ? &s->job.symbols : NULL);
    in->files_done++;
    if (r < 0)
        return err_set(err, ERR_NO_MEMORY, "not enough memory to cut '" SPAN_FMT "'",
                       SPAN_ARG(s->entry->path));
    in->bytes_done += s->text.len;
    *ret = (struct ingest_file){.path = s->entry->path,
                                .text = s->text,
                                .language = span_str(s->lang->name),
                                .size = s->size,
                                .mtime_ns = s->mtime_ns,
                                .stamp = s->stamp,
                                .is_known = s->is_known,
                                .is_test = is_test_path(s->entry->path),
                                .chunks = s->is_known ? NULL : in->chunks.items,
                                .chunk_count = s->is_known ? 0 : in->chunks.count};
    memcpy(ret->hash, s->hash, sizeof ret->hash);
    return 1;
}

int ingest_next(struct ingest *in, struct ingest_file *ret, struct err *err)
{
    if (!in->is_walked) {
        int r = walk_run(&in->walk, &in->options, err);
        if (r < 0)
            return r;
        in->is_walked = true;
    }
    if (is_cancelled(in))
        return err_set(err, ERR_CANCELLED, "cancelled");
    if (in->slot_at > 0)
        slot_done(&in->slots[in->slot_at - 1]); /* the one lent out by the last call */
    while (in->slot_at >= in->slot_count) {
        if (in->next >= in->walk.count) {
            in->slot_count = in->slot_at = 0;
            return 0;
        }
        int r = fill(in, err);
        if (r < 0)
            return r;
    }
    return hand_out(in, &in->slots[in->slot_at++], ret, err);
}

void ingest_progress(const struct ingest *in, struct ingest_progress *ret)
{
    *ret = (struct ingest_progress){.files_total = in->is_walked ? in->walk.count : 0,
                                    .files_done = in->files_done,
                                    .bytes_done = in->bytes_done,
                                    .skipped_count =
                                        in->walk.skipped.count + in->walk.skipped.dropped_count,
                                    .failed_count = in->failed_count};
}

const struct ingest_skipped *ingest_skipped(const struct ingest *in, size_t *ret_count)
{
    *ret_count = in->walk.skipped.count;
    return in->walk.skipped.items;
}

int ingest_leave_out(struct ingest *in, struct span path, const char *reason)
{
    return skip_add(&in->walk.skipped, path, false, reason);
}

static void fingerprint_of(const struct walk *w, char ret[17])
{
    /* What an older program cut is cut again. */
    uint64_t version[2] = {w->rules_hash, INGEST_VERSION};
    uint64_t hash = hash_stable(version, sizeof version);
    for (size_t i = 0; i < w->count; i++) {
        const struct walk_entry *e = &w->entries[i];
        uint64_t item[3] = {hash, hash_stable(e->path.ptr, e->path.len), e->stamp};
        hash = hash_stable(item, sizeof item);
    }
    snprintf(ret, 17, "%016llx", (unsigned long long)hash);
}

void ingest_walked_fingerprint(const struct ingest *in, char ret[17])
{
    ret[0] = 0;
    if (in->is_walked)
        fingerprint_of(&in->walk, ret);
}

int ingest_fingerprint(const struct ingest_options *options, char ret[17], struct err *err)
{
    struct walk w = {.root_fd = -1};
    int r = walk_open(&w, options, err);
    if (r == 0)
        r = walk_run(&w, options, err);
    if (r == 0)
        fingerprint_of(&w, ret);
    walk_close(&w);
    return r;
}
