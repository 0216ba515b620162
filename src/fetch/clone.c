/*
 *   locate: policy, addresses, redirects ─► look: where is the branch? ─► (the same: done)
 *     └► fetch one commit ─► write its files ─► manifest
 */
#include "fetch/clone.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "fetch/clone_priv.h"
#include "fetch/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX "/info/refs?service=git-upload-pack"
#define TRUST_FILE "by-owner"
#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)
#define BLOB_LIMIT 2097153 /* one more than LIMIT_FILE_BYTES: what the filter leaves out */
_Static_assert(BLOB_LIMIT == LIMIT_FILE_BYTES + 1, "the filter leaves out what is not read");

void clone_result_done(struct clone_result *r)
{
    for (size_t i = 0; i < r->skipped_count; i++)
        mem_free(r->skipped[i].path);
    mem_free(r->skipped);
    mem_free(r->tree);
    *r = (struct clone_result){0};
}

/* ---- where it is ---- */

static bool is_same_place(const struct source_name *a, const struct source_name *b)
{
    /* From http to https on one host is the same place, made safer. */
    return strcmp(a->host, b->host) == 0 &&
           (a->scheme == b->scheme ? a->port == b->port
                                   : a->scheme == SCHEME_HTTPS && !a->port && !b->port);
}

/* A token crosses a network bare only where the owner has said that it is a private one. */
static int check_bare_token(const struct clone *c, bool may_be_private, struct err *err)
{
    struct guard_addresses where;
    if (!c->sends_credential || c->at.scheme != SCHEME_HTTP || may_be_private)
        return 0;
    if (!c->is_guarded) {
        int r = guard_resolve(&c->at, false, &where, err);
        bool is_public = false;
        for (size_t i = 0; r == 0 && i < where.count; i++)
            is_public = is_public || guard_is_public(where.ip[i]);
        if (r < 0 || !is_public)
            return r;
    }
    err_set(err, ERR_FORBIDDEN, "a token is not sent to '%s' over http, where others can read it",
            c->at.host);
    err_hint(err, "use the https address");
    return -ERR_FORBIDDEN;
}

/* Policy and addresses of where we are about to go. */
static int check_place(struct clone *c, struct err *err)
{
    const struct clone_request *rq = c->rq;
    bool may_be_private = false;
    c->pins = (struct guard_addresses){0};
    c->sends_credential = rq->credential && credential_is_set(rq->credential) &&
                          c->at.scheme <= SCHEME_HTTP && is_same_place(&c->at, rq->name);
    if (c->is_guarded && c->at.scheme != SCHEME_FILE) {
        int r = guard_check_host(&c->o->guard, &c->at, &may_be_private, err);
        if (r == 0)
            r = guard_resolve(&c->at, !may_be_private, &c->pins, err);
        if (r < 0)
            return r;
    }
    return check_bare_token(c, may_be_private, err);
}

/* Takes the place that a redirect names. */
static int follow(struct clone *c, const struct probe_answer *a, struct err *err)
{
    struct span to = span_str(a->location);
    struct source_name next;
    struct buf url = BUF_INIT(PROBE_LOCATION_MAX + SOURCE_HOST_MAX + 32);
    if (!span_ends(to, SPAN_LIT(SUFFIX))) /* a page to sign in, mostly */
        return git_say_status(c, 404, err);
    to = span_first(to, to.len - strlen(SUFFIX));
    if (to.len && to.ptr[0] == '/' && !span_starts(to, SPAN_LIT("//"))) {
        struct source_name root = c->at;
        root.path[0] = 0;
        root.has_git_suffix = false;
        source_name_url(&root, &url);
        to = span_skip(to, 1);
    }
    buf_put_span(&url, to);
    int r = buf_failed(&url) ? -ERR_INVALID
                             : source_name_parse(buf_span(&url), SPAN_NULL, SPAN_NULL, &next, err);
    buf_done(&url);
    if (r == 0 && (next.secret[0] || next.scheme > SCHEME_HTTP ||
                   (c->at.scheme == SCHEME_HTTPS && next.scheme == SCHEME_HTTP)))
        r = -ERR_INVALID;
    if (r < 0) {
        source_name_done(&next);
        return err_set(err, ERR_UPSTREAM,
                       "the host '%s' sends us to an address that cannot be used", c->at.host);
    }
    next.branch[0] = 0;
    c->at = next;
    return 0;
}

