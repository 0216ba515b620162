/* Promises of the built-in provider: grounded, cited, deterministic, closed under every cut. */
#include "../cm.h"
#include "local_check.h"

#include "base/fault.h"
#include "base/mem.h"
#include "providers/local_priv.h"

#include <dirent.h>

static const char retry_py[] = "class Backoff:\n"
                               "    \"\"\"Waiting times that double up to a limit.\"\"\"\n"
                               "\n"
                               "def should_retry(response, attempt):\n"
                               "    \"\"\"Decides whether a failed request is tried again.\n"
                               "\n"
                               "    Server errors and time-outs are retried, client errors never.\n"
                               "    \"\"\"\n"
                               "    if attempt >= MAX_ATTEMPTS:\n"
                               "        return False\n"
                               "    return response.status in RETRY_STATUS\n";
static const char client_c[] = "/*\n"
                               " * Sends a request and hands the answer to the caller.\n"
                               " * A connection is reused for as long as the peer keeps it open.\n"
                               " */\n"
                               "int client_send(struct client *c, struct request *r)\n"
                               "{\n"
                               "    if (!c->is_open)\n"
                               "        return client_open(c);\n"
                               "    return client_write(c, r);\n"
                               "}\n";
static const char readme_md[] =
    "# Courier\n"
    "\n"
    "[![build](https://x/y.svg)](https://x)\n"
    "\n"
    "Courier is a small HTTP client for flaky networks. It retries what can be retried and\n"
    "gives up early on everything else.\n"
    "\n"
    "## Running the tests\n"
    "\n"
    "The tests need a running server:\n"
    "\n"
    "```sh\n"
    "make server\n"
    "make test\n"
    "```\n"
    "\n"
    "## Configuration\n"
    "\n"
    "`MAX_ATTEMPTS` sets how often a request is tried. Retries wait because a server that is\n"
    "overloaded needs time to recover.\n"
    "- Time-outs are set when the client is opened.\n";

static struct chat_passage passage(const char *path, const char *symbol, const char *language,
                                   const char *text, uint32_t start, float score)
{
    struct span t = span_str(text);
    return (struct chat_passage){.path = span_str(path),
                                 .symbol = span_str(symbol),
                                 .language = span_str(language),
                                 .text = t,
                                 .start_line = start,
                                 .end_line = start + lines_count(t) - 1,
                                 .is_prose = strcmp(language, "markdown") == 0,
                                 .score = score};
}

#define COURIER_COUNT 3
static void courier(struct chat_passage p[COURIER_COUNT])
{
    p[0] = passage("src/net/retry.py", "should_retry", "python", retry_py, 37, 1.0f);
    p[1] = passage("src/net/client.c", "client_send", "c", client_c, 10, 0.8f);
    p[2] = passage("README.md", "Courier", "markdown", readme_md, 1, 0.7f);
}

static struct chat_request request_of(const char *question, const struct chat_passage *p,
                                      size_t count)
{
    return (struct chat_request){.question = span_str(question),
                                 .passages = p,
                                 .passage_count = count,
                                 .source_name = SPAN_LIT("courier"),
                                 .language = "en",
                                 .model = "local"};
}

static bool has(const struct answer *a, const char *text)
{
    if (span_find(buf_span(&a->text), span_str(text)) >= 0)
        return true;
    print_message("missing: %s\nanswer:\n%s\n", text, buf_str(&a->text));
    return false;
}

static void sound(const struct chat_request *r, const struct answer *a)
{
    const char *fault = answer_fault(r, buf_span(&a->text));
    if (fault)
        print_message("%s in:\n%s\n", fault, buf_str(&a->text));
    assert_null(fault);
}

