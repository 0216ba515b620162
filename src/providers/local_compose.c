#include "providers/local_priv.h"

#include "text/lines.h"
#include "text/utf8.h"

#define SENTENCES (1u << UNIT_SENTENCE | 1u << UNIT_COMMENT)
#define EXCERPT_LINES 12
#define FUNCTION_LINES 20 /* a function of this length is shown whole when it is the answer */

/* Rounds before the last must not hold what clients take for the end of a research (deepwiki protocol §2.7). */
bool compose_is_safe(const struct local *l, struct span text)
{
    static const char *const ends[] = {"Conclusion",
                                       "In conclusion",
                                       "This concludes",
                                       "This completes our",
                                       "Key Findings and Implementation",
                                       "## Summary",
                                       "## Research"};
    for (size_t i = 0; l->is_guarded && i < ARRAY_LEN(ends); i++)
        if (span_find(text, span_str(ends[i])) >= 0)
            return false;
    return true;
}

static float weight(const struct local *l, uint64_t mask)
{
    float sum = 0;
    for (size_t i = 0; i < l->words.count; i++)
        sum += mask & (1ull << i) ? l->words.items[i].weight : 0;
    return sum;
}

static float share(const struct local *l, uint64_t mask)
{
    return l->total > 0 ? weight(l, mask) / l->total : 0;
}

static float least_score(const struct local *l)
{
    return 0.12f * l->total;
}

static bool is_part_safe(const struct local *l, const struct part *p)
{
    return compose_is_safe(l, p->in->path) && compose_is_safe(l, p->in->symbol);
}

/* The same sentence in two places is said once. */
static void use_unit(struct local *l, struct unit *u)
{
    struct span text = u->text;
    for (size_t i = 0; i < l->unit_count; i++)
        if (span_eq(l->units[i].text, text))
            l->units[i].is_used = true;
}

static void put_cited(struct local *l, struct unit *u)
{
    struct span path = l->parts[u->passage].in->path;
    out_joined(l->out, u->text);
    out_str(l->out, " (");
    out_citation(l->out, path, u->start_line, u->end_line);
    out_str(l->out, ")");
    use_unit(l, u);
}

void compose_no_model(struct local *l)
{
    out_str(l->out, "*");
    out_str(l->out, l->texts->no_model);
    out_str(l->out, "*\n");
}

/* ---- what supports a part ---- */

/* The comment that stands right above the definition, or opens the part: its first sentence. */
static struct unit *doc_sentence(struct local *l, const struct part *part)
{
    struct unit *found = NULL;
    for (size_t i = 0; i < part->unit_count; i++) {
        struct unit *u = &l->units[part->first_unit + i];
        if (part->definition_line && u->start_line > part->definition_line + 4)
            break;
        if (u->kind == UNIT_CODE && part->definition_line && u->start_line < part->definition_line)
            found = NULL; /* it was about something above */
        if (u->kind == UNIT_CODE && !part->definition_line)
            break;
        if (u->kind == UNIT_COMMENT && u->is_leading && !u->is_used && !u->is_boilerplate &&
            compose_is_safe(l, u->text))
            found = u;
    }
    return found;
}

static bool mentions(struct span text, struct span name)
{
    ptrdiff_t at = name.len > 3 ? span_find(text, name) : -1;
    if (at < 0)
        return false;
    size_t after = (size_t)at + name.len;
    char c = after < text.len ? text.ptr[after] : ' ';
    char b = at > 0 ? text.ptr[at - 1] : ' ';
    return c != '_' && b != '_' && ((c | 32) < 'a' || (c | 32) > 'z') &&
           ((b | 32) < 'a' || (b | 32) > 'z');
}

/* The first sentence of the documentation under a heading or directive with the symbol's name. */
static struct unit *documented_elsewhere(struct local *l, const struct part *part)
{
    for (size_t i = 0; i < l->unit_count; i++) {
        struct unit *u = &l->units[i];
        if (u->kind == UNIT_SENTENCE && u->is_leading && !u->is_used && !u->is_boilerplate &&
            u->text.ptr[0] != '|' && &l->parts[u->passage] != part &&
            !l->parts[u->passage].in->is_test && mentions(u->heading, part->in->symbol) &&
            compose_is_safe(l, u->text))
            return u;
    }
    return NULL;
}

