#include "providers/local_priv.h"

#include "text/lines.h"

static bool has_keyword(struct span line)
{
    static const char *const words[] = {"if ",   "if(",   "return", "case ", "switch", "throw",
                                        "raise", "while", "match ", "elif",  "else",   "assert"};
    struct span t = span_trim(line);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (span_starts(t, span_str(words[i])))
            return true;
    return false;
}

/* Brackets and the like alone on a line: nothing to read. */
static bool is_thin(struct span line)
{
    struct span t = span_trim(line);
    for (size_t i = 0; i < t.len; i++)
        if (!strchr("{}()[];,", t.ptr[i]))
            return false;
    return true;
}

/* Belongs to what stands above it. */
static bool is_continuation(struct span line)
{
    static const char *const words[] = {"else",    "elif", "except", "catch",
                                        "finally", "}",    ")",      "]"};
    struct span t = span_trim(line);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (span_starts(t, span_str(words[i])))
            return true;
    return false;
}

/* Begins something that is not shown. */
static bool is_opening(struct span line)
{
    struct span t = span_trim(line);
    return t.len && strchr(":{(", t.ptr[t.len - 1]);
}

static float line_value(const struct local *l, const struct part *part, const struct unit *u)
{
    float value = l->total > 0 ? u->score / l->total + 0.02f : 0.1f;
    bool wants_decision = l->words.kind == QUESTION_WHERE || l->words.kind == QUESTION_WHY ||
                          l->words.kind == QUESTION_WHEN || l->words.kind == QUESTION_HOW;
    if (is_thin(u->text))
        return 0;
    if (wants_decision && has_keyword(u->text))
        value += 0.08f;
    if (u->start_line == part->definition_line)
        value += 0.4f;
    return value;
}

/* A function or type ends here: what follows is something else. */
static bool ends_block(struct span line)
{
    return line.len && line.ptr[0] == '}';
}

static bool begins_block(struct span line)
{
    static const char *const words[] = {"def ", "class ",  "func ",      "function ", "fn ",
                                        "pub ", "export ", "async def ", "impl "};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (span_starts(line, span_str(words[i])))
            return true;
    return false;
}

/* From a definition, on to its end or as far as there is room. */
static void extend_to_end(const struct local *l, const struct part *part, struct excerpt *e,
                          unsigned max_lines)
{
    bool is_ended = e->start_line == 0 || e->start_line != part->definition_line;
    for (size_t i = 0; i < part->unit_count && !is_ended; i++) {
        const struct unit *u = &l->units[part->first_unit + i];
        if (u->kind != UNIT_CODE || u->start_line < e->start_line)
            continue;
        if (u->start_line - e->start_line >= max_lines ||
            (u->start_line > e->start_line && begins_block(u->text)))
            break;
        if (u->start_line > e->end_line)
            e->end_line = u->start_line;
        is_ended = ends_block(u->text) && u->start_line >= e->end_line;
    }
}

/* One or two lines alone are hard to read: the lines around them in the same block, up to five. */
static void add_neighbours(const struct local *l, const struct part *part, struct excerpt *e)
{
    bool has_grown = e->start_line != 0;
    while (has_grown && e->end_line - e->start_line < 4) {
        has_grown = false;
        for (size_t i = 0; i < part->unit_count && e->end_line - e->start_line < 4; i++) {
            const struct unit *u = &l->units[part->first_unit + i];
            if (u->kind != UNIT_CODE || ends_block(u->text) || is_thin(u->text))
                continue;
            if (u->start_line == e->end_line + 1 && !begins_block(u->text)) {
                e->end_line++;
                has_grown = true;
                break;
            }
            if (u->start_line + 1 == e->start_line) {
                e->start_line--;
                has_grown = true;
                break;
            }
        }
    }
}

/*
 * The best run of at most max_lines lines: most value of its lines, less a small price a line. It does
 * not run from one function into the next.
 */
struct excerpt excerpt_choose(const struct local *l, const struct part *part, unsigned max_lines)
{
    struct excerpt best = {0, 0};
    float best_value = 0;
    for (size_t i = 0; i < part->unit_count; i++) {
        const struct unit *from = &l->units[part->first_unit + i];
        float value = 0;
        if (from->kind != UNIT_CODE || is_thin(from->text) || is_continuation(from->text))
            continue;
        for (size_t k = i; k < part->unit_count; k++) {
            const struct unit *to = &l->units[part->first_unit + k];
            if (to->end_line - from->start_line >= max_lines)
                break;
            if (to->kind != UNIT_CODE)
                continue;
            if (k > i && begins_block(to->text))
                break;
            value += line_value(l, part, to);
            float worth = value - 0.03f * (float)(to->end_line - from->start_line + 1);
            if (worth > best_value && (to == from || !is_opening(to->text))) {
                best_value = worth;
                best = (struct excerpt){from->start_line, to->end_line};
            }
            if (ends_block(to->text))
                break;
        }
    }
    /* A closing bracket right below belongs to what is shown. */
    for (size_t i = 0; i < part->unit_count && best.start_line; i++) {
        const struct unit *u = &l->units[part->first_unit + i];
        if (u->kind == UNIT_CODE && u->start_line == best.end_line + 1 && is_thin(u->text) &&
            u->start_line - best.start_line < max_lines)
            best.end_line++;
    }
    extend_to_end(l, part, &best, max_lines);
    add_neighbours(l, part, &best);
    uint32_t base = part->in->start_line;
    struct span lines =
        lines_slice(part->in->text, best.start_line - base + 1, best.end_line - base + 1);
    return best.start_line && compose_is_safe(l, lines) ? best : (struct excerpt){0, 0};
}
