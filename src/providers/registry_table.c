#include "providers/registry_priv.h"

/* Providers and models of the DeepWiki family, upstream's list first, then what the fork adds. */

#define WARM "{\"temperature\":1.0}"
#define USUAL "{\"temperature\":0.7,\"top_p\":0.8}"
#define GEMINI "{\"temperature\":1.0,\"top_p\":0.8,\"top_k\":20}"
#define OLLAMA(ctx) "{\"options\":{\"temperature\":0.7,\"top_p\":0.8,\"num_ctx\":" #ctx "}}"
#define DEEPSEEK "{\"temperature\":0.2,\"top_p\":0.8}"
#define CLAUDE "{\"max_tokens\":16384}"

static const struct builtin_model google[] = {
    {"gemini-2.5-flash", GEMINI}, {"gemini-2.5-flash-lite", GEMINI}, {"gemini-2.5-pro", GEMINI}};
static const struct builtin_model openai[] = {
    {"gpt-5", WARM},    {"gpt-5-nano", WARM}, {"gpt-5-mini", WARM}, {"gpt-4o", USUAL},
    {"gpt-4.1", USUAL}, {"o1", USUAL},        {"o3", WARM},         {"o4-mini", WARM}};
static const struct builtin_model openrouter[] = {{"openai/gpt-5-nano", USUAL},
                                                  {"openai/gpt-4o", USUAL},
                                                  {"deepseek/deepseek-r1", USUAL},
                                                  {"openai/gpt-4.1", USUAL},
                                                  {"openai/o1", USUAL},
                                                  {"openai/o3", WARM},
                                                  {"openai/o4-mini", WARM},
                                                  {"anthropic/claude-3.7-sonnet", USUAL},
                                                  {"anthropic/claude-3.5-sonnet", USUAL},
                                                  {"mistralai/devstral-2512:free", USUAL},
                                                  {"qwen/qwen3-coder:free", USUAL},
                                                  {"moonshotai/kimi-k2:free", USUAL},
                                                  {"openai/gpt-oss-20b:free", USUAL}};
static const struct builtin_model ollama[] = {
    {"qwen3:1.7b", OLLAMA(32000)}, {"llama3:8b", OLLAMA(8000)}, {"qwen3:8b", OLLAMA(32000)}};
static const struct builtin_model azure[] = {{"gpt-4o", USUAL},
                                             {"gpt-4", USUAL},
                                             {"gpt-35-turbo", USUAL},
                                             {"gpt-4-turbo", USUAL},
                                             {"gpt-5-mini", WARM}};
static const struct builtin_model bedrock[] = {{"anthropic.claude-3-sonnet-20240229-v1:0", USUAL},
                                               {"anthropic.claude-3-haiku-20240307-v1:0", USUAL},
                                               {"anthropic.claude-3-opus-20240229-v1:0", USUAL},
                                               {"amazon.titan-text-express-v1", USUAL},
                                               {"cohere.command-r-v1:0", USUAL},
                                               {"ai21.j2-ultra-v1", USUAL}};
static const struct builtin_model dashscope[] = {
    {"qwen-plus", USUAL}, {"qwen-turbo", USUAL}, {"deepseek-r1", USUAL}};
static const struct builtin_model deepseek[] = {{"deepseek-chat", DEEPSEEK},
                                                {"deepseek-reasoner", DEEPSEEK}};
static const struct builtin_model claude[] = {{"claude-haiku-4-5", CLAUDE},
                                              {"claude-sonnet-4-5", CLAUDE}};
static const struct builtin_model zhipu[] = {
    {"glm-4.6", NULL}, {"glm-4.5", NULL}, {"glm-4.5-air", NULL}};

#define MODELS(list) .default_model = NULL, .models = (list), .model_count = ARRAY_LEN(list)
#define CHECK_KEY(name) \
    "Please check that you have set the " name " environment variable with a valid API key."

