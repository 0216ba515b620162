#include "engine/research.h"

#include "base/limits.h"
#include "base/mem.h"

static const struct span tag = {RESEARCH_TAG, sizeof RESEARCH_TAG - 1};

static bool has_tag(struct span s)
{
    return span_find(s, tag) >= 0;
}

/* Copies s without its tags to `to`, which has room for s.len bytes; the trimmed result. */
static struct span without_tags(struct span s, char *to)
{
    size_t n = 0;
    while (s.len) {
        ptrdiff_t at = span_find(s, tag);
        size_t keep = at < 0 ? s.len : (size_t)at;
        if (keep)
            memcpy(to + n, s.ptr, keep);
        n += keep;
        s = span_skip(s, at < 0 ? keep : keep + tag.len);
    }
    return span_trim(span_of(to, n));
}

static bool is_letter(char c)
{
    return ((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9') ||
           (unsigned char)c >= 0x80;
}

static bool next_word(struct span *rest, struct span *ret)
{
    while (rest->len && !is_letter(rest->ptr[0]))
        *rest = span_skip(*rest, 1);
    size_t n = 0;
    while (n < rest->len && is_letter(rest->ptr[n]))
        n++;
    *ret = span_first(*rest, n);
    *rest = span_skip(*rest, n);
    return n > 0;
}

/* "Continue the research", "please continue with your deep research": both words, and no word of a topic. */
static bool is_continue_text(struct span s)
{
    static const char *const filler[] = {
        "continue",  "continuing", "research", "the",   "this",   "that", "your",  "our",
        "my",        "deep",       "please",   "with",  "on",     "now",  "and",   "go",
        "ahead",     "to",         "further",  "keep",  "next",   "step", "steps", "round",
        "iteration", "let",        "s",        "us",    "just",   "of",   "ok",    "okay",
        "yes",       "can",        "you",      "phase", "process"};
    bool has_continue = false, has_research = false;
    struct span word;
    while (next_word(&s, &word)) {
        bool is_filler = false;
        for (size_t i = 0; i < ARRAY_LEN(filler) && !is_filler; i++)
            is_filler = span_eq_nocase(word, span_str(filler[i]));
        if (!is_filler)
            return false;
        has_continue |= span_eq_nocase(span_first(word, 8), SPAN_LIT("continue"));
        has_research |= span_eq_nocase(word, SPAN_LIT("research"));
    }
    return has_continue && has_research;
}

/* The first user message that is no continue turn, those with the tag first. -1 when there is none. */
static ptrdiff_t find_topic(const struct chat_turn *messages, size_t count, char *scratch)
{
    ptrdiff_t plain = -1;
    for (size_t i = 0; i < count; i++) {
        if (!span_is(messages[i].role, "user"))
            continue;
        struct span text = without_tags(messages[i].content, scratch);
        if (text.len == 0 || is_continue_text(text))
            continue;
        if (has_tag(messages[i].content))
            return (ptrdiff_t)i;
        if (plain < 0)
            plain = (ptrdiff_t)i;
    }
    return plain;
}

static void pair_turns(const struct chat_turn *messages, size_t count, struct research *r)
{
    ptrdiff_t user = -1;
    for (size_t i = 0; i < count; i++) {
        if (span_is(messages[i].role, "user")) {
            user = (ptrdiff_t)i;
        } else if (span_is(messages[i].role, "assistant") && user >= 0) {
            r->turns[r->turn_count++] = messages[user];
            r->turns[r->turn_count++] = messages[i];
            user = -1;
        }
    }
}

static int read_question(const struct chat_turn *messages, size_t count, struct research *r)
{
    struct span last = messages[count - 1].content;
    size_t longest = last.len;
    for (size_t i = 0; i < count && r->is_active; i++)
        longest = messages[i].content.len > longest ? messages[i].content.len : longest;
    r->text = mem_try(longest + 1);
    if (!r->text)
        return -ERR_NO_MEMORY;
    r->question = without_tags(last, r->text);
    if (!r->is_active || !is_continue_text(r->question))
        return 0;
    r->is_continue = true;
    ptrdiff_t topic = find_topic(messages, count - 1, r->text);
    /* without a topic the phrase itself stays the question */
    r->question = without_tags(topic < 0 ? last : messages[topic].content, r->text);
    return 0;
}

int research_read(const struct chat_turn *messages, size_t count, struct research *ret,
                  struct err *err)
{
    struct research r = {0};
    unsigned answers = 0;
    if (count == 0)
        return err_set(err, ERR_INVALID, "no messages provided");
    if (count > LIMIT_MESSAGES_COUNT)
        return err_set(err, ERR_LIMIT, "%zu messages, at most %d are read", count,
                       LIMIT_MESSAGES_COUNT);
    if (!span_is(messages[count - 1].role, "user"))
        return err_set(err, ERR_INVALID, "last message must be from the user");
    for (size_t i = 0; i < count; i++) {
        r.is_active |= has_tag(messages[i].content);
        answers += span_is(messages[i].role, "assistant");
    }
    r.round = r.is_active ? answers + 1 : 0;
    r.turns = mem_try_array(count, sizeof *r.turns);
    if (!r.turns || read_question(messages, count, &r) < 0) {
        research_done(&r);
        return err_set(err, ERR_NO_MEMORY, "no memory left to read %zu messages", count);
    }
    pair_turns(messages, count - 1, &r);
    *ret = r;
    return 0;
}

void research_done(struct research *r)
{
    mem_free(r->turns);
    mem_free(r->text);
    *r = (struct research){0};
}
