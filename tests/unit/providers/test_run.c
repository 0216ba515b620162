/*
 * Promises of a run: every ending is told once, with the exact text, usage and words; retries and
 * failover as run.h says; nothing doubled after a reset. The network and the wire format are fakes;
 * the loop and its timers are real.
 */
#include "run_bed.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "providers/breaker.h"

#include <pthread.h>

static void run_tells_text_usage_and_cost_once(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    PLAY(&b, &o, 1, GOOD);
    expect(&o, 0, "Hello", 7, 2, false);
    assert_string_equal(o.finish, "stop");
    assert_string_equal(b.http.urls[0], "http://one/m");
    assert_int_equal(b.http.started, 1);
    told_done(&o);
    bed_down(&b);
}

static void run_estimates_what_the_provider_does_not_say(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    PLAY(&b, &o, 1,
         {.status = 200,
          .pieces = {"r:thinking about it\nt:The par", "ser refuses tabs.\nf:length\n.\n"}});
    expect(&o, 0, "The parser refuses tabs.", PROMPT_TOKENS,
           tokens_estimate(SPAN_LIT("thinking about itThe parser refuses tabs.")), true);
    assert_string_equal(o.finish, "length");
    told_done(&o);
    bed_down(&b);
}

static void run_retries_the_same_endpoint_with_jitter(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    b.random = 501 * 7 + 100; /* 100 of at most 500 ms; 3607 mod 1001 = 604 of at most 1000 */
    struct told o = {0};
    PLAY(&b, &o, 1, {.status = 503, .pieces = {"busy"}},
         {.result = -ERR_UNAVAILABLE, .why = "refused"}, GOOD);
    expect(&o, 0, "Hello", 7, 2, false);
    assert_string_equal(buf_str(&o.notes), "[waiting 0.1 s: HTTP 503: busy; then trying again]"
                                           "[waiting 0.6 s: refused; then trying again]");
    told_done(&o);
    bed_down(&b);
}

static void run_ends_after_its_attempts(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    PLAY(&b, &o, 1, {.status = 500, .pieces = {"a"}}, {.status = 500, .pieces = {"b"}},
         {.status = 500, .pieces = {"c"}}, {.status = 500, .pieces = {"d"}},
         {.status = 500, .pieces = {"e"}}, GOOD);
    expect(&o, -ERR_UPSTREAM, "", 0, 0, false);
    assert_string_equal(o.message, "HTTP 500: e (after 5 attempts)");
    assert_int_equal(o.error_class, WIRE_ERROR_OVERLOADED);
    assert_string_equal(o.finish, "error");
    assert_int_equal(b.http.started, RUN_ATTEMPTS_MAX);
    told_done(&o);
    bed_down(&b);
}

static void run_obeys_retry_after_when_it_fits(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    uint64_t began = clock_ms();
    PLAY(&b, &o, 1, {.status = 429, .retry_after_ms = 300, .pieces = {"slow down"}}, GOOD);
    expect(&o, 0, "Hello", 7, 2, false);
    assert_true(clock_ms() - began >= 300);
    assert_string_equal(buf_str(&o.notes), "[waiting 0.3 s: the provider asked for it]");
    told_done(&o);

    b.clock_ms = 1000; /* past the cooling */
    struct told p = {0};
    PLAY(&b, &p, 1, {.status = 429, .retry_after_ms = 31000, .pieces = {"slow down"}}, GOOD);
    expect(&p, -ERR_UPSTREAM, "", 0, 0, false);
    assert_int_equal(p.error_class, WIRE_ERROR_RATE);
    assert_string_equal(p.message, "HTTP 429: slow down; it asks to wait 31 s");
    assert_int_equal(b.http.started, 1);
    told_done(&p);

    struct told q = {0}; /* another run knows it too */
    PLAY(&b, &q, 1, GOOD);
    assert_int_equal(b.http.started, 0);
    assert_string_equal(q.message, "fake asks to wait 31 s before the next request");
    told_done(&q);
    bed_down(&b);
}

