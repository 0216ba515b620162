#include "fetch/source_name.h"

#include "base/hash.h"
#include "fetch/source_name_priv.h"
#include "text/utf8.h"

#include <stdio.h>

#define TEXT_MAX 8192

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

unsigned scheme_port(enum source_scheme s)
{
    return s == SCHEME_HTTPS ? 443 : s == SCHEME_HTTP ? 80 : s == SCHEME_SSH ? 22 : 0;
}

void source_name_show(struct span text, struct buf *out)
{
    /* Whatever is before an '@' may be a secret: of URLs, of git@host, and of what was meant to be one. */
    ptrdiff_t at = span_rfind_char(text, '@'), scheme = span_find(text, SPAN_LIT("://"));
    if (at >= 0 && !memchr("/.~", text.ptr[0], 3)) {
        if (scheme >= 0 && scheme < at)
            buf_put_span(out, span_first(text, (size_t)scheme + 3));
        text = span_skip(text, (size_t)at + 1);
    }
    size_t max = utf8_cut(text, 200);
    buf_put_span(out, span_first(text, max));
}

static int bad(struct span text, enum err_code code, struct err *err, const char *why)
{
    struct buf shown = BUF_INIT(512);
    source_name_show(text, &shown);
    err_set(err, code, "'%s' is no repository that can be fetched: %s", buf_str(&shown), why);
    buf_done(&shown);
    return -(int)code;
}

bool is_branch_name(struct span b)
{
    /* git-check-ref-format(1), and no leading '-' */
    if (!b.len || b.len >= SOURCE_BRANCH_MAX || !utf8_is_valid(b) || b.ptr[0] == '-' ||
        b.ptr[0] == '/' || b.ptr[b.len - 1] == '/' || b.ptr[b.len - 1] == '.' || span_is(b, "@") ||
        b.ptr[0] == '.')
        return false;
    for (size_t i = 0; i < b.len; i++)
        if ((unsigned char)b.ptr[i] <= 0x20 || memchr("\x7f~^:?*[\\", b.ptr[i], 9))
            return false;
    static const struct span never[] = {SPAN_INIT(".."), SPAN_INIT("//"), SPAN_INIT("/."),
                                        SPAN_INIT("@{"), SPAN_INIT(".lock/")};
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        if (span_find(b, never[i]) >= 0)
            return false;
    return !span_ends(b, SPAN_LIT(".lock"));
}

static int hex(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10
                                                : -1;
}

/* %XX decoded; a '%' that is none stays. False when it does not fit, or for a slash where none may come from decoding. */
static bool decode(struct span from, bool may_be_slash, char *ret, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < from.len; i++) {
        char c = from.ptr[i];
        if (c == '%' && i + 2 < from.len && hex(from.ptr[i + 1]) >= 0 &&
            hex(from.ptr[i + 2]) >= 0) {
            c = (char)(hex(from.ptr[i + 1]) * 16 + hex(from.ptr[i + 2]));
            i += 2;
            if (c == '/' && !may_be_slash)
                return false; /* one piece would become two */
        }
        if (n + 1 >= size || !c)
            return false;
        ret[n++] = c;
    }
    ret[n] = 0;
    return true;
}

static bool has_controls(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return true;
    return false;
}

/* No piece is empty, "." or ".."; none holds a backslash; the first does not look like an option. */
static bool is_clean_path(struct span path)
{
    struct span piece;
    if (!path.len || path.ptr[0] == '-' || !utf8_is_valid(path) || has_controls(path) ||
        span_find_char(path, '\\') >= 0)
        return false;
    while (span_next(&path, '/', &piece))
        if (!piece.len || span_is(piece, ".") || span_is(piece, ".."))
            return false;
    return true;
}

/* ---- the parts of a URL ---- */

static bool is_host(struct span h, bool is_v6)
{
    if (!h.len || h.len >= SOURCE_HOST_MAX || h.ptr[0] == '-' || h.ptr[0] == '.' ||
        h.ptr[h.len - 1] == '.')
        return false;
    for (size_t i = 0; i < h.len; i++) {
        char c = h.ptr[i];
        bool ok = is_v6 ? hex(c) >= 0 || c == ':' || c == '.'
                        : is_alnum(c) || c == '-' || c == '.' || c == '_';
        if (!ok)
            return false;
    }
    return span_find(h, SPAN_LIT("..")) < 0;
}

