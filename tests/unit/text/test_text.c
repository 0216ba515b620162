/* Promises of UTF-8, lines, sentences and token counts. */
#include "../cm.h"
#include "base/buf.h"
#include "text/lines.h"
#include "text/sentence.h"
#include "text/tokens.h"
#include "text/utf8.h"

static void utf8_refuses_what_rfc_3629_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "\xc0\xaf",
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xed\xa0\x80",
        "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xc3",
        "\xe2\x82",
        "\xf0\x9f\x98",
        "\xc3\x28",
        "long enough ascii \xe2\x28\xa1",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(utf8_is_valid(span_str(bad[i])));
    assert_true(utf8_is_valid(SPAN_LIT("plain, é, €, 😀 and 漢字")));
    assert_true(utf8_is_valid(SPAN_NULL));
}

static void utf8_encode_and_decode_agree(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp <= 0x10ffff; cp += cp < 0x3000 ? 1 : 61) {
        if (cp >= 0xd800 && cp < 0xe000)
            continue;
        char bytes[4];
        uint32_t back = 0;
        size_t n = utf8_encode(cp, bytes);
        assert_int_equal(utf8_decode(span_of(bytes, n), &back), n);
        assert_int_equal(back, cp);
        assert_int_equal(utf8_decode(span_of(bytes, n - 1), NULL), 0);
    }
}

static void utf8_cut_keeps_characters_whole(void **state)
{
    (void)state;
    struct span s = SPAN_LIT("aé€😀");
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_int_equal(utf8_cut(s, i), expected[i]);
}

static void utf8_folds_and_classifies(void **state)
{
    (void)state;
    static const struct {
        uint32_t cp, folded;
        enum utf8_class class;
    } rows[] = {
        {'A', 'a', UTF8_LETTER},          {'z', 'z', UTF8_LETTER},
        {'7', '7', UTF8_DIGIT},           {'\n', '\n', UTF8_SPACE},
        {'_', '_', UTF8_PUNCT},           {0xc9, 'e', UTF8_LETTER},
        {0x141, 'l', UTF8_LETTER},        {0x3a3, 0x3c3, UTF8_LETTER},
        {0x3c2, 0x3c3, UTF8_LETTER},      {0x416, 0x436, UTF8_LETTER},
        {0xa0, 0xa0, UTF8_SPACE},         {0x3000, 0x3000, UTF8_SPACE},
        {0x4e2d, 0x4e2d, UTF8_IDEOGRAPH}, {0xac00, 0xac00, UTF8_IDEOGRAPH},
        {0x3042, 0x3042, UTF8_IDEOGRAPH}, {0x3002, 0x3002, UTF8_PUNCT},
        {0x1f600, 0x1f600, UTF8_PUNCT},   {0x2014, 0x2014, UTF8_PUNCT},
        {0x665, 0x665, UTF8_DIGIT},       {0x10ffff, 0x10ffff, UTF8_PUNCT},
        {0x1ea4, 'a', UTF8_LETTER},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(utf8_fold(rows[i].cp), rows[i].folded);
        assert_int_equal(utf8_classify(rows[i].cp), rows[i].class);
    }
}

static void lines_count_from_one(void **state)
{
    (void)state;
    struct span t = SPAN_LIT("a\nbb\n\nlast");
    assert_int_equal(lines_count(t), 4);
    assert_int_equal(lines_count(SPAN_LIT("a\n")), 1);
    assert_int_equal(lines_count(SPAN_NULL), 0);
    assert_int_equal(lines_at(t, 0), 1);
    assert_int_equal(lines_at(t, 1), 1);
    assert_int_equal(lines_at(t, 2), 2);
    assert_int_equal(lines_at(t, 999), 4);
    assert_true(span_is(lines_slice(t, 1, 1), "a\n"));
    assert_true(span_is(lines_slice(t, 2, 3), "bb\n\n"));
    assert_true(span_is(lines_slice(t, 4, 4), "last"));
    assert_true(span_is(lines_slice(t, 3, UINT32_MAX), "\nlast"));
    assert_true(span_is(lines_slice(t, 1, UINT32_MAX), "a\nbb\n\nlast"));
    assert_int_equal(lines_slice(t, 0, 2).len + lines_slice(t, 5, 9).len + lines_slice(t, 3, 2).len,
                     0);
}

