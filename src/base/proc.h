#pragma once
/*
 * Runs a child program to its end: arguments as a vector (never a shell), a bounded output, a time limit,
 * an environment of our choosing, and no descriptor of ours but 0, 1 and 2. It does not outlive the thread that runs it.
 * Blocks: workers only.
 */
#include "base/buf.h"
#include "base/err.h"
#include <stdatomic.h>

struct proc_options {
    const char *const *argv;    /* NULL-terminated; argv[0] is looked up in PATH */
    const char *const *env;     /* extra NAME=value, NULL-terminated, or NULL */
    const char *cwd;            /* or NULL */
    struct span input;          /* fed to standard input */
    uint64_t timeout_ms;        /* killed (whole process group) past it; 0 = 60 s */
    uint64_t cpu_seconds;       /* RLIMIT_CPU; 0 = none */
    uint64_t memory_bytes;      /* RLIMIT_AS; 0 = none */
    const _Atomic bool *cancel; /* polled; or NULL */
    bool is_env_whole;          /* `env` is the whole environment, nothing of ours is added */
    int inherit_fd;             /* > 2: one descriptor of ours that the child has as 3 */
    /* Watching; all optional. A negative code from one ends the child, and is proc_run's. */
    void *ctx;
    int (*on_out)(void *ctx, struct span piece, struct err *err); /* takes the place of `out` */
    void (*on_err)(void *ctx, struct span piece);                 /* beside err_out */
    int (*tick)(void *ctx, struct err *err);                      /* at least every 50 ms */
};

/*
 * 0 when the child ran and was waited for: its exit status (0..255, or 128+signal) is in *ret_status, its
 * standard output appended to `out` (may be NULL with on_out; its max bounds it: past it the child is killed and -ERR_TOO_LARGE
 * returned), the first bytes of standard error in `err_out` (may be NULL; cut at its max without failing).
 * -ERR_UNAVAILABLE when the program is not installed, -ERR_TIMEOUT, -ERR_CANCELLED, -ERR_IO.
 */
int proc_run(const struct proc_options *options, struct buf *out, struct buf *err_out,
             int *ret_status, struct err *err) MUST_CHECK;
