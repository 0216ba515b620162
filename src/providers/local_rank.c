#include "providers/local_priv.h"

#include "text/lines.h"

#include <math.h>

static float weight_of(const struct words *w, uint64_t mask)
{
    float sum = 0;
    for (size_t i = 0; i < w->count; i++)
        if (mask & (1ull << i))
            sum += w->items[i].weight;
    return sum;
}

/* Rare in the passages = telling. A term that occurs nowhere weighs nothing. */
static void weigh_terms(struct local *l)
{
    for (size_t i = 0; i < l->words.count; i++) {
        struct term *t = &l->words.items[i];
        size_t df = 0;
        uint64_t bit = 1ull << i;
        for (size_t u = 0; u < l->unit_count; u++)
            df += (l->units[u].mask & bit) != 0;
        for (size_t p = 0; p < l->part_count && df == 0; p++)
            df += ((l->parts[p].mask | l->parts[p].symbol_mask | l->parts[p].path_mask) & bit) != 0;
        t->weight = df ? logf(1.0f + (float)(l->unit_count + 1) / (float)df) : 0;
        if (t->is_generic)
            t->weight *= 0.3f;
    }
}

/* The rest of a sentence that something else has cut: it begins with a small letter, and not with a name. */
bool begins_small(struct span text)
{
    if (text.len == 0 || text.ptr[0] < 'a' || text.ptr[0] > 'z')
        return false;
    for (size_t i = 0; i < text.len && text.ptr[i] != ' '; i++)
        if (text.ptr[i] < 'a' || text.ptr[i] > 'z')
            return false;
    return true;
}

static void score_unit(struct local *l, struct unit *u)
{
    const struct part *p = &l->parts[u->passage];
    if (u->is_boilerplate)
        return;
    float s = weight_of(&l->words, u->mask) + 0.4f * weight_of(&l->words, u->near_mask & ~u->mask);
    if (u->kind == UNIT_COMMENT) /* what a comment says is about the symbol it stands at */
        s += 0.25f * weight_of(&l->words, p->symbol_mask & ~(u->mask | u->near_mask));
    if (u->is_leading)
        s *= 1.12f;
    if (u->text.len < 24 && u->kind != UNIT_CODE)
        s *= 0.5f;
    if (u->text.len > 320)
        s *= 0.85f;
    if (u->kind == UNIT_SENTENCE &&
        u->text.ptr[0] == '|') /* a table's row needs its header to be read */
        s *= 0.4f;
    if (u->kind != UNIT_CODE && u->text.len && u->text.ptr[u->text.len - 1] == ':')
        s *= 0.6f; /* what it announces is not part of it */
    if (u->kind == UNIT_SENTENCE && begins_small(u->text))
        s *= 0.7f;
    u->score = s * (0.6f + 0.4f * p->in->score);
}

/* What a reader of this kind of question wants to be shown, as a bonus on a part's score. */
static float preference(const struct local *l, const struct part *p)
{
    bool is_code = !p->is_prose;
    switch (l->words.kind) {
    case QUESTION_WHERE:
        return is_code ? 0.12f : 0;
    case QUESTION_HOW:
    case QUESTION_WHEN:
        return is_code ? 0.06f : 0;
    case QUESTION_STEPS:
        return (p->is_readme ? 0.15f : 0) + (is_code ? 0 : 0.2f);
    case QUESTION_OVERVIEW:
        return (p->is_readme ? 0.8f : 0) + (is_code ? 0 : 0.2f);
    case QUESTION_WHY:
        return is_code ? 0 : 0.4f;
    case QUESTION_WHAT:
    case QUESTION_WHICH:
    case QUESTION_OTHER:
    default:
        return 0;
    }
}

static bool is_command_language(struct span language)
{
    return span_is(language, "make") || span_is(language, "shell") ||
           span_is(language, "dockerfile");
}

static size_t path_depth(struct span path)
{
    size_t n = 0;
    for (size_t i = 0; i < path.len; i++)
        n += path.ptr[i] == '/';
    return n;
}

struct span last_name(struct span symbol)
{
    size_t i = symbol.len;
    while (i > 0 && !strchr(".:#/ >", symbol.ptr[i - 1]))
        i--;
    return span_skip(symbol, i);
}

static bool is_word_char(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
           (unsigned char)c >= 0x80;
}

bool has_name(struct span line, struct span name)
{
    for (size_t i = 0; i + name.len <= line.len; i++) {
        if (memcmp(line.ptr + i, name.ptr, name.len) != 0)
            continue;
        bool is_open = i == 0 || !is_word_char(line.ptr[i - 1]);
        bool is_shut = i + name.len == line.len || !is_word_char(line.ptr[i + name.len]);
        if (is_open && is_shut)
            return true;
    }
    return false;
}

