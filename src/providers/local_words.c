#include "providers/local_priv.h"

#include "text/utf8.h"

/* Terms (stems) that only carry the question itself. */
static const char *const noise[] = {
    "where",   "how",     "what", "which", "whi",    "when",  "who",  "doe",     "do",
    "did",     "done",    "can",  "could", "should", "would", "i",    "we",      "you",
    "me",      "my",      "our",  "your",  "it",     "show",  "tell", "explain", "pleas",
    "find",    "describ", "give", "from",  "have",   "ha",    "had",  "about",   "am",
    "so",      "than",    "been", "were",  "am",     "them",  "us",   "on",      "at",
    "up",      "out",     "ani",  "s",     "t",      "other", "each", "whether", "while",
    "between", "happen",  "list", "all",   "some",   "same",  "its",  "now",     "here",
    "if",      "like",    "just", "onli",  "also",   "want",  "need", "know",    "let",
};
/* Terms that are about programs in general. */
static const char *const generic[] = {
    "work",  "file", "code",     "implement", "project", "repositori", "repo",    "make",  "get",
    "set",   "call", "function", "class",     "method",  "modul",      "program", "handl", "thing",
    "place", "part", "main",     "decid",     "defin",   "sourc",      "mean",    "type",  "differ",
};

static bool is_in(struct span term, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_is(term, list[i]))
            return true;
    return false;
}

static bool is_ascii_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct reading {
    struct words *words;
};

static void add_term(void *ctx, struct span term, uint32_t position)
{
    struct words *w = ((struct reading *)ctx)->words;
    (void)position;
    if (w->count == LIMIT_LOCAL_TERMS_COUNT || term.len > ANALYZER_TERM_MAX || term.len == 0)
        return;
    if (words_find(w, term) || is_in(term, noise, ARRAY_LEN(noise)))
        return;
    struct term *t = &w->items[w->count++];
    memcpy(t->text, term.ptr, term.len);
    t->len = (uint8_t)term.len;
    uint32_t cp = 0;
    bool is_single = utf8_decode(term, &cp) == term.len; /* one letter or one ideograph */
    t->is_generic = is_single || is_in(term, generic, ARRAY_LEN(generic));
    t->weight = 0;
}

/* True when `word` occurs between borders of words (for ASCII words) or anywhere (for others). */
static bool has_word(struct span text, const char *word)
{
    struct span w = span_str(word);
    bool is_ascii = w.len && (unsigned char)w.ptr[0] < 0x80;
    for (size_t i = 0; text.ptr && i + w.len <= text.len; i++) {
        if (!span_eq_nocase(span_of(text.ptr + i, w.len), w))
            continue;
        char before = i ? text.ptr[i - 1] : ' ';
        char after = i + w.len < text.len ? text.ptr[i + w.len] : ' ';
        bool is_open = (before | 32) < 'a' || (before | 32) > 'z' || before < 0;
        bool is_shut = ((after | 32) < 'a' || (after | 32) > 'z') && after != '_';
        if (!is_ascii || (is_open && before != '_' && is_shut))
            return true;
    }
    return false;
}

/* Question words of the ten languages; the first kind that matches is taken, so the specific come first. */
static const struct {
    enum question_kind kind;
    const char *words[26];
} kinds[] = {
    {QUESTION_OVERVIEW,
     {"what is this",
      "what's this",
      "what does this project",
      "what does this repo",
      "what does this program",
      "what is the purpose of this",
      "what is the project",
      "overview",
      "summarize this",
      "summarise this",
      "tell me about this",
      "このプロジェクトは",
      "このリポジトリは",
      "这个项目是",
      "這個專案是",
      "qué es este",
      "이 프로젝트는",
      "dự án này là",
      "o que é este",
      "qu'est-ce que ce",
      "что это за",
      "что такое этот",
      NULL}},
    {QUESTION_STEPS, {"how do i run",
                      "how to run",
                      "how do i build",
                      "how to build",
                      "how do i install",
                      "how to install",
                      "how do i start",
                      "how to start",
                      "how do i configure",
                      "how to configure",
                      "how do i test",
                      "how to test",
                      "how do i deploy",
                      "how to deploy",
                      "how do i compile",
                      "how to compile",
                      "how do i set up",
                      "how to set up",
                      "how can i run",
                      "how can i build",
                      "how is it built",
                      "getting started",
                      "setup",
                      "run the tests",
                      NULL}},
    {QUESTION_WHERE,
     {"where", "どこ", "哪里", "哪裡", "哪裏", "在哪", "dónde", "donde", "어디", "đâu", "onde",
      "où", "где", NULL}},
    {QUESTION_WHY,
     {"why", "なぜ", "为什么", "為什麼", "por qué", "왜", "tại sao", "por que", "pourquoi",
      "почему", NULL}},
    {QUESTION_WHEN,
     {"when", "いつ", "何时", "什么时候", "何時", "什麼時候", "cuándo", "언제", "khi nào", "quando",
      "quand", "когда", NULL}},
    {QUESTION_WHICH, {"which", "list",    "enumerate", "what are", "どの",  "哪些",  "哪个",
                      "哪個",  "cuál",    "cuáles",    "어떤",     "nào",   "quais", "qual",
                      "quels", "quelles", "quel",      "какие",    "какой", NULL}},
    {QUESTION_HOW,
     {"how", "どう", "どのように", "如何", "怎么", "怎麼", "cómo", "어떻게", "thế nào", "cách",
      "como", "comment", "как", NULL}},
    {QUESTION_WHAT,
     {"what", "who", "何", "什么", "什麼", "qué", "무엇", "뭐", "gì", "o que", "que", "quoi",
      "qu'est", "что", "кто", NULL}},
};