static void run_asks_the_next_endpoint_at_once(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    uint64_t began = clock_ms();
    PLAY(&b, &o, 3, {.host = "one", .status = 401, .pieces = {"wrong key sk-very-secret-key"}},
         {.host = "two", .status = 429, .retry_after_ms = 9000}, GOOD_AT("three"));
    expect(&o, 0, "Hello", 7, 2, false);
    assert_true(clock_ms() - began < 1000);
    assert_int_equal(o.notes.len + o.resets.len, 0);
    told_done(&o);
    bed_down(&b);
}

static void run_never_shows_a_secret(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    PLAY(&b, &o, 1,
         {.status = 401, .pieces = {"wrong key sk-very-secret-key, sk-very-secret-key"}});
    expect(&o, -ERR_UPSTREAM, "", 0, 0, false);
    assert_int_equal(o.error_class, WIRE_ERROR_AUTH);
    assert_null(strstr(o.message, "secret"));
    assert_true(strncmp(o.message, "HTTP 401: wrong key ***", 23) == 0);
    assert_int_equal(b.http.started, 1); /* the same key again would be refused again */
    told_done(&o);
    bed_down(&b);
}

static void run_starts_anew_elsewhere_after_a_reset(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    PLAY(&b, &o, 2, {.host = "one", .status = 200, .pieces = {"u:7:1\nt:Once upon\nt: a time\n"}},
         GOOD_AT("two"));
    expect(&o, 0, "Hello", 7 + 7, tokens_estimate(SPAN_LIT("Once upon a time")) + 2, true);
    assert_string_equal(buf_str(&o.resets), "[the answer was cut off before its end]");
    told_done(&o);
    bed_down(&b);
}

static void run_keeps_the_text_when_no_endpoint_is_left(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    PLAY(&b, &o, 1,
         {.status = 200,
          .pieces = {"t:Once upon\n"},
          .result = -ERR_UPSTREAM,
          .why = "reset by peer"},
         GOOD);
    expect(&o, -ERR_UPSTREAM, "Once upon", PROMPT_TOKENS, tokens_estimate(SPAN_LIT("Once upon")),
           true);
    assert_string_equal(o.message, "reset by peer");
    assert_int_equal(o.resets.len, 0);
    assert_int_equal(b.http.started, 1);
    told_done(&o);
    bed_down(&b);
}

static void run_reports_an_error_inside_the_stream(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    PLAY(&b, &o, 1, {.status = 200, .pieces = {"t:Once\ne:3:overloaded\n"}, .stays_open = true});
    expect(&o, -ERR_UPSTREAM, "Once", PROMPT_TOKENS, tokens_estimate(SPAN_LIT("Once")), true);
    assert_string_equal(o.message, "overloaded");
    assert_int_equal(o.error_class, WIRE_ERROR_OVERLOADED);
    assert_int_equal(b.http.cancelled, 1);
    told_done(&o);
    bed_down(&b);
}

static void run_takes_garbage_for_a_failed_attempt(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    PLAY(&b, &o, 1, {.status = 200, .pieces = {"<html>\n"}, .stays_open = true}, GOOD);
    expect(&o, 0, "Hello", PROMPT_TOKENS + 7, 2, true);
    assert_string_equal(buf_str(&o.notes),
                        "[waiting 0.0 s: the provider sent something that is not an answer in its "
                        "format; then trying again]");
    told_done(&o);
    bed_down(&b);
}

static void run_ends_at_once_when_the_prompt_is_too_long(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    PLAY(&b, &o, 3, {.status = 400, .pieces = {"too long"}}, GOOD);
    expect(&o, -ERR_UPSTREAM, "", 0, 0, false);
    assert_int_equal(o.error_class, WIRE_ERROR_TOO_LONG);
    assert_int_equal(b.http.started, 1);
    told_done(&o);
    bed_down(&b);
}

static void run_gives_up_waiting_for_the_first_token(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {.request.first_token_timeout_ms = 200};
    PLAY(&b, &o, 2, {.host = "one", .status = 200, .stays_open = true}, GOOD_AT("two"));
    expect(&o, 0, "Hello", PROMPT_TOKENS + 7, 2, true);
    assert_int_equal(b.http.cancelled, 1);
    assert_int_equal(o.resets.len, 0);
    told_done(&o);
    bed_down(&b);
}

