#pragma once
/*
 * One look at an http(s) address before git goes there: whether it answers as a git server, asks for a credential, or sends us
 * elsewhere. Done by our own client, which checks each address it connects to; git is then told to follow nothing. The call
 * blocks; the request itself runs on `loop`.
 */
#include "fetch/credential.h"
#include "loop/loop.h"

#include <stdatomic.h>

#define PROBE_LOCATION_MAX (SOURCE_URL_MAX + 64)

struct probe_options {
    struct loop *loop; /* running; not the caller's own */
    const char *url;   /* the repository's; "/info/refs?service=git-upload-pack" is added */
    const struct credential *credential; /* sent with the request; or NULL */
    bool only_public;                    /* other addresses are refused, and no proxy is used */
    const _Atomic bool *cancel;          /* or NULL */
};
struct probe_answer {
    int status;
    bool is_git; /* the body is what a git server sends */
    char location
        [PROBE_LOCATION_MAX]; /* of a redirect, as it came; "" when there is none or it is too long */
};
/* 0 whatever the status; the codes of http_client.h, -ERR_CANCELLED. */
int probe_run(const struct probe_options *o, struct probe_answer *ret, struct err *err) MUST_CHECK;