/* A sentence elsewhere (README, another file's comment) that names the symbol. */
static struct unit *mention_elsewhere(struct local *l, const struct part *part)
{
    struct unit *best = NULL;
    for (size_t i = 0; i < l->unit_count; i++) {
        struct unit *u = &l->units[i];
        if (!(SENTENCES & 1u << u->kind) || u->is_used || u->is_boilerplate ||
            &l->parts[u->passage] == part)
            continue;
        if (mentions(u->text, part->in->symbol) && compose_is_safe(l, u->text) &&
            (!best || u->score > best->score))
            best = u;
    }
    return best;
}

static struct unit *support_of(struct local *l, const struct part *part)
{
    bool is_named = share(l, part->symbol_mask) >= 0.5f;
    struct unit *best = is_named ? doc_sentence(l, part) : NULL;
    if (!best && is_named)
        best = documented_elsewhere(l, part);
    if (!best)
        best = rank_best_unit(l, part, 1u << UNIT_COMMENT, 0.3f * l->total);
    if (!best)
        best = doc_sentence(l, part);
    if (!best)
        best = documented_elsewhere(l, part);
    if (!best)
        best = rank_best_unit(l, part, 1u << UNIT_COMMENT, least_score(l));
    return best ? best : mention_elsewhere(l, part);
}

/* Names such as "module.exports.create" are the same in every file. */
static bool has_telling_name(const struct part *part)
{
    return part->in->symbol.len && !span_starts(part->in->symbol, SPAN_LIT("module.exports"));
}

/* Is the comment about the symbol? One above it with code in between is about something else. */
static bool is_about_symbol(const struct local *l, const struct part *part, const struct unit *u)
{
    if (!has_telling_name(part) || u->end_line >= part->definition_line)
        return has_telling_name(part);
    for (size_t i = 0; i < part->unit_count; i++) {
        const struct unit *v = &l->units[part->first_unit + i];
        if (v->kind == UNIT_CODE && v->start_line > u->end_line &&
            v->start_line < part->definition_line)
            return false;
    }
    return true;
}

/* ---- the first paragraph ---- */

static const char *lead_template(const struct local *l, const struct part *part,
                                 const struct part *top)
{
    const struct local_texts *t = l->texts;
    float named = share(l, part->symbol_mask),
          covered = share(l, part->symbol_mask | part->mask | part->path_mask);
    if (!has_telling_name(part))
        return t->lead_place;
    if (part != top) { /* the file was found by its top: both speak for it */
        named = 1;
        covered = share(l, part->symbol_mask | part->mask | top->mask | top->path_mask);
    }
    if (covered < 0.6f || named < 0.15f)
        return t->lead_closest;
    if (l->words.kind == QUESTION_WHERE)
        return t->lead_where;
    bool asks_what = l->words.kind == QUESTION_WHAT || l->words.kind == QUESTION_OTHER;
    if (asks_what && named >= 0.5f && part->definition_line)
        return t->lead_defined;
    return t->lead_code;
}

static struct unit *first_sentence(struct local *l, const struct part *part)
{
    for (size_t i = 0; i < part->unit_count; i++) {
        struct unit *u = &l->units[part->first_unit + i];
        if (u->kind == UNIT_SENTENCE && !u->is_item && !u->is_used && !u->is_boilerplate &&
            u->text.len >= 30 && u->text.ptr[0] != '|' && compose_is_safe(l, u->text))
            return u;
    }
    return NULL;
}

/* The best sentence, from the one it leans on; one that leans on what is not there, if nothing else is. */
static struct unit *best_opening(struct local *l, const struct part *part, float least)
{
    struct unit *hidden[8], *best = NULL, *start = NULL;
    size_t count = 0;
    while (!start && count < ARRAY_LEN(hidden)) {
        struct unit *u = rank_best_unit(l, part, 1u << UNIT_SENTENCE, least);
        if (!u)
            break;
        best = best ? best : u;
        start = sentence_start(l, u);
        if (!start) {
            u->is_used = true;
            hidden[count++] = u;
        }
    }
    while (count > 0)
        hidden[--count]->is_used = false;
    return start ? start : best;
}

