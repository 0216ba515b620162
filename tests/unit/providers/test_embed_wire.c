/*
 * Promises of the embedders' wire formats: requests as the providers' documents have them, answers
 * of every shape read from hand-written bodies, what is no vector refused item by item; and of the
 * configuration: off unless a type is named.
 */
#include "../cm.h"
#include "base/fault.h"
#include "base/mem.h"
#include "providers/embed_priv.h"
#include "providers/registry_priv.h"

#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *env_of(void *ctx, const char *name)
{
    const char *const *pairs = ctx;
    for (size_t i = 0; pairs[i]; i += 2)
        if (strcmp(pairs[i], name) == 0)
            return pairs[i + 1];
    return NULL;
}
#define ENV(...) ((const char *const[]){__VA_ARGS__, NULL})

static int make(const char *const *env, const char *option, const char *dir, struct registry **ret,
                struct err *err)
{
    const struct registry_options o = {
        .env = env_of, .env_ctx = (void *)(uintptr_t)env, .config_dir = dir, .embedder = option};
    return registry_new(&o, ret, err);
}

static struct registry *made(const char *const *env, const char *option, const char *dir)
{
    struct registry *r = NULL;
    struct err err = {0};
    if (make(env, option, dir, &r, &err) < 0)
        fail_msg("%s", err.msg);
    return r;
}

/* ---- configuration ---- */

static void no_embedder_without_a_type(void **state)
{
    (void)state;
    const char *const *rows[] = {
        ENV("OPENAI_API_KEY", "k"),
        ENV("OPENAI_API_KEY", "k", "OPENAI_EMBEDDING_MODEL", "text-embedding-3-large"),
        ENV("OPENAI_API_KEY", "k", "DEEPWIKI_EMBEDDER_TYPE", ""),
        ENV("OPENAI_API_KEY", "k", "DEEPWIKI_EMBEDDER_TYPE", "none"),
        ENV("AZURE_HA_ENDPOINT_1", "https://a", "AZURE_HA_KEY_1", "k"),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct registry *r = made(rows[i], NULL, NULL);
        assert_null(registry_embedder(r));
        registry_free(r);
    }
    struct registry *r =
        made(ENV("OPENAI_API_KEY", "k", "DEEPWIKI_EMBEDDER_TYPE", "openai"), "none", NULL);
    assert_null(registry_embedder(r)); /* the option wins */
    registry_free(r);
}