static bool set_host(struct source_name *n, struct span host, bool is_v6)
{
    if (!is_v6 && host.len > 1 && host.ptr[host.len - 1] == '.')
        host.len--; /* the root's dot */
    if (!is_host(host, is_v6))
        return false;
    for (size_t i = 0; i < host.len; i++)
        n->host[i] = lower(host.ptr[i]);
    n->host[host.len] = 0;
    return true;
}

/* host[:port] or [v6][:port] */
static bool read_authority(struct source_name *n, struct span text)
{
    struct span host = text, port = SPAN_NULL;
    bool is_v6 = text.len && text.ptr[0] == '[';
    ptrdiff_t end = is_v6 ? span_find_char(text, ']') : span_find_char(text, ':');
    if (is_v6) {
        if (end < 0)
            return false;
        host = span_of(text.ptr + 1, (size_t)end - 1);
        port = span_skip(text, (size_t)end + 1);
        if (port.len && port.ptr[0] != ':')
            return false;
    } else if (end >= 0) {
        host = span_first(text, (size_t)end);
        port = span_skip(text, (size_t)end);
    }
    uint64_t number = 0;
    if (port.len > 1 &&
        (!parse_u64(span_skip(port, 1), &number) || number < 1 || number > UINT16_MAX))
        return false;
    n->port = number == scheme_port(n->scheme) ? 0 : (unsigned)number;
    return set_host(n, host, is_v6);
}

static bool is_secret_text(const char *s)
{
    return !has_controls(span_str(s));
}

/* Userinfo lets in on http(s); on ssh it is a login, and a password there is of no use to anybody. */
static bool read_userinfo(struct source_name *n, struct span info)
{
    ptrdiff_t colon = span_find_char(info, ':');
    struct span user = colon < 0 ? info : span_first(info, (size_t)colon);
    if (n->scheme == SCHEME_SSH) {
        if (colon >= 0 || !is_host(user, false) || user.len >= sizeof n->login)
            return false;
        snprintf(n->login, sizeof n->login, SPAN_FMT, SPAN_ARG(user));
        return true;
    }
    if (n->scheme == SCHEME_FILE)
        return false;
    if (colon < 0) /* https://TOKEN@host */
        return decode(user, true, n->secret, sizeof n->secret) && is_secret_text(n->secret);
    return decode(user, true, n->user, sizeof n->user) && is_secret_text(n->user) &&
           decode(span_skip(info, (size_t)colon + 1), true, n->secret, sizeof n->secret) &&
           is_secret_text(n->secret);
}

static struct span strip_slashes(struct span s)
{
    while (s.len && s.ptr[0] == '/')
        s = span_skip(s, 1);
    while (s.len && s.ptr[s.len - 1] == '/')
        s.len--;
    return s;
}

/* The address of Azure's clone button has the organisation in front of '@'; that is no secret. */
static void drop_azure_user(struct source_name *n)
{
    size_t len = strlen(n->secret);
    if (n->kind == HOST_AZURE && !n->user[0] && len && strncmp(n->path, n->secret, len) == 0 &&
        n->path[len] == '/')
        explicit_bzero(n->secret, sizeof n->secret);
}

struct tail {
    struct span query, fragment;
};

static int finish(struct source_name *n, struct span whole, struct span type,
                  const struct tail *tail, struct err *err)
{
    bool is_known;
    enum host_kind guess = host_guess(span_str(n->host), &is_known);
    n->kind = guess;
    n->is_folded = guess != HOST_GIT && n->scheme != SCHEME_FILE;
    if (!is_known && guess == HOST_GIT)
        (void)host_kind_read(type, &n->kind);
    if (n->scheme == SCHEME_FILE)
        n->kind = HOST_GIT;
    if (is_known && n->scheme == SCHEME_HTTP)
        n->scheme = SCHEME_HTTPS; /* they answer nothing else, and a token must not travel bare */
    if (!is_clean_path(strip_slashes(span_str(n->path))))
        return bad(whole, ERR_INVALID, err, "its path is not one of a repository");
    int r = host_path(n, tail->query, err);
    if (r < 0)
        return r;
    /* A page's own address says the branch before the fragment, which may be a place on it. */
    if (!n->branch[0] && is_branch_name(tail->fragment))
        snprintf(n->branch, sizeof n->branch, SPAN_FMT, SPAN_ARG(tail->fragment));
    if (!is_clean_path(strip_slashes(span_str(n->path))))
        return bad(whole, ERR_INVALID, err, "its path is not one of a repository");
    drop_azure_user(n);
    return 0;
}

