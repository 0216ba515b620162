#include "base/proc.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POLL_STEP_MS 50
#define PIECE_BYTES 16384
#define DEFAULT_TIMEOUT_MS 60000

struct child {
    pid_t pid;
    int in, out, err; /* our ends of the pipes, -1 when closed */
    int exec_failed;  /* read end: errno of a failed exec, or end of file */
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void set_limit(int which, uint64_t value)
{
    struct rlimit lim = {value, value};
    if (value)
        setrlimit((__rlimit_resource_t)which, &lim);
}

/* The flag that closes descriptors at exec is not copied by dup2. */
static void keep_as_3(int fd, int *report)
{
    if (*report == 3)
        *report = fcntl(*report, F_DUPFD_CLOEXEC, 4);
    if (fd == 3)
        fcntl(fd, F_SETFD, 0);
    else
        dup2(fd, 3);
}

/* In the child, between fork and exec: only async-signal-safe calls. */
static void NORETURN child_exec(const struct proc_options *o, char *const *envp, int in, int out,
                                int err, int report)
{
    setpgid(0, 0);
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    if (o->inherit_fd > 2)
        keep_as_3(o->inherit_fd, &report);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* what it writes would be in the way of our next start */
    signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    set_limit(RLIMIT_CPU, o->cpu_seconds);
    set_limit(RLIMIT_AS, o->memory_bytes);
    set_limit(RLIMIT_CORE, 1);
    if (!o->cwd || chdir(o->cwd) == 0) {
        union { /* execvpe wants char *const *, and promises not to write */
            const char *const *in;
            char *const *out;
        } argv = {.in = o->argv};
        execvpe(o->argv[0], argv.out, envp);
    }
    int e = errno;
    if (write(report, &e, sizeof e) < 0)
        _exit(126);
    _exit(127);
}

static int spawn(const struct proc_options *o, char *const *envp, struct child *ret,
                 struct err *err)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, er[2] = {-1, -1}, rep[2] = {-1, -1};
    int r = 0;
    pid_t pid;
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(er, O_CLOEXEC) < 0 ||
        pipe2(rep, O_CLOEXEC) < 0) {
        r = err_errno(err, errno, "cannot make a pipe for '%s'", o->argv[0]);
        goto out;
    }
    pid = fork();
    if (pid < 0) {
        r = err_errno(err, errno, "cannot start '%s'", o->argv[0]);
        goto out;
    }
    if (pid == 0)
        child_exec(o, envp, in[0], out[1], er[1], rep[1]);
    *ret = (struct child){pid, in[1], out[0], er[0], rep[0]};
    in[1] = out[0] = er[0] = rep[0] = -1;
out:
    for (int i = 0; i < 2; i++) {
        close_end(&in[i]);
        close_end(&out[i]);
        close_end(&er[i]);
        close_end(&rep[i]);
    }
    return r;
}

static int exec_errno(struct child *c)
{
    int e = 0;
    ssize_t n;
    do
        n = read(c->exec_failed, &e, sizeof e);
    while (n < 0 && errno == EINTR);
    close_end(&c->exec_failed);
    return n == (ssize_t)sizeof e ? e : 0;
}

/* Reads what is there; closes the end at end of file. False when `b` is full and `strict`. */
static bool drain(int *fd, struct buf *b, bool strict, struct span *ret_piece,
                  char block[PIECE_BYTES])
{
    *ret_piece = SPAN_NULL;
    ssize_t n = fault_hit(FAULT_READ) ? -1 : read(*fd, block, PIECE_BYTES);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0) {
        close_end(fd);
        return true;
    }
    *ret_piece = span_of(block, (size_t)n);
    if (!b)
        return true;
    size_t room = b->max > b->len ? b->max - b->len : 0;
    if (!strict && (size_t)n > room)
        n = (ssize_t)room;
    buf_put(b, block, (size_t)n);
    return !strict || !buf_failed(b);
}

/*
 * A child that ends without reading its input must not end us: the signal is held back in this thread while we
 * write, and taken if we caused it, so that this works whether or not the program ignores SIGPIPE.
 */
static ssize_t write_quietly(int fd, struct span s)
{
    sigset_t pipe_signal, old, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &old);
    ssize_t n = write(fd, s.ptr, s.len);
    int e = errno;
    if (n < 0 && e == EPIPE && !sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_signal, NULL, &(struct timespec){0, 0}) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = e;
    return n;
}

