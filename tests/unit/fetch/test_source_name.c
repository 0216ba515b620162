/* Promises of fetch/source_name.h: what people name, and what is one and the same. */
#include "../cm.h"

#include "base/attr.h"
#include "fetch/source_name.h"

#include <stdio.h>

static int parse(const char *text, const char *type, struct source_name *ret, struct err *err)
{
    return source_name_parse(span_str(text), span_str(type), SPAN_NULL, ret, err);
}

static const char *text_of(void (*put)(const struct source_name *, struct buf *),
                           const struct source_name *n, char ret[SOURCE_URL_MAX])
{
    struct buf b = BUF_INIT(SOURCE_URL_MAX - 1);
    put(n, &b);
    assert_false(buf_failed(&b));
    snprintf(ret, SOURCE_URL_MAX, "%s", buf_str(&b));
    buf_done(&b);
    return ret;
}

struct row {
    const char *text, *type, *location, *identity, *kind;
};

/* clang-format off */
static const struct row rows[] = {
    {"acme/demo", NULL, "https://github.com/acme/demo", "github.com/acme/demo", "github"},
    {"Acme/Demo", NULL, "https://github.com/Acme/Demo", "github.com/acme/demo", "github"},
    {"me/my.github.io", NULL, "https://github.com/me/my.github.io", "github.com/me/my.github.io", "github"},
    {"acme/demo#next", NULL, "https://github.com/acme/demo#next", "github.com/acme/demo#next", "github"},
    {"group/sub/demo", "gitlab", "https://gitlab.com/group/sub/demo", "gitlab.com/group/sub/demo", "gitlab"},
    {"acme/demo", "bitbucket", "https://bitbucket.org/acme/demo", "bitbucket.org/acme/demo", "bitbucket"},
    {"org/proj/repo", "azure", "https://dev.azure.com/org/proj/_git/repo", "dev.azure.com/org/proj/_git/repo", "azure"},
    {"github.com/acme/demo", NULL, "https://github.com/acme/demo", "github.com/acme/demo", "github"},
    {"https://github.com/acme/demo", NULL, "https://github.com/acme/demo", "github.com/acme/demo", "github"},
    {"https://github.com/acme/demo/", NULL, "https://github.com/acme/demo", "github.com/acme/demo", "github"},
    {"https://github.com/acme/demo.git", NULL, "https://github.com/acme/demo.git", "github.com/acme/demo", "github"},
    {"https://github.com/acme/demo.git/", NULL, "https://github.com/acme/demo.git", "github.com/acme/demo", "github"},
    {"HTTPS://GitHub.COM/acme/demo", NULL, "https://github.com/acme/demo", "github.com/acme/demo", "github"},
    {"http://github.com/acme/demo", NULL, "https://github.com/acme/demo", "github.com/acme/demo", "github"},
    {"https://github.com:443/acme/demo", NULL, "https://github.com/acme/demo", "github.com/acme/demo", "github"},
    {"https://github.com./acme/demo", NULL, "https://github.com/acme/demo", "github.com/acme/demo", "github"},
    {"https://github.com/acme/demo/tree/main", NULL, "https://github.com/acme/demo#main", "github.com/acme/demo#main", "github"},
    {"https://github.com/acme/demo/tree/feature/x-1", NULL, "https://github.com/acme/demo#feature/x-1", "github.com/acme/demo#feature/x-1", "github"},
    {"https://github.com/acme/demo/blob/main/src/a.c#L3-L9", NULL, "https://github.com/acme/demo#main", "github.com/acme/demo#main", "github"},
    {"https://github.com/acme/demo/issues/4?tab=x", NULL, "https://github.com/acme/demo", "github.com/acme/demo", "github"},
    {"https://github.com/me/my.github.io", NULL, "https://github.com/me/my.github.io", "github.com/me/my.github.io", "github"},
    {"https://github.com/me/x.git.git", NULL, "https://github.com/me/x.git.git", "github.com/me/x.git", "github"},
    {"git@github.com:acme/demo.git", NULL, "git@github.com:acme/demo.git", "github.com/acme/demo", "github"},
    {"ssh://git@github.com/acme/demo.git", NULL, "ssh://git@github.com/acme/demo.git", "github.com/acme/demo", "github"},
    {"ssh://github.com:22/acme/demo", NULL, "ssh://git@github.com/acme/demo", "github.com/acme/demo", "github"},
    {"git@host.example:/srv/git/x.git", NULL, "ssh://git@host.example/srv/git/x.git", "host.example/srv/git/x", "git"},
    {"git@[::1]:x/y.git", NULL, "git@[::1]:x/y.git", "[::1]/x/y", "git"},
    {"ssh://me@host.example:2222/~me/x", NULL, "ssh://me@host.example:2222/~me/x", "host.example:2222/~me/x", "git"},
    {"https://gitlab.com/group/sub/deep/demo", NULL, "https://gitlab.com/group/sub/deep/demo", "gitlab.com/group/sub/deep/demo", "gitlab"},
    {"https://gitlab.com/group/demo/-/tree/a/b", NULL, "https://gitlab.com/group/demo#a/b", "gitlab.com/group/demo#a/b", "gitlab"},
    {"https://gitlab.com/group/demo/-/blob/main/x.c", NULL, "https://gitlab.com/group/demo#main", "gitlab.com/group/demo#main", "gitlab"},
    {"https://gitlab.com/group/demo/-/issues", NULL, "https://gitlab.com/group/demo", "gitlab.com/group/demo", "gitlab"},
    {"https://gitlab.corp.example:8443/g/d.git", NULL, "https://gitlab.corp.example:8443/g/d.git", "gitlab.corp.example:8443/g/d", "gitlab"},
    {"https://code.example/g/d", "gitlab", "https://code.example/g/d", "code.example/g/d", "gitlab"},
    {"https://code.example/Group/Deep/D.git", NULL, "https://code.example/Group/Deep/D.git", "code.example/Group/Deep/D", "git"},
    {"https://code.example/a/b/c/tree/x", "github", "https://code.example/a/b", "code.example/a/b", "github"},
    {"https://bitbucket.org/acme/demo/src/main/", NULL, "https://bitbucket.org/acme/demo#main", "bitbucket.org/acme/demo#main", "bitbucket"},
    {"https://bitbucket.corp.example/projects/KEY/repos/demo/browse", NULL, "https://bitbucket.corp.example/scm/KEY/demo", "bitbucket.corp.example/scm/key/demo", "bitbucket"},
    {"https://dev.azure.com/org/My%20Project/_git/The%20Repo", NULL, "https://dev.azure.com/org/My%20Project/_git/The%20Repo", "dev.azure.com/org/my project/_git/the repo", "azure"},
    {"https://org@dev.azure.com/org/proj/_git/repo", NULL, "https://dev.azure.com/org/proj/_git/repo", "dev.azure.com/org/proj/_git/repo", "azure"},
    {"https://dev.azure.com/org/proj/_git/repo?path=/&version=GBnext", NULL, "https://dev.azure.com/org/proj/_git/repo#next", "dev.azure.com/org/proj/_git/repo#next", "azure"},
    {"https://dev.azure.com/org/_git/repo", NULL, "https://dev.azure.com/org/repo/_git/repo", "dev.azure.com/org/repo/_git/repo", "azure"},
    {"https://org.visualstudio.com/proj/_git/repo", NULL, "https://dev.azure.com/org/proj/_git/repo", "dev.azure.com/org/proj/_git/repo", "azure"},
    {"https://org.visualstudio.com/DefaultCollection/proj/_git/repo", NULL, "https://dev.azure.com/org/proj/_git/repo", "dev.azure.com/org/proj/_git/repo", "azure"},
    {"https://org.visualstudio.com/_git/repo", NULL, "https://dev.azure.com/org/repo/_git/repo", "dev.azure.com/org/repo/_git/repo", "azure"},
    {"git@ssh.dev.azure.com:v3/org/proj/repo", NULL, "git@ssh.dev.azure.com:v3/org/proj/repo", "dev.azure.com/org/proj/_git/repo", "azure"},
    {"https://codeberg.org/acme/demo/src/branch/main/README.md", NULL, "https://codeberg.org/acme/demo#main", "codeberg.org/acme/demo#main", "gitea"},
    {"https://git.example/gitea/acme/demo", "gitea", "https://git.example/gitea/acme/demo", "git.example/gitea/acme/demo", "gitea"},
    {"http://127.0.0.1:8080/a/b.git", NULL, "http://127.0.0.1:8080/a/b.git", "127.0.0.1:8080/a/b", "git"},
    {"http://[::1]:8080/a/b.git", NULL, "http://[::1]:8080/a/b.git", "[::1]:8080/a/b", "git"},
    {"https://host.example/caf%C3%A9/x", NULL, "https://host.example/caf%C3%A9/x", "host.example/caf\xC3\xA9/x", "git"},
    {"file:///srv/git/x.git", NULL, "file:///srv/git/x.git", "file:/srv/git/x.git", "git"},
    {"file://localhost/srv/git/x", NULL, "file:///srv/git/x", "file:/srv/git/x", "git"},
    {"  https://github.com/acme/demo \n", NULL, "https://github.com/acme/demo", "github.com/acme/demo", "github"},
};

