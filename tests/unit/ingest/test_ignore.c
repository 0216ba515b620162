/* Promises of the ignore rules: gitignore(5), row by row, and agreement with git itself. */
#include "../cm.h"
#include "base/fault.h"
#include "base/proc.h"
#include "ingest/ignore.h"
#include "tree.h"

struct row {
    const char *patterns; /* an ignore file */
    const char *path;     /* a '/' at the end: a directory */
    char verdict;         /* x excluded, i included again, - nothing said */
};

static const struct row rows[] = {
    {"foo", "foo", 'x'},
    {"foo", "a/b/foo", 'x'},
    {"foo", "foo/", 'x'},
    {"foo", "foobar", '-'},
    {"foo", "Foo", '-'},
    {"/foo", "foo", 'x'},
    {"/foo", "a/foo", '-'},
    {"foo/", "foo", '-'},
    {"foo/", "foo/", 'x'},
    {"foo/", "a/foo/", 'x'},
    {"a/foo", "a/foo", 'x'},
    {"a/foo", "b/a/foo", '-'},
    {"/a/foo", "a/foo", 'x'},
    {"a/foo/", "a/foo", '-'},
    {"a/foo/", "a/foo/", 'x'},
    {"*.o", "x.o", 'x'},
    {"*.o", "a/b/x.o", 'x'},
    {"*.o", ".o", 'x'},
    {"*.o", "x.obj", '-'},
    {"/*.o", "a/x.o", '-'},
    {"a/*.o", "a/x.o", 'x'},
    {"a/*.o", "a/b/x.o", '-'},
    {"a*", "abc", 'x'},
    {"a*c", "abbc", 'x'},
    {"a*c", "abcd", '-'},
    {"a*b*c", "axxbyybzzc", 'x'},
    {"?", "a", 'x'},
    {"?", "ab", '-'},
    {"a?c", "a/c", '-'},
    {"**/foo", "foo", 'x'},
    {"**/foo", "a/b/foo", 'x'},
    {"**/a/foo", "x/y/a/foo", 'x'},
    {"**/a/foo", "x/b/foo", '-'},
    {"foo/**", "foo/", '-'},
    {"foo/**", "foo/a", 'x'},
    {"foo/**", "foo/a/b", 'x'},
    {"a/**/b", "a/b", 'x'},
    {"a/**/b", "a/x/b", 'x'},
    {"a/**/b", "a/x/y/b", 'x'},
    {"a/**/b", "a/xb", '-'},
    {"a**b", "axxb", 'x'},
    {"a**/b", "axx/b", 'x'},
    {"a**/b", "a/x/b", '-'},
    {"**", "a/b", 'x'},
    {"a/**/b/**/c", "a/1/b/2/3/c", 'x'},
    {"a/**/b/**/c", "a/1/2/c", '-'},
    {"[ab]c", "ac", 'x'},
    {"[ab]c", "cc", '-'},
    {"[!ab]c", "cc", 'x'},
    {"[^ab]c", "ac", '-'},
    {"[a-c]x", "bx", 'x'},
    {"[a-c]x", "dx", '-'},
    {"[]a]x", "]x", 'x'},
    {"[!]a]x", "]x", '-'},
    {"[a-]x", "-x", 'x'},
    {"[\\]]x", "]x", 'x'},
    {"[[:digit:]]x", "7x", 'x'},
    {"[[:digit:]]x", "ax", '-'},
    {"[[:alpha:][:digit:]_]x", "_x", 'x'},
    {"[abc", "[abc", '-'},
    {"a[/]b", "a/b", '-'},
    {"\\#foo", "#foo", 'x'},
    {"#foo", "#foo", '-'},
    {"\\!foo", "!foo", 'x'},
    {"\\*", "*", 'x'},
    {"\\*", "a", '-'},
    {"foo\\", "foo\\", '-'},
    {"foo ", "foo", 'x'},
    {"foo\\ ", "foo ", 'x'},
    {"foo\\ ", "foo", '-'},
    {"foo  \t", "foo", '-'},
    {"foo bar", "foo bar", 'x'},
    {"foo\r\nbar", "foo", 'x'},
    {"\xef\xbb\xbf"
     "foo",
     "foo", 'x'},
    {"*\n!foo", "foo", 'i'},
    {"!foo\n*", "foo", 'x'},
    {"*.log\n!keep.log", "a/keep.log", 'i'},
    {"/*\n!/foo\n/foo/*\n!/foo/bar", "foo/bar", 'i'},
    {"", "foo", '-'},
    {"/", "foo", '-'},
    {"   ", "foo", '-'},
    {"//foo", "foo", '-'},
    {"foo//", "foo/", '-'},
    {"a//b", "a/b", '-'},
    {"é*", "ete", '-'},
    {"é*", "échec", 'x'},
};

static char verdict_of(const struct row *row)
{
    struct ignore_list l = {0};
    struct span path = span_str(row->path);
    bool is_dir = path.len && path.ptr[path.len - 1] == '/';
    assert_int_equal(ignore_add_text(&l, span_str(row->patterns)), 0);
    enum ignore_verdict v = ignore_match(&l, span_first(path, path.len - is_dir), is_dir);
    ignore_done(&l);
    return v == IGNORE_EXCLUDED ? 'x' : v == IGNORE_INCLUDED ? 'i' : '-';
}

