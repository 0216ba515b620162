/* Sources: what callers may name, the rows kept of them, and the open index of each. */
#include "engine/engine_priv.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/vectors.h"
#include "ingest/filter_set.h"
#include "ingest/ingest.h"
#include "text/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES_MAX 4096

static bool is_remote(struct span s)
{
    return span_find(s, SPAN_LIT("://")) >= 0 || span_starts(s, SPAN_LIT("git@"));
}

static bool path_is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 &&
           (path[n] == 0 || path[n] == '/' || (n && dir[n - 1] == '/'));
}

static bool may_name(const struct engine *e, const struct engine_caller *who, const char *path)
{
    if (who->is_trusted)
        return true;
    for (size_t i = 0; e->allow_paths[i]; i++)
        if (path_is_below(path, e->allow_paths[i]))
            return true;
    return false;
}

struct live_source *source_live(struct engine *e, const char *id)
{
    return map_get(&e->sources, span_str(id));
}

/*
 * What a source may be called. A name must never be taken for something else that a caller may name: a path, a URL, an
 * option. "owner/repo" is fine.
 */
static bool is_source_name(struct span name)
{
    if (!name.len || name.len > SOURCE_NAME_MAX || !utf8_is_valid(name) ||
        strchr("/.~-", name.ptr[0]) || name.ptr[name.len - 1] == '/' || is_remote(name) ||
        span_find(name, SPAN_LIT("//")) >= 0 || span_find(name, SPAN_LIT("/.")) >= 0 ||
        !span_eq(span_trim(name), name))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7f || name.ptr[i] == '\\')
            return false;
    return true;
}

static int bad_name(struct span name, struct err *err)
{
    err_set(err, ERR_INVALID, "'" SPAN_FMT "' cannot be the name of a source",
            SPAN_ARG(span_first(name, utf8_cut(name, SOURCE_NAME_MAX))));
    err_hint(err, "use a plain name of up to %d bytes, such as 'project' or 'owner/project'",
             SOURCE_NAME_MAX);
    return -ERR_INVALID;
}

/* ---- the table of used sources ---- */

/* Makes room for one more: the source unused for longest goes, unless something works on it. With e->lock held. */
static struct live_source *evict(struct engine *e)
{
    struct live_source *oldest = NULL;
    size_t at = 0;
    struct span key;
    void *value;
    if (e->sources.count < LIVE_SOURCES_MAX)
        return NULL;
    while (map_each(&e->sources, &at, &key, &value)) {
        struct live_source *s = value;
        if (!s->job && !s->embed_job && !s->is_merging && (!oldest || s->used < oldest->used))
            oldest = s;
    }
    return oldest ? map_remove(&e->sources, span_str(oldest->row.id)) : NULL;
}

void live_source_free(struct live_source *s)
{
    if (!s)
        return;
    vector_leg_unref(s->leg);
    index_unref(s->index);
    store_source_done(&s->row);
    mem_free(s);
}

/* Puts a row into the table of used sources (or leaves the one that is there). The row's strings move. */
static int source_adopt(struct engine *e, struct store_source *row, char ret_id[STORE_ID_MAX],
                        struct err *err)
{
    int r = 0;
    struct live_source *gone = NULL;
    snprintf(ret_id, STORE_ID_MAX, "%s", row->id);
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, row->id);
    if (s) {
        store_source_done(row);
    } else {
        gone = evict(e);
        s = mem_alloc(sizeof *s);
        s->row = *row;
        r = map_set(&e->sources, span_str(row->id), s, NULL);
    }
    s->used = ++e->uses;
    lock_leave(&e->lock);
    live_source_free(gone); /* may unmap: not under the lock */
    if (r < 0) {
        live_source_free(s);
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    return 0;
}

int source_load(struct engine *e, const char *tenant, const char *id, struct err *err)
{
    struct store_source row = {0};
    char ret_id[STORE_ID_MAX];
    int r = store_source_get(e->options.store, tenant, id, &row, err);
    if (r == 0)
        return source_adopt(e, &row, ret_id, err);
    store_source_done(&row);
    return r;
}

static bool set_text(char **field, const char *with)
{
    if (!with)
        return true;
    mem_free(*field);
    *field = mem_try_strndup(with, strlen(with));
    return *field != NULL;
}