static void run_ends_a_stream_that_stalls(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {.request.idle_timeout_ms = 200};
    PLAY(&b, &o, 1, {.status = 200, .pieces = {"t:Once\n"}, .stays_open = true});
    expect(&o, -ERR_TIMEOUT, "Once", PROMPT_TOKENS, tokens_estimate(SPAN_LIT("Once")), true);
    assert_string_equal(o.message, "the provider stopped in the middle: nothing for 0.2 s");
    assert_int_equal(b.http.cancelled, 1);
    told_done(&o);
    bed_down(&b);
}

static void an_answer_whose_end_was_named_is_whole_however_its_connection_ends(void **state)
{
    (void)state;
    static const struct fake_script endings[] = {
        {.result = -ERR_UPSTREAM, .why = "reset"},
        {.result = -ERR_TIMEOUT, .why = "late"},
        {.stays_open = true},
    };
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        struct bed b;
        bed_up(&b);
        struct fake_script one = endings[i];
        one.host = "one";
        one.status = 200;
        one.pieces[0] = "t:Hello\nu:3:7\nf:length\n.\n";
        struct told o = {0};
        const struct fake_script scripts[] = {one, GOOD_AT("two")};
        play(&b, &o, 2, scripts, ARRAY_LEN(scripts));
        expect(&o, 0, "Hello", 3, 7, false);
        assert_string_equal(o.finish, "length");
        assert_int_equal(b.http.started, 1);
        assert_int_equal(b.http.cancelled, one.stays_open ? 1 : 0);
        assert_int_equal(o.resets.len, 0);
        told_done(&o);
        bed_down(&b);
    }
}

static void run_keeps_the_limits_of_its_runner(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    runner_set_limits(b.runner, &(struct runner_limits){.first_token_timeout_ms = 200});
    runner_set_limits(b.runner, &(struct runner_limits){.idle_timeout_ms = 100});
    struct told o = {0};
    PLAY(&b, &o, 2, {.host = "one", .status = 200, .stays_open = true},
         {.host = "two", .status = 200, .pieces = {"t:Once\n"}, .stays_open = true});
    expect(&o, -ERR_TIMEOUT, "Once", 2 * PROMPT_TOKENS, tokens_estimate(SPAN_LIT("Once")), true);
    assert_string_equal(o.message,
                        "the provider stopped in the middle: nothing for 0.1 s (after 2 attempts)");
    told_done(&o);
    bed_down(&b);
}

static void run_holds_back_and_goes_on(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    /* The pause is longer than the idle time-out, which must not count it. */
    struct told o = {.pause_at = 1, .request.idle_timeout_ms = 150};
    PLAY(&b, &o, 1, {.status = 200, .pieces = {"t:a\nt:b\nt:c\n", "t:d\n", "t:e\nu:3:5\n.\n"}});
    expect(&o, 0, "abcde", 3, 5, false);
    assert_false(o.was_text_after_pause);
    told_done(&o);
    bed_down(&b);
}

static void run_tells_held_text_before_the_failure(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {.pause_at = 1};
    PLAY(&b, &o, 1,
         {.status = 200, .pieces = {"t:a\nt:b\n"}, .result = -ERR_UPSTREAM, .why = "cut"});
    expect(&o, -ERR_UPSTREAM, "ab", PROMPT_TOKENS, tokens_estimate(SPAN_LIT("ab")), true);
    assert_string_equal(o.message, "cut");
    told_done(&o);
    bed_down(&b);
}

