/* Promises of ranking: what of a question is looked for, and what of a file's name fits it. */
#include "../cm.h"
#include "base/mem.h"
#include "retrieval/retrieval_priv.h"

static void only_what_asks_is_left_out_and_only_at_the_ends(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"How does .gitignore matching work?", ".gitignore matching "},
        {"Where is the session cookie set?", "session cookie set"},
        {"how is the where clause compiled?", "where clause compiled"},
        {"where are retries decided?", "retries "},
        {"who decides?", "decides"},
        {"retry backoff", "retry backoff"},
        {"the end of the file", "the end of the file"}, /* no question */
        {"how?", "how?"},                               /* nothing would be left */
        {"how does it work?", "work"},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct span got = question_subject(span_str(table[i][0]));
        if (!span_is(span_trim(got), table[i][1]) && !span_is(got, table[i][1]))
            fail_msg("'%s' gives '" SPAN_FMT "'", table[i][0], SPAN_ARG(got));
    }
}

static float fit(const char *question_word, const char *path)
{
    struct name_words q = {.count = 1, .total = 1, .weights = {1}};
    q.words[0] = span_str(question_word);
    return names_fit(&q, span_str(path));
}

static void names_fit_abbreviated_glued_and_bent(void **state)
{
    (void)state;
    assert_true(fit("variables", "lib/vars.js") > 0.9f);
    assert_true(fit("used", "lib/no-unused.js") > 0.9f);
    assert_true(fit("paginated", "core/paginator.py") > 0.9f);
    assert_true(fit("cache", "lib/lintCacheStore.js") > 0.3f); /* one of three parts */
    assert_true(fit("retry", "vars/gauge.py") <= 0);           /* folders do not count */
    assert_true(fit("variables", "vars/gauge.py") <= 0);
    assert_true(fit("use", "lib/unused.js") <= 0); /* too short to be held by chance */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_asks_is_left_out_and_only_at_the_ends),
        cmocka_unit_test(names_fit_abbreviated_glued_and_bent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