/* "#BRANCH" and "?query" are cut off the text. */
static struct span cut_tail(const struct source_name *n, struct span rest, struct tail *ret)
{
    ptrdiff_t hash = span_find_char(rest, '#');
    *ret = (struct tail){0};
    if (hash >= 0) {
        ret->fragment = span_skip(rest, (size_t)hash + 1);
        rest = span_first(rest, (size_t)hash);
    }
    ptrdiff_t question = n->scheme == SCHEME_FILE ? -1 : span_find_char(rest, '?');
    if (question >= 0) {
        ret->query = span_skip(rest, (size_t)question + 1);
        rest = span_first(rest, (size_t)question);
    }
    return rest;
}

static int read_file_url(struct source_name *n, struct span whole, struct span rest,
                         struct err *err)
{
    struct tail tail;
    rest = cut_tail(n, rest, &tail);
    if (span_starts(rest, SPAN_LIT("localhost/")))
        rest = span_skip(rest, 9);
    if (!span_starts(rest, SPAN_LIT("/")))
        return bad(whole, ERR_INVALID, err, "a file URL is file:///PATH");
    struct span path = strip_slashes(rest);
    n->path[0] = '/';
    if (!decode(path, false, n->path + 1, sizeof n->path - 1))
        return bad(whole, ERR_INVALID, err, "its path is not one of a repository");
    return finish(n, whole, SPAN_NULL, &tail, err);
}

static int read_url(struct source_name *n, struct span whole, struct span rest, struct span type,
                    struct err *err)
{
    struct tail tail;
    if (n->scheme == SCHEME_FILE)
        return read_file_url(n, whole, rest, err);
    ptrdiff_t slash = span_find_char(rest, '/');
    struct span authority = slash < 0 ? rest : span_first(rest, (size_t)slash);
    ptrdiff_t at = span_rfind_char(authority, '@');
    if (at >= 0) {
        if (!read_userinfo(n, span_first(authority, (size_t)at)))
            return bad(whole, ERR_INVALID, err, "what is before '@' cannot be used");
        authority = span_skip(authority, (size_t)at + 1);
    } else if (n->scheme == SCHEME_SSH) {
        snprintf(n->login, sizeof n->login, "git");
    }
    if (!read_authority(n, authority))
        return bad(whole, ERR_INVALID, err, "its host or port is not one");
    rest =
        strip_slashes(cut_tail(n, slash < 0 ? SPAN_NULL : span_skip(rest, (size_t)slash), &tail));
    if (!decode(rest, false, n->path, sizeof n->path))
        return bad(whole, ERR_INVALID, err, "its path is not one of a repository");
    return finish(n, whole, type, &tail, err);
}

/* user@host:path */
static int read_scp(struct source_name *n, struct span whole, struct span type, struct err *err)
{
    struct tail tail;
    n->scheme = SCHEME_SSH;
    n->is_scp = true;
    ptrdiff_t at = span_find_char(whole, '@');
    struct span rest = span_skip(whole, (size_t)at + 1);
    bool is_v6 = rest.len && rest.ptr[0] == '[';
    ptrdiff_t end = is_v6 ? span_find(rest, SPAN_LIT("]:")) + 1 : span_find_char(rest, ':');
    if (end <= 0 || !read_userinfo(n, span_first(whole, (size_t)at)) ||
        !set_host(n, is_v6 ? span_of(rest.ptr + 1, (size_t)end - 2) : span_first(rest, (size_t)end),
                  is_v6))
        return bad(whole, ERR_INVALID, err, "it should look like git@HOST:PATH");
    rest = cut_tail(n, span_skip(rest, (size_t)end + 1), &tail);
    if (rest.len && rest.ptr[0] == '/')
        n->is_scp = false; /* from the root: the same as ssh://host/path */
    rest = strip_slashes(rest);
    /* This form has no way to write what a URL would encode. */
    if (rest.len >= sizeof n->path || span_find_char(rest, ' ') >= 0)
        return bad(whole, ERR_INVALID, err, "its path is too long, or has spaces: use ssh://");
    snprintf(n->path, sizeof n->path, SPAN_FMT, SPAN_ARG(rest));
    return finish(n, whole, type, &tail, err);
}

/* ---- names without a scheme ---- */

static bool is_plain_piece(struct span s)
{
    if (!s.len || s.ptr[0] == '.' || s.ptr[0] == '~' || s.ptr[0] == '-')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.ptr[i]) && !strchr("-_.", s.ptr[i]))
            return false;
    return true;
}

/*
 * owner/repo, or host/owner/repo for a host that is known as one; with a type, as many pieces as its host has. -ERR_NOT_FOUND: anything
 * else.
 */
