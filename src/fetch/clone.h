#pragma once
/*
 * A repository of another machine as a folder of plain files on this one. `git` fetches one commit (depth 1, one branch, no tags, no
 * large blobs where the server can leave them out) into a bare repository; its files are then written by us, from git's object
 * stream. Nothing is ever checked out: no hook, filter, attribute, symbolic link or submodule of a repository takes effect, and no name
 * in it is a path before we have looked at it (docs/adr/0016-git.md).
 *
 *   DIR/<identity>/git/        the bare repository: objects, one ref
 *   DIR/<identity>/tree/       its files
 *   DIR/<identity>/by-owner    there when the owner, not a client, had it fetched: then its host is not guarded
 *   DIR/<identity>/manifest    which commit they are of, and what was left out; written last, so a half state is seen and mended
 *
 * A failed look or fetch leaves the tree as it was. Blocks: a worker of the SLOW lane; one call a folder at a time.
 */
#include "fetch/credential.h"
#include "fetch/guard.h"
#include "loop/loop.h"

#include <stdatomic.h>

struct clone_options {
    const char *dir; /* absolute and resolved; exists */
    struct guard_policy guard;
    uint64_t max_bytes; /* of what is fetched, and of the files written, each */
    struct loop *loop;  /* for requests before git's; running. NULL: none are made */
    /* Value of a variable, or NULL: proxies, certificates and ssh's agent are the owner's. */
    const char *(*env)(void *ctx, const char *name);
    void *env_ctx;
};

struct clone_request {
    const struct source_name *name;
    const struct credential *credential; /* or NULL */
    bool is_guarded;                     /* for a client: policy and addresses are checked */
    const _Atomic bool *cancel;          /* or NULL */
    /* What is going on, for people; fraction < 0 = unknown. Optional. */
    void (*progress)(void *ctx, double fraction, const char *message);
    void *ctx;
};

struct clone_skipped {
    char *path;         /* owned */
    const char *reason; /* static */
};

struct clone_result {
    char revision[65];
    bool is_unchanged;             /* the tree was of this commit before */
    char *tree;                    /* owned; absolute path */
    struct clone_skipped *skipped; /* owned; sorted by git's order */
    size_t skipped_count;
};
void clone_result_done(struct clone_result *r);

/*
 * Clones, or follows the branch to where it is now (also backwards). Every message is for people and free of secrets. -ERR_FORBIDDEN
 * (policy, private, wrong token), -ERR_NOT_FOUND (repository, branch), -ERR_UNAVAILABLE (host, ssh, no git), -ERR_UPSTREAM (cut off, broken),
 * -ERR_TIMEOUT, -ERR_TOO_LARGE, -ERR_CANCELLED, -ERR_IO. clone_result_done in every case.
 */
int clone_update(const struct clone_options *o, const struct clone_request *rq,
                 struct clone_result *ret, struct err *err) MUST_CHECK;
/* Removes a folder below DIR, as source_name_dir named it. */
int clone_remove(const char *dir, const char *name, struct err *err) MUST_CHECK;