/* The best sentence of prose, or the first for an overview, and up to two that follow in the same paragraph. */
static bool put_prose(struct local *l, struct part *part)
{
    bool is_overview = l->words.kind == QUESTION_OVERVIEW;
    struct unit *best = is_overview ? first_sentence(l, part) : NULL;
    if (!best)
        best = best_opening(l, part, least_score(l));
    if (!best)
        best = best_opening(l, part, 0);
    if (!best)
        return false;
    size_t bytes = best->text.len;
    struct unit *u = best;
    uint32_t last_line = best->end_line;
    out_joined(l->out, u->text);
    use_unit(l, u);
    for (int more = 0; more < 2 && u + 1 < l->units + part->first_unit + part->unit_count; more++) {
        u++;
        bytes += u->text.len;
        if (u->kind != UNIT_SENTENCE || (u->is_leading && (!is_overview || u->is_item)) ||
            u->is_used || u->start_line > last_line + 2 || u->is_boilerplate || bytes > 420 ||
            !compose_is_safe(l, u->text) || u->text.ptr[0] == '|')
            break;
        out_str(l->out, " ");
        out_joined(l->out, u->text);
        use_unit(l, u);
        last_line = u->end_line;
    }
    out_str(l->out, " (");
    out_citation(l->out, part->in->path, best->start_line, last_line);
    out_str(l->out, ")");
    return true;
}

static struct excerpt lead_excerpt(const struct local *l, const struct part *part)
{
    struct excerpt e = {0, 0};
    if (wants_code(l) && is_file_top(part) && part->is_type)
        return e; /* imports and the like show nothing */
    if (wants_code(l))
        e = excerpt_function(l, part, FUNCTION_LINES);
    return e.start_line ? e : excerpt_choose(l, part, EXCERPT_LINES);
}

static bool is_in_excerpt(const struct local *l, const struct part *part, const struct unit *u,
                          struct excerpt e)
{
    return &l->parts[u->passage] == part && u->start_line >= e.start_line &&
           u->end_line <= e.end_line;
}

/* Does the comment document the part: above it, or the string that a Python definition begins with? */
static bool is_doc(const struct local *l, const struct part *part, const struct unit *u)
{
    if (!part->definition_line || u->start_line < part->definition_line)
        return true;
    if (!span_is(part->in->language, "python"))
        return false;
    const struct unit *first = l->units + part->first_unit, *before = u;
    while (before > first && before->kind != UNIT_CODE)
        before--;
    struct span t = span_trim(before->text);
    return before->kind == UNIT_CODE && before->start_line < part->definition_line + 5 && t.len &&
           t.ptr[t.len - 1] == ':';
}

/* What the file says of itself when its top led here, else what is said of the part. */
static struct unit *lead_support(struct local *l, const struct part *part, const struct part *top)
{
    struct unit *u = wants_code(l) ? file_purpose(l, top) : NULL;
    if (!u && wants_code(l) && part->is_function)
        u = doc_sentence(l, part);
    if (!u || u->is_leaning)
        u = support_of(l, part);
    if (!u || u->is_leaning || (u->kind == UNIT_COMMENT && begins_small(u->text)))
        return NULL;
    /* A remark about one line of the code is a detail, and can be read there. */
    bool is_inside = u->passage == (uint32_t)(part - l->parts) && !is_doc(l, part, u);
    return is_inside && wants_code(l) && (part->is_function || part->is_type) ? NULL : u;
}

struct lead { /* what the first paragraph is made of */
    struct unit *support;
    const char *template;
    struct excerpt e;
    bool says_all; /* the sentence needs no template beside it */
    enum { SUPPORT_LAST, SUPPORT_FIRST, SUPPORT_AFTER } place;
};