static bool copy_row(const struct store_source *from, struct store_source *ret)
{
    *ret = *from;
    ret->name = ret->kind = ret->location = ret->index_file = NULL;
    ret->revision = ret->fingerprint = ret->state = ret->error = NULL;
    return set_text(&ret->name, from->name) && set_text(&ret->kind, from->kind) &&
           set_text(&ret->location, from->location) &&
           set_text(&ret->index_file, from->index_file) &&
           set_text(&ret->revision, from->revision) &&
           set_text(&ret->fingerprint, from->fingerprint) && set_text(&ret->state, from->state) &&
           set_text(&ret->error, from->error);
}

static bool apply_change(struct store_source *row, const struct source_change *c)
{
    if (c->stats) {
        row->files = c->stats->files;
        row->chunks = c->stats->chunks;
        row->bytes = (int64_t)c->stats->text_bytes;
        row->skipped = c->skipped;
        row->indexed_ms = clock_wall_ms();
    }
    return set_text(&row->name, c->name) && set_text(&row->index_file, c->index_file) &&
           set_text(&row->revision, c->revision) && set_text(&row->fingerprint, c->fingerprint) &&
           set_text(&row->state, c->state) && set_text(&row->error, c->error);
}

/* Swaps the stored row in; what it replaces is left in *row, to be freed. With e->lock held. */
static struct index *take_change(struct live_source *s, struct store_source *row,
                                 struct index *with)
{
    struct store_source old = s->row;
    struct index *old_index = NULL;
    s->row = *row;
    *row = old;
    if (with) {
        old_index = s->index;
        s->index = with;
        s->checked_ms = clock_ms();
        s->is_index_lost = false;
    }
    return old_index;
}

int source_change(struct engine *e, const char *id, const struct source_change *change,
                  char **ret_old_file, struct err *err)
{
    struct store_source row = {0};
    struct index *old_index = NULL;
    lock_enter(&e->rows);
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    int r = !s ? err_set(err, ERR_UNAVAILABLE, "the source was let go meanwhile; try again")
            : copy_row(&s->row, &row) && apply_change(&row, change)
                ? 0
                : err_set(err, ERR_NO_MEMORY, "out of memory");
    lock_leave(&e->lock);
    if (r == 0)
        r = store_source_put(e->options.store, &row, err);
    if (r == 0) {
        lock_enter(&e->lock);
        if ((s = source_live(e, id)))
            old_index = take_change(s, &row, change->index);
        else
            old_index = change->index; /* evicted: the next use reads the row again */
        lock_leave(&e->lock);
        if (ret_old_file && s)
            *ret_old_file = take_ptr(row.index_file);
    }
    lock_leave(&e->rows);
    store_source_done(&row);
    index_unref(old_index);
    return r;
}

void source_set_index(struct engine *e, const char *id, struct index *ix)
{
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    struct index *old = s ? s->index : ix;
    if (s)
        s->index = ix;
    lock_leave(&e->lock);
    index_unref(old); /* may unmap: not under the lock */
}

/* ---- naming ---- */

/* The path's last component, made a name: "/srv/.dotfiles" is "dotfiles", "/" is "root". */
static void name_from_path(const char *path, char ret[SOURCE_NAME_MAX + 1])
{
    const char *slash = strrchr(path, '/');
    const char *from = slash ? slash + 1 : path;
    from += strspn(from, ".~- ");
    struct span name = span_str(from);
    /* room for "-999" */
    name = span_trim(span_first(name, utf8_cut(name, SOURCE_NAME_MAX - 4)));
    if (is_source_name(name))
        snprintf(ret, SOURCE_NAME_MAX + 1, SPAN_FMT, SPAN_ARG(name));
    else
        snprintf(ret, SOURCE_NAME_MAX + 1, "%s", from[0] ? "source" : "root");
}

