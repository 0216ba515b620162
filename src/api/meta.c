/* Small endpoints: index, health, metrics, configuration (deepwiki.md §1.2, design §4.1). */
#include "api/api_priv.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/metric.h"

#include <stdio.h>
#include <time.h>

#define META_BODY_MAX (1u << 20)

static const struct {
    const char *code, *name;
} languages[] = {
    {"en", "English"},
    {"ja", "Japanese (\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e)"},
    {"zh", "Mandarin Chinese (\xe4\xb8\xad\xe6\x96\x87)"},
    {"zh-tw", "Traditional Chinese (\xe7\xb9\x81\xe9\xab\x94\xe4\xb8\xad\xe6\x96\x87)"},
    {"es", "Spanish (Espa\xc3\xb1ol)"},
    {"kr", "Korean (\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4)"},
    {"vi", "Vietnamese (Ti\xe1\xba\xbfng Vi\xe1\xbb\x87t)"},
    {"pt-br", "Brazilian Portuguese (Portugu\xc3\xaas Brasileiro)"},
    {"fr", "Fran\xc3\xa7"
           "ais (French)"},
    {"ru", "\xd0\xa0\xd1\x83\xd1\x81\xd1\x81\xd0\xba\xd0\xb8\xd0\xb9 (Russian)"},
};

/* "/v1/sources" → "V1": the group a path is listed under. */
static void group_of(const char *path, char ret[64])
{
    size_t n = strcspn(path + 1, "/");
    if (!n)
        snprintf(ret, 64, "Root");
    else
        snprintf(ret, 64, "%c%.*s", path[1] >= 'a' && path[1] <= 'z' ? path[1] - 32 : path[1],
                 (int)(n - 1), path + 2);
}

static bool is_listed(const struct route *r)
{
    return r->methods != 0 && strncmp(r->path, "/assets/", 8) != 0;
}

static bool group_comes_first(const struct route *all, size_t at)
{
    char mine[64], other[64];
    group_of(all[at].path, mine);
    for (size_t i = 0; i < at; i++) {
        group_of(all[i].path, other);
        if (is_listed(&all[i]) && strcmp(mine, other) == 0)
            return false;
    }
    return true;
}

static void put_group(struct json_writer *w, const struct route *all, size_t count,
                      const char *group)
{
    char other[64], line[160];
    jw_key(w, group);
    jw_arr(w);
    for (unsigned m = 0; m < HTTP_OTHER_;
         m++) { /* GET before POST: sorted, as the table is by path */
        for (size_t i = 0; i < count; i++) {
            group_of(all[i].path, other);
            if (!is_listed(&all[i]) || strcmp(group, other) != 0 ||
                !(all[i].methods & HTTP_BIT(m)) || m == HTTP_HEAD_)
                continue;
            snprintf(line, sizeof line, "%s %s", http_method_name((enum http_method)m),
                     all[i].path);
            jw_str(w, line);
        }
    }
    jw_end_arr(w);
}

static void put_index(struct buf *b)
{
    size_t count;
    const struct route *all = routes_all(&count);
    struct json_writer w = json_writer(b);
    jw_obj(&w);
    jw_kstr(&w, "message", "Welcome to Streaming API");
    jw_kstr(&w, "version", "1.0.0");
    jw_key(&w, "endpoints");
    jw_obj(&w);
    for (size_t i = 0; i < count; i++) {
        char group[64];
        if (!is_listed(&all[i]) || !group_comes_first(all, i))
            continue;
        group_of(all[i].path, group);
        put_group(&w, all, count, group);
    }
    jw_end_obj(&w);
    jw_end_obj(&w);
}

void get_root(const struct route_call *c)
{
    if (http_header_has(c->request, "Accept", "text/html") ||
        span_find_nocase(http_header_get(c->request, "Accept"), SPAN_LIT("text/html")) >= 0) {
        struct route_call page = *c;
        page.arg = SPAN_LIT("index.html");
        get_asset(&page);
        return;
    }
    struct buf b = BUF_INIT(META_BODY_MAX);
    put_index(&b);
    exchange_header(c->x, "Vary", SPAN_LIT("Accept"));
    reply_json(c->x, 200, &b);
}

