/* Filters of requests: one text for one wish, and what the walk makes of it. */
#include "../cm.h"
#include "base/fault.h"
#include "base/limits.h"
#include "ingest/filter_set.h"
#include "ingest/ingest.h"
#include "tree.h"

struct lists {
    const char *excluded_dirs, *excluded_files, *included_dirs, *included_files;
};

static int add_lists(struct filter_set *s, const struct lists *l, struct err *err)
{
    int r = filter_set_add_list(s, FILTER_EXCLUDED_DIR, span_str(l->excluded_dirs), err);
    if (r == 0)
        r = filter_set_add_list(s, FILTER_EXCLUDED_FILE, span_str(l->excluded_files), err);
    if (r == 0)
        r = filter_set_add_list(s, FILTER_INCLUDED_DIR, span_str(l->included_dirs), err);
    if (r == 0)
        r = filter_set_add_list(s, FILTER_INCLUDED_FILE, span_str(l->included_files), err);
    return r;
}

static void text_of(const struct lists *l, struct buf *out)
{
    struct filter_set s = {0};
    struct err err = {0};
    assert_int_equal(add_lists(&s, l, &err), 0);
    assert_int_equal(filter_set_text(&s, true, out, &err), 0);
    filter_set_done(&s);
}

static void lists_become_one_canonical_text(void **state)
{
    (void)state;
    static const struct {
        struct lists lists;
        const char *text;
    } rows[] = {
        {{NULL, NULL, NULL, NULL}, ""},
        {{"", "\n \n", ",", ""}, ""},
        {{"docs\nbuild", NULL, NULL, NULL}, "-build/\n-docs/\n"},
        {{"build, docs", NULL, NULL, NULL}, "-build/\n-docs/\n"},
        {{" ./docs/ \r\nbuild/\ndocs", NULL, NULL, NULL}, "-build/\n-docs/\n"},
        {{"%64ocs%2F\n%20build%0A", NULL, NULL, NULL}, "-build/\n-docs/\n"},
        {{"a,b\nc", NULL, NULL, NULL}, "-a,b/\n-c/\n"}, /* a line end: commas are names */
        {{"src/build", NULL, NULL, NULL}, "-/src/build/\n"},
        {{"./src/build/", NULL, NULL, NULL}, "-/src/build/\n"},
        {{"/src/build", NULL, NULL, NULL}, "-/src/build/\n"},
        {{"./.venv/", NULL, NULL, NULL}, "-.venv/\n"},
        {{".\n./\n/", NULL, NULL, NULL}, ""},
        {{NULL, "*.min.js\na%2Bb.c\n100%", NULL, NULL}, "-*.min.js\n-100%\n-a+b.c\n"},
        {{NULL, "!x\n#y", NULL, NULL}, "-\\!x\n-\\#y\n"},
        {{NULL, "src/*.js", NULL, NULL}, "-/src/*.js\n"},
        {{NULL, NULL, NULL, ".py\n*.c\nsrc/a.h"}, "+*.c\n+*.py\n+/src/a.h\n"},
        {{"docs", "a.c", "src", NULL}, "+src/\n"}, /* inclusion switches exclusion off */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT(4096);
        text_of(&rows[i].lists, &b);
        assert_string_equal(buf_str(&b), rows[i].text);
        buf_done(&b);
    }
}

static void patterns_become_the_same_text(void **state)
{
    (void)state;
    struct filter_set s = {0};
    struct err err = {0};
    struct buf b = BUF_INIT(4096);
    char one[9], two[9];
    assert_int_equal(filter_set_add_pattern(&s, false, SPAN_LIT("docs/"), &err), 0);
    assert_int_equal(filter_set_add_pattern(&s, true, SPAN_LIT(" ./src/build "), &err), 0);
    assert_int_equal(filter_set_add_pattern(&s, false, SPAN_LIT("docs/"), &err), 0);
    assert_int_equal(filter_set_text(&s, false, &b, &err), 0);
    assert_string_equal(buf_str(&b), "+/src/build\n-docs/\n");
    filter_text_hash(buf_span(&b), one);
    filter_text_hash(SPAN_LIT("-docs/\n"), two);
    assert_string_not_equal(one, two);
    assert_int_equal(strlen(one), 8);
    filter_set_done(&s);
    buf_done(&b);
}

static void filters_are_bounded_and_checked(void **state)
{
    (void)state;
    struct filter_set s = {0};
    struct err err = {0};
    struct buf b = BUF_INIT(1 << 20);
    assert_int_equal(filter_set_add_list(&s, FILTER_EXCLUDED_DIR, SPAN_LIT("a%00b"), &err),
                     -ERR_INVALID);
    assert_int_equal(filter_set_add_pattern(&s, false, SPAN_LIT("a\nb"), &err), -ERR_INVALID);
    assert_int_equal(filter_set_add_pattern(&s, false, SPAN_LIT(" ./ "), &err), -ERR_INVALID);
    for (int i = 0; i < LIMIT_IGNORE_PATTERN_BYTES; i++)
        buf_putc(&b, 'a');
    assert_int_equal(filter_set_add_list(&s, FILTER_EXCLUDED_DIR, buf_span(&b), &err), -ERR_LIMIT);
    buf_clear(&b);
    for (int i = 0; i <= LIMIT_FILTERS_COUNT; i++)
        buf_puts(&b, "a\n");
    assert_int_equal(filter_set_add_list(&s, FILTER_EXCLUDED_DIR, buf_span(&b), &err), -ERR_LIMIT);
    filter_set_done(&s);
    buf_done(&b);
}