/* Asks about the courier sample; the answer must hold every text of `expect`. */
static void expect_answer(const char *question, const char *const expect[])
{
    struct chat_passage p[COURIER_COUNT];
    courier(p);
    struct chat_request r = request_of(question, p, COURIER_COUNT);
    struct answer a = {0};
    struct chat_usage usage;
    struct err err;
    assert_int_equal(answer_run(&a, &r, &usage, &err), 0);
    for (size_t i = 0; expect[i]; i++)
        assert_true(has(&a, expect[i]));
    assert_true(has(&a, "*Answered without a language model: extracted from the cited lines.*\n"));
    sound(&r, &a);
    buf_done(&a.text);
}

static void where_names_the_definition_and_shows_what_decides(void **state)
{
    (void)state;
    expect_answer("Where is it decided whether a request is retried?",
                  (const char *[]){
                      "`should_retry` in `src/net/retry.py#L40-L47` is where this happens.",
                      "Decides whether a failed request is tried again. (`src/net/retry.py#L41`)",
                      "```python\ndef should_retry(response, attempt):\n",
                      "    return response.status in RETRY_STATUS\n```\n", NULL});
}

static void how_to_run_gives_the_command_block_and_its_sentence(void **state)
{
    (void)state;
    expect_answer("How do I run the tests?",
                  (const char *[]){"The tests need a running server: (`README.md#L10`)",
                                   "`README.md#L13-L14`:\n\n```sh\nmake server\nmake test\n```\n",
                                   NULL});
}

static void overview_is_the_readmes_first_prose(void **state)
{
    (void)state;
    expect_answer(
        "What is this project?",
        (const char *[]){"Courier is a small HTTP client for flaky networks. It "
                         "retries what can be "
                         "retried and gives up early on everything else. (`README.md#L5-L6`)",
                         NULL});
}

static void what_about_a_symbol_says_where_it_is_defined(void **state)
{
    (void)state;
    expect_answer("What is client_send?",
                  (const char *[]){"Sends a request and hands the answer to the caller. "
                                   "(`src/net/client.c#L11`) `client_send` is defined in "
                                   "`src/net/client.c#L14-L19`.\n\n```c\nint client_send(",
                                   NULL});
}

static void how_explains_with_code_and_comment(void **state)
{
    (void)state;
    expect_answer(
        "How does the client reuse a connection?",
        (const char *[]){
            "`src/net/client.c#L14-L19`:\n\n```c\nint client_send(",
            "`client_send`: A connection is reused for as long as the peer keeps it open. "
            "(`src/net/client.c#L12`)",
            NULL});
}

static void why_gives_the_reason_given(void **state)
{
    (void)state;
    expect_answer("Why do retries wait?",
                  (const char *[]){"Retries wait because a server that is overloaded needs time to "
                                   "recover. (`README.md#L19-L20`)",
                                   NULL});
}

static void when_finds_the_sentence_of_a_list(void **state)
{
    (void)state;
    expect_answer(
        "When are time-outs set?",
        (const char *[]){"Time-outs are set when the client is opened. (`README.md#L21`)", NULL});
}

static void which_lists_points_without_long_code(void **state)
{
    (void)state;
    expect_answer("Which errors are retried?",
                  (const char *[]){"Server errors and time-outs are retried, client errors never. "
                                   "(`src/net/retry.py#L43`)",
                                   NULL});
}

/* ---- what opens an answer ---- */

static const char top_py[] =
    "\"\"\"Repeats what failed for a reason that may pass.\n"
    "\n"
    "Delays double. Each is varied a little, so that failed gauges do not come back together.\n"
    "\"\"\"\n"
    "import time\n"
    "\n"
    "\n"
    "class Transient(Exception):\n"
    "    \"\"\"Worth another attempt.\"\"\"\n";
static const char call_py[] = "def call(policy, function, on_retry=None):\n"
                              "    \"\"\"function()'s result.\"\"\"\n"
                              "    for attempt in range(policy.attempts):\n"
                              "        try:\n"
                              "            return function()\n"
                              "        except Transient:\n"
                              "            time.sleep(policy.delay)\n";