static const char *const no_remotes[] = {
    "", ".", "/srv/x", "./a/b", "~/x/y", "demo", "a/b/c", "../x/y", "dir with/space", "a/", "/a", "-x/y",
    "some.dir/a/b", "a//b", "C:\\x", "dir/x@y:z",
};

static const char *const wrong[] = {
    "git://github.com/a/b", "ftp://h/x", "javascript://x/y", "https://", "https:///a/b", "https://host", "https://-x/a/b",
    "https://host:0/a/b", "https://host:65536/a/b", "https://host:x/a/b", "https://[::1/a/b", "https://[::1]x/a",
    "https://host/../x", "https://host/a/%2e%2e/b", "https://host/a%2fb/c", "https://host/a%00b", "https://host/a%0ab",
    "https://host/a\\b", "https://host/-upload-pack/x", "https://github.com/acme", "https://github.com/",
    "https://dev.azure.com/org", "ssh://git:secret@host/x", "ssh://-oProxyCommand=x/y", "git@-x:y", "git@host:../x",
    "git@:x", "file://host/x", "file://x", "https://ho st/x", "https://host/a/./b", "https://u:a%0ahost=x@host/p/q",
    "git@ssh.dev.azure.com:v3/org/repo", "https://host/%ff/x", "ext::sh -c x://y",
};
/* clang-format on */

