#include "retrieval/retrieval_priv.h"

#include "base/mem.h"

static const char *const openers[] = {
    "where", "how",    "what",    "which", "why",      "when",    "who",     "whose",
    "does",  "do",     "did",     "is",    "are",      "was",     "were",    "can",
    "could", "should", "would",   "will",  "i",        "we",      "you",     "me",
    "my",    "us",     "please",  "show",  "tell",     "explain", "happens", "happen",
    "the",   "a",      "an",      "there", "describe", "in",      "this",    "that",
    "it",    "to",     "exactly", "if",    "of",       "about",   "has",     "have",
};
/* What is asked to happen to anything: of "where is X decided?", X is looked for. */
static const char *const closers[] = {
    "work",    "works",   "done",    "implemented", "happen",  "happens",    "made",
    "located", "exactly", "here",    "there",       "exist",   "exists",     "decided",
    "defined", "decide",  "handled", "declared",    "managed", "determined", "performed",
};

static bool is_letter(char c)
{
    return ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || (unsigned char)c >= 0x80 ||
           (c >= '0' && c <= '9');
}

static bool is_in(struct span word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_eq_nocase(word, span_str(list[i])))
            return true;
    return false;
}

/* An opener that asks, as against one that only follows: "the", "is". */
static bool asks(struct span word)
{
    return is_in(word, openers, 8) || is_in(word, closers, 2);
}

static struct span first_word(struct span s)
{
    size_t n = 0;
    while (n < s.len && is_letter(s.ptr[n]))
        n++;
    return span_first(s, n);
}

static struct span last_word(struct span s)
{
    size_t n = 0;
    while (n < s.len && is_letter(s.ptr[s.len - n - 1]))
        n++;
    return span_skip(s, s.len - n);
}

static bool has_letter(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (is_letter(s.ptr[i]))
            return true;
    return false;
}

struct span question_subject(struct span question)
{
    struct span s = span_trim(question), word;
    bool is_question = false, is_article = false; /* after an article comes what is asked about */
    while (!is_article && (word = first_word(s)).len && is_in(word, openers, ARRAY_LEN(openers)) &&
           word.len < s.len && (s.ptr[word.len] == ' ' || s.ptr[word.len] == '\n')) {
        is_question |= asks(word);
        is_article = span_eq_nocase(word, SPAN_LIT("the")) || span_eq_nocase(word, SPAN_LIT("a")) ||
                     span_eq_nocase(word, SPAN_LIT("an"));
        s = span_trim(span_skip(s, word.len));
    }
    if (!is_question)
        return question;
    while (s.len && strchr("?!. ", s.ptr[s.len - 1]))
        s.len--;
    word = last_word(s);
    if (is_in(word, closers, ARRAY_LEN(closers)) && has_letter(span_first(s, s.len - word.len)))
        s.len -= word.len;
    return has_letter(s) ? s : question;
}
