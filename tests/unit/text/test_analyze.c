/* Promises of the analyser: stems, stop words, identifiers, ideographs, limits. */
#include "../cm.h"
#include "text/analyze.h"

#include "base/buf.h"
#include "text/utf8.h"

static const char *const stems[][2] = {
    /* the examples of the paper, step by step, and words where later programs differ */
    {"caresses", "caress"},
    {"ponies", "poni"},
    {"ties", "ti"},
    {"caress", "caress"},
    {"cats", "cat"},
    {"feed", "feed"},
    {"agreed", "agre"},
    {"plastered", "plaster"},
    {"bled", "bled"},
    {"motoring", "motor"},
    {"sing", "sing"},
    {"conflated", "conflat"},
    {"troubled", "troubl"},
    {"sized", "size"},
    {"hopping", "hop"},
    {"tanned", "tan"},
    {"falling", "fall"},
    {"hissing", "hiss"},
    {"fizzed", "fizz"},
    {"failing", "fail"},
    {"filing", "file"},
    {"happy", "happi"},
    {"sky", "sky"},
    {"relational", "relat"},
    {"conditional", "condit"},
    {"rational", "ration"},
    {"valenci", "valenc"},
    {"hesitanci", "hesit"},
    {"digitizer", "digit"},
    {"conformabli", "conform"},
    {"radicalli", "radic"},
    {"differentli", "differ"},
    {"vileli", "vile"},
    {"analogousli", "analog"},
    {"vietnamization", "vietnam"},
    {"predication", "predic"},
    {"operator", "oper"},
    {"feudalism", "feudal"},
    {"decisiveness", "decis"},
    {"hopefulness", "hope"},
    {"callousness", "callous"},
    {"formaliti", "formal"},
    {"sensitiviti", "sensit"},
    {"sensibiliti", "sensibl"},
    {"triplicate", "triplic"},
    {"formative", "form"},
    {"formalize", "formal"},
    {"electriciti", "electr"},
    {"electrical", "electr"},
    {"hopeful", "hope"},
    {"goodness", "good"},
    {"revival", "reviv"},
    {"allowance", "allow"},
    {"inference", "infer"},
    {"airliner", "airlin"},
    {"gyroscopic", "gyroscop"},
    {"adjustable", "adjust"},
    {"defensible", "defens"},
    {"irritant", "irrit"},
    {"replacement", "replac"},
    {"adjustment", "adjust"},
    {"dependent", "depend"},
    {"adoption", "adopt"},
    {"homologou", "homolog"},
    {"communism", "commun"},
    {"activate", "activ"},
    {"angulariti", "angular"},
    {"homologous", "homolog"},
    {"effective", "effect"},
    {"bowdlerize", "bowdler"},
    {"probate", "probat"},
    {"rate", "rate"},
    {"cease", "ceas"},
    {"controll", "control"},
    {"roll", "roll"},
    {"generalizations", "gener"},
    {"oscillators", "oscil"},
    {"possibly", "possibli"},
    {"apology", "apologi"},
    {"is", "is"},
    {"yes", "ye"},
    {"syzygy", "syzygi"},
    {"toys", "toi"},
    {"by", "by"},
};

static void stem_porter_follows_the_paper(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(stems); i++) {
        char word[32];
        size_t n = strlen(stems[i][0]);
        memcpy(word, stems[i][0], n);
        n = stem_porter(word, n);
        word[n] = 0;
        assert_string_equal(word, stems[i][1]);
    }
}

static void put_term(void *ctx, struct span term, uint32_t position)
{
    struct buf *b = ctx;
    buf_printf(b, "%s" SPAN_FMT "@%u", b->len ? " " : "", SPAN_ARG(term), position);
}

static void check_terms(enum analyzer kind, const char *text, const char *expected)
{
    struct buf b = BUF_INIT(1 << 16);
    analyze(kind, span_str(text), put_term, &b);
    assert_string_equal(buf_str(&b), expected);
    buf_done(&b);
}

static void prose_drops_stop_words_and_stems(void **state)
{
    (void)state;
    check_terms(ANALYZER_PROSE, "The cats are running, into THESE houses!", "cat@1 run@3 hous@6");
    check_terms(ANALYZER_PROSE, "snake_case camelCase utf8", "snake@0 case@1 camelcas@2 utf8@3");
    check_terms(ANALYZER_PROSE, "", "");
}

static void code_splits_identifiers_and_keeps_them_whole(void **state)
{
    (void)state;
    check_terms(ANALYZER_CODE, "readFile", "read@0 file@0 readfil@0");
    check_terms(ANALYZER_CODE, "uv__read_start(HTTPServer2)",
                "uv@0 read@0 start@0 uvreadstart@0 http@1 server@1 2@1 httpserver2@1");
    check_terms(ANALYZER_CODE, "_private __ x", "privat@0 x@2");
    check_terms(ANALYZER_CODE, "is_the_end", "end@0 istheend@0");
}

static void word_and_identifier_of_the_same_letters_meet(void **state)
{
    (void)state;
    check_terms(ANALYZER_CODE, "filenames", "filenam@0");
    check_terms(ANALYZER_CODE, "fileNames", "file@0 name@0 filenam@0");
}

static void other_scripts_are_folded_and_cut(void **state)
{
    (void)state;
    check_terms(ANALYZER_PROSE, "Élan ÜBER ΣΟΦΟΣ Ёлка", "elan@0 uber@1 σοφοσ@2 елка@3");
    check_terms(ANALYZER_PROSE, "e\xcc\x81lan", "elan@0");
    check_terms(ANALYZER_PROSE, "全文检索 ok", "全@0 全文@0 文@1 文检@1 检@2 检索@2 索@3 ok@4");
    check_terms(ANALYZER_PROSE, "\xff\xfe broken \xc3", "broken@0");
}

static void check_length(void *ctx, struct span term, uint32_t position)
{
    unsigned *count = ctx;
    (void)position;
    assert_in_range(term.len, 1, ANALYZER_TERM_MAX);
    assert_true(utf8_is_valid(term));
    ++*count;
}

static void long_words_are_cut_at_a_character(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_puts(&b, "xé");
    unsigned count = 0;
    analyze(ANALYZER_PROSE, buf_span(&b), check_length, &count);
    assert_int_equal(count, 1);
    buf_done(&b);
}

static void code_is_told_from_prose(void **state)
{
    (void)state;
    assert_true(
        analyze_looks_like_code(SPAN_LIT("static int f(int a)\n{\n    return a[0] + b;\n}\n")));
    assert_true(analyze_looks_like_code(
        SPAN_LIT("def f(self, x=None):\n    for i in range(10):\n        self.x[i] = x\n")));
    assert_false(analyze_looks_like_code(
        SPAN_LIT("The results (see table 2) were obtained at low speed; they agree "
                 "with what others found in the same range of numbers.")));
    assert_false(analyze_looks_like_code(SPAN_NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stem_porter_follows_the_paper),
        cmocka_unit_test(prose_drops_stop_words_and_stems),
        cmocka_unit_test(code_splits_identifiers_and_keeps_them_whole),
        cmocka_unit_test(word_and_identifier_of_the_same_letters_meet),
        cmocka_unit_test(other_scripts_are_folded_and_cut),
        cmocka_unit_test(long_words_are_cut_at_a_character),
        cmocka_unit_test(code_is_told_from_prose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