/* "building", "run locally", … also after another question word: "What command builds it?" */
static bool is_about_steps(struct span q)
{
    static const char *const verbs[] = {
        "run",     "build",  "install",      "configure", "deploy", "compile", "set up", "start",
        "実行",    "ビルド", "インストール", "运行",      "构建",   "安装",    "執行",   "建置",
        "安裝",    "ejecut", "compil",       "instal",    "실행",   "빌드",    "설치",   "chạy",
        "cài đặt", "execut", "запуст",       "собрать",   "установ"};
    static const char *const asks[] = {
        "how do i",   "how do you", "how can i", "how to",      "how should i", "command",
        "commands",   "どうやって", "方法",      "怎么",        "如何",         "怎麼",
        "cómo puedo", "cómo se",    "어떻게",    "làm thế nào", "làm sao",      "como posso",
        "como faço",  "comment",    "как"};
    bool has_verb = false, has_ask = false;
    for (size_t i = 0; i < ARRAY_LEN(verbs) && !has_verb; i++)
        has_verb = has_word(q, verbs[i]) || ((unsigned char)verbs[i][0] < 0x80 && i > 7 &&
                                             span_find_nocase(q, span_str(verbs[i])) >= 0);
    for (size_t i = 0; i < ARRAY_LEN(asks) && !has_ask; i++)
        has_ask = has_word(q, asks[i]);
    return has_verb && has_ask;
}

static enum question_kind kind_of(struct span q)
{
    if (is_about_steps(q))
        return QUESTION_STEPS;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        for (size_t k = 0; kinds[i].words[k]; k++)
            if (has_word(q, kinds[i].words[k]))
                return kinds[i].kind;
    return QUESTION_OTHER;
}

void words_read(struct words *w, struct span question)
{
    struct span q = span_first(question, utf8_cut(question, LIMIT_QUERY_BYTES));
    w->count = 0;
    struct reading r = {w};
    analyze(ANALYZER_CODE, q, add_term, &r);
    w->kind = kind_of(span_first(q, 2000));
    w->is_about_tests = has_word(span_first(q, 2000), "test") ||
                        has_word(span_first(q, 2000), "tests") ||
                        has_word(span_first(q, 2000), "tested");
}

uint64_t words_find(const struct words *w, struct span term)
{
    for (size_t i = 0; i < w->count; i++)
        if (span_eq(span_of(w->items[i].text, w->items[i].len), term))
            return 1ull << i;
    return 0;
}

struct masking {
    const struct words *words;
    uint64_t mask;
};

static void add_mask(void *ctx, struct span term, uint32_t position)
{
    struct masking *m = ctx;
    (void)position;
    m->mask |= words_find(m->words, term);
}

uint64_t words_mask(const struct words *w, struct span text)
{
    struct masking m = {w, 0};
    if (w->count)
        analyze(ANALYZER_CODE, text, add_mask, &m);
    return m.mask;
}

struct meaning {
    bool has_meaning;
};

static void note_meaning(void *ctx, struct span term, uint32_t position)
{
    struct meaning *m = ctx;
    (void)position;
    m->has_meaning |= !is_in(term, noise, ARRAY_LEN(noise));
}

bool words_next_shown(struct span *rest, struct span *ret_word)
{
    while (rest->len) {
        size_t n = 0;
        while (n < rest->len && !is_ascii_space(rest->ptr[n]) &&
               !strchr("`\"'?!,;()[]{}<>*|", rest->ptr[n]))
            n++;
        struct span word = span_first(*rest, n);
        *rest = span_skip(*rest, n ? n : 1);
        while (word.len && strchr(".:/-#", word.ptr[word.len - 1]))
            word.len--;
        struct meaning m = {false};
        analyze(ANALYZER_CODE, word, note_meaning, &m);
        if (!m.has_meaning)
            continue;
        *ret_word = span_first(word, utf8_cut(word, 60));
        return true;
    }
    return false;
}