static bool is_redirect(const struct probe_answer *a)
{
    return (a->status == 301 || a->status == 302 || a->status == 303 || a->status == 307 ||
            a->status == 308) &&
           a->location[0];
}

static int probe(struct clone *c, struct probe_answer *ret, struct err *err)
{
    struct buf url = BUF_INIT(SOURCE_URL_MAX);
    source_name_url(&c->at, &url);
    bool is_pinned_private = false;
    for (size_t i = 0; i < c->pins.count; i++)
        is_pinned_private = is_pinned_private || !guard_is_public(c->pins.ip[i]);
    struct probe_options po = {
        .loop = c->o->loop,
        .url = buf_str(&url),
        .credential = c->sends_credential ? c->rq->credential : NULL,
        .only_public = c->is_guarded && !is_pinned_private,
        .cancel = c->rq->cancel,
    };
    int r = probe_run(&po, ret, err);
    if (r < 0 && r != -ERR_CANCELLED)
        err_prefix(err, "cannot reach '%s'", buf_str(&url));
    buf_done(&url);
    return r;
}

static int locate(struct clone *c, struct err *err)
{
    c->at = *c->rq->name;
    source_name_done(&c->at);
    for (unsigned hop = 0; hop <= LIMIT_GIT_REDIRECTS_COUNT; hop++) {
        struct probe_answer a;
        int r = check_place(c, err);
        if (r < 0 || c->at.scheme > SCHEME_HTTP || !c->o->loop)
            return r;
        r = probe(c, &a, err);
        if (r < 0)
            return r;
        if (a.status == 200 && a.is_git)
            return 0;
        if (!is_redirect(&a))
            return git_say_status(c, a.status, err);
        r = follow(c, &a, err);
        if (r < 0)
            return r;
    }
    return err_set(err, ERR_UPSTREAM, "'%s' redirects more than %d times", c->rq->name->host,
                   LIMIT_GIT_REDIRECTS_COUNT);
}

/* ---- look ---- */

static void take_remote_line(struct clone *c, struct span line)
{
    const char *branch = c->rq->name->branch;
    struct span id, ref = line;
    if (!span_next(&ref, '\t', &id))
        return;
    if (!branch[0]) {
        if (span_starts(id, SPAN_LIT("ref: refs/")) && span_is(ref, "HEAD") &&
            id.len - 5 < sizeof c->remote_ref)
            snprintf(c->remote_ref, sizeof c->remote_ref, SPAN_FMT, SPAN_ARG(span_skip(id, 5)));
        else if (span_is(ref, "HEAD") && id.len < sizeof c->remote_id)
            snprintf(c->remote_id, sizeof c->remote_id, SPAN_FMT, SPAN_ARG(id));
        return;
    }
    /* A branch wins over a tag; of a tag, the commit that it stands for. */
    char head[SOURCE_BRANCH_MAX + 16], tag[SOURCE_BRANCH_MAX + 16], peeled[SOURCE_BRANCH_MAX + 20];
    snprintf(head, sizeof head, "refs/heads/%s", branch);
    snprintf(tag, sizeof tag, "refs/tags/%s", branch);
    snprintf(peeled, sizeof peeled, "%s^{}", tag);
    bool is_head = span_is(ref, head), has_head = strcmp(c->remote_ref, head) == 0;
    if (id.len >= sizeof c->remote_id ||
        !(is_head || (!has_head && (span_is(ref, tag) || span_is(ref, peeled)))))
        return;
    snprintf(c->remote_id, sizeof c->remote_id, SPAN_FMT, SPAN_ARG(id));
    snprintf(c->remote_ref, sizeof c->remote_ref, "%s", is_head ? head : tag);
}

