#pragma once
/*
 * What a person or a client calls a repository, read into its parts: URLs (https, http, ssh, file), git@host:path,
 * host/owner/repo, the owner/repo of GitHub, and the web pages of the hosts (…/tree/BRANCH). Pure: no file and no socket is
 * touched; a fuzz target covers it. Thread: any.
 *
 * Two names of one repository have one identity: host and whole path, whatever the scheme, ".git", a slash at the end, and the
 * case where the host ignores it. Equal names on two hosts stay apart.
 */
#include "base/buf.h"
#include "base/err.h"

enum host_kind {
    HOST_GIT, /* any server that speaks git */
    HOST_GITHUB,
    HOST_GITLAB,
    HOST_BITBUCKET,
    HOST_AZURE,
    HOST_GITEA
};
enum source_scheme { SCHEME_HTTPS, SCHEME_HTTP, SCHEME_SSH, SCHEME_FILE };

#define SOURCE_HOST_MAX 256 /* these with NUL */
#define SOURCE_PATH_MAX 1024
#define SOURCE_BRANCH_MAX 256
#define SOURCE_USER_MAX 256
#define SOURCE_SECRET_MAX 2048
#define SOURCE_URL_MAX (3 * SOURCE_PATH_MAX + SOURCE_HOST_MAX + SOURCE_USER_MAX + 32)
#define SOURCE_DIR_MAX 64

struct source_name {
    enum source_scheme scheme;
    enum host_kind kind;         /* the host's own, or as the caller said for a host nobody knows */
    char host[SOURCE_HOST_MAX];  /* lower case; IPv6 without brackets; "" for files */
    unsigned port;               /* 0 = the scheme's */
    char login[SOURCE_USER_MAX]; /* ssh: whom to log in as; otherwise "" */
    char path[SOURCE_PATH_MAX];  /* decoded, valid UTF-8; files: from "/", others: without it */
    char branch[SOURCE_BRANCH_MAX]; /* branch or tag that was named, or "" */
    bool has_git_suffix;            /* ".git" was behind the path, which is without it */
    bool is_scp;                    /* ssh as host:path, where a path need not begin at the root */
    bool is_folded;                 /* the host ignores the path's case */
    /* Userinfo of a URL: who is let in. Never part of any text made here. */
    char user[SOURCE_USER_MAX];
    char secret[SOURCE_SECRET_MAX];
};

/*
 * `type`: what the caller says the host is ("github" "gitlab" "bitbucket" "azure" "gitea" "git"), or empty: guessed. `branch` (may be empty)
 * wins over one in the name. 0; -ERR_NOT_FOUND: this is no remote name (a path, a plain word; *err untouched);
 * -ERR_INVALID or -ERR_UNSUPPORTED: it is one, and wrong. No message repeats userinfo. source_name_done when it holds secrets.
 */
int source_name_parse(struct span text, struct span type, struct span branch,
                      struct source_name *ret, struct err *err) MUST_CHECK;
void source_name_done(struct source_name *n); /* wipes the secrets */

/* What git is given: never with a credential. */
void source_name_url(const struct source_name *n, struct buf *out);
/* The URL, and "#BRANCH" when one was named: what is stored and shown, and what source_name_parse reads back. */
void source_name_location(const struct source_name *n, struct buf *out);
/* "host[:port]/path", and "#BRANCH" when one was named. */
void source_name_identity(const struct source_name *n, struct buf *out);
/* Safe name of a folder for the identity: letters, digits, '-', '.', '_'; never hidden. */
void source_name_dir(const struct source_name *n, char ret[SOURCE_DIR_MAX]);
/* What people call it: "owner/repo", with the host before it where that is not GitHub. */
void source_name_title(const struct source_name *n, struct buf *out);

const char *host_kind_name(enum host_kind k);
unsigned scheme_port(enum source_scheme s); /* 443, 80, 22; 0 for files */
/* A text a client named, for messages: userinfo, if it may be one, left out; at most 200 bytes. */
void source_name_show(struct span text, struct buf *out);
/* A branch or tag git would take: so that it can be no option and no pattern. */
bool is_branch_name(struct span name);
