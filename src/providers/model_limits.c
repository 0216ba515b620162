#include "providers/model_limits.h"

#define K 1024u
#define T 1000u

/* Context and longest answer. A family's first line is its fallback: longer prefixes refine it. */
static const struct {
    const char *prefix;
    uint32_t context, output;
} families[] = {
    {"gpt-3.5", 16385, 4096},
    {"gpt-35", 16385, 4096},
    {"gpt-4", 8192, 4096},
    {"gpt-4-32k", 32768, 4096},
    {"gpt-4-turbo", 128 * T, 4096},
    {"gpt-4-1106", 128 * T, 4096},
    {"gpt-4-0125", 128 * T, 4096},
    {"gpt-4-vision", 128 * T, 4096},
    {"gpt-4o", 128 * T, 16384},
    {"gpt-4.5", 128 * T, 16384},
    {"gpt-4.1", 1047576, 32768},
    {"gpt-5", 400 * T, 128 * T},
    {"gpt-5-chat", 128 * T, 16384},
    {"gpt-oss", 128 * K, 32768},
    {"chatgpt-4o", 128 * T, 16384},
    {"o1", 200 * T, 100 * T},
    {"o1-mini", 128 * T, 65536},
    {"o1-preview", 128 * T, 32768},
    {"o3", 200 * T, 100 * T},
    {"o4", 200 * T, 100 * T},
    {"claude", 200 * T, 4096},
    {"claude-v2", 100 * T, 4096},
    {"claude-instant", 100 * T, 4096},
    {"claude-3-5", 200 * T, 8192},
    {"claude-3-7", 200 * T, 64 * T},
    {"claude-haiku-4", 200 * T, 64 * T},
    {"claude-sonnet-4", 200 * T, 64 * T},
    {"claude-opus-4", 200 * T, 32 * T},
    {"claude-opus-4-5", 200 * T, 64 * T},
    {"gemini", 1048576, 8192},
    {"gemini-1.0", 30720, 2048},
    {"gemini-1.5-pro", 2097152, 8192},
    {"gemini-2.5", 1048576, 65536},
    {"gemini-3", 1048576, 65536},
    {"gemma", 8192, 2048},
    {"gemma-3", 128 * K, 8192},
    {"gemma3", 128 * K, 8192},
    {"deepseek", 128 * K, 8192},
    {"deepseek-reasoner", 128 * K, 64 * K},
    {"deepseek-r1", 128 * K, 32 * K},
    {"deepseek-coder", 16 * K, 4 * K},
    {"qwen", 32 * K, 8192},
    {"qwen-plus", 128 * K, 8192},
    {"qwen-turbo", 128 * K, 8192},
    {"qwen-max", 32 * K, 8192},
    {"qwen-long", 1000 * T, 8192},
    {"qwen2.5", 32 * K, 8192},
    {"qwen3", 32 * K, 8192},
    {"qwen3-coder", 256 * K, 64 * K},
    {"qwen3-max", 256 * K, 32 * K},
    {"qwq", 128 * K, 8192},
    {"glm-4", 128 * K, 4 * K},
    {"glm-4.5", 128 * K, 96 * K},
    {"glm-4.6", 200 * T, 128 * T},
    {"glm-4.7", 200 * T, 128 * T},
    {"kimi-k2", 128 * K, 16 * K},
    {"moonshot-v1-8k", 8192, 4096},
    {"moonshot-v1-32k", 32768, 8192},
    {"moonshot-v1-128k", 131072, 16384},
    {"llama2", 4096, 2048},
    {"llama-2", 4096, 2048},
    {"llama3", 8192, 2048},
    {"llama-3", 8192, 2048},
    {"llama3.1", 128 * K, 4096},
    {"llama-3.1", 128 * K, 4096},
    {"llama3.2", 128 * K, 4096},
    {"llama-3.2", 128 * K, 4096},
    {"llama3.3", 128 * K, 4096},
    {"llama-3.3", 128 * K, 4096},
    {"mistral", 32 * K, 8192},
    {"mistral-large", 128 * K, 8192},
    {"mistral-small", 128 * K, 8192},
    {"mistral-medium", 128 * K, 8192},
    {"mistral-nemo", 128 * K, 8192},
    {"mixtral", 32 * K, 8192},
    {"codestral", 256 * K, 8192},
    {"devstral", 128 * K, 8192},
    {"ministral", 128 * K, 8192},
    {"command-r", 128 * T, 4096},
    {"command-a", 256 * T, 8192},
    {"command", 4096, 2048},
    {"grok-2", 131072, 8192},
    {"grok-3", 131072, 16384},
    {"grok-4", 256 * T, 16384},
    {"phi3", 4096, 2048},
    {"phi-3", 4096, 2048},
    {"phi4", 16 * K, 4096},
    {"phi-4", 16 * K, 4096},
    {"titan-text-express", 8192, 8192},
    {"titan-text-lite", 4096, 4096},
    {"titan-text-premier", 32 * K, 3072},
    {"nova-micro", 128 * T, 5000},
    {"nova-lite", 300 * T, 5000},
    {"nova-pro", 300 * T, 5000},
    {"nova-premier", 1000 * T, 32 * T},
    {"jamba", 256 * T, 4096},
    {"j2-", 8191, 2048},
};

