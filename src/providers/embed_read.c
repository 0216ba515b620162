/*
 * Reads the answers of embedders. A reader of its own, not json_read: an answer is a few numbers of
 * structure around hundreds of thousands of figures, read on the loop's thread. 128 vectors of 1,536
 * numbers take 4 to 10 ms here and no memory, 85 ms and more as a tree. What is not needed is skipped
 * loosely (brackets are counted, not matched).
 */
#include "providers/embed_priv.h"

#include <math.h>
#include <stdlib.h>

struct scan {
    const char *p, *end;
    bool is_broken;
    float *values; /* LIMIT_EMBED_DIMS_COUNT */
};

/* A vector as it was found. */
struct found {
    unsigned dims;
    const char *why; /* it is none: why; NULL and dims 0: there was none */
};

/* ---- JSON ---- */

static char peek(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
    return s->p < s->end ? *s->p : '\0';
}

static bool take(struct scan *s, char c)
{
    if (peek(s) != c || s->p == s->end)
        return false;
    s->p++;
    return true;
}

/* What is between the quotes, escapes as they are. */
static struct span take_string(struct scan *s)
{
    if (!take(s, '"')) {
        s->is_broken = true;
        return SPAN_NULL;
    }
    const char *from = s->p;
    while (s->p < s->end && *s->p != '"')
        s->p += *s->p == '\\' && s->p + 1 < s->end ? 2 : 1;
    struct span text = span_of(from, (size_t)(s->p - from));
    if (!take(s, '"'))
        s->is_broken = true;
    return text;
}

static void skip_value(struct scan *s)
{
    unsigned depth = 0;
    do {
        char c = peek(s);
        if (c == '"') {
            (void)take_string(s);
        } else if (c == '{' || c == '[') {
            s->is_broken |= ++depth > LIMIT_JSON_DEPTH;
            s->p++;
        } else if (c == '}' || c == ']') {
            s->is_broken |= depth == 0;
            depth -= depth > 0;
            s->p++;
        } else if (c == ',' || c == ':') {
            s->is_broken |= depth == 0;
            s->p++;
        } else {
            const char *from = s->p;
            while (s->p < s->end && !strchr(" \n\r\t,:{}[]\"", *s->p))
                s->p++;
            s->is_broken |= s->p == from;
        }
    } while (depth && !s->is_broken);
}

/* The next member's name; false at the end of the object. */
static bool next_member(struct scan *s, bool *is_first, struct span *ret_key)
{
    if (s->is_broken || take(s, '}'))
        return false;
    if (!*is_first && !take(s, ','))
        s->is_broken = true;
    *is_first = false;
    *ret_key = s->is_broken ? SPAN_NULL : take_string(s);
    if (!s->is_broken && !take(s, ':'))
        s->is_broken = true;
    return !s->is_broken;
}

static bool next_item(struct scan *s, bool *is_first)
{
    if (s->is_broken || take(s, ']'))
        return false;
    if (!*is_first && !take(s, ','))
        s->is_broken = true;
    *is_first = false;
    return !s->is_broken;
}

static uint64_t take_count(struct scan *s)
{
    uint64_t n = 0;
    (void)peek(s);
    const char *from = s->p;
    skip_value(s);
    return !s->is_broken && parse_u64(span_of(from, (size_t)(s->p - from)), &n) ? n : 0;
}

/* ---- figures ---- */

