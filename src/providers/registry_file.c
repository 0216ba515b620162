/*
 * generator.json and model_pricing.json. Untrusted enough to be checked wherever something is taken
 * from them.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "providers/registry_priv.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

int registry_read_file(const char *path, struct buf *out, struct err *err)
{
    FILE *f = fopen(path, "re");
    if (!f && errno == ENOENT)
        return 1;
    if (!f)
        return err_errno(err, errno, "cannot read '%s'", path);
    char piece[8192];
    size_t n;
    while (!buf_failed(out) && (n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_put(out, piece, n);
    int failed = ferror(f) ? errno : 0;
    fclose(f);
    if (failed)
        return err_errno(err, failed, "cannot read '%s'", path);
    if (buf_failed(out))
        return err_set(err, ERR_TOO_LARGE, "'%s' is larger than %u bytes", path,
                       LIMIT_PROVIDER_CONFIG);
    return 0;
}

/* ---- ${NAME} ---- */

static bool is_name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* One placeholder at the start of s: its length, or 0 when it is none. */
static size_t expand_one(const struct registry *r, struct span s, struct buf *out)
{
    char name[128];
    size_t n = 0;
    while (2 + n < s.len && is_name_char(s.ptr[2 + n]))
        n++;
    ptrdiff_t close = span_find_char(s, '}');
    if (!n || n >= sizeof name || close < 0)
        return 0;
    memcpy(name, s.ptr + 2, n);
    name[n] = '\0';
    struct span rest = span_of(s.ptr + 2 + n, (size_t)close - 2 - n);
    bool has_default = span_starts(rest, SPAN_LIT(":-"));
    if (rest.len && !has_default)
        return 0;
    const char *value = registry_env(r, name);
    if (value)
        buf_puts(out, value);
    else if (has_default)
        buf_put_span(out, span_skip(rest, 2));
    else
        buf_put(out, s.ptr, (size_t)close + 1);
    return (size_t)close + 1;
}

bool registry_expand(const struct registry *r, struct span s, struct buf *out)
{
    while (s.len) {
        size_t n = span_starts(s, SPAN_LIT("${")) ? expand_one(r, s, out) : 0;
        if (!n)
            buf_putc(out, s.ptr[0]);
        s = span_skip(s, n ? n : 1);
    }
    return !buf_failed(out);
}

static int expand_string(const struct registry *r, json_t *v)
{
    struct buf b = BUF_INIT(LIMIT_PROVIDER_VALUE);
    int rc = -1;
    if (registry_expand(r, json_span(v), &b))
        rc = json_string_setn(v, buf_str(&b), b.len);
    buf_done(&b);
    return rc;
}

/* All strings below v, in place. json_read bounds the depth. */
static int expand_all(const struct registry *r, json_t *v) /* NOLINT(misc-no-recursion) */
{
    const char *key;
    size_t i;
    json_t *item;
    int rc = 0;
    if (json_is_string(v))
        return expand_string(r, v);
    json_object_foreach(v, key, item) rc = rc < 0 ? rc : expand_all(r, item);
    json_array_foreach(v, i, item) rc = rc < 0 ? rc : expand_all(r, item);
    return rc;
}

/* ---- schema ---- */

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

int registry_wrong(struct err *err, const char *file, const char *where, const char *want,
                   const json_t *got)
{
    err_set(err, ERR_INVALID, "%s: %s must be %s, not %s", file, where, want, type_name(got));
    err_hint(err, "correct it, or remove the file to use what is built in");
    return -ERR_INVALID;
}

int registry_load(const struct registry *r, const char *file, struct span text, json_t **ret,
                  struct err *err)
{
    json_t *v = json_read(text, err, NULL);
    if (!v) {
        int code = err && err->code ? -err->code : -ERR_INVALID;
        err_prefix(err, "%s", file);
        return code;
    }
    int rc = 0;
    if (!json_is_object(v))
        rc = registry_wrong(err, file, "the whole", "an object", v);
    else if (expand_all(r, v) < 0)
        rc = err_set(err, ERR_TOO_LARGE, "%s: a value is larger than %u bytes", file,
                     LIMIT_PROVIDER_VALUE);
    if (rc < 0)
        json_decref(v);
    else
        *ret = v;
    return rc;
}

/* ---- generator.json ---- */

