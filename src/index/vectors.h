#pragma once
/*
 * The vectors that one embedder made of a source's chunks, and the search among them.
 *
 * A vector file is a cache that only grows: rows {hash of the embedded text, unit vector}, each with
 * its own checksum, written in batches. What was embedded once is not asked for again: not after a
 * restart, not after a re-index, not for a text that moved within its file. What a crash left behind
 * the last sound row is dropped at open, a damaged row is skipped (and its text embedded again). One
 * embedder per file; its key is in the header (provider, model, dimensions): a file of another key
 * is -ERR_UNSUPPORTED and the caller begins a new one.
 *
 * A leg joins a vector file with one index: which row each chunk has. It scans one bit a dimension
 * and ranks the best by their exact cosine. A leg may be partial (chunks without a vector are no
 * hits); it is immutable and shared by reference, as the index is, and outlives the struct vectors
 * it was made from.
 *
 * Memory. vectors: 24 to 40 bytes a row and at most 1 MiB not yet written. Leg: a bit a dimension
 * and 8 bytes for each different text, 8 bytes a chunk; the file itself is mapped, and a search
 * reads a few hundred rows of it. Search: 2 bytes a text while it runs.
 *
 * Threads: a struct vectors has one user at a time (the caller's lock), vector_leg_new included;
 * legs and searches: any thread. All of it blocks (files, maps): workers only.
 */
#include "base/buf.h"
#include "index/lexical.h"

#define VECTOR_DIMS_MAX 8192u
#define VECTOR_KEY_MAX 256u /* with NUL */

struct vector_hash { /* of the text as it was sent to the embedder: 128 bits of its SHA-256 */
    uint64_t a, b;
};
struct vector_hash vector_hash_of(struct span text);

struct vectors;
/*
 * Opens or creates; all rows are read and checked once. -ERR_UNSUPPORTED (another key or version),
 * -ERR_CORRUPT (the header, or not a vector file), -ERR_BUSY (open already, here or in another
 * process), -ERR_TOO_LARGE (more than LIMIT_VECTORS_COUNT rows), -ERR_INVALID (key too long or
 * empty), -ERR_IO, -ERR_NO_MEMORY. A file that is refused is left as it is.
 */
int vectors_open(const char *path, const char *key, struct vectors **ret,
                 struct err *err) MUST_CHECK;
/* Writes what is pending, without waiting for the disk. NULL is fine. */
void vectors_close(struct vectors *v);
unsigned vectors_dims(const struct vectors *v);  /* 0 while it is empty: the first row decides */
size_t vectors_count(const struct vectors *v);   /* different texts */
size_t vectors_damaged(const struct vectors *v); /* rows skipped at open */
bool vectors_has(const struct vectors *v, struct vector_hash hash);
/*
 * Adds one row; the values are normalised. -ERR_INVALID: not finite, all zero, or not the file's
 * dimensions. A hash that is there already changes nothing. -ERR_LIMIT (LIMIT_VECTORS_COUNT),
 * -ERR_NO_MEMORY; -ERR_IO: the row is not in, and what was in stays.
 */
int vectors_add(struct vectors *v, struct vector_hash hash, const float *values, unsigned dims,
                struct err *err) MUST_CHECK;
/* What was added is on disk when it returned 0; after -ERR_IO it may be called again. */
int vectors_sync(struct vectors *v, struct err *err) MUST_CHECK;

struct vector_leg;
/*
 * Hashes the text of every chunk (vector_chunk_text) and looks its row up. 0 also when no chunk has
 * a vector. -ERR_NO_MEMORY, -ERR_IO. Holds a reference to the index.
 */
int vector_leg_new(struct vectors *v, struct index *ix, struct vector_leg **ret,
                   struct err *err) MUST_CHECK;
struct vector_leg *vector_leg_ref(struct vector_leg *leg);
void vector_leg_unref(struct vector_leg *leg);
const struct index *vector_leg_index(const struct vector_leg *leg);
unsigned vector_leg_dims(const struct vector_leg *leg);    /* 0: no chunk has a vector */
uint32_t vector_leg_covered(const struct vector_leg *leg); /* chunks that have a vector */
size_t vector_leg_memory(const struct vector_leg *leg);    /* bytes, without the mapped file */
/*
 * Best k chunks (k <= 1000) by cosine, best first, ties by ascending chunk id; the same on every
 * machine. The query need not be a unit vector. Returns how many; -ERR_INVALID (other dimensions,
 * not finite, all zero), -ERR_NO_MEMORY.
 */
int vector_leg_search(const struct vector_leg *leg, const float *query, unsigned dims,
                      struct index_hit *ret, unsigned k) MUST_CHECK;
/*
 * Sets the score of each hit to its chunk's exact cosine, VECTOR_NO_SCORE where it has no vector. 0,
 * or as vector_leg_search.
 */
#define VECTOR_NO_SCORE (-2.0f)
int vector_leg_score(const struct vector_leg *leg, const float *query, unsigned dims,
                     struct index_hit *hits, unsigned count) MUST_CHECK;

/*
 * The text of a chunk as it is embedded: "path\nsymbol\n\ntext", cut at a character's border within
 * VECTOR_TEXT_MAX bytes. Appended to out; whoever embeds and whoever hashes use this and nothing
 * else.
 */
#define VECTOR_TEXT_MAX (8u << 10)
void vector_chunk_text(const struct index_chunk_view *chunk, struct buf *out);