/* A new row, called `name`, or when that is empty like `base`; then a name that is taken gets a number. */
static int source_create(struct engine *e, const struct engine_caller *who, const char *kind,
                         const char *location, const char *base, struct span name,
                         char ret_id[STORE_ID_MAX], struct err *err)
{
    char tried[SOURCE_NAME_MAX + 16], asked[SOURCE_NAME_MAX + 1];
    if (name.len) {
        snprintf(asked, sizeof asked, SPAN_FMT, SPAN_ARG(name));
        base = asked;
    }
    for (int n = 1; n < 1000; n++) {
        struct store_source row = {.created_ms = clock_wall_ms()};
        random_id(row.id, 16);
        snprintf(row.tenant, sizeof row.tenant, "%s", who->tenant);
        if (n == 1)
            snprintf(tried, sizeof tried, "%s", base);
        else
            snprintf(tried, sizeof tried, "%s-%d", base, n);
        bool ok = set_text(&row.name, tried) && set_text(&row.kind, kind) &&
                  set_text(&row.location, location) && set_text(&row.index_file, "") &&
                  set_text(&row.revision, "") && set_text(&row.fingerprint, "") &&
                  set_text(&row.state, "new") && set_text(&row.error, "");
        int r = ok ? store_source_put(e->options.store, &row, err)
                   : err_set(err, ERR_NO_MEMORY, "out of memory");
        if (r == 0)
            return source_adopt(e, &row, ret_id, err);
        store_source_done(&row);
        if (r == -ERR_EXISTS && name.len) {
            err_set(err, ERR_EXISTS, "another source is called '%s' already", base);
            err_hint(err, "choose another name");
        }
        if (r != -ERR_EXISTS || name.len)
            return r;
    }
    return err_set(err, ERR_EXISTS, "every name like '%s' is taken", base);
}

/* A source that exists, asked for under another name. */
static int rename_source(struct engine *e, const struct engine_caller *who, const char *id,
                         const char *old, struct span name, struct err *err)
{
    if (!who->is_trusted) {
        err_set(err, ERR_FORBIDDEN, "this source is called '%s' already", old);
        err_hint(err, "use that name; only the server's own command line may change it");
        return -ERR_FORBIDDEN;
    }
    char text[SOURCE_NAME_MAX + 1];
    snprintf(text, sizeof text, SPAN_FMT, SPAN_ARG(name));
    struct source_change change = {.name = text};
    int r = source_change(e, id, &change, NULL, err);
    if (r == -ERR_EXISTS) {
        err_set(err, ERR_EXISTS, "another source is called '%s' already", text);
        err_hint(err, "choose another name");
    }
    return r;
}

/* Takes a row that was found: into the table, and renamed when another name was asked for. */
static int take_found(struct engine *e, const struct engine_caller *who, struct store_source *row,
                      struct span name, char ret_id[STORE_ID_MAX], struct err *err)
{
    char old[SOURCE_NAME_MAX + 1];
    bool renames = name.len && !span_is(name, row->name);
    snprintf(old, sizeof old, "%s", row->name);
    int r = source_adopt(e, row, ret_id, err);
    return r == 0 && renames ? rename_source(e, who, ret_id, old, name, err) : r;
}

static int resolve_path(struct engine *e, const struct engine_caller *who, const char *named,
                        struct span name, char ret_id[STORE_ID_MAX], struct err *err)
{
    struct store_source row = {0};
    CLEANUP(mem_freep) char *real = realpath(named, NULL);
    int why = real ? 0 : errno;
    if (!real || !may_name(e, who, real)) {
        /* The same answer whether it exists or not: clients may not probe the file system. */
        char shown[256];
        struct buf text = BUF_INIT(sizeof shown - 1);
        source_name_show(span_str(named), &text);
        snprintf(shown, sizeof shown, "%s", buf_str(&text));
        buf_done(&text);
        if (!who->is_trusted) {
            err_set(err, ERR_FORBIDDEN,
                    "'%s' is not a source of this server and lies outside the allowed paths",
                    shown);
            err_hint(err, "index it on the server with 'headwater index', or start the server with "
                          "--allow-path");
            return -ERR_FORBIDDEN;
        }
        int r = err_errno(err, why, "no folder, file or source '%s'", shown);
        err_hint(err, "'headwater sources' lists what is indexed");
        return r;
    }
    int r = store_source_find(e->options.store, who->tenant, real, &row, err);
    if (r == -ERR_NOT_FOUND) {
        lock_enter(&e->rows); /* of several who come at once, one makes it */
        r = store_source_find(e->options.store, who->tenant, real, &row, err);
        bool is_new = r == -ERR_NOT_FOUND;
        if (is_new) {
            char base[SOURCE_NAME_MAX + 1];
            name_from_path(real, base);
            r = source_create(e, who, "local", real, base, name, ret_id, err);
        }
        lock_leave(&e->rows);
        if (is_new)
            return r;
    }
    if (r == 0)
        return take_found(e, who, &row, name, ret_id, err);
    store_source_done(&row);
    return r;
}

