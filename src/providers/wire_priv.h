#pragma once
/*
 * What the wire formats share. Private to src/providers.
 *   wire_build.c   URL, headers, parameters of a request
 *   wire_split.c   bytes to JSON values (NDJSON, JSON array, one object)
 *   wire_frames.c  bytes to messages of the binary event stream
 *   wire_text.c    pieces of text to whole characters; thinking set apart
 *   wire_error.c   what a provider's error means, secrets masked
 *   wire_sigv4.c   request signatures
 *   wire_reader.c  the reader all formats are an instance of; a format adds what its JSON means (struct wire_dialect)
 */
#include "base/json.h"
#include "base/limits.h"
#include "net/sse.h"
#include "providers/wire.h"

/* ---- wire_build.c ---- */

/* Room for the headers of one request; 0 or -ERR_NO_MEMORY. wire_request_done releases it in every state. */
int wire_request_init(struct wire_request *r, struct err *err) MUST_CHECK;
/* Adds or replaces "name: prefix value"; an empty or NULL value adds nothing. -ERR_INVALID on control characters. */
int wire_header_put(struct wire_request *r, const char *name, const char *prefix, const char *value,
                    struct err *err) MUST_CHECK;
/* Content-Type, Accept, then the lines of t->extra_headers. */
int wire_headers_common(struct wire_request *r, const struct wire_target *t, bool stream,
                        const char *accept, struct err *err) MUST_CHECK;
/* t->api_key in t->auth_header, else in `name` (with "Bearer " where the name is Authorization). */
int wire_header_key(struct wire_request *r, const struct wire_target *t, const char *name,
                    struct err *err) MUST_CHECK;
/* The base URL without slashes at its end: http(s), no user, query, fragment or white space in it. */
int wire_base_url(const char *base_url, struct span *ret, struct err *err) MUST_CHECK;
/* base without the suffix, where it has it. */
struct span wire_without(struct span base, const char *suffix);
/* RFC 3986: everything but letters, digits and -._~ as %XX. */
void wire_put_encoded(struct buf *out, struct span s);
int wire_url_take(struct wire_request *r, struct buf *url, struct err *err) MUST_CHECK;

/* The formats' own addresses: what follows the model, deployment or base is `action`. */
int wire_azure_check(const struct wire_target *t, struct err *err) MUST_CHECK;
int wire_azure_url(const struct wire_target *t, const char *action, struct wire_request *ret,
                   struct err *err) MUST_CHECK;
int wire_gemini_url(const struct wire_target *t, const char *action, struct wire_request *ret,
                    struct err *err) MUST_CHECK;
int wire_ollama_url(const struct wire_target *t, const char *path, struct wire_request *ret,
                    struct err *err) MUST_CHECK;
int wire_bedrock_check(const struct wire_target *t, struct err *err) MUST_CHECK;
int wire_bedrock_url(const struct wire_target *t, const char *action, struct wire_request *ret,
                     struct err *err) MUST_CHECK;
/* A bearer token where there is one, else a signature over what the request holds so far. */
int wire_bedrock_sign(const struct wire_target *t, struct wire_request *r,
                      struct err *err) MUST_CHECK;

/* The body being written and the parameters that go into it. */
struct wire_body {
    struct buf buf;
    struct json_writer w;
    json_t *params; /* owned; an object */
};
/* Opens the object. Release with wire_body_done in every case. */
int wire_body_init(struct wire_body *b, const struct wire_target *t, struct err *err) MUST_CHECK;
void wire_body_done(struct wire_body *b);
void wire_body_json(struct wire_body *b, const json_t *v);
/* The members of obj that are not null. */
void wire_body_members(struct wire_body *b, json_t *obj);
/* All parameters not yet removed from b->params. */
void wire_body_params(struct wire_body *b);
/* One parameter under another name, removed from b->params; false when it is absent or null. */
bool wire_body_param(struct wire_body *b, const char *name, const char *as);
/* `stop` (string or list) as a list under another name. */
void wire_body_stop(struct wire_body *b, const char *as);
/* Closes the object and hands it to r. */
int wire_body_take(struct wire_body *b, struct wire_request *r, struct err *err) MUST_CHECK;

