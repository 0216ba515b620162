/* Promises of the wire formats' parts: characters, values, binary messages, signatures; and of the models' limits. */
#include "../cm.h"
#include "base/mem.h"
#include "providers/model_limits.h"
#include "providers/wire_priv.h"
#include "text/utf8.h"
#include "wire_trace.h"

#include <stdio.h>

/* ---- signatures: the examples AWS publishes ---- */

static void sign_example(struct wire_sign s, const char *signature)
{
    struct wire_signature got;
    s.host = span_str("example.amazonaws.com");
    s.service = "service";
    s.region = "us-east-1";
    s.access_key_id = "AKIDEXAMPLE";
    s.secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    s.wall_ms = INT64_C(1440938160000);
    assert_int_equal(wire_sign(&s, &got, NULL), 0);
    assert_string_equal(got.date, "20150830T123600Z");
    if (!span_ends(span_str(got.authorization), span_str(signature)))
        fail_msg("%s\nexpected %s", got.authorization, signature);
}

static void signatures_match_the_published_examples(void **state)
{
    (void)state;
    struct span root = SPAN_LIT("/");
    sign_example((struct wire_sign){.method = "GET", .path = root},
                 "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                 "SignedHeaders=host;x-amz-date, "
                 "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    sign_example((struct wire_sign){.method = "POST", .path = root},
                 "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    sign_example((struct wire_sign){.method = "GET",
                                    .path = root,
                                    .query = SPAN_LIT("Param1=value1&Param2=value2")},
                 "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
    sign_example((struct wire_sign){.method = "GET", .path = SPAN_LIT("/\xe1\x88\xb4")},
                 "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85");
    sign_example((struct wire_sign){.method = "GET", .path = SPAN_LIT("/example space/")},
                 "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741");
    sign_example(
        (struct wire_sign){
            .method = "POST",
            .path = root,
            .session_token =
                "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeM"
                "icRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZa"
                "mpKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr"
                "7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR"
                "/oLxBA=="},
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead");
}

static void signatures_refuse_what_does_not_fit(void **state)
{
    (void)state;
    static char huge[2000];
    memset(huge, 'k', sizeof huge - 1);
    struct wire_signature got;
    struct err err = {0};
    struct wire_sign s = {.method = "POST",
                          .service = "bedrock",
                          .region = "us-east-1",
                          .access_key_id = "A",
                          .secret_access_key = huge};
    assert_int_equal(wire_sign(&s, &got, &err), -ERR_INVALID);
    assert_null(strstr(err.msg, "kkk"));
    s.secret_access_key = "x";
    s.access_key_id = huge;
    assert_int_equal(wire_sign(&s, &got, &err), -ERR_INVALID);
    s.access_key_id = "A";
    s.region = huge;
    assert_int_equal(wire_sign(&s, &got, &err), -ERR_INVALID);
}

/* ---- binary messages ---- */

struct seen {
    unsigned count;
    char name[64], payload[64];
};

static int see_frame(void *ctx, const struct wire_frame *m)
{
    struct seen *s = ctx;
    s->count++;
    snprintf(s->name, sizeof s->name, SPAN_FMT "/" SPAN_FMT, SPAN_ARG(m->type), SPAN_ARG(m->name));
    snprintf(s->payload, sizeof s->payload, SPAN_FMT, SPAN_ARG(m->payload));
    return 0;
}

static int feed_frames(struct span bytes, struct seen *seen)
{
    struct wire_frames f;
    wire_frames_init(&f);
    int r = wire_frames_feed(&f, bytes, see_frame, seen);
    wire_frames_done(&f);
    return r;
}

static void crc32_matches_its_check_value(void **state)
{
    (void)state;
    assert_int_equal(wire_crc32(0, SPAN_LIT("123456789")), 0xcbf43926);
    assert_int_equal(wire_crc32(wire_crc32(0, SPAN_LIT("1234")), SPAN_LIT("56789")), 0xcbf43926);
}

static void binary_messages_refuse_every_flipped_bit(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(4096);
    trace_put_frame(&b, "event", ":event-type", SPAN_LIT("metadata"), SPAN_LIT("{\"a\":1}"));
    struct seen seen = {0};
    assert_int_equal(feed_frames(buf_span(&b), &seen), 0);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.name, "event/metadata");
    assert_string_equal(seen.payload, "{\"a\":1}");
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        seen.count = 0;
        b.ptr[bit / 8] = (char)(b.ptr[bit / 8] ^ (1 << bit % 8));
        int r = feed_frames(buf_span(&b), &seen);
        b.ptr[bit / 8] = (char)(b.ptr[bit / 8] ^ (1 << bit % 8));
        assert_int_equal(r, -ERR_UPSTREAM);
        assert_int_equal(seen.count, 0);
    }
    buf_done(&b);
}