int source_at(struct engine *e, const struct engine_caller *who, const char *location,
              const char *kind, const char *base, struct span name, char ret_id[STORE_ID_MAX],
              struct err *err)
{
    struct store_source row = {0};
    lock_enter(&e->rows); /* of several who come at once, one makes it */
    int r = store_source_find(e->options.store, who->tenant, location, &row, err);
    bool is_new = r == -ERR_NOT_FOUND;
    if (is_new)
        r = source_create(e, who, kind, location, base, name, ret_id, err);
    lock_leave(&e->rows);
    if (r == 0 && !is_new)
        return take_found(e, who, &row, name, ret_id, err);
    store_source_done(&row);
    return r;
}

/* ---- repositories of other machines ---- */

static int source_known(struct engine *e, const struct engine_caller *who, struct span named,
                        char ret_id[STORE_ID_MAX], struct err *err);

/* What the source is called: as people call the repository, else by its folder's safe name. */
static void name_from_remote(const struct source_name *n, char ret[SOURCE_NAME_MAX + 1])
{
    struct buf title = BUF_INIT(SOURCE_URL_MAX);
    char dir[SOURCE_DIR_MAX];
    source_name_title(n, &title);
    source_name_dir(n, dir);
    bool ok = title.len + 4 <= SOURCE_NAME_MAX && is_source_name(buf_span(&title));
    snprintf(ret, SOURCE_NAME_MAX + 1, "%s", ok ? buf_str(&title) : dir);
    buf_done(&title);
}

static bool has_identity(const struct store_source *row, struct span identity)
{
    struct source_name n;
    struct buf own = BUF_INIT(SOURCE_URL_MAX * 2);
    bool same = strcmp(row->kind, SOURCE_KIND_GIT) == 0 &&
                source_name_parse(span_str(row->location), SPAN_NULL, SPAN_NULL, &n, NULL) == 0;
    if (same) {
        source_name_identity(&n, &own);
        same = span_eq(buf_span(&own), identity);
    }
    buf_done(&own);
    return same;
}

/* The row of the same repository, however it was named when it was made. Blocks. */
static int find_remote(struct engine *e, const struct engine_caller *who,
                       const struct source_name *n, struct store_source *ret, struct err *err)
{
    struct buf text = BUF_INIT(SOURCE_URL_MAX * 2);
    struct store_source *all = NULL;
    size_t count = 0;
    source_name_location(n, &text);
    int r = store_source_find(e->options.store, who->tenant, buf_str(&text), ret, err);
    if (r == -ERR_NOT_FOUND &&
        store_source_list(e->options.store, who->tenant, &all, &count, err) == 0) {
        buf_clear(&text);
        source_name_identity(n, &text);
        for (size_t i = 0; i < count; i++) {
            if (r == -ERR_NOT_FOUND && has_identity(&all[i], buf_span(&text))) {
                *ret = all[i];
                all[i] = (struct store_source){0};
                r = 0;
            }
            store_source_done(&all[i]);
        }
        mem_free(all);
    }
    buf_done(&text);
    return r;
}

static int create_remote(struct engine *e, const struct engine_caller *who,
                         const struct source_name *n, struct span name, char ret_id[STORE_ID_MAX],
                         struct err *err)
{
    char base[SOURCE_NAME_MAX + 1];
    struct buf location = BUF_INIT(SOURCE_URL_MAX * 2);
    union { /* lists of our own strings, read only */
        char **in;
        const char *const *out;
    } hosts = {.in = e->allow_hosts}, private_hosts = {.in = e->allow_private_hosts};
    struct guard_policy policy = {hosts.out, private_hosts.out, e->options.fetch_policy.allow_ssh};
    int r = who->is_trusted || n->scheme == SCHEME_FILE
                ? 0
                : guard_check_host(&policy, n, NULL, err); /* no row for what is refused anyway */
    name_from_remote(n, base);
    source_name_location(n, &location);
    if (r == 0)
        r = source_create(e, who, SOURCE_KIND_GIT, buf_str(&location), base, name, ret_id, err);
    buf_done(&location);
    return r;
}

