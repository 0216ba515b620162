/*
 * Promises of the registry: tables, texts and endpoints as the protocol says, configuration checked
 * with file and place, secrets shown nowhere.
 */
#include "../cm.h"
#include "base/fault.h"
#include "base/mem.h"
#include "providers/registry_priv.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Pairs of name and value, NULL at the end. */
static const char *env_of(void *ctx, const char *name)
{
    const char *const *pairs = ctx;
    for (size_t i = 0; pairs[i]; i += 2)
        if (strcmp(pairs[i], name) == 0)
            return pairs[i + 1];
    return NULL;
}
#define ENV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_ENV ((const char *const[]){NULL})

static struct registry_options options_of(const char *const *env)
{
    return (struct registry_options){.env = env_of, .env_ctx = (void *)(uintptr_t)env};
}

static struct registry *made(const char *const *env)
{
    struct registry_options o = options_of(env);
    struct registry *r = NULL;
    struct err err = {0};
    assert_int_equal(registry_new(&o, &r, &err), 0);
    return r;
}

struct found {
    const char *provider;
    struct provider_model model;
    const struct provider_endpoint *endpoints;
    size_t count;
    struct err err;
    int rc;
};

static struct found find(const struct registry *r, const char *provider, const char *model)
{
    struct found f = {0};
    f.rc = registry_resolve(r, span_str(provider), span_str(model), &f.provider, &f.model,
                            &f.endpoints, &f.count, &f.err);
    return f;
}

static void registry_without_keys_is_local(void **state)
{
    (void)state;
    struct registry *r = made(NO_ENV);
    struct found f = find(r, "", "");
    assert_int_equal(f.rc, 0);
    assert_string_equal(f.provider, "local");
    assert_string_equal(f.model.id, "extractive");
    assert_true(f.model.price.is_known);
    assert_int_equal(f.count, 0);
    struct buf b = BUF_INIT(100000);
    registry_models_json(r, &b);
    static const char start[] =
        "{\"providers\":[{\"id\":\"local\",\"name\":\"Local\",\"models\":[{\"id\":\"extractive\","
        "\"name\":\"extractive\"}],\"supportsCustomModel\":false},"
        "{\"id\":\"google\",\"name\":\"Google\",\"models\":[],\"supportsCustomModel\":false},";
    static const char end[] = "],\"defaultProvider\":\"local\",\"defaultModel\":\"extractive\"}";
    assert_true(span_starts(buf_span(&b), span_str(start)));
    assert_true(span_ends(buf_span(&b), span_str(end)));
    buf_done(&b);
    registry_free(r);
}

static void models_json_puts_the_default_first(void **state)
{
    (void)state;
    struct registry *r = made(ENV("OPENAI_API_KEY", "k", "AZURE_ANTHROPIC_API_KEY", "k2",
                                  "AZURE_ANTHROPIC_ENDPOINT", "https://a/anthropic"));
    struct buf b = BUF_INIT(100000);
    registry_models_json(r, &b);
    assert_true(span_find(buf_span(&b),
                          SPAN_LIT("{\"id\":\"openai\",\"name\":\"Openai\",\"models\":[{\"id\":"
                                   "\"gpt-5-nano\",\"name\":\"gpt-5-nano\"},{\"id\":\"gpt-5\",")) >
                0);
    assert_true(
        span_find(buf_span(&b),
                  SPAN_LIT("{\"id\":\"azure_anthropic\",\"name\":\"Azure_anthropic\",\"models\":[{"
                           "\"id\":\"claude-haiku-4-5\",\"name\":\"claude-haiku-4-5\"},{\"id\":"
                           "\"claude-sonnet-4-5\",\"name\":\"claude-sonnet-4-5\"}],"
                           "\"supportsCustomModel\":false}")) > 0);
    assert_true(span_ends(buf_span(&b), SPAN_LIT("\"defaultProvider\":\"openai\",\"defaultModel\":"
                                                 "\"gpt-5-nano\"}")));
    buf_done(&b);
    registry_free(r);
}

