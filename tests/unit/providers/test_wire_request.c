/* Promises of build(): URL, headers and body as each provider documents them; secrets in headers only. */
#include "../cm.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "providers/wire.h"

#include <stdio.h>

#define DAY INT64_C(1440938160000)

struct golden {
    const struct wire_format *format;
    struct wire_target target;
    const char *url, *headers, *body;
    bool is_whole; /* stream = false */
};

static const struct golden goldens[] = {
    {&wire_openai,
     {.base_url = "https://api.openai.com/v1",
      .api_key = "sk-secret-1",
      .model = "gpt-4o",
      .params_json = "{\"temperature\":0.7,\"top_p\":0.8}"},
     "https://api.openai.com/v1/chat/completions",
     "Authorization: Bearer sk-secret-1\nContent-Type: application/json\nAccept: "
     "text/event-stream\n",
     "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"Say \\\"hi\\\" "
     "ü\"}],\"stream\":true,"
     "\"stream_options\":{\"include_usage\":true},\"temperature\":0.7,\"top_p\":0.8}",
     false},
    {&wire_openai,
     {.base_url = "https://api.openai.com/v1/",
      .api_key = "sk-secret-1",
      .model = "o3",
      .params_json =
          "{\"max_completion_tokens\":5,\"model\":\"evil\",\"stream\":false,\"messages\":[]}"},
     "https://api.openai.com/v1/chat/completions",
     "Authorization: Bearer sk-secret-1\nContent-Type: application/json\nAccept: "
     "application/json\n",
     "{\"model\":\"o3\",\"messages\":[{\"role\":\"user\",\"content\":\"Say \\\"hi\\\" "
     "ü\"}],\"stream\":false,"
     "\"max_completion_tokens\":5}",
     true},
    {&wire_openai, /* DashScope's workspace; a local server's null for stream_options; no key */
     {.base_url = "http://127.0.0.1:8080/v1/chat/completions",
      .model = "qwen-plus",
      .extra_headers = "X-DashScope-WorkSpace: ws-1\r\n\naccept: */*\n",
      .params_json = "{\"stream_options\":null,\"max_tokens\":9}"},
     "http://127.0.0.1:8080/v1/chat/completions",
     "Content-Type: application/json\naccept: */*\nX-DashScope-WorkSpace: ws-1\n",
     "{\"model\":\"qwen-plus\",\"messages\":[{\"role\":\"user\",\"content\":\"Say \\\"hi\\\" "
     "ü\"}],\"stream\":true,"
     "\"max_tokens\":9}",
     false},
    {&wire_azure,
     {.base_url = "https://res.openai.azure.com/",
      .api_key = "azure-secret",
      .model = "gpt-4o",
      .deployment = "my gpt/4o",
      .api_version = "2024-10-21"},
     "https://res.openai.azure.com/openai/deployments/my%20gpt%2F4o/chat/"
     "completions?api-version=2024-10-21",
     "api-key: azure-secret\nContent-Type: application/json\nAccept: text/event-stream\n",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"Say \\\"hi\\\" "
     "ü\"}],\"stream\":true,\"stream_options\":"
     "{\"include_usage\":true}}",
     false},
    {&wire_azure,
     {.base_url = "https://res.openai.azure.com/openai",
      .api_key = "azure-secret",
      .model = "gpt-4o",
      .api_version = "2024-02-01"},
     "https://res.openai.azure.com/openai/deployments/gpt-4o/chat/"
     "completions?api-version=2024-02-01",
     "api-key: azure-secret\nContent-Type: application/json\nAccept: text/event-stream\n",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"Say \\\"hi\\\" ü\"}],\"stream\":true}",
     false},
    {&wire_azure,
     {.base_url = "https://res.openai.azure.com/openai/v1/",
      .api_key = "azure-secret",
      .model = "gpt-5",
      .deployment = "prod",
      .use_v1 = true},
     "https://res.openai.azure.com/openai/v1/chat/completions",
     "api-key: azure-secret\nContent-Type: application/json\nAccept: text/event-stream\n",
     "{\"model\":\"prod\",\"messages\":[{\"role\":\"user\",\"content\":\"Say \\\"hi\\\" "
     "ü\"}],\"stream\":true,"
     "\"stream_options\":{\"include_usage\":true}}",
     false},
    {&wire_gemini,
     {.base_url = "https://generativelanguage.googleapis.com",
      .api_key = "gem-secret",
      .model = "models/gemini-2.5-flash",
      .params_json =
          "{\"temperature\":1,\"top_p\":0.8,\"top_k\":20,\"max_tokens\":7,\"stop\":\"x\","
          "\"safetySettings\":[],\"generationConfig\":{\"thinkingConfig\":{\"thinkingBudget\":0}},"
          "\"seed\":null}"},
     "https://generativelanguage.googleapis.com/v1beta/models/"
     "gemini-2.5-flash:streamGenerateContent?alt=sse",
     "x-goog-api-key: gem-secret\nContent-Type: application/json\nAccept: text/event-stream\n",
     "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Say \\\"hi\\\" "
     "ü\"}]}],\"safetySettings\":[],"
     "\"generationConfig\":{\"temperature\":1,\"topP\":0.8,\"topK\":20,\"maxOutputTokens\":7,"
     "\"stopSequences\":[\"x\"],\"thinkingConfig\":{\"thinkingBudget\":0}}}",
     false},
    {&wire_gemini,
     {.base_url = "https://gw.example/gemini/v1", .api_key = "gem-secret", .model = "a/../b"},
     "https://gw.example/gemini/v1/models/a%2F..%2Fb:generateContent",
     "x-goog-api-key: gem-secret\nContent-Type: application/json\nAccept: application/json\n",
     "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Say \\\"hi\\\" ü\"}]}]}",
     true},
    {&wire_ollama,
     {.base_url = "localhost:11434",
      .model = "qwen3:8b",
      .params_json =
          "{\"options\":{\"temperature\":0.7,\"num_ctx\":32000},\"top_p\":0.8,\"max_tokens\":3,"
          "\"keep_alive\":\"5m\",\"think\":false}"},
     "http://localhost:11434/api/chat",
     "Content-Type: application/json\nAccept: application/x-ndjson\n",
     "{\"model\":\"qwen3:8b\",\"messages\":[{\"role\":\"user\",\"content\":\"Say \\\"hi\\\" "
     "ü\"}],\"stream\":true,"
     "\"think\":false,\"keep_alive\":\"5m\",\"options\":{\"num_predict\":3,\"top_p\":0.8,"
     "\"temperature\":0.7,"
     "\"num_ctx\":32000}}",
     false},
    {&wire_ollama,
     {.base_url = "https://ollama.com/api/", .api_key = "oll-secret", .model = "m"},
     "https://ollama.com/api/chat",
     "Authorization: Bearer oll-secret\nContent-Type: application/json\nAccept: "
     "application/x-ndjson\n",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Say \\\"hi\\\" "
     "ü\"}],\"stream\":true}",
     false},
    {&wire_anthropic,
     {.base_url = "https://api.anthropic.com",
      .api_key = "ant-secret",
      .model = "claude-sonnet-4-5",
      .params_json = "{\"temperature\":0.7,\"top_p\":0.8,\"stop\":[\"a\",\"b\"]}"},
     "https://api.anthropic.com/v1/messages",
     "x-api-key: ant-secret\nanthropic-version: 2023-06-01\nContent-Type: application/json\n"
     "Accept: text/event-stream\n",
     "{\"model\":\"claude-sonnet-4-5\",\"max_tokens\":16384,\"messages\":[{\"role\":\"user\","
     "\"content\":\"Say "
     "\\\"hi\\\" ü\"}],\"stream\":true,\"temperature\":0.7,\"stop_sequences\":[\"a\",\"b\"]}",
     false},
    {&wire_anthropic, /* Zhipu's form: a bearer token */
     {.base_url = "https://open.bigmodel.cn/api/anthropic",
      .api_key = "zhi-secret",
      .auth_header = "Authorization",
      .model = "glm-4.6",
      .params_json = "{\"max_completion_tokens\":100,\"top_p\":0.8}"},
     "https://open.bigmodel.cn/api/anthropic/v1/messages",
     "Authorization: Bearer zhi-secret\nanthropic-version: 2023-06-01\nContent-Type: "
     "application/json\n"
     "Accept: text/event-stream\n",
     "{\"model\":\"glm-4.6\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"Say "
     "\\\"hi\\\" "
     "ü\"}],\"stream\":true,\"top_p\":0.8}",
     false},
    {&wire_anthropic, /* Azure's form */
     {.base_url = "https://res.services.ai.azure.com/anthropic/v1/messages",
      .api_key = "azure-secret",
      .auth_header = "api-key",
      .model = "claude-haiku-4-5",
      .params_json = "{\"max_tokens\":16384}",
      .extra_headers = "anthropic-version: 2099-01-01"},
     "https://res.services.ai.azure.com/anthropic/v1/messages",
     "api-key: azure-secret\nanthropic-version: 2099-01-01\nContent-Type: application/json\n"
     "Accept: text/event-stream\n",
     "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":16384,\"messages\":[{\"role\":\"user\","
     "\"content\":\"Say "
     "\\\"hi\\\" ü\"}],\"stream\":true}",
     false},
    {&wire_bedrock,
     {.region = "us-east-1",
      .model = "anthropic.claude-3-sonnet-20240229-v1:0",
      .api_key = "bed-secret",
      .params_json =
          "{\"temperature\":0.7,\"top_p\":0.8,\"max_tokens\":4096,\"top_k\":5,\"stop\":\"x\"}"},
     "https://bedrock-runtime.us-east-1.amazonaws.com/model/"
     "anthropic.claude-3-sonnet-20240229-v1%3A0/converse-stream",
     "Content-Type: application/json\nAccept: application/vnd.amazon.eventstream\n"
     "Authorization: Bearer bed-secret\n",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"Say \\\"hi\\\" "
     "ü\"}]}],\"inferenceConfig\":"
     "{\"maxTokens\":4096,\"temperature\":0.7,\"stopSequences\":[\"x\"]},"
     "\"additionalModelRequestFields\":"
     "{\"top_k\":5}}",
     false},
    {&wire_bedrock,
     {.base_url = "https://vpce.example/",
      .region = "eu-central-1",
      .model = "amazon.nova-lite-v1:0",
      .access_key_id = "AKIDEXAMPLE",
      .secret_access_key = "signing-secret",
      .session_token = "sess-secret",
      .wall_ms = DAY,
      .params_json = "{\"temperature\":0.7,\"top_p\":0.8}"},
     "https://vpce.example/model/amazon.nova-lite-v1%3A0/converse",
     NULL,
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"Say \\\"hi\\\" "
     "ü\"}]}],\"inferenceConfig\":"
     "{\"temperature\":0.7,\"topP\":0.8}}",
     true},
};

