/*
 * The checked-out revision, from git's own files (gitrepository-layout(5)): .git is a directory or, in worktrees
 * and submodules, a file that says where it is; HEAD holds an id or names a ref, which is a loose file or a line of
 * packed-refs, in that directory or the common one. All are untrusted: sizes and hops are bounded.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "ingest/ingest.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL_FILE_BYTES 4096u
#define PACKED_REFS_BYTES (64u << 20)
#define HOPS_MAX 5 /* git's own bound for symbolic refs */

struct dir {
    char path[PATH_MAX];
};

static bool join(struct dir *ret, const char *base, struct span name)
{
    if (span_find_char(name, '\0') >= 0 || !name.len)
        return false;
    int n = name.ptr[0] == '/'
                ? snprintf(ret->path, sizeof ret->path, SPAN_FMT, SPAN_ARG(name))
                : snprintf(ret->path, sizeof ret->path, "%s/" SPAN_FMT, base, SPAN_ARG(name));
    return n > 0 && (size_t)n < sizeof ret->path;
}

/* Trimmed contents of base/name, at most SMALL_FILE_BYTES. */
static bool read_small(const char *base, struct span name, char text[SMALL_FILE_BYTES],
                       struct span *ret)
{
    struct dir p;
    struct stat st;
    if (!join(&p, base, name))
        return false;
    int fd = open(p.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    ssize_t n = -1;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < (off_t)SMALL_FILE_BYTES)
        n = read(fd, text, SMALL_FILE_BYTES);
    close(fd);
    if (n < 0)
        return false;
    *ret = span_trim(span_of(text, (size_t)n));
    return true;
}

static bool take_id(struct span s, char ret[65])
{
    if (s.len != 40 && s.len != 64)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f')))
            return false;
    memcpy(ret, s.ptr, s.len);
    ret[s.len] = '\0';
    return true;
}

/* A ref's name becomes a path: none that leaves the directory. */
static bool is_ref_name(struct span ref)
{
    return span_starts(ref, SPAN_LIT("refs/")) && span_find(ref, SPAN_LIT("..")) < 0 &&
           ref.len < 1024;
}

static bool find_packed(const char *common, struct span ref, char ret[65])
{
    struct dir p;
    struct stat st;
    bool found = false;
    if (!join(&p, common, SPAN_LIT("packed-refs")))
        return false;
    int fd = open(p.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char *text = NULL;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        st.st_size < (off_t)PACKED_REFS_BYTES)
        text = mem_try((size_t)st.st_size);
    ssize_t n = text ? read(fd, text, (size_t)st.st_size) : 0;
    struct span rest = span_of(text, n > 0 ? (size_t)n : 0), line;
    while (!found && span_next(&rest, '\n', &line)) {
        ptrdiff_t space = span_find_char(line, ' ');
        if (space > 0 && span_eq(span_trim(span_skip(line, (size_t)space + 1)), ref))
            found = take_id(span_first(line, (size_t)space), ret);
    }
    mem_free(text);
    if (fd >= 0)
        close(fd);
    return found;
}

static bool find_git_dir(const char *root, struct dir *ret)
{
    char text[SMALL_FILE_BYTES];
    struct span s;
    struct stat st;
    if (!join(ret, root, SPAN_LIT(".git")) || stat(ret->path, &st) < 0)
        return false;
    if (S_ISDIR(st.st_mode))
        return true;
    return read_small(root, SPAN_LIT(".git"), text, &s) && span_starts(s, SPAN_LIT("gitdir:")) &&
           join(ret, root, span_trim(span_skip(s, 7)));
}

void ingest_revision(const char *root, char ret[65])
{
    char text[SMALL_FILE_BYTES], ref_text[1024];
    struct dir git, common;
    struct span s, ref = SPAN_LIT("HEAD");
    ret[0] = '\0';
    if (!find_git_dir(root, &git))
        return;
    common = git;
    if (read_small(git.path, SPAN_LIT("commondir"), text, &s) && !join(&common, git.path, s))
        return;
    for (int hop = 0; hop < HOPS_MAX; hop++) {
        if (!read_small(git.path, ref, text, &s) && !read_small(common.path, ref, text, &s)) {
            (void)find_packed(common.path, ref, ret); /* "" stays when it is not there either */
            return;
        }
        if (take_id(s, ret))
            return;
        ref = span_trim(span_skip(s, 4));
        if (!span_starts(s, SPAN_LIT("ref:")) || !is_ref_name(ref))
            return;
        memcpy(ref_text, ref.ptr, ref.len);
        ref = span_of(ref_text, ref.len);
    }
}
