/*
 * Running the git program. What it may do is said in three places: a configuration file of ours (nothing of the machine's or
 * the user's is read), an environment of ours (nothing of the server's reaches it but proxies, certificates and, for ssh, the agent), and
 * arguments, in which nothing is secret. A credential is in a memory file that git's helper reads as descriptor 3.
 */
#include "base/attr.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/proc.h"
#include "fetch/clone_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGS_MAX 64
#define ENV_MAX 48
#define SAID_MAX (16u << 10)
#define LINE_MAX_BYTES 1024
#define MEASURE_INTERVAL_MS 250

bool clone_is_cancelled(const struct clone *c)
{
    return c->rq->cancel && atomic_load(c->rq->cancel);
}

void clone_say(const struct clone *c, double fraction, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    if (!c->rq->progress)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->rq->progress(c->rq->ctx, fraction, text);
}

/* ---- configuration ---- */

/*
 * fsckObjects is off: with a filter git knows no exceptions from it, so that one odd path or an old commit's sloppy date would refuse the
 * whole repository. What it guards, check-outs, never happens here; tree.c looks at each path, and git checks each object's hash in any case.
 */
static const char config[] =
    "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tfilemode = false\n"
    "\tsymlinks = false\n\thooksPath = /dev/null\n\tattributesFile = /dev/null\n"
    "\tfsmonitor = false\n\tprotectNTFS = true\n\tprotectHFS = true\n\tlogAllRefUpdates = false\n"
    "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"
    "[protocol]\n\tallow = never\n"
    "[http]\n\tfollowRedirects = false\n\tlowSpeedLimit = 1\n\tlowSpeedTime = 60\n"
    "[transfer]\n\tfsckObjects = false\n\tcredentialsInUrl = die\n"
    "[fetch]\n\tunpackLimit = 1\n\trecurseSubmodules = false\n\twriteCommitGraph = false\n"
    "[submodule]\n\trecurse = false\n"
    "[filter \"lfs\"]\n\tclean =\n\tsmudge =\n\tprocess =\n\trequired = false\n"
    "[credential]\n\thelper =\n";

static int write_file(const struct clone *c, const char *name, struct span text, struct err *err)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/%s", buf_str(&c->git_dir), name);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_INVALID, "the data directory's path is too long");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, errno, "cannot write '%s'", path);
    ssize_t n = write(fd, text.ptr, text.len);
    int why = n < 0 ? errno : ENOSPC;
    close(fd);
    return n == (ssize_t)text.len ? 0 : err_errno(err, why, "cannot write '%s'", path);
}

int git_configure(struct clone *c, struct err *err)
{
    return write_file(c, "config", span_of(config, sizeof config - 1), err);
}

int git_init(struct clone *c, struct err *err)
{
    static const char *const dirs[] = {"",      "/objects",       "/objects/pack", "/objects/info",
                                       "/refs", "/refs/headwater"};
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        int len = snprintf(path, sizeof path, "%s%s", buf_str(&c->git_dir), dirs[i]);
        if (len < 0 || (size_t)len >= sizeof path)
            return err_set(err, ERR_INVALID, "the data directory's path is too long");
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return err_errno(err, errno, "cannot make '%s'", path);
    }
    int r = write_file(c, "HEAD", SPAN_LIT("ref: refs/heads/none\n"), err);
    return r < 0 ? r : git_configure(c, err);
}

/* ---- one run ---- */

struct run {
    struct clone *c;
    const struct git_call *call;
    const char *args[ARGS_MAX];
    size_t arg_count;
    char *env[ENV_MAX]; /* owned */
    size_t env_count;
    struct buf pins, line, said; /* said: what git wrote that is no progress */
    struct buf masked;
    int secret_fd;
    uint64_t lived_ms, measured_ms, bytes;
    bool is_short_of_memory;
};

static void put_env(struct run *r, const char *fmt, ...) PRINTF(2, 3);
static void put_env(struct run *r, const char *fmt, ...)
{
    struct buf b = BUF_INIT(64u << 10);
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    char *text = buf_detach(&b);
    if (text && r->env_count + 1 < ENV_MAX)
        r->env[r->env_count++] = text;
    else
        r->is_short_of_memory = true;
}

