/*
 * headwater doctor: looks at this machine with the eyes of a server that is about to start, without starting
 * one. Each check adds one line; a check that cannot be made says so instead of guessing.
 */
#include "app/client.h"
#include "app/cmd_util.h"
#include "app/options.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/proc.h"
#include "providers/embed.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#define FREE_SPACE_LOW (1ull << 30)
#define FREE_SPACE_NONE (100ull << 20)

enum state { STATE_OK, STATE_WARN, STATE_FAIL };
static const char *const state_names[] = {"ok", "warn", "fail"};

struct doctor {
    const struct options *o;
    bool is_json;
    struct buf out;
    struct json_writer w;
    bool has_failed;
    bool is_held;    /* some process holds the data directory */
    bool is_serving; /* … and answers on its socket */
};

/* One line. hint says what to do, or is NULL. */
static void report(struct doctor *d, enum state state, const char *name, const char *hint,
                   const char *fmt, ...) PRINTF(5, 6);
static void report(struct doctor *d, enum state state, const char *name, const char *hint,
                   const char *fmt, ...)
{
    struct buf text = BUF_INIT(8192);
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    d->has_failed = d->has_failed || state == STATE_FAIL;
    if (d->is_json) {
        jw_obj(&d->w);
        jw_kstr(&d->w, "name", name);
        jw_kstr(&d->w, "state", state_names[state]);
        jw_kspan(&d->w, "detail", buf_span(&text));
        jw_kstr(&d->w, "hint", hint);
        jw_end_obj(&d->w);
    } else {
        buf_printf(&d->out, "%-5s %-16s %s\n", state_names[state], name, buf_str(&text));
        if (hint)
            buf_printf(&d->out, "%22s → %s\n", "", hint);
    }
    buf_done(&text);
}

/* ---- data directory ---- */

/* The directory itself, or the nearest one above it that exists. */
static void nearest_existing(const char *path, char *ret, size_t size)
{
    snprintf(ret, size, "%s", path);
    while (access(ret, F_OK) != 0) {
        char *slash = strrchr(ret, '/');
        if (!slash) {
            snprintf(ret, size, ".");
            return;
        }
        slash[slash == ret] = 0;
        if (slash == ret)
            return;
    }
}

static void check_data(struct doctor *d)
{
    const char *data = option_str(d->o, OPT_DATA);
    char near[4096];
    nearest_existing(data, near, sizeof near);
    bool exists = !strcmp(near, data);
    struct stat st;
    if (stat(near, &st) == 0 && !S_ISDIR(st.st_mode))
        report(d, STATE_FAIL, "data directory", "name another with --data DIR",
               "%s: %s is not a directory", data, near);
    else if (access(near, W_OK | X_OK) != 0)
        report(d, STATE_FAIL, "data directory", "make it writable, or name another with --data DIR",
               "%s: cannot write in %s: %s", data, near, err_text(errno));
    else
        report(d, STATE_OK, "data directory", NULL, exists ? "%s, writable" : "%s, will be created",
               data);
    struct statvfs fs;
    if (statvfs(near, &fs) != 0)
        return;
    uint64_t bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    struct buf text = BUF_INIT(64);
    put_bytes_for_people(&text, bytes);
    enum state s = bytes < FREE_SPACE_NONE  ? STATE_FAIL
                   : bytes < FREE_SPACE_LOW ? STATE_WARN
                                            : STATE_OK;
    report(d, s, "free space", s == STATE_OK ? NULL : "free some, or move the data with --data DIR",
           "%s at %s", buf_str(&text), near);
    buf_done(&text);
}