static void put_be32(struct buf *b, uint32_t v)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(b, (char)(v >> shift));
}

/* A message whose checksums are right. */
static int feed_headers(struct span headers, uint32_t headers_len, uint32_t total)
{
    struct buf b = BUF_INIT(1 << 16);
    struct seen seen = {0};
    put_be32(&b, total);
    put_be32(&b, headers_len);
    put_be32(&b, wire_crc32(0, buf_span(&b)));
    buf_put_span(&b, headers);
    put_be32(&b, wire_crc32(0, buf_span(&b)));
    int r = feed_frames(buf_span(&b), &seen);
    buf_done(&b);
    return r;
}

static void binary_messages_check_lengths_and_header_types(void **state)
{
    (void)state;
    static const char all_types[] =
        "\1a\0\1b\1\1c\2x\1d\3xx\1e\4xxxx\1f\5xxxxxxxx\1g\6\0\1x\1h\7\0\2xx"
        "\1i\10xxxxxxxx\1j\11xxxxxxxxxxxxxxxx";
    struct span all = span_of(all_types, sizeof all_types - 1);
    assert_int_equal(feed_headers(all, (uint32_t)all.len, 16 + (uint32_t)all.len), 0);
    for (size_t n = 1; n < 12; n++) /* cut inside of a header */
        if (n != 3 && n != 6 && n != 10)
            assert_int_equal(feed_headers(span_first(all, n), (uint32_t)n, 16 + (uint32_t)n),
                             -ERR_UPSTREAM);
    assert_int_equal(feed_headers(SPAN_LIT("\1a\12"), 3, 19), -ERR_UPSTREAM); /* no such type */
    assert_int_equal(feed_headers(SPAN_LIT("\1a\0"), 4, 19),
                     -ERR_UPSTREAM); /* headers past the end */
    assert_int_equal(feed_headers(SPAN_NULL, 0, 15), -ERR_UPSTREAM);
    assert_int_equal(feed_headers(SPAN_NULL, 0, LIMIT_WIRE_EVENT + 1), -ERR_TOO_LARGE);
    struct buf many = BUF_INIT(4096);
    for (unsigned i = 0; i <= LIMIT_WIRE_HEADERS_COUNT; i++)
        buf_put(&many, "\1a\0", 3);
    assert_int_equal(feed_headers(span_first(buf_span(&many), many.len - 3), (uint32_t)many.len - 3,
                                  16 + (uint32_t)many.len - 3),
                     0);
    assert_int_equal(feed_headers(buf_span(&many), (uint32_t)many.len, 16 + (uint32_t)many.len),
                     -ERR_UPSTREAM);
    buf_done(&many);
}

/* ---- values ---- */

static int see_value(void *ctx, struct span value)
{
    struct buf *out = ctx;
    buf_put_span(out, value);
    buf_putc(out, ';');
    return 0;
}

static int split(const char *text, struct buf *out)
{
    struct wire_split s;
    wire_split_init(&s);
    int r = wire_split_feed(&s, span_str(text), see_value, out);
    wire_split_done(&s);
    return r;
}

static void bodies_are_cut_into_objects(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
        int result;
    } rows[] = {
        {"{\"a\":1}\n{\"b\":[{}]}\r\n\n{}", "{\"a\":1};{\"b\":[{}]};{};", 0},
        {" [ {\"a\":\"]}\\\"\"} , {} ] \n", "{\"a\":\"]}\\\"\"};{};", 0},
        {"{\"a\":1} x", "{\"a\":1};", -ERR_UPSTREAM},
        {"[{}] {}", "{};", -ERR_UPSTREAM},
        {"[[{}]]", "", -ERR_UPSTREAM},
        {"{},{}", "{};", -ERR_UPSTREAM},
        {"null", "", -ERR_UPSTREAM},
        {"{\"a\":\"\n\"}", "", -ERR_UPSTREAM},
        {"{\"half", "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = BUF_INIT(1024);
        assert_int_equal(split(rows[i].in, &out), rows[i].result);
        assert_string_equal(buf_str(&out), rows[i].out);
        buf_done(&out);
    }
}