static void feed(struct child *c, struct span *input)
{
    ssize_t n = write_quietly(c->in, *input);
    if (n > 0)
        *input = span_skip(*input, (size_t)n);
    if ((n < 0 && errno != EAGAIN && errno != EINTR) || !input->len)
        close_end(&c->in);
}

static int read_out(const struct proc_options *o, struct child *c, struct buf *out, struct err *err)
{
    char block[PIECE_BYTES];
    struct span piece;
    if (!drain(&c->out, o->on_out ? NULL : out, true, &piece, block))
        return err_set(err, ERR_TOO_LARGE, "'%s' wrote more than %zu bytes", o->argv[0], out->max);
    return o->on_out && piece.len ? o->on_out(o->ctx, piece, err) : 0;
}

static void read_err(const struct proc_options *o, struct child *c, struct buf *err_out)
{
    char block[PIECE_BYTES];
    struct span piece;
    (void)drain(&c->err, err_out, false, &piece, block);
    if (o->on_err && piece.len)
        o->on_err(o->ctx, piece);
}

static int pump(const struct proc_options *o, struct child *c, struct buf *out, struct buf *err_out,
                struct err *err)
{
    uint64_t deadline = clock_ms() + (o->timeout_ms ? o->timeout_ms : DEFAULT_TIMEOUT_MS);
    struct span input = o->input;
    int r = 0;
    fcntl(c->in, F_SETFL, O_NONBLOCK);
    if (!input.len)
        close_end(&c->in);
    while (r == 0 && (c->out >= 0 || c->err >= 0)) {
        struct pollfd p[3] = {{c->out, POLLIN, 0}, {c->err, POLLIN, 0}, {c->in, POLLOUT, 0}};
        int n = poll(p, 3, POLL_STEP_MS);
        if (n < 0 && errno != EINTR)
            return err_errno(err, errno, "waiting for '%s'", o->argv[0]);
        if (p[0].fd >= 0 && p[0].revents)
            r = read_out(o, c, out, err);
        if (p[1].fd >= 0 && p[1].revents)
            read_err(o, c, err_out);
        if (p[2].fd >= 0 && p[2].revents)
            feed(c, &input);
        if (r == 0 && o->tick)
            r = o->tick(o->ctx, err);
        if (r == 0 && o->cancel && atomic_load(o->cancel))
            r = err_set(err, ERR_CANCELLED, "'%s' was cancelled", o->argv[0]);
        if (r == 0 && clock_ms() > deadline)
            r = err_set(err, ERR_TIMEOUT, "'%s' took too long", o->argv[0]);
    }
    return r;
}

static int merged_env(const struct proc_options *o, char ***ret)
{
    size_t n = 0, extra = 0;
    while (!o->is_env_whole && environ[n])
        n++;
    while (o->env && o->env[extra])
        extra++;
    char **envp = mem_try_array(n + extra + 1, sizeof *envp);
    if (!envp)
        return -ERR_NO_MEMORY;
    size_t at = 0;
    for (size_t i = 0; i < extra; i++)
        memcpy(&envp[at++], &o->env[i], sizeof *envp);
    for (size_t i = 0; i < n; i++) {
        size_t name = strcspn(environ[i], "=") + 1;
        bool replaced = false;
        for (size_t k = 0; k < extra && !replaced; k++)
            replaced = strncmp(environ[i], o->env[k], name) == 0;
        if (!replaced)
            envp[at++] = environ[i];
    }
    *ret = envp;
    return 0;
}

int proc_run(const struct proc_options *o, struct buf *out, struct buf *err_out, int *ret_status,
             struct err *err)
{
    CLEANUP(mem_freep) char **envp = NULL;
    struct child c;
    if (merged_env(o, &envp) < 0)
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    int r = spawn(o, envp, &c, err);
    if (r < 0)
        return r;
    int e = exec_errno(&c);
    if (e)
        r = e == ENOENT ? err_set(err, ERR_UNAVAILABLE, "'%s' is not installed", o->argv[0])
                        : err_errno(err, e, "cannot run '%s'", o->argv[0]);
    else
        r = pump(o, &c, out, err_out, err);
    close_end(&c.in);
    close_end(&c.out);
    close_end(&c.err);
    if (r < 0)
        kill(-c.pid, SIGKILL);
    int status = 0;
    while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
        ;
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return r;
}
