/* Why a request failed, for people and for those who decide whether to try again. */
#include "net/http_client_priv.h"

#include <stdio.h>

void http_call_name(const struct http_call *call, char *ret, size_t size)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
    (void)curl_url_get(call->target, CURLUPART_SCHEME, &scheme, 0);
    (void)curl_url_get(call->target, CURLUPART_HOST, &host, 0);
    (void)curl_url_get(call->target, CURLUPART_PORT, &port, 0);
    (void)curl_url_get(call->target, CURLUPART_PATH, &path, 0);
    snprintf(ret, size, "%s://%s%s%s%s", scheme ? scheme : "http", host ? host : "?",
             port ? ":" : "", port ? port : "", path ? path : "");
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
}

void http_call_fail(struct http_call *call, int result, const char *fmt, ...)
{
    if (call->result < 0)
        return;
    call->result = result;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(call->why, sizeof call->why, fmt, ap);
    va_end(ap);
}

static void judge_connection(struct http_call *call, const char *name)
{
    if (call->was_address_refused && !call->was_address_allowed) {
        http_call_fail(call, -ERR_FORBIDDEN, "'%s' is at an address that is not allowed", name);
        return;
    }
    long number = 0;
    char text[128] = "connection failed";
    const char *reason = text;
    if (curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &number) == CURLE_OK && number)
        reason = strerror_r((int)number, text, sizeof text);
    http_call_fail(call, -ERR_UNAVAILABLE, "cannot connect to '%s': %s", name, reason);
}

/* Before the request was sent the connection is to blame, after it the other side. */
static void judge_transfer(struct http_call *call, CURLcode code, const char *name)
{
    if (!call->is_connected)
        http_call_fail(call, -ERR_UNAVAILABLE, "cannot connect to '%s': %s", name,
                       curl_easy_strerror(code));
    else if (!call->has_head)
        http_call_fail(call, -ERR_UPSTREAM, "'%s' gave no answer: %s", name,
                       curl_easy_strerror(code));
    else
        http_call_fail(call, -ERR_UPSTREAM, "the answer of '%s' was cut off after %zu bytes: %s",
                       name, call->body_bytes, curl_easy_strerror(code));
}

void http_call_judge(struct http_call *call, CURLcode code)
{
    char name[256];
    if (code == CURLE_OK || call->result < 0)
        return;
    http_call_name(call, name, sizeof name);
    switch ((int)code) { /* of curl's hundred codes these say more than "it broke" */
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        http_call_fail(call, -ERR_UNAVAILABLE, "cannot find the address of %s'%s'",
                       code == CURLE_COULDNT_RESOLVE_PROXY ? "the proxy for " : "", name);
        break;
    case CURLE_COULDNT_CONNECT:
        judge_connection(call, name);
        break;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        http_call_fail(call, -ERR_UNAVAILABLE, "no secure connection to '%s': %s", name,
                       call->curl_says[0] ? call->curl_says : curl_easy_strerror(code));
        break;
    case CURLE_OPERATION_TIMEDOUT:
        http_call_fail(call, -ERR_TIMEOUT, "'%s' took too long", name);
        break;
    case CURLE_OUT_OF_MEMORY: /* also what curl says of one header line past its own bound */
        if (call->is_connected && !call->has_head)
            http_call_fail(call, -ERR_TOO_LARGE, "the head of the answer of '%s' is too large",
                           name);
        else
            http_call_fail(call, -ERR_NO_MEMORY, "no memory for the request to '%s'", name);
        break;
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9: no status line */
        http_call_fail(call, -ERR_UPSTREAM, "what '%s' answers is not HTTP", name);
        break;
    default:
        judge_transfer(call, code, name);
    }
}