static bool is_id(const char *s)
{
    size_t n = strspn(s, "0123456789abcdef");
    return !s[n] && (n == 40 || n == 64);
}

static int say_no_branch(const struct clone *c, struct err *err)
{
    struct buf url = BUF_INIT(SOURCE_URL_MAX);
    source_name_url(&c->at, &url);
    if (c->rq->name->branch[0]) {
        err_set(err, ERR_NOT_FOUND, "'%s' has no branch or tag '%s'", buf_str(&url),
                c->rq->name->branch);
        err_hint(err, "without a branch its default one is taken");
    } else {
        err_set(err, ERR_NOT_FOUND, "'%s' is empty, or its default branch is not there",
                buf_str(&url));
        err_hint(err, "name a branch");
    }
    buf_done(&url);
    return -ERR_NOT_FOUND;
}

static int look(struct clone *c, struct err *err)
{
    struct buf url = BUF_INIT(SOURCE_URL_MAX), out = BUF_INIT(LIMIT_GIT_REFS);
    const char *branch = c->rq->name->branch;
    char head[SOURCE_BRANCH_MAX + 16], tag[SOURCE_BRANCH_MAX + 16], peeled[SOURCE_BRANCH_MAX + 20];
    snprintf(head, sizeof head, branch[0] ? "refs/heads/%s" : "HEAD", branch);
    snprintf(tag, sizeof tag, "refs/tags/%s", branch);
    snprintf(peeled, sizeof peeled, "refs/tags/%s^{}", branch);
    source_name_url(&c->at, &url);
    const char *args[] = {"ls-remote",   "--symref", "--quiet",
                          buf_str(&url), head,       branch[0] ? tag : NULL,
                          peeled,        NULL};
    struct git_call call = {
        .args = args,
        .is_remote = true,
        .timeout_ms = TIMEOUT_GIT_LOOK_MS,
        .doing = "look at",
        .out = &out,
    };
    int r = git_run(c, &call, err);
    struct span rest = buf_span(&out), line;
    c->remote_id[0] = c->remote_ref[0] = 0;
    while (r == 0 && span_next(&rest, '\n', &line))
        take_remote_line(c, line);
    if (r == 0 && !c->remote_ref[0])
        snprintf(c->remote_ref, sizeof c->remote_ref, "HEAD");
    if (r == 0 && !is_id(c->remote_id))
        r = say_no_branch(c, err);
    buf_done(&url);
    buf_done(&out);
    return r;
}

/* ---- fetch ---- */

static void set_git_dir(struct clone *c, const char *name)
{
    buf_clear(&c->git_dir);
    buf_printf(&c->git_dir, "%s/%s", buf_str(&c->dir), name);
}

/* What a killed git leaves: locks that would stop the next one, and half packs. */
static unsigned mend(const struct clone *c)
{
    static const char ref_lock[] = CLONE_REF ".lock";
    static const char *const locks[] = {"shallow.lock", "packed-refs.lock", "config.lock",
                                        "HEAD.lock", ref_lock};
    char path[PATH_MAX];
    unsigned packs = 0;
    for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
        snprintf(path, sizeof path, "git/%s", locks[i]);
        (void)unlinkat(c->dir_fd, path, 0);
    }
    int fd = openat(c->dir_fd, "git/objects/pack", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;
    while (d && (e = readdir(d))) { /* NOLINT(concurrency-mt-unsafe): d is ours alone */
        if (strncmp(e->d_name, "tmp_", 4) == 0)
            (void)unlinkat(dirfd(d), e->d_name, 0);
        packs += span_ends(span_str(e->d_name), SPAN_LIT(".pack"));
    }
    if (d)
        (void)closedir(d);
    return packs;
}

