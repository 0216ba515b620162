#include "base/log.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

/* The one logger of the process. */
static struct {
    struct lock lock;
    struct cond wake;
    struct buf pending;
    uint64_t dropped;
    bool running, stopping;
    pthread_t thread;
    struct log_options options;
    int fd;
    uint64_t written;
    char path[4096];
} logger = {.lock = LOCK_INIT, .wake = COND_INIT, .fd = STDERR_FILENO};
static _Atomic int min_level = LOG_LEVEL_INFO;

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&min_level, memory_order_relaxed);
}

bool log_parse_level(struct span name, enum log_level *ret)
{
    for (int i = 0; i <= LOG_LEVEL_OFF; i++) {
        if (span_eq_nocase(name, span_str(level_names[i]))) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    if (span_eq_nocase(name, SPAN_LIT("warning")))
        *ret = LOG_LEVEL_WARN;
    else if (span_eq_nocase(name, SPAN_LIT("critical")))
        *ret = LOG_LEVEL_ERROR;
    else
        return false;
    return true;
}

static void write_all(int fd, const char *p, size_t len)
{
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nowhere left to complain to */
        p += n;
        len -= (size_t)n;
    }
}

static void put_text_value(struct buf *b, struct span s)
{
    bool plain = s.len > 0;
    for (size_t i = 0; i < s.len && plain; i++)
        plain = s.ptr[i] > ' ' && s.ptr[i] != '"' && s.ptr[i] != '=' && s.ptr[i] != 0x7f;
    if (plain)
        buf_put_span(b, s);
    else
        json_put_string(b, s);
}

static void format_field(struct buf *b, const struct log_field *f, struct json_writer *w)
{
    char text[32];
    struct span value = f->span;
    if (f->kind == LOG_FIELD_U64)
        value =
            span_of(text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)f->u64));
    else if (f->kind == LOG_FIELD_I64)
        value = span_of(text, (size_t)snprintf(text, sizeof text, "%lld", (long long)f->i64));
    else if (f->kind == LOG_FIELD_NUM)
        value = span_of(text, (size_t)snprintf(text, sizeof text, "%.6g", f->num));
    if (w) {
        jw_key(w, f->key);
        if (f->kind == LOG_FIELD_SPAN)
            jw_span(w, value);
        else
            jw_raw(w, value);
        return;
    }
    buf_printf(b, " %s=", f->key);
    put_text_value(b, value);
}

static void format_record(struct buf *b, enum log_level level, const char *component,
                          const char *msg, const struct log_field *fields, size_t count)
{
    char when[40];
    clock_iso(clock_wall_ms(), when, sizeof when);
    if (logger.options.json) {
        struct json_writer w = json_writer(b);
        jw_obj(&w);
        jw_kstr(&w, "time", when);
        jw_kstr(&w, "level", level_names[level]);
        jw_kstr(&w, "component", component);
        jw_kstr(&w, "msg", msg);
        for (size_t i = 0; i < count; i++)
            format_field(b, &fields[i], &w);
        jw_end_obj(&w);
    } else {
        buf_printf(b, "%s %-5s %s: %s", when, level_names[level], component, msg);
        for (size_t i = 0; i < count; i++)
            format_field(b, &fields[i], NULL);
    }
    buf_putc(b, '\n');
}

void log_write(enum log_level level, const char *component, const char *msg,
               const struct log_field *fields, size_t count)
{
    struct buf line = BUF_INIT(LIMIT_LOG_LINE);
    format_record(&line, level, component, msg, fields, count);
    if (buf_failed(&line)) {
        buf_done(&line);
        return;
    }
    lock_enter(&logger.lock);
    if (!logger.running) {
        write_all(logger.fd, line.ptr, line.len);
    } else if (logger.pending.len + line.len > LIMIT_LOG_BACKLOG) {
        logger.dropped++;
    } else {
        buf_put_span(&logger.pending, buf_span(&line));
        cond_signal(&logger.wake);
    }
    lock_leave(&logger.lock);
    buf_done(&line);
}

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

/* path.N-1 → path.N …, path → path.1; a failed rename loses a backup, never the log. */
static void rotate(void)
{
    char from[4200], to[4200];
    for (unsigned i = logger.options.backups_count; i > 0; i--) {
        snprintf(to, sizeof to, "%s.%u", logger.path, i);
        if (i > 1)
            snprintf(from, sizeof from, "%s.%u", logger.path, i - 1);
        else
            snprintf(from, sizeof from, "%s", logger.path);
        (void)rename(from, to); /* the first rotations have nothing to move */
    }
    if (!logger.options.backups_count && truncate(logger.path, 0) < 0)
        return;
    int fd = open_file(logger.path);
    if (fd < 0)
        return;
    close(logger.fd);
    logger.fd = fd;
    logger.written = 0;
}

static void *logger_main(void *arg)
{
    (void)arg;
    struct buf batch = BUF_INIT(LIMIT_LOG_BACKLOG + LIMIT_LOG_LINE);
    lock_enter(&logger.lock);
    while (!logger.stopping || logger.pending.len) {
        if (!logger.pending.len) {
            cond_wait(&logger.wake, &logger.lock);
            continue;
        }
        struct buf swap = batch;
        batch = logger.pending;
        logger.pending = swap;
        uint64_t dropped = logger.dropped;
        logger.dropped = 0;
        lock_leave(&logger.lock);
        write_all(logger.fd, batch.ptr, batch.len);
        if (dropped) {
            char note[96];
            int n =
                snprintf(note, sizeof note, "%llu log records dropped: the log could not keep up\n",
                         (unsigned long long)dropped);
            write_all(logger.fd, note, (size_t)n);
        }
        logger.written += batch.len;
        if (logger.options.path && logger.options.max_bytes &&
            logger.written >= logger.options.max_bytes)
            rotate();
        buf_clear(&batch);
        lock_enter(&logger.lock);
    }
    lock_leave(&logger.lock);
    buf_done(&batch);
    return NULL;
}

int log_start(const struct log_options *options, struct err *err)
{
    logger.options = *options;
    logger.fd = STDERR_FILENO;
    if (options->path) {
        snprintf(logger.path, sizeof logger.path, "%s", options->path);
        logger.options.path = logger.path;
        int fd = open_file(logger.path);
        if (fd < 0) {
            int e = errno;
            logger.options.path = NULL;
            return err_errno(err, e, "cannot open log file '%s'", options->path);
        }
        struct stat st;
        logger.written = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
        logger.fd = fd;
    }
    atomic_store(&min_level, (int)options->level);
    buf_init(&logger.pending, LIMIT_LOG_BACKLOG + LIMIT_LOG_LINE);
    logger.stopping = false;
    int r = pthread_create(&logger.thread, NULL, logger_main, NULL);
    if (r)
        return err_errno(err, r, "cannot start the log thread");
    logger.running = true;
    return 0;
}

void log_stop(void)
{
    lock_enter(&logger.lock);
    bool was_running = logger.running;
    logger.stopping = true;
    logger.running = false;
    cond_signal(&logger.wake);
    lock_leave(&logger.lock);
    if (!was_running)
        return;
    pthread_join(logger.thread, NULL);
    if (logger.fd != STDERR_FILENO)
        close(logger.fd);
    logger.fd = STDERR_FILENO;
    buf_done(&logger.pending);
}
