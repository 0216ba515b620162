#pragma once
/*
 * A run in a test: the loop and its timers are real, the network (fake_http.h) and the wire format
 * (fake_wire.h) are not. play() goes through one run from its start to its end and keeps all that
 * it told.
 */
#include "../cm.h"
#include "fake_http.h"
#include "fake_wire.h"
#include "providers/run.h"
#include "text/tokens.h"

#include <semaphore.h>

#define PROMPT "Where is the parser of requests and what does it refuse?"
#define PROMPT_TOKENS tokens_estimate(SPAN_LIT(PROMPT))

struct bed {
    struct loop *loop;
    struct runner *runner;
    struct fake_http http;
    struct provider_endpoint endpoints[3];
    _Atomic uint64_t clock_ms, random;
    struct bed *shared; /* whose runner, endpoints and clock are used; NULL = its own */
};

/* One run and all that it told. */
struct told {
    struct bed *bed;
    struct run_request request;
    struct http_client *client;
    struct run *run;
    struct loop_msg msg;
    struct timer resume;
    sem_t over;
    struct buf text, notes, resets;
    int start_result, ends, result;
    enum wire_error_class error_class;
    char message[500], finish[20];
    struct chat_usage usage;
    unsigned texts, cancel_at /* the nth text, 1… */, pause_at;
    bool was_text_after_pause, is_paused;
    const char *provider; /* NULL = "fake" */
    size_t text_max;      /* 0 = 100000 */
    bool cancel_at_start, cancel_in_reset;
    uint64_t cancel_after_ms;
    struct timer cancel;
};

void bed_up(struct bed *b);
void bed_down(struct bed *b);

/* Plays the scripts against a run over the first `endpoints` endpoints. */
void play(struct bed *b, struct told *o, size_t endpoints, const struct fake_script *scripts,
          size_t count);
#define PLAY(b, o, endpoints, ...)                            \
    do {                                                      \
        static const struct fake_script s_[] = {__VA_ARGS__}; \
        play(b, o, endpoints, s_, sizeof s_ / sizeof s_[0]);  \
    } while (0)

void told_done(struct told *o);

/* The price is 2 dollars a million tokens of the prompt and 10 of the answer. */
void expect(const struct told *o, int result, const char *text, uint64_t prompt,
            uint64_t completion, bool is_estimate);

#define GOOD_AT(h)                                                                      \
    {                                                                                   \
        .host = (h), .status = 200, .pieces = { "t:Hel\nt:lo\n", "u:7:2\nf:stop\n.\n" } \
    }
#define GOOD GOOD_AT(NULL)