static const char *kept_json(struct registry *r, const json_t *v)
{
    char *text = json_dumps(v, JSON_COMPACT);
    const char *kept = text ? registry_keep(r, span_str(text)) : NULL;
    if (!kept)
        r->no_memory = true;
    mem_free(text);
    return kept;
}

static size_t positive(const json_t *obj, const char *key)
{
    int64_t v = json_int(obj, key, 0);
    return v > 0 && v < INT32_MAX ? (size_t)v : 0;
}

static int read_model(struct registry *r, struct reg_provider *p, const char *id, json_t *params,
                      struct registry_place *at)
{
    if (!json_is_object(params))
        return registry_wrong(at->err, at->file, at->where, "an object", params);
    if (!*id || strlen(id) >= sizeof((struct provider_model *)0)->id)
        return err_set(at->err, ERR_INVALID, "%s: %s: a model's name has 1 to %zu bytes", at->file,
                       at->where, sizeof((struct provider_model *)0)->id - 1);
    if (p->model_count >= LIMIT_PROVIDER_MODELS_COUNT)
        return err_set(at->err, ERR_TOO_LARGE, "%s: %s: more than %d models", at->file, at->where,
                       LIMIT_PROVIDER_MODELS_COUNT);
    const char *deployment = json_str(params, "deployment", NULL);
    deployment = deployment ? registry_keep(r, span_str(deployment)) : NULL;
    IGNORE(json_object_del(params, "deployment")); /* absent: nothing to remove */
    struct reg_model *m =
        provider_add_model(r, p, registry_keep(r, span_str(id)),
                           json_object_size(params) ? kept_json(r, params) : NULL);
    if (!m)
        return 0; /* no_memory */
    const json_t *options = json_object_get(params, "options");
    m->deployment = deployment;
    m->context_tokens = positive(json_is_object(options) ? options : params, "num_ctx");
    m->max_output_tokens = positive(params, "max_tokens");
    return 0;
}

static int read_models(struct registry *r, struct reg_provider *p, json_t *models,
                       struct registry_place *at)
{
    const char *id;
    json_t *params;
    char where[sizeof at->where];
    memcpy(where, at->where, sizeof where);
    if (!json_is_object(models))
        return registry_wrong(at->err, at->file, where, "an object", models);
    p->model_count = 0;
    if (!p->default_model || !json_object_get(models, p->default_model))
        p->default_model = NULL; /* of the list that is replaced */
    json_object_foreach(models, id, params)
    {
        snprintf(at->where, sizeof at->where, "%.120s.%.100s", where, id);
        int rc = read_model(r, p, id, params, at);
        if (rc < 0)
            return rc;
    }
    if (!p->default_model && p->model_count)
        p->default_model = p->models[0].id;
    return 0;
}

int registry_read_text(struct registry *r, const json_t *obj, const char *key, const char **ret,
                       const struct registry_place *at)
{
    const json_t *v = json_object_get(obj, key);
    char where[320];
    snprintf(where, sizeof where, "%s%s%s", at->where, at->where[0] ? "." : "", key);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v))
        return registry_wrong(at->err, at->file, where, "a string", v);
    if (json_string_length(v))
        *ret = registry_keep(r, json_span(v));
    return 0;
}

static int read_provider(struct registry *r, const char *id, json_t *v, struct registry_place *at)
{
    if (!json_is_object(v))
        return registry_wrong(at->err, at->file, at->where, "an object", v);
    struct reg_provider *p = registry_find(r, span_str(id));
    if (!p)
        p = registry_add(r, registry_keep(r, span_str(id)));
    if (!p)
        return r->no_memory ? 0
                            : err_set(at->err, ERR_TOO_LARGE, "%s: more than %d providers",
                                      at->file, LIMIT_PROVIDERS_COUNT);
    if (p->is_local) /* built in as it is */
        return 0;
    const char *client_class = NULL;
    int rc = registry_read_text(r, v, "client_class", &client_class, at);
    if (rc == 0 && client_class && kind_find_class(client_class))
        p->kind = kind_find_class(client_class);
    json_t *custom = json_object_get(v, "supportsCustomModel"),
           *models = json_object_get(v, "models");
    char where[sizeof at->where];
    memcpy(where, at->where, sizeof where);
    if (rc == 0 && custom && !json_is_boolean(custom)) {
        snprintf(at->where, sizeof at->where, "%.200s.supportsCustomModel", where);
        return registry_wrong(at->err, at->file, at->where, "true or false", custom);
    }
    if (custom)
        p->supports_custom = json_is_true(custom);
    if (rc == 0 && models) {
        snprintf(at->where, sizeof at->where, "%.200s.models", where);
        rc = read_models(r, p, models, at);
        memcpy(at->where, where, sizeof where);
    }
    return rc < 0 ? rc : registry_read_text(r, v, "default_model", &p->default_model, at);
}

