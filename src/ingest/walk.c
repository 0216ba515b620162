#include "ingest/walk.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "ingest/encoding.h"
#include "ingest/filter.h"
#include "ingest/ignore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLOCK_TICK_MS 10 /* what two changes with the same time may be apart, at most */
#define REASON_TOO_MANY "past the largest number of files of one source (1,000,000)"

struct name {
    char *name; /* owned */
    size_t len;
    struct stat st;
    int error; /* of fstatat */
};

struct names {
    struct name *items; /* owned */
    size_t count, cap;
};

/* Rules of one directory on the way down. */
struct level {
    struct level *up;
    size_t base; /* length of the directory's path with its '/' */
    struct ignore_list git, own;
};

struct walker {
    struct walk *w;
    const struct ingest_options *o;
    struct ignore_list excludes, includes, info;
    struct buf path; /* of the directory being read, with '/', or empty */
    struct err *err;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "not enough memory to list the files");
}

static int skip(struct walker *k, struct span path, bool dir, const char *reason)
{
    return skip_add(&k->w->skipped, path, dir, reason);
}

static void mix(uint64_t *hash, const void *ptr, size_t len)
{
    uint64_t pair[2] = {*hash, hash_stable(ptr, len)};
    *hash = hash_stable(pair, sizeof pair);
}

/* ---- ignore files ---- */

static int read_rules(struct walker *k, int dir, const char *name, struct ignore_list *ret)
{
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return 0;
    int r = 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        size_t size = (size_t)st.st_size < LIMIT_IGNORE_FILE_BYTES ? (size_t)st.st_size
                                                                   : LIMIT_IGNORE_FILE_BYTES;
        char *text = mem_try(size);
        ssize_t n = !text || fault_hit(FAULT_READ) ? -1 : read(fd, text, size);
        if (!text)
            r = -ERR_NO_MEMORY;
        if (n > 0) {
            mix(&k->w->rules_hash, text, (size_t)n);
            r = ignore_add_text(ret, span_of(text, (size_t)n));
        }
        mem_free(text);
    }
    close(fd);
    return r;
}

static int add_patterns(struct walker *k, const char *const *list, struct ignore_list *ret)
{
    for (size_t i = 0; list && list[i]; i++) {
        mix(&k->w->rules_hash, list[i], strlen(list[i]));
        if (ignore_add_line(ret, span_str(list[i])) < 0)
            return -ERR_NO_MEMORY;
    }
    mix(&k->w->rules_hash, "|", 1);
    return 0;
}

/* The strongest rule that says something. *ret_reason is set with IGNORE_EXCLUDED. */
static enum ignore_verdict judge(const struct walker *k, const struct level *level,
                                 struct span path, bool is_dir, const char **ret_reason)
{
    enum ignore_verdict v = ignore_match(&k->excludes, path, is_dir);
    *ret_reason = "excluded by the given patterns";
    for (const struct level *l = level; l && v == IGNORE_UNDECIDED; l = l->up) {
        v = ignore_match(&l->own, span_skip(path, l->base), is_dir);
        *ret_reason = "excluded by .headwaterignore";
    }
    for (const struct level *l = level; l && v == IGNORE_UNDECIDED; l = l->up) {
        v = ignore_match(&l->git, span_skip(path, l->base), is_dir);
        *ret_reason = "excluded by .gitignore";
    }
    if (v == IGNORE_UNDECIDED) {
        v = ignore_match(&k->info, path, is_dir);
        *ret_reason = "excluded by .git/info/exclude";
    }
    return v;
}

/* A file is included when it, or a directory above it, matches. */
static bool is_included(const struct walker *k, struct span path)
{
    if (!k->o->includes)
        return true;
    bool is_dir = false;
    while (path.len) {
        enum ignore_verdict v = ignore_match(&k->includes, path, is_dir);
        if (v != IGNORE_UNDECIDED)
            return v == IGNORE_EXCLUDED; /* the pattern matched: here that means wanted */
        ptrdiff_t slash = span_rfind_char(path, '/');
        path = span_first(path, slash < 0 ? 0 : (size_t)slash);
        is_dir = true;
    }
    return false;
}

/* ---- names of a directory ---- */

static void names_done(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        mem_free(n->items[i].name);
    mem_free(n->items);
    *n = (struct names){0};
}

