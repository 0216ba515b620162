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
#include "fetch/guard.h"
#include "providers/chat.h"
#include "stream/stream.h"

struct engine;
struct registry;
struct runner;
struct http_client;

/* Where requests to providers run: one per loop. */
struct engine_upstream {
    struct loop *loop;
    struct http_client *http;
};

/*
 * Which files of a source are wanted (ingest/filter_set.h says what entries mean): DeepWiki's lists, or our patterns. Zero is
 * all files. Requests with equal filters share an index, others have their own.
 */
struct engine_filters {
    struct span excluded_dirs, excluded_files, included_dirs, included_files;
    const json_t *include, *exclude; /* arrays of strings, or NULL */
};

struct engine_options {
    const char *index_dir; /* created */
    const char *const
        *allow_paths; /* directories that clients without trust may name; NULL-terminated */
    /* Repositories of other machines. NULL: none are fetched. */
    const char *repos_dir;            /* created */
    struct guard_policy fetch_policy; /* what clients without trust may name; copied */
    uint64_t max_clone_bytes;         /* of one repository */
    uint64_t refresh_interval_ms;     /* a remote is looked at by questions at most this often */
    const char *(*env)(void *ctx, const char *name); /* the owner's tokens, proxies; or NULL */
    void *env_ctx;
    const char *default_language;  /* "en" */
    struct engine_filters filters; /* of requests that have none; read by engine_new only */
    bool bench_source;             /* offer provider "bench" */
    struct store *store;           /* these three are borrowed and outlive the engine */
    struct hub *hub;
    struct worker_pool *workers;
    struct registry *registry; /* with these three, or none of them: only `local` then */
    struct runner *runner;
    const struct engine_upstream *upstreams;
    size_t upstream_count;
    bool embeds; /* a server: embeds what is indexed when the registry has an embedder */
};

int engine_new(const struct engine_options *options, struct engine **ret,
               struct err *err) MUST_CHECK;
/* Stops running work, waits until it and every engine_enter has ended. */
void engine_free(struct engine *e);
/*
 * Keeps the engine alive for a call that is made later, on another thread: engine_free waits for the engine_leave.
 * -ERR_UNAVAILABLE once it is stopping, -ERR_LIMIT past ENGINE_CALLS_MAX.
 */
#define ENGINE_CALLS_MAX 8192
int engine_enter(struct engine *e, struct err *err) MUST_CHECK;
void engine_leave(struct engine *e);
/* Refuses new work from now on and asks what runs to finish; returns how much still runs. */
size_t engine_drain(struct engine *e);
struct hub *engine_hub(struct engine *e);
struct worker_pool *engine_workers(struct engine *e);

/* Who asks, as far as the engine cares. */
struct engine_caller {
    const char *tenant; /* STORE_TENANT_DEFAULT */
    bool is_trusted; /* may name any path: the command line through the data directory's socket */
};

struct question_job;
/*
 * Somebody who waits for an index job, or for the vector of a question, without holding a thread: embed it. `then` is submitted to the FAST lane when the job
 * has ended, whatever its end, or when the wait was cut short (-ERR_CANCELLED). `then` and `follow` are set before the first use, the rest is the engine's.
 */
struct index_waiter {
    struct work *then;
    struct stream *follow; /* borrowed or NULL: gets copies of the job's status events */
    struct list link;      /* of the job's waiters */
    bool waits;            /* in a job's list */
    bool is_over;          /* result and why are set; before `then` runs */
    int result;
    struct err why;
    struct question_job *question; /* the engine's: what it waits for instead */
    bool has_asked;                /* the question was sent to the embedder */
    char question_why[200];        /* why it has no vector, or "" */
};
/* Ends the wait now; true when there was one: then `then` does not run any more. Thread: any. */
bool engine_wait_cancel(struct engine *e, struct index_waiter *w);

/* ---- sources ---- */

#define SOURCE_NAME_MAX 128

/*
 * How a repository is named, beside its name: what a client says the host is ("github" …), a branch or tag, and a token for it. Spans may be empty. The token is
 * kept in memory, while it is needed, and nowhere else.
 */
struct source_access {
    struct span type, branch, token;
};

struct index_request {
    struct span
        source; /* a directory or file on this machine, a repository's URL, or the name of a source */
    struct source_access access;
    struct span
        name; /* name to keep it under; empty = the path's last component. No path, no URL, no id */
    bool force; /* also when nothing has changed */
    struct engine_filters filters;
};
/*
 * Starts (or joins) the indexing of a source. A repository is looked at where it comes from, and fetched when it has changed. *ret_stream: its progress, status events
 * {"stage":"scanning"|"indexing"|"ready","progress","message",…}, then done. Blocks (path and store look-ups).
 */
int engine_index(struct engine *e, const struct engine_caller *who,
                 const struct index_request *request, struct stream **ret_stream,
                 struct err *err) MUST_CHECK;

/* {"sources":[…]} Blocks. */
int engine_sources_json(struct engine *e, const struct engine_caller *who, struct buf *out,
                        struct err *err) MUST_CHECK;
/*
 * Forgets a source: its row, its index and what was fetched of it; never a folder that was indexed in place. -ERR_BUSY while it is being indexed,
 * -ERR_FORBIDDEN for callers without trust. Blocks.
 */
int engine_source_delete(struct engine *e, const struct engine_caller *who, struct span source,
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
    struct source_access access;
    unsigned k; /* 1..100 */
    bool explain;
    struct engine_filters filters;
};
#define ENGINE_WAITS 1
/*
 * {"hits":[…],"note"}; indexes first when needed. 0; <0; or ENGINE_WAITS: an index job or the question's vector comes first,
 * nothing was written, and `wait` is submitted when that has ended: call again with the same. Blocks for
 * disk only.
 */
int engine_search_json(struct engine *e, const struct engine_caller *who,
                       const struct search_request *q, struct index_waiter *wait, struct buf *out,
                       struct err *err) MUST_CHECK;

/* ---- answers ---- */

#define ENGINE_PROVIDER_LOCAL "local"
#define ENGINE_MODEL_LOCAL "extractive"
#define ENGINE_PROVIDER_BENCH "bench" /* see bench_source.h */

struct answer_request {
    struct span source; /* path, URL or name (repo_url of the protocols) */
    struct source_access access;
    const struct chat_turn *messages; /* at least one; the last is the user's */
    size_t message_count;
    struct span file_path, model, language; /* empty = default */
    struct engine_filters filters;
    struct span provider;  /* ptr NULL = default; the empty string is a name that no provider has */
    const char *stream_id; /* from stream_new_id, or NULL */
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