static void pass_env(struct run *r, const char *const *names)
{
    const struct clone_options *o = r->c->o;
    for (size_t i = 0; o->env && names[i]; i++) {
        const char *value = o->env(o->env_ctx, names[i]);
        if (value)
            put_env(r, "%s=%s", names[i], value);
    }
}

static void put_ssh(struct run *r)
{
    static const char *const names[] = {"HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", NULL};
    const struct clone *c = r->c;
    pass_env(r, names);
    /* Host keys are those of the owner's known_hosts: nobody is there to be asked about a new one. */
    struct buf b = BUF_INIT(1024);
    buf_puts(&b, "ssh -oBatchMode=yes -oForwardAgent=no -oForwardX11=no -oClearAllForwardings=yes "
                 "-oPermitLocalCommand=no -oControlMaster=no -oConnectTimeout=15 "
                 "-oServerAliveInterval=15 -oServerAliveCountMax=4");
    if (c->pins.count)
        buf_printf(&b, " -oProxyCommand=none -oProxyJump=none -oHostName=%s -oHostKeyAlias=%s",
                   c->pins.ip[0], c->at.host);
    put_env(r, "GIT_SSH_COMMAND=%s", buf_str(&b));
    put_env(r, "GIT_SSH_VARIANT=ssh");
    buf_done(&b);
}

static void fill_env(struct run *r)
{
    static const char *const proxies[] = {"http_proxy",  "https_proxy", "all_proxy", "no_proxy",
                                          "HTTPS_PROXY", "ALL_PROXY",   "NO_PROXY",  NULL};
    static const char *const certificates[] = {"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
                                               "GIT_SSL_CAPATH", NULL};
    static const char *const path[] = {"PATH", NULL};
    pass_env(r, path);
    put_env(r, "GIT_DIR=%s", buf_str(&r->c->git_dir));
    put_env(r, "LC_ALL=C");
    put_env(r, "GIT_CONFIG_NOSYSTEM=1");
    put_env(r, "GIT_CONFIG_GLOBAL=/dev/null");
    put_env(r, "GIT_ATTR_NOSYSTEM=1");
    put_env(r, "GIT_TERMINAL_PROMPT=0");
    put_env(r, "GIT_LFS_SKIP_SMUDGE=1");
    put_env(r, "GIT_NO_REPLACE_OBJECTS=1");
    put_env(r, "GIT_FLUSH=1");
    if (!r->call->is_remote || r->c->at.scheme != SCHEME_SSH)
        put_env(r, "HOME=%s", buf_str(&r->c->git_dir)); /* no .netrc, no .gitconfig, no cookies */
    if (!r->call->is_remote)
        return;
    pass_env(r, certificates);
    if (!r->c->is_guarded) /* a proxy would connect to what we have not checked */
        pass_env(r, proxies);
    if (r->c->at.scheme == SCHEME_SSH)
        put_ssh(r);
}

static void put_arg(struct run *r, const char *arg)
{
    if (r->arg_count + 1 < ARGS_MAX)
        r->args[r->arg_count++] = arg;
    else
        r->is_short_of_memory = true;
}

static void put_setting(struct run *r, const char *setting)
{
    put_arg(r, "-c");
    put_arg(r, setting);
}