static int names_add(struct names *n, int dir, const char *name)
{
    if (n->count == n->cap) {
        size_t cap = n->cap ? n->cap * 2 : 32, bytes;
        struct name *items =
            mul_size(cap, sizeof *items, &bytes) ? mem_try_realloc(n->items, bytes) : NULL;
        if (!items)
            return -ERR_NO_MEMORY;
        n->items = items;
        n->cap = cap;
    }
    struct name e = {.len = strlen(name)};
    e.name = mem_try_strndup(name, e.len);
    if (!e.name)
        return -ERR_NO_MEMORY;
    if (fstatat(dir, name, &e.st, AT_SYMLINK_NOFOLLOW) < 0)
        e.error = errno;
    n->items[n->count++] = e;
    return 0;
}

static bool is_dir(const struct name *n)
{
    return !n->error && S_ISDIR(n->st.st_mode);
}

static int by_path(const void *pa, const void *pb)
{
    const struct name *a = pa, *b = pb;
    size_t n = a->len < b->len ? a->len : b->len;
    int r = memcmp(a->name, b->name, n);
    if (r)
        return r;
    /* The NUL after a name stands for its end; '/' for what follows a directory's name. */
    unsigned char ca = a->len > n ? (unsigned char)a->name[n] : is_dir(a) ? '/' : 0;
    unsigned char cb = b->len > n ? (unsigned char)b->name[n] : is_dir(b) ? '/' : 0;
    return ca - cb;
}

/* Consumes fd. */
static int read_names(struct walker *k, int fd, struct names *ret)
{
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return -ERR_IO;
    }
    int r = 0;
    struct dirent *e;
    while (r == 0 && (e = readdir(d))) { /* NOLINT(concurrency-mt-unsafe): d is ours alone */
        if (span_is(span_str(e->d_name), ".") || span_is(span_str(e->d_name), ".."))
            continue;
        if (ret->count >= LIMIT_WALK_FILES_COUNT) {
            struct span path = buf_span(&k->path); /* with its '/', which skip_add puts back */
            r = skip(k, path.len ? span_first(path, path.len - 1) : SPAN_LIT("."), true,
                     "more names than are read of one directory (1,000,000); the rest is left out");
            break;
        }
        r = names_add(ret, fd, e->d_name);
    }
    closedir(d);
    if (r == 0 && ret->count)
        qsort(ret->items, ret->count, sizeof ret->items[0], by_path);
    return r;
}

static bool names_have(const void *dir, const char *name)
{
    const struct names *n = dir;
    for (size_t i = 0; i < n->count; i++)
        if (name[0] == '*'
                ? span_ends(span_of(n->items[i].name, n->items[i].len), span_str(name + 1))
                : span_is(span_of(n->items[i].name, n->items[i].len), name))
            return true;
    return false;
}

/* ---- the walk ---- */

static int64_t in_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

uint64_t walk_stamp(const struct stat *st)
{
    int64_t ctime = in_ns(st->st_ctim);
    if (ctime / 1000000 + CLOCK_TICK_MS >= clock_wall_ms())
        return 0;
    uint64_t parts[4] = {(uint64_t)st->st_size, (uint64_t)in_ns(st->st_mtim), (uint64_t)ctime,
                         (uint64_t)st->st_ino};
    uint64_t stamp = hash_stable(parts, sizeof parts);
    return stamp ? stamp : 1;
}

static int add_file(struct walker *k, struct span path, const struct stat *st)
{
    struct walk *w = k->w;
    if (w->count >= w->files_max_count)
        return skip(k, path, false, REASON_TOO_MANY);
    if (w->count == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 256, bytes;
        struct walk_entry *entries =
            mul_size(cap, sizeof *entries, &bytes) ? mem_try_realloc(w->entries, bytes) : NULL;
        if (!entries)
            return -ERR_NO_MEMORY;
        w->entries = entries;
        w->cap = cap;
    }
    const char *copy = pool_copy(&w->paths, path);
    if (!copy)
        return -ERR_NO_MEMORY;
    w->entries[w->count++] = (struct walk_entry){span_of(copy, path.len), (uint64_t)st->st_size,
                                                 in_ns(st->st_mtim), walk_stamp(st)};
    return 0;
}