static void missing_configuration_has_the_protocols_words(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *text;
    } rows[] = {
        {"google", "Environment variable GOOGLE_API_KEY must be set"},
        {"openai", "Environment variable OPENAI_API_KEY must be set"},
        {"openrouter", "OPENROUTER_API_KEY not configured. Please set this environment variable to "
                       "use OpenRouter."},
        {"azure", "Environment variable AZURE_OPENAI_ENDPOINT must be set"},
        {"bedrock", "AWS Bedrock client not initialized. Check your AWS credentials and region."},
        {"dashscope", "Environment variable DASHSCOPE_API_KEY must be set"},
        {"deepseek", "Environment variable DEEPSEEK_API_KEY must be set"},
        {"azure_anthropic", "Environment variable AZURE_ANTHROPIC_ENDPOINT must be set"},
        {"zhipu", "Environment variable ZHIPU_CODING_PLAN_API_KEY must be set"},
        {"zhipu_anthropic", "Environment variable ZHIPU_CODING_PLAN_API_KEY must be set"},
        {"openai_compatible", "Environment variable OPENAI_COMPATIBLE_BASE_URL must be set"},
    };
    struct registry *r = made(NO_ENV);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct found f = find(r, rows[i].provider, "");
        assert_int_equal(f.rc, -ERR_UNAVAILABLE);
        assert_string_equal(f.err.msg, rows[i].text);
    }
    struct found f = find(r, "zzz", "");
    assert_int_equal(f.rc, -ERR_NOT_FOUND);
    assert_string_equal(f.err.msg, "Configuration for provider 'zzz' not found");
    registry_free(r);
    r = made(ENV("AZURE_OPENAI_ENDPOINT", "https://a"));
    f = find(r, "azure", "");
    assert_string_equal(f.err.msg, "Environment variable AZURE_OPENAI_API_KEY must be set or "
                                   "credential must be provided");
    registry_free(r);
}

static void error_texts_are_the_protocols(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *text;
    } rows[] = {
        {"google", "\nError: E"},
        {"ollama", "\nError: E"},
        {"other", "\nError: E"},
        {"openai",
         "\nError with Openai API: E\n\nPlease check that you have set the OPENAI_API_KEY "
         "environment variable with a valid API key."},
        {"openrouter", "\nError with OpenRouter API: E\n\nPlease check that you have set the "
                       "OPENROUTER_API_KEY environment variable with a valid API key."},
        {"azure", "\nError with Azure AI API: E\n\nPlease check that you have set the "
                  "AZURE_OPENAI_API_KEY, AZURE_OPENAI_ENDPOINT, and AZURE_OPENAI_VERSION "
                  "environment variables with valid values."},
        {"bedrock", "\nError with AWS Bedrock API: E\n\nPlease check that you have set the "
                    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY environment variables with valid "
                    "credentials."},
        {"dashscope", "\nError with Dashscope API: E\n\nPlease check that you have set the "
                      "DASHSCOPE_API_KEY (and optionally DASHSCOPE_WORKSPACE_ID) environment "
                      "variables with valid values."},
        {"deepseek", "\nError with DeepSeek API: E\n\nPlease check that you have set the "
                     "DEEPSEEK_API_KEY environment variable with a valid API key."},
        {"azure_anthropic", "\nError with Azure Anthropic API: E\n\nPlease check "
                            "AZURE_ANTHROPIC_API_KEY and AZURE_ANTHROPIC_ENDPOINT."},
        {"zhipu", "\nError with Zhipu API: E\n\nPlease check ZHIPU_CODING_PLAN_API_KEY and base "
                  "URLs."},
        {"zhipu_anthropic", "\nError with Zhipu Anthropic-compatible API: E\n\nPlease check "
                            "ZHIPU_CODING_PLAN_API_KEY and base URLs."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf b = BUF_INIT(1000);
        registry_error_text(rows[i].provider, "E", &b);
        assert_string_equal(buf_str(&b), rows[i].text);
        buf_done(&b);
    }
}

