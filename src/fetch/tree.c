/*
 * The files of a commit from git's objects: `ls-tree` names them, `cat-file --batch-check` measures those that are new, and
 * `cat-file --batch` gives their bytes. A path is taken apart before it is used; only directories and regular files that we made
 * are ever opened, each relative to the tree's own descriptor.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "fetch/clone_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID_MAX 64
#define REMOVE_DEPTH_MAX (LIMIT_WALK_DEPTH + 16)

struct item {
    char *path; /* owned */
    char id[ID_MAX + 1];
    bool is_wanted; /* to be written: new or changed, and of a size that we read */
};

struct tree {
    struct clone *c;
    struct manifest *m;
    int fd;
    struct item *items; /* those to be written, in the order in which they are asked for */
    size_t count, cap;
    struct buf held; /* a piece of output that is not a whole record yet */
    uint64_t bytes;  /* of all files written */
    size_t seen;
    /* cat-file --batch: where in its output we are */
    size_t at;
    uint64_t left; /* of the blob under way, and the line end behind it */
    struct buf blob;
    bool in_blob;
};

/* ---- paths ---- */

static bool is_git_dir(struct span piece)
{
    return span_eq_nocase(piece, SPAN_LIT(".git"));
}

static bool is_safe_path(struct span path)
{
    struct span piece;
    size_t depth = 0;
    if (!path.len || path.len > LIMIT_PATH_BYTES || path.ptr[path.len - 1] == '/')
        return false;
    while (span_next(&path, '/', &piece))
        if (!piece.len || piece.len > NAME_MAX || span_is(piece, ".") || span_is(piece, "..") ||
            is_git_dir(piece) || ++depth > LIMIT_WALK_DEPTH)
            return false;
    return true;
}

/* Removes what is under that name, whatever it is; not through links. */
static int remove_at(int dir_fd, const char *name, unsigned depth)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return errno;
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 || !depth ? NULL : fdopendir(fd);
    if (!d) {
        int why = fd < 0 ? errno : ELOOP;
        if (fd >= 0)
            close(fd);
        return why;
    }
    int why = 0;
    const struct dirent *e;
    while (!why && (e = readdir(d))) /* NOLINT(concurrency-mt-unsafe): d is ours alone */
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            why = remove_at(dirfd(d), e->d_name, depth - 1);
    (void)closedir(d);
    return why ? why : unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? errno : 0;
}

int tree_remove(int dir_fd, const char *name, struct err *err)
{
    int why = remove_at(dir_fd, name, REMOVE_DEPTH_MAX);
    return why ? err_errno(err, why, "cannot remove '%s' of a clone", name) : 0;
}

/* Folders above a path, as far as they are empty, go with it. */
static void prune(int fd, char *path)
{
    for (char *slash; (slash = strrchr(path, '/'));) {
        *slash = 0;
        if (unlinkat(fd, path, AT_REMOVEDIR) < 0)
            return;
    }
}

static int make_parents(int fd, char *path)
{
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        int r = mkdirat(fd, path, 0700), why = r < 0 ? errno : 0;
        *slash = '/';
        if (why && why != EEXIST)
            return why;
    }
    return 0;
}

/* ---- what the commit holds ---- */

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "out of memory for the files of a repository");
}

static int push(struct tree *t, struct span path, const char *id, struct err *err)
{
    if (t->count == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 256, bytes;
        struct item *grown =
            mul_size(cap, sizeof *grown, &bytes) ? mem_try_realloc(t->items, bytes) : NULL;
        if (!grown)
            return no_memory(err);
        t->items = grown;
        t->cap = cap;
    }
    struct item *i = &t->items[t->count];
    *i = (struct item){.path = mem_try_strndup(path.ptr, path.len)};
    if (!i->path)
        return no_memory(err);
    snprintf(i->id, sizeof i->id, "%s", id);
    t->count++;
    return 0;
}

static int skip(struct tree *t, struct span path, const char *reason, struct err *err)
{
    return manifest_skip(t->m, path, reason) < 0 ? no_memory(err) : 0;
}

