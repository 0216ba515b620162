/* How failures look: one shape per protocol, no exception text, nothing secret. */
#include "api/api_priv.h"
#include "base/json.h"

#define ERROR_BODY_MAX 8192

void reply_json(struct exchange *x, int status, struct buf *json)
{
    if (buf_failed(json)) {
        buf_done(json);
        reply_detail(x, 500, "Internal Server Error");
        return;
    }
    exchange_reply_buf(x, status, "application/json", json);
}

void reply_detail(struct exchange *x, int status, const char *text)
{
    struct buf b = BUF_INIT(ERROR_BODY_MAX);
    struct json_writer w = json_writer(&b);
    jw_obj(&w);
    jw_kstr(&w, "detail", text);
    jw_end_obj(&w);
    exchange_reply_buf(x, status, "application/json", &b);
}

static void put_problem(struct exchange *x, int status, const struct err *err)
{
    struct buf b = BUF_INIT(ERROR_BODY_MAX);
    struct json_writer w = json_writer(&b);
    jw_obj(&w);
    jw_kstr(&w, "type", "about:blank");
    jw_kstr(&w, "title", http_reason(status));
    jw_kint(&w, "status", status);
    jw_kstr(&w, "detail", err->msg);
    jw_kstr(&w, "code", err_name(err->code));
    if (err->hint[0])
        jw_kstr(&w, "hint", err->hint);
    jw_end_obj(&w);
    if (status == 429 || status == 503)
        exchange_header(x, "Retry-After", SPAN_LIT("5"));
    exchange_reply_buf(x, status, "application/problem+json", &b);
}

void reply_problem(struct exchange *x, const struct err *err)
{
    put_problem(x, err_http_status(err->code), err);
}

void reply_no_route(struct exchange *x, struct span path, int status)
{
    if (!span_is(path, "/v1") && !span_starts(path, SPAN_LIT("/v1/"))) {
        reply_detail(x, status, http_reason(status));
        return;
    }
    struct err e;
    if (status == 405)
        err_set(&e, ERR_INVALID, "this path does not have that method");
    else
        err_set(&e, ERR_NOT_FOUND, "there is no such path");
    put_problem(x, status, &e);
}

void reply_problem_text(struct exchange *x, enum err_code code, const char *text, const char *hint)
{
    struct err e;
    err_set(&e, code, "%s", text);
    if (hint)
        err_hint(&e, "%s", hint);
    reply_problem(x, &e);
}
