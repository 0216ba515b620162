#include "providers/local_priv.h"

#include "text/analyze.h"

/* ---- sentences that can stand alone ---- */

bool is_leaning(struct span text)
{
    static const char *const words[] = {
        "it",         "its",          "it's",        "this",     "that",  "these",   "those",
        "they",       "their",        "them",        "each",     "such",  "both",    "otherwise",
        "however",    "therefore",    "thus",        "hence",    "also",  "instead", "then",
        "but",        "and",          "so",          "or",       "here",  "there",   "he",
        "she",        "nor",          "yet",         "the same", "if so", "if not",  "the former",
        "the latter", "in this case", "in that case"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct span w = span_str(words[i]);
        if (text.len <= w.len || !span_eq_nocase(span_first(text, w.len), w))
            continue;
        char c = text.ptr[w.len];
        if (c == ' ' || c == ',' || c == '\n' || c == ':')
            return true;
    }
    return false;
}

struct unit *sentence_start(const struct local *l, struct unit *u)
{
    const struct unit *first = l->units + l->parts[u->passage].first_unit;
    struct unit *at = u;
    while (at->is_leaning && !at->is_leading && at > first) {
        struct unit *before = at - 1;
        if (before->kind != u->kind || before->is_boilerplate || before->is_used ||
            before->end_line + 1 < at->start_line || u->end_line - before->start_line > 8 ||
            !compose_is_safe(l, before->text))
            return NULL;
        at = before;
    }
    /* A passage may begin in the middle of a sentence, and a quoted mark may end one too early. */
    bool is_start = at->is_leading && at->start_line > l->parts[u->passage].in->start_line;
    bool is_cut = at != u && begins_small(at->text) && !is_start;
    return at->is_leaning || is_cut ? NULL : at;
}

struct unit *file_purpose(struct local *l, const struct part *top)
{
    for (size_t i = 0; i < top->unit_count && is_file_top(top); i++) {
        struct unit *u = &l->units[top->first_unit + i];
        if (u->kind == UNIT_CODE)
            continue;
        if (top->definition_line && u->start_line > top->definition_line)
            return NULL;
        if (u->kind == UNIT_COMMENT && u->is_leading && !u->is_boilerplate && !u->is_used)
            return u->is_leaning || !compose_is_safe(l, u->text) ? NULL : u;
    }
    return NULL;
}

/* ---- what a passage is ---- */

bool wants_code(const struct local *l)
{
    return l->words.kind == QUESTION_HOW || l->words.kind == QUESTION_WHERE;
}

bool is_file_top(const struct part *part)
{
    return !part->is_prose && part->in->start_line == 1 && !part->is_function;
}

static struct span without_modifiers(struct span t)
{
    static const char *const words[] = {"export ",    "default ", "public ",   "private ",
                                        "protected ", "pub ",     "abstract ", "static ",
                                        "final ",     "typedef ", "sealed ",   "internal "};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (span_starts(t, span_str(words[i]))) {
            t = span_trim(span_skip(t, strlen(words[i])));
            i = (size_t)-1;
        }
    return t;
}

static bool is_type_line(struct span line)
{
    static const char *const classes[] = {"class ", "interface ", "trait ", "protocol "};
    static const char *const records[] = {"struct ", "enum ", "union ", "type "};
    struct span t = without_modifiers(span_trim(line));
    for (size_t i = 0; i < ARRAY_LEN(classes); i++)
        if (span_starts(t, span_str(classes[i])))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(records); i++)
        if (span_starts(t, span_str(records[i])) && span_find_char(t, '(') < 0)
            return true;
    return false;
}

static bool is_constructor_name(struct span symbol)
{
    struct span name = last_name(symbol);
    if (span_is(name, "__init__") || span_is(name, "constructor") || span_is(name, "__new__") ||
        span_is(name, "__construct"))
        return true;
    struct span owner = span_first(symbol, symbol.len - name.len);
    while (owner.len && strchr(".:#", owner.ptr[owner.len - 1]))
        owner.len--;
    return owner.len && name.len && span_eq(last_name(owner), name);
}

struct naming {
    const struct words *words;
    bool is_stand_in;
};

