/* Endpoints from the environment. */
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "providers/registry_priv.h"

#include <stdio.h>
#include <string.h>

#define AZURE_VERSION "2025-04-01-preview"
#define ROLE_TEXT                                                                                \
    "AWS Bedrock client not initialized. AWS_ROLE_ARN is set, but this server does not assume "  \
    "roles: unset it and set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN to " \
    "the role's own credentials (aws sts assume-role prints them), or set "                      \
    "AWS_BEARER_TOKEN_BEDROCK."

/* The new endpoint, empty but for its label; NULL without memory or place. */
static struct wire_target *add_endpoint(struct registry *r, struct reg_provider *p)
{
    if (p->endpoint_count >= LIMIT_PROVIDER_KEYS_COUNT)
        return NULL;
    size_t n = p->endpoint_count + 1;
    struct provider_endpoint *more = mem_try_realloc(p->endpoints, n * sizeof *more);
    char label[100];
    if (n == 1)
        snprintf(label, sizeof label, "%.80s", p->id);
    else
        snprintf(label, sizeof label, "%.80s#%zu", p->id, n);
    if (!more) {
        r->no_memory = true;
        return NULL;
    }
    p->endpoints = more;
    more[n - 1] = (struct provider_endpoint){.format = p->kind->format,
                                             .label = registry_keep(r, span_str(label))};
    p->endpoint_count = n;
    return &more[n - 1].target;
}

/*
 * The nth piece of a comma list, trimmed, empty ones not counted; the last one when there are
 * fewer. False when there is none.
 */
static bool list_piece(const char *list, size_t nth, struct span *ret)
{
    struct span rest = span_str(list), piece;
    size_t n = 0;
    bool is_found = false;
    while (n <= nth && span_next(&rest, ',', &piece)) {
        piece = span_trim(piece);
        if (!piece.len)
            continue;
        *ret = piece;
        is_found = true;
        n++;
    }
    return is_found;
}

static size_t list_count(const char *list)
{
    struct span rest = span_str(list), piece;
    size_t n = 0;
    while (span_next(&rest, ',', &piece))
        n += span_trim(piece).len > 0;
    return n;
}

static const char *kept_piece(struct registry *r, const char *list, size_t nth)
{
    struct span piece;
    return list && list_piece(list, nth, &piece) ? registry_keep(r, piece) : NULL;
}

static const char *must_be_set(struct registry *r, const char *name)
{
    char text[200];
    snprintf(text, sizeof text, "Environment variable %s must be set", name);
    return registry_keep(r, span_str(text));
}

static const char *opt_env(const struct registry *r, const char *name)
{
    return name ? registry_env(r, name) : NULL;
}

/* ---- one key, one address ---- */

static void read_plain(struct registry *r, struct reg_provider *p)
{
    const struct provider_kind *k = p->kind;
    const char *keys = opt_env(r, k->key_env), *bases = opt_env(r, k->base_env);
    bool has_address = bases != NULL;
    if (!bases)
        bases = opt_env(r, k->base_fallback_env);
    if (!bases)
        bases = k->base_default;
    size_t key_count = list_count(keys), base_count = list_count(bases);
    if (!base_count) {
        p->missing = must_be_set(r, k->base_env);
        return;
    }
    if (!key_count && !k->can_do_without_key) {
        p->missing = k->missing ? k->missing : must_be_set(r, k->key_env);
        return;
    }
    p->is_configured = key_count || has_address;
    for (size_t i = 0; i < (key_count > base_count ? key_count : base_count); i++) {
        struct wire_target *t = add_endpoint(r, p);
        if (!t)
            return;
        t->base_url = kept_piece(r, bases, i);
        t->api_key = kept_piece(r, keys, i);
    }
}

static void read_dashscope(struct registry *r, struct reg_provider *p)
{
    const char *workspace = registry_env(r, "DASHSCOPE_WORKSPACE_ID");
    read_plain(r, p);
    if (!workspace)
        return;
    struct buf header = BUF_INIT(LIMIT_PROVIDER_VALUE);
    buf_printf(&header, "X-DashScope-WorkSpace: %s", workspace);
    const char *kept = registry_keep(r, buf_span(&header));
    buf_done(&header);
    for (size_t i = 0; i < p->endpoint_count; i++)
        p->endpoints[i].target.extra_headers = kept;
}

static const char *kept_env(struct registry *r, const char *name)
{
    const char *v = registry_env(r, name);
    return v ? registry_keep(r, span_str(v)) : NULL;
}