/* ---- text ---- */

struct texts {
    struct buf answer, reasoning;
};

static int see_text(void *ctx, const struct wire_event *e)
{
    struct texts *t = ctx;
    assert_true(utf8_is_valid(e->text));
    buf_put_span(e->type == WIRE_TEXT ? &t->answer : &t->reasoning, e->text);
    return 0;
}

/* Bytes that are cut anywhere, also inside of a character and of a tag. */
static void check_split(struct span all, const char *answer, const char *reasoning)
{
    for (size_t at = 0; at <= all.len; at++) {
        struct texts got = {BUF_INIT(1 << 16), BUF_INIT(1 << 16)};
        struct wire_sink sink = {see_text, &got};
        struct wire_text t;
        wire_text_init(&t, true);
        assert_int_equal(wire_text_answer(&t, span_first(all, at), false, &sink), 0);
        assert_int_equal(wire_text_answer(&t, span_skip(all, at), false, &sink), 0);
        assert_int_equal(wire_text_end(&t, &sink), 0);
        assert_string_equal(buf_str(&got.answer), answer);
        assert_string_equal(buf_str(&got.reasoning), reasoning);
        wire_text_done(&t);
        buf_done(&got.answer);
        buf_done(&got.reasoning);
    }
}

static void text_comes_in_whole_characters_wherever_it_is_cut(void **state)
{
    (void)state;
    check_split(SPAN_LIT("<think>héé</think>\n 日本語😀é"), "日本語😀é", "héé");
    check_split(SPAN_LIT("<think></think>x"), "x", "");
    check_split(SPAN_LIT("a\xff\x80z\xe6\x97"), "a\ufffd\ufffdz\ufffd", "");
    check_split(SPAN_LIT("\xed\xa0\xbd\xed\xb8\x80 \xed\xa0\xbd! \xed\xb8\x80"), "😀 \ufffd! \ufffd",
                "");
    check_split(SPAN_LIT(" \n<thin ice"), " \n<thin ice", "");
    check_split(SPAN_LIT(""), "", "");
    check_split(SPAN_LIT("<think>a</think</think>b"), "b", "a</think");
}

static void json_with_halves_of_characters_is_joined_with_the_next(void **state)
{
    (void)state;
    static const struct span pieces[] = {
        SPAN_INIT("{\"t\":\"x\xe6\x97\"}"), SPAN_INIT("{\"t\":\"\xa5\\ud83d\"}"),
        SPAN_INIT("{\"t\":\"\\uDE00 \\\\ud83d \\\"\"}"),
        SPAN_INIT("{\"t\":\"\\ud83d\\ude00\\ud83d\"}"), SPAN_INIT("{\"t\":\"z\\\\\\udfff\"}")};
    struct texts got = {BUF_INIT(1 << 16), BUF_INIT(1 << 16)};
    struct wire_sink sink = {see_text, &got};
    struct wire_text t;
    wire_text_init(&t, true);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        bool has_marks;
        int code;
        json_t *v = wire_json_read(pieces[i], &has_marks, &code);
        assert_non_null(v);
        assert_true(has_marks);
        assert_int_equal(wire_text_answer(&t, json_span(json_object_get(v, "t")), has_marks, &sink),
                         0);
        json_decref(v);
    }
    assert_int_equal(wire_text_end(&t, &sink), 0);
    assert_string_equal(buf_str(&got.answer), "x日😀 \\ud83d \"😀\ufffdz\\\ufffd");
    wire_text_done(&t);
    buf_done(&got.answer);
    buf_done(&got.reasoning);
}

static int count_bytes(void *ctx, const struct wire_event *e)
{
    *(size_t *)ctx += e->text.len;
    return 0;
}

static void text_and_thinking_have_bounds(void **state)
{
    (void)state;
    static char block[1 << 20];
    memset(block, 'a', sizeof block);
    size_t total = 0;
    struct wire_sink sink = {count_bytes, &total};
    struct wire_text t;
    wire_text_init(&t, false);
    for (unsigned i = 0; i < 2 * (LIMIT_WIRE_REASONING / sizeof block); i++)
        assert_int_equal(wire_text_reasoning(&t, span_of(block, sizeof block), false, &sink), 0);
    assert_int_equal(total, LIMIT_WIRE_REASONING);
    total = 0;
    for (unsigned i = 0; i < LIMIT_WIRE_ANSWER / sizeof block; i++)
        assert_int_equal(wire_text_answer(&t, span_of(block, sizeof block), false, &sink), 0);
    assert_int_equal(total, LIMIT_WIRE_ANSWER);
    assert_int_equal(wire_text_answer(&t, SPAN_LIT("a"), false, &sink), -ERR_TOO_LARGE);
    wire_text_done(&t);
}

