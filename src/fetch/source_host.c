/* What a path means on each kind of host: where the repository ends and a web page about it begins. */
#include "base/attr.h"
#include "fetch/source_name_priv.h"

#include <stdio.h>

static const struct {
    const char *name, *host;
} kinds[] = {
    [HOST_GIT] = {"git", NULL},
    [HOST_GITHUB] = {"github", "github.com"},
    [HOST_GITLAB] = {"gitlab", "gitlab.com"},
    [HOST_BITBUCKET] = {"bitbucket", "bitbucket.org"},
    [HOST_AZURE] = {"azure", "dev.azure.com"},
    [HOST_GITEA] = {"gitea", NULL},
};

const char *host_kind_name(enum host_kind k)
{
    return kinds[k].name;
}

const char *host_of_kind(enum host_kind k)
{
    return kinds[k].host;
}

bool host_kind_read(struct span type, enum host_kind *ret)
{
    for (size_t i = HOST_GITHUB; i < ARRAY_LEN(kinds); i++)
        if (span_eq_nocase(type, span_str(kinds[i].name))) {
            *ret = (enum host_kind)i;
            return true;
        }
    return false;
}

enum host_kind host_guess(struct span host, bool *ret_is_known)
{
    static const struct {
        struct span part;
        enum host_kind kind;
    } hints[] = {
        {SPAN_INIT("github"), HOST_GITHUB},       {SPAN_INIT("gitlab"), HOST_GITLAB},
        {SPAN_INIT("bitbucket"), HOST_BITBUCKET}, {SPAN_INIT("visualstudio.com"), HOST_AZURE},
        {SPAN_INIT("azure"), HOST_AZURE},         {SPAN_INIT("gitea"), HOST_GITEA},
        {SPAN_INIT("forgejo"), HOST_GITEA},       {SPAN_INIT("codeberg"), HOST_GITEA},
    };
    *ret_is_known = false;
    for (size_t i = HOST_GITHUB; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].host && span_is(host, kinds[i].host)) {
            *ret_is_known = true;
            return (enum host_kind)i;
        }
    *ret_is_known = span_is(host, "codeberg.org") || span_is(host, "gitea.com") ||
                    span_is(host, "ssh.dev.azure.com") ||
                    span_ends(host, SPAN_LIT(".visualstudio.com"));
    for (size_t i = 0; i < ARRAY_LEN(hints); i++)
        if (span_find(host, hints[i].part) >= 0)
            return hints[i].kind;
    return HOST_GIT;
}

static void set_path(struct source_name *n, struct span path)
{
    memmove(n->path, path.ptr, path.len);
    n->path[path.len] = 0;
}

static void set_branch(struct source_name *n, struct span branch)
{
    if (!n->branch[0] && is_branch_name(branch))
        snprintf(n->branch, sizeof n->branch, SPAN_FMT, SPAN_ARG(branch));
}

static size_t split(struct span path, struct span *ret, size_t max)
{
    size_t n = 0;
    while (n < max && span_next(&path, '/', &ret[n]))
        n++;
    return n;
}

/* From the first byte of one piece of the path to the end of another. */
static struct span join(struct span first, struct span last)
{
    return span_of(first.ptr, (size_t)(last.ptr + last.len - first.ptr));
}

#define PIECES_MAX 64

/* owner/repo[/word/BRANCH…]: what is behind `word` is the branch; behind the others only its first piece can be. */
static void cut_two(struct source_name *n, const char *tree, const char *blob)
{
    struct span p[PIECES_MAX];
    size_t count = split(span_str(n->path), p, PIECES_MAX);
    if (count < 3)
        return;
    if (count > 3 && span_is(p[2], tree))
        set_branch(n, join(p[3], p[count - 1]));
    else if (count > 3 && blob && span_is(p[2], blob))
        set_branch(n, p[3]);
    set_path(n, join(p[0], p[1]));
}

/* Everything before "/-/", where GitLab's own pages begin. */
static void cut_gitlab(struct source_name *n)
{
    struct span path = span_str(n->path);
    ptrdiff_t at = span_find(path, SPAN_LIT("/-/"));
    if (at <= 0)
        return;
    struct span page = span_skip(path, (size_t)at + 3);
    if (span_starts(page, SPAN_LIT("tree/"))) {
        set_branch(n, span_skip(page, 5));
    } else if (span_starts(page, SPAN_LIT("blob/"))) {
        struct span rest = span_skip(page, 5), first;
        if (span_next(&rest, '/', &first))
            set_branch(n, first);
    }
    set_path(n, span_first(path, (size_t)at));
}

/* Gitea may live below a path: the page begins at "/src/branch/". */
static void cut_gitea(struct source_name *n)
{
    static const struct span marks[] = {SPAN_INIT("/src/branch/"), SPAN_INIT("/src/tag/")};
    struct span path = span_str(n->path);
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        ptrdiff_t at = span_find(path, marks[i]);
        if (at <= 0)
            continue;
        struct span rest = span_skip(path, (size_t)at + marks[i].len), first;
        if (span_next(&rest, '/', &first))
            set_branch(n, first);
        set_path(n, span_first(path, (size_t)at));
        return;
    }
}

