/* Promises of engine/prompt: the protocol's shape, the budget, the languages. */
#include "../cm.h"
#include "base/fault.h"
#include "engine/prompt.h"
#include "text/tokens.h"

#include <stdio.h>

/* A span in a static table: SPAN_LIT is no constant expression. */
#define T(s)                \
    {                       \
        "" s, sizeof(s) - 1 \
    }

static const struct chat_turn turns[] = {
    {T("user"), T("q1")},
    {T("assistant"), T("a1")},
    {T("user"), T("q2")},
    {T("assistant"), T("a2")},
};
static const struct chat_passage passages[] = {
    {.path = T("a.c"), .symbol = T("f"), .text = T("int f;\n"), .start_line = 3, .end_line = 4},
    {.path = T("b.c"), .text = T("int b;"), .start_line = 7, .end_line = 7},
    {.path = T("a.c"), .text = T("int g;"), .start_line = 9, .end_line = 10},
};

static struct prompt_input input(void)
{
    return (struct prompt_input){.question = SPAN_LIT("Why?"),
                                 .turns = turns,
                                 .turn_count = 4,
                                 .passages = passages,
                                 .passage_count = 3,
                                 .file_path = SPAN_LIT("c.c"),
                                 .file_text = SPAN_LIT("int c;"),
                                 .repo_url = SPAN_LIT("https://host/o/r"),
                                 .repo_type = "github",
                                 .language = "ja"};
}

static void prompt_has_the_protocols_shape(void **state)
{
    (void)state;
    struct prompt_input in = input();
    struct prompt p;
    assert_int_equal(prompt_build(&in, &p, NULL), 0);
    struct buf want = BUF_INIT(1 << 16);
    buf_puts(&want, "/no_think ");
    prompt_put_system(&want, &in);
    buf_puts(
        &want,
        "\n\n<conversation_history>\n<turn>\n<user>q1</user>\n<assistant>a1</assistant>\n</turn>\n"
        "<turn>\n<user>q2</user>\n<assistant>a2</assistant>\n</turn>\n</conversation_history>\n\n"
        "<currentFileContent path=\"c.c\">\nint c;\n</currentFileContent>\n\n"
        "<START_OF_CONTEXT>\n\n\n----------## File Path: a.c\n\nLines 3-4 (f):\nint f;\n\n\nLines "
        "9-10:\nint g;\n\n"
        "## File Path: b.c\n\nLine 7:\nint b;\n<END_OF_CONTEXT>\n\n"
        "<query>\nWhy?\n</query>\n\nAssistant: ");
    assert_string_equal(buf_str(&p.text), buf_str(&want));
    assert_int_equal(p.passage_count, 3);
    assert_int_equal(p.passages[1], 2); /* in the order of the text */
    assert_int_equal(p.turn_count, 4);
    assert_int_equal(p.tokens, tokens_estimate(buf_span(&p.text)));
    buf_done(&want);
    prompt_done(&p);
}

static void without_context_there_is_a_note(void **state)
{
    (void)state;
    struct prompt_input in = input();
    struct prompt p;
    in.turn_count = 0;
    in.file_path = SPAN_NULL;
    in.note = PROMPT_NOTE_TOO_LARGE;
    assert_int_equal(prompt_build(&in, &p, NULL), 0);
    assert_non_null(strstr(buf_str(&p.text), "\n\n<note>The context was left out"));
    assert_null(strstr(buf_str(&p.text), "<START_OF_CONTEXT>"));
    assert_null(strstr(buf_str(&p.text), "<conversation_history>"));
    assert_null(strstr(buf_str(&p.text), "<currentFileContent"));
    assert_int_equal(p.passage_count, 0);
    prompt_done(&p);
    in.note = PROMPT_NOTE_NONE;
    in.passage_count = 0;
    assert_int_equal(prompt_build(&in, &p, NULL), 0);
    assert_non_null(strstr(buf_str(&p.text), "<note>Answer without retrieval"));
    prompt_done(&p);
}