static void fill_args(struct run *r)
{
    static const char *const allow[] = {
        [SCHEME_HTTPS] = "protocol.https.allow=always",
        [SCHEME_HTTP] = "protocol.http.allow=always",
        [SCHEME_SSH] = "protocol.ssh.allow=always",
        [SCHEME_FILE] = "protocol.file.allow=always",
    };
    const struct clone *c = r->c;
    put_arg(r, "git");
    if (r->call->is_remote) {
        put_setting(r, allow[c->at.scheme]);
        if (r->secret_fd >= 0)
            put_setting(r,
                        "credential.helper=!f(){ test \"$1\" = get && cat /proc/self/fd/3; }; f");
        if (c->is_guarded)
            put_setting(r, "http.proxy=");
        if (c->pins.count && c->at.scheme != SCHEME_SSH) {
            bool is_v6_name = strchr(c->at.host, ':');
            unsigned port = c->at.port ? c->at.port : scheme_port(c->at.scheme);
            buf_printf(&r->pins,
                       is_v6_name ? "http.curloptResolve=[%s]:%u:" : "http.curloptResolve=%s:%u:",
                       c->at.host, port);
            for (size_t i = 0; i < c->pins.count; i++)
                buf_printf(&r->pins, strchr(c->pins.ip[i], ':') ? "%s[%s]" : "%s%s", i ? "," : "",
                           c->pins.ip[i]);
            put_setting(r, buf_str(&r->pins));
        }
    }
    for (size_t i = 0; r->call->args[i]; i++)
        put_arg(r, r->call->args[i]);
}

/* A file in memory that only we and what we start can read; -1 when there is nothing to say. */
static int open_secret(const struct clone *c, const struct git_call *call, int *ret_fd,
                       struct err *err)
{
    *ret_fd = -1;
    if (!call->is_remote || !c->sends_credential)
        return 0;
    struct buf b = BUF_INIT(SOURCE_USER_MAX + SOURCE_SECRET_MAX + 64);
    credential_put_answer(c->rq->credential, &b);
    int fd = memfd_create("", MFD_CLOEXEC);
    int r = 0;
    if (fd < 0 || write(fd, b.ptr, b.len) != (ssize_t)b.len)
        r = err_errno(err, errno, "cannot hand the credential to git");
    if (b.ptr)
        explicit_bzero(b.ptr, b.len);
    buf_done(&b);
    if (r < 0 && fd >= 0)
        close(fd);
    *ret_fd = r < 0 ? -1 : fd;
    return r;
}

/* ---- while it runs ---- */

/* "Receiving objects:  45% (450/1000), 1.20 MiB | …" */
static bool take_progress(struct run *r, struct span line)
{
    static const struct {
        struct span prefix;
        const char *says;
    } steps[] = {
        {SPAN_INIT("Receiving objects:"), "Receiving the repository"},
        {SPAN_INIT("Resolving deltas:"), "Unpacking the repository"},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        if (!span_starts(line, steps[i].prefix))
            continue;
        struct span rest = span_trim(span_skip(line, steps[i].prefix.len));
        ptrdiff_t percent = span_find_char(rest, '%'), comma = span_find_char(rest, ',');
        uint64_t n = 0;
        if (percent > 0 && parse_u64(span_trim(span_first(rest, (size_t)percent)), &n) &&
            n <= 100) {
            struct span size =
                comma > 0 ? span_trim(span_skip(rest, (size_t)comma + 1)) : SPAN_NULL;
            ptrdiff_t bar = span_find_char(size, '|');
            size = span_first(size, bar > 0 ? (size_t)bar : size.len);
            clone_say(r->c, (double)n / 100, "%s: %u%%%s" SPAN_FMT, steps[i].says, (unsigned)n,
                      i == 0 && size.len ? ", " : "",
                      SPAN_ARG(i == 0 ? span_trim(size) : SPAN_NULL));
        }
        return true;
    }
    static const struct span quiet[] = {
        SPAN_INIT("remote: Counting"), SPAN_INIT("remote: Compressing"),
        SPAN_INIT("remote: Enumerating"), SPAN_INIT("remote: Total")};
    for (size_t i = 0; i < ARRAY_LEN(quiet); i++)
        if (span_starts(line, quiet[i]))
            return true;
    return false;
}

static void end_line(struct run *r)
{
    struct span line = span_trim(buf_span(&r->line));
    if (line.len && !take_progress(r, line) && r->said.len + line.len + 2 < r->said.max) {
        buf_put_span(&r->said, line);
        buf_putc(&r->said, '\n');
    }
    buf_clear(&r->line);
}

