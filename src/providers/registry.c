#include "providers/registry_priv.h"

#include "base/mem.h"
#include "providers/model_limits.h"

#include <stdio.h>
#include <string.h>

#define LOCAL_MODEL "extractive"

/* ---- what it is made of ---- */

const char *registry_keep(struct registry *r, struct span s)
{
    if (r->owned_count == r->owned_cap) {
        size_t cap = r->owned_cap ? r->owned_cap * 2 : 64;
        char **more = mem_try_realloc(r->owned, cap * sizeof *more);
        if (!more) {
            r->no_memory = true;
            return NULL;
        }
        r->owned = more;
        r->owned_cap = cap;
    }
    char *copy = mem_try_strndup(s.len ? s.ptr : "", s.len);
    if (!copy) {
        r->no_memory = true;
        return NULL;
    }
    r->owned[r->owned_count++] = copy;
    return copy;
}

const char *registry_env(const struct registry *r, const char *name)
{
    const char *v = r->options.env ? r->options.env(r->options.env_ctx, name) : NULL;
    return v && *v ? v : NULL;
}

struct reg_provider *registry_find(const struct registry *r, struct span id)
{
    for (size_t i = 0; i < r->provider_count; i++)
        if (span_is(id, r->providers[i].id))
            return &r->providers[i];
    return NULL;
}

struct reg_provider *registry_add(struct registry *r, const char *id)
{
    if (!id || r->provider_count >= LIMIT_PROVIDERS_COUNT)
        return NULL;
    struct reg_provider *p = &r->providers[r->provider_count++];
    *p = (struct reg_provider){.id = id, .supports_custom = true};
    return p;
}

struct reg_model *provider_add_model(struct registry *r, struct reg_provider *p, const char *id,
                                     const char *params_json)
{
    struct reg_model *more =
        id ? mem_try_realloc(p->models, (p->model_count + 1) * sizeof *more) : NULL;
    if (!more) {
        r->no_memory = true;
        return NULL;
    }
    p->models = more;
    more[p->model_count] = (struct reg_model){.id = id, .params_json = params_json};
    return &more[p->model_count++];
}

static void add_builtin(struct registry *r, const struct provider_kind *k)
{
    struct reg_provider *p = registry_add(r, k->id);
    p->kind = k;
    p->supports_custom = !k->is_custom_refused;
    for (size_t i = 0; i < k->model_count; i++)
        IGNORE(provider_add_model(r, p, k->models[i].id, k->models[i].params_json) == NULL);
    p->default_model = k->default_model ? k->default_model
                       : k->model_count ? k->models[0].id
                                        : NULL;
}

struct registry *registry_blank(const struct registry_options *options)
{
    struct registry *r = mem_try(sizeof *r);
    if (!r)
        return NULL;
    r->options = *options;
    map_init(&r->prices);
    r->providers = mem_try_array(LIMIT_PROVIDERS_COUNT, sizeof *r->providers);
    if (!r->providers) {
        registry_free(r);
        return NULL;
    }
    struct reg_provider *local = registry_add(r, PROVIDER_LOCAL);
    local->is_local = true;
    local->supports_custom = false;
    local->default_model = LOCAL_MODEL;
    IGNORE(provider_add_model(r, local, LOCAL_MODEL, NULL) == NULL);
    for (size_t i = 0; i < kind_count(); i++)
        add_builtin(r, kind_at(i));
    return r;
}

void registry_free(struct registry *r)
{
    if (!r)
        return;
    size_t at = 0;
    struct span key;
    void *price;
    while (map_each(&r->prices, &at, &key, &price))
        mem_free(price);
    map_done(&r->prices);
    for (size_t i = 0; i < r->provider_count; i++) {
        mem_free(r->providers[i].models);
        mem_free(r->providers[i].endpoints);
    }
    mem_free(r->providers);
    embedder_free(r->embedder);
    for (size_t i = 0; i < r->owned_count; i++) {
        explicit_bzero(r->owned[i], strlen(r->owned[i]));
        mem_free(r->owned[i]);
    }
    mem_free(r->owned);
    mem_free(r);
}

/* ---- making one ---- */

