#include "retrieval/retrieval.h"
#include "retrieval/retrieval_priv.h"

#include "base/hash.h"
#include "base/mem.h"
#include "text/tokens.h"

#include <stdio.h>
#include <stdlib.h>

#define HITS_MAX 200u
#define PASSAGES_DEFAULT 20u
#define BUDGET_DEFAULT 6000u
#define PER_FILE_DEFAULT 4u
#define PER_ASKED_FILE 8u /* of a file that the question names */
#define NEAR_LEAD 2u      /* chunks of the near file shown when the question names nothing in it */
/*
 * Tests repeat the words of what they test. Measured on libuv with its tests added to the corpus:
 * nDCG@10 of commit subjects .550 → .579 with a factor of .8, .593 with .7; of doc sentences .422 →
 * .449 and .457. No judged target is a test there, so smaller ones score higher still: this one is a
 * judgement that leaves a test which fits clearly better above the code.
 */
#define TEST_FACTOR 0.65f
#define GUIDE_FACTOR 1.4f   /* where a project says how it is used */
#define EXAMPLE_FACTOR 0.8f /* they use what is asked about */
#define HISTORY_FACTOR 0.5f /* change logs mention everything and explain nothing */
#define BUDGET_LEAST 16u    /* tokens; with less left, nothing useful fits */

struct picker {
    const struct index *ix;
    struct passages *ret;
    struct span *texts; /* owned; of the hits taken, to drop copies */
    uint64_t *hashes;   /* owned */
    uint32_t *lasts;    /* owned; last chunk of each passage, whose first is in firsts */
    uint32_t *firsts;   /* owned */
    size_t max;
    unsigned max_per_file;
    size_t tokens_left, tokens_extended_max;
    bool takes_definitions;
};

/* A chunk range being made into a passage. */
struct range {
    struct index_chunk_view hit;
    uint32_t first, last, start_line, end_line;
    struct span text;
};

static bool has_any(struct span question, const char *const *words, size_t count)
{
    size_t i = 0;
    while (i < question.len) {
        size_t end = i;
        while (end < question.len && (question.ptr[end] | 32) >= 'a' &&
               (question.ptr[end] | 32) <= 'z')
            end++;
        for (size_t w = 0; w < count; w++) {
            if (span_eq_nocase(span_of(question.ptr + i, end - i), span_str(words[w])))
                return true;
        }
        i = end + 1;
    }
    return false;
}

static bool is_about_tests(struct span question)
{
    static const char *const words[] = {"test",     "tests",  "testing", "tested",  "spec",
                                        "specs",    "mock",   "mocks",   "fixture", "fixtures",
                                        "coverage", "assert", "asserts"};
    return has_any(question, words, ARRAY_LEN(words));
}

static bool is_about_examples(struct span question)
{
    static const char *const words[] = {"example", "examples", "demo",    "demos",
                                        "sample",  "samples",  "tutorial"};
    return has_any(question, words, ARRAY_LEN(words));
}

/* "How do I run the tests?", "what is this project?" */
static bool is_about_use(struct span question)
{
    static const char *const asks[] = {"how do i",        "how to",         "how do you",
                                       "how can i",       "how do we",      "how should i",
                                       "what is this",    "what does this", "what is the project",
                                       "getting started", "how is this"};
    static const char *const words[] = {"run",     "build",      "install", "start",   "started",
                                        "setup",   "set",        "compile", "deploy",  "test",
                                        "tests",   "configure",  "use",     "project", "repository",
                                        "program", "contribute", "develop", "tool",    "library"};
    bool does_ask = false;
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        does_ask |=
            span_find_nocase(span_first(question, question.len < 4096 ? question.len : 4096),
                             span_str(asks[i])) >= 0;
    return does_ask && has_any(question, words, ARRAY_LEN(words));
}

static bool is_about_history(struct span question)
{
    static const char *const words[] = {"changelog",    "changed",  "changes", "release",
                                        "released",     "releases", "version", "versions",
                                        "history",      "news",     "added",   "authors",
                                        "contributors", "since",    "author"};
    return has_any(question, words, ARRAY_LEN(words));
}

