#pragma once
/*
 * Finds citations in answer text while it streams, and checks them against the stored files before the text that contains them is
 * let through. Recognised: `path#L10-L20`, `path#L10`, and `path:10-20`, `[path:10-20]()` where the path exists.
 *
 * Text goes in by pieces of any size; the same text gives the same citations and the same text whatever the pieces. Held
 * back: the word (or the `inline code`) that is not finished, at most LIMIT_CITATION_TEXT bytes. Paths with spaces
 * are found inside inline code only. No allocation. Thread: owner (one scanner an answer).
 */
#include "base/hash.h"
#include "base/limits.h"
#include "base/span.h"

enum cite_state {
    CITE_VERIFIED,    /* the file is there and has these lines */
    CITE_MOVED,       /* cite_recheck: the same bytes stand at other lines now */
    CITE_STALE,       /* cite_recheck: the bytes are not there any more */
    CITE_UNSUPPORTED, /* no such file, or no such lines */
};
const char *cite_state_name(enum cite_state state); /* "verified" … */

struct citation {
    struct span path;    /* as in the index; valid during the call */
    uint32_t start, end; /* lines, from 1, inclusive */
    enum cite_state state;
    char sha256[SHA256_HEX]; /* of the quoted bytes (whole lines); "" when unsupported */
};

struct cite_sink {
    void *ctx;
    /* True when the index has the file; its bytes, valid during the call that asked. */
    bool (*file)(void *ctx, struct span path, struct span *ret_text);
    /* Each distinct citation once, always before the text it stands in. Negative ends the scan with that code. */
    int (*citation)(void *ctx, const struct citation *citation);
    /* Text let through, in order; all pieces together are the text fed. Negative as above. */
    int (*text)(void *ctx, struct span text);
};

struct cite_scanner {             /* private; about 5 KB */
    const struct cite_sink *sink; /* borrowed, outlives the scanner */
    char held[LIMIT_CITATION_TEXT];
    size_t held_len;
    bool is_code; /* inside inline code */
    int failed;   /* sticky */
    uint64_t seen[LIMIT_CITATIONS_COUNT];
    size_t seen_count;
};

void cite_init(struct cite_scanner *s, const struct cite_sink *sink);
/* 0, or what a callback returned. */
int cite_feed(struct cite_scanner *s, struct span text) MUST_CHECK;
/* Lets the held text through. */
int cite_end(struct cite_scanner *s) MUST_CHECK;

/*
 * Checks a citation made earlier against the file as it is now: VERIFIED, MOVED (*ret_start, *ret_end changed to where the
 * same bytes stand: the place nearest to the old one) or STALE. The search is bounded; in huge files lines that have moved far
 * may be reported as STALE.
 */
enum cite_state cite_recheck(struct span text, const char sha256_hex[SHA256_HEX],
                             uint32_t *ret_start, uint32_t *ret_end);