static void note_stand_in(void *ctx, struct span term, uint32_t position)
{
    static const char *const stems[] = {"simul", "mock", "fake", "stub", "dummi", "exampl"};
    struct naming *n = ctx;
    (void)position;
    for (size_t i = 0; i < ARRAY_LEN(stems); i++)
        n->is_stand_in |= span_is(term, stems[i]) && !words_find(n->words, term);
}

void lead_classify(const struct local *l, struct part *part)
{
    if (part->is_prose)
        return;
    struct naming n = {&l->words, false};
    analyze(ANALYZER_CODE, part->in->symbol, note_stand_in, &n);
    part->is_stand_in = n.is_stand_in;
    part->is_constructor = is_constructor_name(part->in->symbol);
    for (size_t i = 0; i < part->unit_count && part->definition_line; i++) {
        const struct unit *u = &l->units[part->first_unit + i];
        if (u->kind != UNIT_CODE || u->start_line != part->definition_line)
            continue;
        struct span t = span_trim(u->text);
        part->is_type = is_type_line(t);
        part->is_function = !part->is_type && !part->is_constructor &&
                            span_find_char(t, '(') >= 0 && t.ptr[t.len - 1] != ';';
        return;
    }
}

/* ---- the passage that opens the answer ---- */

static float weight(const struct local *l, uint64_t mask)
{
    float sum = 0;
    for (size_t i = 0; i < l->words.count; i++)
        sum += mask & (1ull << i) ? l->words.items[i].weight : 0;
    return l->total > 0 ? sum / l->total : 0;
}

struct part *lead_choose(struct local *l, struct part *first)
{
    bool shows_little = is_file_top(first) || first->is_constructor || first->is_stand_in;
    if (!wants_code(l) || first->is_prose || !shows_little)
        return first;
    struct part *best = first;
    float best_fit = 0;
    for (size_t i = 0; i < l->part_count; i++) {
        struct part *p = &l->parts[l->order[i]];
        float fit = weight(l, p->mask | p->symbol_mask);
        if (p == first || !p->is_function || p->is_stand_in || fit < 0.15f ||
            !span_eq(p->in->path, first->in->path) || !compose_is_safe(l, p->in->symbol))
            continue;
        fit += 0.5f * p->score;
        if (fit > best_fit) {
            best = p;
            best_fit = fit;
        }
    }
    return best;
}

/* The name of a file without its folders and its ending. */
static struct span stem_of(struct span path)
{
    for (size_t i = path.len; i > 0; i--)
        if (path.ptr[i - 1] == '/') {
            path = span_skip(path, i);
            break;
        }
    ptrdiff_t dot = span_find_char(path, '.');
    return dot > 0 ? span_first(path, (size_t)dot) : path;
}

static bool is_call(struct span line, struct span name)
{
    for (size_t i = 0; i + name.len < line.len; i++)
        if (memcmp(line.ptr + i, name.ptr, name.len) == 0 && line.ptr[i + name.len] == '(' &&
            has_name(span_of(line.ptr + (i ? i - 1 : 0), name.len + 1 + (i ? 1 : 0)), name))
            return true;
    return false;
}

/* A short name is many functions' name; with its file's before it, it is this one. At a margin: a prototype. */
static bool has_call(const struct local *l, const struct part *p, struct span name,
                     struct span stem)
{
    for (size_t k = 0; k < p->unit_count; k++) {
        const struct unit *u = &l->units[p->first_unit + k];
        bool is_inside = u->text.len && (u->text.ptr[0] == ' ' || u->text.ptr[0] == '\t');
        if (u->kind == UNIT_CODE && is_inside && is_call(u->text, name) &&
            (name.len > 8 || has_name(u->text, stem)))
            return true;
    }
    return false;
}

struct part *lead_caller(struct local *l, const struct part *part)
{
    struct span name = last_name(part->in->symbol), stem = stem_of(part->in->path);
    struct part *near = NULL; /* in the same file: better than none */
    if (!part->is_function || name.len < 3)
        return NULL;
    for (size_t i = 0; i < l->part_count; i++) {
        struct part *p = &l->parts[l->order[i]];
        if (p->is_prose || p->in->is_test || p->is_stand_in || p == part ||
            span_eq(p->in->symbol, part->in->symbol) || !has_call(l, p, name, stem))
            continue;
        if (!span_eq(p->in->path, part->in->path))
            return p;
        near = near ? near : p;
    }
    return near;
}
