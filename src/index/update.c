#include "index/update.h"

#include "base/limits.h"
#include "base/mem.h"
#include "index/build_priv.h"
#include "index/index_priv.h"

#include <stdlib.h>

#define IS_SET 1u /* in seg_touch.reserved, in memory only */

enum file_state { UNDECIDED, KEPT, REPLACED };

/* A file of the old snapshot, found by its content. */
struct known {
    uint64_t hash; /* the first bytes of it */
    uint32_t file, reserved;
};

struct index_update {
    char *manifest, *recipe; /* owned */
    enum analyzer analyzer;
    size_t memory_bytes;
    uint64_t checkpoint_bytes;
    struct index *old;   /* ref, or NULL; the state below is by its ids */
    bool replaces_all;   /* there was one that cannot be used: nothing of it is carried over */
    uint8_t *state;      /* owned; enum file_state of each file of old */
    struct pool touches; /* struct seg_touch, `file` being old's id */
    struct known *known; /* owned; by hash; made when first asked for */
    uint32_t known_count;
    uint32_t next;                      /* files are asked for by path: the likely next one */
    struct index_builder *builder;      /* owned; of what was added since the last seal */
    char building[SEG_FILE_NAME_BYTES]; /* its segment's name */
    struct segment *sealed;             /* ref; written, not yet in a manifest */
    char sealed_name[SEG_FILE_NAME_BYTES];
    uint64_t added_bytes, sealed_bytes; /* of text: in the builder, in all segments before */
    struct index_changes changes;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory to update the index");
}

/* ---- making ---- */

/* Takes over a snapshot as what the state is about. The reference moves. */
static int take_old(struct index_update *u, struct index *old, uint8_t *state)
{
    index_unref(u->old);
    mem_free(u->state);
    mem_free(u->known);
    u->old = old;
    u->state = state ? state : mem_try((size_t)old->files_count + 1);
    u->known = NULL;
    u->known_count = u->next = 0;
    u->touches.len = 0;
    return u->state ? 0 : -ERR_NO_MEMORY;
}

int index_update_new(const struct index_update_options *o, struct index *old,
                     struct index_update **ret, struct err *err)
{
    if (strlen(o->recipe) >= SEG_NAME_BYTES)
        return err_set(err, ERR_INVALID, "recipe of the index is too long");
    struct index_update *u = mem_try(sizeof *u);
    if (!u)
        return no_memory(err);
    u->manifest = mem_try_strndup(o->manifest, strlen(o->manifest));
    u->recipe = mem_try_strndup(o->recipe, strlen(o->recipe));
    u->analyzer = o->analyzer;
    u->memory_bytes = o->memory_bytes;
    u->checkpoint_bytes = o->checkpoint_bytes;
    int rc = u->manifest && u->recipe ? 0 : -ERR_NO_MEMORY;
    if (old && old->analyzer == o->analyzer && strcmp(old->recipe, o->recipe) == 0) {
        if (rc == 0)
            rc = take_old(u, index_ref(old), NULL);
    } else {
        u->replaces_all = old != NULL;
    }
    if (rc < 0) {
        index_update_free(u);
        return no_memory(err);
    }
    *ret = u;
    return 0;
}

static void drop_sealed(struct index_update *u)
{
    if (!u->sealed)
        return;
    seg_unref(take_ptr(u->sealed));
    segment_remove(u->manifest, u->sealed_name);
}

void index_update_free(struct index_update *u)
{
    if (!u)
        return;
    index_builder_free(u->builder);
    drop_sealed(u);
    index_unref(u->old);
    mem_free(u->state);
    mem_free(u->touches.ptr);
    mem_free(u->known);
    mem_free(u->manifest);
    mem_free(u->recipe);
    mem_free(u);
}

/* ---- what stays ---- */

static bool find_path(struct index_update *u, struct span path, struct index_file_view *ret)
{
    if (!u->old)
        return false;
    bool found = (index_file(u->old, u->next, ret) && span_eq(ret->path, path)) ||
                 index_file_by_path(u->old, path, ret);
    if (found)
        u->next = ret->id + 1;
    return found;
}

static void keep(struct index_update *u, uint32_t file)
{
    u->state[file] = KEPT;
    u->changes.unchanged++;
}

bool index_update_keep(struct index_update *u, struct span path, uint64_t stamp)
{
    struct index_file_view f;
    if (!stamp || !find_path(u, path, &f) || f.stamp != stamp || u->state[f.id] != UNDECIDED)
        return false;
    keep(u, f.id);
    return true;
}

