#pragma once
/*
 * The walk: which files of a directory are to be read, in bytewise order of their paths (a directory sorts as if
 * its name ended in '/'), and which are not and why. Symbolic links below the root are reported, never followed;
 * every open is relative to a descriptor with O_NOFOLLOW, so a directory swapped for a link mid-walk is refused too.
 * Ignore rules, strongest first: options.excludes, .headwaterignore (deepest directory first), .gitignore (the same),
 * .git/info/exclude of the root, built-in names (filter.h). Blocks. Thread: owner.
 */
#include "ingest/ingest.h"
#include "ingest/skip.h"

struct walk_entry {
    struct span path; /* in `paths` */
    uint64_t size;
    int64_t mtime_ns;
    uint64_t stamp; /* see walk_stamp */
};

/*
 * Changes when the file does: of its size, times and inode. 0 when it was changed so lately that the next change could
 * have the same times (clocks of file systems tick in milliseconds): not to be trusted.
 */
struct stat;
uint64_t walk_stamp(const struct stat *st);

struct walk {
    struct walk_entry *entries; /* owned */
    size_t count, cap;
    struct pool paths;        /* owned */
    struct skip_list skipped; /* owned */
    uint64_t rules_hash;      /* of every ignore file and pattern seen */
    int root_fd;              /* owned; the directory, or the directory of the one file */
    size_t files_max_count;   /* LIMIT_WALK_FILES_COUNT, set by walk_open; a test may lower it */
    bool is_file;             /* the root is one file, already in entries */
};

/* Opens the root. -ERR_INVALID, -ERR_NOT_FOUND, -ERR_FORBIDDEN, -ERR_IO. *w is to be zero. */
int walk_open(struct walk *w, const struct ingest_options *options, struct err *err) MUST_CHECK;
/* -ERR_CANCELLED, -ERR_NO_MEMORY. Directories that cannot be read are skipped with the reason. */
int walk_run(struct walk *w, const struct ingest_options *options, struct err *err) MUST_CHECK;
void walk_close(struct walk *w);

/* Read-only descriptor of a regular file below root_fd, no link followed in any part, or -1 with errno. */
int walk_open_file(const struct walk *w, struct span path);