/* "MODE TYPE ID<TAB>PATH" */
static int take_entry(struct tree *t, struct span record, struct err *err)
{
    struct span mode, type, id, path = record;
    if (++t->seen > LIMIT_GIT_FILES_COUNT) {
        err_set(err, ERR_TOO_LARGE, "the repository has more than %d files", LIMIT_GIT_FILES_COUNT);
        err_hint(err, "clone a part of it by hand and index that folder");
        return -ERR_TOO_LARGE;
    }
    if (!span_next(&path, ' ', &mode) || !span_next(&path, ' ', &type) ||
        !span_next(&path, '\t', &id) || id.len > ID_MAX)
        return err_set(err, ERR_UPSTREAM, "git listed the files in a form we do not know");
    if (span_is(type, "commit"))
        return skip(t, path, CLONE_SKIP_SUBMODULE, err);
    if (!is_safe_path(path))
        return skip(t, path, CLONE_SKIP_PATH, err);
    if (span_is(mode, "120000"))
        return skip(t, path, CLONE_SKIP_SYMLINK, err);
    if (!span_is(type, "blob"))
        return skip(t, path, CLONE_SKIP_BROKEN, err);
    char text[ID_MAX + 1];
    snprintf(text, sizeof text, SPAN_FMT, SPAN_ARG(id));
    return push(t, path, text, err);
}

/* Hands over whole records; the rest waits for the next piece. */
static int split_records(struct tree *t, struct span piece, char sep, size_t max,
                         int (*take)(struct tree *t, struct span record, struct err *err),
                         struct err *err)
{
    int r = 0;
    while (r == 0 && piece.len) {
        ptrdiff_t end = span_find_char(piece, sep);
        struct span part = end < 0 ? piece : span_first(piece, (size_t)end);
        if (t->held.len + part.len > max)
            return err_set(err, ERR_TOO_LARGE, "a path of the repository is too long");
        buf_put_span(&t->held, part);
        if (buf_failed(&t->held))
            return no_memory(err);
        piece = span_skip(piece, part.len + 1);
        if (end < 0)
            return 0;
        r = take(t, buf_span(&t->held), err);
        buf_clear(&t->held);
    }
    return r;
}

static int on_list(void *ctx, struct span piece, struct err *err)
{
    return split_records(ctx, piece, 0, 1u << 20, take_entry, err);
}

static int list_files(struct tree *t, struct err *err)
{
    static const char *const args[] = {"ls-tree", "-r", "-z", "--full-tree", CLONE_REF, NULL};
    struct git_call call = {
        .args = args,
        .timeout_ms = TIMEOUT_GIT_LOCAL_MS,
        .doing = "list the files of",
        .on_out = on_list,
        .ctx = t,
    };
    return git_run(t->c, &call, err);
}

/* ---- which of them are new ---- */