bool is_path_asked(const struct local *l, struct span path)
{
    bool has_shape =
        path.len > 4 && (span_find_char(path, '.') > 0 || span_find_char(path, '/') > 0);
    return has_shape && has_name(l->request->question, path);
}

/* A name with a shape of its own, written in the question as it is in the source: a symbol or a path. */
static bool is_asked_by_name(const struct local *l, const struct part *p)
{
    struct span name = last_name(p->in->symbol);
    bool is_shaped = false;
    for (size_t i = 1; i < name.len; i++)
        is_shaped |= name.ptr[i] == '_' || (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z');
    if (is_shaped && name.len > 3 && !p->is_prose && has_name(l->request->question, name))
        return true;
    return is_path_asked(l, p->in->path);
}

/* Several good passages of one file speak for each of them: the scores of the others, two at most. */
static float rest_of_file(const struct local *l, const struct part *p)
{
    float sum = 0;
    for (size_t i = 0; i < l->part_count; i++)
        if (&l->parts[i] != p && span_eq(l->parts[i].in->path, p->in->path))
            sum = l->parts[i].in->score > sum ? l->parts[i].in->score : sum;
    return sum < 2 ? sum : 2;
}

static void score_part(struct local *l, struct part *p, float total)
{
    float covered = 0, named = 0;
    if (total > 0) {
        covered = weight_of(&l->words, p->mask) / total;
        named = weight_of(&l->words, p->symbol_mask | p->path_mask) / total;
    }
    float best = 0; /* terms close together in one place say more than the same terms all over */
    for (size_t i = 0; i < p->unit_count && total > 0; i++) {
        float s = weight_of(&l->words, l->units[p->first_unit + i].mask) / total;
        best = s > best ? s : best;
    }
    float s = p->in->score + 0.1f * covered + 0.1f * best + 0.2f * named;
    s += preference(l, p) + 0.1f * rest_of_file(l, p);
    if (is_asked_by_name(l, p))
        s += 0.5f;
    if (l->words.kind == QUESTION_STEPS && is_command_language(p->in->language))
        s += 0.2f;
    if (l->words.kind == QUESTION_OVERVIEW)
        s -= 0.1f * (float)path_depth(p->in->path) + (p->in->start_line > 1 ? 0.15f : 0);
    if (l->request->file_path.len && span_eq(p->in->path, l->request->file_path))
        s += 0.2f;
    if (p->in->is_test && !l->words.is_about_tests)
        s -= 0.1f;
    if (p->is_stand_in)
        s -= 0.15f;
    p->score = s;
}

static void find_definition(struct local *l, struct part *p)
{
    struct span name = last_name(p->in->symbol);
    if (p->is_prose || name.len == 0)
        return;
    for (size_t i = 0; i < p->unit_count; i++) {
        const struct unit *u = &l->units[p->first_unit + i];
        if (u->kind == UNIT_CODE && has_name(u->text, name)) {
            p->definition_line = u->start_line;
            return;
        }
    }
}

static void sort_parts(struct local *l)
{
    for (size_t i = 0; i < l->part_count;
         i++) { /* insertion: few, and stable = better passage first */
        size_t k = i;
        while (k > 0 && l->parts[l->order[k - 1]].score < l->parts[i].score) {
            l->order[k] = l->order[k - 1];
            k--;
        }
        l->order[k] = (uint32_t)i;
    }
}

void rank_all(struct local *l)
{
    weigh_terms(l);
    float total = weight_of(&l->words, UINT64_MAX);
    l->total = total;
    for (size_t i = 0; i < l->unit_count; i++)
        score_unit(l, &l->units[i]);
    for (size_t i = 0; i < l->part_count; i++) {
        find_definition(l, &l->parts[i]);
        lead_classify(l, &l->parts[i]);
        score_part(l, &l->parts[i], total);
    }
    sort_parts(l);
}

struct unit *rank_best_unit(struct local *l, const struct part *part, unsigned kinds, float least)
{
    struct unit *best = NULL;
    for (size_t i = 0; i < part->unit_count; i++) {
        struct unit *u = &l->units[part->first_unit + i];
        if (least > 0 && u->text.len && u->text.ptr[0] == '|')
            continue; /* a row needs its table */
        if (u->is_used || u->is_boilerplate || !(kinds & (1u << u->kind)) ||
            !compose_is_safe(l, u->text))
            continue;
        if (u->score >= least && (!best || u->score > best->score))
            best = u;
    }
    return best;
}
