/*
 * Which embedder is asked for: the option, else DEEPWIKI_EMBEDDER_TYPE; its model and manners from
 * the environment and embedder.json; its addresses and keys from the provider of that name.
 */
#include "base/mem.h"
#include "providers/embed_priv.h"
#include "providers/model_limits.h"
#include "providers/registry_priv.h"

#include <stdio.h>

struct embed_type {
    const char *id, *provider, *section, *model_env, *model;
    const struct embed_format *format;
};
static const struct embed_type types[] = {
    {"openai", "openai", "embedder", "OPENAI_EMBEDDING_MODEL", "text-embedding-3-small",
     &embed_openai},
    {"google", "google", "embedder_google", "GOOGLE_EMBEDDING_MODEL", "gemini-embedding-001",
     &embed_google},
    {"ollama", "ollama", "embedder_ollama", "OLLAMA_EMBEDDING_MODEL", "nomic-embed-text",
     &embed_ollama},
    {"openrouter", "openrouter", "embedder_openrouter", "OPENROUTER_EMBEDDING_MODEL",
     "openai/text-embedding-3-large", &embed_openai},
    {"azure", "azure", "embedder_azure", "AZURE_OPENAI_EMBEDDING_MODEL", "text-embedding-3-large",
     &embed_azure},
    {"azure_ha", "azure", "embedder_azure_ha", "AZURE_OPENAI_EMBEDDING_MODEL",
     "text-embedding-3-large", &embed_azure},
    {"bedrock", "bedrock", "embedder_bedrock", "BEDROCK_EMBEDDING_MODEL",
     "amazon.titan-embed-text-v2:0", &embed_bedrock},
    {"openai_compatible", "openai_compatible", "embedder_openai_compatible",
     "OPENAI_COMPATIBLE_EMBEDDING_MODEL", NULL, &embed_openai},
};
#define TYPES "openai, google, ollama, openrouter, azure, azure_ha, bedrock, openai_compatible"

/* Words that a model's makers want before what is embedded. */
static const struct {
    const char *model, *document, *query;
} manners[] = {
    {"nomic-embed-text", "search_document: ", "search_query: "},
    {"mxbai-embed-large", NULL, "Represent this sentence for searching relevant passages: "},
    {"multilingual-e5", "passage: ", "query: "},
    {"e5-", "passage: ", "query: "},
};

/* What embedder.json says. */
struct section {
    const char *model, *deployment, *task, *encoding, *base_url, *api_key;
    unsigned dims;
    size_t batch;
};

static const struct embed_type *type_find(struct span id)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (span_is(id, types[i].id))
            return &types[i];
    return NULL;
}

/* ---- embedder.json ---- */

static int read_number(const json_t *obj, const char *key, size_t most, size_t *ret,
                       const struct registry_place *at)
{
    const json_t *v = json_object_get(obj, key);
    char where[320];
    snprintf(where, sizeof where, "%s.%s", at->where, key);
    uint64_t n = 0;
    if (!v || json_is_null(v))
        return 0;
    if (json_is_integer(v) && json_integer_value(v) > 0)
        n = (uint64_t)json_integer_value(v);
    else if (!parse_u64(json_span(v), &n)) /* "${EMBEDDING_DIMENSIONS}" is a string */
        return registry_wrong(at->err, at->file, where, "a number above 0", v);
    if (n == 0 || n > most)
        return err_set(at->err, ERR_INVALID, "%s: %s must be between 1 and %zu", at->file, where,
                       most);
    *ret = (size_t)n;
    return 0;
}

/* Text that still holds a placeholder is not set. */
static const char *settled(const char *text)
{
    return text && strstr(text, "${") ? NULL : text;
}

