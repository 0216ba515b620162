#pragma once
/*
 * Wire formats of chat providers: how a request is written and how the streamed answer is read. Pure: bytes in, events out; no
 * sockets, no clock (SigV4 gets the time as a value). One file per format (wire_openai.c, wire_gemini.c, wire_ollama.c,
 * wire_anthropic.c, wire_bedrock.c), each with traces written by hand from the provider's documents, replayed split at every byte, and a
 * fuzz target. Thread: owner.
 */
#include "base/buf.h"
#include "base/err.h"
#include "providers/chat.h"

enum wire_event_type {
    WIRE_TEXT,      /* a piece of the answer */
    WIRE_REASONING, /* a piece of thinking: kept apart, never part of the answer */
    WIRE_USAGE,     /* figures so far; the last one counts */
    WIRE_FINISH,    /* reason known: "stop", "length", "content_filter" … (canonical words) */
    WIRE_ERROR,     /* the provider reports an error inside the stream; see error_class, text = its message */
};

/* What to do about a failure; from HTTP status and body, or an error inside a stream. */
enum wire_error_class {
    WIRE_ERROR_NONE,
    WIRE_ERROR_AUTH,       /* key missing, wrong, no permission: other key may work */
    WIRE_ERROR_RATE,       /* 429, quota: later, or another endpoint */
    WIRE_ERROR_OVERLOADED, /* 5xx, "overloaded": again soon */
    WIRE_ERROR_TOO_LONG,   /* prompt exceeds the model's context: again without context */
    WIRE_ERROR_INVALID,    /* our request is wrong (unknown model …): not again */
    WIRE_ERROR_FILTERED,   /* content policy */
    WIRE_ERROR_OTHER,
};

struct wire_event {
    enum wire_event_type type;
    struct span text; /* valid during the callback; whole UTF-8 characters only */
    uint64_t prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens; /* USAGE; 0 = not said */
    const char *finish;
    enum wire_error_class error_class;
};

struct wire_target {
    const char *base_url;   /* "https://api.openai.com/v1" */
    const char *api_key;    /* secret: only ever in a header */
    const char *model;
    const char *deployment, *api_version; /* azure */
    const char *region, *access_key_id, *secret_access_key, *session_token; /* bedrock */
    const char *extra_headers;            /* "Name: value\n…" or NULL */
    const char *params_json;              /* object of model parameters (temperature, top_p, max_tokens, options …) or NULL */
    int64_t wall_ms;                      /* now, for signatures */
    bool use_v1;                          /* azure: /openai/v1/… */
};

/* The request to send. Secrets are in headers only. */
struct wire_request {
    char *url;          /* owned */
    char **headers;     /* owned, NULL-terminated, "Name: value" */
    char *body;         /* owned */
    size_t body_len;
};
void wire_request_done(struct wire_request *r); /* wipes what may hold secrets */

struct wire_reader; /* one answer */
struct wire_format {
    const char *name; /* "openai", "gemini", "ollama", "anthropic", "bedrock" */
    /* `prompt`: the whole prompt as the one user message (system message for azure classic, as its protocol does). */
    int (*build)(const struct wire_target *t, struct span prompt, bool stream, struct wire_request *ret, struct err *err);
    int (*reader_new)(struct wire_reader **ret);
    /* Bytes of a 2xx body in any pieces. Negative: the stream is not of this format (-ERR_UPSTREAM), or what emit returned. */
    int (*feed)(struct wire_reader *r, struct span bytes, int (*emit)(void *ctx, const struct wire_event *e), void *ctx);
    /* End of the body: 0 when it ended as the format says, -ERR_UPSTREAM when it was cut. May emit. */
    int (*finish)(struct wire_reader *r, int (*emit)(void *ctx, const struct wire_event *e), void *ctx);
    void (*reader_free)(struct wire_reader *r);
    /* A non-2xx answer: its class and a message for people (provider's own words, secrets removed), bounded. */
    enum wire_error_class (*classify)(int status, struct span body, char *ret_message, size_t size);
};
extern const struct wire_format wire_openai, wire_azure, wire_gemini, wire_ollama, wire_anthropic, wire_bedrock;