static bool is_locked(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool held = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

static void check_socket(struct doctor *d)
{
    char lock[4200], path[4200];
    snprintf(lock, sizeof lock, "%s/headwater.lock", option_str(d->o, OPT_DATA));
    snprintf(path, sizeof path, "%s/headwater.sock", option_str(d->o, OPT_DATA));
    size_t max = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    d->is_held = is_locked(lock);
    d->is_serving = client_socket_answers(path);
    if (strlen(path) > max)
        report(d, STATE_FAIL, "socket", "name a shorter directory with --data DIR",
               "%s: longer than the %zu bytes a socket's path may have", path, max);
    else if (d->is_serving)
        report(d, STATE_OK, "socket", NULL, "a server answers on %s; commands use it", path);
    else if (d->is_held)
        report(d, STATE_WARN, "socket",
               "wait for the command that is running, or end the process that holds the lock file",
               "the data directory is in use, but nothing answers on %s", path);
    else
        report(d, STATE_OK, "socket", NULL,
               "no server runs on this data directory; commands start "
               "one for themselves");
}

/* ---- programs and limits ---- */

static void check_program(struct doctor *d, const char *name, const char *marker, const char *why,
                          const char *hint)
{
    const char *argv[] = {name, "--version", NULL};
    struct proc_options po = {.argv = argv, .timeout_ms = 5000};
    struct buf out = BUF_INIT(16384);
    struct err err = {0};
    int status = 0;
    int r = proc_run(&po, &out, NULL, &status, &err);
    struct span rest = buf_span(&out), line = SPAN_NULL;
    (void)span_next(&rest, '\n', &line); /* no line: an empty version */
    if (r < 0)
        report(d, STATE_WARN, name, hint, "%s: %s", err.msg, why);
    else if (status != 0 || span_find(buf_span(&out), span_str(marker)) < 0)
        report(d, STATE_WARN, name, hint, "'" SPAN_FMT "' is not what is needed: %s",
               SPAN_ARG(line), why);
    else
        report(d, STATE_OK, name, NULL, SPAN_FMT, SPAN_ARG(span_first(line, 100)));
    buf_done(&out);
}

static void check_descriptors(struct doctor *d)
{
    struct rlimit rl;
    uint64_t wanted = LIMIT_CONNECTIONS_COUNT + 500;
    if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
        return;
    /* The server raises the soft limit itself. */
    if (rl.rlim_max == RLIM_INFINITY || rl.rlim_max >= wanted)
        report(d, STATE_OK, "descriptors", NULL, "up to %llu", (unsigned long long)rl.rlim_max);
    else
        report(d, STATE_WARN, "descriptors",
               "raise it: LimitNOFILE=65536 in the unit, or ulimit -n",
               "at most %llu, so fewer than %d connections at a time",
               (unsigned long long)rl.rlim_max, LIMIT_CONNECTIONS_COUNT);
}

/* ---- ports ---- */

/* errno of a trial bind, 0 when the address is free. The address was classified: it has a host and a port. */
static int try_bind(struct span address)
{
    ptrdiff_t colon = span_rfind_char(address, ':');
    struct span h = span_first(address, (size_t)colon);
    if (h.len >= 2 && h.ptr[0] == '[')
        h = span_of(h.ptr + 1, h.len - 2);
    char host[256], port[8];
    snprintf(host, sizeof host, "%.*s", (int)h.len, h.ptr);
    snprintf(port, sizeof port, "%.*s", 6, address.ptr + colon + 1);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM},
                    *a;
    bool is_any = !h.len || span_is(h, "*");
    if (getaddrinfo(is_any ? NULL : host, port, &hints, &a) != 0)
        return EADDRNOTAVAIL;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, e = 0;
    if (fd < 0) {
        e = errno;
    } else {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one,
                   sizeof one); /* lingering peers do not matter */
        /* SO_REUSEADDR lets two sockets bind; only listening tells. */
        if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 1) != 0)
            e = errno;
        close(fd);
    }
    freeaddrinfo(a);
    return e;
}

static void check_port(struct doctor *d, const char *address)
{
    struct span s = span_str(address);
    enum listen_kind kind = listen_classify(s);
    if (kind == LISTEN_INVALID || kind == LISTEN_UNIX)
        return; /* the first is reported by check_addresses */
    int e = try_bind(s);
    if (e == 0)
        report(d, STATE_OK, "port", NULL, "%s is free", address);
    else if (e == EADDRINUSE && d->is_serving)
        report(d, STATE_OK, "port", NULL, "%s is in use, by the running server it seems", address);
    else if (e == EADDRINUSE)
        report(d, STATE_WARN, "port",
               "end the program that holds it, or choose another with --listen",
               "%s is in use by another program", address);
    else
        report(d, e == EADDRNOTAVAIL || e == EAFNOSUPPORT ? STATE_WARN : STATE_FAIL, "port",
               "choose another address with --listen", "cannot listen on %s: %s", address,
               err_text(e));
}