static bool is_written(struct tree *t, const char *path)
{
    struct stat st;
    return fstatat(t->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

/* Files that are the same stay; what is gone or changed is removed. Leaves in t->items what has to be written. */
static int compare(struct tree *t, struct manifest *old, struct err *err)
{
    size_t kept = 0;
    int r = 0;
    for (size_t i = 0; i < t->count; i++) {
        struct item *it = &t->items[i];
        struct span path = span_str(it->path);
        char *had = map_get(&old->files, path);
        bool is_same = had && strcmp(had, it->id) == 0 && is_written(t, it->path);
        if (is_same && r == 0 && manifest_add(t->m, path, it->id) < 0)
            r = no_memory(err);
        if (is_same) {
            mem_free(map_remove(&old->files, path));
            mem_free(it->path);
        } else {
            t->items[kept++] = *it;
        }
    }
    t->count = kept;
    size_t at = 0;
    struct span path;
    void *id;
    while (r == 0 && map_each(&old->files, &at, &path, &id)) {
        char name[LIMIT_PATH_BYTES + 1];
        if (!is_safe_path(path))
            continue;
        snprintf(name, sizeof name, SPAN_FMT, SPAN_ARG(path));
        int why = remove_at(t->fd, name, REMOVE_DEPTH_MAX);
        if (why && why != ENOTDIR)
            r = err_errno(err, why, "cannot remove '%s' of a clone", name);
        else
            prune(t->fd, name);
    }
    return r;
}

/* "ID blob SIZE", or "ID missing" for what the server left out. In the order of the questions. */
static int take_size(struct tree *t, struct span record, struct err *err)
{
    struct span id, type, rest = record;
    uint64_t size = 0;
    if (t->at >= t->count || !span_next(&rest, ' ', &id) || !span_next(&rest, ' ', &type) ||
        !span_is(id, t->items[t->at].id))
        return err_set(err, ERR_UPSTREAM, "git measured the files in a form we do not know");
    struct item *it = &t->items[t->at++];
    bool is_blob = span_is(type, "blob") && parse_u64(rest, &size);
    if (is_blob && size <= LIMIT_FILE_BYTES) {
        it->is_wanted = true;
        t->bytes += size;
        if (t->c->o->max_bytes && t->bytes > t->c->o->max_bytes) {
            err_set(err, ERR_TOO_LARGE, "the files of the repository are larger than %llu MB",
                    (unsigned long long)(t->c->o->max_bytes >> 20));
            err_hint(err, "--max-clone-size allows more");
            return -ERR_TOO_LARGE;
        }
        return 0;
    }
    bool is_large = is_blob || span_is(type, "missing");
    return skip(t, span_str(it->path), is_large ? CLONE_SKIP_LARGE : CLONE_SKIP_BROKEN, err);
}

static int on_sizes(void *ctx, struct span piece, struct err *err)
{
    return split_records(ctx, piece, '\n', 4096, take_size, err);
}

static int ask(struct tree *t, bool only_wanted, struct buf *out, struct err *err)
{
    for (size_t i = 0; i < t->count; i++)
        if (!only_wanted || t->items[i].is_wanted)
            buf_printf(out, "%s\n", t->items[i].id);
    return buf_failed(out) ? no_memory(err) : 0;
}

static int measure(struct tree *t, struct err *err)
{
    static const char *const args[] = {"cat-file", "--batch-check", "--buffer", NULL};
    struct buf input = BUF_INIT(LIMIT_CHILD_OUTPUT);
    int r = ask(t, false, &input, err);
    struct git_call call = {
        .args = args,
        .input = buf_span(&input),
        .timeout_ms = TIMEOUT_GIT_LOCAL_MS,
        .doing = "measure the files of",
        .on_out = on_sizes,
        .ctx = t,
    };
    t->at = 0;
    if (r == 0 && input.len)
        r = git_run(t->c, &call, err);
    if (r == 0 && t->at != t->count)
        r = err_set(err, ERR_UPSTREAM, "git measured only %zu of %zu files", t->at, t->count);
    buf_done(&input);
    return r;
}

/* ---- writing ---- */

static bool is_lfs_pointer(struct span text)
{
    return text.len < 1024 &&
           span_starts(text, SPAN_LIT("version https://git-lfs.github.com/spec/"));
}

static int write_bytes(int fd, struct span s)
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

static int write_file(struct tree *t, struct item *it)
{
    int why = make_parents(t->fd, it->path);
    if (why)
        return why;
    int fd = openat(t->fd, it->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    why = write_bytes(fd, buf_span(&t->blob));
    if (close(fd) < 0 && !why)
        why = errno;
    return why;
}

static int end_blob(struct tree *t, struct err *err)
{
    struct item *it = &t->items[t->at++];
    struct span path = span_str(it->path);
    if (is_lfs_pointer(buf_span(&t->blob)))
        return skip(t, path, CLONE_SKIP_LFS, err);
    int why = write_file(t, it);
    switch (why) {
    case 0:
        return manifest_add(t->m, path, it->id) < 0 ? no_memory(err) : 0;
    case EEXIST: /* a file system that takes "a" and "A" for one, or a tree that names a path twice */
    case ENOTDIR:
    case EISDIR:
        return skip(t, path, CLONE_SKIP_CLASH, err);
    case EILSEQ:
    case EINVAL:
    case ENAMETOOLONG:
        return skip(t, path, CLONE_SKIP_WRITE, err);
    default:
        return err_errno(err, why, "cannot write the files of the repository");
    }
}

/* "ID blob SIZE" */
static int take_head(struct tree *t, struct span record, struct err *err)
{
    struct span id, type, rest = record;
    while (t->at < t->count && !t->items[t->at].is_wanted)
        t->at++;
    if (t->at >= t->count || !span_next(&rest, ' ', &id) || !span_next(&rest, ' ', &type) ||
        !span_is(id, t->items[t->at].id) || !span_is(type, "blob") || !parse_u64(rest, &t->left) ||
        t->left > LIMIT_FILE_BYTES)
        return err_set(err, ERR_UPSTREAM, "git gave the files in a form we do not know");
    t->left++; /* the line end behind it */
    t->in_blob = true;
    buf_clear(&t->blob);
    return 0;
}

static int on_blobs(void *ctx, struct span piece, struct err *err)
{
    struct tree *t = ctx;
    int r = 0;
    while (r == 0 && piece.len) {
        if (!t->in_blob) {
            ptrdiff_t end = span_find_char(piece, '\n');
            size_t n = end < 0 ? piece.len : (size_t)end + 1;
            r = split_records(t, span_first(piece, n), '\n', 4096, take_head, err);
            piece = span_skip(piece, n);
            continue;
        }
        size_t n = piece.len < t->left ? piece.len : (size_t)t->left;
        t->left -= n;
        buf_put(&t->blob, piece.ptr, t->left ? n : n - 1);
        piece = span_skip(piece, n);
        if (buf_failed(&t->blob))
            return no_memory(err);
        if (!t->left) {
            t->in_blob = false;
            r = end_blob(t, err);
        }
    }
    return r;
}

static int write_files(struct tree *t, struct err *err)
{
    static const char *const args[] = {"cat-file", "--batch", "--buffer", NULL};
    struct buf input = BUF_INIT(LIMIT_CHILD_OUTPUT);
    int r = ask(t, true, &input, err);
    struct git_call call = {
        .args = args,
        .input = buf_span(&input),
        .timeout_ms = TIMEOUT_GIT_LOCAL_MS,
        .doing = "read the files of",
        .on_out = on_blobs,
        .ctx = t,
    };
    t->at = 0;
    if (r == 0 && input.len)
        r = git_run(t->c, &call, err);
    while (t->at < t->count && !t->items[t->at].is_wanted)
        t->at++;
    if (r == 0 && (t->in_blob || t->at != t->count))
        r = err_set(err, ERR_UPSTREAM, "git gave only a part of the files");
    buf_done(&input);
    return r;
}

static int open_tree(struct tree *t, struct manifest *old, struct err *err)
{
    int r = 0;
    if (!old->revision[0]) /* nobody knows what is in it */
        r = tree_remove(t->c->dir_fd, "tree", err);
    if (r < 0)
        return r;
    if (mkdirat(t->c->dir_fd, "tree", 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot make the folder for the files of a clone");
    t->fd = openat(t->c->dir_fd, "tree", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return t->fd < 0 ? err_errno(err, errno, "cannot open the files of a clone") : 0;
}

int tree_write(struct clone *c, struct manifest *old, struct manifest *m, struct err *err)
{
    struct tree t = {
        .c = c,
        .m = m,
        .fd = -1,
        .held = BUF_INIT(2u << 20),
        .blob = BUF_INIT(LIMIT_FILE_BYTES + 1),
    };
    int r = list_files(&t, err);
    if (r == 0 && !t.count && !m->skipped_count)
        r = err_set(err, ERR_NOT_FOUND, "the repository has no files");
    if (r == 0 && unlinkat(c->dir_fd, "manifest", 0) < 0 && errno != ENOENT)
        r = err_errno(err, errno, "cannot change a clone");
    if (r == 0)
        r = open_tree(&t, old, err);
    if (r == 0)
        r = compare(&t, old, err);
    if (r == 0)
        clone_say(c, -1, "Writing %zu files", t.count);
    if (r == 0)
        r = measure(&t, err);
    if (r == 0)
        r = write_files(&t, err);
    for (size_t i = 0; i < t.count; i++)
        mem_free(t.items[i].path);
    mem_free(t.items);
    buf_done(&t.held);
    buf_done(&t.blob);
    if (t.fd >= 0)
        close(t.fd);
    return r;
}
