#pragma once
/*
 * The parts of the registry: registry_table.c what is built in, registry_env.c endpoints from the
 * environment, registry_file.c generator.json and model_pricing.json over it, registry.c choice and
 * answers. Everything is owned by the registry and written only while it is made; lack of memory is
 * sticky (no_memory) and told once at the end.
 */
#include "base/map.h"
#include "providers/registry.h"

struct builtin_model {
    const char *id, *params_json;
};

/* How a provider is reached. */
struct provider_kind {
    const char *id, *client_class; /* as generator.json names it, or NULL */
    const struct wire_format *format;
    const char *key_env, *base_env, *base_fallback_env, *base_default;
    const char *missing;  /* when there is no key; NULL = "Environment variable X must be set" */
    const char *api_name; /* "Error with <api_name>: …"; NULL = the plain text */
    const char *advice;   /* after an empty line */
    const char *default_model;
    const struct builtin_model *models;
    size_t model_count;
    bool can_do_without_key, is_custom_refused;
};
const struct provider_kind *kind_find(struct span id);
const struct provider_kind *kind_find_class(const char *client_class);
size_t kind_count(void);
const struct provider_kind *kind_at(size_t i);

struct reg_model {
    const char *id, *params_json, *deployment; /* the last two or NULL */
    size_t context_tokens, max_output_tokens;  /* that the parameters say; 0 = not said */
};

struct reg_provider {
    const char *id;
    const struct provider_kind *kind; /* NULL: not known how to reach it */
    const char *default_model;        /* or NULL */
    bool supports_custom, is_local;
    bool is_configured;       /* by key or address, so that it may be the default */
    struct reg_model *models; /* owned */
    size_t model_count;
    struct provider_endpoint *endpoints; /* owned */
    size_t endpoint_count;
    size_t plain_count;  /* azure: of AZURE_OPENAI_*; those of the AZURE_HA forms follow */
    const char *missing; /* why it cannot be used, or NULL */
};

struct registry {
    struct registry_options options; /* env only until registry_new returns */
    struct reg_provider *providers;  /* owned; LIMIT_PROVIDERS_COUNT places; local first */
    size_t provider_count;
    struct map prices; /* "provider/model" → struct provider_price, owned */
    char **owned;      /* strings; wiped */
    size_t owned_count, owned_cap;
    bool no_memory;
    const char *file_default;     /* default_provider of generator.json, or NULL */
    const char *default_provider; /* decided */
    const char *default_model;    /* asked for by options; or NULL */
    struct embedder *embedder;    /* owned; or NULL */
};

/* A registry with what is built in, no endpoints. NULL without memory. */
struct registry *registry_blank(const struct registry_options *options) MUST_CHECK;
struct reg_provider *registry_find(const struct registry *r, struct span id);
/* NULL when there is no memory or no place. */
struct reg_provider *registry_add(struct registry *r, const char *id);
struct reg_model *provider_add_model(struct registry *r, struct reg_provider *p, const char *id,
                                     const char *params_json);
/* Kept until the registry goes; NULL (and sticky) without memory. */
const char *registry_keep(struct registry *r, struct span s);
const char *registry_env(const struct registry *r, const char *name); /* NULL when unset or empty */
/* ${NAME} and ${NAME:-default} replaced; false past LIMIT_PROVIDER_VALUE or without memory. */
bool registry_expand(const struct registry *r, struct span s, struct buf *out);

/* registry_file.c; `name` is the file's, for errors */
int registry_read_generator(struct registry *r, const char *name, struct span text,
                            struct err *err) MUST_CHECK;
int registry_read_pricing(struct registry *r, const char *name, struct span text,
                          struct err *err) MUST_CHECK;
/* Reads a file of at most LIMIT_PROVIDER_CONFIG; 1 when there is none. */
int registry_read_file(const char *path, struct buf *out, struct err *err) MUST_CHECK;

/*
 * A file of the configuration with ${NAME} replaced in all its strings; an object. Caller:
 * json_decref. registry_read_text: one string of an object, kept; *ret stays where it is absent,
 * null or empty.
 */
int registry_load(const struct registry *r, const char *file, struct span text, json_t **ret,
                  struct err *err) MUST_CHECK;
int registry_wrong(struct err *err, const char *file, const char *where, const char *want,
                   const json_t *got);
struct registry_place {
    const char *file;
    char where[256];
    struct err *err;
};
int registry_read_text(struct registry *r, const json_t *obj, const char *key, const char **ret,
                       const struct registry_place *at) MUST_CHECK;

/* embed_config.c: the embedder that is asked for, after the endpoints are known. */
int registry_read_embedder(struct registry *r, struct err *err) MUST_CHECK;
void embedder_free(struct embedder *e);

/* registry_env.c: endpoints of every provider; -ERR_INVALID for text that is not of its form. */
int registry_read_env(struct registry *r, struct err *err) MUST_CHECK;