static bool starts_nocase(struct span s, const char *prefix)
{
    struct span p = span_str(prefix);
    return s.len >= p.len && span_eq_nocase(span_first(s, p.len), p);
}

struct span model_bare_name(struct span model)
{
    static const char *const makers[] = {"anthropic.", "amazon.",   "cohere.", "meta.", "ai21.",
                                         "mistral.",   "deepseek.", "openai.", "qwen."};
    static const char *const regions[] = {"us.",     "eu.", "apac.", "global.",
                                          "us-gov.", "jp.", "au."};
    ptrdiff_t slash = span_rfind_char(model, '/');
    if (slash >= 0)
        model = span_skip(model, (size_t)slash + 1);
    for (size_t i = 0; i < ARRAY_LEN(regions); i++) {
        if (starts_nocase(model, regions[i])) {
            model = span_skip(model, strlen(regions[i]));
            break;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        if (starts_nocase(model, makers[i])) {
            model = span_skip(model, strlen(makers[i]));
            break;
        }
    }
    return model;
}

static const struct model_rule *own_rule(const struct model_rules *own, struct span bare,
                                         bool (*has)(const struct model_rule *r))
{
    const struct model_rule *best = NULL;
    for (size_t i = 0; own && i < own->count; i++) {
        const struct model_rule *r = &own->items[i];
        if (has(r) && starts_nocase(bare, r->prefix) &&
            (!best || strlen(r->prefix) >= strlen(best->prefix)))
            best = r;
    }
    return best;
}

static bool has_context(const struct model_rule *r)
{
    return r->context_tokens > 0;
}

static bool has_output(const struct model_rule *r)
{
    return r->output_tokens > 0;
}

struct model_limits model_limits_find(const struct model_rules *own, struct span model)
{
    struct span bare = model_bare_name(model);
    struct model_limits l = {MODEL_CONTEXT_UNKNOWN, MODEL_OUTPUT_UNKNOWN, false};
    size_t best = 0;
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        size_t n = strlen(families[i].prefix);
        if (n > best && starts_nocase(bare, families[i].prefix)) {
            best = n;
            l = (struct model_limits){families[i].context, families[i].output, true};
        }
    }
    const struct model_rule *context = own_rule(own, bare, has_context);
    const struct model_rule *output = own_rule(own, bare, has_output);
    if (context)
        l.context_tokens = context->context_tokens;
    if (output)
        l.output_tokens = output->output_tokens;
    l.is_known |= context != NULL;
    if (l.output_tokens > l.context_tokens)
        l.output_tokens = l.context_tokens;
    return l;
}