static const char fake_py[] = "class SimulatedGauge:\n"
                              "    \"\"\"A gauge whose reading failed now and then.\"\"\"\n"
                              "    def __init__(self, fail_rate):\n"
                              "        self.fail_rate = fail_rate\n";
static const char poller_py[] = "def poll_once(self):\n"
                                "    level = retry.call(self.policy, self.gauge.read)\n"
                                "    self.store.put(level)\n"
                                "    self.failures = 0\n";

static void expect_opening(const char *question, const struct chat_passage *p, size_t count,
                           const char *expect)
{
    struct chat_request r = request_of(question, p, count);
    struct answer a = {0};
    struct chat_usage usage;
    assert_int_equal(answer_run(&a, &r, &usage, NULL), 0);
    if (!span_starts(buf_span(&a.text), span_str(expect)))
        print_message("answer:\n%s\n", buf_str(&a.text));
    assert_true(span_starts(buf_span(&a.text), span_str(expect)));
    sound(&r, &a);
    buf_done(&a.text);
}

static void how_opens_with_the_purpose_and_the_function_not_with_the_top_of_its_file(void **state)
{
    (void)state;
    struct chat_passage p[] = {
        passage("gauges/retry.py", "Transient", "python", top_py, 1, 1.0f),
        passage("gauges/fake.py", "SimulatedGauge", "python", fake_py, 5, 0.98f),
        passage("gauges/poller.py", "poll_once", "python", poller_py, 50, 0.9f),
        passage("gauges/retry.py", "call", "python", call_py, 32, 0.4f)};
    expect_opening("How are failed gauge readings retried?", p, ARRAY_LEN(p),
                   "Repeats what failed for a reason that may pass. (`gauges/retry.py#L1`) The "
                   "main code for this is `call` in `gauges/retry.py#L32-L38`.\n\n"
                   "```python\ndef call(policy, function, on_retry=None):\n");
}

static void the_function_is_followed_by_its_caller_not_by_a_stand_in(void **state)
{
    (void)state;
    struct chat_passage p[] = {
        passage("gauges/retry.py", "Transient", "python", top_py, 1, 1.0f),
        passage("gauges/fake.py", "SimulatedGauge", "python", fake_py, 5, 0.98f),
        passage("gauges/poller.py", "poll_once", "python", poller_py, 50, 0.5f),
        passage("gauges/retry.py", "call", "python", call_py, 32, 0.4f)};
    struct chat_request r = request_of("How are failed gauge readings retried?", p, ARRAY_LEN(p));
    struct answer a = {0};
    struct chat_usage usage;
    assert_int_equal(answer_run(&a, &r, &usage, NULL), 0);
    assert_true(has(&a, "```\n\n`poll_once`, `gauges/poller.py#L50-L53`:\n\n```python\n"));
    assert_int_equal(span_find(buf_span(&a.text), SPAN_LIT("__init__")), -1);
    sound(&r, &a);
    buf_done(&a.text);
}

static void a_sentence_that_points_back_comes_with_the_one_before_it(void **state)
{
    (void)state;
    const char *text = "# Filter\n\nThe filter runs for every level on a slow board. It is a "
                       "C program, so that a crash costs one level and not the service.\n";
    struct chat_passage p[] = {passage("docs/filter.md", "Filter", "markdown", text, 1, 1.0f)};
    expect_opening("Why is a crash of the C program harmless to the service?", p, 1,
                   "The filter runs for every level on a slow board. It is a C program, so that a "
                   "crash costs one level and not the service. (`docs/filter.md#L3`)");
    assert_true(is_leaning(SPAN_LIT("Each is varied by a share.")));
    assert_true(is_leaning(SPAN_LIT("Otherwise, the level is kept.")));
    assert_false(is_leaning(SPAN_LIT("Items are varied by a share.")));
    assert_false(is_leaning(SPAN_LIT("It")));
}

