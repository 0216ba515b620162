#pragma once
/*
 * Chat providers behind one interface: a request in, text deltas and one end out. `local` is built in: it answers from the passages
 * alone, without a model. Remote wire formats come one file each.
 */
#include "base/err.h"
#include "base/span.h"
#include <stdatomic.h>

/* What the answer may rest on. Borrowed for the duration of the call. */
struct chat_passage {
    struct span path, symbol, language, text;
    uint32_t start_line, end_line;
    bool is_prose, is_test;
    float score; /* 0..1, relative to the best */
};

struct chat_turn {
    struct span role, content; /* "user", "assistant", … */
};

struct chat_request {
    struct span question;            /* what is asked now; the research topic in a continue turn */
    const struct chat_turn *history; /* earlier turns, oldest first */
    size_t history_count;
    const struct chat_passage *passages; /* best first */
    size_t passage_count;
    struct span file_path; /* the file the question is about, or empty */
    struct span source_name;
    const char *language;    /* code of lang.json: "en", "ja", … */
    unsigned research_round; /* 0 = plain chat; 1 first, 2–4 middle, >= 5 final */
    struct span prompt; /* the whole prompt for a model (engine/prompt.h); local does not need it */
    const char *model;  /* never NULL */
    const _Atomic bool *cancel;
};

struct chat_sink {
    void *ctx;
    /* A piece of the answer, valid UTF-8. Negative ends the answer with that code. */
    int (*delta)(void *ctx, struct span text);
};

struct chat_usage {
    uint64_t prompt_tokens, completion_tokens;
    uint64_t cached_tokens, cache_write_tokens; /* of the prompt's: read from, written to a cache */
    uint64_t reasoning_tokens;                  /* of the completion's */
    double cost;                                /* US dollars */
    bool is_estimate;
    const char *finish; /* "stop", "length" */
};

/*
 * The built-in provider. Synchronous: a worker. Deterministic: same request, same bytes. Builds the answer from the best sentences and code of
 * several passages in a readable order, each claim followed by its citation `path#L10-L20`, and says in one line that no model was
 * used. Research rounds keep the headings of the protocol. Without passages it says what it looked for and what to try.
 * 0; -ERR_CANCELLED; what delta returned.
 */
int local_chat(const struct chat_request *request, const struct chat_sink *sink,
               struct chat_usage *ret_usage, struct err *err) MUST_CHECK;