/* A repository on this machine: as a folder it must be one that the caller may name. */
static int check_file_remote(const struct engine *e, const struct engine_caller *who,
                             struct source_name *n, struct err *err)
{
    if (n->scheme != SCHEME_FILE)
        return 0;
    CLEANUP(mem_freep) char *real = realpath(n->path, NULL);
    if (real && may_name(e, who, real) && strlen(real) < sizeof n->path) {
        snprintf(n->path, sizeof n->path, "%s", real);
        return 0;
    }
    if (who->is_trusted)
        return err_set(err, ERR_NOT_FOUND, "there is no repository at '%s'", n->path);
    err_set(err, ERR_FORBIDDEN, "'%s' lies outside the allowed paths", n->path);
    err_hint(err, "start the server with --allow-path");
    return -ERR_FORBIDDEN;
}

static int resolve_remote(struct engine *e, const struct engine_caller *who, struct source_name *n,
                          struct span name, char ret_id[STORE_ID_MAX], struct err *err)
{
    struct store_source row = {0};
    if (!e->repos_dir)
        return err_set(err, ERR_UNSUPPORTED, "no repositories are fetched here");
    int r = check_file_remote(e, who, n, err);
    if (r < 0)
        return r;
    r = find_remote(e, who, n, &row, err);
    if (r == -ERR_NOT_FOUND) {
        lock_enter(&e->rows); /* of several who come at once, one makes it */
        r = find_remote(e, who, n, &row, err);
        bool is_new = r == -ERR_NOT_FOUND;
        if (is_new)
            r = create_remote(e, who, n, name, ret_id, err);
        lock_leave(&e->rows);
        if (is_new)
            return r;
    }
    if (r == 0)
        return take_found(e, who, &row, name, ret_id, err);
    store_source_done(&row);
    return r;
}

/* "owner/repo" may also be a folder here, for those who may name it. */
static bool is_folder(const struct engine *e, const struct engine_caller *who, const char *text)
{
    if (strstr(text, "://") || strchr(text, '@'))
        return false;
    CLEANUP(mem_freep) char *real = realpath(text, NULL);
    return real && may_name(e, who, real);
}

static void take_given(const struct source_access *access, const struct source_name *n,
                       struct index_ask *ret)
{
    struct span token = span_trim(access->token);
    if (token.len && token.len < sizeof ret->given.secret) {
        snprintf(ret->given.secret, sizeof ret->given.secret, SPAN_FMT, SPAN_ARG(token));
    } else if (n && n->secret[0]) {
        snprintf(ret->given.secret, sizeof ret->given.secret, "%s", n->secret);
        snprintf(ret->given.user, sizeof ret->given.user, "%s", n->user);
    }
}

static int resolve_text(struct engine *e, const struct engine_caller *who, const char *text,
                        const struct source_access *access, struct span name,
                        char ret_id[STORE_ID_MAX], struct index_ask *ret_ask, struct err *err)
{
    struct store_source row = {0};
    int r = access->branch.len ? -ERR_NOT_FOUND
                               : store_source_find(e->options.store, who->tenant, text, &row, err);
    if (r == 0) {
        take_given(access, NULL, ret_ask);
        return take_found(e, who, &row, name, ret_id, err);
    }
    store_source_done(&row);
    if (r != -ERR_NOT_FOUND)
        return r;
    struct source_name n;
    r = source_name_parse(span_str(text), access->type, access->branch, &n, err);
    if (r == -ERR_NOT_FOUND || (r == 0 && is_folder(e, who, text)))
        return resolve_path(e, who, text, name, ret_id, err);
    if (r == 0) {
        take_given(access, &n, ret_ask);
        r = resolve_remote(e, who, &n, name, ret_id, err);
    }
    source_name_done(&n);
    return r;
}

int source_resolve_access(struct engine *e, const struct engine_caller *who, struct span named,
                          const struct source_access *access, struct span name,
                          char ret_id[STORE_ID_MAX], struct index_ask *ret_ask, struct err *err)
{
    struct index_ask ask = {.is_guarded = !who->is_trusted};
    if (!named.len || named.len >= PATH_BYTES_MAX || memchr(named.ptr, 0, named.len))
        return err_set(err, ERR_INVALID,
                       named.len ? "this cannot be the path of a source" : "no source named");
    if (name.len && !is_source_name(name))
        return bad_name(name, err);
    if (access->token.len >= sizeof ask.given.secret)
        return err_set(err, ERR_INVALID, "the token is too long to be one");
    CLEANUP(mem_freep) char *text = mem_try_strndup(named.ptr, named.len);
    if (!text)
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    int r = resolve_text(e, who, text, access, name, ret_id, &ask, err);
    explicit_bzero(text, named.len); /* may hold a credential */
    if (r == 0 && ret_ask)
        *ret_ask = ask;
    index_ask_done(&ask);
    return r;
}

