/*
 * Promises of a run over the real client and the real formats, against tests/fakes/provider.py on
 * loopback: each way a provider fails ends once, with the exact text, usage and words; a cancel
 * reaches it within 100 ms; many runs at once; no key in the log.
 */
#include "../cm.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "providers/run.h"
#include "text/tokens.h"

#include <arpa/inet.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY "sk-fake-secret-0123456789"
#define PROMPT "Say five words."
#define FIVE "w0 w1 w2 w3 w4 "

static struct {
    pid_t pid;
    int quit; /* its standard input: closed, it ends */
    unsigned port;
    struct loop *loop;
    struct http_client *http;
    char log_path[64];
} bed;

/* ---- the fake ---- */

static int start_fake(void)
{
    int in[2], out[2];
    if (pipe(in) < 0 || pipe(out) < 0 || (bed.pid = fork()) < 0)
        return -1;
    if (bed.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        execl("/usr/bin/python3", "python3", FAKE, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    bed.quit = in[1];
    FILE *f = fdopen(out[0], "r");
    int n = f ? fscanf(f, "port %u", &bed.port) : 0;
    if (f)
        fclose(f);
    return n == 1 ? 0 : -1;
}

/*
 * The fake's record of the requests whose path holds `part`, the last of them. Caller: json_decref.
 */
static json_t *fake_saw(const char *part, size_t *ret_count)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)bed.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    static const char ask[] = "GET /_log HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(write(fd, ask, sizeof ask - 1), sizeof ask - 1);
    struct buf b = BUF_INIT(8u << 20);
    char piece[4096];
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) > 0)
        buf_put(&b, piece, (size_t)n);
    close(fd);
    ptrdiff_t body = span_find(buf_span(&b), SPAN_LIT("\r\n\r\n"));
    assert_true(body > 0);
    struct err err;
    json_t *all = json_read(span_skip(buf_span(&b), (size_t)body + 4), &err, NULL), *found = NULL,
           *v;
    size_t i;
    *ret_count = 0;
    json_array_foreach(all, i, v)
    {
        if (!strstr(json_str(v, "path", ""), part))
            continue;
        ++*ret_count;
        json_decref(found);
        found = json_incref(v);
    }
    json_decref(all);
    buf_done(&b);
    return found;
}

/* ---- one run ---- */

struct told {
    struct runner *runner;
    struct run_request request;
    struct provider_endpoint endpoints[3];
    char urls[3][200];
    struct run *run;
    struct loop_msg msg;
    struct buf text, notes, resets;
    sem_t *over;
    int ends, result;
    enum wire_error_class error_class;
    char message[500];
    struct chat_usage usage;
    unsigned texts, cancel_at;
    int64_t cancelled_at_ms; /* wall */
};

static bool on_text(void *ctx, struct span text)
{
    struct told *o = ctx;
    buf_put_span(&o->text, text);
    if (++o->texts == o->cancel_at) {
        o->cancelled_at_ms = clock_wall_ms();
        run_cancel(o->run);
    }
    return true;
}
static void on_reset(void *ctx, const char *why)
{
    struct told *o = ctx;
    buf_clear(&o->text);
    buf_printf(&o->resets, "[%s]", why);
}
static void on_note(void *ctx, const char *message)
{
    buf_printf(&((struct told *)ctx)->notes, "[%s]", message);
}
static void on_end(void *ctx, int result, enum wire_error_class error_class, const char *message,
                   const struct chat_usage *usage)
{
    struct told *o = ctx;
    o->ends++;
    o->result = result;
    o->error_class = error_class;
    snprintf(o->message, sizeof o->message, "%s", message);
    o->usage = *usage;
    sem_post(o->over);
}
static const struct run_callbacks callbacks = {on_text, on_reset, on_note, on_end};

static void start_on_loop(struct loop_msg *m)
{
    struct told *o = container_of(m, struct told, msg);
    struct err err;
    if (run_start(o->runner, bed.http, &o->request, &callbacks, o, &o->run, &err) < 0)
        sem_post(o->over);
}

static uint64_t no_random(void *ctx)
{
    (void)ctx;
    return 0;
}

static void endpoint_add(struct told *o, const struct wire_format *format, const char *path,
                         const char *key)
{
    static const char *const labels[] = {"fake", "fake#2", "fake#3"};
    size_t n = o->request.endpoint_count++;
    snprintf(o->urls[n], sizeof o->urls[n], "http://127.0.0.1:%u/%s", bed.port, path);
    o->endpoints[n] = (struct provider_endpoint){
        .format = format, .label = labels[n], .target = {.base_url = o->urls[n], .api_key = key}};
}