/* A body that never ends: each format stops at its bound. */
static void endless_events_are_refused(void **state)
{
    (void)state;
    static char block[1 << 20];
    static const struct wire_format *const formats[] = {&wire_openai, &wire_gemini, &wire_ollama,
                                                        &wire_anthropic};
    memset(block, 'a', sizeof block);
    size_t total = 0;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        struct wire_reader *r;
        assert_int_equal(formats[i]->reader_new(&r), 0);
        struct span start =
            formats[i] == &wire_ollama ? SPAN_LIT("{\"a\":\"") : SPAN_LIT("data: {\"a\":\"");
        int result = formats[i]->feed(r, start, count_bytes, &total);
        for (unsigned n = 0; n < 8 && result == 0; n++)
            result = formats[i]->feed(r, span_of(block, sizeof block), count_bytes, &total);
        assert_int_equal(result, -ERR_TOO_LARGE);
        assert_int_equal(formats[i]->finish(r, count_bytes, &total), -ERR_TOO_LARGE);
        formats[i]->reader_free(r);
    }
}

/* ---- limits of models ---- */

static void model_names_are_found_behind_what_hosts_put_around_them(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        uint32_t context, output;
    } rows[] = {
        {"gpt-4o-mini-2024-07-18", 128000, 16384},
        {"gpt-4", 8192, 4096},
        {"GPT-4.1-nano", 1047576, 32768},
        {"openai/gpt-5-mini", 400000, 128000},
        {"us.anthropic.claude-3-7-sonnet-20250219-v1:0", 200000, 64000},
        {"anthropic/claude-opus-4-5", 200000, 64000},
        {"models/gemini-2.5-flash", 1048576, 65536},
        {"deepseek/deepseek-r1:free", 131072, 32768},
        {"qwen3:1.7b", 32768, 8192},
        {"llama3:8b", 8192, 2048},
        {"llama3.1:70b", 131072, 4096},
        {"amazon.titan-text-express-v1", 8192, 8192},
        {"glm-4.6", 200000, 128000},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct model_limits l = model_limits_find(NULL, span_str(rows[i].model));
        assert_true(l.is_known);
        if (l.context_tokens != rows[i].context || l.output_tokens != rows[i].output)
            fail_msg("%s: %u %u", rows[i].model, l.context_tokens, l.output_tokens);
    }
    struct model_limits l = model_limits_find(NULL, SPAN_LIT("house-model"));
    assert_true(!l.is_known && l.context_tokens == 8192 && l.output_tokens == 2048);
    assert_false(model_limits_find(NULL, SPAN_NULL).is_known);
}

static void own_rules_come_before_the_built_in_ones(void **state)
{
    (void)state;
    static const struct model_rule items[] = {
        {.prefix = "gpt-4", .context_tokens = 1000},
        {.prefix = "house", .context_tokens = 4096, .output_tokens = 9000},
        {.prefix = "house-big", .output_tokens = 3000},
    };
    static const struct model_rules own = {items, ARRAY_LEN(items)};
    struct model_limits l = model_limits_find(&own, SPAN_LIT("gpt-4o"));
    assert_true(l.is_known && l.context_tokens == 1000 && l.output_tokens == 1000);
    l = model_limits_find(&own, SPAN_LIT("House-Big-2"));
    assert_true(l.is_known && l.context_tokens == 4096 && l.output_tokens == 3000);
}

/* ---- chunks that are only text ---- */

#define CHOICE(members) "{\"id\":\"x\",\"choices\":[{\"index\":0," members "}]}"
#define DELTA(members) CHOICE("\"delta\":{" members "},\"finish_reason\":null")

