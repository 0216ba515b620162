#pragma once
/* The open segment: pointers into the mapping, all checked by open.c. */
#include "index/lexical.h"
#include "index/segment_priv.h"

struct index {
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
    float average;            /* chunk length */
    float *file_norms;        /* owned; seg_norm of each file */
};

/* Term number or UINT32_MAX. */
uint32_t index_find_term(const struct index *ix, struct span term);

/*
 * Scores every chunk with any query term by the same arithmetic, without pruning: the oracle of
 * index_search.
 */
int index_search_exhaustive(const struct index *ix, struct span query, struct index_hit *ret,
                            unsigned k) MUST_CHECK;
