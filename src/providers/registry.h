#pragma once
/*
 * Which providers there are, their models, keys and prices: a built-in table (docs/protocol,
 * DeepWiki's generator.json in substance), overlaid by generator.json and model_pricing.json of
 * DEEPWIKI_CONFIG_DIR where given (${NAME} and ${NAME:-default} replaced from the environment), and
 * by the environment (…_API_KEY, …_BASE_URL, OLLAMA_HOST, AZURE_*, AWS_* …). Read once at start;
 * immutable; shared. Secrets stay in this object and in request headers; registry_json never shows
 * them. Thread: any.
 */
#include "base/json.h"
#include "base/limits.h"
#include "providers/wire.h"

#define PROVIDER_LOCAL "local"

struct registry;

/* One way to reach a provider's model: several mean failover, in order. */
struct provider_endpoint {
    const struct wire_format *format;
    struct wire_target
        target;        /* strings owned by the registry; model and params are filled per request */
    const char *label; /* for logs: "openai", "azure#2"; no secret */
};

/*
 * US dollars. Of the prompt's tokens those that the provider read from its cache, or wrote to it,
 * have prices of their own where the table says so; else they cost what the others cost.
 */
struct provider_price {
    double input_per_million, output_per_million;
    double cached_per_million, cache_write_per_million;
    bool is_known;
};

struct provider_model {
    char id[LIMIT_MODEL_NAME]; /* as sent */
    const char *params_json;   /* owned by the registry; or NULL */
    const char *deployment;    /* azure, where configured apart from the id; or NULL */
    size_t context_tokens, max_output_tokens;
    struct provider_price price;
};

struct registry_options {
    const char *(*env)(void *ctx, const char *name); /* value or NULL */
    void *env_ctx;
    const char *config_dir;       /* DEEPWIKI_CONFIG_DIR or NULL */
    const char *default_provider; /* from options; NULL = first with a key, else local */
    const char *default_model;
    const char *embedder; /* "TYPE[:MODEL]", "none", or NULL = DEEPWIKI_EMBEDDER_TYPE */
};
/* A bad configuration file is an error that names file and place. Blocks (reads files). */
int registry_new(const struct registry_options *options, struct registry **ret,
                 struct err *err) MUST_CHECK;
void registry_free(struct registry *r); /* wipes secrets */

/*
 * Endpoints: of a list in a key variable ("k1,k2") or a base URL variable one each, paired where
 * both are lists. Azure's further endpoints (AZURE_HA_CONFIG, AZURE_EMBEDDING_HA,
 * AZURE_HA_ENDPOINTS, AZURE_HA_ENDPOINT_1 …: the first form that is set) follow AZURE_OPENAI_*.
 * Default provider: the option, else DEEPWIKI_CHAT_PROVIDER, else generator.json's when it can be
 * used, else the first that is configured (key, or OLLAMA_HOST, or OPENAI_COMPATIBLE_BASE_URL),
 * else local.
 *
 * Resolves what a request asks for. provider/model empty = defaults. *ret_model is never without an
 * id (an unknown model gets the default model's parameters under the requested name; limits as
 * configured, else model_limits.h). local has no endpoints. 0; -ERR_INVALID (a model's name of
 * LIMIT_MODEL_NAME bytes or more); -ERR_NOT_FOUND with the protocol's text "Configuration for
 * provider 'x' not found"; -ERR_UNAVAILABLE with "Environment variable OPENAI_API_KEY must be set"
 * (deepwiki.md §2.2).
 */
int registry_resolve(const struct registry *r, struct span provider, struct span model,
                     const char **ret_provider, struct provider_model *ret_model,
                     const struct provider_endpoint **ret_endpoints, size_t *ret_count,
                     struct err *err) MUST_CHECK;
/*
 * The whole answer of /models/config (deepwiki.md §1.2): local first; default_model first within a
 * provider; only providers that can be used carry models a user may pick.
 */
void registry_models_json(const struct registry *r, struct buf *out);
/*
 * The text that a DeepWiki client sees when this provider fails: "\nError with Openai API:
 * <e>\n\nPlease check …" (§2.5), for `e`.
 */
void registry_error_text(const char *provider, const char *e, struct buf *out);
