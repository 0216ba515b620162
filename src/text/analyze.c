#include "text/analyze_priv.h"

#include "text/utf8.h"

/* What a byte may be part of; the table keeps the common, all-ASCII path free of calls. */
enum { B_OTHER, B_LOWER, B_UPPER, B_DIGIT, B_UNDER, B_HIGH };

#define L B_LOWER
#define U B_UPPER
#define D B_DIGIT
#define H B_HIGH
#define H16 H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H
/* clang-format off */
static const uint8_t byte_class[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, D, D, D, D, D, D, D, D, D, D, 0, 0, 0, 0, 0, 0,
    0, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, 0, 0, 0, 0, B_UNDER,
    0, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, 0, 0, 0, 0, 0,
    H16, H16, H16, H16, H16, H16, H16, H16,
};
/* clang-format on */
#undef L
#undef U
#undef D
#undef H
#undef H16

static uint8_t class_at(struct span s, size_t i)
{
    return byte_class[(unsigned char)s.ptr[i]];
}

/* Lucene's English stop words, by length, as numbers of up to five bytes. */
#define W1(a) ((uint64_t)(a))
#define W2(a, b) (W1(a) | W1(b) << 8)
#define W3(a, b, c) (W2(a, b) | W1(c) << 16)
#define W4(a, b, c, d) (W3(a, b, c) | W1(d) << 24)
#define W5(a, b, c, d, e) (W4(a, b, c, d) | W1(e) << 32)

static bool is_stop_word(const char *p, size_t len)
{
    if (len > 5)
        return false;
    uint64_t w = 0;
    for (size_t i = 0; i < len; i++)
        w |= (uint64_t)(unsigned char)p[i] << (8 * i);
    switch (w) {
    case W1('a'):
    case W2('a', 'n'):
    case W2('a', 's'):
    case W2('a', 't'):
    case W2('b', 'e'):
    case W2('b', 'y'):
    case W2('i', 'f'):
    case W2('i', 'n'):
    case W2('i', 's'):
    case W2('i', 't'):
    case W2('n', 'o'):
    case W2('o', 'f'):
    case W2('o', 'n'):
    case W2('o', 'r'):
    case W2('t', 'o'):
    case W3('a', 'n', 'd'):
    case W3('a', 'r', 'e'):
    case W3('b', 'u', 't'):
    case W3('f', 'o', 'r'):
    case W3('n', 'o', 't'):
    case W3('t', 'h', 'e'):
    case W3('w', 'a', 's'):
    case W4('i', 'n', 't', 'o'):
    case W4('s', 'u', 'c', 'h'):
    case W4('t', 'h', 'a', 't'):
    case W4('t', 'h', 'e', 'n'):
    case W4('t', 'h', 'e', 'y'):
    case W4('t', 'h', 'i', 's'):
    case W4('w', 'i', 'l', 'l'):
    case W4('w', 'i', 't', 'h'):
    case W5('t', 'h', 'e', 'i', 'r'):
    case W5('t', 'h', 'e', 'r', 'e'):
    case W5('t', 'h', 'e', 's', 'e'):
        return true;
    default:
        return false;
    }
}

size_t analyze_fold(struct span s, char ret[ANALYZER_TERM_MAX], bool *ret_ascii)
{
    size_t n = 0, i = 0;
    *ret_ascii = true;
    while (i < s.len && n < ANALYZER_TERM_MAX) {
        unsigned char c = (unsigned char)s.ptr[i];
        uint8_t class = byte_class[c];
        if (class != B_HIGH) {
            i++;
            if (class != B_UNDER)
                ret[n++] = (char)(class == B_UPPER ? c + 32 : c);
            continue;
        }
        uint32_t cp = 0;
        size_t step = utf8_decode(span_skip(s, i), &cp);
        i += step ? step : 1;
        if (step == 0 || (cp >= 0x300 && cp < 0x370))
            continue;
        char bytes[4];
        size_t w = utf8_encode(utf8_fold(cp), bytes);
        if (n + w > ANALYZER_TERM_MAX)
            break;
        *ret_ascii &= w == 1;
        memcpy(ret + n, bytes, w);
        n += w;
    }
    return n;
}

static void emit_term(struct analysis *a, struct span word)
{
    char term[ANALYZER_TERM_MAX];
    bool is_ascii;
    size_t n = analyze_fold(word, term, &is_ascii);
    if (n == 0 || is_stop_word(term, n))
        return;
    if (a->tools) {
        analyst_emit_word(a, word);
        return;
    }
    if (is_ascii)
        n = stem_porter(term, n);
    a->emit(a->ctx, span_of(term, n), a->position);
}

/*
 * End of the part of an identifier that starts at i: the next border of case, of letters and
 * digits, or '_'.
 */
