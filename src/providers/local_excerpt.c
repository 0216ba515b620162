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

static size_t indent_of(struct span line)
{
    size_t n = 0;
    while (n < line.len && (line.ptr[n] == ' ' || line.ptr[n] == '\t'))
        n++;
    return n;
}

/* Inside a constructor, or its first line: what is set up there does not show how something is done. */
static bool is_in_constructor(const struct local *l, const struct part *part, const struct unit *u)
{
    size_t depth = SIZE_MAX;
    const struct unit *first = l->units + part->first_unit;
    for (const struct unit *at = u;; at--) {
        struct span t = span_trim(at->text);
        if (at->kind == UNIT_CODE && t.len && indent_of(at->text) < depth &&
            !is_continuation(at->text)) {
            depth = indent_of(at->text);
            if (span_starts(t, SPAN_LIT("def __init__(")) ||
                span_starts(t, SPAN_LIT("constructor(")))
                return true;
        }
        if (at == first)
            return false;
    }
}

static float line_value(const struct local *l, const struct part *part, const struct unit *u)
{
    float value = l->total > 0 ? u->score / l->total + 0.02f : 0.1f;
    bool wants_decision = l->words.kind == QUESTION_WHERE || l->words.kind == QUESTION_WHY ||
                          l->words.kind == QUESTION_WHEN || l->words.kind == QUESTION_HOW;
    if (is_thin(u->text) || (wants_code(l) && is_in_constructor(l, part, u)))
        return 0;
    if (wants_decision && has_keyword(u->text))
        value += 0.08f;
    if (u->start_line == part->definition_line && !(wants_code(l) && part->is_type))
        value += 0.4f;
    if (l->called.len && has_name(u->text, l->called))
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

/* Does a line no deeper than the definition belong to it all the same: a bracket, a label, "#if"? */
static bool is_part_of_body(struct span line)
{
    struct span t = span_trim(line);
    bool is_label = t.len && t.ptr[t.len - 1] == ':' && span_find_char(t, ' ') < 0;
    return t.len == 0 || is_thin(line) || is_continuation(line) || is_label || t.ptr[0] == '#' ||
           t.ptr[0] == '{';
}

struct excerpt excerpt_function(const struct local *l, const struct part *part, unsigned max_lines)
{
    struct excerpt e = {0, 0};
    size_t depth = 0;
    for (size_t i = 0; i < part->unit_count && part->is_function; i++) {
        const struct unit *u = &l->units[part->first_unit + i];
        if (u->kind != UNIT_CODE || u->start_line < part->definition_line)
            continue;
        if (e.start_line == 0) {
            depth = indent_of(u->text);
            e.start_line = u->start_line;
        } else if (indent_of(u->text) <= depth && !is_part_of_body(u->text))
            break;
        if (span_trim(u->text).len)
            e.end_line = u->end_line;
        if (indent_of(u->text) == depth && span_starts(span_trim(u->text), SPAN_LIT("}")))
            break;
    }
    bool is_fit = e.end_line > e.start_line + 1 && e.end_line - e.start_line < max_lines;
    uint32_t base = part->in->start_line;
    struct span lines = lines_slice(part->in->text, e.start_line - base + 1, e.end_line - base + 1);
    return is_fit && compose_is_safe(l, lines) ? e : (struct excerpt){0, 0};
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
            if (k > i &&
                (begins_block(to->text) || (wants_code(l) && begins_block(span_trim(to->text)) &&
                                            indent_of(to->text) <= indent_of(from->text))))
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