static void check_addresses(struct doctor *d)
{
    struct err err = {0};
    if (options_check(d->o, &err) < 0)
        report(d, STATE_FAIL, "listen", err.hint[0] ? err.hint : NULL, "%s", err.msg);
    for (size_t i = 0; i < option_count(d->o, OPT_LISTEN); i++)
        check_port(d, option_item(d->o, OPT_LISTEN, i));
}

/* ---- providers ---- */

static void check_providers(struct doctor *d)
{
    static const struct {
        const char *name, *key;
    } providers[] = {
        {"google", "GOOGLE_API_KEY"},           {"openai", "OPENAI_API_KEY"},
        {"openrouter", "OPENROUTER_API_KEY"},   {"deepseek", "DEEPSEEK_API_KEY"},
        {"azure", "AZURE_OPENAI_API_KEY"},      {"azure_anthropic", "AZURE_ANTHROPIC_API_KEY"},
        {"zhipu", "ZHIPU_CODING_PLAN_API_KEY"}, {"bedrock", "AWS_ACCESS_KEY_ID"},
        {"dashscope", "DASHSCOPE_API_KEY"}};
    struct buf names = BUF_INIT(1024);
    for (size_t i = 0; i < ARRAY_LEN(providers); i++) {
        const char *key = options_env(d->o, providers[i].key);
        if (key && *key)
            buf_printf(&names, "%s%s", names.len ? ", " : "", providers[i].name);
    }
    if (names.len)
        report(d, STATE_OK, "providers", NULL, "local, and with a key: %s", buf_str(&names));
    else
        report(d, STATE_OK, "providers", NULL, "local only; no key of another provider is set");
    buf_done(&names);
}

static const char *environment(void *ctx, const char *name)
{
    const char *value = options_env(ctx, name);
    return value && value[0] ? value : NULL;
}

/* What would leave this machine for embeddings, and where to. */
static void check_embedder(struct doctor *d)
{
    union { /* the callback's context is not const */
        const struct options *in;
        void *out;
    } options = {.in = d->o};
    const struct registry_options ro = {
        .env = environment,
        .env_ctx = options.out,
        .config_dir = environment(options.out, "DEEPWIKI_CONFIG_DIR"),
        .embedder = option_str(d->o, OPT_EMBEDDER),
    };
    struct registry *r = NULL;
    struct err err = {0};
    if (registry_new(&ro, &r, &err) < 0) {
        report(d, STATE_FAIL, "embedder", err.hint[0] ? err.hint : NULL, "%s", err.msg);
        return;
    }
    const struct embedder *e = registry_embedder(r);
    struct buf to = BUF_INIT(4096);
    const char *address;
    for (size_t i = 0; e && (address = embedder_address(e, i)); i++)
        buf_printf(&to, "%s%s", i ? ", " : "", address);
    if (e)
        report(d, STATE_OK, "embedder", NULL, "%s; passages and questions are sent to %s",
               embedder_name(e), buf_str(&to));
    else
        report(d, STATE_OK, "embedder", NULL, "none; no passage is sent anywhere for its vector");
    buf_done(&to);
    registry_free(r);
}

static void check_all(struct doctor *d)
{
    report(d, STATE_OK, "version", NULL, "headwater %s", HEADWATER_VERSION);
    check_data(d);
    check_socket(d);
    check_addresses(d);
    check_descriptors(d);
    check_program(d, "git", "git version", "repositories of other machines cannot be fetched",
                  "install the package git");
    check_program(d, "ctags", "Universal Ctags",
                  "passages are cut without knowing functions and classes",
                  "install the package universal-ctags");
    check_providers(d);
    check_embedder(d);
}

int cmd_doctor(const struct options *o, struct err *err)
{
    struct doctor d = {.o = o, .is_json = option_bool(o, OPT_JSON), .out = BUF_INIT(1u << 20)};
    struct terminal t;
    terminal_init(&t, true);
    d.w = json_writer(&d.out);
    if (d.is_json) {
        jw_obj(&d.w);
        jw_key(&d.w, "checks");
        jw_arr(&d.w);
    }
    check_all(&d);
    if (d.is_json) {
        jw_end_arr(&d.w);
        jw_kbool(&d.w, "ok", !d.has_failed);
        jw_end_obj(&d.w);
        buf_putc(&d.out, '\n');
    }
    int r = terminal_write_foreign(&t, buf_span(&d.out), err);
    buf_done(&d.out);
    return r < 0 || d.has_failed ? EXIT_FAILED : EXIT_OK;
}