static int read_kwargs(struct registry *r, const json_t *s, struct section *ret,
                       struct registry_place *at)
{
    char section[100];
    const json_t *model = json_object_get(s, "model_kwargs"),
                 *client = json_object_get(s, "initialize_kwargs");
    size_t dims = 0;
    snprintf(section, sizeof section, "%.90s", at->where);
    int rc = read_number(s, "batch_size", LIMIT_EMBED_BATCH_COUNT, &ret->batch, at);
    snprintf(at->where, sizeof at->where, "%s.model_kwargs", section);
    if (rc == 0 && model && !json_is_object(model))
        rc = registry_wrong(at->err, at->file, at->where, "an object", model);
    if (rc == 0)
        rc = registry_read_text(r, model, "model", &ret->model, at);
    if (rc == 0)
        rc = registry_read_text(r, model, "deployment", &ret->deployment, at);
    if (rc == 0)
        rc = registry_read_text(r, model, "task_type", &ret->task, at);
    if (rc == 0)
        rc = registry_read_text(r, model, "encoding_format", &ret->encoding, at);
    if (rc == 0)
        rc = read_number(model, "dimensions", LIMIT_EMBED_DIMS_COUNT, &dims, at);
    ret->dims = (unsigned)dims;
    snprintf(at->where, sizeof at->where, "%s.initialize_kwargs", section);
    if (rc == 0 && client && !json_is_object(client))
        rc = registry_wrong(at->err, at->file, at->where, "an object", client);
    if (rc == 0)
        rc = registry_read_text(r, client, "base_url", &ret->base_url, at);
    if (rc == 0)
        rc = registry_read_text(r, client, "api_key", &ret->api_key, at);
    ret->model = settled(ret->model);
    ret->deployment = settled(ret->deployment);
    ret->base_url = settled(ret->base_url);
    ret->api_key = settled(ret->api_key);
    return rc;
}

static int read_section(struct registry *r, const struct embed_type *type, const char *name,
                        struct span text, struct section *ret, struct err *err)
{
    json_t *all = NULL;
    int rc = registry_load(r, name, text, &all, err);
    if (rc < 0)
        return rc;
    struct registry_place at = {.file = name, .err = err};
    const json_t *s = json_object_get(all, type->section);
    snprintf(at.where, sizeof at.where, "%s", type->section);
    if (s && !json_is_object(s))
        rc = registry_wrong(err, name, at.where, "an object", s);
    else if (s)
        rc = read_kwargs(r, s, ret, &at);
    json_decref(all);
    return rc;
}

static int read_file(struct registry *r, const struct embed_type *type, struct section *ret,
                     struct err *err)
{
    if (!r->options.config_dir || !*r->options.config_dir)
        return 0;
    struct buf path = BUF_INIT(LIMIT_PATH_BYTES), text = BUF_INIT(LIMIT_PROVIDER_CONFIG);
    buf_printf(&path, "%s/embedder.json", r->options.config_dir);
    int rc = buf_failed(&path)
                 ? err_set(err, ERR_TOO_LARGE, "the path of embedder.json is too long")
                 : registry_read_file(buf_str(&path), &text, err);
    if (rc == 0)
        rc = read_section(r, type, buf_str(&path), buf_span(&text), ret, err);
    buf_done(&path);
    buf_done(&text);
    return rc < 0 ? rc : 0;
}

/* ---- addresses ---- */

/* Copies, so that their health is not that of the same provider's chat. */
static bool copy_endpoints(struct embedder *e, const struct provider_endpoint *from, size_t count)
{
    e->endpoints = mem_try_array(count, sizeof *e->endpoints);
    if (!e->endpoints)
        return false;
    memcpy(e->endpoints, from, count * sizeof *from);
    e->endpoint_count = count;
    for (size_t i = 0; i < count; i++) {
        e->endpoints[i].target.deployment = e->deployment;
        e->endpoints[i].target.model = e->model;
        e->endpoints[i].target.params_json = NULL;
    }
    return true;
}