static struct lead plan_lead(struct local *l, const struct part *part, const struct part *top)
{
    struct lead d = {.support = lead_support(l, part, top),
                     .template = lead_template(l, part, top)};
    const struct local_texts *t = l->texts;
    if (!part->is_prose)
        d.e = lead_excerpt(l, part);
    /* A second thought about what is shown can be read there. */
    if (d.support && wants_code(l) && !d.support->is_leading &&
        is_in_excerpt(l, part, d.support, d.e))
        d.support = NULL;
    struct unit *u = d.support;
    if (u && d.e.start_line && d.e.end_line - d.e.start_line < 2)
        d.e.start_line = 0; /* a line or two say less than the sentence */
    bool is_own = u && (u->passage == (uint32_t)(part - l->parts) ||
                        u->passage == (uint32_t)(top - l->parts));
    bool is_telling = u && share(l, u->mask | u->near_mask) >= 0.4f;
    d.says_all = is_telling && part->in->symbol.len == 0 && l->words.kind != QUESTION_WHERE;
    if (is_own && is_telling && is_file_top(part) && wants_code(l) && !d.e.start_line)
        d.says_all = true;
    /* A list of places that may fit begins with one more of them, not with the code of one. */
    bool is_vague = d.template == t->lead_closest || d.template == t->lead_place;
    if (l->words.kind == QUESTION_WHICH && is_own && is_vague) {
        d.says_all = true;
        d.e.start_line = 0;
    }
    if (d.says_all || (is_own && part->in->symbol.len && part->definition_line && part == top &&
                       !is_about_symbol(l, part, u)))
        d.template = t->lead_place;
    d.place = is_own ? SUPPORT_FIRST : SUPPORT_LAST;
    /* "The closest match is" introduces; after a quotation it would take back what was said. */
    is_vague = d.template == t->lead_closest || d.template == t->lead_place;
    if (is_own && is_vague && (!d.says_all || d.e.start_line))
        d.place = d.e.start_line ? SUPPORT_LAST : SUPPORT_AFTER;
    return d;
}

void compose_lead(struct local *l, struct part *part)
{
    struct part *top = part;
    part = lead_choose(l, part);
    part->is_used = top->is_used = true;
    if (part->is_prose && put_prose(l, part)) {
        out_str(l->out, "\n\n");
        return;
    }
    struct lead d = plan_lead(l, part, top);
    /* What is shown is what is cited: one place a reader can go to, not three of one file. */
    struct chat_passage in = *part->in;
    if (d.e.start_line) {
        in.start_line = d.e.start_line;
        in.end_line = d.e.end_line;
    }
    struct part shown = {.in = &in};
    bool has_template = !d.says_all || d.e.start_line;
    if (d.support && d.place == SUPPORT_FIRST) {
        put_cited(l, d.support);
        out_str(l->out, has_template ? " " : "");
    }
    if (has_template)
        out_template(l->out, d.template, &shown, SPAN_NULL);
    if (d.support && d.place == SUPPORT_AFTER) {
        out_str(l->out, " ");
        put_cited(l, d.support);
    }
    out_str(l->out, "\n\n");
    if (d.e.start_line) { /* right below the citation it is from */
        out_excerpt(l->out, part, d.e);
        out_str(l->out, "\n");
    }
    if (d.support && d.place == SUPPORT_LAST && !is_in_excerpt(l, part, d.support, d.e)) {
        put_cited(l, d.support);
        out_str(l->out, "\n\n");
    }
}

/* ---- commands ---- */

/* How promising a block of commands is: its part, its heading and its own words. */
static struct unit *best_command(struct local *l)
{
    struct unit *best = NULL;
    float best_value = 0;
    for (size_t i = 0; i < l->unit_count; i++) {
        struct unit *u = &l->units[i];
        const struct part *p = &l->parts[u->passage];
        if (u->kind != UNIT_COMMAND || u->is_used || p->in->is_test || !compose_is_safe(l, u->text))
            continue;
        if (l->total > 0 && share(l, u->mask | u->near_mask | p->symbol_mask) < 0.25f)
            continue; /* commands for something else */
        float value = p->score + share(l, u->mask) + 0.8f * share(l, u->near_mask & ~u->mask);
        if (u->end_line - u->start_line < EXCERPT_LINES)
            value += 0.1f;
        if (!best || value > best_value) {
            best = u;
            best_value = value;
        }
    }
    return best;
}