int registry_read_generator(struct registry *r, const char *name, struct span text, struct err *err)
{
    json_t *all = NULL;
    struct registry_place at = {.file = name, .err = err};
    int rc = registry_load(r, name, text, &all, err);
    if (rc < 0)
        return rc;
    json_t *providers = json_object_get(all, "providers"), *v;
    const char *id;
    rc = registry_read_text(r, all, "default_provider", &r->file_default, &at);
    if (rc == 0 && providers && !json_is_object(providers))
        rc = registry_wrong(err, name, "providers", "an object", providers);
    json_object_foreach(providers, id, v)
    {
        if (rc < 0)
            break;
        snprintf(at.where, sizeof at.where, "providers.%.100s", id);
        rc = read_provider(r, id, v, &at);
    }
    json_decref(all);
    return rc;
}

/* ---- model_pricing.json ---- */

/* Without `is_optional` it has to be there; *ret stays what it is when it is not. */
static int read_dollars(const json_t *v, const char *key, bool is_optional, double *ret,
                        const struct registry_place *at)
{
    const json_t *n = json_object_get(v, key);
    char where[320];
    snprintf(where, sizeof where, "%s.%s", at->where, key);
    if (!n && is_optional)
        return 0;
    if (!n)
        return err_set(at->err, ERR_INVALID, "%s: %s is missing", at->file, where);
    if (!json_is_number(n))
        return registry_wrong(at->err, at->file, where, "a number", n);
    *ret = json_number_value(n);
    if (!isfinite(*ret) || *ret < 0 || *ret > 1e6)
        return err_set(at->err, ERR_INVALID, "%s: %s must be between 0 and 1000000", at->file,
                       where);
    return 0;
}

static int read_price(struct registry *r, const char *key, const json_t *v,
                      const struct registry_place *at)
{
    struct provider_price price = {.is_known = true};
    if (!json_is_object(v))
        return registry_wrong(at->err, at->file, at->where, "an object", v);
    int rc = read_dollars(v, "input_per_1m_tokens", false, &price.input_per_million, at);
    price.cached_per_million = price.cache_write_per_million = price.input_per_million;
    if (rc == 0)
        rc = read_dollars(v, "output_per_1m_tokens", false, &price.output_per_million, at);
    if (rc == 0)
        rc = read_dollars(v, "input_cached_per_1m_tokens", true, &price.cached_per_million, at);
    if (rc == 0)
        rc = read_dollars(v, "input_cache_write_per_1m_tokens", true,
                          &price.cache_write_per_million, at);
    if (rc < 0)
        return rc;
    struct provider_price *kept = mem_try(sizeof *kept);
    void *old = NULL;
    if (kept)
        *kept = price;
    if (!kept || map_set(&r->prices, span_str(key), kept, &old) < 0) {
        mem_free(kept);
        r->no_memory = true;
    }
    mem_free(old);
    return 0;
}

int registry_read_pricing(struct registry *r, const char *name, struct span text, struct err *err)
{
    json_t *all = NULL;
    struct registry_place at = {.file = name, .err = err};
    int rc = registry_load(r, name, text, &all, err);
    if (rc < 0)
        return rc;
    json_t *prices = json_object_get(all, "pricing"), *v;
    const char *key;
    if (prices && !json_is_object(prices))
        rc = registry_wrong(err, name, "pricing", "an object", prices);
    else if (json_object_size(prices) > LIMIT_PRICES_COUNT)
        rc = err_set(err, ERR_TOO_LARGE, "%s: more than %d prices", name, LIMIT_PRICES_COUNT);
    json_object_foreach(prices, key, v)
    {
        if (rc < 0)
            break;
        snprintf(at.where, sizeof at.where, "pricing.%.200s", key);
        rc = read_price(r, key, v, &at);
    }
    json_decref(all);
    return rc;
}