static int visit_file(struct walker *k, const struct level *level, struct span path,
                      const struct name *n)
{
    const char *reason = NULL;
    if (n->error)
        return skip(k, path, false, "cannot be examined (no permission, or gone meanwhile)");
    if (S_ISLNK(n->st.st_mode))
        return skip(k, path, false, "a symbolic link; links are not followed");
    if (!S_ISREG(n->st.st_mode))
        return skip(k, path, false, "not a regular file");
    if (filter_is_vcs(span_of(n->name, n->len)))
        return skip(k, path, false, "version control data");
    if (!encoding_is_utf8(path))
        return skip(k, path, false, "its name is not valid UTF-8");
    enum ignore_verdict v = judge(k, level, path, false, &reason);
    if (v == IGNORE_EXCLUDED)
        return skip(k, path, false, reason);
    if (!is_included(k, path))
        return skip(k, path, false, "not among the patterns to include");
    if (v == IGNORE_UNDECIDED && (reason = filter_file(span_of(n->name, n->len))))
        return skip(k, path, false, reason);
    if (n->st.st_size == 0)
        return skip(k, path, false, "empty");
    if (n->st.st_size > (off_t)LIMIT_FILE_BYTES)
        return skip(k, path, false, "larger than 2 MB");
    return add_file(k, path, &n->st);
}

static int visit_directory(struct walker *k, int fd, struct level *up, unsigned depth,
                           bool may_filter);