static void lists_of_keys_and_addresses_are_endpoints(void **state)
{
    (void)state;
    struct registry *r = made(ENV("OPENAI_API_KEY", "k1, k2,,", "OLLAMA_HOST", "h1:1,h2:2",
                                  "OPENAI_COMPATIBLE_BASE_URL", "http://a/v1,http://b/v1",
                                  "OPENAI_COMPATIBLE_API_KEY", "ka,kb", "DEEPSEEK_API_KEY", "d",
                                  "OPENAI_BASE_URL", "http://proxy/v1"));
    struct found f = find(r, "openai", "");
    assert_int_equal(f.count, 2);
    assert_string_equal(f.endpoints[0].target.api_key, "k1");
    assert_string_equal(f.endpoints[1].target.api_key, "k2");
    assert_string_equal(f.endpoints[1].target.base_url, "http://proxy/v1");
    assert_string_equal(f.endpoints[0].label, "openai");
    assert_string_equal(f.endpoints[1].label, "openai#2");
    f = find(r, "ollama", "qwen3:8b");
    assert_int_equal(f.count, 2);
    assert_string_equal(f.endpoints[1].target.base_url, "h2:2");
    assert_null(f.endpoints[0].target.api_key);
    assert_true(f.model.price.is_known);
    f = find(r, "openai_compatible", "any");
    assert_int_equal(f.count, 2);
    assert_string_equal(f.endpoints[1].target.base_url, "http://b/v1");
    assert_string_equal(f.endpoints[1].target.api_key, "kb");
    assert_int_equal(find(r, "openai_compatible", "").rc, -ERR_INVALID);
    f = find(r, "deepseek", "");
    assert_string_equal(f.endpoints[0].target.base_url, "http://proxy/v1");
    registry_free(r);
}

static void bedrock_and_dashscope_take_all_their_variables(void **state)
{
    (void)state;
    struct registry *r =
        made(ENV("AWS_ACCESS_KEY_ID", "id", "AWS_SECRET_ACCESS_KEY", "secret", "AWS_SESSION_TOKEN",
                 "session", "DASHSCOPE_API_KEY", "k", "DASHSCOPE_WORKSPACE_ID", "w1"));
    struct found f = find(r, "bedrock", "");
    assert_string_equal(f.endpoints[0].target.region, "us-east-1");
    assert_string_equal(f.endpoints[0].target.secret_access_key, "secret");
    assert_string_equal(f.endpoints[0].target.session_token, "session");
    assert_ptr_equal(f.endpoints[0].format, &wire_bedrock);
    f = find(r, "dashscope", "");
    assert_string_equal(f.endpoints[0].target.extra_headers, "X-DashScope-WorkSpace: w1");
    assert_string_equal(f.endpoints[0].target.base_url,
                        "https://dashscope.aliyuncs.com/compatible-mode/v1");
    registry_free(r);
}

static void bedrock_has_an_endpoint_for_each_region_and_address(void **state)
{
    (void)state;
    struct registry *r = made(ENV("AWS_ACCESS_KEY_ID", "id", "AWS_SECRET_ACCESS_KEY", "secret",
                                  "AWS_REGION", "eu-west-1, us-east-2"));
    struct found f = find(r, "bedrock", "");
    assert_int_equal(f.count, 2);
    assert_null(f.endpoints[0].target.base_url);
    assert_string_equal(f.endpoints[0].target.region, "eu-west-1");
    assert_string_equal(f.endpoints[1].target.region, "us-east-2");
    assert_string_equal(f.endpoints[1].label, "bedrock#2");
    registry_free(r);
    r = made(ENV("AWS_BEARER_TOKEN_BEDROCK", "b", "AWS_DEFAULT_REGION", "eu-west-1",
                 "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://a,http://b"));
    f = find(r, "bedrock", "");
    assert_int_equal(f.count, 2);
    assert_string_equal(f.endpoints[1].target.base_url, "http://b");
    assert_string_equal(f.endpoints[1].target.region, "eu-west-1");
    assert_string_equal(f.endpoints[1].target.api_key, "b");
    registry_free(r);
}

static void a_role_to_assume_is_refused_with_what_to_do(void **state)
{
    (void)state;
    static const char role[] = "arn:aws:iam::123456789012:role/reader";
    struct registry *r = made(
        ENV("AWS_ACCESS_KEY_ID", "id", "AWS_SECRET_ACCESS_KEY", "secret", "AWS_ROLE_ARN", role));
    struct found f = find(r, "bedrock", "");
    assert_int_equal(f.rc, -ERR_UNAVAILABLE);
    assert_non_null(strstr(f.err.msg, "AWS_ROLE_ARN is set, but"));
    assert_non_null(strstr(f.err.msg, "AWS_SESSION_TOKEN"));
    registry_free(r);
    /* A bearer token needs no role; another provider does not care. */
    r = made(ENV("AWS_BEARER_TOKEN_BEDROCK", "b", "AWS_ROLE_ARN", role, "OPENAI_API_KEY", "k"));
    assert_int_equal(find(r, "bedrock", "").count, 1);
    assert_int_equal(find(r, "openai", "").count, 1);
    registry_free(r);
}