static size_t part_end(struct span id, size_t i)
{
    uint8_t first = class_at(id, i);
    size_t j = i + 1;
    if (first == B_DIGIT) {
        while (j < id.len && class_at(id, j) == B_DIGIT)
            j++;
        return j;
    }
    if (first == B_UPPER) {
        while (j < id.len && class_at(id, j) == B_UPPER)
            j++;
        bool has_tail = j < id.len && (class_at(id, j) == B_LOWER || class_at(id, j) == B_HIGH);
        if (j - i > 1) /* HTTPServer: the last capital belongs to the word that follows */
            return has_tail ? j - 1 : j;
    }
    while (j < id.len && (class_at(id, j) == B_LOWER || class_at(id, j) == B_HIGH))
        j++;
    return j;
}

static void emit_identifier(struct analysis *a, struct span id)
{
    size_t parts = 0, i = 0;
    while (i < id.len) {
        if (class_at(id, i) == B_UNDER) {
            i++;
            continue;
        }
        size_t end = part_end(id, i);
        emit_term(a, span_of(id.ptr + i, end - i));
        parts++;
        i = end;
    }
    if (parts > 1)
        emit_term(a, id);
}

/* A run of ideographs: each alone, and each with its neighbour. Returns the bytes used. */
static size_t emit_ideographs(struct analysis *a, struct span s)
{
    size_t i = 0, prev_len = 0;
    while (i < s.len) {
        uint32_t cp = 0;
        size_t n = utf8_decode(span_skip(s, i), &cp);
        if (n == 0 || utf8_classify(cp) != UTF8_IDEOGRAPH)
            break;
        if (prev_len) {
            a->emit(a->ctx, span_of(s.ptr + i - prev_len, prev_len + n), a->position);
            a->position++;
        }
        a->emit(a->ctx, span_of(s.ptr + i, n), a->position);
        prev_len = n;
        i += n;
    }
    a->position++;
    return i;
}

/* Thai, Lao, Burmese, Khmer: words stand side by side without a space, marks above and below. */
static bool is_spaceless(uint32_t cp)
{
    return cp >= 0xe00 && cp < 0x1800 && script_of(cp) == SCRIPT_SOUTHEAST_ASIA;
}

static size_t emit_spaceless(struct analysis *a, struct span s)
{
    size_t i = 0, n;
    uint32_t cp = 0;
    while ((n = utf8_decode(span_skip(s, i), &cp)) > 0 && is_spaceless(cp))
        i += n;
    if (a->tools)
        analyst_emit_run(a, span_first(s, i));
    else
        emit_term(a, span_first(s, i));
    a->position++;
    return i;
}

/* Bytes of the word at the start of s (letters, digits; '_' too when splitting identifiers). */
static size_t word_len(const struct analysis *a, struct span s)
{
    size_t i = 0;
    while (i < s.len) {
        uint8_t class = class_at(s, i);
        if (class == B_OTHER || (class == B_UNDER && a->kind == ANALYZER_PROSE))
            break;
        if (class != B_HIGH) {
            i++;
            continue;
        }
        uint32_t cp = 0;
        size_t n = utf8_decode(span_skip(s, i), &cp);
        enum utf8_class u = n ? utf8_classify(cp) : UTF8_PUNCT;
        if ((u != UTF8_LETTER && u != UTF8_DIGIT) || is_spaceless(cp))
            break;
        i += n;
    }
    return i;
}

void analyze_text(struct analysis *a, struct span text)
{
    size_t i = 0;
    while (i < text.len) {
        uint8_t class = class_at(text, i);
        if (class == B_OTHER) {
            i++;
            continue;
        }
        struct span rest = span_skip(text, i);
        size_t n = word_len(a, rest);
        if (n > 0) {
            if (a->kind == ANALYZER_CODE)
                emit_identifier(a, span_first(rest, n));
            else
                emit_term(a, span_first(rest, n));
            a->position++;
        } else if (class == B_HIGH) {
            uint32_t cp = 0;
            size_t step = utf8_decode(rest, &cp);
            if (step && utf8_classify(cp) == UTF8_IDEOGRAPH)
                n = emit_ideographs(a, rest);
            else if (step && is_spaceless(cp))
                n = emit_spaceless(a, rest);
            else
                n = step;
        }
        i += n ? n : 1;
    }
}

void analyze(enum analyzer kind, struct span text, analyze_emit emit, void *ctx)
{
    struct analysis a = {kind, NULL, emit, ctx, 0};
    analyze_text(&a, text);
}

bool analyze_looks_like_code(struct span sample)
{
    size_t marks = 0, visible = 0;
    for (size_t i = 0; i < sample.len; i++) {
        unsigned char c = (unsigned char)sample.ptr[i];
        if (c <= ' ')
            continue;
        visible++;
        marks += strchr("(){}[]<>=;_*&|", c) != NULL;
    }
    /*
     * Prose with formulas and references stays below 3 %, source files of most languages are above
     * 8 %.
     */
    return visible > 0 && marks * 20 > visible;
}