int source_resolve(struct engine *e, const struct engine_caller *who, struct span named,
                   struct span name, char ret_id[STORE_ID_MAX], struct err *err)
{
    return source_resolve_access(e, who, named, &(struct source_access){0}, name, ret_id, NULL,
                                 err);
}

/* Takes the source out of use, also of its embedding; not while it is being indexed. */
static int take_out(struct engine *e, const char *id, struct live_source **ret, struct err *err)
{
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    bool is_busy = s && s->job;
    if (s && !is_busy)
        embedding_stop(e, s);
    *ret = s && !is_busy ? map_remove(&e->sources, span_str(id)) : NULL;
    lock_leave(&e->lock);
    if (!is_busy)
        return 0;
    err_set(err, ERR_BUSY, "the source is being indexed");
    err_hint(err, "try again when that has ended");
    return -ERR_BUSY;
}

int engine_source_delete(struct engine *e, const struct engine_caller *who, struct span source,
                         struct err *err)
{
    char id[STORE_ID_MAX];
    struct store_source row = {0};
    struct live_source *live = NULL;
    if (!who->is_trusted)
        return err_set(err, ERR_FORBIDDEN, "only the server's own command line removes sources");
    int r = source_known(e, who, source, id, err);
    if (r < 0)
        return r;
    lock_enter(&e->rows);
    r = take_out(e, id, &live, err);
    if (r == 0)
        r = store_source_get(e->options.store, who->tenant, id, &row, err);
    if (r == 0)
        r = store_source_delete(e->options.store, who->tenant, id, err);
    if (r == 0 && row.index_file[0]) {
        struct buf path = BUF_INIT(PATH_BYTES_MAX * 2);
        buf_printf(&path, "%s/%s", e->index_dir, row.index_file);
        if (!buf_failed(&path))
            (void)unlink(buf_str(&path)); /* a left-over is swept at the next start */
        buf_done(&path);
    }
    if (r == 0)
        remove_vectors(e, id);
    /* The files that were fetched belong to the source with all of them. */
    if (r == 0 && strcmp(row.kind, SOURCE_KIND_GIT) == 0 &&
        !location_filters(span_str(row.location)).len)
        remote_forget(e, row.location);
    lock_leave(&e->rows);
    live_source_free(live);
    store_source_done(&row);
    return r;
}

/* ---- the index of a source ---- */

/* What the caller needs of a source without holding the lock. */
struct source_state {
    struct buf index_path;
    char *location;
    bool has_open_index, has_index_file, checked_lately, is_remote;
};

static void state_done(struct source_state *st)
{
    mem_free(st->location);
    buf_done(&st->index_path);
}

/* False when the source is gone or memory is. state_done in every case. */
static bool read_state(struct engine *e, const char *id, struct source_state *ret)
{
    *ret = (struct source_state){.index_path = BUF_INIT(PATH_BYTES_MAX * 2)};
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    bool ok = s && set_text(&ret->location, s->row.location);
    if (ok) {
        uint64_t pause = s->check_cost_ms * FRESHNESS_COST_FACTOR;
        if (pause < FRESHNESS_INTERVAL_MS)
            pause = FRESHNESS_INTERVAL_MS;
        ret->has_open_index = s->index != NULL;
        ret->has_index_file = s->row.index_file[0] && !s->is_index_lost;
        ret->checked_lately = s->checked_ms && clock_ms() - s->checked_ms < pause;
        ret->is_remote = strcmp(s->row.kind, SOURCE_KIND_GIT) == 0;
        if (ret->is_remote)
            ret->checked_lately =
                s->remote_ms && clock_ms() - s->remote_ms < e->options.refresh_interval_ms;
        buf_printf(&ret->index_path, "%s/%s", e->index_dir, s->row.index_file);
        s->used = ++e->uses;
    }
    lock_leave(&e->lock);
    return ok && !buf_failed(&ret->index_path);
}