static void expect_files(const struct tree *t, const struct lists *l, const char *expected)
{
    struct buf text = BUF_INIT(4096), got = BUF_INIT(4096);
    struct filter_patterns p = {0};
    struct err err = {0};
    struct ingest *in;
    struct ingest_file f;
    text_of(l, &text);
    assert_int_equal(filter_patterns_read(buf_span(&text), &p), 0);
    struct ingest_options o = {.root = t->root,
                               .excludes = (const char *const *)p.excludes,
                               .includes = (const char *const *)p.includes};
    assert_int_equal(ingest_open(&o, &in, &err), 0);
    while (ingest_next(in, &f, &err) > 0)
        buf_printf(&got, "%s" SPAN_FMT, got.len ? " " : "", SPAN_ARG(f.path));
    assert_string_equal(buf_str(&got), expected);
    ingest_free(in);
    filter_patterns_done(&p);
    buf_done(&text);
    buf_done(&got);
}

static void the_walk_reads_what_the_filters_leave(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    static const char *const paths[] = {"a.py",          "a.min.js",      "build/b.py",
                                        "src/a.py",      "src/a.js",      "src/build/c.py",
                                        "src/x_test.go", "docs/guide.md", "node_modules/m/m.js"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        tree_put(&t, paths[i], "x = 1\n");
    expect_files(&t, &(struct lists){0},
                 "a.py build/b.py docs/guide.md src/a.js src/a.py src/build/c.py src/x_test.go");
    expect_files(&t, &(struct lists){.excluded_dirs = "build"},
                 "a.py docs/guide.md src/a.js src/a.py src/x_test.go");
    expect_files(&t, &(struct lists){.excluded_dirs = "src/build,docs"},
                 "a.py build/b.py src/a.js src/a.py src/x_test.go");
    expect_files(&t, &(struct lists){.excluded_files = "a.py\n*.go"},
                 "build/b.py docs/guide.md src/a.js src/build/c.py");
    expect_files(&t, &(struct lists){.excluded_files = "src/*.py"},
                 "a.py build/b.py docs/guide.md src/a.js src/build/c.py src/x_test.go");
    expect_files(&t, &(struct lists){.included_dirs = "src/build\ndocs"},
                 "docs/guide.md src/build/c.py");
    expect_files(&t, &(struct lists){.included_files = ".js,_test.go"}, "src/a.js src/x_test.go");
    expect_files(&t, &(struct lists){.included_dirs = "docs", .included_files = "src/a.py"},
                 "docs/guide.md src/a.py");
    expect_files(&t, &(struct lists){.included_dirs = "node_modules"}, "node_modules/m/m.js");
    tree_done(&t);
}

static void our_ignore_file_wins_over_git_and_takes_back_in(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    tree_put(&t, ".gitignore", "gen/\n*.sql\n");
    tree_put(&t, ".headwaterignore", "!gen/\n!keep.sql\nsecret.py\n");
    tree_put(&t, "gen/a.py", "x = 1\n");
    tree_put(&t, "keep.sql", "select 1;\n");
    tree_put(&t, "other.sql", "select 1;\n");
    tree_put(&t, "secret.py", "x = 1\n");
    expect_files(&t, &(struct lists){.excluded_files = ".gitignore,.headwaterignore"},
                 "gen/a.py keep.sql");
    tree_done(&t);
}

static void filters_survive_every_failed_allocation(void **state)
{
    (void)state;
    const struct lists l = {.included_dirs = "a\nb/c", .included_files = ".py"};
    for (uint64_t nth = 1; nth < 200; nth++) {
        struct filter_set s = {0};
        struct filter_patterns p = {0};
        struct buf b = BUF_INIT(4096);
        fault_arm(FAULT_ALLOC, nth, 0);
        int r = add_lists(&s, &l, NULL);
        if (r == 0)
            r = filter_set_text(&s, true, &b, NULL);
        if (r == 0)
            r = filter_patterns_read(buf_span(&b), &p);
        bool hit = fault_seen(FAULT_ALLOC) >= nth;
        fault_disarm();
        assert_int_equal(r < 0, hit);
        filter_set_done(&s);
        filter_patterns_done(&p);
        buf_done(&b);
        if (!hit)
            return;
    }
    fail_msg("never passed without a fault");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_become_one_canonical_text),
        cmocka_unit_test(patterns_become_the_same_text),
        cmocka_unit_test(filters_are_bounded_and_checked),
        cmocka_unit_test(the_walk_reads_what_the_filters_leave),
        cmocka_unit_test(our_ignore_file_wins_over_git_and_takes_back_in),
        cmocka_unit_test(filters_survive_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
