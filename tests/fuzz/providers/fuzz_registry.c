/*
 * generator.json and model_pricing.json. The first byte: bit 0 which of the two. What loads must
 * resolve and print; what does not must say why, with the file's name first.
 */
#include "base/bug.h"
#include "providers/registry_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *env_of(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "A") == 0 ? "value of A" : NULL;
}

static void use(struct registry *r)
{
    struct buf b = BUF_INIT(64u << 20);
    struct err err;
    r->default_provider = PROVIDER_LOCAL;
    IGNORE(registry_read_env(r, &err)); /* no Azure list here that could be wrong */
    registry_models_json(r, &b);
    BUG_ON(buf_failed(&b));
    json_t *v = json_read(buf_span(&b), &err, NULL);
    BUG_ON(!v);
    json_decref(v);
    buf_done(&b);
    for (size_t i = 0; i < r->provider_count; i++) {
        const char *provider;
        struct provider_model model;
        const struct provider_endpoint *endpoints;
        size_t count;
        if (registry_resolve(r, span_str(r->providers[i].id), SPAN_NULL, &provider, &model,
                             &endpoints, &count, &err) == 0)
            BUG_ON(!model.id[0]);
        else
            BUG_ON(!err.msg[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size || size > LIMIT_PROVIDER_CONFIG)
        return 0;
    const struct registry_options options = {.env = env_of};
    struct registry *r = registry_blank(&options);
    if (!r)
        return 0;
    struct span text = span_of((const char *)data + 1, size - 1);
    struct err err = {0};
    int rc = data[0] & 1 ? registry_read_pricing(r, "file", text, &err)
                         : registry_read_generator(r, "file", text, &err);
    if (rc < 0)
        BUG_ON(!span_starts(span_str(err.msg), SPAN_LIT("file: ")));
    else
        use(r);
    registry_free(r);
    return 0;
}
