#include "index/build_priv.h"

#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SECTION_BUFFER (256u << 10)

int temp_open(const char *path, struct err *err)
{
    char name[SEG_PATH_MAX + 16];
    int n = snprintf(name, sizeof name, "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof name)
        return err_set(err, ERR_INVALID, "path of the index is longer than %u bytes", SEG_PATH_MAX);
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot create a temporary file beside '%s'", path);
    unlink(name);
    return fd;
}

int section_init(struct section *s, int fd, struct err *err)
{
    *s = (struct section){.fd = fd, .buf = mem_try(SECTION_BUFFER)};
    if (!s->buf)
        return err_set(err, ERR_NO_MEMORY, "no memory for a write buffer of the index");
    return 0;
}

void section_done(struct section *s)
{
    if (s->fd > 0)
        close(s->fd);
    mem_free(s->buf);
    *s = (struct section){0};
}

int write_all(int fd, const void *ptr, size_t len)
{
    const char *p = ptr;
    while (len > 0) {
        if (fault_hit(FAULT_WRITE))
            return -EIO;
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

void section_flush(struct section *s)
{
    if (s->used == 0 || s->error)
        return;
    s->crc = crc32c(s->crc, s->buf, s->used);
    s->error = -write_all(s->fd, s->buf, s->used);
    s->used = 0;
}

void section_put(struct section *s, const void *ptr, size_t len)
{
    const char *p = ptr;
    s->len += len;
    while (len > 0 && !s->error) {
        size_t n = SECTION_BUFFER - s->used < len ? SECTION_BUFFER - s->used : len;
        memcpy(s->buf + s->used, p, n);
        s->used += n;
        p += n;
        len -= n;
        if (s->used == SECTION_BUFFER)
            section_flush(s);
    }
}

int file_publish(const char *partial, const char *path, bool *ret_is_renamed)
{
    char name[SEG_PATH_MAX + 80];
    struct span dir = index_dir_of(path);
    int n = snprintf(name, sizeof name, SPAN_FMT ".", SPAN_ARG(dir));
    if (n < 0 || (size_t)n >= sizeof name)
        return -ENAMETOOLONG;
    if (rename(partial, path) < 0)
        return -errno;
    *ret_is_renamed = true;
    int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}
