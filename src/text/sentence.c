#include "text/sentence.h"

#include "text/utf8.h"

static char byte_at(struct span s, size_t i)
{
    return i < s.len ? s.ptr[i] : '\0';
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_alpha(char c)
{
    return ((c | 32) >= 'a' && (c | 32) <= 'z') || (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The word (with inner dots) that ends just before `end`. */
static struct span word_before(struct span s, size_t end)
{
    size_t i = end;
    while (i > 0 && end - i < 24 &&
           (is_alpha(s.ptr[i - 1]) || is_digit(s.ptr[i - 1]) || s.ptr[i - 1] == '.'))
        i--;
    return span_of(s.ptr + i, end - i);
}

/* "e.g.", "Dr.", "J.": the dot at s[dot] belongs to the word. */
static bool is_abbreviation(struct span s, size_t dot)
{
    static const char *const list[] = {"e.g",    "i.e",  "cf",   "vs",  "etc", "dr",   "mr",
                                       "mrs",    "ms",   "prof", "st",  "fig", "figs", "no",
                                       "vol",    "pp",   "ed",   "eds", "al",  "inc",  "ltd",
                                       "approx", "resp", "sec",  "eq",  "ref", "viz"};
    struct span word = word_before(s, dot);
    if (word.len == 1 && word.ptr[0] >= 'A' && word.ptr[0] <= 'Z')
        return true; /* an initial; "I." alone is rare enough */
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        if (span_eq_nocase(word, span_str(list[i]))) {
            /* "etc." and "al." may also end a sentence: a capital after them decides */
            size_t next = dot + 1;
            while (is_space(byte_at(s, next)))
                next++;
            char c = byte_at(s, next);
            bool may_end = span_is(word, "etc") || span_is(word, "al") || span_is(word, "no") ||
                           span_is(word, "inc") || span_is(word, "ltd");
            return !(may_end && c >= 'A' && c <= 'Z');
        }
    }
    return false;
}

/* Length of a list marker ("- ", "* ", "3. ", "a) ") at s[i], 0 when there is none. */
static size_t list_marker(struct span s, size_t i)
{
    char c = byte_at(s, i);
    if ((c == '-' || c == '*' || c == '+') && byte_at(s, i + 1) == ' ')
        return 2;
    size_t n = 0;
    while (n < 3 && is_digit(byte_at(s, i + n)))
        n++;
    if (n > 0 && (byte_at(s, i + n) == '.' || byte_at(s, i + n) == ')') &&
        byte_at(s, i + n + 1) == ' ')
        return n + 2;
    return 0;
}

/* After a newline at s[i]: does a blank line or a list item follow? */
static bool is_block_end(struct span s, size_t i)
{
    size_t j = i + 1;
    while (byte_at(s, j) == ' ' || byte_at(s, j) == '\t' || byte_at(s, j) == '\r')
        j++;
    return j >= s.len || byte_at(s, j) == '\n' || list_marker(s, j) > 0;
}

/* Past closing quotes and brackets that belong to the sentence. */
static size_t skip_closers(struct span s, size_t i)
{
    while (i < s.len) {
        if (strchr("\"')]*", s.ptr[i]) && s.ptr[i]) {
            i++;
        } else if (s.len - i >= 3 && (memcmp(s.ptr + i, "\xe2\x80\x9d", 3) == 0 ||
                                      memcmp(s.ptr + i, "\xe2\x80\x99", 3) == 0 ||
                                      memcmp(s.ptr + i, "\xe3\x80\x8d", 3) == 0)) {
            i += 3;
        } else {
            break;
        }
    }
    return i;
}

/* End of the sentence when an ASCII mark at s[i] ends it, else 0. */
static size_t end_at_mark(struct span s, size_t i)
{
    size_t j = i;
    while (byte_at(s, j) == '.' || byte_at(s, j) == '!' || byte_at(s, j) == '?')
        j++;
    size_t after = skip_closers(s, j);
    if (after < s.len && !is_space(s.ptr[after]))
        return 0; /* 3.14, file.c, a URL */
    if (s.ptr[i] == '.' && j == i + 1 && is_abbreviation(s, i))
        return 0;
    /* a small letter after a dot: the sentence goes on ("approx. five") */
    size_t next = after;
    while (is_space(byte_at(s, next)) && byte_at(s, next) != '\n')
        next++;
    char c = byte_at(s, next);
    if (s.ptr[i] == '.' && j == i + 1 && word_before(s, i).len <= 3 && c >= 'a' && c <= 'z')
        return 0;
    return after;
}

/* End of a CJK sentence mark (。！？) at s[i], else 0. */
static size_t end_at_cjk_mark(struct span s, size_t i)
{
    if (s.len - i < 3)
        return 0;
    const char *p = s.ptr + i;
    if (memcmp(p, "\xe3\x80\x82", 3) && memcmp(p, "\xef\xbc\x81", 3) &&
        memcmp(p, "\xef\xbc\x9f", 3) && memcmp(p, "\xef\xbd\xa1", 3))
        return 0;
    return skip_closers(s, i + 3);
}

/* Length of the first sentence of s, which starts with something visible. */
static size_t sentence_len(struct span s)
{
    size_t i = list_marker(s, 0); /* its dot is no end */
    while (i < s.len) {
        char c = s.ptr[i];
        size_t end = 0;
        if (c == '`') { /* code: on to its end when that is on the same line */
            const char *line = memchr(s.ptr + i, '\n', s.len - i);
            size_t limit = line ? (size_t)(line - s.ptr) : s.len;
            const char *close = i + 1 < limit ? memchr(s.ptr + i + 1, '`', limit - i - 1) : NULL;
            i = close ? (size_t)(close - s.ptr) + 1 : i + 1;
            continue;
        }
        if (c == '\n') {
            if (is_block_end(s, i))
                return i;
        } else if (c == '.' || c == '!' || c == '?') {
            end = end_at_mark(s, i);
            while (!end && strchr(".!?", byte_at(s, i + 1)) && byte_at(s, i + 1))
                i++; /* the whole run was judged at once */
        } else if ((unsigned char)c >= 0xe3) {
            end = end_at_cjk_mark(s, i);
        }
        if (end)
            return end;
        i++;
    }
    return s.len;
}

bool sentence_next(struct span *rest, struct span *ret_sentence)
{
    size_t i = 0;
    while (i < rest->len && is_space(rest->ptr[i]))
        i++;
    *rest = span_skip(*rest, i);
    if (rest->len == 0)
        return false;
    size_t n = sentence_len(*rest);
    *ret_sentence = span_trim(span_first(*rest, n));
    *rest = span_skip(*rest, n);
    return true;
}