/* Lists of past changes and of names, translations, locks: told by the file's name. */
static bool is_history(struct span path)
{
    static const char *const names[] = {"changelog",     "changes",       "news",
                                        "history",       "authors",       "contributors",
                                        "release-notes", "release_notes", "releases"};
    ptrdiff_t slash = span_rfind_char(path, '/');
    struct span name = slash < 0 ? path : span_skip(path, (size_t)slash + 1);
    ptrdiff_t dot = span_find_char(name, '.');
    name = dot > 0 ? span_first(name, (size_t)dot) : name;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_eq_nocase(name, span_str(names[i])))
            return true;
    return span_ends(path, SPAN_LIT(".po")) || span_ends(path, SPAN_LIT(".pot")) ||
           span_ends(path, SPAN_LIT("-lock.json")) || span_ends(path, SPAN_LIT(".lock"));
}

/* README, CONTRIBUTING and the like, not deep in the tree. */
static bool is_guide(struct span path)
{
    static const char *const names[] = {
        "readme",          "contributing",    "install",    "installing", "building",   "build",
        "getting-started", "getting_started", "quickstart", "usage",      "development"};
    ptrdiff_t slash = span_rfind_char(path, '/');
    struct span folder = slash < 0 ? SPAN_NULL : span_first(path, (size_t)slash);
    struct span name = slash < 0 ? path : span_skip(path, (size_t)slash + 1);
    ptrdiff_t dot = span_find_char(name, '.');
    bool is_text = dot < 0 || span_ends(name, SPAN_LIT(".md")) ||
                   span_ends(name, SPAN_LIT(".rst")) || span_ends(name, SPAN_LIT(".txt"));
    name = dot > 0 ? span_first(name, (size_t)dot) : name;
    if (!is_text || (folder.len && !span_is(folder, "docs") && !span_is(folder, "doc")))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_eq_nocase(name, span_str(names[i])))
            return true;
    return false;
}

/* In a folder of examples, or program text among the documentation. */
static bool is_example(const struct index_chunk_view *c)
{
    static const char *const folders[] = {"example", "examples", "demo",     "demos",
                                          "sample",  "samples",  "tutorial", "tutorials"};
    struct span rest = c->path, part;
    bool is_first = true;
    while (span_next(&rest, '/', &part) && rest.len) {
        for (size_t i = 0; i < ARRAY_LEN(folders); i++)
            if (span_eq_nocase(part, span_str(folders[i])))
                return true;
        if (is_first && (span_is(part, "docs") || span_is(part, "doc")) &&
            !span_is(c->language, "markdown") && !span_is(c->language, "rst") &&
            !span_is(c->language, "text") && c->symbol.len)
            return true;
        is_first = false;
    }
    return false;
}

static int compare_hits(const void *a, const void *b)
{
    const struct index_hit *x = a, *y = b;
    if (x->score > y->score || x->score < y->score)
        return x->score > y->score ? -1 : 1;
    return x->chunk < y->chunk ? -1 : x->chunk > y->chunk;
}

/* What kinds of files the question is about. */
struct preference {
    const struct index *ix;
    bool tests, history, examples, use;
};

static struct preference preference_of(const struct index *ix, struct span question)
{
    return (struct preference){.ix = ix,
                               .tests = is_about_tests(question),
                               .history = is_about_history(question),
                               .examples = is_about_examples(question),
                               .use = is_about_use(question)};
}

/* The score after preference. */
static float preferred(void *ctx, uint32_t chunk, float score)
{
    const struct preference *p = ctx;
    struct index_chunk_view c;
    if (!index_chunk(p->ix, chunk, &c))
        return score;
    if (c.is_test && !p->tests)
        score *= TEST_FACTOR;
    if (p->use && is_guide(c.path))
        score *= GUIDE_FACTOR;
    if (is_example(&c) && !p->examples)
        score *= EXAMPLE_FACTOR;
    if (!p->history && is_history(c.path))
        score *= HISTORY_FACTOR;
    return score;
}

