/*
 * Ordinary text deltas without a JSON tree. A model's answer is thousands of chunks that differ in one string; building
 * a tree of each costs more than everything else the relay does with it. Whatever is not plainly such a chunk is left to
 * the reader of all JSON (wire_json_read), so only what is accepted here must be right, and a fuzz target holds it
 * against jansson.
 */
#include "providers/wire_priv.h"
#include "text/utf8.h"

#define SKIP_DEPTH 8 /* of values that are passed over; deeper ones are left to jansson */
#define DIGITS_MAX 15

struct scan {
    const char *at, *end;
};

static void skip_space(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

/* The next byte that is no white space, taken when it is c. */
static bool take(struct scan *s, char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool take_word(struct scan *s, struct span word)
{
    skip_space(s);
    if (!span_starts(span_of(s->at, (size_t)(s->end - s->at)), word))
        return false;
    s->at += word.len;
    return true;
}

/* The bytes between the quotes as they stand. */
static bool take_string(struct scan *s, struct span *ret, bool *ret_has_escapes)
{
    *ret_has_escapes = false;
    if (!take(s, '"'))
        return false;
    const char *from = s->at;
    for (; s->at < s->end && *s->at != '"'; s->at++) {
        if ((unsigned char)*s->at < ' ')
            return false;
        if (*s->at != '\\')
            continue;
        *ret_has_escapes = true;
        s->at++;
        if (s->at == s->end || !*s->at || !strchr("\"\\/bfnrt", *s->at))
            return false; /* also \u: halves of characters are handled elsewhere */
    }
    if (s->at == s->end)
        return false;
    *ret = span_of(from, (size_t)(s->at++ - from));
    return true;
}

static bool take_key(struct scan *s, struct span *ret)
{
    bool has_escapes;
    return take_string(s, ret, &has_escapes) && !has_escapes && take(s, ':');
}

static bool skip_number(struct scan *s)
{
    if (s->at < s->end && *s->at == '-')
        s->at++;
    const char *from = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    size_t n = (size_t)(s->at - from);
    if (!n || n > DIGITS_MAX || (n > 1 && *from == '0'))
        return false;
    return s->at == s->end || !strchr(".eE", *s->at) || !*s->at;
}

static bool skip_value(struct scan *s, unsigned depth)
{
    struct span ignored;
    bool has_escapes;
    skip_space(s);
    if (s->at == s->end || depth > SKIP_DEPTH)
        return false;
    char open = *s->at, shut = open == '{' ? '}' : ']';
    if (open == '"')
        return take_string(s, &ignored, &has_escapes);
    if (open != '{' && open != '[')
        return open == 'n'   ? take_word(s, SPAN_LIT("null"))
               : open == 't' ? take_word(s, SPAN_LIT("true"))
               : open == 'f' ? take_word(s, SPAN_LIT("false"))
                             : skip_number(s);
    s->at++;
    if (take(s, shut))
        return true;
    do {
        if ((open == '{' && !take_key(s, &ignored)) || !skip_value(s, depth + 1))
            return false;
    } while (take(s, ','));
    return take(s, shut);
}

/* ---- chunks of OpenAI's kind ---- */

struct delta {
    struct span content; /* between its quotes */
    bool has_content, has_escapes, has_delta, has_index, has_choices;
};

static bool is_any(struct span key, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_is(key, names[i]))
            return true;
    return false;
}

static bool take_delta_member(struct scan *s, struct span key, struct delta *d)
{
    static const char *const shown[] = {"reasoning_content", "reasoning", "reasoning_details",
                                        "refusal"};
    if (span_is(key, "content")) {
        if (d->has_content)
            return false;
        d->has_content = true;
        return take_word(s, SPAN_LIT("null")) || take_string(s, &d->content, &d->has_escapes);
    }
    if (is_any(key, shown, ARRAY_LEN(shown)))
        return take_word(s, SPAN_LIT("null"));
    return skip_value(s, 0);
}

static bool take_choice_member(struct scan *s, struct span key, struct delta *d)
{
    static const char *const special[] = {"message", "error"};
    struct span name;
    if (span_is(key, "finish_reason"))
        return take_word(s, SPAN_LIT("null"));
    if (span_is(key, "index")) {
        bool is_first = !d->has_index && take(s, '0');
        d->has_index = true;
        return is_first && (s->at == s->end || *s->at == ',' || *s->at == '}' || *s->at == ' ');
    }
    if (is_any(key, special, ARRAY_LEN(special)))
        return false;
    if (!span_is(key, "delta"))
        return skip_value(s, 0);
    if (d->has_delta || !take(s, '{'))
        return false;
    d->has_delta = true;
    if (take(s, '}'))
        return true;
    do {
        if (!take_key(s, &name) || !take_delta_member(s, name, d))
            return false;
    } while (take(s, ','));
    return take(s, '}');
}

/* A list of one. */
static bool take_choices(struct scan *s, struct delta *d)
{
    struct span name;
    if (d->has_choices || !take(s, '[') || !take(s, '{'))
        return false;
    d->has_choices = true;
    do {
        if (!take_key(s, &name) || !take_choice_member(s, name, d))
            return false;
    } while (take(s, ','));
    return d->has_delta && take(s, '}') && take(s, ']');
}

static bool take_chunk(struct scan *s, struct delta *d)
{
    struct span name;
    if (!take(s, '{'))
        return false;
    do {
        if (!take_key(s, &name))
            return false;
        bool is_ok = span_is(name, "choices") ? take_choices(s, d)
                     : span_is(name, "usage") || span_is(name, "error")
                         ? take_word(s, SPAN_LIT("null"))
                         : skip_value(s, 0);
        if (!is_ok)
            return false;
    } while (take(s, ','));
    if (!take(s, '}'))
        return false;
    skip_space(s);
    return s->at == s->end && d->has_choices;
}

static void put_unescaped(struct buf *out, struct span s)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    ptrdiff_t n;
    while ((n = span_find_char(s, '\\')) >= 0) {
        buf_put_span(out, span_first(s, (size_t)n));
        const char *known = strchr(from, s.ptr[n + 1]);
        buf_putc(out, known ? to[known - from] : s.ptr[n + 1]);
        s = span_skip(s, (size_t)n + 2);
    }
    buf_put_span(out, s);
}

bool wire_quick_openai(struct span text, struct buf *scratch, struct span *ret)
{
    struct scan s = {text.ptr, text.ptr + text.len};
    struct delta d = {0};
    if (!take_chunk(&s, &d) || !utf8_is_valid(text))
        return false;
    *ret = d.content;
    if (!d.has_escapes)
        return true;
    buf_clear(scratch);
    put_unescaped(scratch, d.content);
    *ret = buf_span(scratch);
    return !buf_failed(scratch);
}