static void what_a_title_of_the_readme_is_is_said_by_the_readme(void **state)
{
    (void)state;
    struct chat_passage p[] = {
        passage("courier.toml", "", "toml", "# courier's settings are here\npath = 1\n", 1, 1.0f),
        passage("README.md", "Courier", "markdown", readme_md, 1, 0.7f)};
    expect_opening("What is Courier?", p, ARRAY_LEN(p),
                   "Courier is a small HTTP client for flaky networks.");
}

static void without_passages_it_says_what_it_looked_for(void **state)
{
    (void)state;
    struct chat_request r = request_of("Where is the `frobnicator` of teapots?", NULL, 0);
    struct answer a = {0};
    struct chat_usage usage;
    assert_int_equal(answer_run(&a, &r, &usage, NULL), 0);
    assert_true(has(&a, "Nothing in `courier` matches this question. Words looked for: "
                        "`frobnicator`, `teapots`\n"));
    assert_true(has(&a, "What to try:\n\n- "));
    assert_true(has(&a, "without a language model"));
    assert_true(usage.is_estimate && usage.completion_tokens > 0 && usage.cost <= 0);
    assert_string_equal(usage.finish, "stop");
    buf_done(&a.text);
}

/* ---- texts ---- */

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
        n++;
    return n;
}

static void every_language_has_every_text(void **state)
{
    (void)state;
    const char *codes[] = {"en", "ja", "zh", "zh-tw", "es", "kr", "vi", "pt-br", "fr", "ru"};
    size_t fields = sizeof(struct local_texts) / sizeof(char *);
    assert_int_equal(local_texts_count(), ARRAY_LEN(codes));
    const char *const *english = (const char *const *)local_texts("en");
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        const struct local_texts *t = local_texts(codes[i]);
        assert_string_equal(t->code, codes[i]);
        const char *const *texts = (const char *const *)t;
        for (size_t f = 1; f < fields; f++) {
            assert_non_null(texts[f]);
            assert_true(texts[f][0] && utf8_is_valid(span_str(texts[f])));
            assert_int_equal(count_of(texts[f], "%S"), count_of(english[f], "%S"));
            assert_int_equal(count_of(texts[f], "%L"), count_of(english[f], "%L"));
            assert_int_equal(count_of(texts[f], "%N"), count_of(english[f], "%N"));
            assert_int_equal(count_of(texts[f], "%"), count_of(english[f], "%"));
            assert_int_equal(count_of(texts[f], "`"), 0);
            assert_int_equal(count_of(texts[f], "Conclusion"), 0);
            if (i > 0)
                assert_string_not_equal(texts[f], english[f]);
        }
    }
    assert_ptr_equal(local_texts("xx"), local_texts("en"));
    assert_ptr_equal(local_texts(NULL), local_texts("en"));
}

static void fixed_texts_follow_the_language_and_quotes_do_not(void **state)
{
    (void)state;
    struct chat_passage p[COURIER_COUNT];
    courier(p);
    struct chat_request r = request_of("リトライ should_retry はどこ?", p, COURIER_COUNT);
    r.language = "ja";
    struct answer a = {0};
    struct chat_usage usage;
    assert_int_equal(answer_run(&a, &r, &usage, NULL), 0);
    assert_true(has(&a, "`src/net/retry.py#L40-L47` の `should_retry`"));
    assert_true(has(&a, "Decides whether a failed request is tried again."));
    assert_true(has(&a, "*言語モデルを使わずに、引用した行から抜き出した回答です。*"));
    sound(&r, &a);
    buf_done(&a.text);
}

/* ---- stability ---- */

static const char *const questions[] = {
    "Where is it decided whether a request is retried?",
    "How do I run the tests?",
    "What is this project?",
    "How does the map grow?",
    "Which functions allocate memory and can fail?",
    "Why are faults injected?",
    "list all error codes",
    "wie 何 где",
    "",
    "`",
};

