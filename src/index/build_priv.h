#pragma once
/* What the files of the builder share: section writers, spilled runs, the merge. */
#include "index/lexical.h"
#include "index/segment_priv.h"

/* ---- sections.c: a buffered, checksummed stream into a file ---- */

struct section {
    int fd;       /* owned; an unlinked temporary file, or the segment itself for TEXT */
    uint32_t crc; /* of all put so far */
    uint64_t len; /* bytes put so far */
    uint8_t *buf; /* owned */
    size_t used;
    int error; /* first errno, sticky; 0 = none */
};

/* Unlinked file beside `path`. */
int temp_open(const char *path, struct err *err) MUST_CHECK;
int section_init(struct section *s, int fd, struct err *err) MUST_CHECK;
void section_done(struct section *s);
void section_put(struct section *s, const void *ptr, size_t len);
void section_flush(struct section *s);
int write_all(int fd, const void *ptr, size_t len) MUST_CHECK; /* 0 or -errno */

/* ---- runs.c: terms and postings in memory, spilled in term order ---- */

/* Growing array that is never above what its owner has put in, twice. */
struct pool {
    uint8_t *ptr; /* owned */
    size_t len, cap;
};
void *pool_add(struct pool *p, size_t size); /* uninitialised room, or NULL; may move the pool */

struct term_slot {
    uint64_t hash;
    uint32_t string;      /* offset in strings */
    uint32_t head, slice; /* first and last slice in bytes: [u32 room][u32 next][room]; 0 = none */
    uint32_t tail, tail_end; /* write position and end of room in the last */
    uint32_t last_file;
    uint32_t bytes_count;
    uint32_t file_head, file_tail; /* postings of the file being added, 1-based; 0 = none */
    uint32_t chunk_tf;             /* of the chunk being added */
    uint16_t len;
};

struct file_posting {
    uint32_t next, chunk, tf;
};

struct run {
    uint64_t offset, len;
};

struct runs {
    struct pool slots, strings, bytes;
    struct pool chunk_terms, file_terms; /* slot numbers seen in this chunk, in this file */
    struct pool postings;                /* struct file_posting of this file */
    uint32_t *table;                     /* owned; slot + 1 */
    size_t table_size, memory_max;
    struct section out;
    struct pool list; /* struct run */
    bool failed;      /* no memory; sticky */
};

int runs_init(struct runs *r, const char *path, size_t memory_max, struct err *err) MUST_CHECK;
void runs_done(struct runs *r);
/* The term occurs `tf` more times in the current chunk. */
void runs_add(struct runs *r, struct span term, uint32_t tf);
void runs_end_chunk(struct runs *r, uint32_t chunk_in_file);
void runs_end_file(struct runs *r, uint32_t file);
bool runs_is_full(const struct runs *r);
int runs_spill(struct runs *r, struct err *err) MUST_CHECK;

/* ---- merge.c ---- */

struct merge_in {
    const struct runs *runs;
    const uint32_t *chunk_terms_count; /* lengths */
    const uint32_t *first_chunk;       /* of each file */
    float average;
};
int merge_runs(const struct merge_in *in, struct section sections[SEG_SECTIONS],
               struct err *err) MUST_CHECK;