static void open_stored_index(struct engine *e, const char *id, const char *path)
{
    struct index *ix = NULL;
    struct err err = {0};
    int r = index_open(path, &ix, &err);
    struct index_stats stats = {.damage = ""};
    if (r == 0)
        index_stats(ix, &stats);
    if (r < 0)
        LOG_WARN("engine", "a stored index cannot be used", LOG_S("source", id),
                 LOG_S("why", err.msg));
    else if (stats.damage[0])
        LOG_WARN("engine", "a part of a stored index cannot be used", LOG_S("source", id),
                 LOG_S("why", stats.damage));
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    if (s && !s->index && r == 0)
        s->index = take_ptr(ix);
    if (s && !s->index && (r == -ERR_CORRUPT || r == -ERR_NOT_FOUND || r == -ERR_UNSUPPORTED)) {
        s->is_index_lost = true; /* not looked at again; the job that builds the next one says so */
        snprintf(s->lost_why, sizeof s->lost_why, "%s", err.msg);
    }
    lock_leave(&e->lock);
    index_unref(ix);
}

struct index *source_any_index(struct engine *e, const char *id)
{
    struct source_state st;
    if (read_state(e, id, &st) && !st.has_open_index && st.has_index_file)
        open_stored_index(e, id, buf_str(&st.index_path));
    state_done(&st);
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    struct index *ix = s && s->index ? index_ref(s->index) : NULL;
    lock_leave(&e->lock);
    return ix;
}

/* Whether the tree is what the index was made of; never when files of it are missing. */
static bool is_unchanged(struct engine *e, const char *id, const struct source_state *st,
                         const char *fingerprint, const _Atomic bool *cancel)
{
    char now[17];
    uint64_t began = clock_ms();
    struct filter_patterns p = {0};
    if (filter_patterns_read(location_filters(span_str(st->location)), &p) < 0)
        return false;
    st->location[location_path(span_str(st->location)).len] = '\0';
    struct ingest_options o = {.root = st->location,
                               .excludes = (const char *const *)p.excludes,
                               .includes = (const char *const *)p.includes,
                               .cancel = cancel};
    int r = ingest_fingerprint(&o, now, NULL);
    filter_patterns_done(&p);
    if (r < 0 || strcmp(now, fingerprint) != 0)
        return false;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    if (s) {
        s->checked_ms = clock_ms();
        s->check_cost_ms = s->checked_ms - began;
    }
    lock_leave(&e->lock);
    return true;
}

struct index *source_fresh_index(struct engine *e, const char *id, const _Atomic bool *cancel)
{
    struct index *ix = source_any_index(e, id);
    struct source_state st;
    struct index_stats stats;
    if (!ix)
        return NULL;
    index_stats(ix, &stats);
    if (!read_state(e, id, &st) || !stats.fingerprint[0] ||
        (!st.checked_lately &&
         (st.is_remote || !is_unchanged(e, id, &st, stats.fingerprint, cancel)))) {
        index_unref(ix);
        ix = NULL;
    }
    state_done(&st);
    return ix;
}

bool source_names(struct engine *e, const char *id, char *ret_name, size_t name_size,
                  char *ret_revision, size_t revision_size)
{
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    snprintf(ret_name, name_size, "%s", s ? s->row.name : "");
    snprintf(ret_revision, revision_size, "%s", s ? s->row.revision : "");
    lock_leave(&e->lock);
    return s != NULL;
}

void source_address(struct engine *e, const char *id, char *ret_location, size_t size,
                    const char **ret_type)
{
    struct source_name n;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    bool is_remote = s && strcmp(s->row.kind, SOURCE_KIND_GIT) == 0;
    struct span location = s ? location_path(span_str(s->row.location)) : SPAN_NULL;
    snprintf(ret_location, size, SPAN_FMT, SPAN_ARG(location));
    lock_leave(&e->lock);
    *ret_type = "local";
    if (is_remote && source_name_parse(span_str(ret_location), SPAN_NULL, SPAN_NULL, &n, NULL) == 0)
        *ret_type = host_kind_name(n.kind);
}

bool source_fetch_failed(struct engine *e, const char *id)
{
    lock_enter(&e->lock);
    const struct live_source *s = source_live(e, id);
    bool failed = s && s->is_fetch_failed;
    lock_leave(&e->lock);
    return failed;
}

