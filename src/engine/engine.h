#pragma once
/*
 * The use cases: index a source, answer a question about one, search it, look at it. Decides what runs on which
 * thread; knows no transport and no protocol text. The data path reads in two files: indexing.c (source → chunk →
 * index) and answer.c (retrieve → prompt → provider → stream).
 *
 * Every long piece of work is a stream (stream/stream.h) whose events tell its progress and end; the work goes on
 * when its readers leave, and ends early only by engine_stop.
 *
 * Threads: functions marked "blocks" are for workers and main; the others may be called anywhere.
 */
#include "base/json.h"
#include "providers/chat.h"
#include "stream/stream.h"

struct engine;

struct engine_options {
    const char *index_dir; /* created */
    const char *const
        *allow_paths; /* directories that clients without trust may name; NULL-terminated */
    const char *default_language; /* "en" */
    bool bench_source;            /* offer provider "bench" */
    struct store *store;          /* these three are borrowed and outlive the engine */
    struct hub *hub;
    struct worker_pool *workers;
};

int engine_new(const struct engine_options *options, struct engine **ret,
               struct err *err) MUST_CHECK;
/* Stops running work and waits until it has ended. */
void engine_free(struct engine *e);
/* Refuses new work from now on and asks what runs to finish; returns how much still runs. */
size_t engine_drain(struct engine *e);
struct hub *engine_hub(struct engine *e);
struct worker_pool *engine_workers(struct engine *e);

/* Who asks, as far as the engine cares. */
struct engine_caller {
    const char *tenant; /* STORE_TENANT_DEFAULT */
    bool is_trusted; /* may name any path: the command line through the data directory's socket */
};

/* ---- sources ---- */

struct index_request {
    struct span source; /* a directory or file on this machine, or the name of a source */
    struct span name;   /* name to keep it under; empty = the path's last component */
    bool force;         /* also when nothing has changed */
};
/*
 * Starts (or joins) the indexing of a source. *ret_stream: its progress, status events
 * {"stage":"scanning"|"indexing"|"ready","progress","message",…}, then done. Blocks (path and store look-ups).
 */
int engine_index(struct engine *e, const struct engine_caller *who,
                 const struct index_request *request, struct stream **ret_stream,
                 struct err *err) MUST_CHECK;

/* {"sources":[…]} Blocks. */
int engine_sources_json(struct engine *e, const struct engine_caller *who, struct buf *out,
                        struct err *err) MUST_CHECK;
/* {"skipped":[{"path","reason"}],"total"} of a source by id or name. Blocks. */
int engine_skipped_json(struct engine *e, const struct engine_caller *who, struct span source,
                        size_t offset, size_t limit, struct buf *out, struct err *err) MUST_CHECK;
/* Lines of an indexed file: {"path","language","start","end","total_lines","text",…}. Blocks. */
int engine_file_json(struct engine *e, const struct engine_caller *who, struct span source,
                     struct span path, uint32_t start, uint32_t end, struct buf *out,
                     struct err *err) MUST_CHECK;

/* ---- search ---- */

struct search_request {
    struct span source, query;
    unsigned k; /* 1..100 */
    bool explain;
};
/* {"hits":[…],"note"}; indexes first when needed, waiting for it. Blocks. */
int engine_search_json(struct engine *e, const struct engine_caller *who,
                       const struct search_request *q, struct buf *out, struct err *err) MUST_CHECK;

/* ---- answers ---- */

#define ENGINE_PROVIDER_LOCAL "local"
#define ENGINE_MODEL_LOCAL "extractive"
#define ENGINE_PROVIDER_BENCH "bench" /* see bench_source.h */

struct answer_request {
    struct span source;               /* path or name (repo_url of the protocols) */
    const struct chat_turn *messages; /* at least one; the last is the user's */
    size_t message_count;
    struct span file_path, provider, model, language; /* empty = default */
    const char *stream_id;                            /* from stream_new_id, or NULL */
    json_t *keep; /* what the spans point into; the engine takes the reference when it succeeds */
};
/*
 * Starts an answer; everything that can be refused at once is (unknown provider, no room). Its stream carries status, token,
 * citation, usage, error and done events. Never blocks.
 */
int engine_answer(struct engine *e, const struct engine_caller *who,
                  const struct answer_request *request, struct stream **ret_stream,
                  struct err *err) MUST_CHECK;

/* Aborts the work behind a stream; its done says "cancelled". -ERR_NOT_FOUND when nothing runs under that id. */
int engine_stop(struct engine *e, const char *tenant, const char *stream_id) MUST_CHECK;

/* Provider ids known, for /models/config: writes the whole answer of deepwiki.md §1.2. */
void engine_models_json(struct engine *e, struct buf *out);
