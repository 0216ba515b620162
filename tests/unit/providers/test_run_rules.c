/*
 * The rarer rules of a run, each with its bound: what is left out and who asks it nevertheless,
 * caches in the figures, answers without an end, text that nobody fetches, refusals, and keys that
 * providers repeat.
 */
#include "run_bed.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- what is left out ---- */

static void fail_three_times(struct bed *b)
{
    struct told o = {.request.retry_budget_ms = 1};
    b->random = 0;
    PLAY(b, &o, 1, {.status = 500, .pieces = {"a"}}, {.status = 500, .pieces = {"b"}},
         {.status = 500, .pieces = {"c"}}, {.status = 401, .pieces = {"d"}});
    assert_string_equal(o.message, "HTTP 401: d (after 4 attempts)");
    told_done(&o);
}

static void a_sole_endpoint_that_is_left_out_is_asked_by_every_run(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    fail_three_times(&b);
    struct told well = {0}; /* the provider recovered a second later: nobody waits for 30 s */
    b.clock_ms = 1000;
    PLAY(&b, &well, 1, GOOD);
    expect(&well, 0, "Hello", 7, 2, false);
    told_done(&well);

    fail_three_times(&b);
    struct told ill = {0}; /* as long as it is ill, each run asks twice in place of five times */
    PLAY(&b, &ill, 1, {.status = 503, .pieces = {"e"}}, {.status = 503, .pieces = {"f"}}, GOOD);
    expect(&ill, -ERR_UPSTREAM, "", 0, 0, false);
    assert_string_equal(ill.message, "HTTP 503: f (after 2 attempts)");
    assert_int_equal(b.http.started, RUN_ATTEMPTS_LEFT_OUT);
    told_done(&ill);

    struct told back = {0}; /* the second of the two may be the one that succeeds … */
    PLAY(&b, &back, 1, {.status = 503, .pieces = {"g"}}, GOOD);
    expect(&back, 0, "Hello", 7, 2, false);
    told_done(&back);

    struct told five = {0}; /* … and then everything is as at first */
    PLAY(&b, &five, 1, {.status = 503, .pieces = {"1"}}, {.status = 503, .pieces = {"2"}},
         {.status = 503, .pieces = {"3"}}, {.status = 503, .pieces = {"4"}}, GOOD);
    expect(&five, 0, "Hello", 7, 2, false);
    told_done(&five);
    bed_down(&b);
}

static void the_first_token_lets_everybody_in_again(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    fail_three_times(&b);
    struct told stopped = {.cancel_at = 1}; /* it spoke, though it was not heard to its end */
    PLAY(&b, &stopped, 1, {.status = 200, .pieces = {"t:Hel\nt:lo\n"}, .stays_open = true});
    assert_int_equal(stopped.result, -ERR_CANCELLED);
    told_done(&stopped);
    struct told around = {0};
    PLAY(&b, &around, 2, GOOD_AT("one"));
    expect(&around, 0, "Hello", 7, 2, false);
    told_done(&around);
    bed_down(&b);
}

static void breaker_opens_probes_and_closes(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    fail_three_times(&b);
    struct told around = {0}; /* with another endpoint nobody notices */
    PLAY(&b, &around, 2, GOOD_AT("two"));
    expect(&around, 0, "Hello", 7, 2, false);
    told_done(&around);

    b.clock_ms = RUN_COOLDOWN_MS; /* the probe fails: out again, for as long */
    struct told probe = {0};
    PLAY(&b, &probe, 2, {.host = "one", .status = 500, .pieces = {"e"}}, GOOD_AT("two"));
    expect(&probe, 0, "Hello", 7, 2, false);
    told_done(&probe);
    b.clock_ms += RUN_COOLDOWN_MS - 1;
    struct told still = {0};
    PLAY(&b, &still, 2, GOOD_AT("two"));
    told_done(&still);

    b.clock_ms++; /* cancelled: no verdict, so the next one probes */
    struct told undecided = {.cancel_after_ms = 1};
    PLAY(&b, &undecided, 2, {.host = "one", .status = 200, .stays_open = true});
    assert_int_equal(b.http.started, 1);
    told_done(&undecided);

    for (int i = 0; i < 2; i++) {
        struct told well = {0};
        PLAY(&b, &well, 2, GOOD_AT("one"));
        expect(&well, 0, "Hello", 7, 2, false);
        told_done(&well);
    }
    bed_down(&b);
}

