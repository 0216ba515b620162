#pragma once
/* One answer, as answer.c (its way to the provider) and answer_model.c (a model's text back) share it. */
#include "engine/cite.h"
#include "engine/engine_priv.h"
#include "engine/prompt.h"
#include "engine/research.h"
#include "providers/run.h"

enum answer_state {
    ANSWER_RESOLVE,
    ANSWER_INDEX,
    ANSWER_EMBED,
    ANSWER_RETRIEVE,
    ANSWER_GENERATE,
    ANSWER_END
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
    char source_url[SOURCE_URL_MAX]; /* its location: without what a client's URL may hold */
    const char *source_type;
    struct index *index;    /* ref */
    struct vector_leg *leg; /* ref; or NULL */
    struct research research;
    struct passages passages;
    struct cite_scanner cites;
    struct cite_sink cite_sink;
    unsigned cited;
    bool is_bench;    /* made by bench_source instead */
    _Atomic int refs; /* the running work, and a stop on its way to the loop */

    /* A model's answer (answer_model.c); endpoint_count 0 = the built-in provider. */
    const char *provider; /* registry's */
    struct provider_model model;
    const struct provider_endpoint *endpoints; /* registry's */
    size_t endpoint_count;
    const struct engine_upstream *upstream;
    struct loop_msg begin;
    _Atomic bool is_on_loop; /* set before `begin` is posted */
    struct run *run;         /* while it runs */
    struct prompt prompt;
    bool has_prompt, without_context, has_ended;
    struct buf held;    /* events that the log could not take yet, in order */
    struct timer retry; /* tries them again */
    int failed;         /* the stream cannot go on: ends the run */
    int result;
    enum wire_error_class error_class;
    char message[512];
    struct chat_usage usage; /* of all runs */
};

bool answer_is_stopped(const struct answer *a);
void answer_unref(struct answer *a);
/*
 * The one way out: says how it ended, and lets go. `err` and `phase` only for a failure; `text`: what a plain-text client sees of it, or NULL
 * (made from err); extra: more members of done.
 */
void answer_end(struct answer *a, int result, const struct err *err, const char *phase,
                const char *reason, const char *extra, const char *text);
void answer_emit_usage(struct answer *a, const struct chat_usage *u);
/* The prompt, and what it was made from (*ret_passages owned by the caller). Token budget 0 = the default. Worker. */
int answer_prompt(struct answer *a, bool with_context, size_t token_budget,
                  struct chat_passage **ret_passages, struct index_file_view *ret_file,
                  struct prompt *ret, struct err *err) MUST_CHECK;

/* answer_model.c */
void model_generate(struct answer *a); /* worker */
int model_put(struct answer *a, enum stream_event_type type,
              struct span payload) MUST_CHECK; /* loop */
void model_stop(struct answer *a);             /* any thread, with engine->lock held */
void model_done(struct answer *a);
