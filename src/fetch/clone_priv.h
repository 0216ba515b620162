#pragma once
/* What clone.c (the steps), git.c (running the program, its words) and tree.c (files from objects) share. */
#include "base/map.h"
#include "fetch/clone.h"

#define CLONE_REF "refs/headwater/tip"

struct clone {
    const struct clone_options *o;
    const struct clone_request *rq;
    bool is_guarded;             /* for a client, and not the owner's own choice of a repository */
    int dir_fd;                  /* DIR/<identity> */
    struct buf dir;              /* its path */
    struct buf git_dir;          /* the bare repository that git works on now */
    struct source_name at;       /* where the repository really is, after redirects */
    bool sends_credential;       /* `at` is where the credential is for */
    struct guard_addresses pins; /* git connects to these only; none = as it likes */
    char remote_ref[SOURCE_BRANCH_MAX + 16]; /* full name of the branch or tag */
    char remote_id[65];                      /* what the remote says it is */
};

/* git.c */
struct git_call {
    const char *const *args; /* behind "git -c …"; NULL-terminated */
    bool is_remote; /* talks to the remote: its transport, credential and pins are set up */
    struct span input;
    uint64_t timeout_ms;
    const char *doing; /* "fetch", "list": for messages */
    /* Takes the output; or NULL and it is appended to `out`. */
    int (*on_out)(void *ctx, struct span piece, struct err *err);
    void *ctx;
    struct buf *out;
};
/* Runs git to its end; failure in words in *err. */
int git_run(struct clone *c, const struct git_call *call, struct err *err) MUST_CHECK;
/* An empty bare repository with a configuration of ours, at c->git_dir. */
int git_init(struct clone *c, struct err *err) MUST_CHECK;
/* Writes that configuration again: git notes things in it. */
int git_configure(struct clone *c, struct err *err) MUST_CHECK;
/* A request that http answered with `status`: why there is no repository. */
int git_say_status(const struct clone *c, int status, struct err *err);
void clone_say(const struct clone *c, double fraction, const char *fmt, ...) PRINTF(3, 4);
bool clone_is_cancelled(const struct clone *c);

/* Why a path of a commit is not among the files. */
#define CLONE_SKIP_SYMLINK "symbolic link: not followed"
#define CLONE_SKIP_SUBMODULE "submodule: another repository, not fetched"
#define CLONE_SKIP_LFS "Git LFS pointer: the content is kept elsewhere and was not fetched"
#define CLONE_SKIP_LARGE "larger than 2 MB: not fetched"
#define CLONE_SKIP_PATH "its path leads out of the repository, or cannot be one here"
#define CLONE_SKIP_CLASH "another path of the repository takes its place"
#define CLONE_SKIP_BROKEN "git could not read it"
#define CLONE_SKIP_WRITE "it could not be written on this machine"

/* manifest.c */
struct manifest {
    char revision[65];
    struct map files; /* path → owned id text */
    struct clone_skipped *skipped;
    size_t skipped_count, skipped_cap;
};
void manifest_init(struct manifest *m);
void manifest_done(struct manifest *m);
/* An empty one when there is none, or it is damaged. */
int manifest_read(int dir_fd, struct manifest *m, struct err *err) MUST_CHECK;
int manifest_write(int dir_fd, const struct manifest *m, struct err *err) MUST_CHECK;
int manifest_add(struct manifest *m, struct span path, const char *id) MUST_CHECK;
int manifest_skip(struct manifest *m, struct span path, const char *reason) MUST_CHECK;

/* tree.c: makes `tree` the files of the commit. old: what is there now. */
int tree_write(struct clone *c, struct manifest *old, struct manifest *m,
               struct err *err) MUST_CHECK;
/* Removes a file or folder with all in it. */
int tree_remove(int dir_fd, const char *name, struct err *err) MUST_CHECK;