/* Local time with microseconds and no zone, as the original writes it. */
static void local_time(char *ret, size_t size)
{
    int64_t ms = clock_wall_ms();
    time_t sec = (time_t)(ms / 1000);
    struct tm tm;
    localtime_r(&sec, &tm);
    size_t n = strftime(ret, size, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret + n, size - n, ".%06d", (int)(ms % 1000) * 1000);
}

static void put_part(struct json_writer *w, const char *name, bool is_up)
{
    jw_kstr(w, name, is_up ? "operational" : "unavailable");
}

/*
 * The union of what the protocols answer here (design: paths that several seeds share). Parts that this server does not have are named as
 * such: nothing depends on them.
 */
void get_health(const struct route_call *c)
{
    char now[48];
    local_time(now, sizeof now);
    bool can_write = hub_is_writable(engine_hub(c->api->options.engine));
    struct buf b = BUF_INIT(META_BODY_MAX);
    struct json_writer w = json_writer(&b);
    jw_obj(&w);
    jw_kstr(&w, "status", can_write ? "healthy" : "unhealthy");
    jw_kstr(&w, "timestamp", now);
    jw_kstr(&w, "service", "deepwiki-api");
    jw_kstr(&w, "version", HEADWATER_VERSION);
    jw_kint(&w, "uptime", (clock_wall_ms() - c->api->options.started_ms) / 1000);
    jw_key(&w, "services");
    jw_obj(&w);
    put_part(&w, "event_log", can_write);
    put_part(&w, "lexical_index", true);
    put_part(&w, "llm_service", true);
    const char *vectors = engine_embeds(c->api->options.engine) ? "configured" : "not_configured";
    jw_kstr(&w, "vector_db", vectors);
    jw_kstr(&w, "embedding_service", vectors);
    jw_end_obj(&w);
    jw_kstr(&w, "supabase", "disconnected");
    jw_kstr(&w, "openai", "disconnected");
    jw_end_obj(&w);
    reply_json(c->x, can_write ? 200 : 503, &b);
}

void get_healthz(const struct route_call *c)
{
    exchange_reply(c->x, 200, "text/plain; charset=utf-8", SPAN_LIT("ok\n"));
}

void get_readyz(const struct route_call *c)
{
    bool draining = atomic_load(&c->api->draining);
    exchange_reply(c->x, draining ? 503 : 200, "text/plain; charset=utf-8",
                   draining ? SPAN_LIT("draining\n") : SPAN_LIT("ready\n"));
}

void get_metrics(const struct route_call *c)
{
    struct buf b = BUF_INIT(META_BODY_MAX), format = BUF_INIT(64);
    bool json = http_header_has(c->request, "Accept", "application/json") ||
                (http_query_get(c->request->query, "format", &format) &&
                 span_is(buf_span(&format), "json"));
    buf_done(&format);
    if (json) {
        metric_print_json(&b);
        reply_json(c->x, 200, &b);
        return;
    }
    metric_print_prometheus(&b);
    exchange_reply_buf(c->x, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

void get_auth_status(const struct route_call *c)
{
    exchange_reply(c->x, 200, "application/json", SPAN_LIT("{\"auth_required\":false}"));
}

void get_models_config(const struct route_call *c)
{
    struct buf b = BUF_INIT(META_BODY_MAX);
    engine_models_json(c->api->options.engine, &b);
    reply_json(c->x, 200, &b);
}

void get_lang_config(const struct route_call *c)
{
    struct buf b = BUF_INIT(META_BODY_MAX);
    struct json_writer w = json_writer(&b);
    jw_obj(&w);
    jw_key(&w, "supported_languages");
    jw_obj(&w);
    for (size_t i = 0; i < ARRAY_LEN(languages); i++)
        jw_kstr(&w, languages[i].code, languages[i].name);
    jw_end_obj(&w);
    jw_kstr(&w, "default", "en");
    jw_end_obj(&w);
    reply_json(c->x, 200, &b);
}