static const struct {
    const char *text, *sentences;
} sentence_rows[] = {
    {"One. Two! Three?", "One.|Two!|Three?"},
    {"Dr. Who met J. Smith. They left.", "Dr. Who met J. Smith.|They left."},
    {"See e.g. Figure 3.14 in file.c for more. Done",
     "See e.g. Figure 3.14 in file.c for more.|Done"},
    {"Call `a. B` now. Next.", "Call `a. B` now.|Next."},
    {"Visit https://x.example/a.b?c=d now. Ok.", "Visit https://x.example/a.b?c=d now.|Ok."},
    {"Para one\nstill one\n\nPara two", "Para one\nstill one|Para two"},
    {"- item one\n- item two\n1. third. More", "- item one|- item two|1. third.|More"},
    {"\"Quoted.\" Then. (In brackets.) End", "\"Quoted.\"|Then.|(In brackets.)|End"},
    {"Wait... what?! Yes.", "Wait...|what?!|Yes."},
    {"apples, pears, etc. Then more. A. B. Smith came.",
     "apples, pears, etc.|Then more.|A. B. Smith came."},
    {"你好。世界！好", "你好。|世界！|好"},
    {"  \n \t ", ""},
    {"......x", "......x"},
    {"an unclosed ` tick. Next", "an unclosed ` tick.|Next"},
};

static void sentences_are_cut_where_people_would(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sentence_rows); i++) {
        struct span rest = span_str(sentence_rows[i].text), s;
        struct buf b = BUF_INIT(4096);
        while (sentence_next(&rest, &s)) {
            if (b.len)
                buf_putc(&b, '|');
            buf_put_span(&b, s);
        }
        assert_string_equal(buf_str(&b), sentence_rows[i].sentences);
        buf_done(&b);
    }
}

static void tokens_follow_known_counts(void **state)
{
    (void)state;
    assert_int_equal(tokens_estimate(SPAN_NULL), 0);
    assert_int_equal(tokens_estimate(SPAN_LIT("hello world")), 2);
    assert_int_equal(tokens_estimate(SPAN_LIT("12345")), 2);
    assert_in_range(tokens_estimate(SPAN_LIT("The quick brown fox jumps over the lazy dog.")), 9,
                    11);
    assert_in_range(tokens_estimate(SPAN_LIT("for (int i = 0; i < n; i++)\n    sum += a[i];\n")),
                    18, 27);
}

static void tokens_cut_never_exceeds_and_loses_little(void **state)
{
    (void)state;
    struct span t = SPAN_LIT("def fooBarBaz(x):\n    return 漢字 + \"naïve\" * 123456 # 😀 "
                             "internationalization\n\n\n  end");
    size_t all = tokens_estimate(t), before = 0;
    for (size_t max = 0; max <= all + 2; max++) {
        struct span s = tokens_cut(t, max);
        assert_true(tokens_estimate(s) <= max);
        assert_true(s.len >= before);
        assert_true(utf8_is_valid(s));
        before = s.len;
    }
    assert_int_equal(before, t.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_refuses_what_rfc_3629_refuses),
        cmocka_unit_test(utf8_encode_and_decode_agree),
        cmocka_unit_test(utf8_cut_keeps_characters_whole),
        cmocka_unit_test(utf8_folds_and_classifies),
        cmocka_unit_test(lines_count_from_one),
        cmocka_unit_test(sentences_are_cut_where_people_would),
        cmocka_unit_test(tokens_follow_known_counts),
        cmocka_unit_test(tokens_cut_never_exceeds_and_loses_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