static void prefer_implementation(struct preference *p, struct index_hit *hits, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hits[i].score = preferred(p, hits[i].chunk, hits[i].score);
    qsort(hits, count, sizeof *hits, compare_hits);
}

static bool is_covered(const struct picker *p, uint32_t chunk)
{
    for (size_t i = 0; i < p->ret->count; i++) {
        if (chunk >= p->firsts[i] && chunk <= p->lasts[i])
            return true;
    }
    return false;
}

/* The same text, but for white space around it, as a hit taken before. */
static bool is_copy(const struct picker *p, struct span text, uint64_t hash)
{
    for (size_t i = 0; i < p->ret->count; i++) {
        if (p->hashes[i] == hash && span_eq(p->texts[i], text))
            return true;
    }
    return false;
}

static unsigned taken_from(const struct picker *p, uint32_t file)
{
    unsigned n = 0;
    for (size_t i = 0; i < p->ret->count; i++)
        n += p->ret->items[i].file == file;
    return n;
}

/* Is b the continuation of the same cut symbol right after a? */
static bool continues(const struct index_chunk_view *a, const struct index_chunk_view *b)
{
    return a->file == b->file && a->symbol.len > 0 && span_eq(a->symbol, b->symbol) &&
           b->start_line == a->end_line + 1 && b->text.ptr == a->text.ptr + a->text.len;
}

static struct span joined(struct span a, struct span b)
{
    return span_of(a.ptr, (size_t)(b.ptr + b.len - a.ptr));
}

/* One more chunk at the end or the start of the range, when it belongs and fits. */
static bool extend_by(const struct picker *p, struct range *r, bool forward, size_t tokens_max)
{
    struct index_chunk_view near, edge;
    if (!forward && r->first == 0)
        return false;
    uint32_t at = forward ? r->last + 1 : r->first - 1;
    if (!index_chunk(p->ix, at, &near) ||
        !index_chunk(p->ix, forward ? r->last : r->first, &edge) ||
        !(forward ? continues(&edge, &near) : continues(&near, &edge)) || is_covered(p, at))
        return false;
    struct span text = forward ? joined(r->text, near.text) : joined(near.text, r->text);
    if (tokens_estimate(text) > tokens_max)
        return false;
    r->text = text;
    if (forward) {
        r->last = at;
        r->end_line = near.end_line;
    } else {
        r->first = at;
        r->start_line = near.start_line;
    }
    return true;
}

static void extend(const struct picker *p, struct range *r)
{
    size_t max = p->tokens_left < p->tokens_extended_max ? p->tokens_left : p->tokens_extended_max;
    bool forward = true, backward = true;
    while (forward || backward) {
        forward = forward && extend_by(p, r, true, max);
        backward = backward && extend_by(p, r, false, max);
    }
}

/* Whole lines from the start of the range that fit; false when not even one does. */
static bool cut_to_budget(const struct picker *p, struct range *r)
{
    struct span text = tokens_cut(r->text, p->tokens_left);
    if (text.len < r->text.len) {
        ptrdiff_t nl = span_rfind_char(text, '\n');
        if (nl < 0)
            return false;
        text.len = (size_t)nl + 1;
    }
    uint32_t lines = 0;
    for (size_t i = 0; i < text.len; i++)
        lines += text.ptr[i] == '\n';
    if (text.len < r->text.len)
        r->end_line = r->start_line + lines - 1;
    r->text = text;
    return text.len > 0;
}

