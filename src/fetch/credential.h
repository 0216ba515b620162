#pragma once
/*
 * What lets us in. A credential lives in memory only: it reaches git through a descriptor (clone.c), never through arguments,
 * environment or files, and credential_mask takes it out of every text. Thread: any.
 */
#include "fetch/source_name.h"

struct credential {
    char user[SOURCE_USER_MAX], secret[SOURCE_SECRET_MAX]; /* secret "": none */
};

/*
 * In this order: `token` (of the request), what stood in the name's URL, the owner's variable for exactly that host: GITHUB_TOKEN
 * (github.com, or GITHUB_HOST), GITLAB_TOKEN (GITLAB_HOST), BITBUCKET_TOKEN, AZURE_DEVOPS_TOKEN, GITEA_TOKEN (codeberg.org, or GITEA_HOST), which
 * is used over https only, or where the *_HOST variable names the host. The user name is the one the host's kind wants with a token. `env` may be NULL. -ERR_INVALID:
 * a token no host could have given (control characters, too long).
 */
int credential_pick(const struct source_name *n, struct span token,
                    const char *(*env)(void *ctx, const char *name), void *env_ctx,
                    struct credential *ret, struct err *err) MUST_CHECK;
static inline bool credential_is_set(const struct credential *c)
{
    return c->secret[0] != 0;
}
void credential_done(struct credential *c); /* wipes */

#define CREDENTIAL_MASK "***TOKEN***"
/* Appends `text` with the secret replaced, plain, percent-encoded or in base64 behind its user. */
void credential_mask(const struct credential *c, struct span text, struct buf *out);
/* "username=…\npassword=…\n" as git's credential helpers answer. */
void credential_put_answer(const struct credential *c, struct buf *out);
/* "Basic …" for an Authorization header. */
void credential_put_basic(const struct credential *c, struct buf *out);