static void begin(struct told *o, struct runner *runner, sem_t *over)
{
    o->runner = runner;
    o->over = over;
    o->request.provider = "fake";
    snprintf(o->request.model.id, sizeof o->request.model.id, "m");
    o->request.model.price =
        (struct provider_price){.input_per_million = 1, .output_per_million = 2, .is_known = true};
    o->request.endpoints = o->endpoints;
    o->request.prompt = SPAN_LIT(PROMPT);
    o->text = o->notes = o->resets = BUF_INIT(1u << 20);
    o->msg.deliver = start_on_loop;
    loop_post(bed.loop, &o->msg);
}

static void told_done(struct told *o)
{
    buf_done(&o->text);
    buf_done(&o->notes);
    buf_done(&o->resets);
}

static struct runner *new_runner(void)
{
    struct runner *r = NULL;
    struct err err;
    assert_int_equal(runner_new(&r, &err), 0);
    runner_set_sources(r, &(struct runner_sources){.random = no_random});
    return r;
}

static void settled(struct loop_msg *m)
{
    sem_post(container_of(m, struct told, msg)->over);
}

static void play(struct told *o)
{
    struct runner *r = new_runner();
    sem_t over;
    sem_init(&over, 0, 0);
    begin(o, r, &over);
    sem_wait(&over);
    o->msg.deliver = settled; /* a turn later nothing of the run is left */
    loop_post(bed.loop, &o->msg);
    sem_wait(&over);
    sem_destroy(&over);
    runner_free(r);
    assert_int_equal(o->ends, 1);
}

/* ---- every format, every fault ---- */

static const struct {
    const struct wire_format *format;
    const char *suffix;
} formats[] = {
    {&wire_openai, "/v1"}, {&wire_anthropic, ""}, {&wire_gemini, "/v1beta"}, {&wire_ollama, ""}};

struct chaos {
    const char *first, *second; /* scripts; second NULL = one endpoint */
    int result;
    const char *text;
    const char *message; /* NULL = depends on the format */
    const char *notes;
    uint64_t prompt, completion; /* with is_estimate: completion is estimated from `counted` */
    const char *counted;
    bool has_reset;
};

#define CUT_WORDS "w0 w1 w2 "
static const struct chaos rows[] = {
    {"pace=0.001", NULL, 0, FIVE, "", "", 11, 5, NULL, false},
    {"nousage=1", NULL, 0, FIVE, "", "", 0, 0, FIVE, false},
    {"status=500+times=1+words=later+run=a", NULL, 0, FIVE, "",
     "[waiting 0.0 s: HTTP 500: later; then trying again]", 11, 5, NULL, false},
    {"status=429+retry=1+times=1+run=b", NULL, 0, FIVE, "",
     "[waiting 1.0 s: the provider asked for it]", 11, 5, NULL, false},
    {"status=429+retry=900", NULL, -ERR_UPSTREAM, "", "HTTP 429: no; it asks to wait 600 s", "", 0,
     0, NULL, false},
    {"key=other", "tokens=5", 0, FIVE, "", "", 11, 5, NULL, false},
    {"key=other", NULL, -ERR_UPSTREAM, "", NULL, "", 0, 0, NULL, false},
    {"cut=3+nousage=1", NULL, -ERR_UPSTREAM, CUT_WORDS, NULL, "", 0, 0, CUT_WORDS, false},
    {"cut=3+nousage=1", "tokens=5", 0, FIVE, "", "", 11, 5, CUT_WORDS, true},
    {"trunc=3+nousage=1", NULL, -ERR_UPSTREAM, CUT_WORDS, "the answer was cut off before its end",
     "", 0, 0, CUT_WORDS, false},
    {"stall=3+nousage=1", NULL, -ERR_TIMEOUT, CUT_WORDS,
     "the provider stopped in the middle: nothing for 0.3 s", "", 0, 0, CUT_WORDS, false},
    {"stall=3+nousage=1", "tokens=5", 0, FIVE, "", "", 11, 5, CUT_WORDS, true},
    {"bad=3+nousage=1", NULL, -ERR_UPSTREAM, CUT_WORDS,
     "the provider sent something that is not an answer in its format", "", 0, 0, CUT_WORDS, false},
    {"error=3+nousage=1", NULL, -ERR_UPSTREAM, CUT_WORDS, NULL, "", 0, 0, CUT_WORDS, false},
    {"slow=30+nousage=1", "tokens=5", 0, FIVE, "", "", 11, 5, "", false},
};