/* embedder.json may name its own address or key: then it is the one endpoint. */
static bool own_endpoint(struct registry *r, struct embedder *e, const struct section *s,
                         const struct reg_provider *p)
{
    struct provider_endpoint own = {.format = p->kind->format, .label = e->type};
    if (p->endpoint_count)
        own = p->endpoints[0];
    if (s->base_url)
        own.target.base_url = s->base_url;
    else if (!p->endpoint_count)
        own.target.base_url = p->kind->base_default;
    if (s->api_key)
        own.target.api_key = s->api_key;
    bool is_done = own.target.base_url && copy_endpoints(e, &own, 1);
    r->no_memory |= own.target.base_url && !is_done;
    return is_done;
}

static int no_endpoint(const struct embed_type *type, const char *missing, struct err *err)
{
    err_set(err, ERR_INVALID, "the embedder '%s' cannot be used: %s", type->id, missing);
    err_hint(err, "set what is missing, or DEEPWIKI_EMBEDDER_TYPE to none");
    return -ERR_INVALID;
}

static int find_endpoints(struct registry *r, const struct embed_type *type, struct embedder *e,
                          const struct section *s, struct err *err)
{
    const struct reg_provider *p = registry_find(r, span_str(type->provider));
    bool has_own = (s->base_url || s->api_key) && p && p->kind;
    if (has_own && (s->api_key || p->endpoint_count) && own_endpoint(r, e, s, p))
        return 0;
    size_t from = 0, count = p ? p->endpoint_count : 0;
    if (p && strcmp(type->id, "azure") == 0)
        count = p->plain_count;
    if (p && strcmp(type->id, "azure_ha") == 0) {
        from = p->plain_count;
        count -= from;
        if (!count)
            return no_endpoint(type,
                               "none of AZURE_HA_CONFIG, AZURE_EMBEDDING_HA, AZURE_HA_ENDPOINTS, "
                               "AZURE_HA_ENDPOINT_1 is set",
                               err);
    }
    if (!count)
        return no_endpoint(
            type,
            p && p->missing ? p->missing : "Environment variable AZURE_OPENAI_ENDPOINT must be set",
            err);
    r->no_memory |= !copy_endpoints(e, p->endpoints + from, count);
    return 0;
}

/* ---- one embedder ---- */

static void set_tasks(struct embedder *e, const char *task)
{
    e->task_document = "RETRIEVAL_DOCUMENT";
    e->task_query = "RETRIEVAL_QUERY";
    if (!task || strcmp(task, "RETRIEVAL_DOCUMENT") == 0 || strcmp(task, "RETRIEVAL_QUERY") == 0)
        return;
    e->task_query = task;
    if (strcmp(task, "CODE_RETRIEVAL_QUERY") != 0) /* its documents are RETRIEVAL_DOCUMENT */
        e->task_document = task;
}

static void set_manners(struct embedder *e)
{
    struct span name = model_bare_name(span_str(e->model));
    for (size_t i = 0; i < ARRAY_LEN(manners); i++) {
        if (!span_starts(name, span_str(manners[i].model)))
            continue;
        e->before_document = manners[i].document;
        e->before_query = manners[i].query;
        return;
    }
}

static const char *kept_key(struct registry *r, const struct embed_type *type,
                            const struct embedder *e)
{
    char key[256], dims[16] = "";
    if (e->dims)
        snprintf(dims, sizeof dims, "/%u", e->dims);
    bool has_task = e->format == &embed_google &&
                    strcmp(e->task_document, "RETRIEVAL_DOCUMENT") != 0; /* other vectors */
    snprintf(key, sizeof key, "%s/%s%s%s%.30s", type->provider, e->model, dims, has_task ? "/" : "",
             has_task ? e->task_document : "");
    return registry_keep(r, span_str(key));
}