static void what_is_left_out_is_asked_when_all_others_have_failed(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    fail_three_times(&b); /* "one" */
    struct told o = {0};
    PLAY(&b, &o, 2, {.host = "two", .status = 401, .pieces = {"no"}}, GOOD_AT("one"));
    expect(&o, 0, "Hello", 7, 2, false);
    told_done(&o);
    bed_down(&b);
}

/* ---- figures ---- */

static void cached_tokens_have_their_own_price(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    PLAY(&b, &o, 1, {.status = 200, .pieces = {"t:Hello\nu:1000:100:600:100:40\nf:stop\n.\n"}});
    assert_int_equal(o.usage.prompt_tokens, 1000);
    assert_int_equal(o.usage.completion_tokens, 100);
    assert_int_equal(o.usage.cached_tokens, 600);
    assert_int_equal(o.usage.cache_write_tokens, 100);
    assert_int_equal(o.usage.reasoning_tokens, 40);
    assert_true(fabs(o.usage.cost - (300 * 2 + 600 * 0.5 + 100 * 2.5 + 100 * 10) / 1e6) < 1e-12);
    told_done(&o);

    struct told twice = {0}; /* both attempts count, each with its own cache */
    PLAY(&b, &twice, 2, {.host = "one", .status = 200, .pieces = {"u:50:1:20\nt:x\nf:stop\n"}},
         {.host = "two", .status = 200, .pieces = {"t:y\nu:50:1:30\nf:stop\n.\n"}});
    assert_string_equal(buf_str(&twice.text), "y");
    assert_int_equal(twice.usage.prompt_tokens, 100);
    assert_int_equal(twice.usage.cached_tokens, 50);
    assert_true(fabs(twice.usage.cost - (50 * 2 + 50 * 0.5 + 2 * 10) / 1e6) < 1e-12);
    told_done(&twice);

    struct told odd = {0}; /* parts larger than the whole make no negative price */
    PLAY(&b, &odd, 1, {.status = 200, .pieces = {"t:x\nu:10:1:600:100:40\nf:stop\n.\n"}});
    assert_int_equal(odd.usage.cached_tokens, 10);
    assert_int_equal(odd.usage.cache_write_tokens, 0);
    assert_int_equal(odd.usage.reasoning_tokens, 1);
    assert_true(fabs(odd.usage.cost - (10 * 0.5 + 10) / 1e6) < 1e-12);
    told_done(&odd);
    bed_down(&b);
}

/* ---- metrics ---- */

/* "name value" of each line that speaks of the provider, without the common beginning. */
static void expect_metrics(const char *provider, const char *const *lines, size_t count)
{
    struct buf out = BUF_INIT(1u << 20);
    metric_print_prometheus(&out);
    for (size_t i = 0; i < count; i++) {
        struct buf line = BUF_INIT(300);
        ptrdiff_t open = span_find(span_str(lines[i]), SPAN_LIT("{"));
        buf_printf(&line, "\nheadwater_providers_%.*s{provider=\"%s\"%s\n", (int)open, lines[i],
                   provider, lines[i] + open + 1);
        if (!strstr(buf_str(&out), buf_str(&line)))
            fail_msg("no '%s' in %s", buf_str(&line), buf_str(&out));
        buf_done(&line);
    }
    buf_done(&out);
}