static void same_request_gives_the_same_bytes_wherever_it_lies(void **state)
{
    (void)state;
    for (size_t q = 0; q < ARRAY_LEN(questions); q++) {
        struct chat_passage p[COURIER_COUNT];
        struct answer a[2] = {0};
        struct chat_usage usage[2];
        void *holes[2] = {mem_alloc(100 + 37 * q), NULL};
        for (int run = 0; run < 2; run++) {
            char *copies[COURIER_COUNT];
            courier(p);
            for (size_t i = 0; i < COURIER_COUNT; i++) {
                size_t at = run ? COURIER_COUNT - 1 - i : i; /* other order of addresses */
                copies[at] = mem_try_strndup(p[at].text.ptr, p[at].text.len);
                assert_non_null(copies[at]);
                p[at].text.ptr = copies[at];
            }
            struct chat_request r = request_of(questions[q], p, COURIER_COUNT);
            assert_int_equal(answer_run(&a[run], &r, &usage[run], NULL), 0);
            for (size_t i = 0; i < COURIER_COUNT; i++)
                mem_free(copies[i]);
        }
        assert_true(span_eq(buf_span(&a[0].text), buf_span(&a[1].text)));
        assert_int_equal(a[0].deltas, a[1].deltas);
        assert_int_equal(usage[0].completion_tokens, usage[1].completion_tokens);
        mem_free(holes[0]);
        buf_done(&a[0].text);
        buf_done(&a[1].text);
    }
}

static void fences_are_closed_under_every_cut(void **state)
{
    (void)state;
    struct chat_passage p[COURIER_COUNT];
    courier(p);
    struct chat_request r = request_of(questions[0], p, COURIER_COUNT);
    for (unsigned cut = 1;; cut++) {
        struct answer a = {.cancel_after = cut};
        struct chat_usage usage;
        struct err err = {0};
        int code = answer_run(&a, &r, &usage, &err);
        sound(&r, &a);
        unsigned deltas = a.deltas;
        buf_done(&a.text);
        if (code == 0) {
            assert_true(cut > 10); /* it streams */
            break;
        }
        assert_int_equal(code, -ERR_CANCELLED);
        assert_int_equal(err.code, ERR_CANCELLED);
        assert_int_equal(deltas, cut); /* not one more */
    }
}

static void what_the_reader_returns_ends_the_answer(void **state)
{
    (void)state;
    struct chat_passage p[COURIER_COUNT];
    courier(p);
    struct chat_request r = request_of(questions[0], p, COURIER_COUNT);
    for (unsigned at = 1; at < 8; at++) {
        struct answer a = {.fail_after = at, .fail_code = -ERR_LIMIT};
        struct chat_usage usage;
        struct err err = {0};
        assert_int_equal(answer_run(&a, &r, &usage, &err), -ERR_LIMIT);
        assert_int_equal(a.deltas, at);
        sound(&r, &a);
        buf_done(&a.text);
    }
}

static void every_failed_allocation_is_an_error_not_a_crash(void **state)
{
    (void)state;
    struct chat_passage p[COURIER_COUNT];
    courier(p);
    const struct chat_turn history[] = {
        {SPAN_LIT("assistant"), SPAN_LIT("see `README.md#L1-L3` and README.md#L7")}};
    for (unsigned round = 0; round < 3; round++) {
        struct chat_request r = request_of(questions[0], p, COURIER_COUNT);
        r.research_round = round;
        r.history = history;
        r.history_count = 1;
        for (uint64_t nth = 1;; nth++) {
            char mem[8192];
            struct answer a = {0};
            struct chat_usage usage;
            struct err err = {0};
            struct chat_sink sink = {&a, answer_delta};
            a.text = BUF_INIT(sizeof mem);
            assert_true(
                buf_reserve(&a.text, 8000)); /* the sink itself must not be the one that fails */
            fault_arm(FAULT_ALLOC, nth, 0);
            int code = local_chat(&r, &sink, &usage, &err);
            bool is_past = fault_seen(FAULT_ALLOC) < nth;
            fault_disarm();
            buf_done(&a.text);
            if (is_past) {
                assert_int_equal(code, 0);
                assert_true(nth > 3);
                break;
            }
            assert_int_equal(code, -ERR_NO_MEMORY);
            assert_int_equal(err.code, ERR_NO_MEMORY);
        }
    }
}

