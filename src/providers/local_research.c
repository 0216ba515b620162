#include "providers/local_priv.h"

#include "base/mem.h"

#include <stdio.h>

#define LAST_ROUND 5

/* ---- what earlier rounds have cited ---- */

static bool is_path_char(char c)
{
    return c == '_' || c == '/' || c == '.' || c == '-' || (c >= '0' && c <= '9') ||
           ((c | 32) >= 'a' && (c | 32) <= 'z') || (unsigned char)c >= 0x80;
}

static struct span read_number(struct span s, uint32_t *ret)
{
    uint64_t v = 0;
    size_t n = 0;
    while (n < s.len && n < 9 && s.ptr[n] >= '0' && s.ptr[n] <= '9')
        v = v * 10 + (uint64_t)(s.ptr[n++] - '0');
    *ret = (uint32_t)v;
    return span_skip(s, n);
}

static int add_cited(struct local *l, struct range r)
{
    if (l->cited_count == LIMIT_LOCAL_CITED_COUNT)
        return 0;
    if (l->cited_count == l->cited_cap) {
        size_t cap = l->cited_cap ? l->cited_cap * 2 : 64;
        struct range *grown = mem_try_realloc(l->cited, cap * sizeof *grown);
        if (!grown)
            return -ERR_NO_MEMORY;
        l->cited = grown;
        l->cited_cap = cap;
    }
    l->cited[l->cited_count++] = r;
    return 0;
}

/* The passage whose path ends right before text[hash]; the longest wins. */
static struct span path_before(const struct local *l, struct span text, size_t hash)
{
    struct span best = SPAN_NULL;
    for (size_t i = 0; i < l->part_count; i++) {
        struct span p = l->parts[i].in->path;
        if (p.len <= best.len || p.len > hash || memcmp(text.ptr + hash - p.len, p.ptr, p.len) != 0)
            continue;
        if (p.len == hash || !is_path_char(text.ptr[hash - p.len - 1]))
            best = p;
    }
    return best;
}

static int read_citations(struct local *l, struct span text)
{
    for (size_t i = 0; i + 2 < text.len; i++) {
        if (text.ptr[i] != '#' || text.ptr[i + 1] != 'L')
            continue;
        struct range r = {.path = path_before(l, text, i)};
        struct span rest = read_number(span_skip(text, i + 2), &r.start);
        r.end = r.start;
        if (span_starts(rest, SPAN_LIT("-L")))
            (void)read_number(span_skip(rest, 2), &r.end);
        if (r.path.len && r.start) {
            int code = add_cited(l, r);
            if (code < 0)
                return code;
        }
    }
    return 0;
}

/* Marks parts and units that an earlier round has shown. */
static void mark_cited(struct local *l)
{
    for (size_t c = 0; c < l->cited_count; c++) {
        const struct range *r = &l->cited[c];
        for (size_t i = 0; i < l->part_count; i++) {
            struct part *p = &l->parts[i];
            if (!span_eq(p->in->path, r->path) || r->end < p->in->start_line ||
                r->start > p->in->end_line)
                continue;
            p->is_used = true;
            for (size_t u = 0; u < p->unit_count; u++) {
                struct unit *unit = &l->units[p->first_unit + u];
                unit->is_used |= unit->start_line >= r->start && unit->end_line <= r->end;
            }
        }
    }
}

static int read_history(struct local *l)
{
    for (size_t i = 0; i < l->request->history_count; i++) {
        if (!span_is(l->request->history[i].role, "assistant"))
            continue;
        int r = read_citations(l, l->request->history[i].content);
        if (r < 0)
            return r;
    }
    mark_cited(l);
    return 0;
}

/* ---- rounds ---- */

static void put_heading(struct local *l, const char *level, const char *text)
{
    out_str(l->out, level);
    out_str(l->out, text);
    out_str(l->out, "\n\n");
}