static bool is_digit(const struct scan *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

/* Digits into the mantissa while it has room; the exponent follows what was left out. */
static bool take_digits(struct scan *s, uint64_t *mantissa, int *exponent, bool is_fraction)
{
    bool is_any = false;
    for (; is_digit(s); s->p++, is_any = true) {
        if (*mantissa < UINT64_C(100000000000000000)) {
            *mantissa = *mantissa * 10 + (uint64_t)(*s->p - '0');
            *exponent -= is_fraction;
        } else if (*exponent < 100000) {
            *exponent += !is_fraction;
        }
    }
    return is_any;
}

static bool take_exponent(struct scan *s, int *exponent)
{
    if (s->p == s->end || (*s->p != 'e' && *s->p != 'E'))
        return true;
    s->p++;
    bool is_negative = s->p < s->end && *s->p == '-';
    s->p += s->p < s->end && (*s->p == '-' || *s->p == '+');
    int e = 0;
    if (!is_digit(s))
        return false;
    for (; is_digit(s); s->p++)
        e = e < 100000 ? e * 10 + (*s->p - '0') : e;
    *exponent += is_negative ? -e : e;
    return true;
}

/*
 * A JSON number, near enough for a float (the mantissa's first 18 digits). False: none, s is where
 * it was.
 */
static bool take_number(struct scan *s, float *ret)
{
    static const double tens[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *from = s->p;
    uint64_t mantissa = 0;
    int exponent = 0;
    bool is_negative = s->p < s->end && *s->p == '-';
    s->p += is_negative;
    bool is_ok = take_digits(s, &mantissa, &exponent, false);
    if (is_ok && s->p < s->end && *s->p == '.') {
        s->p++;
        is_ok = take_digits(s, &mantissa, &exponent, true);
    }
    if (!is_ok || !take_exponent(s, &exponent)) {
        s->p = from;
        return false;
    }
    double v = (double)mantissa;
    if (exponent < 0 && exponent >= -22)
        v /= tens[-exponent];
    else if (exponent > 0 && exponent <= 22)
        v *= tens[exponent];
    else if (exponent && mantissa)
        v *= pow(10, exponent);
    *ret = (float)(is_negative ? -v : v);
    return true;
}

static const char no_number[] = "the provider sent a vector with something else than numbers";
static const char too_many[] = "the provider sent a vector of too many numbers";

static struct found take_numbers(struct scan *s)
{
    struct found f = {0};
    bool is_first = true;
    s->p++; /* [ */
    while (next_item(s, &is_first)) {
        float v = 0;
        (void)peek(s);
        if (!take_number(s, &v)) {
            skip_value(s);
            f.why = no_number;
        } else if (f.dims >= LIMIT_EMBED_DIMS_COUNT) {
            f.why = too_many;
        } else {
            s->values[f.dims++] = v;
        }
    }
    return f;
}

static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Little-endian float32 in base64; "\/" for "/" as some servers write it. */
static struct found take_base64(struct scan *s)
{
    struct found f = {0};
    struct span text = take_string(s);
    uint32_t bits = 0, word = 0;
    unsigned have = 0, bytes = 0;
    for (size_t i = 0; i < text.len && !f.why; i++) {
        char c = text.ptr[i];
        int six = sextet(c);
        if (c == '\\' && i + 1 < text.len && text.ptr[i + 1] == '/')
            continue;
        if (c == '=')
            break;
        if (six < 0) {
            f.why = no_number;
            break;
        }
        bits = bits << 6 | (uint32_t)six;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        word |= (bits >> have & 0xff) << (8 * bytes);
        if (++bytes < 4)
            continue;
        if (f.dims >= LIMIT_EMBED_DIMS_COUNT)
            f.why = too_many;
        else
            memcpy(&s->values[f.dims++], &word, 4);
        word = 0;
        bytes = 0;
    }
    if (!f.why && (bytes || !f.dims))
        f.why = no_number;
    return f;
}

static void check_values(const struct scan *s, struct found *f)
{
    bool is_any = false;
    for (unsigned i = 0; i < f->dims && !f->why; i++) {
        if (!isfinite(s->values[i]))
            f->why = "the provider sent a vector with numbers that are not finite";
        is_any |= s->values[i] != 0;
    }
    if (!f->why && !f->dims)
        f->why = "the provider sent an empty vector";
    else if (!f->why && !is_any)
        f->why = "the provider sent a vector of zeros";
}

static struct found take_flat(struct scan *s)
{
    struct found f = {.why = "the provider sent no vector"};
    char c = peek(s);
    if (c == '[')
        f = take_numbers(s);
    else if (c == '"')
        f = take_base64(s);
    else
        skip_value(s);
    check_values(s, &f);
    return f;
}

/* A vector, or Google's object around it. */
static struct found take_values(struct scan *s)
{
    if (peek(s) != '{')
        return take_flat(s);
    struct found f = {.why = "the provider sent no vector"};
    struct span key;
    bool is_first = true;
    s->p++;
    while (next_member(s, &is_first, &key)) {
        if (span_is(key, "values"))
            f = take_flat(s);
        else
            skip_value(s);
    }
    return f;
}

/* An element of a list: a vector, or an object with it and its index. */
static struct found take_vector(struct scan *s, size_t *at)
{
    if (peek(s) != '{')
        return take_flat(s);
    struct found f = {.why = "the provider sent no vector"};
    struct span key;
    bool is_first = true;
    s->p++;
    while (next_member(s, &is_first, &key)) {
        if (span_is(key, "values"))
            f = take_flat(s);
        else if (span_is(key, "embedding"))
            f = take_values(s);
        else if (span_is(key, "index"))
            *at = (size_t)take_count(s);
        else
            skip_value(s);
    }
    return f;
}

/* ---- the whole ---- */

struct reading {
    struct scan scan;
    const struct embed_items *items;
    size_t expected;
    struct embed_answer *answer;
    bool has_list;
};

static void take_one(struct reading *r, size_t position)
{
    size_t at = position;
    struct found f = take_vector(&r->scan, &at);
    r->has_list = true;
    if (r->scan.is_broken || at >= r->expected)
        return;
    if (f.why)
        r->items->bad(r->items->ctx, at, f.why);
    else
        r->items->vector(r->items->ctx, at, r->scan.values, f.dims);
}

static void take_list(struct reading *r)
{
    bool is_first = true;
    size_t position = 0;
    if (!take(&r->scan, '[')) {
        skip_value(&r->scan);
        return;
    }
    r->has_list = true;
    while (next_item(&r->scan, &is_first))
        take_one(r, position++);
}

static void take_usage(struct reading *r)
{
    struct span key;
    bool is_first = true;
    if (!take(&r->scan, '{')) {
        skip_value(&r->scan);
        return;
    }
    while (next_member(&r->scan, &is_first, &key)) {
        bool is_total = span_is(key, "total_tokens");
        if (is_total || span_is(key, "prompt_tokens") || span_is(key, "promptTokenCount")) {
            uint64_t n = take_count(&r->scan);
            if (n > r->answer->tokens)
                r->answer->tokens = n;
        } else {
            skip_value(&r->scan);
        }
    }
}

static void take_member(struct reading *r, struct span key)
{
    struct scan *s = &r->scan;
    if (span_is(key, "data") || span_is(key, "embeddings")) {
        take_list(r);
    } else if (span_is(key, "embedding")) {
        take_one(r, 0);
    } else if (span_is(key, "usage") || span_is(key, "usageMetadata")) {
        take_usage(r);
    } else if (span_is(key, "prompt_eval_count") || span_is(key, "inputTextTokenCount")) {
        r->answer->tokens = take_count(s);
    } else if (span_is(key, "error")) {
        r->answer->has_error = peek(s) != 'n'; /* null */
        skip_value(s);
    } else {
        skip_value(s);
    }
}

int embed_read(struct span body, size_t expected, float *scratch, const struct embed_items *items,
               struct embed_answer *ret)
{
    *ret = (struct embed_answer){0};
    if (!body.len)
        return -ERR_UPSTREAM;
    struct reading r = {.scan = {body.ptr, body.ptr + body.len, false, scratch},
                        .items = items,
                        .expected = expected,
                        .answer = ret};
    struct span key;
    bool is_first = true;
    if (!take(&r.scan, '{'))
        return -ERR_UPSTREAM;
    while (next_member(&r.scan, &is_first, &key))
        take_member(&r, key);
    bool is_whole = !r.scan.is_broken && peek(&r.scan) == '\0' && r.scan.p == r.scan.end;
    return is_whole && (r.has_list || ret->has_error) ? 0 : -ERR_UPSTREAM;
}

int64_t embed_retry_delay(struct span body)
{
    ptrdiff_t at = span_find(body, SPAN_LIT("\"retryDelay\""));
    if (at < 0)
        return -1;
    struct scan s = {.p = body.ptr + at + 12, .end = body.ptr + body.len};
    float seconds = 0;
    if (!take(&s, ':') || !take(&s, '"') || !take_number(&s, &seconds) || s.p == s.end ||
        *s.p != 's' || !(seconds >= 0) || seconds > 1e6F)
        return -1;
    return (int64_t)((double)seconds * 1000);
}