static void run_cancel_closes_the_connection_and_counts(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {.cancel_at = 2};
    PLAY(&b, &o, 2, {.status = 200, .pieces = {"t:Hel\nt:lo\nt: never\n"}, .stays_open = true});
    expect(&o, -ERR_CANCELLED, "Hello", PROMPT_TOKENS, tokens_estimate(SPAN_LIT("Hello")), true);
    assert_int_equal(b.http.cancelled, 1);
    assert_string_equal(o.finish, "cancelled");
    told_done(&o);

    struct told before = {.cancel_at_start = true};
    PLAY(&b, &before, 1, GOOD);
    expect(&before, -ERR_CANCELLED, "", 0, 0, false);
    assert_int_equal(b.http.started, 0);
    told_done(&before);

    struct told waiting = {.cancel_after_ms = 300};
    b.random = 500;
    PLAY(&b, &waiting, 1, {.status = 500, .pieces = {"x"}}, GOOD);
    expect(&waiting, -ERR_CANCELLED, "", 0, 0, false);
    assert_int_equal(b.http.started, 1);
    told_done(&waiting);

    struct told in_reset = {.cancel_in_reset = true};
    PLAY(&b, &in_reset, 2, {.status = 200, .pieces = {"u:1:1\nt:a\n"}}, GOOD);
    assert_int_equal(in_reset.result, -ERR_CANCELLED);
    assert_int_equal(b.http.started, 1);
    told_done(&in_reset);
    bed_down(&b);
}

static void breaker_lets_one_run_probe(void **state)
{
    (void)state;
    struct breaker *k;
    uint64_t wait = 0;
    int endpoint;
    assert_int_equal(breaker_new(2, 100, &k), 0);
    assert_int_equal(breaker_ask(k, &endpoint, BREAKER_NEWCOMER, 0, &wait), BREAKER_GO);
    assert_false(breaker_failure(k, &endpoint, 0));
    assert_true(breaker_failure(k, &endpoint, 0));
    assert_int_equal(breaker_ask(k, &endpoint, BREAKER_NEWCOMER, 60, &wait), BREAKER_OUT);
    assert_int_equal(wait, 40);
    assert_int_equal(breaker_ask(k, &endpoint, BREAKER_INSIDER, 60, &wait), BREAKER_GO);
    assert_int_equal(breaker_ask(k, &endpoint, BREAKER_WITHOUT_CHOICE, 60, &wait), BREAKER_GO);
    assert_int_equal(breaker_ask(k, &endpoint, BREAKER_NEWCOMER, 100, &wait), BREAKER_PROBE);
    assert_int_equal(breaker_ask(k, &endpoint, BREAKER_WITHOUT_CHOICE, 100, &wait), BREAKER_GO);
    assert_int_equal(breaker_ask(k, &endpoint, BREAKER_NEWCOMER, 100, &wait), BREAKER_OUT);
    assert_int_equal(wait, 0);
    breaker_success(k, &endpoint);
    assert_int_equal(breaker_ask(k, &endpoint, BREAKER_NEWCOMER, 100, &wait), BREAKER_GO);
    breaker_cool(k, &endpoint, 150);
    assert_int_equal(breaker_ask(k, &endpoint, BREAKER_INSIDER, 100, &wait), BREAKER_COOLING);
    assert_int_equal(wait, 50);
    breaker_free(k);
}

static void *hammer(void *arg)
{
    struct breaker *k = arg;
    static const char endpoints[8];
    uint64_t probes = 0, wait;
    for (uint64_t i = 0; i < 4000; i++) {
        const char *e = &endpoints[i % 8];
        enum breaker_verdict v = breaker_ask(k, e, BREAKER_NEWCOMER, i, &wait);
        if (v == BREAKER_PROBE)
            probes++;
        if (v == BREAKER_GO || v == BREAKER_PROBE)
            IGNORE(breaker_failure(k, e, i)); /* whether it opened does not matter here */
        if (i % 5 == 0)
            breaker_success(k, e);
    }
    return (void *)(uintptr_t)probes;
}

static void breaker_is_shared_between_threads(void **state)
{
    (void)state;
    struct breaker *k;
    assert_int_equal(breaker_new(3, 10, &k), 0);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, k), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    breaker_free(k);
}

#define SHARED_ROUNDS 15

static void *fail_and_recover(void *arg)
{
    struct bed *b = arg;
    intptr_t good = 0;
    for (int i = 0; i < SHARED_ROUNDS; i++) {
        struct told o = {.request.retry_budget_ms = 1};
        b->shared->clock_ms += RUN_COOLDOWN_MS / 3;
        if (i % 2)
            PLAY(b, &o, 2, {.status = 401, .pieces = {"a"}}, GOOD);
        else
            PLAY(b, &o, 2, {.status = 200, .pieces = {"u:1:1\nt:x\n"}}, GOOD);
        good += o.result == 0 && strcmp(buf_str(&o.text), "Hello") == 0;
        told_done(&o);
    }
    return (void *)good;
}