static void azure_endpoints_are_told_apart_from_keys(void **state)
{
    (void)state;
    struct registry *r = made(
        ENV("AZURE_OPENAI_ENDPOINT", "https://first", "AZURE_OPENAI_API_KEY", "k0",
            "AZURE_EMBEDDING_HA",
            "['https://a.example:443/x:k1:2024-10-21', \"b.example:k2\", 'http://c:8080:k3:v']"));
    struct found f = find(r, "azure", "");
    assert_int_equal(f.count, 4);
    static const char *const want[4][3] = {{"https://first", "k0", "2025-04-01-preview"},
                                           {"https://a.example:443/x", "k1", "2024-10-21"},
                                           {"https://b.example", "k2", "2025-04-01-preview"},
                                           {"http://c:8080", "k3", "v"}};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(f.endpoints[i].target.base_url, want[i][0]);
        assert_string_equal(f.endpoints[i].target.api_key, want[i][1]);
        assert_string_equal(f.endpoints[i].target.api_version, want[i][2]);
    }
    registry_free(r);
    r = made(ENV("AZURE_HA_ENDPOINT_1", "https://n1", "AZURE_HA_KEY_1", "k1", "AZURE_HA_USE_V1_1",
                 "true", "AZURE_HA_ENDPOINT_3", "https://n3", "AZURE_HA_KEY_3", "k3",
                 "AZURE_HA_VERSION_3", "v3"));
    f = find(r, "azure", "");
    assert_int_equal(f.count, 2);
    assert_true(f.endpoints[0].target.use_v1);
    assert_string_equal(f.endpoints[1].target.api_version, "v3");
    registry_free(r);
    r = made(ENV("AZURE_HA_ENDPOINTS", "{\"endpoints\":[{\"name\":\"x\",\"endpoint\":\"https://j\","
                                       "\"api_key\":\"kj\",\"use_v1\":true}]}"));
    f = find(r, "azure", "");
    assert_int_equal(f.count, 1);
    assert_string_equal(f.endpoints[0].target.api_key, "kj");
    registry_free(r);
}

static void wrong_azure_lists_are_errors_without_the_keys(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"AZURE_EMBEDDING_HA", "https://a:sekret",
         "AZURE_EMBEDDING_HA must be a list of quoted texts"},
        {"AZURE_EMBEDDING_HA", "['https://a:sekret', 'https://b']",
         "AZURE_EMBEDDING_HA: entry 2 is not of the form \"endpoint:key[:version]\""},
        {"AZURE_HA_ENDPOINTS", "{\"endpoints\":[{\"api_key\":\"sekret\"}]}",
         "AZURE_HA_ENDPOINTS: endpoints[0] needs endpoint and api_key"},
        {"AZURE_HA_ENDPOINTS", "{}", "AZURE_HA_ENDPOINTS: endpoints must be a list"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct registry_options o = options_of(ENV(rows[i][0], rows[i][1]));
        struct registry *r = NULL;
        struct err err = {0};
        assert_int_equal(registry_new(&o, &r, &err), -ERR_INVALID);
        assert_string_equal(err.msg, rows[i][2]);
    }
}

static void defaults_follow_options_environment_and_file(void **state)
{
    (void)state;
    struct registry *r = made(ENV("DEEPWIKI_CHAT_PROVIDER", "ollama", "DEEPWIKI_CHAT_MODEL", "m:1",
                                  "OPENAI_API_KEY", "k"));
    struct found f = find(r, "", "");
    assert_string_equal(f.provider, "ollama");
    assert_string_equal(f.model.id, "m:1");
    assert_non_null(strstr(f.model.params_json, "num_ctx")); /* the default model's */
    assert_string_equal(find(r, "openai", "").model.id, "gpt-5-nano");
    registry_free(r);
    struct registry_options o = options_of(ENV("DEEPWIKI_CHAT_PROVIDER", "ollama"));
    o.default_provider = "google";
    struct err err;
    assert_int_equal(registry_new(&o, &r, &err), 0);
    f = find(r, "", "");
    assert_int_equal(f.rc, -ERR_UNAVAILABLE); /* asked for by name: not silently another */
    registry_free(r);
}

/* ---- files ---- */