static int read_config(struct registry *r, const char *name,
                       int (*read)(struct registry *, const char *, struct span, struct err *),
                       struct err *err)
{
    struct buf path = BUF_INIT(LIMIT_PATH_BYTES), text = BUF_INIT(LIMIT_PROVIDER_CONFIG);
    buf_printf(&path, "%s/%s", r->options.config_dir, name);
    int rc = buf_failed(&path) ? err_set(err, ERR_TOO_LARGE, "the path of %s is too long", name)
                               : registry_read_file(buf_str(&path), &text, err);
    if (rc == 0)
        rc = read(r, buf_str(&path), buf_span(&text), err);
    buf_done(&path);
    buf_done(&text);
    return rc < 0 ? rc : 0; /* no such file: what is built in */
}

static const char *either(const struct registry *r, const char *option, const char *env,
                          const char *other_env)
{
    const char *v = option && *option ? option : registry_env(r, env);
    return v ? v : registry_env(r, other_env);
}

static bool is_usable(const struct reg_provider *p)
{
    return p->is_local || (p->kind && p->endpoint_count);
}

static void decide_default(struct registry *r)
{
    const char *asked = either(r, r->options.default_provider, "DEEPWIKI_CHAT_PROVIDER",
                               "DEEPWIKI_CHAT_DEFAULT_PROVIDER");
    const char *model =
        either(r, r->options.default_model, "DEEPWIKI_CHAT_MODEL", "DEEPWIKI_CHAT_DEFAULT_MODEL");
    r->default_model = model ? registry_keep(r, span_str(model)) : NULL;
    if (asked) {
        r->default_provider = registry_keep(r, span_str(asked));
        return;
    }
    const struct reg_provider *p =
        r->file_default ? registry_find(r, span_str(r->file_default)) : NULL;
    if (!p || !(p->is_local || p->is_configured)) {
        p = &r->providers[0];
        for (size_t i = r->provider_count; i-- > 1;)
            if (r->providers[i].is_configured)
                p = &r->providers[i];
    }
    r->default_provider = p->id;
}

int registry_new(const struct registry_options *options, struct registry **ret, struct err *err)
{
    struct registry *r = registry_blank(options);
    int rc = r ? 0 : -ERR_NO_MEMORY;
    const char *model = r ? registry_env(r, "OPENAI_COMPATIBLE_MODEL") : NULL;
    if (rc == 0 && model) {
        struct reg_provider *p = registry_find(r, SPAN_LIT("openai_compatible"));
        p->default_model = registry_keep(r, span_str(model));
        IGNORE(provider_add_model(r, p, p->default_model, NULL) == NULL); /* sticky */
    }
    if (rc == 0 && options->config_dir && *options->config_dir) {
        rc = read_config(r, "generator.json", registry_read_generator, err);
        if (rc == 0)
            rc = read_config(r, "model_pricing.json", registry_read_pricing, err);
    }
    if (rc == 0)
        rc = registry_read_env(r, err);
    if (rc == 0)
        rc = registry_read_embedder(r, err);
    if (rc == 0)
        decide_default(r);
    if (!r || r->no_memory)
        rc = err_set(err, ERR_NO_MEMORY, "no memory for the table of model providers");
    if (rc < 0) {
        registry_free(r);
        return rc;
    }
    r->options = (struct registry_options){0};
    *ret = r;
    return 0;
}

/* ---- choice ---- */

static const struct reg_model *model_find(const struct reg_provider *p, struct span id)
{
    for (size_t i = 0; i < p->model_count; i++)
        if (span_is(id, p->models[i].id))
            return &p->models[i];
    return NULL;
}

static const char *default_model_of(const struct registry *r, const struct reg_provider *p)
{
    if (r->default_model && strcmp(p->id, r->default_provider) == 0 && !p->is_local)
        return r->default_model;
    return p->default_model;
}

static struct provider_price price_of(const struct registry *r, const struct reg_provider *p,
                                      const char *model)
{
    char key[LIMIT_MODEL_NAME + 200];
    snprintf(key, sizeof key, "%.150s/%s", p->id, model);
    const struct provider_price *known = map_get(&r->prices, span_str(key));
    if (known)
        return *known;
    bool is_free = p->is_local || p->kind->format == &wire_ollama; /* runs on the owner's machine */
    return (struct provider_price){.is_known = is_free};
}