/* ---- real files ---- */

#define REAL_MAX 60
struct real {
    struct chat_passage p[REAL_MAX];
    char *texts[REAL_MAX];
    char paths[REAL_MAX][300];
    size_t files, count;
};

static void real_load(struct real *r, const char *folder)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", SOURCE_ROOT, folder);
    struct dirent **names = NULL;
    int n = scandir(path, &names, NULL, alphasort);
    assert_true(n > 2);
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.' && r->files < REAL_MAX && r->count + 3 < REAL_MAX) {
            snprintf(path, sizeof path, "%s/%s/%s", SOURCE_ROOT, folder, names[i]->d_name);
            FILE *f = fopen(path, "rb");
            assert_non_null(f);
            char *text = mem_alloc(1u << 18);
            size_t len = fread(text, 1, 1u << 18, f);
            fclose(f);
            r->texts[r->files] = text;
            snprintf(r->paths[r->files], sizeof r->paths[0], "%s/%s", folder, names[i]->d_name);
            struct span all = span_of(text, len);
            for (uint32_t line = 1, k = 0; line <= lines_count(all) && k < 3; line += 53, k++) {
                uint32_t last = line + 46 < lines_count(all) ? line + 46 : lines_count(all);
                r->p[r->count] = (struct chat_passage){.path = span_str(r->paths[r->files]),
                                                       .language = SPAN_LIT("c"),
                                                       .text = lines_slice(all, line, last),
                                                       .start_line = line,
                                                       .end_line = last,
                                                       .score = 1.0f - 0.015f * (float)r->count};
                r->count++;
            }
            r->files++;
        }
        free(names[i]);
    }
    free(names);
}

static void answers_over_real_files_quote_and_cite_exactly(void **state)
{
    (void)state;
    struct real *real = mem_alloc(sizeof *real);
    real_load(real, "src/base");
    for (size_t q = 0; q < ARRAY_LEN(questions); q++) {
        for (unsigned round = 0; round <= 5; round++) {
            struct chat_request r = request_of(questions[q], real->p, real->count);
            r.research_round = round;
            struct answer a = {0};
            struct chat_usage usage;
            assert_int_equal(answer_run(&a, &r, &usage, NULL), 0);
            /* one is enough: a place is cited once, where its lines are shown */
            assert_true(count_of(buf_str(&a.text), "#L") >= 1);
            sound(&r, &a);
            buf_done(&a.text);
        }
    }
    for (size_t i = 0; i < real->files; i++)
        mem_free(real->texts[i]);
    mem_free(real);
}

/* ---- research ---- */

/* The client's rule for the end of a research (deepwiki protocol §2.7). */
static bool ends_research(const char *t)
{
    bool open = strstr(t, "I will now proceed to") || strstr(t, "Next Steps") ||
                strstr(t, "next iteration");
    return strstr(t, "## Final Conclusion") ||
           ((strstr(t, "## Conclusion") || strstr(t, "## Summary")) && !open) ||
           strstr(t, "This concludes our research") ||
           strstr(t, "This completes our investigation") ||
           strstr(t, "This concludes the deep research process") ||
           strstr(t, "Key Findings and Implementation Details") || strstr(t, "In conclusion,") ||
           (strstr(t, "Final") && strstr(t, "Conclusion")) ||
           (strstr(t, "Dockerfile") &&
            (strstr(t, "This Dockerfile") || strstr(t, "The Dockerfile")) &&
            !strstr(t, "Next Steps") && !strstr(t, "In the next iteration"));
}