static void on_err(void *ctx, struct span piece)
{
    struct run *r = ctx;
    r->lived_ms = clock_ms();
    for (size_t i = 0; i < piece.len; i++) {
        char c = piece.ptr[i];
        if (c == '\n' || c == '\r')
            end_line(r);
        else if (r->line.len + 1 < r->line.max && ((unsigned char)c >= 0x20 || c == '\t'))
            buf_putc(&r->line, c);
    }
}

static int on_out(void *ctx, struct span piece, struct err *err)
{
    struct run *r = ctx;
    r->lived_ms = clock_ms();
    if (r->call->on_out)
        return r->call->on_out(r->call->ctx, piece, err);
    if (r->call->out)
        buf_put_span(r->call->out, piece);
    return r->call->out && buf_failed(r->call->out)
               ? err_set(err, ERR_TOO_LARGE, "git wrote more than %zu bytes", r->call->out->max)
               : 0;
}

static uint64_t pack_bytes(const struct clone *c)
{
    char path[PATH_MAX];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "%s/objects/pack", buf_str(&c->git_dir));
    DIR *d = opendir(path);
    struct dirent *e;
    struct stat st;
    while (d && (e = readdir(d))) /* NOLINT(concurrency-mt-unsafe): d is ours alone */
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_size;
    if (d)
        (void)closedir(d);
    return sum;
}

static int say_too_large(const struct clone *c, struct err *err)
{
    err_set(err, ERR_TOO_LARGE, "the repository is larger than %llu MB",
            (unsigned long long)(c->o->max_bytes >> 20));
    err_hint(err, "--max-clone-size allows more");
    return -ERR_TOO_LARGE;
}

static int on_tick(void *ctx, struct err *err)
{
    struct run *r = ctx;
    uint64_t now = clock_ms();
    if (!r->call->is_remote || now - r->measured_ms < MEASURE_INTERVAL_MS)
        return 0;
    r->measured_ms = now;
    uint64_t bytes = pack_bytes(r->c);
    if (bytes != r->bytes)
        r->lived_ms = now;
    r->bytes = bytes;
    if (r->c->o->max_bytes && bytes > r->c->o->max_bytes)
        return say_too_large(r->c, err);
    if (now - r->lived_ms > TIMEOUT_GIT_STALL_MS) {
        err_set(err, ERR_TIMEOUT, "the host '%s' sent nothing more for %d s", r->c->at.host,
                TIMEOUT_GIT_STALL_MS / 1000);
        err_hint(err, "try again later");
        return -ERR_TIMEOUT;
    }
    return 0;
}

/* ---- what went wrong, in words ---- */

static const char *title(const struct clone *c, struct buf *b)
{
    buf_clear(b);
    source_name_url(&c->at, b);
    return buf_str(b);
}

static int say_no_access(const struct clone *c, int status, struct err *err)
{
    struct buf b = BUF_INIT(SOURCE_URL_MAX);
    bool had = c->rq->credential && credential_is_set(c->rq->credential);
    const char *url = title(c, &b);
    if (had && !c->sends_credential)
        err_set(err, ERR_FORBIDDEN,
                "'%s' asks for a credential, but the one given is for another host", url);
    else if (had)
        err_set(err, ERR_FORBIDDEN,
                "'%s' does not exist, or the token is wrong, expired or not allowed to read it "
                "(the host answered %d)",
                url, status);
    else
        err_set(err, ERR_FORBIDDEN,
                "'%s' does not exist or is private (the host answered %d, which it does for both)",
                url, status);
    err_hint(err, had ? "check the address, and that the token may read this repository"
                      : "check the address; a private repository needs a token");
    buf_done(&b);
    return -ERR_FORBIDDEN;
}

int git_say_status(const struct clone *c, int status, struct err *err)
{
    struct buf b = BUF_INIT(SOURCE_URL_MAX);
    int r;
    if (status == 401 || status == 403 || status == 404 || status == 410) {
        r = say_no_access(c, status, err);
    } else if (status == 429) {
        r = err_set(err, ERR_LIMIT, "the host '%s' has had too many requests from here",
                    c->at.host);
        err_hint(err, "wait some minutes; a token usually raises the limit");
    } else {
        r = err_set(err, ERR_UPSTREAM, "'%s' is no git repository: the host answered %d",
                    title(c, &b), status);
        err_hint(err,
                 status >= 500 ? "the host has trouble; try again later" : "check the address");
    }
    buf_done(&b);
    return r;
}

