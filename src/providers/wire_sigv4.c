#include "base/hash.h"
#include "base/mem.h"
#include "providers/wire_priv.h"

#include <openssl/hmac.h>
#include <stdio.h>
#include <time.h>

#define CANONICAL_MAX (2u * LIMIT_WIRE_HEADER + 4u * LIMIT_WIRE_URL)

static bool hmac(const void *key, size_t key_len, struct span text, uint8_t ret[SHA256_SIZE])
{
    unsigned len = SHA256_SIZE;
    return HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text.ptr, text.len, ret,
                &len) != NULL;
}

/* The path on the wire is encoded once; every service but S3 signs it encoded again. */
static void put_canonical_path(struct buf *out, struct span path)
{
    if (!path.len)
        buf_putc(out, '/');
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] == '/')
            buf_putc(out, '/');
        else
            wire_put_encoded(out, span_of(path.ptr + i, 1));
    }
}

static const char *signed_headers(const struct wire_sign *s)
{
    bool has_session = s->session_token && *s->session_token;
    return has_session ? "host;x-amz-date;x-amz-security-token" : "host;x-amz-date";
}

static void put_canonical(struct buf *out, const struct wire_sign *s, const char *date)
{
    char hex[SHA256_HEX];
    buf_printf(out, "%s\n", s->method);
    put_canonical_path(out, s->path);
    buf_putc(out, '\n');
    buf_put_span(out, s->query);
    buf_puts(out, "\nhost:");
    buf_put_span(out, s->host);
    buf_printf(out, "\nx-amz-date:%s\n", date);
    if (s->session_token && *s->session_token)
        buf_printf(out, "x-amz-security-token:%s\n", s->session_token);
    sha256_hex(s->body.len ? s->body.ptr : "", s->body.len, hex);
    buf_printf(out, "\n%s\n%s", signed_headers(s), hex);
}

/* AWS4-HMAC over date, region, service in turn. */
static bool sign_text(const struct wire_sign *s, const char *day, struct span text,
                      char ret_hex[SHA256_HEX])
{
    uint8_t key[SHA256_SIZE];
    char secret[512];
    int n = snprintf(secret, sizeof secret, "AWS4%s", s->secret_access_key);
    bool is_done =
        n > 0 && (size_t)n < sizeof secret && hmac(secret, (size_t)n, span_str(day), key) &&
        hmac(key, sizeof key, span_str(s->region), key) &&
        hmac(key, sizeof key, span_str(s->service), key) &&
        hmac(key, sizeof key, SPAN_LIT("aws4_request"), key) && hmac(key, sizeof key, text, key);
    if (is_done)
        hex_encode(key, sizeof key, ret_hex);
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(key, sizeof key);
    return is_done;
}

int wire_sign(const struct wire_sign *s, struct wire_signature *ret, struct err *err)
{
    struct tm tm;
    time_t seconds = (time_t)(s->wall_ms / 1000);
    char hex[SHA256_HEX], day[9], scope[160], text[400];
    if (!gmtime_r(&seconds, &tm) ||
        strftime(ret->date, sizeof ret->date, "%Y%m%dT%H%M%SZ", &tm) != 16)
        return err_set(err, ERR_INVALID, "cannot sign the request: the clock says no usable time");
    memcpy(day, ret->date, 8);
    day[8] = 0;
    struct buf canonical = BUF_INIT(CANONICAL_MAX);
    put_canonical(&canonical, s, ret->date);
    bool has_failed = buf_failed(&canonical);
    sha256_hex(buf_str(&canonical), canonical.len, hex);
    if (canonical.ptr)
        explicit_bzero(canonical.ptr, canonical.len);
    buf_done(&canonical);
    if (has_failed)
        return err_set(err, ERR_NO_MEMORY, "cannot sign the request: no memory left");
    int n = snprintf(scope, sizeof scope, "%s/%s/%s/aws4_request", day, s->region, s->service);
    if (n < 0 || (size_t)n >= sizeof scope)
        return err_set(err, ERR_INVALID, "cannot sign the request: the region's name is too long");
    n = snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", ret->date, scope, hex);
    if (n < 0 || !sign_text(s, day, span_of(text, (size_t)n), hex))
        return err_set(err, ERR_INVALID, "cannot sign the request: the secret key is unusable");
    n = snprintf(ret->authorization, sizeof ret->authorization,
                 "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
                 s->access_key_id, scope, signed_headers(s), hex);
    if (n < 0 || (size_t)n >= sizeof ret->authorization)
        return err_set(err, ERR_INVALID, "cannot sign the request: the access key id is too long");
    return 0;
}