static void types_have_their_models_and_addresses(void **state)
{
    (void)state;
    const struct {
        const char *const *env;
        const char *option, *key, *name, *address;
    } rows[] = {
        {ENV("OPENAI_API_KEY", "k", "DEEPWIKI_EMBEDDER_TYPE", "openai"), NULL,
         "openai/text-embedding-3-small", "openai text-embedding-3-small",
         "https://api.openai.com/v1"},
        {ENV("OPENAI_API_KEY", "k", "OPENAI_EMBEDDING_MODEL", "m"), "openai", "openai/m",
         "openai m", "https://api.openai.com/v1"},
        {ENV("OLLAMA_HOST", "http://gpu:11434"), "ollama:bge-m3:567m", "ollama/bge-m3:567m",
         "ollama bge-m3:567m", "http://gpu:11434"},
        {ENV("GOOGLE_API_KEY", "k", "DEEPWIKI_EMBEDDER_TYPE", "google"), NULL,
         "google/gemini-embedding-001", "google gemini-embedding-001",
         "https://generativelanguage.googleapis.com"},
        {ENV("OPENROUTER_API_KEY", "k"), "openrouter:x/y", "openrouter/x/y", "openrouter x/y",
         "https://openrouter.ai/api/v1"},
        {ENV("AZURE_OPENAI_ENDPOINT", "https://one", "AZURE_OPENAI_API_KEY", "k",
             "AZURE_HA_ENDPOINT_1", "https://two", "AZURE_HA_KEY_1", "k"),
         "azure", "azure/text-embedding-3-large", "azure text-embedding-3-large", "https://one"},
        {ENV("AZURE_OPENAI_ENDPOINT", "https://one", "AZURE_OPENAI_API_KEY", "k",
             "AZURE_HA_ENDPOINT_1", "https://two", "AZURE_HA_KEY_1", "k"),
         "azure_ha", "azure/text-embedding-3-large", "azure_ha text-embedding-3-large",
         "https://two"},
        {ENV("AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "b"), "bedrock",
         "bedrock/amazon.titan-embed-text-v2:0", "bedrock amazon.titan-embed-text-v2:0",
         "the region's own address"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct registry *r = made(rows[i].env, rows[i].option, NULL);
        const struct embedder *e = registry_embedder(r);
        assert_non_null(e);
        assert_string_equal(embedder_key(e), rows[i].key);
        assert_string_equal(embedder_name(e), rows[i].name);
        assert_string_equal(embedder_address(e, 0), rows[i].address);
        assert_null(embedder_address(e, 1));
        registry_free(r);
    }
}

static void an_embedder_that_cannot_work_says_what_is_missing(void **state)
{
    (void)state;
    const struct {
        const char *const *env;
        const char *option, *says;
    } rows[] = {
        {ENV("X", "y"), "openai", "OPENAI_API_KEY must be set"},
        {ENV("X", "y"), "azure", "AZURE_OPENAI_ENDPOINT must be set"},
        {ENV("AZURE_OPENAI_ENDPOINT", "https://one", "AZURE_OPENAI_API_KEY", "k"), "azure_ha",
         "AZURE_HA_ENDPOINT_1"},
        {ENV("X", "y"), "word2vec", "no embedder of type 'word2vec'"},
        {ENV("OPENAI_COMPATIBLE_BASE_URL", "http://x"), "openai_compatible", "no model"},
        {ENV("AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "b"),
         "bedrock:cohere.embed-english-v3", "only Titan"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct registry *r = NULL;
        struct err err = {0};
        assert_int_equal(make(rows[i].env, rows[i].option, NULL, &r, &err), -ERR_INVALID);
        if (!strstr(err.msg, rows[i].says))
            fail_msg("'%s' does not say '%s'", err.msg, rows[i].says);
        assert_true(err.hint[0] != '\0');
    }
}

static void write_file(const char *dir, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/embedder.json", dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void embedder_json_is_read_with_its_placeholders(void **state)
{
    (void)state;
    char dir[] = "/tmp/hw-embedder-XXXXXX", path[128];
    assert_non_null(mkdtemp(dir));
    write_file(dir, "{\"embedder\":{\"client_class\":\"OpenAIClient\",\"batch_size\":7,"
                    "\"initialize_kwargs\":{\"base_url\":\"${EMB_URL}\",\"api_key\":\"${UNSET}\"},"
                    "\"model_kwargs\":{\"model\":\"${EMB_MODEL:-m1}\",\"dimensions\":\"${DIMS}\","
                    "\"encoding_format\":\"float\"}},"
                    "\"embedder_google\":{\"model_kwargs\":{\"model\":\"g\","
                    "\"task_type\":\"SEMANTIC_SIMILARITY\"}},\"retriever\":{\"top_k\":20}}");
    struct registry *r =
        made(ENV("OPENAI_API_KEY", "k", "EMB_URL", "http://own/v1", "DIMS", "64"), "openai", dir);
    const struct embedder *e = registry_embedder(r);
    assert_string_equal(embedder_key(e), "openai/m1/64");
    assert_string_equal(embedder_address(e, 0), "http://own/v1");
    assert_string_equal(e->endpoints[0].target.api_key, "k");
    assert_int_equal(e->batch_count, 7);
    assert_true(e->is_float);
    registry_free(r);
    r = made(ENV("GOOGLE_API_KEY", "k"), "google", dir);
    e = registry_embedder(r);
    assert_string_equal(embedder_key(e), "google/g/SEMANTIC_SIMILARITY");
    assert_string_equal(e->task_query, "SEMANTIC_SIMILARITY");
    registry_free(r);

    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{\"embedder\":[]}", "embedder must be an object, not a list"},
        {"{\"embedder\":{\"batch_size\":0}}", "embedder.batch_size must be"},
        {"{\"embedder\":{\"model_kwargs\":{\"dimensions\":100000}}}",
         "embedder.model_kwargs.dimensions must be between 1 and 8192"},
        {"{\"embedder\":{\"model_kwargs\":{\"model\":5}}}",
         "embedder.model_kwargs.model must be a string"},
        {"{", "embedder.json"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};
        write_file(dir, bad[i].text);
        assert_int_equal(make(ENV("OPENAI_API_KEY", "k"), "openai", dir, &r, &err), -ERR_INVALID);
        if (!strstr(err.msg, bad[i].says))
            fail_msg("'%s' does not say '%s'", err.msg, bad[i].says);
        r = made(ENV("OPENAI_API_KEY", "k"), NULL, dir); /* not read without an embedder */
        registry_free(r);
    }
    snprintf(path, sizeof path, "%s/embedder.json", dir);
    unlink(path);
    rmdir(dir);
}

static void configuration_survives_lack_of_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct registry *r = NULL;
        struct err err = {0};
        fault_arm(FAULT_ALLOC, n, 0);
        int rc = make(ENV("OPENAI_API_KEY", "k"), "openai:m", NULL, &r, &err);
        uint64_t seen = fault_seen(FAULT_ALLOC);
        fault_disarm();
        if (rc == 0)
            registry_free(r);
        else
            assert_int_equal(rc, -ERR_NO_MEMORY);
        if (seen < n)
            break;
    }
}

/* ---- requests ---- */

static const struct span two[] = {SPAN_INIT("a \"b\""), SPAN_INIT("c")};

struct asked {
    const char *const *env;
    const char *option;
    size_t count;
    struct embed_form form;
    const char *url, *body, *header;
};

static void check_request(const struct asked *a)
{
    struct registry *r = made(a->env, a->option, NULL);
    const struct embedder *e = registry_embedder(r);
    struct wire_request w;
    struct err err = {0};
    if (e->format->build(e, &e->endpoints[0].target, two, a->count, &a->form, &w, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(w.url, a->url);
    assert_string_equal(w.body, a->body);
    bool is_there = false;
    for (size_t i = 0; w.headers[i]; i++)
        is_there |= span_starts(span_str(w.headers[i]), span_str(a->header));
    assert_true(is_there);
    wire_request_done(&w);
    registry_free(r);
}

static void requests_are_as_the_documents_have_them(void **state)
{
    (void)state;
    const struct embed_form document = {0}, query = {.purpose = EMBED_QUERY},
                            numbers = {.is_float = true}, old = {.is_old = true};
    const struct asked rows[] = {
        {ENV("OPENAI_API_KEY", "k"), "openai", 2, document, "https://api.openai.com/v1/embeddings",
         "{\"model\":\"text-embedding-3-small\",\"input\":[\"a \\\"b\\\"\",\"c\"],"
         "\"encoding_format\":\"base64\"}",
         "Authorization: Bearer k"},
        {ENV("OPENAI_API_KEY", "k", "OPENAI_BASE_URL", "http://x/v1/embeddings/"), "openai:m", 1,
         numbers, "http://x/v1/embeddings",
         "{\"model\":\"m\",\"input\":[\"a \\\"b\\\"\"],\"encoding_format\":\"float\"}",
         "Authorization: Bearer k"},
        {ENV("AZURE_OPENAI_ENDPOINT", "https://r", "AZURE_OPENAI_API_KEY", "k",
             "AZURE_OPENAI_VERSION", "2024-10-21", "AZURE_OPENAI_DEPLOYMENT", "the-chat-one"),
         "azure:emb", 1, document,
         "https://r/openai/deployments/emb/embeddings?api-version=2024-10-21",
         "{\"input\":[\"a \\\"b\\\"\"],\"encoding_format\":\"base64\"}", "api-key: k"},
        {ENV("AZURE_OPENAI_ENDPOINT", "https://r", "AZURE_OPENAI_API_KEY", "k",
             "AZURE_OPENAI_USE_V1", "true"),
         "azure:emb", 1, document, "https://r/openai/v1/embeddings",
         "{\"model\":\"emb\",\"input\":[\"a \\\"b\\\"\"],\"encoding_format\":\"base64\"}",
         "api-key: k"},
        {ENV("GOOGLE_API_KEY", "k"), "google:models/g", 2, document,
         "https://generativelanguage.googleapis.com/v1beta/models/g:batchEmbedContents",
         "{\"requests\":[{\"model\":\"models/g\",\"content\":{\"parts\":[{\"text\":\"a "
         "\\\"b\\\"\"}]},"
         "\"taskType\":\"RETRIEVAL_DOCUMENT\"},{\"model\":\"models/g\",\"content\":{\"parts\":"
         "[{\"text\":\"c\"}]},\"taskType\":\"RETRIEVAL_DOCUMENT\"}]}",
         "x-goog-api-key: k"},
        {ENV("GOOGLE_API_KEY", "k"), "google:g", 1, query,
         "https://generativelanguage.googleapis.com/v1beta/models/g:batchEmbedContents",
         "{\"requests\":[{\"model\":\"models/g\",\"content\":{\"parts\":[{\"text\":\"a "
         "\\\"b\\\"\"}]},"
         "\"taskType\":\"RETRIEVAL_QUERY\"}]}",
         "x-goog-api-key: k"},
        {ENV("OLLAMA_HOST", "gpu:1/api"), "ollama:bge-m3", 2, document, "http://gpu:1/api/embed",
         "{\"model\":\"bge-m3\",\"input\":[\"a \\\"b\\\"\",\"c\"]}", "Content-Type:"},
        {ENV("X", "y"), "ollama", 1, query, "http://localhost:11434/api/embed",
         "{\"model\":\"nomic-embed-text\",\"input\":[\"search_query: a \\\"b\\\"\"]}",
         "Content-Type:"},
        {ENV("X", "y"), "ollama", 1, old, "http://localhost:11434/api/embeddings",
         "{\"model\":\"nomic-embed-text\",\"prompt\":\"search_document: a \\\"b\\\"\"}",
         "Content-Type:"},
        {ENV("AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "b"), "bedrock", 1, document,
         "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.titan-embed-text-v2%3A0/"
         "invoke",
         "{\"inputText\":\"a \\\"b\\\"\"}", "Authorization: AWS4-HMAC-SHA256 "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_request(&rows[i]);
}

/* ---- answers ---- */

struct heard {
    float first[8];
    unsigned dims[8];
    const char *bad[8];
    unsigned vectors, bads;
};
static void on_vector(void *ctx, size_t at, const float *values, unsigned dims)
{
    struct heard *h = ctx;
    assert_true(at < 8);
    h->first[at] = values[0];
    h->dims[at] = dims;
    h->vectors++;
}
static void on_bad(void *ctx, size_t at, const char *why)
{
    struct heard *h = ctx;
    assert_true(at < 8);
    h->bad[at] = why;
    h->bads++;
}

static int hear(const char *text, size_t expected, struct heard *h, struct embed_answer *answer)
{
    static float scratch[LIMIT_EMBED_DIMS_COUNT];
    *h = (struct heard){0};
    const struct embed_items items = {on_vector, on_bad, h};
    /* A copy without room behind it, so that a sanitizer sees a read past the end. */
    size_t len = strlen(text);
    char *copy = mem_alloc(len + !len);
    memcpy(copy, text, len);
    int rc = embed_read(span_of(copy, len), expected, scratch, &items, answer);
    mem_free(copy);
    return rc;
}

static void answers_of_every_format_are_read(void **state)
{
    (void)state;
    struct heard h;
    struct embed_answer a;
    /* OpenAI: by index, in any order, numbers and base64 (1.0, -0.5 as little-endian floats) */
    assert_int_equal(
        hear("{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":1,\"embedding\":"
             "[0.25,1e-3]},\n {\"embedding\":\"AACAPwAAAL8=\",\"index\":0,\"object\":"
             "\"embedding\"}],\"model\":\"m\",\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}",
             2, &h, &a),
        0);
    assert_int_equal(h.vectors, 2);
    assert_true(h.first[0] == 1.0F && h.dims[0] == 2);
    assert_true(h.first[1] == 0.25F && h.dims[1] == 2);
    assert_int_equal(a.tokens, 8);
    /* the same with an escaped slash: -1.0 ends in "/", three bytes "gL8" … */
    assert_int_equal(hear("{\"data\":[{\"embedding\":\"\\/\\/9\\/Pw==\"}]}", 1, &h, &a), 0);
    assert_true(h.vectors == 1 && h.first[0] > 0.99F && h.first[0] < 1.0F);
    /* Google */
    assert_int_equal(
        hear("{\"embeddings\":[{\"values\":[-0.5,2]},{\"values\":[3,4,5]}]}", 2, &h, &a), 0);
    assert_true(h.vectors == 2 && h.first[0] == -0.5F && h.dims[1] == 3);
    /* Ollama, both */
    assert_int_equal(hear("{\"model\":\"m\",\"embeddings\":[[0.5],[-1.5]],\"total_duration\":14143,"
                          "\"prompt_eval_count\":9}",
                          2, &h, &a),
                     0);
    assert_true(h.vectors == 2 && h.first[1] == -1.5F && a.tokens == 9);
    assert_int_equal(hear("{\"embedding\":[7.5]}", 1, &h, &a), 0);
    assert_true(h.first[0] == 7.5F);
    /* Titan */
    assert_int_equal(hear("{\"embedding\":[7.5],\"embeddingsByType\":{\"float\":[7.5]},"
                          "\"inputTextTokenCount\":3}",
                          1, &h, &a),
                     0);
    assert_true(h.vectors == 1 && a.tokens == 3);
}

static void numbers_are_read_as_floats(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        float value;
    } rows[] = {
        {"0.1", 0.1F},
        {"-1.1754944e-38", -1.1754944e-38F},
        {"123456789012345678901234567890", 1.2345679e29F},
        {"0.00000000000000000000000000000000000012345", 1.2345e-37F},
        {"3.4028235E+38", 3.4028235e38F},
        {"0.0123456789012345678901234567890123456789", 0.012345679F},
        {"1e-400", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct heard h;
        struct embed_answer a;
        char text[128];
        snprintf(text, sizeof text, "{\"embedding\":[%s,1]}", rows[i].text);
        assert_int_equal(hear(text, 1, &h, &a), 0);
        if (fabsf(h.first[0] - rows[i].value) > fabsf(rows[i].value) * 2e-7F)
            fail_msg("%s read as %.9g", rows[i].text, (double)h.first[0]);
    }
}

static void what_is_no_vector_is_refused_alone(void **state)
{
    (void)state;
    static const char *const items[] = {
        "null",
        "[]",
        "[0,0.0]",
        "[1,null]",
        "[1,\"2\"]",
        "[NaN,1]",
        "[Infinity]",
        "[1e39]",
        "[[1],[2]]",
        "\"AAA=\"",
        "\"*\"",
        "\"AADAfw==\"" /* NaN */,
        "\"AAAAAA==\"" /* 0 */,
        "\"\"",
        "7",
        "{}",
        "true",
    };
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        struct heard h;
        struct embed_answer a;
        char text[256];
        snprintf(text, sizeof text,
                 "{\"data\":[{\"index\":0,\"embedding\":[1]},{\"index\":1,\"embedding\":%s},"
                 "{\"index\":2,\"embedding\":[3]}]}",
                 items[i]);
        assert_int_equal(hear(text, 3, &h, &a), 0);
        if (h.vectors != 2 || h.bads != 1 || !h.bad[1])
            fail_msg("%s: %u vectors, %u refused", items[i], h.vectors, h.bads);
        snprintf(text, sizeof text, "{\"embeddings\":[[1],%s,[3]]}", items[i]);
        assert_int_equal(hear(text, 3, &h, &a), 0);
        assert_true(h.vectors == 2 && h.bads == 1);
    }
}

static void bodies_of_other_shapes_are_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "null",
        "[]",
        "{}",
        "<html>",
        "{\"data\"",
        "{\"data\":[1",
        "{\"data\":[[1]]",
        "{\"data\":[[1]]}x",
        "{\"data\":[[1]}",
        "{\"x\":\"",
        "{\"a\":1 \"b\":2,\"data\":[[1]]}",
        "{\"data\":[[1] [2]]}",
        "{\"x\":}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct heard h;
        struct embed_answer a;
        if (hear(bodies[i], 4, &h, &a) != -ERR_UPSTREAM)
            fail_msg("'%s' was taken", bodies[i]);
    }
    struct heard h;
    struct embed_answer a;
    assert_int_equal(hear("{\"error\":{\"message\":\"no\"},\"x\":[{\"y\":[]}]}", 1, &h, &a), 0);
    assert_true(a.has_error);
    /* more items than texts, indexes outside: passed over */
    assert_int_equal(hear("{\"data\":[{\"index\":99,\"embedding\":[1]},{\"index\":-1,\"embedding\":"
                          "[2]},{\"embedding\":[3]}]}",
                          2, &h, &a),
                     0);
    assert_true(h.vectors <= 1);
    struct buf deep = BUF_INIT(4096);
    buf_puts(&deep, "{\"x\":");
    for (int i = 0; i < 1000; i++)
        buf_putc(&deep, '[');
    assert_int_equal(hear(buf_str(&deep), 1, &h, &a), -ERR_UPSTREAM);
    buf_done(&deep);
}

static void googles_retry_info_is_read(void **state)
{
    (void)state;
    assert_int_equal(embed_retry_delay(SPAN_LIT(
                         "{\"error\":{\"code\":429,\"details\":[{\"@type\":\"type.googleapis.com/"
                         "google.rpc.RetryInfo\",\"retryDelay\": \"34.5s\"}]}}")),
                     34500);
    assert_int_equal(embed_retry_delay(SPAN_LIT("{\"retryDelay\":\"soon\"}")), -1);
    assert_int_equal(embed_retry_delay(SPAN_LIT("{\"retryDelay\"")), -1);
    assert_int_equal(embed_retry_delay(SPAN_LIT("no")), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_embedder_without_a_type),
        cmocka_unit_test(types_have_their_models_and_addresses),
        cmocka_unit_test(an_embedder_that_cannot_work_says_what_is_missing),
        cmocka_unit_test(embedder_json_is_read_with_its_placeholders),
        cmocka_unit_test(configuration_survives_lack_of_memory),
        cmocka_unit_test(requests_are_as_the_documents_have_them),
        cmocka_unit_test(answers_of_every_format_are_read),
        cmocka_unit_test(numbers_are_read_as_floats),
        cmocka_unit_test(what_is_no_vector_is_refused_alone),
        cmocka_unit_test(bodies_of_other_shapes_are_refused),
        cmocka_unit_test(googles_retry_info_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