static void metrics_tell_requests_by_provider_and_outcome(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {.provider = "metered \"1\""};
    PLAY(&b, &o, 2, {.host = "one", .status = 429, .pieces = {"a"}},
         {.host = "two", .status = 500, .pieces = {"b"}},
         {.status = 200, .pieces = {"t:Hi\nu:1000:100:600:0:40\nf:stop\n.\n"}});
    assert_int_equal(o.result, 0);
    told_done(&o);
    struct told reset = {.provider = "metered \"1\""};
    PLAY(&b, &reset, 2, {.status = 200, .pieces = {"t:x\nu:5:1\n"}}, GOOD);
    told_done(&reset);
    struct told stopped = {.provider = "metered \"1\"", .cancel_at = 1};
    PLAY(&b, &stopped, 1, {.status = 200, .pieces = {"t:x\nu:5:1\n"}, .stays_open = true});
    told_done(&stopped);
    struct told waiting = {.provider = "metered \"1\"", .cancel_at_start = true}; /* no request */
    PLAY(&b, &waiting, 1, GOOD);
    told_done(&waiting);
    static const char *const lines[] = {
        "runs_total{} 4",
        "requests_total{,outcome=\"ok\"} 2",
        "requests_total{,outcome=\"rate\"} 1",
        "requests_total{,outcome=\"overloaded\"} 2",
        "requests_total{,outcome=\"cancelled\"} 1",
        "requests_total{,outcome=\"timeout\"} 0",
        "retries_total{} 1",
        "failovers_total{} 2",
        "resets_total{} 1",
        "cached_tokens_total{} 600",
        "reasoning_tokens_total{} 40",
        "first_token_seconds_count{} 4",
    };
    expect_metrics("metered__1_", lines, ARRAY_LEN(lines));
    bed_down(&b);
}

static void cost_is_counted_in_millionths_of_a_dollar(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {.provider = "priced"};
    PLAY(&b, &o, 1, {.status = 200, .pieces = {"t:Hi\nu:1000:100:600:0:40\nf:stop\n.\n"}});
    told_done(&o);
    static const char *const lines[] = {"cost_microdollars_total{} 2100",
                                        "prompt_tokens_total{} 1000",
                                        "completion_tokens_total{} 100"};
    expect_metrics("priced", lines, ARRAY_LEN(lines));
    bed_down(&b);
}

/* ---- bounds ---- */

/* "t:xxx…\n" of `len` bytes of text; the caller frees it. */
static char *text_line(size_t len)
{
    char *s = mem_alloc(len + 4);
    memset(s, 'x', len + 2);
    s[0] = 't';
    s[1] = ':';
    s[len + 2] = '\n';
    s[len + 3] = 0;
    return s;
}

static void an_answer_without_end_ends_as_length(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    char *quarter = text_line(LIMIT_RUN_TEXT / 4);
    struct fake_script s = {.status = 200, .stays_open = true};
    for (size_t i = 0; i < 4; i++)
        s.pieces[i] = quarter;
    s.pieces[4] = "t:y\n";
    struct told o = {.text_max = LIMIT_RUN_TEXT + 100};
    play(&b, &o, 1, &s, 1);
    assert_int_equal(o.result, 0);
    assert_string_equal(o.finish, "length");
    assert_int_equal(o.text.len, LIMIT_RUN_TEXT);
    assert_int_equal(b.http.cancelled, 1); /* the provider is told to stop */
    assert_true(o.usage.is_estimate);
    told_done(&o);
    mem_free(quarter);
    bed_down(&b);
}

static void text_that_nobody_fetches_has_a_bound(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct buf many = BUF_INIT(4u << 20);
    char *line = text_line(LIMIT_RUN_HELD / 8);
    buf_puts(&many, "t:first\n");
    for (size_t i = 0; i < 9; i++)
        buf_puts(&many, line);
    struct fake_script s = {.status = 200, .pieces = {buf_str(&many)}, .stays_open = true};
    struct told o = {.pause_at = 1, .text_max = LIMIT_RUN_TEXT};
    play(&b, &o, 1, &s, 1);
    assert_int_equal(o.result, -ERR_NO_MEMORY);
    assert_string_equal(o.message, "the answer came faster than it could be kept");
    assert_int_equal(b.http.cancelled, 1);
    assert_false(o.was_text_after_pause);
    /* What was kept comes before the end: whole pieces, none twice. */
    assert_int_equal(o.text.len, 5 + 8 * (LIMIT_RUN_HELD / 8));
    told_done(&o);
    mem_free(line);
    buf_done(&many);
    bed_down(&b);
}

/* ---- a content filter's refusal ---- */

#define FILTERED "e:6:not in this house\n" /* WIRE_ERROR_FILTERED */