static void source_name_reads_what_people_write(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct source_name n;
        struct err err = {0};
        char text[SOURCE_URL_MAX];
        if (parse(rows[i].text, rows[i].type, &n, &err) < 0)
            fail_msg("'%s': %s", rows[i].text, err.msg);
        assert_string_equal(text_of(source_name_location, &n, text), rows[i].location);
        assert_string_equal(text_of(source_name_identity, &n, text), rows[i].identity);
        assert_string_equal(host_kind_name(n.kind), rows[i].kind);
        assert_string_equal(n.secret, "");
    }
}

static void source_name_reads_back_what_it_wrote(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct source_name n, again;
        struct err err = {0};
        char text[SOURCE_URL_MAX], other[SOURCE_URL_MAX];
        assert_int_equal(parse(rows[i].text, rows[i].type, &n, &err), 0);
        text_of(source_name_location, &n, text);
        assert_int_equal(parse(text, rows[i].type, &again, &err), 0);
        assert_string_equal(text_of(source_name_location, &again, other), text);
        text_of(source_name_identity, &n, text);
        assert_string_equal(text_of(source_name_identity, &again, other), text);
    }
}

static void source_name_leaves_paths_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(no_remotes); i++) {
        struct source_name n;
        struct err err = {0};
        if (parse(no_remotes[i], NULL, &n, &err) != -ERR_NOT_FOUND)
            fail_msg("'%s' was taken for a remote", no_remotes[i]);
    }
    struct source_name n;
    assert_int_equal(parse("acme/demo", "local", &n, NULL), -ERR_NOT_FOUND);
}