static int transfer(struct clone *c, struct err *err)
{
    static const char filter[] = "--filter=blob:limit=" STRINGIFY(BLOB_LIMIT);
    struct buf setting = BUF_INIT(SOURCE_URL_MAX + 32);
    char refspec[SOURCE_BRANCH_MAX + 64];
    buf_puts(&setting, "remote.origin.url=");
    source_name_url(&c->at, &setting);
    snprintf(refspec, sizeof refspec, "+%s:" CLONE_REF, c->remote_ref);
    const char *args[] = {"-c",
                          buf_str(&setting),
                          "fetch",
                          "--depth=1",
                          "--no-tags",
                          "--no-write-fetch-head",
                          "--no-recurse-submodules",
                          "--no-auto-maintenance",
                          "--progress",
                          "--force",
                          filter,
                          "origin",
                          refspec,
                          NULL};
    struct git_call call = {
        .args = args,
        .is_remote = true,
        .timeout_ms = TIMEOUT_GIT_FETCH_MS,
        .doing = "fetch",
    };
    int r = git_configure(c, err);
    if (r == 0)
        r = git_run(c, &call, err);
    buf_done(&setting);
    /* git has noted there whom to ask for what was left out; nobody shall be asked. */
    struct err other;
    int again = git_configure(c, r == 0 ? err : &other);
    return r < 0 ? r : again;
}

static int fetch_anew(struct clone *c, struct err *err)
{
    int r = tree_remove(c->dir_fd, "git.new", err);
    set_git_dir(c, "git.new");
    if (r == 0)
        r = git_init(c, err);
    if (r == 0)
        r = transfer(c, err);
    if (r == 0)
        r = tree_remove(c->dir_fd, "git", err);
    if (r == 0 && renameat(c->dir_fd, "git.new", c->dir_fd, "git") < 0)
        r = err_errno(err, errno, "cannot put a clone in its place");
    if (r < 0) {
        struct err other;
        IGNORE(tree_remove(c->dir_fd, "git.new", &other)); /* the next one removes it as well */
    }
    set_git_dir(c, "git");
    return r;
}