static int read_short(struct source_name *n, struct span text, struct span type, struct err *err)
{
    struct span rest = text, piece, first = SPAN_NULL;
    size_t count = 0;
    ptrdiff_t hash = span_find_char(text, '#');
    if (hash >= 0)
        rest = span_first(text, (size_t)hash);
    struct span names = rest;
    while (span_next(&rest, '/', &piece)) {
        if (!is_plain_piece(piece))
            return -ERR_NOT_FOUND;
        first = count++ ? first : piece;
    }
    bool is_known;
    enum host_kind kind = HOST_GITHUB;
    n->scheme = SCHEME_HTTPS;
    if (count >= 3 && span_find_char(first, '.') > 0) {
        (void)host_guess(first, &is_known);
        return is_known ? read_url(n, text, text, type, err) : -ERR_NOT_FOUND;
    }
    (void)host_kind_read(type, &kind);
    bool fits = kind == HOST_GITLAB ? count >= 2 : count == (kind == HOST_AZURE ? 3 : 2);
    if (!fits || !host_of_kind(kind) || (names.len && names.ptr[names.len - 1] == '/'))
        return -ERR_NOT_FOUND;
    char url[SOURCE_PATH_MAX];
    int len = snprintf(url, sizeof url, "%s/" SPAN_FMT, host_of_kind(kind), SPAN_ARG(text));
    if (len < 0 || (size_t)len >= sizeof url)
        return -ERR_NOT_FOUND;
    return read_url(n, text, span_str(url), type, err);
}

static bool read_scheme(struct span text, enum source_scheme *ret, struct span *ret_rest)
{
    static const struct {
        struct span prefix;
        enum source_scheme scheme;
    } schemes[] = {
        {SPAN_INIT("https"), SCHEME_HTTPS},     {SPAN_INIT("http"), SCHEME_HTTP},
        {SPAN_INIT("ssh"), SCHEME_SSH},         {SPAN_INIT("git+ssh"), SCHEME_SSH},
        {SPAN_INIT("ssh+git"), SCHEME_SSH},     {SPAN_INIT("file"), SCHEME_FILE},
        {SPAN_INIT("git+https"), SCHEME_HTTPS},
    };
    ptrdiff_t at = span_find(text, SPAN_LIT("://"));
    for (size_t i = 0; at > 0 && i < ARRAY_LEN(schemes); i++)
        if (span_eq_nocase(span_first(text, (size_t)at), schemes[i].prefix)) {
            *ret = schemes[i].scheme;
            *ret_rest = span_skip(text, (size_t)at + 3);
            return true;
        }
    return false;
}

/* user@host:path; not "dir/x@y:z", which is a path. */
static bool is_scp_like(struct span text)
{
    ptrdiff_t at = span_find_char(text, '@'), slash = span_find_char(text, '/');
    struct span behind = at < 0 ? SPAN_NULL : span_skip(text, (size_t)at + 1);
    return at > 0 && (slash < 0 || at < slash) && span_find_char(behind, ':') >= 0;
}

int source_name_parse(struct span text, struct span type, struct span branch,
                      struct source_name *ret, struct err *err)
{
    struct source_name *n = ret;
    struct span rest;
    *n = (struct source_name){0};
    text = span_trim(text);
    if (!text.len || text.len > TEXT_MAX || memchr(text.ptr, 0, text.len) ||
        span_eq_nocase(type, SPAN_LIT("local")))
        return -ERR_NOT_FOUND;
    if (branch.len) {
        if (!is_branch_name(branch))
            return err_set(err, ERR_INVALID, "'" SPAN_FMT "' cannot be the name of a branch",
                           SPAN_ARG(span_first(branch, utf8_cut(branch, 100))));
        snprintf(n->branch, sizeof n->branch, SPAN_FMT, SPAN_ARG(branch));
    }
    int r;
    if (read_scheme(text, &n->scheme, &rest)) {
        r = read_url(n, text, rest, type, err);
    } else if (span_find(text, SPAN_LIT("://")) >= 0) {
        r = bad(text, ERR_UNSUPPORTED, err, "its scheme is not https, http, ssh or file");
    } else if (is_scp_like(text)) {
        r = read_scp(n, text, type, err);
    } else {
        r = read_short(n, text, type, err);
    }
    if (r < 0)
        source_name_done(n);
    return r;
}

void source_name_done(struct source_name *n)
{
    explicit_bzero(n->user, sizeof n->user);
    explicit_bzero(n->secret, sizeof n->secret);
}

/* ---- writing ---- */