static bool has_hash(const uint8_t hash[INDEX_HASH_BYTES])
{
    static const uint8_t none[INDEX_HASH_BYTES];
    return memcmp(hash, none, sizeof none) != 0;
}

bool index_update_keep_text(struct index_update *u, struct span path,
                            const uint8_t hash[INDEX_HASH_BYTES], uint64_t stamp, int64_t mtime_ns)
{
    struct index_file_view f;
    if (!has_hash(hash) || !find_path(u, path, &f) || u->state[f.id] != UNDECIDED ||
        memcmp(f.hash, hash, INDEX_HASH_BYTES) != 0)
        return false;
    struct seg_touch *t = pool_add(&u->touches, sizeof *t);
    if (!t)
        return false; /* then it is indexed again: dearer, but right */
    *t = (struct seg_touch){.file = f.id, .mtime_ns = mtime_ns, .stamp = stamp};
    keep(u, f.id);
    u->changes.touched++;
    return true;
}

/* ---- what is known by its content ---- */

static uint64_t hash_key(const uint8_t hash[INDEX_HASH_BYTES])
{
    uint64_t key;
    memcpy(&key, hash, sizeof key);
    return key;
}

static int compare_known(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->file < y->file ? -1 : x->file > y->file;
}

static bool make_known(struct index_update *u)
{
    if (u->known || !u->old)
        return u->known != NULL;
    u->known = mem_try_array((size_t)u->old->files_count + 1, sizeof *u->known);
    if (!u->known)
        return false;
    struct index_file_view f;
    u->known_count = 0;
    for (uint32_t i = 0; index_file(u->old, i, &f); i++)
        if (has_hash(f.hash))
            u->known[u->known_count++] = (struct known){hash_key(f.hash), i, 0};
    if (u->known_count)
        qsort(u->known, u->known_count, sizeof *u->known, compare_known);
    return true;
}

static bool find_known(struct index_update *u, const uint8_t hash[INDEX_HASH_BYTES],
                       struct span language, struct index_file_view *ret)
{
    if (!has_hash(hash) || !make_known(u))
        return false;
    uint64_t key = hash_key(hash);
    uint32_t lo = 0, hi = u->known_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (u->known[mid].hash < key)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < u->known_count && u->known[lo].hash == key; lo++)
        if (index_file(u->old, u->known[lo].file, ret) &&
            memcmp(ret->hash, hash, INDEX_HASH_BYTES) == 0 && span_eq(ret->language, language))
            return true;
    return false;
}

bool index_update_knows(struct index_update *u, const uint8_t hash[INDEX_HASH_BYTES],
                        struct span language)
{
    struct index_file_view f;
    return find_known(u, hash, language, &f);
}

/* ---- what is new ---- */

static int begin_segment(struct index_update *u, struct err *err)
{
    char path[SEG_PATH_MAX + 80];
    struct index_build_options o = {.analyzer = u->analyzer, .memory_bytes = u->memory_bytes};
    int rc = segment_new_name(u->manifest, u->building, err);
    if (rc == 0)
        rc = segment_path_of(u->manifest, u->building, path, err);
    return rc < 0 ? rc : index_builder_new(path, &o, &u->builder, err);
}

int index_update_add(struct index_update *u, const struct index_file_in *file, struct err *err)
{
    struct index_file_view f;
    bool is_changed = find_path(u, file->path, &f);
    if (is_changed && u->state[f.id] != UNDECIDED)
        return err_set(err, ERR_INVALID, "'" SPAN_FMT "' is in the update twice",
                       SPAN_ARG(file->path));
    if (is_changed)
        u->state[f.id] = REPLACED;
    int rc = u->builder ? 0 : begin_segment(u, err);
    if (rc == 0)
        rc = builder_check_order(u->builder, file->path, err);
    if (rc == 0)
        rc = index_builder_add(u->builder, file, err);
    if (rc < 0) {
        u->changes.removed += is_changed;
        return rc;
    }
    u->added_bytes += file->text.len;
    u->changes.changed += is_changed;
    u->changes.added += !is_changed;
    return 0;
}