static void check_row(const struct chaos *row, size_t f, const struct told *o)
{
    uint64_t prompt = row->prompt, completion = row->completion;
    if (row->counted) {
        prompt += tokens_estimate(SPAN_LIT(PROMPT));
        completion += tokens_estimate(span_str(row->counted));
    }
    bool is_same = o->result == row->result && strcmp(buf_str(&o->text), row->text) == 0 &&
                   (!row->message || strcmp(o->message, row->message) == 0) &&
                   strcmp(buf_str(&o->notes), row->notes) == 0 &&
                   o->usage.prompt_tokens == prompt && o->usage.completion_tokens == completion &&
                   o->usage.is_estimate == (row->counted != NULL) &&
                   row->has_reset == (o->resets.len > 0);
    if (!is_same)
        fail_msg("%s %s: %d '%s' '%s' %s %s %llu/%llu %d, want %llu/%llu", formats[f].format->name,
                 row->first, o->result, buf_str(&o->text), o->message, buf_str(&o->notes),
                 buf_str(&o->resets), (unsigned long long)o->usage.prompt_tokens,
                 (unsigned long long)o->usage.completion_tokens, o->usage.is_estimate,
                 (unsigned long long)prompt, (unsigned long long)completion);
    double off = o->usage.cost - ((double)prompt + 2 * (double)completion) / 1e6;
    assert_true(off < 1e-12 && off > -1e-12);
    assert_null(strstr(o->message, KEY));
}

static void every_fault_ends_once_and_exactly(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            char path[150];
            struct told o = {.request.first_token_timeout_ms = 1500,
                             .request.idle_timeout_ms = 300};
            snprintf(path, sizeof path, "%s+f=%zu%s", rows[i].first, f, formats[f].suffix);
            endpoint_add(&o, formats[f].format, path, KEY);
            if (rows[i].second) {
                snprintf(path, sizeof path, "%s%s", rows[i].second, formats[f].suffix);
                endpoint_add(&o, formats[f].format, path, KEY);
            }
            play(&o);
            check_row(&rows[i], f, &o);
            told_done(&o);
        }
    }
}

static void two_keys_of_one_provider_stand_in_for_each_other(void **state)
{
    (void)state;
    struct told o = {0};
    endpoint_add(&o, &wire_openai, "key=good+keys=1/v1", "bad");
    endpoint_add(&o, &wire_openai, "key=good+keys=1/v1", "good");
    play(&o);
    assert_int_equal(o.result, 0);
    assert_string_equal(buf_str(&o.text), FIVE);
    size_t count = 0;
    json_t *seen = fake_saw("keys=1", &count);
    assert_int_equal(count, 2);
    assert_string_equal(json_str(seen, "key", ""), "good");
    assert_string_equal(json_str(seen, "prompt", ""), PROMPT);
    json_decref(seen);
    told_done(&o);
}

static void cancel_reaches_the_provider_within_100_ms(void **state)
{
    (void)state;
    struct told o = {.cancel_at = 3};
    endpoint_add(&o, &wire_openai, "tokens=1000+pace=0.02+cancel=1/v1", KEY);
    play(&o);
    assert_int_equal(o.result, -ERR_CANCELLED);
    assert_string_equal(buf_str(&o.text), CUT_WORDS);
    json_t *seen = NULL;
    size_t count = 0;
    for (int i = 0; i < 50; i++) {
        seen = fake_saw("cancel=1", &count);
        if (json_flag(seen, "closed", false))
            break;
        json_decref(take_ptr(seen));
        clock_pause_ms(20);
    }
    assert_non_null(seen);
    double took_ms = json_num(seen, "closed_at", 0) * 1000 - (double)o.cancelled_at_ms;
    printf("cancel to close seen by the provider: %.1f ms\n", took_ms);
    assert_true(took_ms < 100);
    json_decref(seen);
    told_done(&o);
}

static void comments_alone_do_not_keep_a_stream_alive(void **state)
{
    (void)state;
    struct told o = {.request.idle_timeout_ms = 300};
    endpoint_add(&o, &wire_openai, "stall=1+comments=0.05/v1", KEY);
    play(&o);
    assert_int_equal(o.result, -ERR_TIMEOUT);
    assert_string_equal(buf_str(&o.text), "w0 ");
    told_done(&o);
}