/* Into what is there when it can be used, else from the beginning; a transfer that breaks is tried once more, from the beginning. */
static int fetch(struct clone *c, struct err *err)
{
    struct stat st;
    bool has_clone = fstatat(c->dir_fd, "git/HEAD", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                     mend(c) < LIMIT_GIT_PACKS_COUNT;
    int r = has_clone ? transfer(c, err) : fetch_anew(c, err);
    if (r != -ERR_UPSTREAM || clone_is_cancelled(c))
        return r;
    LOG_INFO("fetch", "a transfer broke and is tried once more", LOG_S("host", c->at.host),
             LOG_S("why", err->msg));
    clone_say(c, -1, "The transfer broke; trying once more");
    return fetch_anew(c, err);
}

/* ---- all of it ---- */

static int read_revision(struct clone *c, char ret[65], struct err *err)
{
    static const char commit[] = CLONE_REF "^{commit}";
    static const char *const args[] = {"rev-parse", "--verify", "--quiet", commit, NULL};
    struct buf out = BUF_INIT(256);
    struct git_call call = {
        .args = args, .timeout_ms = TIMEOUT_GIT_LOCAL_MS, .doing = "read", .out = &out};
    int r = git_run(c, &call, err);
    snprintf(ret, 65, SPAN_FMT, SPAN_ARG(span_first(span_trim(buf_span(&out)), 64)));
    if (r == 0 && !is_id(ret))
        r = err_set(err, ERR_UPSTREAM, "git fetched no commit");
    buf_done(&out);
    return r;
}

static int open_dir(struct clone *c, struct err *err)
{
    char name[SOURCE_DIR_MAX];
    source_name_dir(c->rq->name, name);
    buf_printf(&c->dir, "%s/%s", c->o->dir, name);
    set_git_dir(c, "git");
    if (buf_failed(&c->git_dir) || buf_failed(&c->dir))
        return err_set(err, ERR_INVALID, "the data directory's path is too long");
    if (mkdir(buf_str(&c->dir), 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot make '%s'", buf_str(&c->dir));
    c->dir_fd = open(buf_str(&c->dir), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return c->dir_fd < 0 ? err_errno(err, errno, "cannot open '%s'", buf_str(&c->dir)) : 0;
}

/*
 * What the owner fetched once is the owner's choice: clients' questions refresh it as the owner would. A client cannot change where
 * it comes from.
 */
static void read_trust(struct clone *c)
{
    struct stat st;
    c->is_guarded =
        c->rq->is_guarded && fstatat(c->dir_fd, TRUST_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0;
}

static int note_trust(const struct clone *c, struct err *err)
{
    if (c->rq->is_guarded)
        return 0;
    int fd = openat(c->dir_fd, TRUST_FILE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, errno, "cannot write into a clone");
    close(fd);
    return 0;
}

/* Asking the remote needs some repository to stand in; the clone's own may not be there yet. */
static int look_from(struct clone *c, struct err *err)
{
    set_git_dir(c, "look");
    int r = git_init(c, err);
    if (r == 0)
        r = look(c, err);
    set_git_dir(c, "git");
    return r;
}

static int renew(struct clone *c, struct manifest *old, struct manifest *m, struct err *err)
{
    clone_say(c, 0, "Fetching from %s", c->at.host[0] ? c->at.host : "a folder");
    int r = fetch(c, err);
    if (r == 0)
        r = read_revision(c, m->revision, err);
    if (r == 0)
        r = tree_write(c, old, m, err);
    return r < 0 ? r : manifest_write(c->dir_fd, m, err);
}

static void give(struct clone *c, struct manifest *m, struct clone_result *ret)
{
    memcpy(ret->revision, m->revision, sizeof ret->revision);
    ret->skipped = take_ptr(m->skipped);
    ret->skipped_count = m->skipped_count;
    m->skipped_count = m->skipped_cap = 0;
    buf_puts(&c->dir, "/tree");
    ret->tree = buf_detach(&c->dir);
}

int clone_update(const struct clone_options *o, const struct clone_request *rq,
                 struct clone_result *ret, struct err *err)
{
    struct clone c = {
        .o = o,
        .rq = rq,
        .dir_fd = -1,
        .dir = BUF_INIT(PATH_MAX),
        .git_dir = BUF_INIT(PATH_MAX),
    };
    struct manifest old, new;
    manifest_init(&old);
    manifest_init(&new);
    *ret = (struct clone_result){0};
    clone_say(&c, -1, "Looking at %s", rq->name->host[0] ? rq->name->host : rq->name->path);
    int r = open_dir(&c, err);
    if (r == 0) {
        read_trust(&c);
        r = locate(&c, err);
    }
    if (r == 0)
        r = look_from(&c, err);
    if (r == 0)
        r = manifest_read(c.dir_fd, &old, err);
    if (r == 0) {
        ret->is_unchanged = old.revision[0] && strcmp(old.revision, c.remote_id) == 0;
        if (!ret->is_unchanged)
            r = renew(&c, &old, &new, err);
    }
    if (r == 0)
        r = note_trust(&c, err);
    if (r == 0) {
        give(&c, ret->is_unchanged ? &old : &new, ret);
        if (!ret->tree)
            r = err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    manifest_done(&old);
    manifest_done(&new);
    buf_done(&c.dir);
    buf_done(&c.git_dir);
    if (c.dir_fd >= 0)
        close(c.dir_fd);
    return r;
}

int clone_remove(const char *dir, const char *name, struct err *err)
{
    if (!name[0] || name[0] == '.' || strchr(name, '/'))
        return err_set(err, ERR_INVALID, "'%s' is no clone", name);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot open '%s'", dir);
    int r = tree_remove(fd, name, err);
    close(fd);
    return r;
}