struct symptom {
    struct span text;
    enum err_code code;
    const char *says, *hint;
};

static const struct symptom symptoms[] = {
    {SPAN_INIT("Could not resolve host"), ERR_UNAVAILABLE, "its host is not known",
     "check the address for a typing error, and the network"},
    {SPAN_INIT("Host key verification failed"), ERR_UNAVAILABLE, "ssh does not know this host",
     "connect to it once by hand as the user who runs this program"},
    {SPAN_INIT("Permission denied (publickey"), ERR_FORBIDDEN, "ssh was not let in",
     "the key of the user who runs this program must be known to the host"},
    {SPAN_INIT("SSL certificate"), ERR_UPSTREAM, "its certificate cannot be trusted",
     "install the host's certificate authority on this machine"},
    {SPAN_INIT("server certificate verification failed"), ERR_UPSTREAM,
     "its certificate cannot be trusted",
     "install the host's certificate authority on this machine"},
    {SPAN_INIT("Connection refused"), ERR_UNAVAILABLE, "the host refused the connection",
     "try again later"},
    {SPAN_INIT("Failed to connect"), ERR_UNAVAILABLE, "the host cannot be reached",
     "try again later"},
    {SPAN_INIT("ould not connect"), ERR_UNAVAILABLE, "the host cannot be reached",
     "try again later"},
    {SPAN_INIT("Operation too slow"), ERR_TIMEOUT, "the host sends nothing more",
     "try again later"},
    {SPAN_INIT("timed out"), ERR_TIMEOUT, "the host did not answer in time", "try again later"},
    {SPAN_INIT("No space left on device"), ERR_IO, "the disk is full", "make room on the disk"},
    {SPAN_INIT("Disk quota exceeded"), ERR_IO, "the disk quota is used up",
     "make room on the disk"},
    {SPAN_INIT("dubious ownership"), ERR_FORBIDDEN, "it belongs to another user of this machine",
     "run this program as that user, or index the folder itself"},
    {SPAN_INIT("couldn't find remote ref"), ERR_NOT_FOUND, "the branch is not there any more",
     "try again, or name another branch"},
    {SPAN_INIT("does not appear to be a git repository"), ERR_NOT_FOUND, "it is no git repository",
     "check the address"},
    {SPAN_INIT("early EOF"), ERR_UPSTREAM, "the transfer was cut off", "try again"},
    {SPAN_INIT("unexpected disconnect"), ERR_UPSTREAM, "the transfer was cut off", "try again"},
    {SPAN_INIT("hung up unexpectedly"), ERR_UPSTREAM, "the transfer was cut off", "try again"},
    {SPAN_INIT("RPC failed"), ERR_UPSTREAM, "the transfer was cut off", "try again"},
    {SPAN_INIT("transfer closed"), ERR_UPSTREAM, "the transfer was cut off", "try again"},
    {SPAN_INIT("expected flush after"), ERR_UPSTREAM, "the transfer was cut off", "try again"},
    {SPAN_INIT("protocol error"), ERR_UPSTREAM, "the host does not speak git", "try again"},
};

static bool says(const struct run *r, struct span text)
{
    return span_find_nocase(buf_span(&r->masked), text) >= 0;
}

/* The line that says most: git's "fatal:", else the last one. */
static struct span best_line(struct span said)
{
    struct span line, best = SPAN_NULL;
    while (span_next(&said, '\n', &line))
        if (line.len && (!best.len || !span_starts(best, SPAN_LIT("fatal:"))))
            best = line;
    return span_first(best, 300);
}

