#include "stream/journal_sync.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define RETIRED_MAX 8

struct journal_sync {
    struct lock lock;
    struct cond wake;
    pthread_t thread;
    uint64_t interval_ms;
    int dir_fd;  /* borrowed from the journal */
    int current; /* owned duplicate, or -1 */
    int retired[RETIRED_MAX];
    size_t retired_count;
    bool is_dir_new; /* a file was created since the directory was flushed */
    bool stopping;
    _Atomic bool dirty;
    _Atomic uint64_t failures;
    bool was_failing; /* sync thread's: say it once */
};

static void flush_fd(struct journal_sync *s, int fd)
{
    int r = fault_hit(FAULT_SYNC) ? (errno = EIO, -1) : fdatasync(fd);
    if (r < 0) {
        atomic_fetch_add(&s->failures, 1);
        if (!s->was_failing)
            LOG_ERROR(
                "stream",
                "the journal could not be flushed to disk; a power cut may lose recent events",
                LOG_S("error", err_text(errno)));
    }
    s->was_failing = r < 0;
}

/* Entered and left with the lock held; the disk is waited for without it. */
static void flush_all(struct journal_sync *s)
{
    int fds[RETIRED_MAX], current = s->current >= 0 ? fcntl(s->current, F_DUPFD_CLOEXEC, 0) : -1;
    size_t count = s->retired_count;
    memcpy(fds, s->retired, count * sizeof fds[0]);
    s->retired_count = 0;
    bool is_dir_new = s->is_dir_new;
    s->is_dir_new = false;
    lock_leave(&s->lock);
    for (size_t i = 0; i < count; i++) {
        flush_fd(s, fds[i]);
        close(fds[i]);
    }
    if (current >= 0) {
        flush_fd(s, current);
        close(current);
    }
    if (is_dir_new)
        (void)fsync(s->dir_fd); /* best effort: names usually reach the disk with the data */
    lock_enter(&s->lock);
}

static void *sync_main(void *arg)
{
    struct journal_sync *s = arg;
    pthread_setname_np(pthread_self(), "log-sync");
    uint64_t last_ms = 0;
    lock_enter(&s->lock);
    while (!s->stopping) {
        if (!atomic_load(&s->dirty)) {
            cond_wait(&s->wake, &s->lock);
            continue;
        }
        uint64_t now = clock_ms();
        if (now < last_ms + s->interval_ms) {
            cond_wait_ms(&s->wake, &s->lock, last_ms + s->interval_ms - now);
            continue;
        }
        atomic_store(&s->dirty, false);
        flush_all(s);
        last_ms = clock_ms();
    }
    flush_all(s);
    lock_leave(&s->lock);
    return NULL;
}

int journal_sync_new(int dir_fd, uint64_t interval_ms, struct journal_sync **ret, struct err *err)
{
    struct journal_sync *s = mem_alloc(sizeof *s);
    lock_init(&s->lock);
    cond_init(&s->wake);
    s->interval_ms = interval_ms;
    s->dir_fd = dir_fd;
    s->current = -1;
    int r = pthread_create(&s->thread, NULL, sync_main, s);
    if (r) {
        mem_free(s);
        return err_errno(err, r, "cannot start the thread that flushes the journal");
    }
    *ret = s;
    return 0;
}

void journal_sync_free(struct journal_sync *s)
{
    if (!s)
        return;
    lock_enter(&s->lock);
    s->stopping = true;
    cond_signal(&s->wake);
    lock_leave(&s->lock);
    pthread_join(s->thread, NULL);
    if (s->current >= 0)
        close(s->current);
    cond_done(&s->wake);
    lock_done(&s->lock);
    mem_free(s);
}

void journal_sync_attach(struct journal_sync *s, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    lock_enter(&s->lock);
    if (s->current >= 0 && s->retired_count < RETIRED_MAX)
        s->retired[s->retired_count++] = s->current;
    else if (s->current >= 0)
        close(s->current); /* the kernel writes it out by itself; eight files in one interval is no
                              normal load */
    s->current = copy;
    s->is_dir_new = true;
    lock_leave(&s->lock);
}

void journal_sync_mark(struct journal_sync *s)
{
    if (atomic_exchange(&s->dirty, true))
        return;
    lock_enter(&s->lock);
    cond_signal(&s->wake);
    lock_leave(&s->lock);
}

uint64_t journal_sync_failures(const struct journal_sync *s)
{
    return atomic_load(&s->failures);
}
