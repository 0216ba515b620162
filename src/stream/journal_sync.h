#pragma once
/*
 * Flushes journal files to the disk on a thread of its own, so that a slow disk never holds up a
 * commit. A file is known by a duplicate of its descriptor. What was written is on the disk at most
 * interval_ms plus one flush later.
 */
#include "base/err.h"

#include <stdint.h>

struct journal_sync;
int journal_sync_new(int dir_fd, uint64_t interval_ms, struct journal_sync **ret,
                     struct err *err) MUST_CHECK;
/* Flushes once more, ends the thread. NULL is fine. */
void journal_sync_free(struct journal_sync *s);
/* The file now written; the one before is flushed a last time. Thread: any. */
void journal_sync_attach(struct journal_sync *s, int fd);
/* Something was written. One atomic exchange in the usual case. Thread: any. */
void journal_sync_mark(struct journal_sync *s);
/* Flushes that failed so far. Thread: any. */
uint64_t journal_sync_failures(const struct journal_sync *s);