static void put_source(struct engine *e, struct json_writer *w, const struct store_source *s)
{
    lock_enter(&e->lock);
    const struct live_source *live = source_live(e, s->id);
    bool is_indexing = live && live->job;
    lock_leave(&e->lock);
    char when[40] = "";
    if (s->indexed_ms)
        clock_iso(s->indexed_ms, when, sizeof when);
    jw_obj(w);
    jw_kstr(w, "id", s->id);
    jw_kstr(w, "name", s->name);
    jw_kstr(w, "kind", s->kind);
    jw_kspan(w, "location", location_path(span_str(s->location)));
    struct span filters = location_filters(span_str(s->location)), line;
    jw_key(w, "filters");
    jw_arr(w);
    while (span_next(&filters, '\n', &line))
        if (line.len)
            jw_span(w, line);
    jw_end_arr(w);
    jw_kstr(w, "state", is_indexing ? "indexing" : s->state);
    jw_kstr(w, "revision", s->revision);
    jw_kint(w, "files", s->files);
    jw_kint(w, "chunks", s->chunks);
    jw_kint(w, "bytes", s->bytes);
    jw_kint(w, "skipped", s->skipped);
    jw_kstr(w, "indexed_at", when[0] ? when : NULL);
    jw_kstr(w, "error", s->error[0] ? s->error : NULL);
    lock_enter(&e->lock);
    embedding_put_state(e, source_live(e, s->id), w);
    lock_leave(&e->lock);
    jw_end_obj(w);
}

int engine_sources_json(struct engine *e, const struct engine_caller *who, struct buf *out,
                        struct err *err)
{
    struct store_source *all = NULL;
    size_t n = 0;
    int r = store_source_list(e->options.store, who->tenant, &all, &n, err);
    if (r < 0)
        return r;
    struct json_writer w = json_writer(out);
    jw_obj(&w);
    jw_key(&w, "sources");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        put_source(e, &w, &all[i]);
        store_source_done(&all[i]);
    }
    jw_end_arr(&w);
    jw_end_obj(&w);
    mem_free(all);
    return buf_failed(out) ? err_set(err, ERR_TOO_LARGE, "too many sources to list") : 0;
}

/* An existing source by id, name or location; never makes one. */
static int source_known(struct engine *e, const struct engine_caller *who, struct span named,
                        char ret_id[STORE_ID_MAX], struct err *err)
{
    CLEANUP(mem_freep) char *text = mem_try_strndup(named.ptr, named.len);
    if (!text)
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    struct store_source row = {0};
    int r = store_source_get(e->options.store, who->tenant, text, &row, err);
    if (r == -ERR_NOT_FOUND)
        r = store_source_find(e->options.store, who->tenant, text, &row, err);
    if (r == 0)
        return source_adopt(e, &row, ret_id, err);
    store_source_done(&row);
    return r == -ERR_NOT_FOUND ? err_set(err, ERR_NOT_FOUND, "no source '%s'", text) : r;
}

int engine_skipped_json(struct engine *e, const struct engine_caller *who, struct span source,
                        size_t offset, size_t limit, struct buf *out, struct err *err)
{
    char id[STORE_ID_MAX];
    struct store_source row = {0};
    struct store_skipped *items = NULL;
    size_t n = 0;
    int r = source_known(e, who, source, id, err);
    if (r == 0)
        r = store_source_get(e->options.store, who->tenant, id, &row, err);
    if (r == 0)
        r = store_skipped_list(e->options.store, who->tenant, id, offset, limit, &items, &n, err);
    if (r == 0) {
        struct json_writer w = json_writer(out);
        jw_obj(&w);
        jw_key(&w, "skipped");
        jw_arr(&w);
        for (size_t i = 0; i < n; i++) {
            jw_obj(&w);
            jw_kstr(&w, "path", items[i].path);
            jw_kstr(&w, "reason", items[i].reason);
            jw_end_obj(&w);
        }
        jw_end_arr(&w);
        lock_enter(&e->lock);
        const struct live_source *live = source_live(e, id);
        int64_t unembedded = live ? live->vectors.failed : 0; /* listed behind the files */
        lock_leave(&e->lock);
        jw_kint(&w, "total", row.skipped + unembedded);
        jw_end_obj(&w);
        if (buf_failed(out))
            r = err_set(err, ERR_TOO_LARGE, "too many files to list; ask for fewer with limit");
    }
    store_skipped_free(items, n);
    store_source_done(&row);
    return r;
}