int index_update_copy(struct index_update *u, const struct index_file_in *file, struct err *err)
{
    struct index_file_view from;
    struct index_chunk_view c;
    if (!find_known(u, file->hash, file->language, &from) || from.text.len != file->text.len)
        return err_set(err, ERR_NOT_FOUND, "the content of '" SPAN_FMT "' is not known",
                       SPAN_ARG(file->path));
    struct index_chunk_in *chunks = mem_try_array((size_t)from.chunk_count + 1, sizeof *chunks);
    if (!chunks)
        return no_memory(err);
    for (uint32_t i = 0; i < from.chunk_count && index_chunk(u->old, from.first_chunk + i, &c); i++)
        chunks[i] = (struct index_chunk_in){.start_line = c.start_line,
                                            .end_line = c.end_line,
                                            .start = (size_t)(c.text.ptr - from.text.ptr),
                                            .len = c.text.len,
                                            .symbol = c.symbol,
                                            .symbol_kind = c.symbol_kind,
                                            .kind = c.kind,
                                            .is_test = c.is_test && !from.is_test};
    struct index_file_in in = *file;
    in.chunks = chunks;
    in.chunk_count = from.chunk_count;
    int rc = index_update_add(u, &in, err);
    mem_free(chunks);
    u->changes.moved += rc == 0;
    return rc;
}

/* ---- publishing ---- */

bool index_update_is_due(const struct index_update *u)
{
    /* Steps grow with what there is: few segments, and never much more than a fifth is lost. */
    uint64_t step =
        u->checkpoint_bytes > u->sealed_bytes / 4 ? u->checkpoint_bytes : u->sealed_bytes / 4;
    return u->checkpoint_bytes && !u->replaces_all && u->added_bytes >= step;
}

int index_update_seal(struct index_update *u, struct err *err)
{
    char path[SEG_PATH_MAX + 80];
    if (!u->builder)
        return 0;
    int rc = index_builder_finish(u->builder, err);
    if (rc == 0)
        rc = segment_path_of(u->manifest, u->building, path, err);
    if (rc == 0)
        rc = seg_open(path, &u->sealed, err);
    if (rc < 0)
        segment_remove(u->manifest, u->building);
    else
        memcpy(u->sealed_name, u->building, sizeof u->sealed_name);
    index_builder_free(take_ptr(u->builder));
    u->sealed_bytes += u->added_bytes;
    u->added_bytes = 0;
    return rc;
}

/* The parts of the next snapshot; lists are owned by it until it is made. */
struct next {
    struct part parts[LIMIT_INDEX_SEGMENTS_COUNT + 1];
    unsigned count;
    bool has_changed;
};

static void next_done(struct next *n)
{
    for (unsigned i = 0; i < n->count; i++) {
        mem_free(n->parts[i].dead);
        mem_free(n->parts[i].touches);
    }
}

static bool is_gone(const struct index_update *u, uint32_t id, bool is_last)
{
    return u->state[id] == REPLACED || (is_last && u->state[id] == UNDECIDED);
}

/*
 * One segment of the current snapshot, with what the update found out about its files. Ids of
 * current are those of old: merges change none.
 */
static int carry_part(struct next *n, const struct index_update *u, const struct index *ix,
                      const struct part *from, const struct seg_touch *touched, bool is_last)
{
    uint32_t files = from->seg->files_count;
    struct part *p = &n->parts[n->count++];
    *p = (struct part){.seg = from->seg,
                       .dead = mem_try_array((size_t)files + 1, sizeof *p->dead),
                       .touches = mem_try_array((size_t)files + 1, sizeof *p->touches)};
    if (!p->dead || !p->touches)
        return -ERR_NO_MEMORY;
    memcpy(p->name, from->name, sizeof p->name);
    const struct seg_touch *old = from->touches, *old_end = old + from->touch_count;
    for (uint32_t f = 0; f < files; f++) {
        uint32_t id = part_id(from, f);
        bool was_alive = id < ix->files_count;
        bool is_touched_before = old < old_end && old->file == f;
        if (!was_alive || is_gone(u, id, is_last)) {
            p->dead[p->dead_count++] = f;
        } else if (touched && touched[id].reserved) {
            p->touches[p->touch_count++] =
                (struct seg_touch){f, 0, touched[id].mtime_ns, touched[id].stamp};
        } else if (is_touched_before) {
            p->touches[p->touch_count++] = *old;
        }
        old += is_touched_before;
    }
    n->has_changed |= p->dead_count != from->dead_count;
    return 0;
}

