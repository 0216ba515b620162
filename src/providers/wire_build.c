#include "base/bug.h"
#include "base/mem.h"
#include "providers/wire_priv.h"

#include <ctype.h>

static void wipe(char *s, size_t len)
{
    if (s)
        explicit_bzero(s, len);
    mem_free(s);
}

int wire_request_init(struct wire_request *r, struct err *err)
{
    *r = (struct wire_request){0};
    r->headers = mem_try_array(LIMIT_WIRE_HEADERS_COUNT + 1, sizeof *r->headers);
    return r->headers ? 0 : err_set(err, ERR_NO_MEMORY, "request to the provider: no memory left");
}

void wire_request_done(struct wire_request *r)
{
    for (size_t i = 0; r->headers && r->headers[i]; i++)
        wipe(r->headers[i], strlen(r->headers[i]));
    mem_free(r->headers);
    wipe(r->url, r->url ? strlen(r->url) : 0);
    wipe(r->body, r->body_len);
    *r = (struct wire_request){0};
}

/* ---- headers ---- */

static bool is_token(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.ptr[i]) && !strchr("!#$%&'*+-.^_`|~", name.ptr[i]))
            return false;
    return name.len > 0 && !memchr(name.ptr, 0, name.len);
}

static bool is_value(struct span value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.ptr[i] < 0x20 || value.ptr[i] == 0x7f)
            return false;
    return true;
}

/* The slot of that name, or the first free one; NULL when all are taken. */
static char **header_slot(struct wire_request *r, struct span name)
{
    for (size_t i = 0; i < LIMIT_WIRE_HEADERS_COUNT; i++) {
        struct span h = span_str(r->headers[i]);
        if (!h.len || (h.len > name.len && h.ptr[name.len] == ':' &&
                       span_eq_nocase(span_first(h, name.len), name)))
            return &r->headers[i];
    }
    return NULL;
}

static int put_header(struct wire_request *r, struct span name, const char *prefix,
                      struct span value, struct err *err)
{
    ptrdiff_t blank = span_find_char(name, ' '); /* what follows it may be a misplaced secret */
    struct span shown = span_first(name, blank < 0 || blank > 60 ? 60 : (size_t)blank);
    size_t before = strlen(prefix), len = name.len + 2 + before + value.len;
    if (!is_token(name))
        return err_set(err, ERR_INVALID, "request header: '" SPAN_FMT "' is no header name",
                       SPAN_ARG(shown));
    if (!is_value(value)) {
        err_set(err, ERR_INVALID, "request header " SPAN_FMT ": its value has a control character",
                SPAN_ARG(shown));
        err_hint(err, "look for a line break at the end of the key");
        return -ERR_INVALID;
    }
    char **slot = header_slot(r, name);
    if (!slot || len > LIMIT_WIRE_HEADER)
        return err_set(err, ERR_TOO_LARGE, "request header " SPAN_FMT ": %s", SPAN_ARG(shown),
                       slot ? "too long" : "too many headers");
    char *line = mem_try(len + 1);
    if (!line)
        return err_set(err, ERR_NO_MEMORY, "request to the provider: no memory left");
    BUG_ON(!name.ptr);
    memcpy(line, name.ptr, name.len);
    memcpy(line + name.len, ": ", 2);
    memcpy(line + name.len + 2, prefix, before);
    if (value.len)
        memcpy(line + len - value.len, value.ptr, value.len);
    wipe(*slot, *slot ? strlen(*slot) : 0);
    *slot = line;
    return 0;
}

int wire_header_put(struct wire_request *r, const char *name, const char *prefix, const char *value,
                    struct err *err)
{
    if (!value || !*value)
        return 0;
    return put_header(r, span_str(name), prefix, span_str(value), err);
}

static int put_extra_headers(struct wire_request *r, const char *lines, struct err *err)
{
    struct span rest = span_str(lines), line;
    while (span_next(&rest, '\n', &line)) {
        line = span_trim(line);
        ptrdiff_t colon = span_find_char(line, ':');
        if (!line.len)
            continue;
        if (colon <= 0)
            return err_set(err, ERR_INVALID, "extra headers: a line has no 'Name: value'");
        struct span value = span_trim(span_skip(line, (size_t)colon + 1));
        int result = put_header(r, span_first(line, (size_t)colon), "", value, err);
        if (result < 0)
            return result;
    }
    return 0;
}

int wire_headers_common(struct wire_request *r, const struct wire_target *t, bool stream,
                        const char *accept, struct err *err)
{
    int result = wire_header_put(r, "Content-Type", "", "application/json", err);
    if (result == 0)
        result = wire_header_put(r, "Accept", "", stream ? accept : "application/json", err);
    return result == 0 ? put_extra_headers(r, t->extra_headers, err) : result;
}

int wire_header_key(struct wire_request *r, const struct wire_target *t, const char *name,
                    struct err *err)
{
    if (t->auth_header && *t->auth_header)
        name = t->auth_header;
    bool is_bearer = span_eq_nocase(span_str(name), SPAN_LIT("authorization"));
    return wire_header_put(r, name, is_bearer ? "Bearer " : "", t->api_key, err);
}

