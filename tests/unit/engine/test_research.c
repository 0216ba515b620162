/* Promises of engine/research: DeepWiki protocol, history and deep research, and what we do better. */
#include "../cm.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/research.h"

/* A span in a static table: SPAN_LIT is no constant expression. */
#define T(s)                \
    {                       \
        "" s, sizeof(s) - 1 \
    }

#define MAX 8
#define S(t)              \
    {                     \
        T("system"), T(t) \
    }
#define U(t)            \
    {                   \
        T("user"), T(t) \
    }
#define A(t)                 \
    {                        \
        T("assistant"), T(t) \
    }

static const struct {
    const char *name;
    struct chat_turn messages[MAX];
    unsigned round;
    bool is_continue;
    const char *question;
    const char *history[MAX];
} rows[] = {
    {"plain", {U("hi")}, 0, false, "hi", {0}},
    {"plain with history", {U("a"), A("b"), U("c")}, 0, false, "c", {"a", "b"}},
    {"first round", {U("[DEEP RESEARCH] How does X work? ")}, 1, false, "How does X work?", {0}},
    {"vector 10",
     {U("[DEEP RESEARCH] How does X work?"), A("plan"), U("[DEEP RESEARCH] Continue the research")},
     2,
     true,
     "How does X work?",
     {"[DEEP RESEARCH] How does X work?", "plan"}},
    {"continue without the tag in the last message",
     {U("[DEEP RESEARCH] topic"), A("1"), U("please continue with the research."), A("2"),
      U("Continue the research")},
     3,
     true,
     "topic",
     {"[DEEP RESEARCH] topic", "1", "please continue with the research.", "2"}},
    {"a topic with the word continue is kept",
     {U("[DEEP RESEARCH] How does the loader continue after an error?"), A("1"),
      U("[DEEP RESEARCH] Continue the research")},
     2,
     true,
     "How does the loader continue after an error?",
     {"[DEEP RESEARCH] How does the loader continue after an error?", "1"}},
    {"a topic with both words is no continue turn",
     {U("[DEEP RESEARCH] How do research rounds continue after a restart?")},
     1,
     false,
     "How do research rounds continue after a restart?",
     {0}},
    {"no topic: the phrase stays",
     {U("[DEEP RESEARCH] Continue the research")},
     1,
     true,
     "Continue the research",
     {0}},
    {"the tagged topic before an earlier question",
     {U("hello"), A("hi"), U("[DEEP RESEARCH] topic"), A("1"),
      U("[DEEP RESEARCH] continue research")},
     3,
     true,
     "topic",
     {"hello", "hi", "[DEEP RESEARCH] topic", "1"}},
    {"continue is nothing special in plain chat",
     {U("topic"), A("1"), U("continue the research")},
     0,
     false,
     "continue the research",
     {"topic", "1"}},
    {"a leading system message keeps the pairs",
     {S("be kind"), U("a"), A("b"), U("c")},
     0,
     false,
     "c",
     {"a", "b"}},
    {"a leading assistant message keeps the pairs",
     {A("hello"), U("a"), A("b"), U("c")},
     0,
     false,
     "c",
     {"a", "b"}},
    {"an unanswered question is left out",
     {U("a"), U("b"), A("c"), U("d")},
     0,
     false,
     "d",
     {"b", "c"}},
    {"tag in the middle",
     {U("How [DEEP RESEARCH]does it[DEEP RESEARCH] work")},
     1,
     false,
     "How does it work",
     {0}},
    {"tag in an answer",
     {U("a"), A("[DEEP RESEARCH]"), U("b")},
     2,
     false,
     "b",
     {"a", "[DEEP RESEARCH]"}},
    {"only the tag", {U("[DEEP RESEARCH]")}, 1, false, "", {0}},
    {"round five",
     {U("[DEEP RESEARCH] t"), A("1"), U("continue the research"), A("2"),
      U("continue the research"), A("3"), S("x"), U("continue the research")},
     4,
     true,
     "t",
     {"[DEEP RESEARCH] t", "1", "continue the research", "2", "continue the research", "3"}},
};

static size_t count_messages(const struct chat_turn *m)
{
    size_t n = 0;
    while (n < MAX && m[n].role.len)
        n++;
    return n;
}

static void messages_are_read_as_the_protocol_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct research r;
        struct err err;
        size_t turns = 0;
        print_message("%s\n", rows[i].name);
        assert_int_equal(
            research_read(rows[i].messages, count_messages(rows[i].messages), &r, &err), 0);
        assert_int_equal(r.round, rows[i].round);
        assert_int_equal(r.is_active, rows[i].round > 0);
        assert_int_equal(r.is_continue, rows[i].is_continue);
        assert_true(span_is(r.question, rows[i].question));
        for (; turns < MAX && rows[i].history[turns]; turns++) {
            assert_true(turns < r.turn_count);
            assert_true(span_is(r.turns[turns].content, rows[i].history[turns]));
            assert_true(span_is(r.turns[turns].role, turns % 2 ? "assistant" : "user"));
        }
        assert_int_equal(r.turn_count, turns);
        research_done(&r);
    }
}

static void wrong_requests_are_refused(void **state)
{
    (void)state;
    struct research r;
    struct err err;
    const struct chat_turn last_assistant[] = {U("a"), A("b")};
    assert_int_equal(research_read(NULL, 0, &r, &err), -ERR_INVALID);
    assert_string_equal(err.msg, "no messages provided");
    assert_int_equal(research_read(last_assistant, 2, &r, &err), -ERR_INVALID);
    assert_string_equal(err.msg, "last message must be from the user");
    struct chat_turn *many = mem_alloc((LIMIT_MESSAGES_COUNT + 1) * sizeof *many);
    assert_int_equal(research_read(many, LIMIT_MESSAGES_COUNT + 1, &r, &err), -ERR_LIMIT);
    mem_free(many);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        struct research r;
        struct err err;
        fault_arm(FAULT_ALLOC, nth, 0);
        int code = research_read(rows[3].messages, 3, &r, &err);
        fault_disarm();
        assert_int_equal(code, nth <= 2 ? -ERR_NO_MEMORY : 0);
        if (code == 0)
            research_done(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_read_as_the_protocol_says),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