static const char trap_md[] =
    "# Research traps\n"
    "\n"
    "The Final retry is decided late. In conclusion, a request is retried rarely.\n"
    "\n"
    "## Summary\n"
    "\n"
    "This concludes our research on retries. The Dockerfile retries a request too.\n"
    "\n"
    "Key Findings and Implementation Details of retried requests. Conclusion of the retry.\n";

static void rounds_keep_the_protocols_headings_and_do_not_end_early(void **state)
{
    (void)state;
    struct chat_passage p[COURIER_COUNT + 2];
    courier(p);
    p[3] = passage("docs/traps.md", "Conclusion", "markdown", trap_md, 1, 0.9f);
    p[4] = passage("docs/Final Conclusion.md", "", "markdown", trap_md, 1, 0.9f);
    for (unsigned round = 1; round <= 6; round++) {
        struct chat_request r =
            request_of("Where is it decided whether a request is retried?", p, ARRAY_LEN(p));
        r.research_round = round;
        struct answer a = {0};
        struct chat_usage usage;
        char heading[64];
        assert_int_equal(answer_run(&a, &r, &usage, NULL), 0);
        if (round == 1)
            snprintf(heading, sizeof heading, "## Research Plan\n");
        else if (round < 5)
            snprintf(heading, sizeof heading, "## Research Update %u\n", round);
        else
            snprintf(heading, sizeof heading, "## Final Conclusion\n");
        assert_int_equal(strncmp(buf_str(&a.text), heading, strlen(heading)), 0);
        assert_int_equal(ends_research(buf_str(&a.text)), round >= 5);
        if (round < 5)
            assert_true(has(&a, "\n## Next Steps\n"));
        sound(&r, &a);
        buf_done(&a.text);
        r.passage_count = 0;
        a = (struct answer){0};
        assert_int_equal(answer_run(&a, &r, &usage, NULL), 0);
        assert_int_equal(strncmp(buf_str(&a.text), heading, strlen(heading)), 0);
        assert_int_equal(ends_research(buf_str(&a.text)), round >= 5);
        buf_done(&a.text);
    }
}

static void middle_rounds_bring_what_was_not_cited_yet(void **state)
{
    (void)state;
    struct real *real = mem_alloc(sizeof *real);
    real_load(real, "src/base");
    struct answer rounds[4] = {0};
    struct chat_turn history[8];
    struct chat_request r = request_of("How do failed allocations and faults work?", real->p, 20);
    r.history = history;
    for (unsigned n = 0; n < 4; n++) {
        struct chat_usage usage;
        r.research_round = n + 1;
        r.history_count = 2 * n;
        assert_int_equal(answer_run(&rounds[n], &r, &usage, NULL), 0);
        sound(&r, &rounds[n]);
        struct span rest = buf_span(&rounds[n].text), line;
        size_t new_citations = 0;
        while (span_next(&rest, '`', &line)) { /* inline code: citations stand between ticks */
            ptrdiff_t hash = span_find(line, SPAN_LIT("#L"));
            if (hash <= 0 || span_find_char(line, ' ') >= 0 || span_find_char(line, '\n') >= 0)
                continue;
            new_citations++;
            char quoted[256];
            snprintf(quoted, sizeof quoted, "`%.*s`", (int)line.len, line.ptr);
            for (unsigned k = 0; k < n; k++)
                assert_null(strstr(buf_str(&rounds[k].text), quoted));
        }
        assert_true(new_citations >= (n < 3 ? 2u : 1u)); /* the last of them is what is left */
        history[2 * n] = (struct chat_turn){SPAN_LIT("user"), SPAN_LIT("go on")};
        history[2 * n + 1] = (struct chat_turn){SPAN_LIT("assistant"), buf_span(&rounds[n].text)};
    }
    for (unsigned n = 0; n < 4; n++)
        buf_done(&rounds[n].text);
    for (size_t i = 0; i < real->files; i++)
        mem_free(real->texts[i]);
    mem_free(real);
}

/* ---- odd passages ---- */

