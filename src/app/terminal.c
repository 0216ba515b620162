#include "app/terminal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

void terminal_init(struct terminal *t, bool is_quiet)
{
    *t = (struct terminal){.out_is_tty = isatty(STDOUT_FILENO),
                           .err_is_tty = isatty(STDERR_FILENO),
                           .is_quiet = is_quiet,
                           .columns = 80};
    struct winsize w;
    if (t->err_is_tty && ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 10)
        t->columns = w.ws_col;
}

void put_visible(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        unsigned char next = i + 1 < text.len ? (unsigned char)text.ptr[i + 1] : 0;
        bool is_c1 = c == 0xc2 && next >= 0x80 && next < 0xa0;
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || is_c1) {
            buf_putc(out, '?');
            i += is_c1;
        } else {
            buf_putc(out, (char)c);
        }
    }
}

void put_bytes_for_people(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double v = (double)bytes;
    size_t i = 0;
    for (; v >= 1000 && i + 1 < ARRAY_LEN(units); i++)
        v /= 1000;
    buf_printf(out, i ? "%.1f %s" : "%.0f %s", v, units[i]);
}

void terminal_progress(struct terminal *t, const json_t *status)
{
    if (t->is_quiet)
        return;
    const char *stage = json_str(status, "stage", "working"),
               *message = json_str(status, "message", "");
    double part = json_num(status, "progress", -1.0);
    struct buf line = BUF_INIT(TERMINAL_LINE_MAX - 1), raw = BUF_INIT(4096);
    buf_puts(&raw, stage);
    if (part >= 0 && part <= 1)
        buf_printf(&raw, " %d%%", (int)floor(part * 100));
    if (message[0])
        buf_printf(&raw, ": %s", message);
    put_visible(&line, span_first(buf_span(&raw), TERMINAL_LINE_MAX - 8));
    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] == '\n')
            line.ptr[i] = ' ';
    if (t->err_is_tty) /* cut by bytes: at most too short, never wrapped */
        line.len = line.len < t->columns ? line.len : t->columns - 1;
    if (line.len && !span_is(buf_span(&line), t->shown)) {
        if (t->err_is_tty)
            fprintf(stderr, "\r\033[K%.*s", (int)line.len, line.ptr);
        else
            fprintf(stderr, "%.*s\n", (int)line.len, line.ptr);
        (void)fflush(stderr);
        t->has_line = t->err_is_tty;
        memcpy(t->shown, line.ptr, line.len);
        t->shown[line.len] = 0;
    }
    buf_done(&raw);
    buf_done(&line);
}

void terminal_clear(struct terminal *t)
{
    if (t->has_line) {
        fputs("\r\033[K", stderr);
        (void)fflush(stderr);
    }
    t->has_line = false;
}

int terminal_write(struct terminal *t, struct span text, struct err *err)
{
    terminal_clear(t);
    size_t n = text.len ? fwrite(text.ptr, 1, text.len, stdout) : 0;
    if (n != text.len || fflush(stdout) != 0)
        return err_errno(err, errno, "cannot write to standard output");
    return 0;
}

int terminal_write_foreign(struct terminal *t, struct span text, struct err *err)
{
    if (!t->out_is_tty)
        return terminal_write(t, text, err);
    struct buf clean = BUF_INIT(text.len + 1);
    put_visible(&clean, text);
    int r = buf_failed(&clean) ? err_set(err, ERR_NO_MEMORY, "no memory to print the answer")
                               : terminal_write(t, buf_span(&clean), err);
    buf_done(&clean);
    return r;
}