static void put_passage(struct picker *p, const struct range *r, const struct fused_hit *hit,
                        struct span key, uint64_t hash)
{
    size_t n = p->ret->count++;
    p->texts[n] = key;
    p->hashes[n] = hash;
    p->firsts[n] = r->first;
    p->lasts[n] = r->last;
    p->tokens_left -= tokens_estimate(r->text);
    p->ret->items[n] = (struct passage){
        .index = p->ix,
        .chunk = r->hit.id,
        .file = r->hit.file,
        .start_line = r->start_line,
        .end_line = r->end_line,
        .path = r->hit.path,
        .symbol = r->hit.symbol,
        .language = r->hit.language,
        .text = r->text,
        .kind = r->hit.kind,
        .is_test = r->hit.is_test,
        .is_definition = p->takes_definitions,
        .score = hit->score,
        .word_rank = hit->word_rank,
        .vector_rank = hit->vector_rank,
    };
}

static void take_hit(struct picker *p, struct fused_hit hit)
{
    struct range r;
    if (p->ret->count >= p->max || p->tokens_left < BUDGET_LEAST ||
        !index_chunk(p->ix, hit.chunk, &r.hit) || is_covered(p, hit.chunk) ||
        taken_from(p, r.hit.file) >= p->max_per_file)
        return;
    struct span key = span_trim(r.hit.text);
    uint64_t hash = hash_stable(key.ptr, key.len);
    if (key.len == 0 || is_copy(p, key, hash))
        return;
    r.first = r.last = hit.chunk;
    r.start_line = r.hit.start_line;
    r.end_line = r.hit.end_line;
    r.text = r.hit.text;
    if (tokens_estimate(r.text) > p->tokens_left) {
        /* The first passage is cut rather than lost; later ones leave room to smaller ones. */
        if (p->ret->count > 0 || !cut_to_budget(p, &r))
            return;
    } else {
        extend(p, &r);
    }
    put_passage(p, &r, &hit, key, hash);
}

/* Passages of the file that the question is about: the best ones, or how it begins. */
static int take_near(struct picker *p, struct span question, struct span path,
                     struct index_hit *hits)
{
    struct index_file_view f;
    if (path.len == 0 || !index_file_by_path(p->ix, path, &f))
        return 0;
    unsigned usual = p->max_per_file;
    p->max_per_file = usual > PER_ASKED_FILE ? usual : PER_ASKED_FILE;
    int n = index_search_file(p->ix, question, f.id, hits, HITS_MAX);
    for (int i = 0; i < n; i++)
        take_hit(p, (struct fused_hit){.chunk = hits[i].chunk, .score = hits[i].score});
    for (uint32_t c = 0; n == 0 && c < f.chunk_count && c < NEAR_LEAD; c++)
        take_hit(p, (struct fused_hit){.chunk = f.first_chunk + c});
    p->max_per_file = usual;
    return n < 0 ? n : 0;
}

/* A path that the question names, as "src/loop.c" in "what does src/loop.c do?"; or empty. */
static struct span path_in(const struct index *ix, struct span question)
{
    struct span rest = span_first(question, question.len < 4096 ? question.len : 4096), word;
    struct index_file_view f;
    while (span_next(&rest, ' ', &word)) {
        while (word.len && strchr("`'\"(?!.,;:)", word.ptr[word.len - 1]))
            word.len--;
        while (word.len && strchr("`'\"(", word.ptr[0]))
            word = span_skip(word, 1);
        if (span_find_char(word, '.') > 0 && index_file_by_path(ix, word, &f))
            return f.path;
    }
    return SPAN_NULL;
}

/* "What is this project?" */
static bool asks_for_overview(struct span question)
{
    static const char *const asks[] = {"what is this",           "what's this",
                                       "what does this project", "what does this repo",
                                       "what does this program", "purpose of this",
                                       "what is the project",    "overview of",
                                       "summarize this",         "summarise this",
                                       "about this project",     "about this repo"};
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        if (span_find_nocase(span_first(question, question.len < 400 ? question.len : 400),
                             span_str(asks[i])) >= 0)
            return true;
    return question.len < 400 && (span_find_nocase(question, SPAN_LIT("overview")) == 0);
}

