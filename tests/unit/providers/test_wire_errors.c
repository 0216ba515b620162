/* Promises of classify(): what to do about a provider's failure, in its own words, without its secrets. */
#include "../cm.h"
#include "base/mem.h"
#include "providers/wire_priv.h"
#include "text/utf8.h"

#include <stdio.h>

struct row {
    int status;
    enum wire_error_class class;
    const char *body;
    const char *says; /* part of the message */
};

#define TOO_LONG WIRE_ERROR_TOO_LONG

static const struct row openai[] = {
    {401, WIRE_ERROR_AUTH,
     "{\"error\":{\"message\":\"Incorrect API key provided: sk-proj-abcdefghijkl. You can find "
     "your API "
     "key in your "
     "account.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"invalid_api_key\"}}",
     "Incorrect API key provided: sk-***"},
    {403, WIRE_ERROR_AUTH,
     "{\"error\":{\"code\":\"unsupported_country_region_territory\",\"message\":\"Country, region, "
     "or "
     "territory not supported\",\"param\":null,\"type\":\"request_forbidden\"}}",
     "not supported"},
    {404, WIRE_ERROR_INVALID,
     "{\"error\":{\"message\":\"The model `gpt-9` does not exist or you do not have access to "
     "it.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"model_not_found\"}}",
     "gpt-9"},
    {429, WIRE_ERROR_RATE,
     "{\"error\":{\"message\":\"Rate limit reached for gpt-4o in organization org-x on tokens per "
     "min "
     "(TPM): Limit 30000, Used 29000, Requested 3000. Please try again in "
     "4s.\",\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}",
     "Rate limit reached"},
    {429, TOO_LONG,
     "{\"error\":{\"message\":\"Request too large for gpt-4o in organization org-x on tokens per "
     "min "
     "(TPM): Limit 30000, Requested "
     "60000.\",\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}",
     "Request too large"},
    {429, WIRE_ERROR_RATE,
     "{\"error\":{\"message\":\"You exceeded your current quota, please check your plan and "
     "billing "
     "details.\",\"type\":\"insufficient_quota\",\"param\":null,\"code\":\"insufficient_quota\"}}",
     "exceeded your current quota"},
    {400, TOO_LONG,
     "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens. However, your "
     "messages "
     "resulted in 8202 tokens. Please reduce the length of the "
     "messages.\",\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":\"context_"
     "length_"
     "exceeded\"}}",
     "8202 tokens"},
    {400, TOO_LONG,
     "{\"error\":{\"message\":\"Your input exceeds the context window of this model. Please adjust "
     "your "
     "input and try again.\",\"type\":\"invalid_request_error\"}}",
     "exceeds the context window"},
    {400, WIRE_ERROR_INVALID,
     "{\"error\":{\"message\":\"max_tokens is too large: 100000. This model supports at most 16384 "
     "completion "
     "tokens\",\"type\":\"invalid_request_error\",\"param\":\"max_tokens\",\"code\":\"invalid_"
     "value\"}}",
     "max_tokens is too large"},
    {400, WIRE_ERROR_INVALID,
     "{\"error\":{\"message\":\"Unsupported parameter: 'max_tokens' is not supported with this "
     "model. Use "
     "'max_completion_tokens' "
     "instead.\",\"type\":\"invalid_request_error\",\"code\":\"unsupported_parameter\"}}",
     "max_completion_tokens"},
    {500, WIRE_ERROR_OVERLOADED,
     "{\"error\":{\"message\":\"The server had an error while processing your "
     "request\",\"type\":\"server_error\"}}",
     "server had an error"},
    {503, WIRE_ERROR_OVERLOADED, "upstream connect error or disconnect/reset before headers",
     "upstream connect error"},
    {400, WIRE_ERROR_FILTERED,
     "{\"error\":{\"message\":\"Your request was rejected as a result of our safety "
     "system.\",\"type\":\"invalid_request_error\",\"code\":\"content_policy_violation\"}}",
     "safety system"},
};