static int fill_model(const struct registry *r, const struct reg_provider *p, struct span name,
                      struct provider_model *ret, struct err *err)
{
    const struct reg_model *m = model_find(p, name);
    if (!m && p->default_model)
        m = model_find(p, span_str(p->default_model));
    if (!name.len)
        return err_set(err, ERR_INVALID, "provider '%s' has no default model; name one", p->id);
    if (name.len >= sizeof ret->id || memchr(name.ptr, '\0', name.len))
        return err_set(err, ERR_INVALID, "a model's name has 1 to %zu bytes", sizeof ret->id - 1);
    *ret = (struct provider_model){0};
    memcpy(ret->id, name.ptr, name.len);
    if (m) {
        bool is_same = span_is(name, m->id);
        ret->params_json = m->params_json;
        ret->deployment = is_same ? m->deployment : NULL;
        ret->context_tokens = m->context_tokens;
        ret->max_output_tokens = m->max_output_tokens;
    }
    struct model_limits limits = model_limits_find(NULL, span_str(ret->id));
    if (!ret->context_tokens)
        ret->context_tokens = limits.context_tokens;
    if (!ret->max_output_tokens)
        ret->max_output_tokens = limits.output_tokens;
    ret->price = price_of(r, p, ret->id);
    return 0;
}

int registry_resolve(const struct registry *r, struct span provider, struct span model,
                     const char **ret_provider, struct provider_model *ret_model,
                     const struct provider_endpoint **ret_endpoints, size_t *ret_count,
                     struct err *err)
{
    if (!provider.len)
        provider = span_str(r->default_provider);
    const struct reg_provider *p = registry_find(r, provider);
    if (!p)
        return err_set(err, ERR_NOT_FOUND, "Configuration for provider '" SPAN_FMT "' not found",
                       SPAN_ARG(span_first(provider, 200)));
    if (!p->is_local && !p->kind)
        return err_set(err, ERR_UNAVAILABLE, "Model client not specified for provider '%s'", p->id);
    if (!is_usable(p))
        return err_set(err, ERR_UNAVAILABLE, "%s", p->missing ? p->missing : "no endpoint");
    if (!model.len || p->is_local)
        model = span_str(default_model_of(r, p));
    int rc = fill_model(r, p, model, ret_model, err);
    if (rc < 0)
        return rc;
    *ret_provider = p->id;
    *ret_endpoints = p->endpoints;
    *ret_count = p->endpoint_count;
    return 0;
}

/* ---- answers ---- */

static void put_model(struct json_writer *w, const char *id)
{
    jw_obj(w);
    jw_kstr(w, "id", id);
    jw_kstr(w, "name", id);
    jw_end_obj(w);
}

static void put_provider(const struct registry *r, const struct reg_provider *p,
                         struct json_writer *w)
{
    char name[200];
    snprintf(name, sizeof name, "%s", p->id);
    for (char *c = name; *c; c++) {
        bool is_upper = *c >= 'A' && *c <= 'Z', is_lower = *c >= 'a' && *c <= 'z';
        if (c == name && is_lower)
            *c = (char)(*c - 'a' + 'A');
        else if (c != name && is_upper)
            *c = (char)(*c - 'A' + 'a');
    }
    const char *first = default_model_of(r, p);
    jw_obj(w);
    jw_kstr(w, "id", p->id);
    jw_kstr(w, "name", name);
    jw_key(w, "models");
    jw_arr(w);
    if (is_usable(p) && first)
        put_model(w, first);
    for (size_t i = 0; is_usable(p) && i < p->model_count; i++)
        if (!first || strcmp(p->models[i].id, first) != 0)
            put_model(w, p->models[i].id);
    jw_end_arr(w);
    jw_kbool(w, "supportsCustomModel", is_usable(p) && p->supports_custom);
    jw_end_obj(w);
}

void registry_models_json(const struct registry *r, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_obj(&w);
    jw_key(&w, "providers");
    jw_arr(&w);
    for (size_t i = 0; i < r->provider_count; i++)
        put_provider(r, &r->providers[i], &w);
    jw_end_arr(&w);
    const struct reg_provider *p = registry_find(r, span_str(r->default_provider));
    jw_kstr(&w, "defaultProvider", r->default_provider);
    jw_kstr(&w, "defaultModel", p ? default_model_of(r, p) : NULL);
    jw_end_obj(&w);
}

void registry_error_text(const char *provider, const char *e, struct buf *out)
{
    const struct provider_kind *k = kind_find(span_str(provider));
    if (k && k->api_name)
        buf_printf(out, "\nError with %s: %s\n\n%s", k->api_name, e, k->advice);
    else
        buf_printf(out, "\nError: %s", e);
}
