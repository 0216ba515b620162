/*
 * The right half of the data path: retrieve → prompt → provider → stream.
 *
 *   RESOLVE ──► (INDEX: waits for an index job) ──► (EMBED: waits for the question's vector) ──► RETRIEVE ──► GENERATE ──► END
 *      └───────────────────────┴──────────── any failure ───────────┴──────► END
 *
 * An answer is one heap object that moves through these states on workers of the FAST lane, one step at a time; INDEX and EMBED
 * are the only states in which it waits, and then it holds no thread. Everything it says goes through its stream, which outlives
 * its readers. Between steps and between two pieces of text it looks at the stream's stop flag.
 */
#include "engine/answer_priv.h"
#include "engine/bench_source.h"

#include "base/bug.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "index/vectors.h"
#include "ingest/ingest.h"
#include "text/utf8.h"

#include <stdio.h>

#define PASSAGES_MAX 24
#define PASSAGE_TOKENS_MAX 8000
#define DEFINITIONS 3

enum { M_ANSWERS, M_FAILED, M_CANCELLED, M_TOKENS, M_CITATIONS };
static struct metric metrics[] = {
    [M_ANSWERS] = METRIC_COUNTER("headwater_answers_total", "answers ended, in any way"),
    [M_FAILED] = METRIC_COUNTER("headwater_answers_failed_total", "answers ended by an error"),
    [M_CANCELLED] =
        METRIC_COUNTER("headwater_answers_cancelled_total", "answers stopped on request"),
    [M_TOKENS] = METRIC_COUNTER("headwater_answer_tokens_total", "completion tokens of answers"),
    [M_CITATIONS] = METRIC_COUNTER("headwater_citations_total", "citations checked and sent"),
};

/* Row = from, bit = to. */
static const unsigned allowed[] = {
    [ANSWER_RESOLVE] =
        1u << ANSWER_INDEX | 1u << ANSWER_EMBED | 1u << ANSWER_RETRIEVE | 1u << ANSWER_END,
    [ANSWER_INDEX] = 1u << ANSWER_EMBED | 1u << ANSWER_RETRIEVE | 1u << ANSWER_END,
    [ANSWER_EMBED] = 1u << ANSWER_RETRIEVE | 1u << ANSWER_END,
    [ANSWER_RETRIEVE] = 1u << ANSWER_GENERATE | 1u << ANSWER_END,
    [ANSWER_GENERATE] = 1u << ANSWER_END,
    [ANSWER_END] = 0,
};

static void run(struct work *work);

static void move(struct answer *a, enum answer_state to)
{
    BUG_ON(!(allowed[a->state] & 1u << to));
    a->state = to;
}