static int carry_parts(struct next *n, const struct index_update *u, const struct index *ix,
                       bool is_last)
{
    size_t count = u->touches.len / sizeof(struct seg_touch);
    const struct seg_touch *all = (const struct seg_touch *)(const void *)u->touches.ptr;
    struct seg_touch *touched =
        count ? mem_try_array((size_t)ix->files_count + 1, sizeof *touched) : NULL;
    int rc = count && !touched ? -ERR_NO_MEMORY : 0;
    for (size_t i = 0; touched && i < count; i++)
        touched[all[i].file] =
            (struct seg_touch){all[i].file, IS_SET, all[i].mtime_ns, all[i].stamp};
    for (unsigned i = 0; rc == 0 && i < ix->parts_count; i++)
        rc = carry_part(n, u, ix, &ix->parts[i], touched, is_last);
    mem_free(touched);
    return rc;
}

static int plan(struct next *n, const struct index_update *u, const struct index_publish *how)
{
    const struct index *ix = how->current;
    int rc = u->old ? carry_parts(n, u, ix, how->is_last) : 0;
    if (rc == 0 && u->sealed) {
        struct part *p = &n->parts[n->count++];
        *p = (struct part){.seg = u->sealed};
        memcpy(p->name, u->sealed_name, sizeof p->name);
        n->has_changed = true;
    }
    return rc;
}

/* After a checkpoint: what was decided about each file, by its new id. */
static int continue_with(struct index_update *u, const struct index *was, struct index *next)
{
    uint8_t *state = mem_try((size_t)next->files_count + 1);
    if (!state)
        return -ERR_NO_MEMORY;
    for (unsigned i = 0; i < next->parts_count; i++) {
        const struct part *p = &next->parts[i], *before = NULL;
        for (unsigned k = 0; u->old && k < was->parts_count; k++)
            if (was->parts[k].seg == p->seg)
                before = &was->parts[k];
        for (uint32_t f = 0; f < p->seg->files_count; f++) {
            uint32_t id = part_id(p, f);
            if (id < next->files_count)
                state[id] = before ? u->state[part_id(before, f)] : (uint8_t)KEPT;
        }
    }
    return take_old(u, index_ref(next), state);
}

static bool is_same(const struct index *ix, const struct index_publish *how, const struct next *n,
                    const struct index_update *u)
{
    return ix && !n->has_changed && u->touches.len == 0 && !u->replaces_all && !ix->damage &&
           ix->retry_count == how->retry_count && strcmp(ix->revision, how->revision) == 0 &&
           strcmp(ix->fingerprint, how->fingerprint) == 0;
}

/* Changes of the files that were in neither kept nor added. */
static void count_removed(struct index_update *u)
{
    for (uint32_t i = 0; u->old && i < u->old->files_count; i++)
        u->changes.removed += u->state[i] == UNDECIDED;
}

static int publish(struct index_update *u, const struct index_publish *how, struct next *n,
                   struct index **ret, struct err *err)
{
    const struct index *ix = how->current;
    if (plan(n, u, how) < 0)
        return no_memory(err);
    if (u->old && is_same(ix, how, n, u)) {
        *ret = index_ref(how->current);
        return 0;
    }
    struct snapshot_in in = {
        .parts = n->parts,
        .parts_count = n->count,
        .analyzer = u->analyzer,
        .revision = how->revision,
        .fingerprint = how->fingerprint,
        .recipe = u->recipe,
        .content = (ix ? ix->content : 0) + (n->has_changed || !u->old),
        .retry_count = how->retry_count,
    };
    return manifest_publish(u->manifest, &in, ix, ret, err);
}

int index_update_publish(struct index_update *u, const struct index_publish *how,
                         struct index **ret, struct err *err)
{
    if (u->builder || strlen(how->revision) >= SEG_NAME_BYTES ||
        strlen(how->fingerprint) >= SEG_NAME_BYTES)
        return err_set(err, ERR_INVALID, "an index cannot be published like that");
    if (u->old && (!how->current || how->current->content != u->old->content ||
                   how->current->files_count != u->old->files_count))
        return err_set(err, ERR_BUSY, "the index was changed by another meanwhile");
    struct next *n = mem_try(sizeof *n);
    int rc = n ? publish(u, how, n, ret, err) : no_memory(err);
    if (n)
        next_done(n);
    mem_free(n);
    if (rc < 0)
        return rc;
    seg_unref(take_ptr(u->sealed));
    if (how->is_last)
        count_removed(u);
    else if (continue_with(u, how->current, *ret) < 0)
        rc = no_memory(err);
    u->replaces_all = false;
    if (rc < 0)
        index_unref(take_ptr(*ret));
    return rc;
}

void index_update_changes(const struct index_update *u, struct index_changes *ret)
{
    *ret = u->changes;
}

uint32_t index_retry_count(const struct index *ix)
{
    return ix->retry_count;
}