static const struct provider_kind kinds[] = {
    {.id = "google",
     .client_class = "GoogleGenAIClient",
     .format = &wire_gemini,
     .key_env = "GOOGLE_API_KEY",
     .base_env = "GOOGLE_BASE_URL",
     .base_default = "https://generativelanguage.googleapis.com",
     MODELS(google)},
    {.id = "openai",
     .client_class = "OpenAIClient",
     .format = &wire_openai,
     .key_env = "OPENAI_API_KEY",
     .base_env = "OPENAI_BASE_URL",
     .base_default = "https://api.openai.com/v1",
     .api_name = "Openai API",
     .advice = CHECK_KEY("OPENAI_API_KEY"),
     .default_model = "gpt-5-nano",
     .models = openai,
     .model_count = ARRAY_LEN(openai)},
    {.id = "openrouter",
     .client_class = "OpenRouterClient",
     .format = &wire_openai,
     .key_env = "OPENROUTER_API_KEY",
     .base_env = "OPENROUTER_BASE_URL",
     .base_default = "https://openrouter.ai/api/v1",
     .api_name = "OpenRouter API",
     .missing = "OPENROUTER_API_KEY not configured. Please set this environment variable to use "
                "OpenRouter.",
     .advice = CHECK_KEY("OPENROUTER_API_KEY"),
     MODELS(openrouter)},
    {.id = "ollama",
     .client_class = "OllamaClient",
     .format = &wire_ollama,
     .base_env = "OLLAMA_HOST",
     .base_default = "http://localhost:11434",
     .can_do_without_key = true,
     MODELS(ollama)},
    {.id = "azure",
     .client_class = "AzureAIClient",
     .format = &wire_azure,
     .key_env = "AZURE_OPENAI_API_KEY",
     .base_env = "AZURE_OPENAI_ENDPOINT",
     .missing = "Environment variable AZURE_OPENAI_API_KEY must be set or credential must be "
                "provided",
     .api_name = "Azure AI API",
     .advice = "Please check that you have set the AZURE_OPENAI_API_KEY, AZURE_OPENAI_ENDPOINT, "
               "and AZURE_OPENAI_VERSION environment variables with valid values.",
     MODELS(azure)},
    {.id = "bedrock",
     .client_class = "BedrockClient",
     .format = &wire_bedrock,
     .missing = "AWS Bedrock client not initialized. Check your AWS credentials and region.",
     .api_name = "AWS Bedrock API",
     .advice = "Please check that you have set the AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
               "environment variables with valid credentials.",
     MODELS(bedrock)},
    {.id = "dashscope",
     .client_class = "DashscopeClient",
     .format = &wire_openai,
     .key_env = "DASHSCOPE_API_KEY",
     .base_env = "DASHSCOPE_BASE_URL",
     .base_default = "https://dashscope.aliyuncs.com/compatible-mode/v1",
     .api_name = "Dashscope API",
     .advice = "Please check that you have set the DASHSCOPE_API_KEY (and optionally "
               "DASHSCOPE_WORKSPACE_ID) environment variables with valid values.",
     MODELS(dashscope)},
    {.id = "deepseek",
     .client_class = "DeepSeekClient",
     .format = &wire_openai,
     .key_env = "DEEPSEEK_API_KEY",
     .base_env = "DEEPSEEK_BASE_URL",
     .base_fallback_env = "OPENAI_BASE_URL",
     .base_default = "https://api.deepseek.com",
     .api_name = "DeepSeek API",
     .advice = CHECK_KEY("DEEPSEEK_API_KEY"),
     MODELS(deepseek)},
    {.id = "azure_anthropic",
     .client_class = "AzureAnthropicClient",
     .format = &wire_anthropic,
     .key_env = "AZURE_ANTHROPIC_API_KEY",
     .base_env = "AZURE_ANTHROPIC_ENDPOINT",
     .api_name = "Azure Anthropic API",
     .advice = "Please check AZURE_ANTHROPIC_API_KEY and AZURE_ANTHROPIC_ENDPOINT.",
     .is_custom_refused = true,
     MODELS(claude)},
    {.id = "zhipu",
     .client_class = "ZhipuClient",
     .format = &wire_openai,
     .key_env = "ZHIPU_CODING_PLAN_API_KEY",
     .base_env = "ZHIPU_CODING_PLAN_BASE_URL",
     .base_default = "https://api.z.ai/api/coding/paas/v4",
     .api_name = "Zhipu API",
     .advice = "Please check ZHIPU_CODING_PLAN_API_KEY and base URLs.",
     .is_custom_refused = true,
     MODELS(zhipu)},
    {.id = "zhipu_anthropic",
     .client_class = "ZhipuAnthropicClient",
     .format = &wire_anthropic,
     .key_env = "ZHIPU_CODING_PLAN_API_KEY",
     .base_env = "ZHIPU_ANTHROPIC_CODING_PLAN_BASE_URL",
     .base_default = "https://api.z.ai/api/anthropic",
     .api_name = "Zhipu Anthropic-compatible API",
     .advice = "Please check ZHIPU_CODING_PLAN_API_KEY and base URLs.",
     .is_custom_refused = true,
     MODELS(zhipu)},
    {.id = "openai_compatible",
     .client_class = "OpenAICompatibleClient",
     .format = &wire_openai,
     .key_env = "OPENAI_COMPATIBLE_API_KEY",
     .base_env = "OPENAI_COMPATIBLE_BASE_URL",
     .can_do_without_key = true},
};

const struct provider_kind *kind_find(struct span id)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (span_is(id, kinds[i].id))
            return &kinds[i];
    return NULL;
}

const struct provider_kind *kind_find_class(const char *client_class)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].client_class, client_class) == 0)
            return &kinds[i];
    return NULL;
}

size_t kind_count(void)
{
    return ARRAY_LEN(kinds);
}

const struct provider_kind *kind_at(size_t i)
{
    return &kinds[i];
}