/* Endpoints of bedrock: one per region or address, whichever are more. */
static void add_bedrock(struct registry *r, struct reg_provider *p)
{
    const char *bases = registry_env(r, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME");
    const char *regions = registry_env(r, "AWS_REGION");
    if (!regions)
        regions = registry_env(r, "AWS_DEFAULT_REGION");
    if (!list_count(regions))
        regions = "us-east-1";
    size_t base_count = list_count(bases), region_count = list_count(regions);
    for (size_t i = 0; i < (base_count > region_count ? base_count : region_count); i++) {
        struct wire_target *t = add_endpoint(r, p);
        if (!t)
            return;
        t->base_url = kept_piece(r, bases, i);
        t->region = kept_piece(r, regions, i);
        t->api_key = kept_env(r, "AWS_BEARER_TOKEN_BEDROCK");
        t->access_key_id = kept_env(r, "AWS_ACCESS_KEY_ID");
        t->secret_access_key = kept_env(r, "AWS_SECRET_ACCESS_KEY");
        t->session_token = kept_env(r, "AWS_SESSION_TOKEN");
        p->is_configured = true;
    }
}

static void read_bedrock(struct registry *r, struct reg_provider *p)
{
    bool has_keys =
        registry_env(r, "AWS_ACCESS_KEY_ID") && registry_env(r, "AWS_SECRET_ACCESS_KEY");
    bool has_bearer = registry_env(r, "AWS_BEARER_TOKEN_BEDROCK") != NULL;
    /* Keys that are only good for assuming a role would be refused one request at a time. */
    if (registry_env(r, "AWS_ROLE_ARN") && !has_bearer) {
        p->missing = ROLE_TEXT;
        if (has_keys)
            LOG_WARN("providers", "bedrock cannot be used", LOG_S("why", ROLE_TEXT));
    } else if (has_keys || has_bearer) {
        add_bedrock(r, p);
    } else {
        p->missing = p->kind->missing;
    }
}

/* ---- azure ---- */

struct azure_parts {
    struct span endpoint, key, version;
    bool use_v1;
};

static void add_azure(struct registry *r, struct reg_provider *p, const struct azure_parts *a)
{
    struct wire_target *t = a->endpoint.len && a->key.len ? add_endpoint(r, p) : NULL;
    if (!t)
        return;
    bool has_scheme = span_starts(a->endpoint, SPAN_LIT("http://")) ||
                      span_starts(a->endpoint, SPAN_LIT("https://"));
    struct buf url = BUF_INIT(LIMIT_PROVIDER_VALUE);
    buf_puts(&url, has_scheme ? "" : "https://");
    buf_put_span(&url, a->endpoint);
    t->base_url = registry_keep(r, buf_span(&url));
    buf_done(&url);
    t->api_key = registry_keep(r, a->key);
    t->api_version = registry_keep(r, a->version.len ? a->version : SPAN_LIT(AZURE_VERSION));
    t->deployment = kept_env(r, "AZURE_OPENAI_DEPLOYMENT");
    t->use_v1 = a->use_v1;
    p->is_configured = true;
}

static bool env_flag(const struct registry *r, const char *name)
{
    const char *v = registry_env(r, name);
    bool is_on = false;
    return v && parse_bool(span_str(v), &is_on) && is_on;
}

/* Keys are not told in errors. */
static int azure_json(struct registry *r, struct reg_provider *p, const char *where,
                      struct span text, struct err *err)
{
    json_t *all = json_read(text, err, NULL), *e;
    size_t i;
    if (!all) {
        err_prefix(err, "%s", where);
        return -ERR_INVALID;
    }
    const json_t *list = json_is_array(all) ? all : json_object_get(all, "endpoints");
    int rc = 0;
    if (!json_is_array(list))
        rc = err_set(err, ERR_INVALID, "%s: endpoints must be a list", where);
    json_array_foreach(list, i, e)
    {
        struct azure_parts a = {
            .endpoint = json_span(json_object_get(e, "endpoint")),
            .key = json_span(json_object_get(e, "api_key")),
            .version = json_span(json_object_get(e, "api_version")),
            .use_v1 = json_flag(e, "use_v1", false),
        };
        if (rc == 0 && (!a.endpoint.len || !a.key.len))
            rc = err_set(err, ERR_INVALID, "%s: endpoints[%zu] needs endpoint and api_key", where,
                         i);
        if (rc == 0)
            add_azure(r, p, &a);
    }
    json_decref(all);
    return rc;
}

/* Offset of the colon that ends host, port and path of "https://host:8443/x:key:version", or -1. */
static ptrdiff_t end_of_address(struct span s)
{
    ptrdiff_t scheme = span_find(s, SPAN_LIT("://"));
    size_t at = scheme < 0 ? 0 : (size_t)scheme + 3;
    ptrdiff_t colon = span_find_char(span_skip(s, at), ':');
    if (colon < 0)
        return -1;
    at += (size_t)colon;
    size_t digits = 0;
    while (at + 1 + digits < s.len && s.ptr[at + 1 + digits] >= '0' &&
           s.ptr[at + 1 + digits] <= '9')
        digits++;
    struct span after = span_skip(s, at + 1 + digits);
    bool is_port =
        digits && digits <= 5 && after.len && (after.ptr[0] == '/' || after.ptr[0] == ':');
    if (!is_port)
        return (ptrdiff_t)at;
    ptrdiff_t next = span_find_char(after, ':');
    return next < 0 ? -1 : (ptrdiff_t)(at + 1 + digits) + next;
}

static bool azure_entry(struct registry *r, struct reg_provider *p, struct span s)
{
    ptrdiff_t colon = end_of_address(s);
    if (colon <= 0)
        return false;
    struct azure_parts a = {.endpoint = span_trim(span_first(s, (size_t)colon))};
    struct span rest = span_skip(s, (size_t)colon + 1);
    if (!span_next(&rest, ':', &a.key) || !span_trim(a.key).len)
        return false;
    a.key = span_trim(a.key);
    a.version = span_trim(rest);
    add_azure(r, p, &a);
    return true;
}

static int bad_entry(struct err *err, unsigned n)
{
    return err_set(err, ERR_INVALID,
                   "AZURE_EMBEDDING_HA: entry %u is not of the form \"endpoint:key[:version]\"", n);
}

/* ["https://host:key:version", …]; single quotes as Python writes them are fine. */
static int azure_list(struct registry *r, struct reg_provider *p, const char *text, struct err *err)
{
    struct span s = span_trim(span_str(text));
    unsigned n = 0;
    if (s.len < 2 || s.ptr[0] != '[' || s.ptr[s.len - 1] != ']')
        return err_set(err, ERR_INVALID, "AZURE_EMBEDDING_HA must be a list of quoted texts");
    s = span_trim(span_of(s.ptr + 1, s.len - 2));
    while (s.len) {
        n++;
        char quote = s.ptr[0];
        ptrdiff_t end = quote == '"' || quote == '\'' ? span_find_char(span_skip(s, 1), quote) : -1;
        if (end < 0 || !azure_entry(r, p, span_of(s.ptr + 1, (size_t)end)))
            return bad_entry(err, n);
        s = span_trim(span_skip(s, (size_t)end + 2));
        if (s.len && s.ptr[0] != ',')
            return bad_entry(err, n + 1);
        s = span_trim(span_skip(s, 1));
    }
    return 0;
}

static void azure_numbered(struct registry *r, struct reg_provider *p)
{
    for (unsigned i = 0; i <= LIMIT_PROVIDER_KEYS_COUNT; i++) {
        char endpoint[40], key[40], version[40], use_v1[40];
        snprintf(endpoint, sizeof endpoint, "AZURE_HA_ENDPOINT_%u", i);
        snprintf(key, sizeof key, "AZURE_HA_KEY_%u", i);
        snprintf(version, sizeof version, "AZURE_HA_VERSION_%u", i);
        snprintf(use_v1, sizeof use_v1, "AZURE_HA_USE_V1_%u", i);
        const struct azure_parts a = {.endpoint = span_str(registry_env(r, endpoint)),
                                      .key = span_str(registry_env(r, key)),
                                      .version = span_str(registry_env(r, version)),
                                      .use_v1 = env_flag(r, use_v1)};
        add_azure(r, p, &a);
    }
}

static int azure_more(struct registry *r, struct reg_provider *p, struct err *err)
{
    const char *path = registry_env(r, "AZURE_HA_CONFIG");
    const char *list = registry_env(r, "AZURE_EMBEDDING_HA");
    const char *json = registry_env(r, "AZURE_HA_ENDPOINTS");
    if (path) {
        struct buf b = BUF_INIT(LIMIT_PROVIDER_CONFIG);
        int rc = registry_read_file(path, &b, err);
        if (rc == 0)
            rc = azure_json(r, p, path, buf_span(&b), err);
        if (b.ptr)
            explicit_bzero(b.ptr, b.len);
        buf_done(&b);
        if (rc <= 0)
            return rc; /* a file that is not there leaves the other forms, as the fork does */
    }
    if (list)
        return azure_list(r, p, list, err);
    if (json)
        return azure_json(r, p, "AZURE_HA_ENDPOINTS", span_str(json), err);
    azure_numbered(r, p);
    return 0;
}

static int read_azure(struct registry *r, struct reg_provider *p, struct err *err)
{
    const char *bases = registry_env(r, "AZURE_OPENAI_ENDPOINT"),
               *keys = registry_env(r, "AZURE_OPENAI_API_KEY");
    size_t base_count = list_count(bases), key_count = list_count(keys);
    struct azure_parts a = {.version = span_str(registry_env(r, "AZURE_OPENAI_VERSION")),
                            .use_v1 = env_flag(r, "AZURE_OPENAI_USE_V1")};
    for (size_t i = 0; base_count && key_count && (i < base_count || i < key_count); i++)
        if (list_piece(bases, i, &a.endpoint) && list_piece(keys, i, &a.key))
            add_azure(r, p, &a);
    p->plain_count = p->endpoint_count;
    int rc = azure_more(r, p, err);
    if (!p->endpoint_count)
        p->missing = base_count ? p->kind->missing : must_be_set(r, p->kind->base_env);
    return rc;
}

int registry_read_env(struct registry *r, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < r->provider_count && rc == 0; i++) {
        struct reg_provider *p = &r->providers[i];
        if (!p->kind)
            continue;
        if (p->kind->format == &wire_azure)
            rc = read_azure(r, p, err);
        else if (p->kind->format == &wire_bedrock)
            read_bedrock(r, p);
        else if (strcmp(p->kind->id, "dashscope") == 0)
            read_dashscope(r, p);
        else
            read_plain(r, p);
    }
    return rc;
}