/* How the README begins, as good as the best hit. */
static void take_readme(struct picker *p, float score)
{
    static const char *const names[] = {"README.md", "README.rst", "README.txt",
                                        "README",    "readme.md",  "docs/index.md"};
    struct index_file_view f;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!index_file_by_path(p->ix, span_str(names[i]), &f))
            continue;
        for (uint32_t c = 0; c < f.chunk_count && c < NEAR_LEAD + 1; c++)
            take_hit(p, (struct fused_hit){.chunk = f.first_chunk + c, .score = score});
        return;
    }
}

/* A part of the room is left to the definitions of what the hits call; what they do not need goes to further hits. */
#define DEFINITIONS_SHARE 4u   /* one in so many passages, one in so many tokens, at most */
#define DEFINITION_SCORE 0.25f /* of the best hit's */

static int take_definitions(struct picker *p, unsigned max)
{
    uint32_t chunks[DEFINITIONS_MAX];
    float best = p->ret->count ? p->ret->items[0].score : 0;
    int n = definitions_of(p->ix, p->ret, chunks, max < DEFINITIONS_MAX ? max : DEFINITIONS_MAX);
    p->takes_definitions = true;
    for (int i = 0; i < n; i++)
        take_hit(p, (struct fused_hit){.chunk = chunks[i], .score = best * DEFINITION_SCORE});
    p->takes_definitions = false;
    return n < 0 ? n : 0;
}

static int take_hits(struct picker *p, const struct fused_hit *hits, int n, unsigned definitions)
{
    size_t slots =
        definitions < p->max / DEFINITIONS_SHARE ? definitions : p->max / DEFINITIONS_SHARE;
    size_t tokens = slots ? p->tokens_left / DEFINITIONS_SHARE : 0;
    p->max -= slots;
    p->tokens_left -= tokens;
    for (int i = 0; i < n; i++)
        take_hit(p, hits[i]);
    p->max += slots;
    p->tokens_left += tokens;
    int r = slots ? take_definitions(p, (unsigned)slots) : 0;
    for (int i = 0; r == 0 && slots && i < n; i++)
        take_hit(p, hits[i]);
    return r;
}

static int picker_init(struct picker *p, const struct index *ix, const struct retrieval_options *o,
                       struct passages *ret)
{
    *p = (struct picker){.ix = ix, .ret = ret};
    p->max = o->max_passages ? o->max_passages : PASSAGES_DEFAULT;
    p->max = p->max > HITS_MAX ? HITS_MAX : p->max;
    p->max_per_file = o->max_per_file ? o->max_per_file : PER_FILE_DEFAULT;
    p->tokens_left = o->token_budget ? o->token_budget : BUDGET_DEFAULT;
    p->tokens_extended_max = p->tokens_left / 4;
    ret->items = mem_try_array(p->max, sizeof *ret->items);
    p->texts = mem_try_array(p->max, sizeof *p->texts);
    p->hashes = mem_try_array(p->max, sizeof *p->hashes);
    p->firsts = mem_try_array(p->max, sizeof *p->firsts);
    p->lasts = mem_try_array(p->max, sizeof *p->lasts);
    return ret->items && p->texts && p->hashes && p->firsts && p->lasts ? 0 : -ERR_NO_MEMORY;
}

static void picker_done(struct picker *p)
{
    mem_free(p->texts);
    mem_free(p->hashes);
    mem_free(p->firsts);
    mem_free(p->lasts);
}

static void explain_nothing(const struct index *ix, struct passages *ret, int hits)
{
    struct index_stats st;
    index_stats(ix, &st);
    if (st.chunks == 0)
        snprintf(ret->note, sizeof ret->note, "this source has no indexed text");
    else if (hits == 0)
        snprintf(ret->note, sizeof ret->note, "no word of the question occurs in this source");
    else
        snprintf(ret->note, sizeof ret->note, "the token budget is too small for any passage");
}