static bool put_commands(struct local *l)
{
    struct unit *u = best_command(l);
    if (!u)
        return false;
    struct part *part = &l->parts[u->passage];
    struct unit *before = u > l->units + part->first_unit ? u - 1 : NULL;
    bool has_words = before && before->kind == UNIT_SENTENCE && !before->is_boilerplate &&
                     !before->is_leaning && before->end_line + 3 >= u->start_line &&
                     compose_is_safe(l, before->text);
    struct excerpt e = {u->start_line, u->end_line};
    if (e.end_line - e.start_line >= EXCERPT_LINES)
        e.end_line = e.start_line + EXCERPT_LINES - 1;
    struct chat_passage in = *part->in;
    in.start_line = e.start_line;
    in.end_line = e.end_line;
    struct part shown = {.in = &in};
    if (has_words) {
        put_cited(l, before);
        out_str(l->out, "\n\n");
        out_citation(l->out, in.path, e.start_line, e.end_line);
        out_str(l->out, ":\n\n");
    } else {
        out_template(l->out, l->texts->commands, &shown, SPAN_NULL);
        out_str(l->out, "\n\n");
    }
    uint32_t base = part->in->start_line;
    struct span body = lines_slice(part->in->text, e.start_line - base + 1, e.end_line - base + 1);
    out_fence(l->out, SPAN_LIT("sh"), body);
    out_str(l->out, "\n");
    use_unit(l, u);
    part->is_used = true;
    return true;
}

/* ---- further points ---- */

static void put_name(struct local *l, const struct part *part)
{
    if (part->in->symbol.len == 0)
        return;
    bool is_heading = part->is_prose && span_find_char(part->in->symbol, '`') < 0;
    if (is_heading)
        out_joined(l->out, span_first(part->in->symbol, utf8_cut(part->in->symbol, 200)));
    else
        out_code(l->out, part->in->symbol);
}

/* Lines with words of the question, or the definition itself. */
static bool is_telling(const struct local *l, const struct part *part, struct excerpt e)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < part->unit_count; i++) {
        const struct unit *u = &l->units[part->first_unit + i];
        if (u->start_line >= e.start_line && u->end_line <= e.end_line)
            mask |= u->mask;
    }
    bool is_definition =
        part->definition_line >= e.start_line && part->definition_line <= e.end_line;
    return is_definition || l->total == 0 || share(l, mask) >= 0.25f;
}

bool compose_point(struct local *l, struct part *part, bool with_code)
{
    if (!is_part_safe(l, part))
        return false;
    unsigned kinds = part->is_prose ? 1u << UNIT_SENTENCE : 1u << UNIT_COMMENT;
    struct unit *u = rank_best_unit(l, part, kinds, least_score(l));
    if (!u && !part->is_prose)
        u = doc_sentence(l, part);
    struct excerpt e = {0, 0};
    if (with_code && !part->is_prose)
        e = excerpt_choose(l, part, EXCERPT_LINES);
    bool is_preamble = wants_code(l) && part->is_type && is_file_top(part);
    if (e.start_line && (is_preamble || !is_telling(l, part, e)))
        e.start_line = 0;
    if (!u && !e.start_line)
        return false;
    bool has_name = has_telling_name(part) && !part->is_prose;
    if (u && e.start_line && e.end_line - e.start_line < 2)
        e.start_line = 0; /* a line or two say less than the sentence */
    if (u && e.start_line && !is_about_symbol(l, part, u))
        u = NULL;
    bool is_shown = u && u->start_line >= e.start_line && u->end_line <= e.end_line;
    if (e.start_line) {
        out_str(l->out, l->is_in_list ? "\n" : "");
        if (has_name)
            put_name(l, part);
        if (is_shown)
            use_unit(l, u); /* it can be read in what is shown */
        else if (u) {
            out_str(l->out, has_name ? ": " : "");
            put_cited(l, u);
        }
        out_str(l->out, u && !is_shown ? "\n\n" : has_name ? ", " : "");
        out_citation(l->out, part->in->path, e.start_line, e.end_line);
        out_str(l->out, ":\n\n");
        out_excerpt(l->out, part, e);
    } else {
        has_name = has_name && is_about_symbol(l, part, u);
        out_str(l->out, "- ");
        if (has_name)
            put_name(l, part);
        out_str(l->out, has_name ? ": " : "");
        put_cited(l, u);
    }
    out_str(l->out, "\n");
    l->is_in_list = e.start_line == 0;
    part->is_used = true;
    return true;
}