#define GENERATOR                                                                                 \
    "{\"default_provider\":\"own\",\"providers\":{\"openai\":{\"models\":{\"x-1\":{"              \
    "\"temperature\":0.1}},\"supportsCustomModel\":false},\"own\":{\"client_class\":"             \
    "\"OpenAIClient\",\"default_model\":\"${OWN_MODEL:-big}\",\"models\":{\"small\":{},\"big\":{" \
    "\"max_tokens\":99,\"note\":\"${NONE}\"}}},\"strange\":{\"models\":{\"a\":{}}},"              \
    "\"azure\":{\"models\":{\"gpt-4o\":{\"deployment\":\"d1\",\"top_p\":1}}}}}"

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void files_go_over_what_is_built_in(void **state)
{
    (void)state;
    char dir[] = "/tmp/registry-XXXXXX";
    assert_non_null(mkdtemp(dir));
    write_file(dir, "generator.json", GENERATOR);
    write_file(dir, "model_pricing.json",
               "{\"rev\":1,\"pricing\":{\"own/big\":{\"input_per_1m_tokens\":1.5,"
               "\"output_per_1m_tokens\":3},\"openai/x-1\":{\"input_per_1m_tokens\":2,"
               "\"output_per_1m_tokens\":8,\"input_cached_per_1m_tokens\":0,"
               "\"input_cache_write_per_1m_tokens\":2.5}}}");
    struct registry_options o = options_of(ENV("OPENAI_API_KEY", "k", "AZURE_OPENAI_ENDPOINT",
                                               "https://a", "AZURE_OPENAI_API_KEY", "k"));
    o.config_dir = dir;
    struct registry *r;
    struct err err;
    assert_int_equal(registry_new(&o, &r, &err), 0);
    struct found f = find(r, "", "");
    assert_string_equal(f.provider, "own");
    assert_string_equal(f.model.id, "big");
    assert_string_equal(f.model.params_json, "{\"max_tokens\":99,\"note\":\"${NONE}\"}");
    assert_int_equal(f.model.max_output_tokens, 99);
    assert_true(f.model.price.is_known);
    assert_true(f.model.price.output_per_million > 2.9);
    /* the fork's table says nothing of caches: then they cost what the rest of the prompt costs */
    assert_true(f.model.price.cached_per_million > 1.4);
    assert_true(f.model.price.cache_write_per_million > 1.4);
    assert_string_equal(f.endpoints[0].label, "own");
    assert_string_equal(find(r, "openai", "").model.id, "x-1");
    f = find(r, "openai", "");
    assert_true(f.model.price.is_known && f.model.price.input_per_million > 1.9);
    assert_true(f.model.price.cached_per_million < 0.1);
    assert_true(f.model.price.cache_write_per_million > 2.4);
    assert_false(find(r, "openai", "x-2").model.price.is_known);
    f = find(r, "azure", "gpt-4o");
    assert_string_equal(f.model.deployment, "d1");
    assert_string_equal(f.model.params_json, "{\"top_p\":1}");
    f = find(r, "strange", "");
    assert_string_equal(f.err.msg, "Model client not specified for provider 'strange'");
    registry_free(r);
    write_file(dir, "generator.json", "{\n \"providers\": [}");
    assert_int_equal(registry_new(&o, &r, &err), -ERR_INVALID);
    assert_non_null(strstr(err.msg, "generator.json: "));
    assert_non_null(strstr(err.msg, "line 2"));
    write_file(dir, "generator.json", "{}");
    write_file(dir, "model_pricing.json", "{\"pricing\":{\"a/b\":{\"input_per_1m_tokens\":-1}}}");
    assert_int_equal(registry_new(&o, &r, &err), -ERR_INVALID);
    assert_non_null(strstr(err.msg, "model_pricing.json: pricing.a/b.input_per_1m_tokens must be "
                                    "between 0 and 1000000"));
    char path[300];
    snprintf(path, sizeof path, "%s/generator.json", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/model_pricing.json", dir);
    unlink(path);
    rmdir(dir);
}

static void wrong_files_are_errors_with_their_place(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"[]", "g: the whole must be an object, not a list"},
        {"{\"providers\":1}", "g: providers must be an object, not a number"},
        {"{\"default_provider\":{}}", "g: default_provider must be a string, not an object"},
        {"{\"providers\":{\"openai\":null}}", "g: providers.openai must be an object, not null"},
        {"{\"providers\":{\"openai\":{\"models\":[]}}}",
         "g: providers.openai.models must be an object, not a list"},
        {"{\"providers\":{\"openai\":{\"models\":{\"m\":\"x\"}}}}",
         "g: providers.openai.models.m must be an object, not a string"},
        {"{\"providers\":{\"openai\":{\"default_model\":3}}}",
         "g: providers.openai.default_model must be a string, not a number"},
        {"{\"providers\":{\"openai\":{\"supportsCustomModel\":\"no\"}}}",
         "g: providers.openai.supportsCustomModel must be true or false, not a string"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct registry_options o = options_of(NO_ENV);
        struct registry *r = registry_blank(&o);
        struct err err = {0};
        assert_int_equal(registry_read_generator(r, "g", span_str(rows[i][0]), &err), -ERR_INVALID);
        assert_string_equal(err.msg, rows[i][1]);
        registry_free(r);
    }
}

