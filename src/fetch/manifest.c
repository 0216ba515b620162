/*
 * The list of what a tree holds, beside it: "headwater-tree 1 REVISION", then "ID PATH" for files and "! REASON<TAB>PATH" for what was
 * left out, each ended by NUL. It is written last, by rename: a tree without one is half done and made again.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "fetch/clone_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD "headwater-tree 1 "
#define ID_MAX 64

/* Reasons are static text: what is read back is looked up here. */
static const char *const reasons[] = {
    CLONE_SKIP_SYMLINK, CLONE_SKIP_SUBMODULE, CLONE_SKIP_LFS,    CLONE_SKIP_LARGE,
    CLONE_SKIP_PATH,    CLONE_SKIP_CLASH,     CLONE_SKIP_BROKEN, CLONE_SKIP_WRITE,
};

void manifest_init(struct manifest *m)
{
    *m = (struct manifest){0};
    map_init(&m->files);
}

void manifest_done(struct manifest *m)
{
    size_t at = 0;
    struct span key;
    void *value;
    while (map_each(&m->files, &at, &key, &value))
        mem_free(value);
    map_done(&m->files);
    for (size_t i = 0; i < m->skipped_count; i++)
        mem_free(m->skipped[i].path);
    mem_free(m->skipped);
    manifest_init(m);
}

int manifest_add(struct manifest *m, struct span path, const char *id)
{
    char *copy = mem_try_strndup(id, strlen(id));
    void *old = NULL;
    if (!copy || map_set(&m->files, path, copy, &old) < 0) {
        mem_free(copy);
        return -ERR_NO_MEMORY;
    }
    mem_free(old);
    return 0;
}

int manifest_skip(struct manifest *m, struct span path, const char *reason)
{
    if (m->skipped_count >= LIMIT_SKIPPED_COUNT)
        return 0;
    if (m->skipped_count == m->skipped_cap) {
        size_t cap = m->skipped_cap ? 2 * m->skipped_cap : 64, bytes;
        struct clone_skipped *grown =
            mul_size(cap, sizeof *grown, &bytes) ? mem_try_realloc(m->skipped, bytes) : NULL;
        if (!grown)
            return -ERR_NO_MEMORY;
        m->skipped = grown;
        m->skipped_cap = cap;
    }
    char *copy = mem_try_strndup(path.ptr, path.len);
    if (!copy)
        return -ERR_NO_MEMORY;
    m->skipped[m->skipped_count++] = (struct clone_skipped){copy, reason};
    return 0;
}

static const char *reason_of(struct span text)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (span_is(text, reasons[i]))
            return reasons[i];
    return NULL;
}

static int take_record(struct manifest *m, struct span record)
{
    if (span_starts(record, SPAN_LIT("! "))) {
        ptrdiff_t tab = span_find_char(record, '\t');
        const char *reason = tab > 2 ? reason_of(span_of(record.ptr + 2, (size_t)tab - 2)) : NULL;
        return reason ? manifest_skip(m, span_skip(record, (size_t)tab + 1), reason) : -ERR_CORRUPT;
    }
    ptrdiff_t space = span_find_char(record, ' ');
    char id[ID_MAX + 1];
    if (space <= 0 || space > ID_MAX || (size_t)space + 1 >= record.len)
        return -ERR_CORRUPT;
    snprintf(id, sizeof id, SPAN_FMT, SPAN_ARG(span_first(record, (size_t)space)));
    return manifest_add(m, span_skip(record, (size_t)space + 1), id);
}

static int parse(struct manifest *m, struct span text)
{
    struct span record;
    bool is_ended = text.len && text.ptr[text.len - 1] == 0;
    if (!is_ended || !span_next(&text, 0, &record) || !span_starts(record, SPAN_LIT(HEAD)))
        return -ERR_CORRUPT;
    record = span_skip(record, strlen(HEAD));
    if (!record.len || record.len > ID_MAX)
        return -ERR_CORRUPT;
    snprintf(m->revision, sizeof m->revision, SPAN_FMT, SPAN_ARG(record));
    int r = 0;
    while (r == 0 && span_next(&text, 0, &record) && record.len)
        r = take_record(m, record);
    return r;
}

static bool read_all(int fd, size_t size, struct buf *out)
{
    if (!buf_reserve(out, size))
        return false;
    while (out->len < size) {
        ssize_t n = read(fd, out->ptr + out->len, size - out->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        out->len += (size_t)n;
    }
    return true;
}

int manifest_read(int dir_fd, struct manifest *m, struct err *err)
{
    struct buf text = BUF_INIT(LIMIT_GIT_MANIFEST);
    struct stat st;
    int fd = openat(dir_fd, "manifest", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), r = 0;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        read_all(fd, (size_t)st.st_size, &text))
        r = parse(m, buf_span(&text));
    if (fd >= 0)
        close(fd);
    buf_done(&text);
    if (r == -ERR_CORRUPT) { /* then everything is written again */
        manifest_done(m);
        r = 0;
    }
    return r < 0 ? err_set(err, ERR_NO_MEMORY, "out of memory for the list of a clone's files") : 0;
}

static int write_all(int fd, struct span s)
{
    while (s.len) {
        ssize_t n = write(fd, s.ptr, s.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : ENOSPC;
        s = span_skip(s, (size_t)n);
    }
    return 0;
}

int manifest_write(int dir_fd, const struct manifest *m, struct err *err)
{
    struct buf b = BUF_INIT(LIMIT_GIT_MANIFEST);
    size_t at = 0;
    struct span path;
    void *id;
    buf_printf(&b, HEAD "%s%c", m->revision, 0);
    while (map_each(&m->files, &at, &path, &id)) {
        buf_puts(&b, id);
        buf_putc(&b, ' ');
        buf_put_span(&b, path);
        buf_putc(&b, 0);
    }
    for (size_t i = 0; i < m->skipped_count; i++)
        buf_printf(&b, "! %s\t%s%c", m->skipped[i].reason, m->skipped[i].path, 0);
    int why = buf_failed(&b) ? ENOMEM : 0;
    int fd =
        why ? -1 : openat(dir_fd, "manifest.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (!why)
        why = fd < 0 ? errno : write_all(fd, buf_span(&b));
    if (fd >= 0 && close(fd) < 0 && !why)
        why = errno;
    if (!why && renameat(dir_fd, "manifest.new", dir_fd, "manifest") < 0)
        why = errno;
    buf_done(&b);
    return why ? err_errno(err, why, "cannot write the list of a clone's files") : 0;
}