/* Has a part before place `place` of the order, not used either, the same file (or the same symbol of it)? */
static bool is_path_listed(const struct local *l, size_t place, bool whole_file)
{
    const struct part *p = &l->parts[l->order[place]];
    for (size_t i = 0; i < place; i++) {
        const struct part *q = &l->parts[l->order[i]];
        if (!q->is_used && span_eq(q->in->path, p->in->path) &&
            (whole_file || span_eq(q->in->symbol, p->in->symbol)))
            return true;
    }
    return false;
}

void compose_related(struct local *l, const char *title, size_t max, bool with_lines)
{
    size_t count = 0;
    for (size_t i = 0; i < l->part_count && count < max; i++) {
        struct part *p = &l->parts[l->order[i]];
        if (p->is_used || !is_part_safe(l, p))
            continue;
        if (!is_path_asked(l, p->in->path) && is_path_listed(l, i, with_lines))
            continue;
        if (count++ == 0 && title) {
            out_str(l->out, "**");
            out_str(l->out, title);
            out_str(l->out, "**\n\n");
        }
        out_str(l->out, "- ");
        if (with_lines)
            out_citation(l->out, p->in->path, p->in->start_line, p->in->end_line);
        else
            out_code(l->out, p->in->path);
        if (has_telling_name(p)) {
            out_str(l->out, ": ");
            put_name(l, p);
        }
        out_str(l->out, "\n");
    }
    if (count)
        out_str(l->out, "\n");
}

/* ---- whole answers ---- */

static bool is_worth_a_point(const struct local *l, const struct part *p, float lead_score)
{
    if (p->is_used || p->score < 0.4f * lead_score)
        return false;
    if (l->words.kind == QUESTION_OVERVIEW && !p->is_prose)
        return false;
    if (is_path_asked(l, l->parts[l->order[0]].in->path) && !is_path_asked(l, p->in->path))
        return false;
    return share(l, UINT64_MAX) == 0 || share(l, p->mask | p->symbol_mask) >= 0.2f;
}

/* Does an earlier point, or the lead, come from this file? */
static bool is_file_used(const struct local *l, struct span path)
{
    for (size_t i = 0; i < l->part_count; i++)
        if (l->parts[i].is_used && span_eq(l->parts[i].in->path, path))
            return true;
    return false;
}

/* Points in the order of the parts, files that have not been named first. */
static void put_list(struct local *l, float least, size_t max)
{
    size_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < l->part_count && count < max; i++) {
            struct part *p = &l->parts[l->order[i]];
            if ((pass > 0 || !is_file_used(l, p->in->path)) && is_worth_a_point(l, p, least))
                count += compose_point(l, p, false);
        }
    }
}