static void ignore_follows_the_documentation_row_by_row(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char v = verdict_of(&rows[i]);
        if (v != rows[i].verdict) {
            print_error("'%s' on '%s': %c, not %c\n", rows[i].patterns, rows[i].path, v,
                        rows[i].verdict);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static bool run_git(const char *const *argv, struct span input, struct buf *out, int *status)
{
    static const char *const env[] = {"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
                                      NULL};
    struct proc_options o = {.argv = argv, .env = env, .input = input, .timeout_ms = 20000};
    return proc_run(&o, out, NULL, status, NULL) == 0;
}

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

static void put(struct buf *b, const char *s)
{
    buf_puts(b, s);
    assert_false(buf_failed(b));
}

/* Patterns from a small alphabet, so that they often match. */
static void random_pattern(unsigned *seed, struct buf *ret)
{
    static const char *const parts[] = {"a",     "b",  "ab",   "*",          "**",  "?",
                                        "/",     "/",  "[ab]", "[!a]",       "\\a", "a*",
                                        "[a-b]", ".c", "*.c",  "[[:alpha:]]"};
    if (next_random(seed) % 6 == 0)
        put(ret, "!");
    for (unsigned n = 1 + next_random(seed) % 5; n > 0; n--)
        put(ret, parts[next_random(seed) % ARRAY_LEN(parts)]);
}

static void random_path(unsigned *seed, struct buf *ret)
{
    static const char *const names[] = {"a", "b", "ab", "a.c", "b.c", "ba"};
    for (unsigned n = 1 + next_random(seed) % 4; n > 0; n--) {
        put(ret, names[next_random(seed) % ARRAY_LEN(names)]);
        if (n > 1)
            put(ret, "/");
    }
}

/* Our verdict the way the walker comes to it: parents first. */
static bool walked_into_exclusion(const struct ignore_list *l, struct span path)
{
    for (size_t i = 0; i <= path.len; i++) {
        bool end = i == path.len;
        if ((end || path.ptr[i] == '/') &&
            ignore_match(l, span_first(path, i), !end) == IGNORE_EXCLUDED)
            return true;
    }
    return false;
}

static void compare_with_git(const struct tree *t, unsigned *seed, int *wrong)
{
    const char *const argv[] = {"git",        "-C",      t->root, "check-ignore",
                                "--no-index", "--stdin", NULL};
    struct buf patterns = BUF_INIT(65536), paths = BUF_INIT(65536), out = BUF_INIT(1 << 20);
    for (int i = 0; i < 3; i++) {
        random_pattern(seed, &patterns);
        put(&patterns, "\n");
    }
    for (int i = 0; i < 60; i++) {
        random_path(seed, &paths);
        put(&paths, "\n");
    }
    tree_put(t, ".gitignore", buf_str(&patterns));
    int status;
    assert_true(run_git(argv, buf_span(&paths), &out, &status));
    struct ignore_list l = {0};
    assert_int_equal(ignore_add_text(&l, buf_span(&patterns)), 0);
    struct span rest = buf_span(&paths), path;
    while (span_next(&rest, '\n', &path)) {
        struct span git = buf_span(&out), line;
        bool theirs = false, ours = path.len && walked_into_exclusion(&l, path);
        while (path.len && span_next(&git, '\n', &line))
            theirs |= span_eq(line, path);
        if (ours != theirs) {
            print_error("patterns %s path " SPAN_FMT ": git %d, we %d\n", buf_str(&patterns),
                        SPAN_ARG(path), theirs, ours);
            ++*wrong;
        }
    }
    ignore_done(&l);
    buf_done(&out);
    buf_done(&paths);
    buf_done(&patterns);
}

static void ignore_agrees_with_git_on_random_patterns(void **state)
{
    (void)state;
    struct tree t;
    struct buf out = BUF_INIT(65536);
    int status = 1, wrong = 0;
    unsigned seed = 20240711;
    tree_init(&t);
    const char *const argv[] = {"git", "init", "-q", t.root, NULL};
    if (!run_git(argv, SPAN_NULL, &out, &status) || status) {
        print_message("SKIPPED: no git here to compare with\n");
    } else {
        for (int i = 0; i < 120; i++)
            compare_with_git(&t, &seed, &wrong);
    }
    buf_done(&out);
    tree_done(&t);
    assert_int_equal(wrong, 0);
}

static void ignore_is_not_slow_on_hostile_patterns(void **state)
{
    (void)state;
    char pattern[1024], path[4000];
    for (size_t i = 0; i + 1 < sizeof pattern; i++)
        pattern[i] = i % 2 ? 'a' : '*';
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = 'b';
    struct ignore_list l = {0};
    assert_int_equal(ignore_add_line(&l, span_of(pattern, sizeof pattern - 2)), 0);
    for (int i = 0; i < 10; i++) /* exponential matching would never come back */
        assert_int_equal(ignore_match(&l, span_of(path, sizeof path), false), IGNORE_UNDECIDED);
    ignore_done(&l);
}

static void ignore_survives_every_failed_allocation(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 200; nth++) {
        struct ignore_list l = {0};
        fault_arm(FAULT_ALLOC, nth, 0);
        int r = 0;
        for (int i = 0; i < 40 && r == 0; i++)
            r = ignore_add_line(&l, SPAN_LIT("a*b"));
        bool hit = fault_seen(FAULT_ALLOC) >= nth;
        fault_disarm();
        ignore_done(&l);
        assert_int_equal(r < 0, hit);
        if (!hit)
            return;
    }
    fail_msg("never passed without a fault");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ignore_follows_the_documentation_row_by_row),
        cmocka_unit_test(ignore_agrees_with_git_on_random_patterns),
        cmocka_unit_test(ignore_is_not_slow_on_hostile_patterns),
        cmocka_unit_test(ignore_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
