#pragma once
/*
 * The segment file. Little-endian, fixed records, every section on a 16-byte border with its own
 * CRC-32C:
 *
 *   header (4096 bytes, own CRC) | TEXT | STRINGS | FILES | CHUNKS | PATHS
 *   | TERM_STRINGS | TERMS | ENTRIES | LISTS
 *
 * Postings have two levels, because a chunk's score contains its file's: a term has one `entry` a
 * file, in file order, of fixed size so that it can be found by binary search and used in place; an
 * entry holds the term's weight in the file, an upper bound of its weight in any chunk of the file
 * (what pruning needs), and either the one chunk it occurs in or where in LISTS its chunks are.
 */
#include "index/lexical.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "segments are mapped as they are: little-endian only");

#define SEG_MAGIC "HWLEXIX1"
#define SEG_VERSION 3u
#define SEG_HEADER_BYTES 4096u
#define SEG_ALIGN 16u
#define SEG_NAME_BYTES 256u /* revision, fingerprint; with NUL */
#define SEG_SYMBOL_MAX 1024u
#define SEG_SYMBOL_KIND_MAX 64u
#define SEG_LANGUAGE_MAX 64u
#define SEG_PATH_MAX 4096u

#define BM25_K1 1.2f
#define BM25_B 0.75f
#define FILE_CONTEXT 0.5f

enum seg_section {
    SEG_TEXT,         /* file texts, one after the other */
    SEG_STRINGS,      /* paths, languages, symbols */
    SEG_FILES,        /* struct seg_file */
    SEG_CHUNKS,       /* struct seg_chunk, in file order */
    SEG_PATHS,        /* struct seg_path, by hash */
    SEG_TERM_STRINGS, /* bytes of all terms, in order */
    SEG_TERMS,   /* struct seg_term, in byte order of the terms, and one more that ends the last */
    SEG_ENTRIES, /* struct seg_entry */
    SEG_LISTS,   /* varints: count, then (chunk delta, term frequency) */
    SEG_SECTIONS
};

struct seg_section_ref {
    uint64_t offset, len;
    uint32_t crc, reserved;
};

struct seg_header {
    char magic[8];
    uint32_t version, analyzer_version, analyzer;
    uint32_t scripts; /* SCRIPT_BITs of the texts */
    uint64_t file_bytes;
    uint64_t chunk_terms_total, file_terms_total; /* sums of lengths: averages of BM25 */
    char revision[SEG_NAME_BYTES], fingerprint[SEG_NAME_BYTES];
    struct seg_section_ref sections[SEG_SECTIONS];
    uint32_t crc; /* of all before */
    uint32_t reserved2;
};
_Static_assert(sizeof(struct seg_header) <= SEG_HEADER_BYTES, "header fits its page");

struct seg_file {
    uint64_t text_offset, size;
    int64_t mtime_ns;
    uint32_t text_len, path_offset, path_len, language_offset;
    uint32_t first_chunk, chunk_count;
    uint32_t terms_count; /* BM25 length */
    uint16_t language_len;
    uint8_t is_test;
    uint8_t prose;  /* 1 + the prose_language it is stemmed in; 0: no prose */
    uint64_t stamp; /* of the file on disk when it was read; 0 = not to be trusted */
    uint8_t hash[INDEX_HASH_BYTES];
};

struct seg_chunk {
    uint32_t file, start_line, end_line;
    uint32_t text_start, text_len; /* in the file's text */
    uint32_t symbol_offset, kind_offset;
    uint32_t terms_count;
    uint16_t symbol_len;
    uint8_t kind_len, kind; /* SEG_KIND_TEST: a test in a file that is none */
};
#define SEG_KIND_TEST 0x80u

struct seg_path {
    uint64_t hash;
    uint32_t file, reserved;
};

struct seg_term {
    uint64_t list_offset;
    uint32_t string_offset, first_entry;
    uint32_t chunk_count; /* chunks with the term */
    uint32_t reserved;
};

struct seg_entry {
    uint32_t file;
    uint32_t where; /* SEG_INLINE | chunk << 16 | tf, or offset from the term's list_offset */
    uint16_t file_tf;
    uint8_t bound; /* of the term's tf part in any chunk, see seg_bound */
    uint8_t reserved;
};
#define SEG_INLINE 0x80000000u
#define SEG_INLINE_CHUNK_MAX 0x7fffu
#define SEG_INLINE_TF_MAX 0xffffu

_Static_assert(sizeof(struct seg_file) == 80 && sizeof(struct seg_chunk) == 36 &&
                   sizeof(struct seg_path) == 16 && sizeof(struct seg_term) == 24 &&
                   sizeof(struct seg_entry) == 12,
               "records have no holes");

/* BM25's length part: k1 · (1 - b + b · length / average). */
static inline float seg_norm(uint32_t length, float average)
{
    return BM25_K1 * (1.0f - BM25_B + BM25_B * ((float)length / average));
}
static inline float seg_average(uint64_t total, uint64_t count)
{
    return total && count ? (float)((double)total / (double)count) : 1.0f;
}
/* BM25's term frequency part, 0 .. k1 + 1. */
static inline float seg_tf_part(float tf, float norm)
{
    return tf * (BM25_K1 + 1.0f) / (tf + norm);
}
/* One byte that is never below the part; and its value again. */
static inline uint8_t seg_bound(float part)
{
    float q = part * (255.0f / (BM25_K1 + 1.0f)) + 1.0f;
    return q >= 255.0f ? 255 : (uint8_t)q;
}
static inline float seg_bound_value(uint8_t q)
{
    return (float)q * ((BM25_K1 + 1.0f) / 255.0f);
}

/* How often the fields of a chunk count, in addition to its text. */
static inline uint32_t seg_symbol_weight(enum analyzer kind)
{
    return kind == ANALYZER_CODE
               ? 4
               : 1; /* names say what code does; headings are part of the text already */
}
#define SEG_PATH_WEIGHT 3u /* once, as the text does not contain it, and twice more */

/* LEB128. Reads before end only; false when there is no complete 32-bit number. */
static inline bool seg_get_varint(const uint8_t **at, const uint8_t *end, uint32_t *ret)
{
    uint32_t v = 0;
    for (unsigned shift = 0; shift < 35 && *at < end; shift += 7) {
        uint8_t b = *(*at)++;
        v |= (uint32_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *ret = v;
            return true;
        }
    }
    return false;
}
static inline size_t seg_put_varint(uint8_t ret[5], uint32_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        ret[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    ret[n++] = (uint8_t)v;
    return n;
}
