/* The data directory: made when missing, private to its user, held by one process at a time. */
#include "store/sqlite_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int path_join(char ret[PATH_MAX], const char *dir, const char *name, struct err *err)
{
    int n = snprintf(ret, PATH_MAX, "%s/%s", dir, name);
    if (n < 0 || n >= PATH_MAX)
        return err_set(err, ERR_TOO_LARGE, "the path of the data directory is too long");
    return 0;
}

int dir_make(const char *dir, struct err *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s", dir);
    if (n <= 0 || n >= PATH_MAX)
        return err_set(err, ERR_INVALID, "the path of the data directory is empty or too long");
    for (char *at = path + 1;; at++) {
        if (*at && *at != '/')
            continue;
        char sep = *at;
        *at = 0;
        if (mkdir(path, 0700) && errno != EEXIST)
            return err_errno(err, errno, "cannot make the data directory '%s'", path);
        *at = sep;
        if (!sep)
            break;
    }
    struct stat st;
    if (stat(path, &st))
        return err_errno(err, errno, "cannot use the data directory '%s'", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "'%s' is not a directory", path);
    return 0;
}

static int refuse_busy(const char *dir, int fd, struct err *err)
{
    char pid[32];
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? n : 0] = 0;
    pid[strcspn(pid, "\n")] = 0;
    int r = err_set(err, ERR_BUSY, "the data directory '%s' is in use by process %s", dir,
                    *pid ? pid : "(unknown)");
    err_hint(err, "stop that process, talk to it instead, or choose another directory with --data");
    return r;
}

int dir_lock(const char *dir, int *ret_fd, struct err *err)
{
    char path[PATH_MAX];
    int r = path_join(path, dir, "headwater.lock", err);
    if (r)
        return r;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "cannot open the lock file '%s'", path);
    /* flock goes with the process, however it ends: a left-over file never needs to be removed */
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        r = errno == EWOULDBLOCK ? refuse_busy(dir, fd, err)
                                 : err_errno(err, errno, "cannot lock '%s'", path);
        close(fd);
        return r;
    }
    char pid[32];
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)n, 0) != n) {
        r = err_errno(err, errno, "cannot write the lock file '%s'", path);
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}