static int explain(const struct run *r, int status, struct err *err)
{
    const struct clone *c = r->c;
    static const struct span shut[] = {SPAN_INIT("could not read Username"),
                                       SPAN_INIT("could not read Password"),
                                       SPAN_INIT("Authentication failed"),
                                       SPAN_INIT("error: 403"),
                                       SPAN_INIT("error: 404"),
                                       SPAN_INIT("not found")};
    static const int answers[] = {401, 401, 401, 403, 404, 404};
    for (size_t i = 0; r->call->is_remote && c->at.scheme <= SCHEME_HTTP && i < ARRAY_LEN(shut);
         i++)
        if (says(r, shut[i]) && !says(r, SPAN_LIT("remote ref")))
            return git_say_status(c, answers[i], err);
    struct buf b = BUF_INIT(SOURCE_URL_MAX);
    const char *url = title(c, &b);
    for (size_t i = 0; i < ARRAY_LEN(symptoms); i++) {
        const struct symptom *s = &symptoms[i];
        if (!says(r, s->text))
            continue;
        struct span line = best_line(buf_span(&r->masked));
        err_set(err, s->code, "cannot fetch '%s': %s (git: " SPAN_FMT ")", url, s->says,
                SPAN_ARG(line));
        err_hint(err, "%s", s->hint);
        buf_done(&b);
        return -(int)s->code;
    }
    struct span line = best_line(buf_span(&r->masked));
    int result = status > 128 ? err_set(err, ERR_UPSTREAM,
                                        "git was ended by signal %d while it should %s '%s'",
                                        status - 128, r->call->doing, url)
                              : err_set(err, ERR_UPSTREAM, "git could not %s '%s': " SPAN_FMT,
                                        r->call->doing, url, SPAN_ARG(line));
    buf_done(&b);
    return result;
}

static void run_done(struct run *r)
{
    for (size_t i = 0; i < r->env_count; i++)
        mem_free(r->env[i]);
    buf_done(&r->pins);
    buf_done(&r->line);
    buf_done(&r->said);
    buf_done(&r->masked);
    if (r->secret_fd >= 0)
        close(r->secret_fd);
}

static int start(struct run *r, int *ret_status, struct err *err)
{
    const char *env[ENV_MAX] = {0};
    for (size_t i = 0; i < r->env_count; i++)
        env[i] = r->env[i];
    struct proc_options po = {
        .argv = r->args,
        .env = env,
        .is_env_whole = true,
        .cwd = buf_str(&r->c->git_dir),
        .input = r->call->input,
        .timeout_ms = r->call->timeout_ms,
        .cancel = r->c->rq->cancel,
        .inherit_fd = r->secret_fd >= 0 ? r->secret_fd : 0,
        .ctx = r,
        .on_out = on_out,
        .on_err = on_err,
        .tick = on_tick,
    };
    int result = proc_run(&po, NULL, NULL, ret_status, err);
    end_line(r);
    static const struct credential none;
    credential_mask(r->c->rq->credential ? r->c->rq->credential : &none, buf_span(&r->said),
                    &r->masked);
    if (result == -ERR_UNAVAILABLE)
        err_hint(err, "install git 2.37 or newer");
    if (result == -ERR_TIMEOUT && !err->hint[0])
        err_hint(err, "try again later");
    return result;
}

int git_run(struct clone *c, const struct git_call *call, struct err *err)
{
    struct run r = {
        .c = c,
        .call = call,
        .pins = BUF_INIT(1024),
        .line = BUF_INIT(LINE_MAX_BYTES),
        .said = BUF_INIT(SAID_MAX),
        .masked = BUF_INIT(2 * SAID_MAX),
        .secret_fd = -1,
        .lived_ms = clock_ms(),
    };
    struct err why = {0};
    int status = 0, result = open_secret(c, call, &r.secret_fd, &why);
    if (result == 0) {
        fill_env(&r);
        fill_args(&r);
        if (r.is_short_of_memory || buf_failed(&r.pins))
            result = err_set(&why, ERR_NO_MEMORY, "out of memory");
    }
    if (result == 0)
        result = start(&r, &status, &why);
    if (result == 0 && status != 0)
        result = explain(&r, status, &why);
    run_done(&r);
    if (result < 0 && err)
        *err = why;
    return result;
}