static void plain_deltas_are_read_without_a_tree(void **state)
{
    (void)state;
    static const struct {
        const char *chunk, *text;
    } cases[] = {
        {DELTA("\"content\":\"one \""), "one "},
        {DELTA("\"role\":\"assistant\",\"content\":\"\""), ""},
        {DELTA("\"content\":null"), ""},
        {DELTA(""), ""},
        {DELTA("\"content\":\"a\\n\\\"b\\\"\\\\\\/\\t\\r\\b\\f\""), "a\n\"b\"\\/\t\r\b\f"},
        {DELTA("\"content\":\"h\xc3\xa9\",\"reasoning_content\":null"), "h\xc3\xa9"},
        {" { \"usage\" : null , \"error\":null,\"choices\" : [ {\"delta\" : { \"content\" : \"s\" "
         "} , "
         "\"logprobs\" : {\"a\":[1,-2,true,{}]} } ] } ",
         "s"},
        {"{\"choices\":[{\"delta\":{\"content\":\"c\"}}],\"created\":1700000000}", "c"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf scratch = BUF_INIT(1000);
        struct span got = SPAN_NULL;
        if (!wire_quick_openai(span_str(cases[i].chunk), &scratch, &got) ||
            !span_is(got, cases[i].text))
            fail_msg("case %zu: '" SPAN_FMT "'", i, SPAN_ARG(got));
        buf_done(&scratch);
    }
}

static void all_else_is_left_to_the_reader_of_json(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "{}",
        "[]",
        "{\"choices\":[]}",
        "{\"choices\":[{\"index\":0}]}",
        DELTA("\"content\":\"x\"") "x",
        DELTA("\"content\":\"x\","),
        DELTA("\"content\":\"\\u00e9\""),
        DELTA("\"content\":\"\\ud83d\""),
        DELTA("\"content\":\"\xc3\""),
        DELTA("\"content\":\"a\nb\""),
        DELTA("\"content\":\"\\x\""),
        DELTA("\"content\":\"a\",\"content\":\"b\""),
        DELTA("\"content\":[{\"text\":\"x\"}]"),
        DELTA("\"content\":7"),
        DELTA("\"reasoning\":\"hm\""),
        DELTA("\"refusal\":\"no\""),
        CHOICE("\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\""),
        CHOICE("\"delta\":{\"content\":\"x\"},\"error\":{\"message\":\"m\"}"),
        CHOICE("\"message\":{\"content\":\"x\"}"),
        "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"}}]}",
        "{\"choices\":[{\"index\":00,\"delta\":{\"content\":\"x\"}}]}",
        "{\"choices\":[{\"delta\":{\"content\":\"x\"}},{\"delta\":{\"content\":\"y\"}}]}",
        "{\"usage\":{\"prompt_tokens\":1},\"choices\":[{\"delta\":{\"content\":\"x\"}}]}",
        "{\"error\":{\"message\":\"m\"},\"choices\":[{\"delta\":{\"content\":\"x\"}}]}",
        "{\"a\":01,\"choices\":[{\"delta\":{\"content\":\"x\"}}]}",
        "{\"a\":1e5,\"choices\":[{\"delta\":{\"content\":\"x\"}}]}",
        "{\"a\":[1,],\"choices\":[{\"delta\":{\"content\":\"x\"}}]}",
        "{\"a\":[[[[[[[[[[1]]]]]]]]]],\"choices\":[{\"delta\":{\"content\":\"x\"}}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf scratch = BUF_INIT(1000);
        struct span got;
        if (wire_quick_openai(span_str(cases[i]), &scratch, &got))
            fail_msg("case %zu: %s", i, cases[i]);
        buf_done(&scratch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_deltas_are_read_without_a_tree),
        cmocka_unit_test(all_else_is_left_to_the_reader_of_json),
        cmocka_unit_test(signatures_match_the_published_examples),
        cmocka_unit_test(signatures_refuse_what_does_not_fit),
        cmocka_unit_test(crc32_matches_its_check_value),
        cmocka_unit_test(binary_messages_refuse_every_flipped_bit),
        cmocka_unit_test(binary_messages_check_lengths_and_header_types),
        cmocka_unit_test(bodies_are_cut_into_objects),
        cmocka_unit_test(text_comes_in_whole_characters_wherever_it_is_cut),
        cmocka_unit_test(json_with_halves_of_characters_is_joined_with_the_next),
        cmocka_unit_test(text_and_thinking_have_bounds),
        cmocka_unit_test(endless_events_are_refused),
        cmocka_unit_test(model_names_are_found_behind_what_hosts_put_around_them),
        cmocka_unit_test(own_rules_come_before_the_built_in_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