static const struct span prompt = SPAN_INIT("Say \"hi\" ü");

static void join_headers(const struct wire_request *r, struct buf *out)
{
    for (size_t i = 0; r->headers[i]; i++) {
        buf_puts(out, r->headers[i]);
        buf_putc(out, '\n');
    }
}

static void requests_are_what_the_providers_document(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        const struct golden *g = &goldens[i];
        struct wire_request r;
        struct err err = {0};
        if (g->format->build(&g->target, prompt, !g->is_whole, &r, &err) != 0)
            fail_msg("%s: %s", g->url, err.msg);
        assert_string_equal(r.url, g->url);
        struct buf headers = BUF_INIT(1 << 16);
        join_headers(&r, &headers);
        if (g->headers)
            assert_string_equal(buf_str(&headers), g->headers);
        json_t *want = json_read(span_str(g->body), NULL, NULL);
        json_t *got = json_read(span_of(r.body, r.body_len), NULL, NULL);
        assert_non_null(want);
        if (!got || !json_equal(want, got))
            fail_msg("%s:\n%s\nexpected\n%s", g->url, r.body, g->body);
        json_decref(want);
        json_decref(got);
        buf_done(&headers);
        wire_request_done(&r);
        assert_null(r.headers);
    }
}

static void bedrock_signs_host_date_and_session(void **state)
{
    (void)state;
    const struct golden *g = &goldens[ARRAY_LEN(goldens) - 1];
    struct wire_request r;
    assert_int_equal(g->format->build(&g->target, prompt, false, &r, NULL), 0);
    struct buf headers = BUF_INIT(1 << 16);
    join_headers(&r, &headers);
    struct span all = buf_span(&headers);
    assert_true(span_find(all, SPAN_LIT("X-Amz-Date: 20150830T123600Z\n")) >= 0);
    assert_true(span_find(all, SPAN_LIT("X-Amz-Security-Token: sess-secret\n")) >= 0);
    assert_true(
        span_find(all, SPAN_LIT("Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/"
                                "eu-central-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date;"
                                "x-amz-security-token, Signature=")) >= 0);
    assert_true(span_find(all, SPAN_LIT("signing-secret")) < 0);
    buf_done(&headers);
    wire_request_done(&r);
}