static const struct row others[] = {
    /* OpenRouter */
    {401, WIRE_ERROR_AUTH, "{\"error\":{\"message\":\"No auth credentials found\",\"code\":401}}",
     "No auth credentials"},
    {402, WIRE_ERROR_RATE,
     "{\"error\":{\"message\":\"Insufficient credits. Add more to continue.\",\"code\":402}}",
     "Insufficient credits"},
    {400, TOO_LONG,
     "{\"error\":{\"message\":\"This endpoint's maximum context length is 16384 tokens. However, "
     "you "
     "requested about 94307 tokens (94307 of text "
     "input).\",\"code\":400,\"metadata\":{\"provider_name\":"
     "null}}}",
     "94307"},
    {400, TOO_LONG,
     "{\"error\":{\"message\":\"Provider returned "
     "error\",\"code\":400,\"metadata\":{\"raw\":\"{\\\"error\\\":"
     "{\\\"message\\\":\\\"prompt is too long: 300000 tokens > 200000 "
     "maximum\\\"}}\",\"provider_name\":\"Anthropic\"}}}",
     "Provider returned error: prompt is too long"},
    {403, WIRE_ERROR_FILTERED,
     "{\"error\":{\"message\":\"openai/gpt-4o requires moderation on OpenAI. Your input was "
     "flagged for "
     "\\\"violence\\\"\",\"code\":403,\"metadata\":{\"reasons\":[\"violence\"]}}}",
     "requires moderation"},
    {429, WIRE_ERROR_RATE,
     "{\"error\":{\"message\":\"Provider returned error\",\"code\":429,\"metadata\":{\"raw\":\"m "
     "is "
     "temporarily rate-limited upstream.\"}}}",
     "temporarily rate-limited"},
    /* DeepSeek, DashScope, Zhipu */
    {402, WIRE_ERROR_RATE,
     "{\"error\":{\"message\":\"Insufficient "
     "Balance\",\"type\":\"unknown_error\",\"param\":null,\"code\":\"invalid_request_error\"}}",
     "Insufficient Balance"},
    {400, WIRE_ERROR_FILTERED,
     "{\"error\":{\"message\":\"Content Exists Risk\",\"type\":\"invalid_request_error\"}}",
     "Content Exists Risk"},
    {400, TOO_LONG,
     "{\"error\":{\"code\":\"invalid_parameter_error\",\"param\":null,\"message\":\"Range of input "
     "length "
     "should be [1, 129024]\",\"type\":\"invalid_request_error\"},\"request_id\":\"r\"}",
     "Range of input length"},
    {400, WIRE_ERROR_FILTERED,
     "{\"error\":{\"code\":\"data_inspection_failed\",\"message\":\"Input data may contain "
     "inappropriate "
     "content.\"}}",
     "inappropriate content"},
    {401, WIRE_ERROR_AUTH,
     "{\"code\":\"InvalidApiKey\",\"message\":\"Invalid API-key "
     "provided.\",\"request_id\":\"fb53\"}",
     "Invalid API-key"},
    {400, WIRE_ERROR_RATE,
     "{\"code\":\"Arrearage\",\"message\":\"Access denied, please make sure your account is in "
     "good "
     "standing.\"}",
     "good standing"},
    {400, TOO_LONG, "{\"error\":{\"code\":\"1261\",\"message\":\"Prompt 超长\"}}", "Prompt 超长"},
    {429, WIRE_ERROR_RATE,
     "{\"error\":{\"code\":\"1302\",\"message\":\"您当前使用该API的并发数过高\"}}", "并发数过高"},
    {400, WIRE_ERROR_FILTERED,
     "{\"contentFilter\":[{\"level\":1,\"role\":\"user\"}],\"error\":{\"code\":\"1301\","
     "\"message\":\"系统"
     "检测到输入或生成内容可能包含不安全或敏感内容\"}}",
     "敏感内容"},
    {401, WIRE_ERROR_AUTH,
     "{\"error\":{\"code\":\"1002\",\"message\":\"Authorization Token非法\"}}", "Token"},
    /* Azure */
    {401, WIRE_ERROR_AUTH,
     "{\"error\":{\"code\":\"401\",\"message\":\"Access denied due to invalid subscription key or "
     "wrong API "
     "endpoint.\"}}",
     "invalid subscription key"},
    {401, WIRE_ERROR_AUTH,
     "{ \"statusCode\": 401, \"message\": \"Unauthorized. Access token is missing\" }",
     "Access token is missing"},
    {404, WIRE_ERROR_INVALID,
     "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"The API deployment for this "
     "resource does "
     "not exist.\"}}",
     "does not exist"},
    {400, WIRE_ERROR_FILTERED,
     "{\"error\":{\"inner_error\":{\"code\":\"ResponsibleAIPolicyViolation\"},\"code\":\"content_"
     "filter\","
     "\"message\":\"The response was filtered due to the prompt triggering Azure OpenAI's content "
     "management policy.\",\"param\":\"prompt\",\"type\":null,\"status\":400}}",
     "content management policy"},
    {429, WIRE_ERROR_RATE,
     "{\"error\":{\"code\":\"429\",\"message\":\"Requests to the ChatCompletions_Create Operation "
     "have "
     "exceeded token rate limit of your current pricing tier.\"}}",
     "token rate limit"},
    /* Gemini */
    {400, WIRE_ERROR_AUTH,
     "{\"error\":{\"code\":400,\"message\":\"API key not valid. Please pass a valid API "
     "key.\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"@type\":\"t\",\"reason\":\"API_KEY_"
     "INVALID\"}]}}",
     "API key not valid"},
    {400, TOO_LONG,
     "{\"error\":{\"code\":400,\"message\":\"The input token count (1200000) exceeds the maximum "
     "number of "
     "tokens allowed (1048575).\",\"status\":\"INVALID_ARGUMENT\"}}",
     "1200000"},
    {429, WIRE_ERROR_RATE,
     "[{\"error\":{\"code\":429,\"message\":\"You exceeded your current quota. Quota exceeded for "
     "metric: "
     "generate_content_free_tier_input_token_count, limit: "
     "250000\",\"status\":\"RESOURCE_EXHAUSTED\"}}]",
     "Quota exceeded"},
    {503, WIRE_ERROR_OVERLOADED,
     "{\"error\":{\"code\":503,\"message\":\"The model is overloaded. Please try again "
     "later.\",\"status\":\"UNAVAILABLE\"}}",
     "overloaded"},
    {404, WIRE_ERROR_INVALID,
     "{\"error\":{\"code\":404,\"message\":\"models/gemini-9 is not found for API version "
     "v1beta\",\"status\":\"NOT_FOUND\"}}",
     "models/gemini-9"},
    {400, WIRE_ERROR_INVALID,
     "{\"error\":{\"code\":400,\"message\":\"User location is not supported for the API "
     "use.\",\"status\":\"FAILED_PRECONDITION\"}}",
     "User location"},
    /* Ollama and other local servers */
    {404, WIRE_ERROR_INVALID, "{\"error\":\"model 'qwen9' not found\"}", "model 'qwen9' not found"},
    {500, WIRE_ERROR_OVERLOADED,
     "{\"error\":\"llama runner process has terminated: signal: killed\"}", "llama runner"},
    {400, WIRE_ERROR_INVALID, "{\"error\":\"\\\"m\\\" does not support thinking\"}",
     "does not support"},
    {400, TOO_LONG,
     "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size. try "
     "increasing "
     "the context size or enable context shift\",\"type\":\"exceed_context_size_error\"}}",
     "available context size"},
    {400, TOO_LONG,
     "{\"error\":\"Trying to keep the first 111490 tokens when context the overflows. However, the "
     "model is "
     "loaded with context length of only 32768 tokens, which is not enough. Try to load the model "
     "with a "
     "larger context length, or provide a shorter input.\"}",
     "111490"},
    {422, WIRE_ERROR_INVALID,
     "{\"detail\":[{\"loc\":[\"body\",\"model\"],\"msg\":\"field required\"}]}", "field required"},
    {422, TOO_LONG,
     "{\"error\":\"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. "
     "Given: 5000 "
     "`inputs` tokens\"}",
     "max_new_tokens"},
    /* Anthropic */
    {401, WIRE_ERROR_AUTH,
     "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"invalid "
     "x-api-key\"}}",
     "invalid x-api-key"},
    {400, TOO_LONG,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is "
     "too long: "
     "209353 tokens > 199999 maximum\"}}",
     "209353"},
    {400, TOO_LONG,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"input length "
     "and "
     "`max_tokens` exceed context limit: 190000 + 16384 > 200000\"}}",
     "exceed context limit"},
    {413, TOO_LONG,
     "{\"type\":\"error\",\"error\":{\"type\":\"request_too_large\",\"message\":\"Request exceeds "
     "the maximum "
     "size\"}}",
     "maximum size"},
    {429, WIRE_ERROR_RATE,
     "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"This request "
     "would exceed "
     "your organization's rate limit of 40,000 input tokens per minute\"}}",
     "rate limit"},
    {529, WIRE_ERROR_OVERLOADED,
     "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}",
     "Overloaded"},
    {400, WIRE_ERROR_INVALID,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"max_tokens: "
     "100000 > "
     "8192, which is the maximum allowed number of output tokens for claude-3-5-haiku\"}}",
     "max_tokens"},
    {404, WIRE_ERROR_INVALID,
     "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":\"model: "
     "claude-9\"}}",
     "claude-9"},
    /* Bedrock */
    {403, WIRE_ERROR_AUTH,
     "{\"message\":\"The security token included in the request is invalid.\"}", "security token"},
    {403, WIRE_ERROR_AUTH,
     "{\"Message\":\"User: arn:aws:iam::123:user/x is not authorized to perform: "
     "bedrock:InvokeModelWithResponseStream\"}",
     "not authorized"},
    {400, TOO_LONG,
     "{\"message\":\"The model returned the following errors: Input is too long for requested "
     "model.\"}",
     "Input is too long"},
    {400, TOO_LONG,
     "{\"message\":\"Malformed input request: too many tokens: total number of tokens in the "
     "prompt cannot "
     "exceed 4081\"}",
     "4081"},
    {429, WIRE_ERROR_RATE, "{\"message\":\"Too many tokens, please wait before trying again.\"}",
     "please wait"},
    {400, WIRE_ERROR_INVALID, "{\"message\":\"The provided model identifier is invalid.\"}",
     "identifier"},
    {424, WIRE_ERROR_OVERLOADED, "{\"message\":\"The model stopped.\",\"originalStatusCode\":500}",
     "stopped"},
    /* gateways, and nothing at all */
    {502, WIRE_ERROR_OVERLOADED,
     "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad "
     "Gateway</h1></center></body></html>",
     "502 Bad Gateway"},
    {401, WIRE_ERROR_AUTH, "", "status 401 without explanation"},
    {500, WIRE_ERROR_OVERLOADED, "{\"error\":{}}", "{\"error\":{}}"},
    {418, WIRE_ERROR_INVALID, "{\"truncated\": ", "truncated"},
    {400, TOO_LONG, "{\"error\":{\"message\":\"token limit reached: too many tokens\"}}",
     "token limit"},
    {400, TOO_LONG, "data: {\"error\":{\"message\":\"context length exceeded\"}}\n\n",
     "context length exceeded"},
};