static void odd_passages_do_not_break_the_markdown(void **state)
{
    (void)state;
    const char *texts[] = {
        "",
        "\n",
        "/* never closed\n * retry request",
        "```\n````\nretry\n```",
        "retry ```js\nrequest\n",
        "* retry\n */\nint x;\n",
        "\xff\xfe retry \x80",
        "retry",
        "\"\"\"retry",
        "# retry `open\n\n~~~\nrequest\n",
        "if (retry) { /* request",
        "'''\n'''\n'''",
    };
    const char *languages[] = {"", "c", "python", "markdown", "html", "lua", "sql"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        for (size_t k = 0; k < ARRAY_LEN(languages); k++) {
            struct chat_passage p[1] = {passage("a.x", "retry`x", languages[k], texts[i], 5, 1)};
            if (lines_count(p[0].text) == 0)
                p[0].end_line = 5;
            struct chat_request r =
                request_of("Where is a request retried? How do I run it?", p, 1);
            if (!utf8_is_valid(p[0].text))
                continue; /* passages are valid by contract; the fuzz target tries the others */
            struct answer a = {0};
            struct chat_usage usage;
            assert_int_equal(answer_run(&a, &r, &usage, NULL), 0);
            sound(&r, &a);
            buf_done(&a.text);
        }
    }
}

static void usage_counts_the_prompt_when_there_is_one(void **state)
{
    (void)state;
    struct chat_passage p[COURIER_COUNT];
    courier(p);
    struct chat_request r = request_of(questions[0], p, COURIER_COUNT);
    struct answer a = {0};
    struct chat_usage with, without;
    assert_int_equal(answer_run(&a, &r, &without, NULL), 0);
    buf_done(&a.text);
    r.prompt = SPAN_LIT("a prompt of a few words");
    a = (struct answer){0};
    assert_int_equal(answer_run(&a, &r, &with, NULL), 0);
    buf_done(&a.text);
    assert_true(with.prompt_tokens < 12 && without.prompt_tokens > 200);
    assert_int_equal(with.completion_tokens, without.completion_tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_names_the_definition_and_shows_what_decides),
        cmocka_unit_test(how_to_run_gives_the_command_block_and_its_sentence),
        cmocka_unit_test(overview_is_the_readmes_first_prose),
        cmocka_unit_test(what_about_a_symbol_says_where_it_is_defined),
        cmocka_unit_test(how_opens_with_the_purpose_and_the_function_not_with_the_top_of_its_file),
        cmocka_unit_test(the_function_is_followed_by_its_caller_not_by_a_stand_in),
        cmocka_unit_test(a_sentence_that_points_back_comes_with_the_one_before_it),
        cmocka_unit_test(what_a_title_of_the_readme_is_is_said_by_the_readme),
        cmocka_unit_test(how_explains_with_code_and_comment),
        cmocka_unit_test(why_gives_the_reason_given),
        cmocka_unit_test(when_finds_the_sentence_of_a_list),
        cmocka_unit_test(which_lists_points_without_long_code),
        cmocka_unit_test(without_passages_it_says_what_it_looked_for),
        cmocka_unit_test(every_language_has_every_text),
        cmocka_unit_test(fixed_texts_follow_the_language_and_quotes_do_not),
        cmocka_unit_test(same_request_gives_the_same_bytes_wherever_it_lies),
        cmocka_unit_test(fences_are_closed_under_every_cut),
        cmocka_unit_test(what_the_reader_returns_ends_the_answer),
        cmocka_unit_test(every_failed_allocation_is_an_error_not_a_crash),
        cmocka_unit_test(answers_over_real_files_quote_and_cite_exactly),
        cmocka_unit_test(rounds_keep_the_protocols_headings_and_do_not_end_early),
        cmocka_unit_test(middle_rounds_bring_what_was_not_cited_yet),
        cmocka_unit_test(odd_passages_do_not_break_the_markdown),
        cmocka_unit_test(usage_counts_the_prompt_when_there_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