/* ---- wire_text.c ---- */

/*
 * Reads JSON that may hold halves of surrogate pairs or of UTF-8 sequences (servers cut text between bytes of a character).
 * Such halves come out as characters of a private range when *ret_has_marks; wire_text joins them with the piece that
 * follows. NULL: *ret_code is -ERR_UPSTREAM or -ERR_NO_MEMORY.
 */
json_t *wire_json_read(struct span text, bool *ret_has_marks, int *ret_code) MUST_CHECK;

struct wire_sink {
    int (*emit)(void *ctx, const struct wire_event *e);
    void *ctx;
};

enum wire_think {
    WIRE_THINK_START,  /* nothing but white space so far: <think> may come */
    WIRE_THINK_INSIDE, /* until </think> */
    WIRE_THINK_AFTER,  /* white space before the answer is dropped */
    WIRE_THINK_NONE,   /* the answer */
};

struct wire_chars {
    char part[8]; /* bytes of a character whose end has not come */
    size_t len;
};

struct wire_text {
    struct wire_chars answer, reasoning;
    struct buf whole; /* the piece at hand, whole characters */
    struct buf held;  /* what may become a tag */
    enum wire_think think;
    size_t answer_bytes, reasoning_bytes;
};
void wire_text_init(struct wire_text *t, bool has_tags);
void wire_text_done(struct wire_text *t);
/*
 * Emits what is whole. A tag <think> counts only where the answer starts, so that an answer about such tags is left alone.
 * -ERR_TOO_LARGE past LIMIT_WIRE_ANSWER; thinking past LIMIT_WIRE_REASONING is dropped; -ERR_NO_MEMORY; what emit returned.
 */
int wire_text_answer(struct wire_text *t, struct span s, bool has_marks,
                     const struct wire_sink *sink) MUST_CHECK;
int wire_text_reasoning(struct wire_text *t, struct span s, bool has_marks,
                        const struct wire_sink *sink) MUST_CHECK;
/* What was held back, incomplete characters as U+FFFD. */
int wire_text_end(struct wire_text *t, const struct wire_sink *sink) MUST_CHECK;

/* ---- wire_quick.c ---- */

/*
 * True when the text is a chunk of OpenAI's kind that says nothing but a piece of text (perhaps an empty one), which
 * *ret gets: within `text`, or within `scratch` where it had escapes. False: anything else, also what is no JSON.
 */
bool wire_quick_openai(struct span text, struct buf *scratch, struct span *ret);

/* ---- wire_split.c ---- */

/* Cuts a body into its JSON objects: one after another with any white space (NDJSON too), or the elements of one list. */
struct wire_split {
    struct buf value;
    unsigned depth;
    bool in_string, is_escaped, in_list, is_over;
};
void wire_split_init(struct wire_split *s);
void wire_split_done(struct wire_split *s);
/* 0; -ERR_UPSTREAM (something else than objects); -ERR_TOO_LARGE; -ERR_NO_MEMORY; what each returned. */
int wire_split_feed(struct wire_split *s, struct span bytes,
                    int (*each)(void *ctx, struct span value), void *ctx) MUST_CHECK;

/* ---- wire_frames.c ---- */

/* One message of application/vnd.amazon.eventstream. */
struct wire_frame {
    struct span type;    /* event, exception, error */
    struct span name;    /* :event-type, :exception-type or :error-code */
    struct span message; /* :error-message */
    struct span payload;
};
struct wire_frames {
    struct buf bytes; /* of the message at hand */
    size_t need;      /* its length, 0 until the prelude is there */
};
uint32_t wire_crc32(uint32_t crc, struct span s); /* IEEE 802.3; start with 0 */
void wire_frames_init(struct wire_frames *f);
void wire_frames_done(struct wire_frames *f);
/* 0; -ERR_UPSTREAM (checksum, lengths, headers); -ERR_TOO_LARGE; -ERR_NO_MEMORY; what each returned. */
int wire_frames_feed(struct wire_frames *f, struct span bytes,
                     int (*each)(void *ctx, const struct wire_frame *m), void *ctx) MUST_CHECK;