static void secrets_are_in_headers_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        struct wire_request r;
        assert_int_equal(goldens[i].format->build(&goldens[i].target, prompt, true, &r, NULL), 0);
        assert_null(strstr(r.url, "secret"));
        assert_null(strstr(r.body, "secret"));
        wire_request_done(&r);
    }
}

struct refusal {
    const struct wire_format *format;
    struct wire_target target;
    const char *says;
};

static void wrong_targets_are_refused_without_showing_secrets(void **state)
{
    (void)state;
#define GOOD .base_url = "https://x.example/v1", .model = "m", .api_key = "secret"
    static const struct refusal rows[] = {
        {&wire_openai, {.model = "m"}, "base URL: none is set"},
        {&wire_openai, {.base_url = "ftp://x", .model = "m"}, "http://"},
        {&wire_openai, {.base_url = "https://u:secret@x/v1", .model = "m"}, "base URL"},
        {&wire_openai, {.base_url = "https://x/v1?key=secret", .model = "m"}, "base URL"},
        {&wire_openai, {.base_url = "https:///v1", .model = "m"}, "base URL"},
        {&wire_openai, {.base_url = "https://x/v1", .model = ""}, "no model"},
        {&wire_openai,
         {.base_url = "https://x/v1", .model = "m", .api_key = "secret\n"},
         "control character"},
        {&wire_openai,
         {.base_url = "https://x/v1", .model = "m", .api_key = "secret\r\nX: y"},
         "control"},
        {&wire_openai, {GOOD, .params_json = "[]"}, "JSON object"},
        {&wire_openai, {GOOD, .params_json = "{"}, "model parameters"},
        {&wire_openai, {GOOD, .extra_headers = "no colon secret"}, "Name: value"},
        {&wire_openai, {GOOD, .extra_headers = "Bad Name: x"}, "no header name"},
        {&wire_openai, {GOOD, .extra_headers = "Key Bearer secret: x"}, "no header name"},
        {&wire_openai, {GOOD, .auth_header = "Bad:Name"}, "no header name"},
        {&wire_azure, {GOOD}, "API version"},
        {&wire_azure, {.base_url = "https://x", .api_version = "1"}, "deployment"},
        {&wire_gemini, {.base_url = "https://x"}, "no model"},
        {&wire_ollama, {.model = "m"}, "base URL"},
        {&wire_anthropic, {.base_url = "https://x"}, "no model"},
        {&wire_bedrock,
         {.model = "m", .access_key_id = "a", .secret_access_key = "b"},
         "no region"},
        {&wire_bedrock, {.model = "m", .region = "evil.example/", .api_key = "secret"}, "region"},
        {&wire_bedrock,
         {.model = "m", .region = "us-east-1", .access_key_id = "a"},
         "no credentials"},
        {&wire_bedrock, {.region = "us-east-1", .api_key = "secret"}, "no model"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct wire_request r;
        struct err err = {0};
        int result = rows[i].format->build(&rows[i].target, prompt, true, &r, &err);
        if (result != -ERR_INVALID || !strstr(err.msg, rows[i].says))
            fail_msg("row %zu: %d %s", i, result, err.msg);
        assert_null(strstr(err.msg, "secret"));
        assert_true(!r.url && !r.headers && !r.body);
        wire_request_done(&r);
    }
}

static void headers_have_bounds(void **state)
{
    (void)state;
    struct buf many = BUF_INIT(1 << 20);
    for (unsigned i = 0; i <= LIMIT_WIRE_HEADERS_COUNT; i++)
        buf_printf(&many, "X-%u: y\n", i);
    struct wire_target t = {.base_url = "https://x", .model = "m", .extra_headers = buf_str(&many)};
    struct wire_request r;
    assert_int_equal(wire_openai.build(&t, prompt, true, &r, NULL), -ERR_TOO_LARGE);
    buf_clear(&many);
    buf_puts(&many, "X: ");
    for (unsigned i = 0; i <= LIMIT_WIRE_HEADER; i++)
        buf_putc(&many, 'y');
    t.extra_headers = buf_str(&many);
    assert_int_equal(wire_openai.build(&t, prompt, true, &r, NULL), -ERR_TOO_LARGE);
    buf_done(&many);
}

static void building_survives_every_failed_allocation(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        for (uint64_t nth = 1; nth < 1000; nth++) {
            struct wire_request r;
            struct err err = {0};
            fault_arm(FAULT_ALLOC, nth, 0);
            int result = goldens[i].format->build(&goldens[i].target, prompt, true, &r, &err);
            bool was_hit = fault_seen(FAULT_ALLOC) >= nth;
            fault_disarm();
            if (result != (was_hit ? -ERR_NO_MEMORY : 0))
                fail_msg("%s, allocation %u: %d %s", goldens[i].url, (unsigned)nth, result,
                         err.msg);
            wire_request_done(&r);
            if (!was_hit)
                break;
        }
    }
}

static void prompts_may_hold_any_bytes(void **state)
{
    (void)state;
    struct wire_target t = {.base_url = "https://x", .model = "m"};
    struct wire_request r;
    assert_int_equal(wire_openai.build(&t, SPAN_LIT("a\0b\xff\x1f\""), true, &r, NULL), 0);
    json_t *body = json_read(span_of(r.body, r.body_len), NULL, NULL);
    const json_t *message = json_array_get(json_object_get(body, "messages"), 0);
    assert_true(
        span_eq(json_span(json_object_get(message, "content")), SPAN_LIT("a\0b\ufffd\x1f\"")));
    json_decref(body);
    wire_request_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_what_the_providers_document),
        cmocka_unit_test(bedrock_signs_host_date_and_session),
        cmocka_unit_test(secrets_are_in_headers_only),
        cmocka_unit_test(wrong_targets_are_refused_without_showing_secrets),
        cmocka_unit_test(headers_have_bounds),
        cmocka_unit_test(building_survives_every_failed_allocation),
        cmocka_unit_test(prompts_may_hold_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