/* A question that cannot meet the collection's words, because it is in another script or language. */
static void explain_language(const struct index *ix, struct span question, struct passages *ret)
{
    struct index_stats st;
    index_stats(ix, &st);
    uint32_t missing = script_set(question) & ~st.scripts;
    enum prose_language language = prose_language_guess(question);
    if (st.chunks == 0)
        return;
    if (missing)
        snprintf(
            ret->note, sizeof ret->note,
            "the question has words in %s; no text of this source has any, so they find nothing",
            script_name((enum script)__builtin_ctz(missing)));
    else if (language != PROSE_ENGLISH && !(st.languages & PROSE_BIT(language)))
        snprintf(ret->note, sizeof ret->note,
                 "the question is in %s and no text of this source is: only names and shared words "
                 "are found",
                 prose_language_name(language));
}

/* The hits of words and vectors in one order; vectors that do not fit are left out and told of. */
static int fuse(const struct index *ix, const struct retrieval_options *o, struct preference *p,
                const struct index_hit *words, unsigned count, struct fused_hit *ret,
                struct passages *found)
{
    bool is_of_index = o->vectors && vector_leg_index(o->vectors) == ix;
    struct fuse_query q = {
        .leg = is_of_index && o->query_vector ? o->vectors : NULL,
        .vector = o->query_vector,
        .dims = o->query_dims,
        .prefer = preferred,
        .ctx = p,
    };
    int n = fuse_with_leg(&q, words, count, ret);
    found->has_vectors = n >= 0 && q.leg && vector_leg_covered(q.leg) > 0;
    if (n == -ERR_INVALID || (o->vectors && !is_of_index)) {
        snprintf(found->note, sizeof found->note,
                 "searched by words only: the %s does not fit the vectors of this source",
                 is_of_index ? "question's vector" : "index");
        q.leg = NULL;
        n = fuse_with_leg(&q, words, count, ret);
    }
    return n;
}

struct hits {
    struct index_hit words[HITS_MAX];
    struct fused_hit fused[HITS_MAX + FUSE_VECTORS_MAX];
};

static int find_passages(struct picker *p, struct span question, const struct retrieval_options *o,
                         struct hits *h)
{
    const struct index *ix = p->ix;
    int rc =
        take_near(p, question, o->near_path.len ? o->near_path : path_in(ix, question), h->words);
    if (rc == 0)
        rc = rank_hits(ix, question, h->words, HITS_MAX);
    if (rc < 0)
        return rc;
    struct preference preference = preference_of(ix, question);
    prefer_implementation(&preference, h->words, (size_t)rc);
    int n = fuse(ix, o, &preference, h->words, (unsigned)rc, h->fused, p->ret);
    if (n < 0)
        return n;
    if (asks_for_overview(question))
        take_readme(p, n > 0 ? h->fused[0].score : 1);
    int taken = take_hits(p, h->fused, n, o->definitions);
    if (taken < 0)
        return taken;
    if (p->ret->count == 0)
        explain_nothing(ix, p->ret, n);
    else if (rc == 0 && p->ret->has_vectors)
        snprintf(p->ret->note, sizeof p->ret->note,
                 "no word of the question occurs in this source: found by meaning alone");
    if (!p->ret->has_vectors)
        explain_language(ix, question, p->ret);
    return 0;
}

int retrieval_search(const struct index *ix, struct span question,
                     const struct retrieval_options *options, struct passages *ret, struct err *err)
{
    static const struct retrieval_options defaults;
    const struct retrieval_options *o = options ? options : &defaults;
    struct passages found = {0};
    struct picker p;
    int rc = picker_init(&p, ix, o, &found);
    struct hits *h = rc == 0 ? mem_try(sizeof *h) : NULL;
    if (rc == 0)
        rc = h ? find_passages(&p, question, o, h) : -ERR_NO_MEMORY;
    if (rc == 0) {
        *ret = found;
    } else {
        passages_done(&found);
        rc = err_set(err, ERR_NO_MEMORY, "no memory to search");
    }
    mem_free(h);
    picker_done(&p);
    return rc;
}

void passages_done(struct passages *p)
{
    mem_free(p->items);
    *p = (struct passages){0};
}