static void rounds_ask_for_their_headings(void **state)
{
    (void)state;
    const char *want[] = {NULL,
                          "`## Research Plan`",
                          "`## Research Update 2`",
                          "`## Research Update 3`",
                          "`## Research Update 4`",
                          "`## Final Conclusion`",
                          "`## Final Conclusion`"};
    for (unsigned round = 0; round < ARRAY_LEN(want); round++) {
        struct prompt_input in = input();
        struct buf b = BUF_INIT(1 << 16);
        in.research_round = round;
        prompt_put_system(&b, &in);
        assert_non_null(strstr(buf_str(&b), "Japanese"));
        for (unsigned k = 1; k < ARRAY_LEN(want); k++) {
            bool expected = want[round] && strcmp(want[k], want[round]) == 0;
            assert_int_equal(strstr(buf_str(&b), want[k]) != NULL, expected);
        }
        buf_done(&b);
    }
}

static void names_follow_the_protocol(void **state)
{
    (void)state;
    assert_string_equal(prompt_language_name(NULL), "English");
    assert_string_equal(prompt_language_name(""), "English");
    assert_string_equal(prompt_language_name("xx"), "English");
    assert_non_null(strstr(prompt_language_name("pt-br"), "Portuguese"));
    assert_true(span_is(prompt_repo_name(SPAN_LIT("https://h/o/r")), "r"));
    assert_true(span_is(prompt_repo_name(SPAN_LIT("https://h/o/r/")), ""));
    assert_true(span_is(prompt_repo_name(SPAN_LIT("plain")), "plain"));
}

static void budget_is_kept_and_takes_the_best_first(void **state)
{
    (void)state;
    static char text[40][400];
    struct chat_passage many[40];
    for (unsigned i = 0; i < 40; i++) {
        int n = 0;
        for (int k = 0; k < 20; k++)
            n += snprintf(text[i] + n, sizeof text[i] - (size_t)n, "int value_%u = %d;\n", i, k);
        many[i] = (struct chat_passage){.path = SPAN_LIT("x.c"),
                                        .text = span_of(text[i], (size_t)n),
                                        .start_line = 1,
                                        .end_line = 20};
    }
    for (size_t budget = 1; budget < 6000; budget += 250) {
        struct prompt_input in = input();
        struct prompt p;
        in.passages = many;
        in.passage_count = 40;
        in.token_budget = budget;
        assert_int_equal(prompt_build(&in, &p, NULL), 0);
        assert_non_null(strstr(buf_str(&p.text), "<query>\nWhy?\n</query>\n\nAssistant: "));
        if (budget > 1000) {
            assert_true(p.tokens <= budget);
            assert_true(p.passage_count > 0 && p.passage_count < 40);
        }
        for (size_t i = 0; i < p.passage_count; i++)
            assert_int_equal(p.passages[i], i);
        prompt_done(&p);
    }
}

static void every_failed_allocation_is_reported_by_prompt(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        struct prompt_input in = input();
        struct prompt p;
        struct err err = {0};
        fault_arm(FAULT_ALLOC, nth, 0);
        int code = prompt_build(&in, &p, &err);
        bool is_past = fault_seen(FAULT_ALLOC) < nth;
        fault_disarm();
        if (is_past) {
            assert_int_equal(code, 0);
            prompt_done(&p);
            assert_true(nth > 3);
            break;
        }
        assert_int_equal(code, -ERR_NO_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompt_has_the_protocols_shape),
        cmocka_unit_test(without_context_there_is_a_note),
        cmocka_unit_test(rounds_ask_for_their_headings),
        cmocka_unit_test(names_follow_the_protocol),
        cmocka_unit_test(budget_is_kept_and_takes_the_best_first),
        cmocka_unit_test(every_failed_allocation_is_reported_by_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
