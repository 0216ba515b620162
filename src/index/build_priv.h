#pragma once
/* What the files of the builder share: section writers, spilled runs, the merge. */
#include "index/lexical.h"
#include "index/segment_priv.h"
#include "text/analyst.h"

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
/* Renames a finished file into place and makes the name durable too. 0 or -errno. */
int file_publish(const char *partial, const char *path, bool *ret_is_renamed) MUST_CHECK;

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

/* ---- terms.c: the TERM_STRINGS, TERMS, ENTRIES and LISTS sections, term by term ---- */

struct terms {
    struct section *sections;
    const uint32_t *lengths;     /* in terms, of each chunk */
    const uint32_t *first_chunk; /* of each file */
    float average;               /* chunk length */
    struct seg_term term;        /* the one being written */
    struct pool list;            /* one file's chunk list */
    uint64_t entries_count;
    int error; /* errno, sticky */
};

void terms_begin(struct terms *t, struct span name);
/*
 * One file's postings of the term, files ascending: first how many chunks, then each (its number in
 * the file less the one before).
 */
void terms_file(struct terms *t, uint32_t count);
/* Returns what it adds to the entry's bound. */
float terms_chunk(struct terms *t, uint32_t file, uint32_t chunk, uint32_t delta, uint32_t tf);
/* `chunk` and `tf` are the last chunk's. */
void terms_end_file(struct terms *t, uint32_t file, uint32_t file_tf, uint32_t count,
                    uint32_t chunk, uint32_t tf, float best);
void terms_end(struct terms *t);
/* The record that ends the last; frees. 0 or -errno. */
int terms_done(struct terms *t) MUST_CHECK;

/* ---- builder.c ---- */

struct index_builder {
    char *path, *partial; /* owned */
    enum analyzer analyzer;
    char revision[SEG_NAME_BYTES], fingerprint[SEG_NAME_BYTES];
    struct section sections[SEG_SECTIONS]; /* TEXT writes to the segment itself */
    struct runs runs;
    struct pool lengths, first_chunks, paths; /* u32 a chunk, u32 a file, struct seg_path a file */
    uint32_t files_count, chunks_count;
    uint64_t chunk_terms_total, file_terms_total;
    uint32_t last_language, last_kind; /* strings repeat: the last one written is reused */
    char last_language_text[SEG_LANGUAGE_MAX], last_kind_text[SEG_SYMBOL_KIND_MAX];
    size_t last_language_len, last_kind_len;
    uint32_t chunk_terms, weight;              /* of what is being analysed */
    struct analyst *analysts[PROSE_LANGUAGES]; /* owned; made when first needed */
    struct analyst *analyst;                   /* of the file being added; NULL: analyze() does */
    uint8_t prose;                             /* as in seg_file, of that file */
    uint32_t scripts;
    bool is_published; /* the partial file has its final name */
    bool is_broken;    /* an add failed: finish must not publish */
    char *last_path;   /* owned; SEG_PATH_MAX; of builder_check_order */
    size_t last_path_len;
};

/* -ERR_INVALID unless the path comes after that of the call before. */
int builder_check_order(struct index_builder *b, struct span path, struct err *err) MUST_CHECK;

/* Puts a stored file as it is, but for its postings. Errors as index_builder_add. */
int builder_copy(struct index_builder *b, const struct index *from, uint32_t file,
                 struct err *err) MUST_CHECK;
/* Begins the terms of what was put. */
void builder_begin_terms(struct index_builder *b, struct terms *ret);
/* All but the terms, which are in their sections: writes and publishes. */
int builder_publish(struct index_builder *b, struct err *err) MUST_CHECK;

/* ---- runs_merge.c: the spilled runs to terms ---- */

int merge_runs(const struct runs *runs, struct terms *out, struct err *err) MUST_CHECK;

/* ---- manifest.c ---- */

struct span index_dir_of(const char *path);           /* with its '/', or empty */
struct span index_stem_of(const char *manifest_path); /* its name without the ending */