static int enter_directory(struct walker *k, int parent, struct level *level,
                           const struct names *siblings, const struct name *n, unsigned depth)
{
    struct span path = buf_span(&k->path), name = span_of(n->name, n->len);
    const char *reason = filter_is_vcs(name);
    if (reason)
        return skip(k, path, true, reason);
    enum ignore_verdict v = judge(k, level, path, true, &reason);
    if (v != IGNORE_EXCLUDED)
        reason = v == IGNORE_INCLUDED ? NULL : filter_directory(name, siblings, names_have);
    if (reason)
        return skip(k, path, true, reason);
    if (depth + 1 > LIMIT_WALK_DEPTH)
        return skip(k, path, true, "deeper than 64 directories");
    int fd = openat(parent, n->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return skip(k, path, true,
                    errno == EACCES ? "no permission to read it" : "cannot be opened");
    buf_putc(&k->path, '/');
    if (buf_failed(&k->path)) {
        close(fd);
        return -ERR_NO_MEMORY;
    }
    return visit_directory(k, fd, level, depth + 1, v == IGNORE_UNDECIDED);
}

static int visit_name(struct walker *k, int fd, struct level *level, const struct names *names,
                      const struct name *n, unsigned depth)
{
    size_t base = k->path.len;
    if (k->o->cancel && atomic_load_explicit(k->o->cancel, memory_order_relaxed))
        return err_set(k->err, ERR_CANCELLED, "cancelled while listing the files");
    if (base + n->len + 2 > LIMIT_PATH_BYTES)
        return skip(k, span_of(n->name, n->len), is_dir(n), "its path is longer than 4096 bytes");
    buf_put(&k->path, n->name, n->len);
    if (buf_failed(&k->path))
        return -ERR_NO_MEMORY;
    int r = is_dir(n) ? enter_directory(k, fd, level, names, n, depth)
                      : visit_file(k, level, buf_span(&k->path), n);
    k->path.len = base;
    return r;
}

static struct span without_slash(struct span path)
{
    return path.len ? span_first(path, path.len - 1) : path;
}

/* Consumes fd; k->path is its path with '/'. */
static int visit_directory(struct walker *k, int fd, struct level *up, unsigned depth,
                           bool may_filter)
{
    struct level level = {.up = up, .base = k->path.len};
    struct names names = {0};
    const char *reason = NULL;
    int list = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = list < 0 ? -ERR_IO : read_names(k, list, &names);
    if (r == -ERR_IO) {
        r = skip(k, without_slash(buf_span(&k->path)), true, "cannot be listed");
        goto out;
    }
    if (r == 0 && may_filter && k->path.len) {
        struct span path = without_slash(buf_span(&k->path));
        struct span name = span_skip(path, (size_t)(span_rfind_char(path, '/') + 1));
        reason = filter_directory_inside(name, &names, names_have);
        if (reason) {
            r = skip(k, path, true, reason);
            goto out;
        }
    }
    if (r == 0)
        r = read_rules(k, fd, ".gitignore", &level.git);
    if (r == 0)
        r = read_rules(k, fd, ".headwaterignore", &level.own);
    for (size_t i = 0; r == 0 && i < names.count; i++)
        r = visit_name(k, fd, &level, &names, &names.items[i], depth);
out:
    names_done(&names);
    ignore_done(&level.git);
    ignore_done(&level.own);
    close(fd);
    return r;
}

static int open_parent(struct walk *w, const char *root, const struct stat *st, struct err *err)
{
    char *real = realpath(root, NULL);
    struct walker k = {.w = w};
    if (!real)
        return err_errno(err, errno, "cannot read '%s'", root);
    char *slash = strrchr(real, '/');
    struct span name = span_str(slash ? slash + 1 : real);
    int r = 0;
    if (slash && slash != real)
        *slash = '\0';
    w->root_fd = open(slash == real ? "/" : real, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (w->root_fd < 0)
        r = err_errno(err, errno, "cannot open the directory of '%s'", root);
    else if (!encoding_is_utf8(name))
        r = err_set(err, ERR_INVALID, "the name of the file '%s' is not valid UTF-8", root);
    else if (st->st_size > (off_t)LIMIT_FILE_BYTES)
        r = skip(&k, name, false, "larger than 2 MB");
    else
        r = add_file(&k, name, st);
    mem_free(real);
    return r == -ERR_NO_MEMORY ? no_memory(err) : r;
}

int walk_open(struct walk *w, const struct ingest_options *options, struct err *err)
{
    struct stat st;
    w->root_fd = -1;
    w->files_max_count = LIMIT_WALK_FILES_COUNT;
    if (!options->root || options->root[0] != '/')
        return err_set(err, ERR_INVALID, "the source's path '%s' is not absolute",
                       options->root ? options->root : "");
    if (stat(options->root, &st) < 0)
        return err_errno(err, errno, "cannot read '%s'", options->root);
    if (S_ISREG(st.st_mode)) {
        w->is_file = true;
        if (access(options->root, R_OK) < 0)
            return err_errno(err, errno, "cannot read '%s'", options->root);
        return open_parent(w, options->root, &st, err);
    }
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "'%s' is neither a directory nor a file", options->root);
    w->root_fd = open(options->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->root_fd < 0)
        return err_errno(err, errno, "cannot read '%s'", options->root);
    return 0;
}

int walk_run(struct walk *w, const struct ingest_options *options, struct err *err)
{
    struct walker k = {.w = w, .o = options, .err = err, .path = BUF_INIT(LIMIT_PATH_BYTES * 2)};
    if (w->is_file)
        return 0;
    w->count = w->skipped.count = 0; /* a walk that was cancelled begins again */
    int r = add_patterns(&k, options->excludes, &k.excludes);
    if (r == 0)
        r = add_patterns(&k, options->includes, &k.includes);
    int git = r == 0
                  ? openat(w->root_fd, ".git/info", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                  : -1;
    if (git >= 0)
        r = read_rules(&k, git, "exclude", &k.info);
    close_fd(&git);
    int fd = r == 0 ? openat(w->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (r == 0 && fd < 0)
        r = err_errno(err, errno, "cannot read '%s'", options->root);
    else if (r == 0)
        r = visit_directory(&k, fd, NULL, 0, false);
    ignore_done(&k.excludes);
    ignore_done(&k.includes);
    ignore_done(&k.info);
    buf_done(&k.path);
    return r == -ERR_NO_MEMORY ? no_memory(err) : r;
}

void walk_close(struct walk *w)
{
    mem_free(w->entries);
    pool_done(&w->paths);
    skip_done(&w->skipped);
    close_fd(&w->root_fd);
    *w = (struct walk){.root_fd = -1};
}

int walk_open_file(const struct walk *w, struct span path)
{
    int dir = w->root_fd;
    struct span part;
    while (span_next(&path, '/', &part)) {
        char name[NAME_MAX + 1];
        if (part.len > NAME_MAX) {
            errno = ENAMETOOLONG;
            break;
        }
        memcpy(name, part.ptr, part.len);
        name[part.len] = '\0';
        bool is_last = !path.len;
        int fd = openat(dir, name,
                        O_CLOEXEC | O_NOFOLLOW |
                            (is_last ? O_RDONLY | O_NONBLOCK | O_NOCTTY : O_PATH | O_DIRECTORY));
        int e = errno;
        if (dir != w->root_fd)
            close(dir);
        errno = e;
        if (fd < 0 || is_last)
            return fd;
        dir = fd;
    }
    return -1;
}