static int fill(struct registry *r, const struct embed_type *type, struct span model,
                const struct section *s, struct embedder *e, struct err *err)
{
    const char *env = registry_env(r, type->model_env);
    const char *chosen = model.len  ? registry_keep(r, model)
                         : env      ? registry_keep(r, span_str(env))
                         : s->model ? s->model
                                    : type->model;
    if (!chosen && r->no_memory)
        return -ERR_NO_MEMORY;
    if (!chosen)
        return no_endpoint(type, "it has no model; name one as TYPE:MODEL", err);
    if (strlen(chosen) >= LIMIT_MODEL_NAME)
        return err_set(err, ERR_INVALID, "the embedder's model: its name has 1 to %d bytes",
                       LIMIT_MODEL_NAME - 1);
    if (type->format == &embed_bedrock && !strstr(chosen, "titan-embed"))
        return no_endpoint(type, "of Bedrock's embedding models only Titan's work here", err);
    e->type = type->id;
    e->model = chosen;
    e->format = type->format;
    e->deployment = s->deployment;
    e->dims = s->dims;
    e->batch_count = e->format->batch_count;
    if (s->batch && s->batch < LIMIT_EMBED_BATCH_COUNT && e->batch_count > 1)
        e->batch_count = s->batch;
    if (e->format == &embed_google && e->batch_count > embed_google.batch_count)
        e->batch_count = embed_google.batch_count; /* the API refuses more */
    e->is_float = s->encoding && strcmp(s->encoding, "float") == 0;
    set_tasks(e, s->task);
    set_manners(e);
    char name[LIMIT_MODEL_NAME + 40];
    snprintf(name, sizeof name, "%s %s", e->type, e->model);
    e->name = registry_keep(r, span_str(name));
    e->key = kept_key(r, type, e);
    return find_endpoints(r, type, e, s, err);
}

static bool is_off(struct span type)
{
    return !type.len || span_eq_nocase(type, SPAN_LIT("none")) ||
           span_eq_nocase(type, SPAN_LIT("off"));
}

int registry_read_embedder(struct registry *r, struct err *err)
{
    const char *env = registry_env(r, "DEEPWIKI_EMBEDDER_TYPE");
    struct span asked = span_trim(
        span_str(r->options.embedder && *r->options.embedder ? r->options.embedder : env));
    ptrdiff_t colon = span_find_char(asked, ':');
    struct span model = colon < 0 ? SPAN_NULL : span_trim(span_skip(asked, (size_t)colon + 1));
    struct span id = colon < 0 ? asked : span_trim(span_first(asked, (size_t)colon));
    if (is_off(id))
        return 0;
    const struct embed_type *type = type_find(id);
    if (!type) {
        err_set(err, ERR_INVALID, "there is no embedder of type '" SPAN_FMT "'",
                SPAN_ARG(span_first(id, 60)));
        err_hint(err, "one of %s; or none", TYPES);
        return -ERR_INVALID;
    }
    struct section s = {0};
    int rc = read_file(r, type, &s, err);
    if (rc < 0)
        return rc;
    r->embedder = mem_try(sizeof *r->embedder);
    if (!r->embedder) {
        r->no_memory = true;
        return 0;
    }
    return fill(r, type, model, &s, r->embedder, err);
}

/* ---- looks ---- */

void embedder_free(struct embedder *e)
{
    if (e)
        mem_free(e->endpoints);
    mem_free(e);
}

const struct embedder *registry_embedder(const struct registry *r)
{
    return r->embedder;
}

const char *embedder_key(const struct embedder *e)
{
    return e->key;
}

const char *embedder_name(const struct embedder *e)
{
    return e->name;
}

unsigned embedder_dims(const struct embedder *e)
{
    return e->dims;
}

size_t embedder_texts(const struct embedder *e)
{
    size_t n = e->batch_count * e->format->calls;
    return n < 32 ? 32 : n < LIMIT_EMBED_TEXTS_COUNT ? n : LIMIT_EMBED_TEXTS_COUNT;
}

const char *embedder_address(const struct embedder *e, size_t i)
{
    if (i >= e->endpoint_count)
        return NULL;
    const char *base = e->endpoints[i].target.base_url;
    return base ? base : "the region's own address"; /* bedrock without an endpoint of its own */
}