/* ---- wire_sigv4.c ---- */

struct wire_sign {
    const char *method;
    struct span host;  /* with its port unless it is the default */
    struct span path;  /* as sent, encoded once */
    struct span query; /* canonical already; empty here */
    struct span body;
    const char *service, *region;
    const char *access_key_id, *secret_access_key, *session_token;
    int64_t wall_ms;
};
struct wire_signature {
    char date[17];           /* X-Amz-Date: 20150830T123600Z */
    char authorization[768]; /* the header's value */
};
/* AWS Signature Version 4 over host, x-amz-date and, with a session, x-amz-security-token. */
int wire_sign(const struct wire_sign *s, struct wire_signature *ret, struct err *err) MUST_CHECK;

/* ---- wire_error.c ---- */

struct wire_problem {
    int status; /* HTTP, or 0 */
    struct span message, code, type, extra;
    char number[16]; /* a numeric code as text; code may point to it */
};
/* Finds the parts in any of the providers' shapes; spans point into body. False when it holds no error. */
bool wire_problem_read(const json_t *body, struct wire_problem *p);
enum wire_error_class wire_problem_class(const struct wire_problem *p);
/* For people: one line, secrets masked, at most size bytes with NUL. */
void wire_problem_text(const struct wire_problem *p, char *ret, size_t size);
enum wire_error_class wire_classify(int status, struct span body, char *ret_message, size_t size);

/* ---- wire_reader.c ---- */

struct wire_usage {
    uint64_t prompt, completion, reasoning, cached, cache_write;
};

struct wire_dialect {
    bool is_values; /* NDJSON; else events, unless the body starts as JSON */
    bool is_frames; /* binary event stream */
    bool has_tags;  /* <think> at the start of an answer */
    /* What one JSON object means; `name` is the event's name, or empty. */
    int (*value)(struct wire_reader *r, struct span name, const json_t *obj);
    /* Looks first, as wire_quick_openai does, for objects that are a piece of text alone. Or NULL. */
    bool (*quick)(struct span text, struct buf *scratch, struct span *ret);
};

enum wire_framing { WIRE_UNKNOWN, WIRE_SSE, WIRE_VALUES, WIRE_FRAMES };

struct wire_reader {
    const struct wire_dialect *dialect;
    enum wire_framing framing;
    struct sse_reader sse;
    struct wire_split split;
    struct wire_frames frames;
    struct wire_text text;
    struct buf scratch;    /* dialect->quick's */
    struct wire_sink sink; /* during a call */
    struct wire_usage usage, told;
    const char *finish;
    int failed;  /* sticky */
    int refused; /* what emit returned */
    bool has_marks, is_ended, has_error, has_told_finish;
};

int wire_reader_new(const struct wire_dialect *d, struct wire_reader **ret);
int wire_reader_feed(struct wire_reader *r, struct span bytes,
                     int (*emit)(void *ctx, const struct wire_event *e), void *ctx);
int wire_reader_finish(struct wire_reader *r, int (*emit)(void *ctx, const struct wire_event *e),
                       void *ctx);
void wire_reader_free(struct wire_reader *r);

/* For dialects. Values that are no strings are passed over. */
int wire_put_answer(struct wire_reader *r, const json_t *string) MUST_CHECK;
int wire_put_reasoning(struct wire_reader *r, const json_t *string) MUST_CHECK;
/* Emits r->usage when it changed; all 0 is nothing said. */
int wire_put_usage(struct wire_reader *r) MUST_CHECK;
int wire_put_problem(struct wire_reader *r, const struct wire_problem *p) MUST_CHECK;
/* The end mark came: what follows is not read. */
int wire_put_end(struct wire_reader *r) MUST_CHECK;
/* The word of a table that goes with the provider's; "other" when none does; a NULL or empty one changes nothing. */
struct wire_word {
    const char *from, *to;
};
void wire_set_finish(struct wire_reader *r, const char *from, const struct wire_word *words,
                     size_t count);
uint64_t wire_count(const json_t *obj, const char *key); /* 0 when absent or negative */
