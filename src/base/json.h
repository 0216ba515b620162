#pragma once
/*
 * JSON. Writing: straight into a buf, commas kept by the writer. Reading: jansson behind json_read(), which
 * bounds size and depth and repairs lone surrogates (joined or replaced by U+FFFD) that jansson refuses.
 * Thread: any (each writer has one owner).
 */
#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

/* Compact writer: jw_obj(&w); jw_key(&w, "a"); jw_int(&w, 1); jw_end_obj(&w); → {"a":1} */
struct json_writer {
    struct buf *out; /* borrowed */
    bool need_comma;
    bool spaced; /* ", " and ": " as Python's json.dumps writes */
};

static inline struct json_writer json_writer(struct buf *out)
{
    return (struct json_writer){out, false, false};
}
void jw_obj(struct json_writer *w);
void jw_end_obj(struct json_writer *w);
void jw_arr(struct json_writer *w);
void jw_end_arr(struct json_writer *w);
void jw_key(struct json_writer *w, const char *key);
void jw_str(struct json_writer *w, const char *s);  /* NULL → null */
void jw_span(struct json_writer *w, struct span s); /* invalid UTF-8 becomes U+FFFD */
void jw_int(struct json_writer *w, int64_t v);
void jw_u64(struct json_writer *w, uint64_t v);
void jw_num(struct json_writer *w, double v); /* shortest that reads back; non-finite → null */
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
void jw_raw(struct json_writer *w, struct span json); /* a complete JSON value, trusted */
/* Key and value in one call. */
void jw_kstr(struct json_writer *w, const char *key, const char *s);
void jw_kspan(struct json_writer *w, const char *key, struct span s);
void jw_kint(struct json_writer *w, const char *key, int64_t v);
void jw_kbool(struct json_writer *w, const char *key, bool v);

/* The quoted string alone, with quotes. */
void json_put_string(struct buf *out, struct span s);

/*
 * Parses one JSON value of at most LIMIT_JSON_DEPTH levels. NULL on failure with *err filled
 * ("… at line 1 column 2") and *ret_offset the byte where it failed (may be NULL). Caller: json_decref.
 */
json_t *json_read(struct span text, struct err *err, size_t *ret_offset) MUST_CHECK;

/* Typed looks into an object; defaults when absent or of another type. */
const char *json_str(const json_t *obj, const char *key, const char *fallback);
struct span json_span(const json_t *string_value); /* bytes of a string value; empty otherwise */
int64_t json_int(const json_t *obj, const char *key, int64_t fallback);
double json_num(const json_t *obj, const char *key, double fallback);
bool json_flag(const json_t *obj, const char *key, bool fallback);
