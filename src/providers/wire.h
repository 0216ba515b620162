#pragma once
/*
 * Wire formats of chat providers: how a request is written and how the streamed answer is read. Pure: bytes in, events out;
 * no sockets, no clock (SigV4 gets the time as a value). One file per format (wire_openai.c, wire_gemini.c, wire_ollama.c,
 * wire_anthropic.c, wire_bedrock.c), each with traces written by hand from the provider's documents, replayed split at every
 * byte, and a fuzz target. Thread: owner.
 *
 * Bedrock: ConverseStream is the one format for all models; model families have no bodies of their own here.
 */
#include "base/buf.h"
#include "base/err.h"
#include "providers/chat.h"

enum wire_event_type {
    WIRE_TEXT,      /* a piece of the answer */
    WIRE_REASONING, /* a piece of thinking: kept apart, never part of the answer */
    WIRE_USAGE,     /* figures so far; the last one counts */
    WIRE_FINISH, /* reason known: "stop", "length", "content_filter", "tool_calls", "other". Once and
                       last; missing where the provider named none */
    WIRE_ERROR,  /* the provider reports an error inside the stream; see error_class, text = its
                       message. The last event: what follows in the stream is not read */
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
    /* USAGE; 0 = not said. prompt includes cached and cache_write, completion includes reasoning, whatever the provider's habit. */
    uint64_t prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens;
    const char *finish; /* static */
    enum wire_error_class error_class;
};

struct wire_target {
    const char *base_url; /* "https://api.openai.com/v1"; no query, no user in it */
    const char *api_key;  /* secret: only ever in a header; NULL or "" = no such header */
    const char *
        auth_header; /* header that carries the key: "Authorization" (as Bearer), "api-key", "x-api-key" …;
                                NULL = the format's own */
    const char *model;
    const char *deployment, *api_version; /* azure */
    const char *region, *access_key_id, *secret_access_key,
        *session_token; /* bedrock; with api_key set a bearer token is sent instead of a signature */
    const char *extra_headers; /* "Name: value\n…" or NULL; replace ours of the same name */
    /* Object of model parameters (temperature, top_p, max_tokens, options …) or NULL; each format moves the common names to
       where its protocol has them and passes the others on. */
    const char *params_json;
    int64_t wall_ms; /* now, for signatures */
    bool use_v1;     /* azure: /openai/v1/… */
};

/* The request to send: POST. Secrets are in headers only. */
struct wire_request {
    char *url;      /* owned */
    char **headers; /* owned, NULL-terminated, "Name: value" */
    char *body;     /* owned */
    size_t body_len;
};
void wire_request_done(struct wire_request *r); /* wipes what may hold secrets */

struct wire_reader; /* one answer */
struct wire_format {
    const char *name; /* "openai", "gemini", "ollama", "anthropic", "bedrock" */
    /*
     * `prompt`: the whole prompt as the one user message (system message for azure classic, as its protocol does).
     * 0; -ERR_INVALID (target), -ERR_TOO_LARGE, -ERR_NO_MEMORY with *ret empty.
     */
    int (*build)(const struct wire_target *t, struct span prompt, bool stream,
                 struct wire_request *ret, struct err *err);
    int (*reader_new)(struct wire_reader **ret);
    /*
     * Bytes of a 2xx body in any pieces; a body that is plain JSON though events were asked for is read too. Negative and
     * sticky: the stream is not of this format (-ERR_UPSTREAM), -ERR_TOO_LARGE, -ERR_NO_MEMORY, or what emit returned.
     */
    int (*feed)(struct wire_reader *r, struct span bytes,
                int (*emit)(void *ctx, const struct wire_event *e), void *ctx);
    /* End of the body: 0 when it ended as the format says or with WIRE_ERROR, -ERR_UPSTREAM when it was cut. May emit. */
    int (*finish)(struct wire_reader *r, int (*emit)(void *ctx, const struct wire_event *e),
                  void *ctx);
    void (*reader_free)(struct wire_reader *r);
    /* A non-2xx answer: its class and a message for people (provider's own words, secrets removed), bounded. */
    enum wire_error_class (*classify)(int status, struct span body, char *ret_message, size_t size);
};
extern const struct wire_format wire_openai, wire_azure, wire_gemini, wire_ollama, wire_anthropic,
    wire_bedrock;

/*
 * Replaces every occurrence of the target's secrets in a message by ***, in place: for texts that echo a key of any shape. The
 * beginning of a secret at the end of the message, where it was cut off, counts too.
 */
void wire_mask_target(char *message, const struct wire_target *t);
