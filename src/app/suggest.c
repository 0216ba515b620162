#include "app/suggest.h"

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

unsigned suggest_distance(struct span a, struct span b)
{
    if (a.len > SUGGEST_NAME_MAX || b.len > SUGGEST_NAME_MAX)
        return ~0u;
    unsigned before[SUGGEST_NAME_MAX + 1] = {0}, last[SUGGEST_NAME_MAX + 1],
                                       row[SUGGEST_NAME_MAX + 1];
    for (unsigned j = 0; j <= b.len; j++)
        last[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            unsigned differs = a.ptr[i - 1] != b.ptr[j - 1];
            row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + differs);
            bool is_swap =
                i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            if (is_swap && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        memcpy(before, last, sizeof before);
        memcpy(last, row, sizeof last);
    }
    return last[b.len];
}

void suggest_try(struct suggest *s, const char *candidate)
{
    struct span name = span_str(candidate);
    unsigned edits = suggest_distance(s->typed, name);
    /* A beginning of three letters or more ("comp" for "completion") is as good as one edit. */
    if (s->typed.len >= 3 && span_starts(name, s->typed))
        edits = 1;
    unsigned allowed = s->typed.len < 4 ? 1 : (unsigned)s->typed.len / 3 + 1;
    if (edits <= allowed && edits < s->best_edits) {
        s->best = candidate;
        s->best_edits = edits;
    }
}