static void a_filters_refusal_is_tried_elsewhere_only_before_the_first_token(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told before = {0};
    PLAY(&b, &before, 2, {.host = "one", .status = 200, .pieces = {FILTERED}}, GOOD_AT("two"));
    assert_int_equal(before.result, 0);
    assert_string_equal(buf_str(&before.text), "Hello");
    told_done(&before);

    struct told sole = {0}; /* never on the same endpoint */
    PLAY(&b, &sole, 1, {.status = 200, .pieces = {FILTERED}}, GOOD);
    assert_int_equal(sole.result, -ERR_UPSTREAM);
    assert_int_equal(sole.error_class, WIRE_ERROR_FILTERED);
    assert_int_equal(b.http.started, 1);
    told_done(&sole);

    struct told later = {0};
    PLAY(&b, &later, 2, {.host = "one", .status = 200, .pieces = {"t:Once\n" FILTERED}}, GOOD);
    assert_int_equal(later.result, -ERR_UPSTREAM);
    assert_int_equal(later.error_class, WIRE_ERROR_FILTERED);
    assert_string_equal(later.message, "not in this house");
    assert_string_equal(buf_str(&later.text), "Once");
    assert_int_equal(later.resets.len, 0);
    assert_int_equal(b.http.started, 1);
    told_done(&later);
    bed_down(&b);
}

/* ---- secrets ---- */

static bool file_has(const char *path, const char *what)
{
    static char text[1 << 20];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return strstr(text, what) != NULL;
}

/* A key at every place of messages longer than what is kept of them: cut anywhere. */
static void no_part_of_a_key_passes_wherever_the_message_is_cut(void **state)
{
    (void)state;
    static const char key[] = "sk-very-secret-key";
    for (size_t at = 270; at < 410; at += at == 300 ? 70 : 1) { /* words: 300, message: 400 */
        char body[500], error[520];
        struct bed b;
        bed_up(&b);
        memset(body, '.', sizeof body);
        memcpy(body + at, key, sizeof key);
        snprintf(error, sizeof error, "e:3:%s\n", body);
        const struct fake_script scripts[] = {
            {.host = "one", .status = 503, .pieces = {body}},
            {.host = "two", .status = 200, .pieces = {error}, .stays_open = true},
            {.result = -ERR_UNAVAILABLE, .why = body}};
        struct told o = {.request.retry_budget_ms = 1};
        play(&b, &o, 3, scripts, 3);
        assert_null(strstr(o.message, "sk-ver"));
        assert_null(strstr(buf_str(&o.notes), "sk-ver"));
        told_done(&o);
        b.http.unexpected = 0; /* tried again: it says no more */
        bed_down(&b);
    }
}

static void the_reset_the_notes_and_the_log_hold_no_key(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct err err;
    char path[] = "/tmp/run-log-XXXXXX";
    close(mkstemp(path));
    assert_int_equal(log_start(&(struct log_options){.path = path}, &err), 0);
    struct told o = {0};
    PLAY(&b, &o, 2,
         {.host = "one", .status = 200, .pieces = {"t:x\ne:3:bad key sk-very-secret-key\n"}},
         {.host = "two", .status = 500, .pieces = {"bad sk-very-secret-key"}}, GOOD_AT("one"));
    assert_string_equal(buf_str(&o.resets), "[bad key ***]");
    told_done(&o);
    log_stop();
    assert_true(file_has(path, "bad key ***"));
    assert_true(file_has(path, "bad ***"));
    assert_false(file_has(path, "sk-ver"));
    unlink(path);
    bed_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sole_endpoint_that_is_left_out_is_asked_by_every_run),
        cmocka_unit_test(the_first_token_lets_everybody_in_again),
        cmocka_unit_test(breaker_opens_probes_and_closes),
        cmocka_unit_test(what_is_left_out_is_asked_when_all_others_have_failed),
        cmocka_unit_test(cached_tokens_have_their_own_price),
        cmocka_unit_test(metrics_tell_requests_by_provider_and_outcome),
        cmocka_unit_test(cost_is_counted_in_millionths_of_a_dollar),
        cmocka_unit_test(an_answer_without_end_ends_as_length),
        cmocka_unit_test(text_that_nobody_fetches_has_a_bound),
        cmocka_unit_test(a_filters_refusal_is_tried_elsewhere_only_before_the_first_token),
        cmocka_unit_test(no_part_of_a_key_passes_wherever_the_message_is_cut),
        cmocka_unit_test(the_reset_the_notes_and_the_log_hold_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
