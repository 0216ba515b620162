#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int status;
} codes[ERR_CODES] = {
    [ERR_OK] = {"ok", 200},
    [ERR_INVALID] = {"invalid_request", 400},
    [ERR_NOT_FOUND] = {"not_found", 404},
    [ERR_FORBIDDEN] = {"forbidden", 403},
    [ERR_EXISTS] = {"already_exists", 409},
    [ERR_BUSY] = {"busy", 409},
    [ERR_TOO_LARGE] = {"too_large", 413},
    [ERR_LIMIT] = {"limit_reached", 429},
    [ERR_NO_MEMORY] = {"out_of_memory", 503},
    [ERR_IO] = {"io_error", 500},
    [ERR_CORRUPT] = {"corrupt_data", 500},
    [ERR_UNAVAILABLE] = {"unavailable", 503},
    [ERR_TIMEOUT] = {"timeout", 504},
    [ERR_CANCELLED] = {"cancelled", 409},
    [ERR_UPSTREAM] = {"provider_error", 502},
    [ERR_UNSUPPORTED] = {"unsupported", 501},
    [ERR_INTERNAL] = {"internal_error", 500},
};

static int row_of(int code)
{
    int c = code < 0 ? -code : code;
    return c < ERR_CODES ? c : ERR_INTERNAL;
}

const char *err_name(int code)
{
    return codes[row_of(code)].name;
}

int err_http_status(int code)
{
    return codes[row_of(code)].status;
}

/* A text that was cut ends with a whole character: it goes into WebSocket text frames. */
static void trim_character(char *text, size_t size, int wanted)
{
    if (wanted < 0 || (size_t)wanted < size)
        return;
    size_t n = strlen(text), at = n;
    while (at && n - at < 3 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
        at--;
    unsigned char lead = at ? (unsigned char)text[at - 1] : 0;
    size_t needs = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (needs > 1 && n - at + 1 < needs)
        text[at - 1] = 0;
}

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (err) {
        err->code = (int)code;
        err->hint[0] = 0;
        va_list ap;
        va_start(ap, fmt);
        trim_character(err->msg, sizeof err->msg, vsnprintf(err->msg, sizeof err->msg, fmt, ap));
        va_end(ap);
    }
    return -(int)code;
}

void err_hint(struct err *err, const char *fmt, ...)
{
    if (!err)
        return;
    va_list ap;
    va_start(ap, fmt);
    trim_character(err->hint, sizeof err->hint, vsnprintf(err->hint, sizeof err->hint, fmt, ap));
    va_end(ap);
}

void err_prefix(struct err *err, const char *fmt, ...)
{
    if (!err)
        return;
    char old[sizeof err->msg];
    memcpy(old, err->msg, sizeof old);
    old[sizeof old - 1] = 0;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof err->msg)
        n += snprintf(err->msg + n, sizeof err->msg - (size_t)n, ": %s", old);
    trim_character(err->msg, sizeof err->msg, n);
}

static enum err_code code_of_errno(int e)
{
    switch (e) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
        return ERR_FORBIDDEN;
    case EEXIST:
        return ERR_EXISTS;
    case ENOMEM:
        return ERR_NO_MEMORY;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    default:
        return ERR_IO;
    }
}

const char *err_text(int errno_value)
{
    const char *text = strerrordesc_np(errno_value);
    return text ? text : "unknown error";
}

int err_errno(struct err *err, int errno_value, const char *fmt, ...)
{
    enum err_code code = code_of_errno(errno_value);
    if (err) {
        err->code = (int)code;
        err->hint[0] = 0;
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
        if (n >= 0 && (size_t)n < sizeof err->msg)
            n += snprintf(err->msg + n, sizeof err->msg - (size_t)n, ": %s", err_text(errno_value));
        trim_character(err->msg, sizeof err->msg, n);
    }
    return -(int)code;
}
