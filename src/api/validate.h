#pragma once
/*
 * The chat request of the DeepWiki protocols (deepwiki.md §2.1): decoding, and the two ways its faults are told: pydantic's text
 * over WebSocket, FastAPI's 422 document over HTTP. Pure; a fuzz target covers it.
 */
#include "base/json.h"
#include "engine/engine.h"
#include "providers/chat.h"

#define CHAT_ISSUES_MAX 20

struct chat_issue {
    char loc[64];        /* "messages.0.content" */
    const char *type;    /* "missing" … */
    const char *msg;     /* "Field required" … */
    const json_t *input; /* borrowed; NULL = null */
};

struct chat_fields {
    json_t *root; /* owned; everything below points into it */
    struct span repo_url, type, token, branch, file_path, provider, model, language, stream_id;
    struct engine_filters filters;
    uint64_t after;
    bool is_resume; /* {"stream_id":…[,"after":n]} and no messages: follow instead of ask */
    struct chat_turn *turns; /* owned */
    size_t turn_count;
    struct chat_issue issues[CHAT_ISSUES_MAX];
    size_t issue_count;
};

/*
 * Takes `root`. 0: usable; -ERR_INVALID: issues say what is wrong (root may be of any type); -ERR_NO_MEMORY; -ERR_TOO_LARGE (messages).
 * chat_fields_done in every case.
 */
int chat_decode(json_t *root, struct chat_fields *f) MUST_CHECK;
/* After 0: lets go of all in root that no field is, so that freeing it later is quick. */
void chat_fields_trim(struct chat_fields *f);
void chat_fields_done(struct chat_fields *f);

void chat_issues_text(const struct chat_fields *f,
                      struct buf *out); /* "2 validation errors for ChatCompletionRequest\n…" */
void chat_issues_json(const struct chat_fields *f, struct buf *out); /* {"detail":[…]} */
/* 422 body for a syntax error at the byte offset. */
void chat_syntax_json(const char *why, size_t offset, struct buf *out);
