/* Promises of engine/cite: what is a citation, and that the pieces do not matter. */
#include "../cm.h"
#include "cite_check.h"

#include "base/err.h"
#include "text/lines.h"

static const struct {
    const char *text, *log;
} rows[] = {
    {"See src/a.c#L2-L3.", "src/a.c:2-3 verified\n"},
    {"See `src/a.c#L2` and (src/a.c#L2), again", "src/a.c:2-2 verified\n"},
    {"**src/a.c#L1-12**", "src/a.c:1-12 verified\n"},
    {"[src/a.c:2-3]() and src/a.c:4, src/a.c:5:7",
     "src/a.c:2-3 verified\nsrc/a.c:4-4 verified\nsrc/a.c:5-5 verified\n"},
    {"[src/a.c#L1](https://host/o/r/blob/main/src/a.c#L2)", "src/a.c:1-1 verified\n"},
    {"src/a.c#L13", "src/a.c:13-13 unsupported\n"},
    {"src/a.c#L3-L2 src/a.c#L0", "src/a.c:3-2 unsupported\nsrc/a.c:0-0 unsupported\n"},
    {"src/nothing.c#L3", "src/nothing.c:3-3 unsupported\n"},
    {"nothing.c:3 at 12:30 on localhost:8001, C#L3", ""},
    {"./src/a.c#L1 /src/a.c#L2", "src/a.c:1-1 verified\nsrc/a.c:2-2 verified\n"},
    {"`docs/My Guide.md#L3` in `see docs/My Guide.md#L4`",
     "docs/My Guide.md:3-3 verified\ndocs/My Guide.md:4-4 verified\n"},
    {"(app/[id]/page.tsx#L1-L2)", "app/[id]/page.tsx:1-2 verified\n"},
    {"これは`src/a.c#L1`です。詳細はsrc/a.c#L2-L3、docs/説明.md#L4にある。",
     "src/a.c:1-1 verified\nsrc/a.c:2-3 verified\ndocs/説明.md:4-4 verified\n"},
    {"src/a.c#L1-Lx src/a.c#L2-", "src/a.c:1-1 verified\nsrc/a.c:2-2 verified\n"},
    {"src/a.c#L123456789012", ""},
    {"#L1 :1 #L", ""},
    {"", ""},
};

static void citations_are_recognised_and_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = 1; step < 40; step++) {
            struct scan s;
            assert_int_equal(scan_run_all(&s, span_str(rows[i].text), step, 0), 0);
            assert_string_equal(buf_str(&s.log), rows[i].log);
            assert_string_equal(buf_str(&s.text), rows[i].text);
            scan_done(&s);
        }
    }
}

static void long_words_pass_and_pieces_do_not_matter(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1 << 16);
    for (int i = 0; i < 400; i++)
        buf_puts(&b, i % 7 ? "処理x(" : "src/a.c#L2");
    for (int i = 0; i < 2000; i++)
        buf_putc(&b, 'a');
    buf_puts(&b, " `open src/a.c#L3\nsrc/a.c#L4-L5");
    struct scan whole;
    assert_int_equal(scan_run_all(&whole, buf_span(&b), 1 << 20, 0), 0);
    assert_true(span_eq(buf_span(&whole.text), buf_span(&b)));
    assert_non_null(strstr(buf_str(&whole.log), "src/a.c:4-5 verified"));
    for (unsigned seed = 0; seed < 50; seed++) {
        struct scan s;
        assert_int_equal(scan_run_all(&s, buf_span(&b), 0, seed), 0);
        assert_true(span_eq(buf_span(&s.text), buf_span(&b)));
        assert_true(span_eq(buf_span(&s.log), buf_span(&whole.log)));
        assert_false(s.is_late);
        scan_done(&s);
    }
    scan_done(&whole);
    buf_done(&b);
}

static void plain_text_is_held_back_by_a_word_at_most(void **state)
{
    (void)state;
    struct scan s = {BUF_INIT(1 << 16), BUF_INIT(1 << 16), false};
    const struct cite_sink sink = {&s, scan_lookup, scan_citation, scan_text};
    struct cite_scanner scanner;
    cite_init(&scanner, &sink);
    assert_int_equal(cite_feed(&scanner, SPAN_LIT("The answer is in src/a.c#L1-")), 0);
    assert_string_equal(buf_str(&s.text), "The answer is in ");
    assert_int_equal(s.log.len, 0);
    assert_int_equal(cite_feed(&scanner, SPAN_LIT("L2 here")), 0);
    assert_string_equal(buf_str(&s.text), "The answer is in src/a.c#L1-L2 ");
    assert_string_equal(buf_str(&s.log), "src/a.c:1-2 verified\n");
    assert_int_equal(cite_end(&scanner), 0);
    assert_string_equal(buf_str(&s.text), "The answer is in src/a.c#L1-L2 here");
    scan_done(&s);
}

static int refuse_text(void *ctx, struct span text)
{
    (void)ctx;
    (void)text;
    return -ERR_LIMIT;
}

static void what_the_sink_returns_sticks(void **state)
{
    (void)state;
    struct scan s = {BUF_INIT(1 << 16), BUF_INIT(1 << 16), false};
    const struct cite_sink sink = {&s, scan_lookup, scan_citation, refuse_text};
    struct cite_scanner scanner;
    cite_init(&scanner, &sink);
    assert_int_equal(cite_feed(&scanner, SPAN_LIT("a b")), -ERR_LIMIT);
    assert_int_equal(cite_feed(&scanner, SPAN_LIT("c d")), -ERR_LIMIT);
    assert_int_equal(cite_end(&scanner), -ERR_LIMIT);
    scan_done(&s);
}

static void recheck_tells_verified_moved_and_stale(void **state)
{
    (void)state;
    struct span old = SPAN_LIT("a\nb\nc\nd\n");
    char sha[SHA256_HEX];
    struct span quoted = lines_slice(old, 2, 3);
    sha256_hex(quoted.ptr, quoted.len, sha);
    uint32_t start = 2, end = 3;
    assert_int_equal(cite_recheck(old, sha, &start, &end), CITE_VERIFIED);
    assert_int_equal(cite_recheck(SPAN_LIT("x\ny\na\nb\nc\nd\nb\nc\n"), sha, &start, &end),
                     CITE_MOVED);
    assert_true(start == 4 && end == 5); /* the nearer of the two */
    assert_int_equal(cite_recheck(SPAN_LIT("a\nB\nc\nd\ne\nf\n"), sha, &start, &end), CITE_STALE);
    assert_int_equal(cite_recheck(SPAN_LIT(""), sha, &start, &end), CITE_STALE);
    start = 9;
    end = 10; /* the file has become shorter than the old place */
    assert_int_equal(cite_recheck(old, sha, &start, &end), CITE_MOVED);
    assert_true(start == 2 && end == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(citations_are_recognised_and_checked),
        cmocka_unit_test(long_words_pass_and_pieces_do_not_matter),
        cmocka_unit_test(plain_text_is_held_back_by_a_word_at_most),
        cmocka_unit_test(what_the_sink_returns_sticks),
        cmocka_unit_test(recheck_tells_verified_moved_and_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
