#pragma once
/* Open segments, and the snapshot that joins them. */
#include "index/lexical.h"
#include "index/segment_priv.h"

/* One open segment file: pointers into the mapping, all checked by segment.c. Immutable. */
struct segment {
    _Atomic unsigned refs;
    const uint8_t *map; /* owned mapping */
    size_t map_len;
    const struct seg_header *header;
    const char *text, *strings, *term_strings;
    const struct seg_file *files;
    const struct seg_chunk *chunks;
    const struct seg_path *paths;
    const struct seg_term *terms; /* terms_count + 1 */
    const struct seg_entry *entries;
    const uint8_t *lists;
    uint32_t files_count, chunks_count, terms_count, entries_count;
    uint64_t lists_len;
    uint32_t file_chunks_max; /* chunks of the file that has most */
    float average;            /* chunk length when it was built: what the bounds are of */
};

int seg_open(const char *path, struct segment **ret, struct err *err) MUST_CHECK;
struct segment *seg_ref(struct segment *g);
void seg_unref(struct segment *g);
/* Term number or UINT32_MAX. */
uint32_t segment_find_term(const struct segment *g, struct span term);
bool segment_find_path(const struct segment *g, struct span path, uint32_t *ret);
static inline struct span segment_path(const struct segment *g, uint32_t file)
{
    return span_of(g->strings + g->files[file].path_offset, g->files[file].path_len);
}

/* A file whose content is as stored, though it was touched since. */
struct seg_touch {
    uint32_t file, reserved;
    int64_t mtime_ns;
    uint64_t stamp;
};

#define SEG_FILE_NAME_BYTES 64u /* of a segment, in its directory; with NUL */

/* A segment in a snapshot. */
struct part {
    struct segment *seg; /* ref */
    char name[SEG_FILE_NAME_BYTES];
    uint32_t *dead; /* owned; files that are not in the snapshot, ascending */
    uint32_t dead_count;
    uint32_t touch_count;
    struct seg_touch *touches; /* owned; by file */
    /*
     * owned; the snapshot's id of each file, files_count of the snapshot for a dead one. NULL: its
     * own number.
     */
    uint32_t *ids;
    uint64_t live_text;
    float bound_ratio; /* how much a bound may be too low, as the average has changed */
};

struct file_ref {
    uint32_t part, file;
};

struct index {
    _Atomic unsigned refs;
    struct part *parts; /* owned */
    unsigned parts_count;
    enum analyzer analyzer;
    const char *revision, *fingerprint; /* in head or in the only segment */
    char *head;                         /* owned; revision, fingerprint, recipe, each with NUL */
    const char *recipe;
    char *damage; /* owned, or NULL */
    uint64_t content;
    uint32_t retry_count;
    struct file_ref *refs_of; /* owned; of each file. NULL: one part, its own numbers */
    uint32_t *first_chunks;   /* owned; files_count + 1. NULL with refs_of */
    float *file_norms;        /* owned; seg_norm of each file, and one more for the dead */
    uint32_t files_count, chunks_count, file_chunks_max;
    uint64_t text_bytes;
    float average;             /* chunk length */
    uint32_t languages;        /* PROSE_BITs of its prose */
    uint32_t common_languages; /* of these, those of one in COMMON_SHARE prose files */
    uint32_t scripts;          /* SCRIPT_BITs */
};

static inline struct file_ref index_locate(const struct index *ix, uint32_t file)
{
    return ix->refs_of ? ix->refs_of[file] : (struct file_ref){0, file};
}
static inline uint32_t index_first_chunk(const struct index *ix, uint32_t file)
{
    return ix->first_chunks ? ix->first_chunks[file] : ix->parts[0].seg->files[file].first_chunk;
}
static inline uint32_t part_id(const struct part *p, uint32_t file)
{
    return p->ids ? p->ids[file] : file;
}

/* ---- snapshot.c ---- */

/* What a snapshot is made of: copied, and references taken. */
struct snapshot_in {
    const struct part *parts; /* seg, name, dead and touches count; the rest is worked out */
    unsigned parts_count;
    enum analyzer analyzer;
    const char *revision, *fingerprint, *recipe;
    uint64_t content;     /* changes when files do; merging leaves it */
    uint32_t retry_count; /* files that failed and may not the next time */
};
/*
 * Parts without a living file are left out. -ERR_CORRUPT: files out of order or twice, numbers past
 * the segment's. -ERR_NO_MEMORY, -ERR_TOO_LARGE.
 */
int snapshot_new(const struct snapshot_in *in, struct index **ret, struct err *err) MUST_CHECK;
/* The same again, for a manifest or a next snapshot. Borrows from ix. */
void snapshot_describe(const struct index *ix, struct snapshot_in *ret);

/* ---- manifest.c ---- */

#define MAN_MAGIC "HWMANIF1"
#define MAN_VERSION 1u

/* Little-endian; after it struct man_part a part, the dead of all, room to 8 bytes, all touches. */
struct man_header {
    char magic[8];
    uint32_t version, analyzer;
    uint64_t file_bytes, content;
    uint32_t parts_count, retry_count;
    char revision[SEG_NAME_BYTES], fingerprint[SEG_NAME_BYTES], recipe[SEG_NAME_BYTES];
    uint32_t body_crc;
    uint32_t crc; /* of all before */
};
struct man_part {
    char name[SEG_FILE_NAME_BYTES];
    uint64_t file_bytes;  /* of the segment, and … */
    uint32_t segment_crc; /* … its header's checksum: it is this file and no other */
    uint32_t files_count, dead_count, touch_count;
};
_Static_assert(sizeof(struct man_header) == 816 && sizeof(struct man_part) == 88 &&
                   sizeof(struct seg_touch) == 24,
               "records have no holes");
/* 1 / 0 by its first bytes (0 for what is too short to tell), or an error: -ERR_NOT_FOUND, -ERR_IO. */
int manifest_is(const char *path, struct err *err) MUST_CHECK;
/*
 * Opens what the manifest names. Damaged files are renamed to "<stem>.hwm.damaged-N" or
 * "<stem>.hwi.damaged-N" (N up to INDEX_DAMAGED_KEPT_COUNT, then the last is replaced): a manifest
 * then is -ERR_CORRUPT, a segment is missing in the snapshot and named in its damage; without any
 * segment left it is an error too.
 */
#define INDEX_DAMAGED_KEPT_COUNT 4
int manifest_open(const char *path, struct index **ret, struct err *err) MUST_CHECK;
/*
 * Makes the snapshot, writes its manifest (temporary file, fsync, rename, fsync of the directory)
 * and removes the segments of `current` (or NULL) that it does not name.
 */
int manifest_publish(const char *path, const struct snapshot_in *in, const struct index *current,
                     struct index **ret, struct err *err) MUST_CHECK;
/* "DIR/name" of a segment beside the manifest. */
int segment_path_of(const char *manifest, const char *name, char ret[SEG_PATH_MAX + 80],
                    struct err *err) MUST_CHECK;
void segment_remove(const char *manifest, const char *name);
/* A name that no segment has. */
int segment_new_name(const char *manifest, char ret[SEG_FILE_NAME_BYTES],
                     struct err *err) MUST_CHECK;

/*
 * Scores every chunk with any query term by the same arithmetic, without pruning: the oracle of
 * index_search.
 */
int index_search_exhaustive(const struct index *ix, struct span query, struct index_hit *ret,
                            unsigned k) MUST_CHECK;