static void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[300];
        enum wire_error_class class =
            wire_openai.classify(rows[i].status, span_str(rows[i].body), text, sizeof text);
        if (class != rows[i].class || !strstr(text, rows[i].says))
            fail_msg("%d %s\n class %d, expected %d; message: %s", rows[i].status, rows[i].body,
                     (int)class, (int)rows[i].class, text);
    }
}

static void every_providers_failures_get_their_class_and_keep_their_words(void **state)
{
    (void)state;
    assert_true(ARRAY_LEN(openai) + ARRAY_LEN(others) >= 60);
    check(openai, ARRAY_LEN(openai));
    check(others, ARRAY_LEN(others));
}

static void messages_fit_any_size_in_whole_characters(void **state)
{
    (void)state;
    const char *body =
        "{\"error\":{\"message\":\"您当前使用该API的并发数过高 sk-0123456789abcdef\"}}";
    for (size_t size = 0; size < 80; size++) {
        char text[80];
        memset(text, 'x', sizeof text);
        (void)wire_classify(429, span_str(body), text, size);
        if (size) {
            assert_true(strnlen(text, size) < size);
            assert_true(utf8_is_valid(span_str(text)));
            assert_null(strstr(text, "0123"));
        }
        assert_int_equal(text[size], 'x');
    }
}