/* Always the last section of a round before the final one: clients take a round without it for the end. */
static void put_next_steps(struct local *l)
{
    bool has_more = false;
    for (size_t i = 0; i < l->part_count; i++)
        has_more |= !l->parts[i].is_used;
    put_heading(l, "## ", "Next Steps");
    if (has_more) {
        out_str(l->out, l->texts->next);
        out_str(l->out, "\n\n");
        compose_related(l, NULL, 5, false);
    } else {
        out_str(l->out, "- ");
        out_str(l->out, l->texts->next_none);
        out_str(l->out, "\n\n");
    }
}

/* Up to `max` points from parts not used before; the first `with_code` of them with code. */
static size_t put_new_points(struct local *l, size_t max, size_t with_code)
{
    size_t count = 0;
    for (size_t i = 0; i < l->part_count && count < max; i++) {
        struct part *p = &l->parts[l->order[i]];
        if (!p->is_used && !p->is_prose && count < with_code && compose_point(l, p, true))
            count++;
    }
    for (size_t i = 0; i < l->part_count && count < max; i++) {
        struct part *p = &l->parts[l->order[i]];
        if (!p->is_used)
            count += compose_point(l, p, false);
    }
    return count;
}

static void put_first_round(struct local *l)
{
    put_heading(l, "## ", "Research Plan");
    out_str(l->out, l->texts->plan);
    out_str(l->out, "\n\n");
    compose_related(l, NULL, 8, false);
    put_heading(l, "### ", l->texts->findings);
    struct part *lead = NULL;
    for (size_t i = 0; i < l->part_count && !lead; i++) {
        struct part *p = &l->parts[l->order[i]];
        if (compose_is_safe(l, p->in->path) && compose_is_safe(l, p->in->symbol))
            lead = p;
    }
    if (lead)
        compose_lead(l, lead);
    if (put_new_points(l, 2, 0))
        out_str(l->out, "\n");
    put_next_steps(l);
}

static void put_middle_round(struct local *l)
{
    char heading[48];
    snprintf(heading, sizeof heading, "Research Update %u", l->request->research_round);
    put_heading(l, "## ", heading);
    size_t count = put_new_points(l, 4, 2);
    /* Everything was touched: what was not quoted yet. */
    for (size_t i = 0; i < l->part_count && count < 3; i++) {
        struct part *p = &l->parts[l->order[i]];
        count += p->is_used && compose_point(l, p, false);
    }
    if (!count)
        out_str(l->out, l->texts->nothing_new);
    out_str(l->out, count ? "\n" : "\n\n");
    put_next_steps(l);
}

static void put_final_round(struct local *l)
{
    put_heading(l, "## ", "Final Conclusion");
    out_str(l->out, l->texts->synthesis);
    out_str(l->out, "\n\n");
    compose_lead(l, &l->parts[l->order[0]]);
    if (put_new_points(l, 3, 1))
        out_str(l->out, "\n");
    size_t count = 0;
    for (size_t i = 0; i < l->part_count && count < 8; i++) {
        struct part *p = &l->parts[l->order[i]];
        if (p->is_used)
            continue;
        if (count == 0)
            put_heading(l, "### ", l->texts->by_file);
        count += compose_point(l, p, false);
    }
    if (count)
        out_str(l->out, "\n");
    compose_related(l, l->texts->related, 8, true);
}

int research_answer(struct local *l)
{
    unsigned round = l->request->research_round;
    l->is_guarded = round < LAST_ROUND;
    if (l->part_count == 0) {
        char heading[48] = "Research Plan";
        if (round >= LAST_ROUND)
            snprintf(heading, sizeof heading, "Final Conclusion");
        else if (round > 1)
            snprintf(heading, sizeof heading, "Research Update %u", round);
        put_heading(l, "## ", heading);
        compose_nothing(l);
        if (round < LAST_ROUND) {
            out_str(l->out, "\n");
            put_next_steps(l);
        }
        return 0;
    }
    if (round > 1 && round < LAST_ROUND) {
        int r = read_history(l);
        if (r < 0)
            return r;
        put_middle_round(l);
    } else if (round == 1) {
        put_first_round(l);
    } else {
        put_final_round(l);
    }
    compose_no_model(l);
    return 0;
}