/* ---- URL ---- */

int wire_base_url(const char *base_url, struct span *ret, struct err *err)
{
    struct span s = span_trim(span_str(base_url));
    bool is_http = span_starts(s, SPAN_LIT("http://")) || span_starts(s, SPAN_LIT("https://"));
    if (!is_http || s.len > LIMIT_WIRE_URL / 2) {
        err_set(err, ERR_INVALID, "provider's base URL: %s",
                !s.len    ? "none is set"
                : is_http ? "too long"
                          : "must start with http:// or https://");
        return -ERR_INVALID;
    }
    struct span host = span_skip(s, (size_t)span_find(s, SPAN_LIT("//")) + 2);
    bool is_odd = false;
    for (size_t i = 0; i < host.len; i++)
        is_odd |= (unsigned char)host.ptr[i] <= 0x20 || host.ptr[i] == 0x7f ||
                  strchr("?#@\"<>\\", host.ptr[i]) != NULL;
    if (is_odd || !host.len || host.ptr[0] == '/') {
        err_set(err, ERR_INVALID,
                "provider's base URL: no query, fragment, user or blank may be in it");
        err_hint(err, "give the part before the API's own path; keys go into the key's setting");
        return -ERR_INVALID;
    }
    while (s.ptr[s.len - 1] == '/')
        s.len--;
    *ret = s;
    return 0;
}

struct span wire_without(struct span base, const char *suffix)
{
    return span_ends(base, span_str(suffix)) ? span_first(base, base.len - strlen(suffix)) : base;
}

void wire_put_encoded(struct buf *out, struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~')
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

int wire_url_take(struct wire_request *r, struct buf *url, struct err *err)
{
    bool is_long = url->len >= LIMIT_WIRE_URL / 2;
    r->url = buf_detach(url);
    if (r->url)
        return 0;
    return is_long ? err_set(err, ERR_TOO_LARGE, "request to the provider: its URL is too long")
                   : err_set(err, ERR_NO_MEMORY, "request to the provider: no memory left");
}

/* ---- body ---- */

static int read_params(const char *text, json_t **ret, struct err *err)
{
    struct span s = span_trim(span_str(text));
    if (s.len > LIMIT_WIRE_PARAMS)
        return err_set(err, ERR_TOO_LARGE, "model parameters: longer than %u bytes",
                       LIMIT_WIRE_PARAMS);
    json_t *v = json_read(s.len ? s : SPAN_LIT("{}"), err, NULL);
    if (!v) {
        err_prefix(err, "model parameters");
        return err && err->code == ERR_NO_MEMORY ? -ERR_NO_MEMORY : -ERR_INVALID;
    }
    if (!json_is_object(v)) {
        json_decref(v);
        return err_set(err, ERR_INVALID, "model parameters: must be a JSON object");
    }
    *ret = v;
    return 0;
}

int wire_body_init(struct wire_body *b, const struct wire_target *t, struct err *err)
{
    *b = (struct wire_body){.buf = BUF_INIT(LIMIT_WIRE_BODY)};
    b->w = json_writer(&b->buf);
    if (!t->model || !*t->model)
        return err_set(err, ERR_INVALID, "request to the provider: no model is named");
    int r = read_params(t->params_json, &b->params, err);
    jw_obj(&b->w);
    return r;
}

void wire_body_done(struct wire_body *b)
{
    json_decref(b->params);
    b->params = NULL;
    buf_done(&b->buf);
}

void wire_body_json(struct wire_body *b, const json_t *v)
{
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text)
        jw_raw(&b->w, span_str(text));
    else
        b->buf.failed = true;
    mem_free(text);
}

void wire_body_members(struct wire_body *b, json_t *obj)
{
    const char *key;
    json_t *v;
    json_object_foreach(obj, key, v)
    {
        if (json_is_null(v))
            continue;
        jw_key(&b->w, key);
        wire_body_json(b, v);
    }
}

void wire_body_params(struct wire_body *b)
{
    wire_body_members(b, b->params);
}

bool wire_body_param(struct wire_body *b, const char *name, const char *as)
{
    const json_t *v = json_object_get(b->params, name);
    bool is_there = v && !json_is_null(v);
    if (is_there) {
        jw_key(&b->w, as);
        wire_body_json(b, v);
    }
    json_object_del(b->params, name);
    return is_there;
}

void wire_body_stop(struct wire_body *b, const char *as)
{
    const json_t *v = json_object_get(b->params, "stop");
    if (json_is_string(v)) {
        jw_key(&b->w, as);
        jw_arr(&b->w);
        wire_body_json(b, v);
        jw_end_arr(&b->w);
        json_object_del(b->params, "stop");
    } else {
        (void)wire_body_param(b, "stop", as); /* a list, or absent */
    }
}

int wire_body_take(struct wire_body *b, struct wire_request *r, struct err *err)
{
    jw_end_obj(&b->w);
    r->body_len = b->buf.len;
    r->body = buf_detach(&b->buf);
    if (r->body)
        return 0;
    r->body_len = 0;
    return err_set(err, ERR_NO_MEMORY, "request to the provider: no memory left for its body");
}
