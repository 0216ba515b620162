/* Promises of problem bodies and of what terminals are shown. */
#include "../cm.h"
#include "app/client.h"
#include "app/terminal.h"
#include "base/fault.h"
#include "base/mem.h"

static void a_problem_body_becomes_what_why_and_hint(void **state)
{
    (void)state;
    static const struct {
        long status;
        const char *body, *msg, *hint;
        int code;
    } rows[] = {
        {404,
         "{\"title\":\"no such source\",\"detail\":\"'x' is not indexed\",\"hint\":\"index it\"}",
         "no such source: 'x' is not indexed", "index it", ERR_NOT_FOUND},
        {400, "{\"detail\":\"No messages provided\"}", "cannot: No messages provided", "",
         ERR_INVALID},
        {500, "<html>", "cannot: the server answered with status 500", "", ERR_INTERNAL},
        {401, "{\"detail\":\"Missing API key\"}", "cannot: Missing API key",
         "the server wants a key: set HEADWATER_SERVER_KEY", ERR_FORBIDDEN},
        {429, "[]", "cannot: the server answered with status 429", "", ERR_LIMIT},
        {422, "{\"detail\":[{\"msg\":\"x\"}]}", "cannot: the server answered with status 422", "",
         ERR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        assert_int_equal(client_problem(rows[i].status, span_str(rows[i].body), "cannot", &err),
                         -rows[i].code);
        assert_string_equal(err.msg, rows[i].msg);
        assert_string_equal(err.hint, rows[i].hint);
    }
}

static void control_characters_of_others_never_reach_a_terminal(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(256);
    put_visible(&out, SPAN_LIT("a\x1b[31mb\nc\td\x7f\xc2\x9b"
                               "e\xc3\xa9\r"));
    assert_string_equal(buf_str(&out), "a?[31mb\nc\td??e\xc3\xa9?");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_problem_body_becomes_what_why_and_hint),
        cmocka_unit_test(control_characters_of_others_never_reach_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
