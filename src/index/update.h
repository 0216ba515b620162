#pragma once
/*
 * Changing a stored index. An update takes what is there and what the files are now, and makes the
 * next snapshot: files that have not changed stay where they are, changed and new ones go to a new
 * segment, removed ones vanish. A merge makes one segment of several, in the background.
 *
 *   index_update_new(&options, old, &u, &err);
 *   for each file of the source, by path:
 *       index_update_keep(u, path, stamp) || read it, and index_update_keep_text(u, …) ||
 *       index_update_copy(u, …) > 0 || index_update_add(u, …)
 *       when index_update_is_due(u): index_update_seal, index_update_publish(…, false): a checkpoint
 *   index_update_seal(u, &err);
 *   index_update_publish(u, current, true, &next, &err);
 *   index_update_free(u);
 *
 * On disk: DIR/STEM.hwm is the manifest, DIR/STEM-XXXXXXXX.hwi are segments. The manifest decides;
 * a segment that it does not name is a left-over of a kill and may be removed. Nothing is written in
 * place: after a kill at any moment the old or the next snapshot is there, whole.
 *
 * Threads: an update and a merge have one user each (worker; they block). They may run beside each
 * other and beside searches; publishing (index_update_publish, index_merge_publish) is one at a time
 * for one manifest, with `current` the snapshot published last: the caller holds a lock over that.
 */
#include "index/lexical.h"

#define INDEX_MANIFEST_SUFFIX ".hwm"
#define INDEX_SEGMENT_SUFFIX ".hwi"
#define INDEX_RANDOM_CHARS 8 /* of a segment's name */

#define INDEX_DELTAS_MAX 8        /* segments beside the largest before small ones are merged */
#define INDEX_DEAD_SHARE_MAX 0.25 /* of a segment's text, replaced or removed, before it is */

struct index_update_options {
    const char *manifest; /* path */
    enum analyzer analyzer;
    size_t memory_bytes; /* as index_build_options */
    const char
        *recipe; /* how files are cut: an index of another recipe is not reused; < 256 bytes */
    uint64_t checkpoint_bytes; /* of text; 0 = never */
};

/* What an update did, in files. */
struct index_changes {
    uint32_t added, changed, removed, unchanged;
    uint32_t touched; /* of the unchanged: read, and found to be the same */
    uint32_t moved;   /* of the added and changed: content known, not cut again */
};

struct index_update;
/*
 * `old` (or NULL) is the snapshot published last; a reference is taken. Without it, or when it has
 * another analyzer or recipe, everything is new. -ERR_NO_MEMORY, -ERR_INVALID.
 */
int index_update_new(const struct index_update_options *options, struct index *old,
                     struct index_update **ret, struct err *err) MUST_CHECK;
/* Removes what was not published. */
void index_update_free(struct index_update *u);

/* True: the file is as it was when it had this stamp (not 0), and stays. */
bool index_update_keep(struct index_update *u, struct span path, uint64_t stamp);
/* True: the file's bytes are what is indexed at this path, and it stays; its stamp is noted. */
bool index_update_keep_text(struct index_update *u, struct span path,
                            const uint8_t hash[INDEX_HASH_BYTES], uint64_t stamp, int64_t mtime_ns);
/* Whether a file with these bytes and this language is indexed, so that index_update_copy will do. */
bool index_update_knows(struct index_update *u, const uint8_t hash[INDEX_HASH_BYTES],
                        struct span language);
/* What is at the path from now on. Errors as index_builder_add; after one the file is not in. */
int index_update_add(struct index_update *u, const struct index_file_in *file,
                     struct err *err) MUST_CHECK;
/* The same with the chunks of the file that index_update_knows found; file->chunks is not read. */
int index_update_copy(struct index_update *u, const struct index_file_in *file,
                      struct err *err) MUST_CHECK;

/* Enough was added for a checkpoint. */
bool index_update_is_due(const struct index_update *u);
/* Writes the segment of what was added since the last time. Long; needs no lock. */
int index_update_seal(struct index_update *u, struct err *err) MUST_CHECK;
struct index_publish {
    struct index *current; /* the snapshot published last, or NULL */
    const char *revision, *fingerprint;
    uint32_t retry_count; /* files that failed and may not the next time */
    bool is_last;         /* what was neither kept nor added is gone; else it stays */
};
/*
 * Makes the next snapshot of the sealed: the manifest is written, segments no longer named are
 * removed (whoever has them open keeps them). *ret: a reference; the same as current when nothing
 * changed. After an error the old snapshot stays.
 */
int index_update_publish(struct index_update *u, const struct index_publish *how,
                         struct index **ret, struct err *err) MUST_CHECK;
void index_update_changes(const struct index_update *u, struct index_changes *ret);
uint32_t index_retry_count(const struct index *ix); /* of the publish that made it */

struct index_merge;
/* Whether some segments should become one. */
bool index_merge_is_due(const struct index *ix);
/*
 * Merges some of the snapshot's segments into a new file. Long. `cancel` or NULL. -ERR_CANCELLED,
 * -ERR_IO, -ERR_NO_MEMORY, -ERR_CORRUPT, -ERR_TOO_LARGE.
 */
int index_merge_new(const char *manifest, struct index *ix, const _Atomic bool *cancel,
                    struct index_merge **ret, struct err *err) MUST_CHECK;
/* The same for all segments: the file is what a full build of the same files would have been. */
int index_merge_all(const char *manifest, struct index *ix, struct index_merge **ret,
                    struct err *err) MUST_CHECK;
/*
 * As index_update_publish; `current` may have changed since. -ERR_BUSY: the segments that were
 * merged are not in it any more.
 */
int index_merge_publish(struct index_merge *m, struct index *current, struct index **ret,
                        struct err *err) MUST_CHECK;
void index_merge_free(struct index_merge *m);

/*
 * Whether the manifest names the segment file: 1 / 0, also 0 when there is no sound manifest; or
 * -ERR_IO, -ERR_NO_MEMORY. For the sweep of left-overs.
 */
int index_manifest_names(const char *manifest, struct span segment) MUST_CHECK;
