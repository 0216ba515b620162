/*
 * Byte-pair encoders first cut text into pieces (a word with the space before it, up to three
 * digits, a run of punctuation, white space) and then encode each piece on its own: common words
 * are one token, longer ones a few.
 */
#include "text/tokens.h"

#include "text/utf8.h"

#define PIECE_MAX 64 /* bytes; bounds the work of tokens_cut */

struct piece {
    size_t len, tokens;
};

static enum utf8_class class_at(struct span s, size_t i, size_t *ret_len, uint32_t *ret_cp)
{
    size_t n = utf8_decode(span_skip(s, i), ret_cp);
    if (n == 0) { /* a broken byte costs about a token, like punctuation */
        *ret_cp = 0xfffd;
        n = 1;
    }
    *ret_len = n;
    return utf8_classify(*ret_cp);
}

static bool is_ascii_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* Letters up to a case border (fooBar, HTTPServer → foo|Bar, HTTP|Server). */
static size_t letters_len(struct span s, bool *ret_wide)
{
    size_t i = 0, n;
    uint32_t cp;
    bool has_lower = false;
    *ret_wide = false;
    while (i < s.len && i < PIECE_MAX - 4 && class_at(s, i, &n, &cp) == UTF8_LETTER) {
        bool is_upper = is_ascii_upper(s.ptr[i]);
        if (is_upper && has_lower)
            break;
        has_lower |= !is_upper;
        *ret_wide |= n > 1;
        i += n;
    }
    return i;
}

static size_t space_len(struct span s)
{
    size_t i = 0, n;
    uint32_t cp;
    while (i < s.len && i < PIECE_MAX - 4 && class_at(s, i, &n, &cp) == UTF8_SPACE)
        i += n;
    return i;
}

static size_t punct_len(struct span s)
{
    size_t i = 0;
    while (i < s.len && i < 3 && (unsigned char)s.ptr[i] < 0x80 &&
           utf8_classify((unsigned char)s.ptr[i]) == UTF8_PUNCT)
        i++;
    return i;
}

static size_t word_tokens(size_t letters, bool is_wide)
{
    if (is_wide)
        return 1 + letters / 5;
    return letters <= 9 ? 1 : 1 + (letters - 3) / 6;
}

/* The piece at the start of s, which is not empty. */
static struct piece next_piece(struct span s)
{
    size_t n;
    uint32_t cp;
    enum utf8_class class = class_at(s, 0, &n, &cp);
    size_t lead = 0;
    bool is_wide;
    if (class == UTF8_SPACE) {
        size_t len = space_len(s);
        /* one space belongs to the word after it */
        if (len != 1 || s.len == 1 || s.ptr[0] != ' ')
            return (struct piece){len, 1};
        lead = 1;
        class = class_at(s, 1, &n, &cp);
    }
    struct span rest = span_skip(s, lead);
    switch (class) {
    case UTF8_LETTER: {
        size_t len = letters_len(rest, &is_wide);
        return (struct piece){lead + len, word_tokens(len, is_wide)};
    }
    case UTF8_DIGIT: {
        size_t len = n;
        for (size_t count = 1; count < 3 && len < rest.len; count++, len += n) {
            if (class_at(rest, len, &n, &cp) != UTF8_DIGIT)
                break;
        }
        return (struct piece){lead + len, 1 + lead};
    }
    case UTF8_PUNCT:
        if (n == 1 && cp != 0xfffd)
            return (struct piece){lead + punct_len(rest), 1};
        return (struct piece){lead + n, n > 3 ? 3 : n};
    case UTF8_IDEOGRAPH:
    case UTF8_SPACE:
    default:
        return (struct piece){lead + n, 1 + lead};
    }
}

size_t tokens_estimate(struct span text)
{
    size_t total = 0;
    while (text.len) {
        struct piece p = next_piece(text);
        total += p.tokens;
        text = span_skip(text, p.len);
    }
    return total;
}

struct span tokens_cut(struct span text, size_t max)
{
    struct span rest = text;
    size_t total = 0;
    while (rest.len) {
        struct piece p = next_piece(rest);
        if (total + p.tokens > max)
            break;
        total += p.tokens;
        rest = span_skip(rest, p.len);
    }
    size_t used = text.len - rest.len;
    if (rest.len == 0 || total >= max)
        return span_first(text, used);
    /* Part of the piece may still fit. */
    size_t extra = next_piece(rest).len;
    while (extra > 0) {
        extra = utf8_cut(rest, extra - 1);
        if (tokens_estimate(span_first(rest, extra)) <= max - total)
            break;
    }
    return span_first(text, used + extra);
}
