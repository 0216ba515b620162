#pragma once
/*
 * Errors. Functions return 0 or a negative code (-ERR_X); where a person will read the failure they
 * also fill a struct err: what failed, why, and (hint) what to do. The message is written once, where
 * the cause is known; callers may prefix it; the top logs it once. Lower case, no final period.
 * One table (err.c) maps a code to its public name and HTTP status.
 */
#include "base/attr.h"

enum err_code {
    ERR_OK = 0,
    ERR_INVALID,   /* the caller's input is wrong */
    ERR_NOT_FOUND, /* no such thing */
    ERR_FORBIDDEN, /* exists, but not for this caller */
    ERR_EXISTS,    /* already there */
    ERR_BUSY,      /* held by someone else now; retry later */
    ERR_TOO_LARGE, /* past a named limit */
    ERR_LIMIT,     /* too many of something: rate, queue, connections */
    ERR_NO_MEMORY,
    ERR_IO,          /* file system or socket failed */
    ERR_CORRUPT,     /* stored bytes do not check out */
    ERR_UNAVAILABLE, /* a part we need is down or missing */
    ERR_TIMEOUT,
    ERR_CANCELLED,
    ERR_UPSTREAM,    /* a provider answered with an error */
    ERR_UNSUPPORTED, /* valid, but this build or form cannot do it */
    ERR_INTERNAL,    /* our fault, survivable */
    ERR_CODES
};

struct err {
    int code; /* one of enum err_code, positive */
    char msg[512];
    char hint[256]; /* what to do; may be empty */
};

/* Fills *err (which may be NULL) and returns -code, for `return err_set(err, ERR_X, …)`. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF(3, 4);
void err_hint(struct err *err, const char *fmt, ...) PRINTF(2, 3);
/* "prefix: old message" */
void err_prefix(struct err *err, const char *fmt, ...) PRINTF(2, 3);
/* Like err_set with ": strerror(errno_value)" appended; code chosen from errno. */
int err_errno(struct err *err, int errno_value, const char *fmt, ...) PRINTF(3, 4);

/* What an errno value means: static text. Thread: any (strerror is not safe there). */
const char *err_text(int errno_value);

const char *err_name(int code); /* "not_found"; accepts negative codes too */
int err_http_status(int code);  /* 404 … */
