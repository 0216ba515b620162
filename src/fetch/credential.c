#include "fetch/credential.h"

#include "base/attr.h"

#include <stdio.h>
#include <string.h>

void credential_done(struct credential *c)
{
    explicit_bzero(c, sizeof *c);
}

static const char *user_for(enum host_kind kind, struct span secret)
{
    switch (kind) {
    case HOST_GITHUB:
        return "x-access-token";
    case HOST_BITBUCKET: /* API tokens of an account, and access tokens of a repository */
        return span_starts(secret, SPAN_LIT("ATCTT")) ? "x-bitbucket-api-token-auth"
                                                      : "x-token-auth";
    case HOST_GITLAB:
    case HOST_GITEA:
    case HOST_AZURE: /* any */
    case HOST_GIT:
    default:
        return "oauth2";
    }
}

static bool is_token(struct span t)
{
    for (size_t i = 0; i < t.len; i++)
        if ((unsigned char)t.ptr[i] < 0x20 || t.ptr[i] == 0x7f)
            return false;
    return t.len > 0 && t.len < SOURCE_SECRET_MAX;
}

static bool is_host(const struct source_name *n, const char *named)
{
    char text[SOURCE_HOST_MAX + 16];
    snprintf(text, sizeof text, strchr(n->host, ':') ? "[%s]" : "%s", n->host);
    if (n->port) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, ":%u", n->port);
    }
    return span_eq_nocase(span_str(named), span_str(text));
}

/* The owner's token for this very host, or NULL. */
static const char *owners_token(const struct source_name *n,
                                const char *(*env)(void *ctx, const char *name), void *ctx)
{
    static const struct {
        enum host_kind kind;
        const char *variable, *host_variable, *host;
    } t[] = {
        {HOST_GITHUB, "GITHUB_TOKEN", "GITHUB_HOST", "github.com"},
        {HOST_GITLAB, "GITLAB_TOKEN", "GITLAB_HOST", "gitlab.com"},
        {HOST_BITBUCKET, "BITBUCKET_TOKEN", NULL, "bitbucket.org"},
        {HOST_AZURE, "AZURE_DEVOPS_TOKEN", NULL, "dev.azure.com"},
        {HOST_GITEA, "GITEA_TOKEN", "GITEA_HOST", "codeberg.org"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        const char *token = env(ctx, t[i].variable);
        const char *host = t[i].host_variable ? env(ctx, t[i].host_variable) : NULL;
        if (!token || !token[0])
            continue;
        if (host && host[0] ? is_host(n, host) : n->scheme == SCHEME_HTTPS && is_host(n, t[i].host))
            return token;
    }
    return NULL;
}

int credential_pick(const struct source_name *n, struct span token,
                    const char *(*env)(void *ctx, const char *name), void *env_ctx,
                    struct credential *ret, struct err *err)
{
    *ret = (struct credential){0};
    if (n->scheme != SCHEME_HTTPS && n->scheme != SCHEME_HTTP)
        return 0;
    token = span_trim(token);
    const char *user = NULL;
    if (!token.len && n->secret[0]) {
        token = span_str(n->secret);
        user = n->user[0] ? n->user : NULL;
    }
    if (!token.len && env)
        token = span_trim(span_str(owners_token(n, env, env_ctx)));
    if (!token.len)
        return 0;
    if (!is_token(token)) {
        err_set(err, ERR_INVALID, "the token cannot be one: it is too long or holds line ends");
        err_hint(err, "paste it again, without anything around it");
        return -ERR_INVALID;
    }
    snprintf(ret->secret, sizeof ret->secret, SPAN_FMT, SPAN_ARG(token));
    snprintf(ret->user, sizeof ret->user, "%s", user ? user : user_for(n->kind, token));
    return 0;
}

static void put_base64(struct buf *out, struct span s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = s.len - i;
        uint32_t v = (uint32_t)(uint8_t)s.ptr[i] << 16;
        v |= n > 1 ? (uint32_t)(uint8_t)s.ptr[i + 1] << 8 : 0;
        v |= n > 2 ? (uint32_t)(uint8_t)s.ptr[i + 2] : 0;
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], n > 1 ? digits[v >> 6 & 63] : '=',
                        n > 2 ? digits[v & 63] : '='};
        buf_put(out, four, 4);
    }
}

static void put_pair(const struct credential *c, struct buf *out)
{
    struct buf pair = BUF_INIT(SOURCE_USER_MAX + SOURCE_SECRET_MAX);
    buf_printf(&pair, "%s:%s", c->user, c->secret);
    put_base64(out, buf_span(&pair));
    if (pair.ptr)
        explicit_bzero(pair.ptr, pair.len);
    buf_done(&pair);
}

void credential_put_basic(const struct credential *c, struct buf *out)
{
    buf_puts(out, "Basic ");
    put_pair(c, out);
}

void credential_put_answer(const struct credential *c, struct buf *out)
{
    buf_printf(out, "username=%s\npassword=%s\n", c->user, c->secret);
}

static void put_percent(const char *s, const char *safe, const char *format, struct buf *out)
{
    for (; *s; s++)
        if ((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
            strchr(safe, *s))
            buf_putc(out, *s);
        else
            buf_printf(out, format[0] == 'X' ? "%%%02X" : "%%%02x", (unsigned char)*s);
}

#define FORMS 6

void credential_mask(const struct credential *c, struct span text, struct buf *out)
{
    struct buf forms[FORMS];
    for (size_t i = 0; i < FORMS; i++)
        forms[i] = BUF_INIT(4 * (SOURCE_SECRET_MAX + SOURCE_USER_MAX));
    if (credential_is_set(c)) {
        put_pair(c, &forms[0]);
        put_percent(c->secret, "-._~", "X", &forms[1]);
        put_percent(c->secret, "-._~", "x", &forms[2]);
        put_percent(c->secret, "-._~!$&'()*+,;=", "X", &forms[3]);
        buf_puts(&forms[4], c->secret);
        put_base64(&forms[5], span_str(c->secret));
    }
    while (text.len) {
        size_t len = 0;
        for (size_t i = 0; i < FORMS; i++)
            if (forms[i].len > len && span_starts(text, buf_span(&forms[i])))
                len = forms[i].len;
        if (len)
            buf_puts(out, CREDENTIAL_MASK);
        else
            buf_putc(out, text.ptr[0]);
        text = span_skip(text, len ? len : 1);
    }
    for (size_t i = 0; i < FORMS; i++) {
        if (forms[i].ptr)
            explicit_bzero(forms[i].ptr, forms[i].len);
        buf_done(&forms[i]);
    }
}
