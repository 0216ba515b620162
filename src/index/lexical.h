#pragma once
/*
 * The lexical index of one source: file contents, chunks and an inverted index with BM25 (k1 1.2, b
 * 0.75). It is an immutable snapshot of one or more segments. A segment is a file that is written
 * once, memory-mapped and verified on open. A snapshot of several is a manifest (update.h): which
 * segments, and which of their files have been replaced or removed since. Whatever it is made of, a
 * snapshot answers as one segment built of the same files would: the same ids, hits and scores.
 * Ids count from 0 without holes. In a snapshot of several segments files have the order of their
 * paths (bytewise); in one segment, the order in which they were added: add them by path.
 * Build: one thread, memory bounded by index_build_options.memory_bytes (spills runs to disk and
 * merges them) but for 4 bytes a chunk and 20 a file.
 * Search: any thread, on a snapshot held by reference. Synchronous: workers only, not loops.
 *
 * Fields: terms of the chunk's text count once, of its symbol four times more (under
 * ANALYZER_PROSE: once more), of its path three times (once, as the text does not hold it, and twice
 * more).
 * Prose in another language than English is stemmed in it; a query in the languages it may meet: its own, or
 * where that is not clear all that are common in the collection, and English.
 * File context: a chunk's score + 0.5 × its whole file's own BM25 score.
 */
#include "base/err.h"
#include "base/span.h"
#include "text/analyze.h"
#include "text/prose_language.h"
#include <stdatomic.h>

/* ---- build ---- */

struct index_build_options {
    enum analyzer analyzer;
    size_t memory_bytes;  /* postings held before a run is spilled; 0 = 64 MiB */
    const char *revision; /* kept in the header; may be "" */
    const char *fingerprint;
};

struct index_chunk_in {
    uint32_t start_line, end_line;
    size_t start, len; /* range of the file's text */
    struct span symbol, symbol_kind;
    uint8_t kind; /* enum chunk_kind of ingest; below 128 */
    bool is_test; /* besides those of a file that is one */
};

#define INDEX_HASH_BYTES 16u /* of a file's bytes as they are on disk */

struct index_file_in {
    struct span path, language, text;
    uint64_t size;
    int64_t mtime_ns;
    uint64_t stamp;                 /* changes when the file on disk does; 0 = unknown */
    uint8_t hash[INDEX_HASH_BYTES]; /* all 0 = unknown */
    bool is_test;
    const struct index_chunk_in *chunks;
    size_t chunk_count;
};

struct index_builder;
/* The segment appears at `path` only when finish succeeds (temporary file, fsync, rename). */
int index_builder_new(const char *path, const struct index_build_options *options,
                      struct index_builder **ret, struct err *err) MUST_CHECK;
int index_builder_add(struct index_builder *b, const struct index_file_in *file,
                      struct err *err) MUST_CHECK;
int index_builder_finish(struct index_builder *b, struct err *err) MUST_CHECK;
void index_builder_free(struct index_builder *b); /* removes what was not finished */

/* ---- read ---- */

struct index; /* an open snapshot, shared by reference */

/*
 * Opens a segment, or a manifest with the segments it names. -ERR_NOT_FOUND, -ERR_CORRUPT (named
 * section), -ERR_IO. The whole file is verified by checksum once, at open. A segment of a manifest
 * that is damaged or gone is left out: see index_stats.damage.
 */
int index_open(const char *path, struct index **ret, struct err *err) MUST_CHECK;
struct index *index_ref(struct index *ix);
void index_unref(struct index *ix);

struct index_stats {
    uint32_t files, chunks;
    uint64_t text_bytes;
    uint64_t terms;          /* different ones of the largest segment */
    const char *revision;    /* owned by the index, as the next two */
    const char *fingerprint; /* "" when files are missing: indexing has not ended, or damage */
    const char *damage;      /* what was left out at open and why, or "" */
    uint32_t segments;
    uint32_t languages, scripts; /* PROSE_BITs of its prose, SCRIPT_BITs of all its text */
    enum analyzer analyzer;
};
void index_stats(const struct index *ix, struct index_stats *ret);

struct index_file_view {
    uint32_t id;
    struct span path, language, text;
    uint64_t size;
    int64_t mtime_ns;
    uint64_t stamp;
    const uint8_t *hash; /* INDEX_HASH_BYTES, owned by the index */
    bool is_test;
    uint32_t first_chunk, chunk_count;
};
bool index_file(const struct index *ix, uint32_t file, struct index_file_view *ret);
bool index_file_by_path(const struct index *ix, struct span path, struct index_file_view *ret);

struct index_chunk_view {
    uint32_t id, file;
    uint32_t start_line, end_line;
    struct span path, symbol, symbol_kind, language, text;
    uint8_t kind;
    bool is_test;
};
bool index_chunk(const struct index *ix, uint32_t chunk, struct index_chunk_view *ret);

/* ---- search ---- */

struct index_hit {
    uint32_t chunk;
    float score;
};
/*
 * Best k chunks (k <= 4096) for the text, by descending score, ties by ascending chunk id:
 * deterministic. A k above is cut; at most LIMIT_QUERY_TERMS_COUNT different terms are looked at.
 * Returns how many, or -ERR_NO_MEMORY. A query without any known term has no hits.
 */
int index_search(const struct index *ix, struct span query, struct index_hit *ret,
                 unsigned k) MUST_CHECK;
/*
 * The same for the chunks of one file only; chunks without any query term are hits too when the
 * file has one.
 */
int index_search_file(const struct index *ix, struct span query, uint32_t file,
                      struct index_hit *ret, unsigned k) MUST_CHECK;
/* How much each query term contributed to one chunk's score, for --explain. */
struct index_term_weight {
    char term[ANALYZER_TERM_MAX + 1];
    float weight;
};
int index_explain(const struct index *ix, struct span query, uint32_t chunk,
                  struct index_term_weight *ret, unsigned max) MUST_CHECK;
/* Inverse document frequency of an (already analysed) term in this index; 0 when unknown. */
float index_idf(const struct index *ix, struct span term);