static void put_encoded(struct buf *out, const char *path)
{
    for (const char *c = path; *c; c++) {
        if (is_alnum(*c) || strchr("/-._~!$&'()*+,;=:@", *c))
            buf_putc(out, *c);
        else
            buf_printf(out, "%%%02X", (unsigned char)*c);
    }
}

static void put_host(const struct source_name *n, struct buf *out)
{
    bool is_v6 = strchr(n->host, ':');
    buf_printf(out, is_v6 ? "[%s]" : "%s", n->host);
    if (n->port)
        buf_printf(out, ":%u", n->port);
}

void source_name_url(const struct source_name *n, struct buf *out)
{
    static const char *const schemes[] = {[SCHEME_HTTPS] = "https://",
                                          [SCHEME_HTTP] = "http://",
                                          [SCHEME_SSH] = "ssh://",
                                          [SCHEME_FILE] = "file://"};
    const char *suffix = n->has_git_suffix ? ".git" : "";
    if (n->is_scp) {
        buf_printf(out, "%s@", n->login);
        put_host(n, out);
        buf_printf(out, ":%s%s", n->path, suffix);
        return;
    }
    buf_puts(out, schemes[n->scheme]);
    if (n->scheme == SCHEME_SSH)
        buf_printf(out, "%s@", n->login);
    if (n->scheme != SCHEME_FILE) {
        put_host(n, out);
        buf_putc(out, '/');
    }
    put_encoded(out, n->path);
    buf_puts(out, suffix);
}

static void put_branch(const struct source_name *n, struct buf *out)
{
    if (n->branch[0])
        buf_printf(out, "#%s", n->branch);
}

void source_name_location(const struct source_name *n, struct buf *out)
{
    source_name_url(n, out);
    put_branch(n, out);
}

static void put_folded(const struct source_name *n, const char *path, struct buf *out)
{
    for (const char *c = path; *c; c++)
        buf_putc(out, n->is_folded ? lower(*c) : *c);
}

/* Over ssh Azure has a host and a path of its own for the same repository. */
static bool put_azure_ssh(const struct source_name *n, struct buf *out)
{
    if (n->kind != HOST_AZURE || n->scheme != SCHEME_SSH)
        return false;
    struct span rest = span_skip(span_str(n->path), 3); /* "v3/" */
    ptrdiff_t last = span_rfind_char(rest, '/');
    char path[SOURCE_PATH_MAX + 8];
    snprintf(path, sizeof path, SPAN_FMT "/_git" SPAN_FMT, SPAN_ARG(span_first(rest, (size_t)last)),
             SPAN_ARG(span_skip(rest, (size_t)last)));
    buf_puts(out, "dev.azure.com/");
    put_folded(n, path, out);
    return true;
}

void source_name_identity(const struct source_name *n, struct buf *out)
{
    if (n->scheme == SCHEME_FILE) {
        buf_printf(out, "file:%s%s", n->path, n->has_git_suffix ? ".git" : "");
    } else if (!put_azure_ssh(n, out)) {
        put_host(n, out);
        buf_putc(out, '/');
        put_folded(n, n->path, out);
    }
    put_branch(n, out);
}

void source_name_dir(const struct source_name *n, char ret[SOURCE_DIR_MAX])
{
    struct buf id = BUF_INIT(SOURCE_URL_MAX);
    char hash[SHA256_HEX];
    size_t len = 0;
    source_name_identity(n, &id);
    sha256_hex(id.ptr, id.len, hash);
    /* The end says more than the beginning: the repository's name, then the hash that keeps it apart. */
    struct span path = buf_span(&id);
    for (size_t i = path.len > 40 ? path.len - 40 : 0; i < path.len; i++) {
        char c = lower(path.ptr[i]);
        if (is_alnum(c) || c == '_' || ((c == '.' || c == '-') && len))
            ret[len++] = c;
        else if (len && ret[len - 1] != '-')
            ret[len++] = '-';
    }
    snprintf(ret + len, SOURCE_DIR_MAX - len, "%s%.16s", len ? "-" : "", hash);
    buf_done(&id);
}

void source_name_title(const struct source_name *n, struct buf *out)
{
    if (n->scheme == SCHEME_FILE) {
        const char *slash = strrchr(n->path, '/');
        buf_puts(out, slash ? slash + 1 : n->path);
    } else {
        if (strcmp(n->host, "github.com") != 0)
            buf_printf(out, "%s/", n->host);
        buf_puts(out, n->path);
    }
    if (n->branch[0])
        buf_printf(out, "@%s", n->branch);
}