static void damaged_bodies_are_classified_without_a_crash(void **state)
{
    (void)state;
    uint32_t seed = 3;
    for (unsigned round = 0; round < 20000; round++) {
        const struct row *row = &others[round % ARRAY_LEN(others)];
        size_t len = strlen(row->body);
        char text[200], *copy = mem_try_strndup(row->body, len);
        assert_non_null(copy);
        for (unsigned n = 0; len && n < 3; n++) {
            seed = seed * 1664525u + 1013904223u;
            copy[(seed >> 8) % len] = (char)(seed >> 24);
        }
        (void)wire_classify(row->status, span_of(copy, len), text, sizeof text);
        assert_true(utf8_is_valid(span_str(text)));
        mem_free(copy);
    }
}

static void secrets_are_masked_and_plain_words_are_not(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"key sk-ant-api03-AbCdEfGh_12-xyz.", "key sk-***"},
        {"Authorization: Bearer abcdef123456 is wrong", "Authorization: Bearer *** is wrong"},
        {"url ?key=AIzaSyA1234567890 x", "url ?key=*** x"},
        {"AIzaSyA1234567890abc", "***"},
        {"AKIAIOSFODNN7EXAMPLE denied", "*** denied"},
        {"0123456789abcdef0123456789abcdef", "***"},
        {"jwt eyJhbGciOiJIUzI1NiJ9.e30.abc ok", "jwt *** ok"},
        {"model anthropic.claude-3-sonnet-20240229-v1:0 in us-east-1",
         "model anthropic.claude-3-sonnet-20240229-v1:0 in us-east-1"},
        {"request_id req_011CSHoEeqs5C35K2UUqR7Fy", "request_id req_011CSHoEeqs5C35K2UUqR7Fy"},
        {"the key=1 and sk-x stay; risk-free, monkey=banana",
         "the key=1 and sk-x stay; risk-free, monkey=banana"},
        {"two\nlines\t and  blanks ", "two lines and blanks"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[200];
        struct wire_problem p = {.message = span_str(rows[i].in)};
        wire_problem_text(&p, text, sizeof text);
        assert_string_equal(text, rows[i].out);
    }
}

static void a_targets_own_secrets_are_masked_whatever_their_shape(void **state)
{
    (void)state;
    struct wire_target t = {
        .api_key = "plainkey", .secret_access_key = "s3cr3t/x", .session_token = "ab"};
    char text[] = "plainkey, not plainke; s3cr3t/x plainkeyplainkey ab";
    wire_mask_target(text, &t);
    assert_string_equal(text, "***, not plainke; *** ****** ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_providers_failures_get_their_class_and_keep_their_words),
        cmocka_unit_test(messages_fit_any_size_in_whole_characters),
        cmocka_unit_test(damaged_bodies_are_classified_without_a_crash),
        cmocka_unit_test(secrets_are_masked_and_plain_words_are_not),
        cmocka_unit_test(a_targets_own_secrets_are_masked_whatever_their_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