static void placeholders_come_from_the_environment(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"${A}", "1"},
        {"x${A}y${B:-2}", "x1y2"},
        {"${A:-2}", "1"},
        {"${B}", "${B}"},
        {"${B:-}", ""},
        {"${b}", "${b}"},
        {"${A", "${A"},
        {"${}", "${}"},
        {"$A ${A!}", "$A ${A!}"},
        {"${B:-${A}}", "${A}"},
        {"${A}${A}", "11"},
    };
    struct registry_options o = options_of(ENV("A", "1"));
    struct registry *r = registry_blank(&o);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf b = BUF_INIT(1000);
        assert_true(registry_expand(r, span_str(rows[i][0]), &b));
        assert_string_equal(buf_str(&b), rows[i][1]);
        buf_done(&b);
    }
    registry_free(r);
}

static void models_json_holds_no_secret(void **state)
{
    (void)state;
    struct registry *r =
        made(ENV("OPENAI_API_KEY", "sekret1", "GOOGLE_API_KEY", "sekret2", "AWS_ACCESS_KEY_ID",
                 "sekret3", "AWS_SECRET_ACCESS_KEY", "sekret4"));
    struct buf b = BUF_INIT(100000);
    registry_models_json(r, &b);
    assert_int_equal(span_find(buf_span(&b), SPAN_LIT("sekret")), -1);
    buf_done(&b);
    registry_free(r);
}

static void long_model_names_are_refused(void **state)
{
    (void)state;
    char name[LIMIT_MODEL_NAME + 1];
    memset(name, 'm', sizeof name);
    name[LIMIT_MODEL_NAME] = '\0';
    struct registry *r = made(NO_ENV);
    assert_int_equal(find(r, "ollama", name).rc, -ERR_INVALID);
    name[LIMIT_MODEL_NAME - 1] = '\0';
    assert_string_equal(find(r, "ollama", name).model.id, name);
    registry_free(r);
}

static void registry_survives_lack_of_memory(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 2000; nth++) {
        struct registry_options o = options_of(ENV("OPENAI_API_KEY", "a,b", "A", "1"));
        fault_arm(FAULT_ALLOC, nth, 0);
        struct registry *r = NULL;
        struct err err = {0};
        int rc = registry_new(&o, &r, &err);
        if (rc == 0) {
            rc = registry_read_generator(r, "g", SPAN_LIT(GENERATOR), &err);
            registry_free(r);
        }
        bool was_hit = fault_seen(FAULT_ALLOC) >= nth;
        fault_disarm();
        if (!was_hit) {
            assert_int_equal(rc, 0);
            return;
        }
    }
    fail_msg("the walk never came to its end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry_without_keys_is_local),
        cmocka_unit_test(models_json_puts_the_default_first),
        cmocka_unit_test(missing_configuration_has_the_protocols_words),
        cmocka_unit_test(error_texts_are_the_protocols),
        cmocka_unit_test(lists_of_keys_and_addresses_are_endpoints),
        cmocka_unit_test(bedrock_and_dashscope_take_all_their_variables),
        cmocka_unit_test(bedrock_has_an_endpoint_for_each_region_and_address),
        cmocka_unit_test(a_role_to_assume_is_refused_with_what_to_do),
        cmocka_unit_test(azure_endpoints_are_told_apart_from_keys),
        cmocka_unit_test(wrong_azure_lists_are_errors_without_the_keys),
        cmocka_unit_test(defaults_follow_options_environment_and_file),
        cmocka_unit_test(files_go_over_what_is_built_in),
        cmocka_unit_test(wrong_files_are_errors_with_their_place),
        cmocka_unit_test(placeholders_come_from_the_environment),
        cmocka_unit_test(models_json_holds_no_secret),
        cmocka_unit_test(long_model_names_are_refused),
        cmocka_unit_test(registry_survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