static void put_points(struct local *l, struct part *lead)
{
    bool is_listing = l->words.kind == QUESTION_WHICH;
    bool is_about_code = l->words.kind != QUESTION_OVERVIEW && l->words.kind != QUESTION_STEPS;
    size_t code_max = !is_about_code || is_listing ? 0 : 2, list_max = is_listing ? 7 : 3;
    size_t count = 0;
    struct part *caller = code_max && wants_code(l) ? lead_caller(l, lead_choose(l, lead)) : NULL;
    if (caller && !caller->is_used) {
        l->called = last_name(lead_choose(l, lead)->in->symbol);
        count += compose_point(l, caller, true);
        l->called = SPAN_NULL;
    }
    for (size_t i = 0; i < l->part_count && count < code_max; i++) {
        struct part *p = &l->parts[l->order[i]];
        bool shows_nothing =
            p->is_stand_in || p->is_constructor || (p->in->is_test && !l->words.is_about_tests);
        if (p->is_prose || is_file_used(l, p->in->path) || (wants_code(l) && shows_nothing))
            continue;
        if (is_worth_a_point(l, p, lead->score * 1.4f) && compose_point(l, p, true))
            count++;
    }
    put_list(l, lead->score, list_max);
    out_str(l->out, l->is_in_list ? "\n" : "");
    l->is_in_list = false;
}

/* Steps told in a sentence rather than in a block: the part of the sentence that says most. */
static struct part *best_told(struct local *l)
{
    struct unit *best = NULL;
    float best_value = 0;
    for (size_t i = 0; i < l->unit_count; i++) {
        struct unit *u = &l->units[i];
        const struct part *p = &l->parts[u->passage];
        float value = (l->total > 0 ? u->score / l->total : 0) + 0.3f * p->score;
        if (u->kind == UNIT_SENTENCE && !u->is_boilerplate && (!best || value > best_value)) {
            best = u;
            best_value = value;
        }
    }
    return best ? &l->parts[best->passage] : &l->parts[l->order[0]];
}

/* What a project is, its README says first: the earliest part of one that has a sentence. */
static struct part *best_overview(struct local *l)
{
    struct part *best = NULL;
    for (size_t i = 0; i < l->part_count; i++) {
        struct part *p = &l->parts[l->order[i]];
        bool is_before =
            !best || p->in->path.len < best->in->path.len ||
            (p->in->path.len == best->in->path.len && p->in->start_line < best->in->start_line);
        if (p->is_readme && is_before && first_sentence(l, p))
            best = p;
    }
    return best ? best : &l->parts[l->order[0]];
}

/* "What is Tidewatch?": all that is asked for is the title of the README. */
static bool asks_for_project(const struct local *l)
{
    for (size_t i = 0; i < l->part_count && l->words.kind == QUESTION_WHAT; i++) {
        const struct part *p = &l->parts[i];
        if (p->is_readme && l->total > 0 && share(l, p->symbol_mask) > 0.99f &&
            span_find_char(p->in->symbol, '>') < 0)
            return true;
    }
    return false;
}

void compose_plain(struct local *l)
{
    struct part *lead = &l->parts[l->order[0]];
    if (l->words.kind == QUESTION_STEPS)
        lead = best_told(l);
    else if (l->words.kind == QUESTION_OVERVIEW || asks_for_project(l))
        lead = best_overview(l);
    if (l->words.kind != QUESTION_STEPS || !put_commands(l))
        compose_lead(l, lead);
    put_points(l, lead);
    compose_related(l, l->texts->related, 6, true);
    compose_no_model(l);
}

void compose_nothing(struct local *l)
{
    const struct local_texts *t = l->texts;
    struct span name = l->request->source_name, rest = l->request->question, word;
    if (name.len && compose_is_safe(l, name))
        out_template(l->out, t->nothing, NULL, name);
    else
        out_str(l->out, t->nothing_here);
    size_t count = 0;
    while (count < 10 && words_next_shown(&rest, &word)) {
        if (!compose_is_safe(l, word))
            continue;
        if (count == 0) {
            out_str(l->out, " ");
            out_str(l->out, t->looked_for);
        }
        out_str(l->out, count++ ? ", " : " ");
        out_code(l->out, word);
    }
    out_str(l->out, "\n\n");
    out_str(l->out, t->try_title);
    out_str(l->out, "\n\n");
    const char *const tries[] = {t->try_name, t->try_index, t->try_language};
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        out_str(l->out, "- ");
        out_str(l->out, tries[i]);
        out_str(l->out, "\n");
    }
    out_str(l->out, "\n");
    compose_no_model(l);
}