static void source_name_refuses_what_would_harm(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct source_name n;
        struct err err = {0};
        int r = parse(wrong[i], NULL, &n, &err);
        if (r != -ERR_INVALID && r != -ERR_UNSUPPORTED)
            fail_msg("'%s': %d", wrong[i], r);
        assert_true(err.msg[0]);
        assert_null(strstr(err.msg, "secret"));
    }
}

static void source_name_takes_the_credential_and_never_writes_it(void **state)
{
    (void)state;
    static const struct {
        const char *text, *user, *secret;
    } t[] = {
        {"https://s3cr%40t@github.com/acme/demo", "", "s3cr@t"},
        {"https://me:s3cr%3At@git.example/acme/demo", "me", "s3cr:t"},
        {"https://oauth2:glpat-x@gitlab.com/a/b/c.git", "oauth2", "glpat-x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct source_name n;
        char text[SOURCE_URL_MAX];
        assert_int_equal(parse(t[i].text, NULL, &n, NULL), 0);
        assert_string_equal(n.user, t[i].user);
        assert_string_equal(n.secret, t[i].secret);
        assert_null(strchr(text_of(source_name_location, &n, text), '@'));
        assert_null(strchr(text_of(source_name_identity, &n, text), '@'));
        source_name_done(&n);
        assert_string_equal(n.secret, "");
    }
    struct err err = {0};
    struct source_name n;
    assert_int_equal(parse("https://top:secret@host:99999/x", NULL, &n, &err), -ERR_INVALID);
    assert_null(strstr(err.msg, "secret"));
}

static void source_name_branches_are_gits(void **state)
{
    (void)state;
    static const char *const good[] = {"main", "feature/x", "v1.2.3", "a-b_c", "\xC3\xA9t\xC3\xA9"};
    static const char *const no[] = {"",     "-x",   "a..b", "a b", "a~1",  "x.lock", "/a", "a/",
                                     "a//b", "a/.b", "@",    "a@{", "a\\b", "a*",     "a?"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(is_branch_name(span_str(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (is_branch_name(span_str(no[i])))
            fail_msg("'%s'", no[i]);
    struct source_name n;
    assert_int_equal(source_name_parse(SPAN_LIT("acme/demo#a"), SPAN_NULL, SPAN_LIT("b"), &n, NULL),
                     0);
    assert_string_equal(n.branch, "b");
}

static void source_name_folders_are_safe_and_apart(void **state)
{
    (void)state;
    char dirs[ARRAY_LEN(rows)][SOURCE_DIR_MAX];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct source_name n;
        assert_int_equal(parse(rows[i].text, rows[i].type, &n, NULL), 0);
        source_name_dir(&n, dirs[i]);
        assert_true(strlen(dirs[i]) > 16 && dirs[i][0] != '.' && dirs[i][0] != '-');
        for (const char *c = dirs[i]; *c; c++)
            assert_true((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || strchr("-_.", *c));
        for (size_t k = 0; k < i; k++)
            assert_int_equal(strcmp(dirs[i], dirs[k]) == 0,
                             strcmp(rows[i].identity, rows[k].identity) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source_name_reads_what_people_write),
        cmocka_unit_test(source_name_reads_back_what_it_wrote),
        cmocka_unit_test(source_name_leaves_paths_alone),
        cmocka_unit_test(source_name_refuses_what_would_harm),
        cmocka_unit_test(source_name_takes_the_credential_and_never_writes_it),
        cmocka_unit_test(source_name_branches_are_gits),
        cmocka_unit_test(source_name_folders_are_safe_and_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