static void runs_of_two_loops_share_the_health_of_endpoints(void **state)
{
    (void)state;
    struct bed a, b;
    bed_up(&a);
    bed_up(&b);
    struct runner *own = b.runner;
    b.runner = a.runner;
    a.shared = b.shared = &a;
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, fail_and_recover, &b), 0);
    void *ours = fail_and_recover(&a), *theirs;
    pthread_join(other, &theirs);
    /* A script may be answered by another endpoint than it was written for: some runs end otherwise. */
    assert_true((intptr_t)ours > 0 && (intptr_t)theirs > 0);
    b.runner = own;
    a.http.unexpected = b.http.unexpected = 0;
    bed_down(&b);
    bed_down(&a);
}

static void run_survives_lack_of_memory(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 60; nth++) {
        struct bed b;
        bed_up(&b);
        struct told o = {.pause_at = 1};
        fault_arm(FAULT_ALLOC, nth, 0);
        PLAY(&b, &o, 1, {.status = 200, .pieces = {"t:a\nt:b\n", "u:3:5\n.\n"}});
        bool was_hit = fault_seen(FAULT_ALLOC) >= nth;
        fault_disarm();
        assert_true(o.start_result == 0 || o.start_result == -ERR_NO_MEMORY);
        told_done(&o);
        b.http.unexpected = 0;
        bed_down(&b);
        if (!was_hit)
            return;
    }
    fail_msg("the walk never came to its end");
}

static void run_without_endpoints_is_refused(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b);
    struct told o = {0};
    PLAY(&b, &o, 0, GOOD);
    assert_int_equal(o.start_result, -ERR_INVALID);
    told_done(&o);
    b.http.is_refusing = true; /* a full client is no fault of the endpoint */
    struct told p = {0};
    PLAY(&b, &p, 1, GOOD);
    assert_int_equal(p.result, -ERR_UNAVAILABLE);
    assert_string_equal(p.message, "too many requests under way (after 5 attempts)");
    told_done(&p);
    bed_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_tells_text_usage_and_cost_once),
        cmocka_unit_test(run_estimates_what_the_provider_does_not_say),
        cmocka_unit_test(run_retries_the_same_endpoint_with_jitter),
        cmocka_unit_test(run_ends_after_its_attempts),
        cmocka_unit_test(run_obeys_retry_after_when_it_fits),
        cmocka_unit_test(run_asks_the_next_endpoint_at_once),
        cmocka_unit_test(run_never_shows_a_secret),
        cmocka_unit_test(run_starts_anew_elsewhere_after_a_reset),
        cmocka_unit_test(run_keeps_the_text_when_no_endpoint_is_left),
        cmocka_unit_test(run_reports_an_error_inside_the_stream),
        cmocka_unit_test(run_takes_garbage_for_a_failed_attempt),
        cmocka_unit_test(run_ends_at_once_when_the_prompt_is_too_long),
        cmocka_unit_test(run_gives_up_waiting_for_the_first_token),
        cmocka_unit_test(run_ends_a_stream_that_stalls),
        cmocka_unit_test(an_answer_whose_end_was_named_is_whole_however_its_connection_ends),
        cmocka_unit_test(run_keeps_the_limits_of_its_runner),
        cmocka_unit_test(run_holds_back_and_goes_on),
        cmocka_unit_test(run_tells_held_text_before_the_failure),
        cmocka_unit_test(run_cancel_closes_the_connection_and_counts),
        cmocka_unit_test(breaker_lets_one_run_probe),
        cmocka_unit_test(breaker_is_shared_between_threads),
        cmocka_unit_test(runs_of_two_loops_share_the_health_of_endpoints),
        cmocka_unit_test(run_survives_lack_of_memory),
        cmocka_unit_test(run_without_endpoints_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