/* projects/KEY/repos/NAME[/browse…] of a server of one's own is cloned as scm/KEY/NAME. */
static void cut_bitbucket_server(struct source_name *n)
{
    struct span p[PIECES_MAX];
    size_t count = split(span_str(n->path), p, PIECES_MAX);
    if (count < 4 || !span_is(p[0], "projects") || !span_is(p[2], "repos"))
        return;
    char path[SOURCE_PATH_MAX];
    snprintf(path, sizeof path, "scm/" SPAN_FMT "/" SPAN_FMT, SPAN_ARG(p[1]), SPAN_ARG(p[3]));
    set_path(n, span_str(path));
}

static bool take_version(struct source_name *n, struct span query)
{
    struct span pair;
    while (span_next(&query, '&', &pair))
        if (span_starts(pair, SPAN_LIT("version=GB"))) {
            set_branch(n, span_skip(pair, 10));
            return true;
        }
    return false;
}

/*
 * org/project/_git/repo, and org/_git/repo where both have one name. The old host carries the organisation in its name; over ssh
 * the path is v3/org/project/repo.
 */
static int cut_azure(struct source_name *n, struct span query, struct err *err)
{
    struct span p[PIECES_MAX], org, project = SPAN_NULL, repo = SPAN_NULL;
    char path[SOURCE_PATH_MAX];
    size_t count = split(span_str(n->path), p, PIECES_MAX), at = 0;
    (void)take_version(n, query);
    if (n->scheme == SCHEME_SSH)
        return count == 4 && span_is(p[0], "v3")
                   ? 0
                   : err_set(err, ERR_INVALID, "an Azure path over ssh is v3/ORG/PROJECT/REPO");
    bool is_old = span_ends(span_str(n->host), SPAN_LIT(".visualstudio.com"));
    if (is_old) {
        struct span host = span_str(n->host);
        org = span_first(host, host.len - strlen(".visualstudio.com"));
        at = count && span_eq_nocase(p[0], SPAN_LIT("DefaultCollection"));
    } else {
        org = count ? p[at++] : SPAN_NULL;
    }
    for (size_t i = at; i + 1 < count; i++)
        if (span_is(p[i], "_git")) {
            repo = p[i + 1];
            project = i > at ? p[i - 1] : repo;
            break;
        }
    if (!repo.ptr && !is_old && count == 3 && !span_is(p[2], "_git")) {
        project = p[1];
        repo = p[2];
    }
    if (!org.len || !repo.len || !project.len) {
        err_set(err, ERR_INVALID, "'%s' names no repository of Azure DevOps", n->path);
        err_hint(err, "it looks like https://dev.azure.com/ORG/PROJECT/_git/REPO");
        return -ERR_INVALID;
    }
    int len = snprintf(path, sizeof path, SPAN_FMT "/" SPAN_FMT "/_git/" SPAN_FMT, SPAN_ARG(org),
                       SPAN_ARG(project), SPAN_ARG(repo));
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_INVALID, "the path of the repository is too long");
    if (is_old)
        snprintf(n->host, sizeof n->host, "dev.azure.com");
    set_path(n, span_str(path));
    return 0;
}

static int need_two(const struct source_name *n, struct err *err)
{
    if (strchr(n->path, '/'))
        return 0;
    err_set(err, ERR_INVALID, "'%s' on %s names no repository", n->path, n->host);
    err_hint(err, "name the owner and the repository: https://%s/OWNER/REPO", n->host);
    return -ERR_INVALID;
}

/* ".git" ends a repository's path, whatever is behind it. */
static bool cut_at_suffix(struct source_name *n)
{
    struct span path = span_str(n->path);
    ptrdiff_t at = span_find(path, SPAN_LIT(".git/"));
    if (at > 0 && path.ptr[at - 1] != '/')
        path = span_first(path, (size_t)at + 4);
    if (path.len > 4 && span_ends(path, SPAN_LIT(".git")) && path.ptr[path.len - 5] != '/') {
        n->has_git_suffix = true;
        path = span_first(path, path.len - 4);
    }
    set_path(n, path);
    return n->has_git_suffix;
}

int host_path(struct source_name *n, struct span query, struct err *err)
{
    bool is_known;
    (void)host_guess(span_str(n->host), &is_known);
    if (n->scheme == SCHEME_FILE || n->kind == HOST_AZURE)
        return n->kind == HOST_AZURE ? cut_azure(n, query, err) : 0;
    if (cut_at_suffix(n))
        return n->kind == HOST_GIT ? 0 : need_two(n, err);
    switch (n->kind) {
    case HOST_GITHUB:
        cut_two(n, "tree", "blob");
        break;
    case HOST_BITBUCKET:
        if (is_known)
            cut_two(n, "branch", "src");
        else
            cut_bitbucket_server(n);
        break;
    case HOST_GITEA:
        cut_gitea(n);
        break;
    case HOST_GITLAB:
    case HOST_GIT:
        cut_gitlab(n);
        break;
    case HOST_AZURE:
    default:
        break;
    }
    return n->kind == HOST_GIT ? 0 : need_two(n, err);
}