#define MANY 200
static void many_runs_at_once_all_end_right(void **state)
{
    (void)state;
    struct told *all = mem_alloc(MANY * sizeof *all);
    struct runner *r = new_runner();
    sem_t over;
    sem_init(&over, 0, 0);
    for (size_t i = 0; i < MANY; i++) {
        /* Every fourth breaks off and begins anew, every fourth is cancelled. */
        bool breaks = i % 4 == 1;
        char path[100];
        all[i].cancel_at = i % 4 == 2 ? 2 : 0;
        snprintf(path, sizeof path, "tokens=5+pace=0.01%s+many=%zu/v1", breaks ? "+cut=2" : "", i);
        endpoint_add(&all[i], &wire_openai, path, KEY);
        endpoint_add(&all[i], &wire_openai, "tokens=5/v1", KEY);
        begin(&all[i], r, &over);
    }
    for (size_t i = 0; i < MANY; i++)
        sem_wait(&over);
    for (size_t i = 0; i < MANY; i++) {
        struct told *o = &all[i];
        assert_int_equal(o->ends, 1);
        assert_int_equal(o->result, o->cancel_at ? -ERR_CANCELLED : 0);
        assert_string_equal(buf_str(&o->text), o->cancel_at ? "w0 w1 " : FIVE);
        assert_int_equal(o->resets.len > 0, i % 4 == 1);
        told_done(o);
    }
    all[0].msg.deliver = settled; /* a turn later nothing of the runs is left */
    loop_post(bed.loop, &all[0].msg);
    sem_wait(&over);
    sem_destroy(&over);
    runner_free(r);
    mem_free(all);
}

/* ---- bed ---- */

static void make_client(struct loop_msg *m)
{
    struct told *o = container_of(m, struct told, msg);
    struct err err;
    o->result = http_client_new(bed.loop, &(struct http_client_options){0}, &bed.http, &err);
    sem_post(o->over);
}
static void free_client(struct loop_msg *m)
{
    http_client_free(bed.http);
    sem_post(container_of(m, struct told, msg)->over);
}

static int on_loop(void (*deliver)(struct loop_msg *m))
{
    sem_t over;
    struct told o = {.over = &over, .msg.deliver = deliver};
    sem_init(&over, 0, 0);
    loop_post(bed.loop, &o.msg);
    sem_wait(&over);
    sem_destroy(&over);
    return o.result;
}

static int up(void **state)
{
    (void)state;
    struct err err;
    signal(SIGPIPE, SIG_IGN);
    snprintf(bed.log_path, sizeof bed.log_path, "/tmp/chaos-log-%d", (int)getpid());
    const struct log_options log = {.level = LOG_LEVEL_DEBUG, .path = bed.log_path};
    if (start_fake() < 0 || log_start(&log, &err) < 0 || loop_new("test", &bed.loop, &err) < 0 ||
        loop_start(bed.loop, &err) < 0)
        return -1;
    return on_loop(make_client);
}

static int down(void **state)
{
    (void)state;
    on_loop(free_client);
    loop_stop(bed.loop);
    loop_free(bed.loop);
    log_stop();
    close(bed.quit);
    waitpid(bed.pid, NULL, 0);
    struct buf b = BUF_INIT(16u << 20);
    FILE *f = fopen(bed.log_path, "r");
    char piece[4096];
    size_t n;
    while (f && (n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_put(&b, piece, n);
    if (f)
        fclose(f);
    unlink(bed.log_path);
    bool is_logged = span_find(buf_span(&b), SPAN_LIT("attempt failed")) >= 0;
    bool is_leaked = span_find(buf_span(&b), SPAN_LIT(KEY)) >= 0 ||
                     span_find(buf_span(&b), SPAN_LIT(PROMPT)) >= 0;
    buf_done(&b);
    if (!is_logged || is_leaked)
        fprintf(stderr, "log: %s\n", is_leaked ? "holds a secret" : "says nothing of failures");
    return is_logged && !is_leaked ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_ends_once_and_exactly),
        cmocka_unit_test(two_keys_of_one_provider_stand_in_for_each_other),
        cmocka_unit_test(cancel_reaches_the_provider_within_100_ms),
        cmocka_unit_test(comments_alone_do_not_keep_a_stream_alive),
        cmocka_unit_test(many_runs_at_once_all_end_right),
    };
    return cmocka_run_group_tests(tests, up, down);
}
