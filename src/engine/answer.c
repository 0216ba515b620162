/*
 * The right half of the data path: retrieve → prompt → provider → stream.
 *
 *   RESOLVE ──► (INDEX: waits for an index job) ──► RETRIEVE ──► GENERATE ──► END
 *      └───────────────────────┴──────────── any failure ───────────┴──────► END
 *
 * An answer is one heap object that moves through these states on workers of the FAST lane, one step at a time; INDEX is the only
 * state in which it waits, and then it holds no thread. Everything it says goes through its stream, which outlives
 * its readers. Between steps and between two pieces of text it looks at the stream's stop flag.
 */
#include "engine/cite.h"
#include "engine/engine_priv.h"
#include "engine/prompt.h"
#include "engine/research.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "text/lines.h"

#include <stdio.h>

#define PROMPT_TOKENS_MAX 24000
#define PASSAGES_MAX 24
#define PASSAGE_TOKENS_MAX 8000
#define REMOTE_LANGUAGE "en"

enum { M_ANSWERS, M_FAILED, M_CANCELLED, M_TOKENS, M_CITATIONS };
static struct metric metrics[] = {
    [M_ANSWERS] = METRIC_COUNTER("headwater_answers_total", "answers ended, in any way"),
    [M_FAILED] = METRIC_COUNTER("headwater_answers_failed_total", "answers ended by an error"),
    [M_CANCELLED] = METRIC_COUNTER("headwater_answers_cancelled_total", "answers stopped on request"),
    [M_TOKENS] = METRIC_COUNTER("headwater_answer_tokens_total", "completion tokens of answers"),
    [M_CITATIONS] = METRIC_COUNTER("headwater_citations_total", "citations checked and sent"),
};

enum answer_state { ANSWER_RESOLVE, ANSWER_INDEX, ANSWER_RETRIEVE, ANSWER_GENERATE, ANSWER_END };

/* Row = from, bit = to. */
static const unsigned allowed[] = {
    [ANSWER_RESOLVE] = 1u << ANSWER_INDEX | 1u << ANSWER_RETRIEVE | 1u << ANSWER_END,
    [ANSWER_INDEX] = 1u << ANSWER_RETRIEVE | 1u << ANSWER_END,
    [ANSWER_RETRIEVE] = 1u << ANSWER_GENERATE | 1u << ANSWER_END,
    [ANSWER_GENERATE] = 1u << ANSWER_END,
    [ANSWER_END] = 0,
};

struct answer {
    struct work work;
    struct running running;
    struct index_waiter waiter;
    struct engine *engine;
    enum answer_state state;
    struct engine_caller who;
    struct answer_request request; /* spans into request.keep, which we own */
    struct chat_turn *messages;    /* owned copy of the array */
    char language[16];
    char source_id[STORE_ID_MAX], source_name[256], revision[65];
    struct index *index; /* ref */
    struct research research;
    struct passages passages;
    struct cite_scanner *cites;
    unsigned cited;
    const char *reason; /* of done */
};
