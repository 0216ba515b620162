/*
 * M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980: the rules of the paper,
 * without the later changes of the author's own programs (bli, logi). As everywhere, words of one
 * or two letters stay.
 */
#include "text/analyze.h"

struct word {
    char *b;
    size_t len;
    size_t stem; /* length before the suffix that matched last */
};

static bool is_consonant(const struct word *w, size_t i)
{
    switch (w->b[i]) {
    case 'a':
    case 'e':
    case 'i':
    case 'o':
    case 'u':
        return false;
    case 'y': { /* a consonant at the start and after a vowel; runs of y alternate */
        size_t run = 0;
        while (run < i && w->b[i - run - 1] == 'y')
            run++;
        bool first = i == run || !is_consonant(w, i - run - 1);
        return first ? run % 2 == 0 : run % 2 == 1;
    }
    default:
        return true;
    }
}

/*
 * m of the paper for the first n letters: the number of vowel-consonant pairs, no more than 2
 * counted.
 */
static unsigned measure(const struct word *w, size_t n)
{
    unsigned m = 0;
    size_t i = 0;
    while (i < n && is_consonant(w, i))
        i++;
    while (i < n && m < 2) {
        while (i < n && !is_consonant(w, i))
            i++;
        if (i >= n)
            break;
        m++;
        while (i < n && is_consonant(w, i))
            i++;
    }
    return m;
}

static bool has_vowel(const struct word *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_consonant(w, i))
            return true;
    }
    return false;
}

static bool ends_double(const struct word *w, size_t n)
{
    return n >= 2 && w->b[n - 1] == w->b[n - 2] && is_consonant(w, n - 1);
}

/* *o: consonant-vowel-consonant where the last is not w, x or y. */
static bool ends_cvc(const struct word *w, size_t n)
{
    if (n < 3 || !is_consonant(w, n - 1) || is_consonant(w, n - 2) || !is_consonant(w, n - 3))
        return false;
    char c = w->b[n - 1];
    return c != 'w' && c != 'x' && c != 'y';
}

static bool ends(struct word *w, const char *suffix, size_t n)
{
    if (n > w->len || memcmp(w->b + w->len - n, suffix, n) != 0)
        return false;
    w->stem = w->len - n;
    return true;
}
#define ENDS(w, lit) ends(w, lit, sizeof(lit) - 1)

static void step1(struct word *w)
{
    if (w->b[w->len - 1] == 's') {
        if (ENDS(w, "sses") || ENDS(w, "ies"))
            w->len -= 2;
        else if (!ENDS(w, "ss"))
            w->len--;
    }
    if (ENDS(w, "eed")) {
        if (measure(w, w->stem) > 0)
            w->len--;
    } else if ((ENDS(w, "ed") || ENDS(w, "ing")) && has_vowel(w, w->stem)) {
        w->len = w->stem;
        if (ENDS(w, "at") || ENDS(w, "bl") || ENDS(w, "iz"))
            w->b[w->len++] = 'e';
        else if (ends_double(w, w->len) && !strchr("lsz", w->b[w->len - 1]))
            w->len--;
        else if (measure(w, w->len) == 1 && ends_cvc(w, w->len))
            w->b[w->len++] = 'e';
    }
    if (ENDS(w, "y") && has_vowel(w, w->stem))
        w->b[w->len - 1] = 'i';
}

struct rule {
    char key; /* last letter but one, to pass over most rules quickly */
    uint8_t len;
    char suffix[8], to[4];
};
#define RULE(k, s, t)          \
    {                          \
        k, sizeof(s) - 1, s, t \
    }

static const struct rule step2_rules[] = {
    RULE('a', "ational", "ate"), RULE('a', "tional", "tion"), RULE('c', "enci", "ence"),
    RULE('c', "anci", "ance"),   RULE('e', "izer", "ize"),    RULE('l', "abli", "able"),
    RULE('l', "alli", "al"),     RULE('l', "entli", "ent"),   RULE('l', "eli", "e"),
    RULE('l', "ousli", "ous"),   RULE('o', "ization", "ize"), RULE('o', "ation", "ate"),
    RULE('o', "ator", "ate"),    RULE('s', "alism", "al"),    RULE('s', "iveness", "ive"),
    RULE('s', "fulness", "ful"), RULE('s', "ousness", "ous"), RULE('t', "aliti", "al"),
    RULE('t', "iviti", "ive"),   RULE('t', "biliti", "ble"),
};
static const struct rule step3_rules[] = {
    RULE('t', "icate", "ic"), RULE('v', "ative", ""),  RULE('z', "alize", "al"),
    RULE('t', "iciti", "ic"), RULE('a', "ical", "ic"), RULE('u', "ful", ""),
    RULE('s', "ness", ""),
};
static const struct rule step4_rules[] = {
    RULE('a', "al", ""),    RULE('c', "ance", ""), RULE('c', "ence", ""), RULE('e', "er", ""),
    RULE('i', "ic", ""),    RULE('l', "able", ""), RULE('l', "ible", ""), RULE('n', "ant", ""),
    RULE('n', "ement", ""), RULE('n', "ment", ""), RULE('n', "ent", ""),  RULE('o', "ion", ""),
    RULE('o', "ou", ""),    RULE('s', "ism", ""),  RULE('t', "ate", ""),  RULE('t', "iti", ""),
    RULE('u', "ous", ""),   RULE('v', "ive", ""),  RULE('z', "ize", ""),
};

/*
 * The first rule whose suffix fits decides, whether or not its condition holds (the tables are
 * longest first).
 */
static const struct rule *match(struct word *w, const struct rule *rules, size_t count)
{
    if (w->len < 3)
        return NULL;
    char key = w->b[w->len - 2];
    for (size_t i = 0; i < count; i++) {
        if (rules[i].key == key && ends(w, rules[i].suffix, rules[i].len))
            return &rules[i];
    }
    return NULL;
}

static void replace_if(struct word *w, const struct rule *rules, size_t count, unsigned above)
{
    const struct rule *r = match(w, rules, count);
    if (!r || measure(w, w->stem) <= above)
        return;
    if (rules == step4_rules && span_eq(span_of(r->suffix, r->len), SPAN_LIT("ion")) &&
        (w->stem == 0 || (w->b[w->stem - 1] != 's' && w->b[w->stem - 1] != 't')))
        return;
    size_t n = strnlen(r->to, sizeof r->to);
    memcpy(w->b + w->stem, r->to, n);
    w->len = w->stem + n;
}

static void step5(struct word *w)
{
    if (w->b[w->len - 1] == 'e') {
        unsigned m = measure(w, w->len - 1);
        if (m > 1 || (m == 1 && !ends_cvc(w, w->len - 1)))
            w->len--;
    }
    if (w->b[w->len - 1] == 'l' && ends_double(w, w->len) && measure(w, w->len - 1) > 1)
        w->len--;
}

size_t stem_porter(char *word, size_t len)
{
    if (len <= 2)
        return len;
    struct word w = {word, len, 0};
    step1(&w);
    replace_if(&w, step2_rules, ARRAY_LEN(step2_rules), 0);
    replace_if(&w, step3_rules, ARRAY_LEN(step3_rules), 0);
    replace_if(&w, step4_rules, ARRAY_LEN(step4_rules), 1);
    step5(&w);
    return w.len;
}