void answer_unref(struct answer *a)
{
    if (atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    model_done(a);
    passages_done(&a->passages);
    research_done(&a->research);
    vector_leg_unref(a->leg);
    index_unref(a->index);
    mem_free(a->messages);
    json_decref(a->request.keep);
    mem_free(a);
}

/* The one way out: says how it ended, and is gone. `err` only for a failure. */
void answer_end(struct answer *a, int result, const struct err *err, const char *phase,
                const char *reason, const char *extra, const char *text)
{
    struct engine *e = a->engine;
    struct stream *s = a->running.stream;
    move(a, ANSWER_END);
    if (result == -ERR_CANCELLED)
        reason = "cancelled";
    else if (result < 0)
        reason = "error";
    if (result < 0 && result != -ERR_CANCELLED)
        emit_error(s, err, phase, text);
    metric_add(&metrics[M_ANSWERS], 1);
    metric_add(&metrics[M_FAILED], result < 0 && result != -ERR_CANCELLED);
    metric_add(&metrics[M_CANCELLED], result == -ERR_CANCELLED);
    LOG_INFO("engine", "answer ends", LOG_S("stream", stream_id(s)), LOG_S("reason", reason),
             LOG_S("why", result < 0 && err ? err->msg : ""));
    stream_close(s, reason, extra);
    running_leave(e, &a->running);
    answer_unref(a);
}

/* ---- RESOLVE, INDEX ---- */

bool answer_is_stopped(const struct answer *a)
{
    return atomic_load(stream_stop_flag(a->running.stream));
}

/* A stopped answer does not wait for the job, which goes on for whoever else wants it. */
static void on_stop(struct engine *e, struct running *r)
{
    struct answer *a = container_of(r, struct answer, running);
    indexing_cut_wait(e, &a->waiter);
    model_stop(a);
}

static int wait_for_index(struct answer *a, const struct index_ask *ask, struct err *err)
{
    move(a, ANSWER_INDEX);
    return indexing_start(
        a->engine, a->source_id, ask, &a->waiter, NULL,
        err); /* on success another thread may have moved us on already: `a` is not ours any more */
}

static void embed(struct answer *a);

static void resolve(struct answer *a)
{
    struct err err = {0};
    struct index_ask ask = {0};
    emit_status(a->running.stream, "resolving", -1, "Looking up the source");
    int r = research_read(a->messages, a->request.message_count, &a->research, &err);
    if (r == 0)
        a->research.question =
            span_first(a->research.question, utf8_cut(a->research.question, LIMIT_QUERY_BYTES));
    if (r == 0)
        r = source_resolve_wanted(a->engine, &a->who, a->request.source, &a->request.access,
                                  SPAN_NULL, &a->request.filters, a->source_id, &ask, &err);
    if (r == 0)
        a->index = source_fresh_index(a->engine, a->source_id, stream_stop_flag(a->running.stream));
    if (r == 0 && answer_is_stopped(a))
        r = -ERR_CANCELLED;
    if (r == 0 && a->index) {
        index_ask_done(&ask);
        embed(a);
        return;
    }
    if (r == 0)
        r = wait_for_index(a, &ask, &err);
    index_ask_done(&ask);
    if (r < 0)
        answer_end(a, r, &err, "prepare", "error", NULL, NULL);
}

/* DeepWiki's words for a failure to fetch. */
static void put_clone_error(const struct answer *a, const struct err *why, struct buf *out)
{
    if (!source_fetch_failed(a->engine, a->source_id))
        return;
    buf_printf(out, "Error preparing retriever: Error during cloning: %s", why->msg);
    if (why->hint[0])
        buf_printf(out, ". %s", why->hint);
}

static void after_index(struct answer *a)
{
    if (answer_is_stopped(a)) {
        answer_end(a, -ERR_CANCELLED, NULL, "prepare", "cancelled", NULL, NULL);
        return;
    }
    struct err why = a->waiter.why;
    int r = a->waiter.result;
    a->index = source_any_index(a->engine, a->source_id);
    if (!a->index) {
        if (r == -ERR_CANCELLED) { /* somebody stopped the job; this answer was not stopped */
            r = err_set(&why, ERR_UNAVAILABLE, "the indexing of this source was stopped");
            err_hint(&why, "ask again to begin it anew");
        } else if (r == 0) {
            r = err_set(&why, ERR_UNAVAILABLE, "the index of this source cannot be opened");
            err_hint(&why, "the server's log says why; 'headwater index --force' builds it anew");
        }
        struct buf text = BUF_INIT(2048);
        put_clone_error(a, &why, &text);
        answer_end(a, r, &why, "prepare", "error", NULL, text.len ? buf_str(&text) : NULL);
        buf_done(&text);
        return;
    }
    if (r < 0)
        emit_status(a->running.stream, "resolving", -1,
                    "The source could not be indexed again (%s); answering from the last index",
                    r == -ERR_CANCELLED ? "it was stopped" : why.msg);
    embed(a);
}

/* ---- EMBED ---- */

static void retrieve(struct answer *a);

static void embed(struct answer *a)
{
    a->leg = source_leg(a->engine, a->source_id, a->index);
    unsigned dims = a->leg ? vector_leg_dims(a->leg) : 0;
    if (dims) {
        move(a, ANSWER_EMBED);
        if (question_ask(a->engine, &a->waiter, a->research.question, dims) == ENGINE_WAITS)
            return; /* `a` is not ours any more */
    }
    retrieve(a);
}

/* ---- RETRIEVE ---- */

static void generate(struct answer *a);

static void retrieve(struct answer *a)
{
    struct err err = {0};
    move(a, ANSWER_RETRIEVE);
    struct index_stats stats;
    index_stats(a->index, &stats);
    snprintf(a->revision, sizeof a->revision, "%s", stats.revision);
    char revision_now[65];
    source_address(a->engine, a->source_id, a->source_url, sizeof a->source_url, &a->source_type);
    source_names(a->engine, a->source_id, a->source_name, sizeof a->source_name, revision_now,
                 sizeof revision_now);
    emit_status(a->running.stream, "retrieving", -1, "Searching %u passages of %u files",
                stats.chunks, stats.files);
    struct retrieval_options o = {
        .max_passages = PASSAGES_MAX,
        .token_budget = PASSAGE_TOKENS_MAX,
        .near_path = a->request.file_path,
        .definitions = DEFINITIONS,
    };
    unsigned dims = a->leg ? vector_leg_dims(a->leg) : 0;
    CLEANUP(mem_freep)
    float *vector = dims ? question_vector(a->engine, a->research.question, dims) : NULL;
    if (dims && !vector)
        emit_status(a->running.stream, "retrieving", -1,
                    "Searching by words only: the question has no vector (%s)",
                    a->waiter.question_why[0] ? a->waiter.question_why : "it was let go");
    retrieve_by_vectors(&o, a->leg, vector);
    int r = answer_is_stopped(a)
                ? -ERR_CANCELLED
                : retrieval_search(a->index, a->research.question, &o, &a->passages, &err);
    if (r < 0) {
        answer_end(a, r, &err, "prepare", "error", NULL, NULL);
        return;
    }
    if (a->passages.note[0])
        emit_status(a->running.stream, "retrieving", -1, "Note: %s", a->passages.note);
    generate(a);
}

/* ---- GENERATE ---- */

/* What the provider writes passes the citation scanner before it becomes an event. */
static int on_delta(void *ctx, struct span text)
{
    struct answer *a = ctx;
    return answer_is_stopped(a) ? -ERR_CANCELLED : cite_feed(&a->cites, text);
}

static bool cited_file(void *ctx, struct span path, struct span *ret_text)
{
    struct answer *a = ctx;
    struct index_file_view f;
    if (!index_file_by_path(a->index, path, &f))
        return false;
    *ret_text = f.text;
    return true;
}

/* The log may be behind; then the provider is held back, which is the only thing that ever slows it. */
static int append(struct answer *a, enum stream_event_type type, struct span payload)
{
    int r;
    if (a->endpoint_count)
        return model_put(a, type, payload); /* on a loop: must not wait */
    while ((r = stream_append(a->running.stream, type, payload)) == -ERR_LIMIT &&
           !answer_is_stopped(a))
        clock_pause_ms(1);
    return r == -ERR_LIMIT ? -ERR_CANCELLED : r;
}

static int on_citation(void *ctx, const struct citation *c)
{
    struct answer *a = ctx;
    struct buf b = BUF_INIT(16384);
    struct json_writer w = json_writer(&b);
    jw_obj(&w);
    jw_kint(&w, "n", ++a->cited);
    jw_kspan(&w, "path", c->path);
    jw_kint(&w, "start", c->start);
    jw_kint(&w, "end", c->end);
    jw_kstr(&w, "revision", a->revision);
    jw_kstr(&w, "state", cite_state_name(c->state));
    jw_kstr(&w, "hash", c->sha256);
    jw_kstr(&w, "source", a->source_name);
    jw_end_obj(&w);
    int r = buf_failed(&b) ? -ERR_NO_MEMORY : append(a, STREAM_CITATION, buf_span(&b));
    buf_done(&b);
    metric_add(&metrics[M_CITATIONS], 1);
    return r;
}

static int on_text(void *ctx, struct span text)
{
    return append(ctx, STREAM_TOKEN, text);
}

void answer_emit_usage(struct answer *a, const struct chat_usage *u)
{
    struct buf b = BUF_INIT(1024);
    struct json_writer w = json_writer(&b);
    jw_obj(&w);
    jw_kint(&w, "prompt_tokens", (int64_t)u->prompt_tokens);
    jw_kint(&w, "completion_tokens", (int64_t)u->completion_tokens);
    jw_kint(&w, "cached_tokens", (int64_t)u->cached_tokens);
    jw_kint(&w, "reasoning_tokens", (int64_t)u->reasoning_tokens);
    jw_key(&w, "cost");
    jw_num(&w, u->cost);
    jw_kbool(&w, "is_estimate", u->is_estimate);
    jw_end_obj(&w);
    if (!buf_failed(&b))
        IGNORE(append(a, STREAM_USAGE, buf_span(&b))); /* done follows in any case */
    buf_done(&b);
    metric_add(&metrics[M_TOKENS], (int64_t)u->completion_tokens);
}

static struct chat_passage *chat_passages(const struct passages *from)
{
    struct chat_passage *to = mem_try_array(from->count, sizeof *to);
    float best = from->count ? from->items[0].score : 1;
    for (size_t i = 0; to && i < from->count; i++) {
        const struct passage *p = &from->items[i];
        to[i] = (struct chat_passage){
            .path = p->path,
            .symbol = p->symbol,
            .language = p->language,
            .text = p->text,
            .start_line = p->start_line,
            .end_line = p->end_line,
            .is_prose = p->kind == CHUNK_PROSE,
            .is_test = p->is_test,
            .score = best > 0 ? p->score / best : 0,
        };
    }
    return to;
}

int answer_prompt(struct answer *a, bool with_context, size_t token_budget,
                  struct chat_passage **ret_passages, struct index_file_view *ret_file,
                  struct prompt *ret, struct err *err)
{
    struct chat_passage *passages = chat_passages(&a->passages);
    if (!passages)
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    *ret_file = (struct index_file_view){0};
    if (a->request.file_path.len)
        (void)index_file_by_path(a->index, a->request.file_path,
                                 ret_file); /* absent: asked without it, as the protocol does */
    struct prompt_input in = {
        .question = a->research.question,
        .turns = a->research.turns,
        .turn_count = a->research.turn_count,
        .passages = passages,
        .passage_count = a->passages.count,
        .file_path = ret_file->path,
        .file_text = ret_file->text,
        .repo_url = span_str(a->source_url),
        .repo_type = a->source_type,
        .language = a->language,
        .research_round = a->research.round,
        .suffix = a->endpoint_count && a->endpoints[0].format == &wire_ollama ? " /no_think" : NULL,
        .token_budget = token_budget,
        .note = !with_context       ? PROMPT_NOTE_TOO_LARGE
                : a->passages.count ? PROMPT_NOTE_NONE
                                    : PROMPT_NOTE_NO_RETRIEVAL,
    };
    int r = prompt_build(&in, ret, err);
    if (r < 0)
        mem_free(passages);
    else
        *ret_passages = passages;
    return r;
}

/* The built-in provider reads the passages; the prompt only serves to count. */
static int call_local(struct answer *a, struct chat_usage *usage, struct err *err)
{
    struct chat_passage *passages = NULL;
    struct index_file_view file;
    struct prompt prompt = {0};
    int r = answer_prompt(a, true, 0, &passages, &file, &prompt, err);
    if (r < 0)
        return r;
    struct chat_request request = {
        .question = a->research.question,
        .history = a->research.turns,
        .history_count = a->research.turn_count,
        .passages = passages,
        .passage_count = a->passages.count,
        .file_path = file.path,
        .source_name = span_str(a->source_name),
        .language = a->language,
        .research_round = a->research.round,
        .prompt = buf_span(&prompt.text),
        .model = ENGINE_MODEL_LOCAL,
        .cancel = stream_stop_flag(a->running.stream),
    };
    struct chat_sink sink = {a, on_delta};
    r = local_chat(&request, &sink, usage, err);
    prompt_done(&prompt);
    mem_free(passages);
    return r;
}

static void generate(struct answer *a)
{
    struct err err = {0};
    struct chat_usage usage = {.finish = "stop"};
    move(a, ANSWER_GENERATE);
    emit_status(a->running.stream, "answering", -1,
                a->passages.count ? "Answering from %zu passages"
                                  : "Nothing was found (%zu passages)",
                a->passages.count);
    a->cite_sink = (struct cite_sink){a, cited_file, on_citation, on_text};
    cite_init(&a->cites, &a->cite_sink);
    if (a->endpoint_count) {
        model_generate(a);
        return;
    }
    int r = call_local(a, &usage, &err);
    if (r == 0)
        r = cite_end(&a->cites);
    if (r < 0 && !err.msg[0])
        err_set(&err, r == -ERR_CANCELLED ? ERR_CANCELLED : (enum err_code)(-r),
                "the answer could not be written (%s)", err_name(r));
    answer_emit_usage(a, &usage);
    answer_end(a, r, &err, "generate", usage.finish,
               "\"provider\":\"" ENGINE_PROVIDER_LOCAL "\",\"model\":\"" ENGINE_MODEL_LOCAL "\"",
               NULL);
}

static void run(struct work *work)
{
    struct answer *a = container_of(work, struct answer, work);
    if (a->state == ANSWER_GENERATE)
        model_generate(a); /* again, without context */
    else if (a->state == ANSWER_INDEX)
        after_index(a);
    else if (a->state == ANSWER_EMBED)
        retrieve(a);
    else if (answer_is_stopped(a))
        answer_end(a, -ERR_CANCELLED, NULL, "prepare", "cancelled", NULL, NULL);
    else
        resolve(a);
}

/* ---- start ---- */

static int check_provider(struct engine *e, struct answer *a, const struct answer_request *q,
                          struct err *err)
{
    struct span p = q->provider;
    a->is_bench = e->bench && span_is(p, ENGINE_PROVIDER_BENCH);
    if (a->is_bench || span_is(p, ENGINE_PROVIDER_LOCAL) || (!p.ptr && !e->options.registry))
        return 0;
    if ((p.ptr && !p.len) || !e->options.registry)
        return err_set(err, ERR_INVALID, "Configuration for provider '" SPAN_FMT "' not found",
                       SPAN_ARG(span_first(p, utf8_cut(p, 64))));
    int r = registry_resolve(e->options.registry, p, q->model, &a->provider, &a->model,
                             &a->endpoints, &a->endpoint_count, err);
    if (r < 0 && err)
        err->code = ERR_INVALID; /* the request's choice, not the server's state */
    return r < 0 ? -ERR_INVALID : 0;
}

static int check_messages(const struct answer_request *r, struct err *err)
{
    if (!r->message_count)
        return err_set(err, ERR_INVALID, "no messages provided");
    if (r->message_count > LIMIT_MESSAGES_COUNT)
        return err_set(err, ERR_TOO_LARGE, "%zu messages, at most %d are read", r->message_count,
                       LIMIT_MESSAGES_COUNT);
    if (!span_is(r->messages[r->message_count - 1].role, "user"))
        return err_set(err, ERR_INVALID, "last message must be from the user");
    return 0;
}

/* The texts are read on a worker: they may be long. */
static int copy_request(struct answer *a, const struct answer_request *from, struct err *err)
{
    a->request = *from;
    a->request.keep = NULL; /* ours once nothing can fail any more */
    a->messages = mem_try_array(from->message_count, sizeof *a->messages);
    if (!a->messages)
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    memcpy(a->messages, from->messages, from->message_count * sizeof *a->messages);
    a->request.messages = a->messages;
    const char *fallback = a->engine->options.default_language;
    snprintf(a->language, sizeof a->language, SPAN_FMT,
             SPAN_ARG(from->language.len ? from->language : span_str(fallback)));
    return 0;
}

static void on_bench_ended(void *ctx)
{
    struct answer *a = ctx;
    running_leave(a->engine, &a->running);
    answer_unref(a);
}

static int launch(struct answer *a, struct err *err)
{
    if (a->is_bench)
        return bench_source_add(a->engine->bench, a->running.stream, a->request.model,
                                on_bench_ended, a, err);
    if (worker_submit(a->engine->options.workers, WORKER_FAST, &a->work) == 0)
        return 0;
    err_set(err, ERR_LIMIT, "too many answers are waiting");
    err_hint(err, "ask again in a few seconds");
    return -ERR_LIMIT;
}

int engine_answer(struct engine *e, const struct engine_caller *who,
                  const struct answer_request *request, struct stream **ret_stream, struct err *err)
{
    struct stream *s = NULL;
    metric_register(metrics, ARRAY_LEN(metrics));
    struct answer *a = mem_alloc(sizeof *a);
    *a = (struct answer){.work.run = run, .engine = e, .who = *who, .refs = 1};
    list_init(&a->running.link);
    int r = check_provider(e, a, request, err);
    if (r == 0)
        r = check_messages(request, err);
    if (r == 0)
        r = running_room(e, err); /* a refused request leaves no stream behind */
    if (r < 0) {
        answer_unref(a);
        return r;
    }
    a->running.stop = on_stop;
    struct stream_new what = {
        .tenant = who->tenant, .kind = "answer", .is_durable = true, .id = request->stream_id};
    r = copy_request(a, request, err);
    if (r == 0)
        r = stream_create(e->options.hub, &what, &s, err);
    a->waiter = (struct index_waiter){.then = &a->work, .follow = s};
    if (r == 0)
        r = running_enter(e, &a->running, s, err);
    if (r < 0) {
        if (s)
            stream_close(s, "error", NULL);
        stream_unref_producer(s);
        answer_unref(a);
        return r;
    }
    a->request.keep = request->keep; /* before launch: from there on another thread may finish it */
    r = launch(a, err);
    if (r < 0) {
        a->request.keep = NULL; /* the caller keeps it */
        stream_close(s, "error", NULL);
        running_leave(e, &a->running);
        answer_unref(a);
        stream_unref_producer(s);
        return r;
    }
    *ret_stream = stream_ref(s);
    stream_unref_producer(s); /* the answer itself is one, until it has written its end */
    return 0;
}
