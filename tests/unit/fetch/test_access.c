/* Promises of fetch/guard.h and fetch/credential.h: where we go, and with what. */
#include "../cm.h"

#include "base/attr.h"
#include "fetch/credential.h"
#include "fetch/guard.h"

static void name(const char *text, struct source_name *ret)
{
    if (source_name_parse(span_str(text), SPAN_NULL, SPAN_NULL, ret, NULL) < 0)
        fail_msg("'%s'", text);
}

static void guard_knows_addresses_that_are_not_public(void **state)
{
    (void)state;
    static const char *const no[] = {"127.0.0.1",
                                     "127.255.1.2",
                                     "10.0.0.1",
                                     "172.16.0.1",
                                     "172.31.255.255",
                                     "192.168.1.1",
                                     "169.254.169.254",
                                     "100.64.0.1",
                                     "0.0.0.0",
                                     "224.0.0.1",
                                     "255.255.255.255",
                                     "192.0.2.1",
                                     "198.18.0.1",
                                     "::",
                                     "::1",
                                     "fe80::1",
                                     "fc00::1",
                                     "fd12::1",
                                     "ff02::1",
                                     "2001:db8::1",
                                     "::ffff:127.0.0.1",
                                     "::ffff:10.0.0.1",
                                     "64:ff9b::a00:1",
                                     "2002:7f00:1::",
                                     "2001::1",
                                     "::127.0.0.1",
                                     "fec0::1",
                                     "",
                                     "localhost",
                                     "127.1",
                                     "1.2.3.4.5"};
    static const char *const yes[] = {
        "140.82.121.3", "172.15.0.1",         "172.32.0.1",    "100.63.0.1",
        "11.0.0.1",     "192.169.0.1",        "1.1.1.1",       "2606:50c0::1",
        "2a00:1450::1", "64:ff9b::8c52:7903", "::ffff:1.1.1.1"};
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (guard_is_public(no[i]))
            fail_msg("'%s' was taken for public", no[i]);
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (!guard_is_public(yes[i]))
            fail_msg("'%s' was taken for private", yes[i]);
}

static void guard_allows_by_name_and_port(void **state)
{
    (void)state;
    static const char *const hosts[] = {"github.com", "*.corp.example", "git.example:8443",
                                        "[2606:50c0::1]:99", NULL};
    static const char *const private_hosts[] = {"127.0.0.1:3000", NULL};
    const struct guard_policy p = {hosts, private_hosts, false};
    static const struct {
        const char *url;
        int result;
        bool is_private;
    } t[] = {
        {"https://github.com/a/b", 0, false},
        {"https://github.com:8443/a/b", -ERR_FORBIDDEN, false},
        {"https://evilgithub.com/a/b", -ERR_FORBIDDEN, false},
        {"https://github.com.evil.example/a/b", -ERR_FORBIDDEN, false},
        {"https://git.corp.example/a/b", 0, false},
        {"https://corp.example/a/b", -ERR_FORBIDDEN, false},
        {"https://git.example:8443/a/b", 0, false},
        {"https://git.example/a/b", -ERR_FORBIDDEN, false},
        {"http://[2606:50c0::1]:99/a/b", 0, false},
        {"http://127.0.0.1:3000/a/b", 0, true},
        {"http://127.0.0.1:3001/a/b", -ERR_FORBIDDEN, false},
        {"git@github.com:a/b", -ERR_FORBIDDEN, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct source_name n;
        struct err err = {0};
        bool is_private = false;
        name(t[i].url, &n);
        int r = guard_check_host(&p, &n, &is_private, &err);
        if (r != t[i].result || is_private != t[i].is_private)
            fail_msg("'%s': %d", t[i].url, r);
        assert_int_equal(r < 0, err.msg[0] != 0);
    }
    const struct guard_policy with_ssh = {hosts, NULL, true};
    struct source_name n;
    name("git@github.com:a/b", &n);
    assert_int_equal(guard_check_host(&with_ssh, &n, NULL, NULL), 0);
}

static void guard_refuses_names_that_lead_inside(void **state)
{
    (void)state;
    struct source_name n;
    struct guard_addresses a;
    struct err err = {0};
    name("http://localhost/a/b", &n);
    assert_int_equal(guard_resolve(&n, true, &a, &err), -ERR_FORBIDDEN);
    assert_int_equal(guard_resolve(&n, false, &a, &err), 0);
    assert_true(a.count > 0 && !guard_is_public(a.ip[0]));
}

static const char *variables(void *ctx, const char *wanted)
{
    for (const char *const *v = ctx; *v; v += 2)
        if (strcmp(*v, wanted) == 0)
            return v[1];
    return NULL;
}

static void credential_goes_to_its_own_host_only(void **state)
{
    (void)state;
    static const char *env[] = {"GITHUB_TOKEN",
                                "hub",
                                "GITLAB_TOKEN",
                                "lab",
                                "GITLAB_HOST",
                                "lab.example:8",
                                "BITBUCKET_TOKEN",
                                "ATCTTx",
                                "AZURE_DEVOPS_TOKEN",
                                "az",
                                "GITEA_TOKEN",
                                "tea",
                                NULL};
    static const struct {
        const char *url, *token, *user, *secret;
    } t[] = {
        {"https://github.com/a/b", "", "x-access-token", "hub"},
        {"https://github.com/a/b", "mine", "x-access-token", "mine"},
        {"https://x:y@github.com/a/b", "", "x", "y"},
        {"https://z@github.com/a/b", "", "x-access-token", "z"},
        {"https://z@github.com/a/b", "mine", "x-access-token", "mine"},
        {"https://github.example/a/b", "", "", ""},
        {"https://gitlab.com/a/b", "", "", ""}, /* GITLAB_HOST names another */
        {"https://lab.example:8/a/b", "", "oauth2", "lab"},
        {"https://bitbucket.org/a/b", "", "x-bitbucket-api-token-auth", "ATCTTx"},
        {"https://bitbucket.org/a/b", "plain", "x-token-auth", "plain"},
        {"https://dev.azure.com/o/p/_git/r", "", "oauth2", "az"},
        {"https://codeberg.org/a/b", "", "oauth2", "tea"},
        {"git@github.com:a/b", "mine", "", ""},
        {"https://github.com:444/a/b", "", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct source_name n;
        struct credential c;
        name(t[i].url, &n);
        assert_int_equal(credential_pick(&n, span_str(t[i].token), variables, env, &c, NULL), 0);
        assert_string_equal(c.secret, t[i].secret);
        assert_string_equal(c.user, t[i].user);
    }
    struct source_name n;
    struct credential c;
    struct err err = {0};
    name("https://github.com/a/b", &n);
    assert_int_equal(credential_pick(&n, SPAN_LIT("a\npassword=b"), NULL, NULL, &c, &err),
                     -ERR_INVALID);
    assert_false(credential_is_set(&c));
}

static void credential_is_masked_in_every_form(void **state)
{
    (void)state;
    const struct credential c = {"oauth2", "s3c/r+t="}, none = {"", ""};
    struct buf out = BUF_INIT(4096), basic = BUF_INIT(256);
    static const char *const forms[] = {"s3c/r+t=", "s3c%2Fr%2Bt%3D", "s3c%2fr%2bt%3d",
                                        "s3c%2Fr+t="};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        buf_clear(&out);
        buf_printf(&basic, "x%sy%s", forms[i], forms[i]);
        credential_mask(&c, buf_span(&basic), &out);
        assert_string_equal(buf_str(&out), "x" CREDENTIAL_MASK "y" CREDENTIAL_MASK);
        buf_clear(&basic);
    }
    buf_clear(&out);
    credential_put_basic(&c, &basic);
    assert_string_equal(buf_str(&basic), "Basic b2F1dGgyOnMzYy9yK3Q9");
    credential_mask(&c, buf_span(&basic), &out);
    assert_string_equal(buf_str(&out), "Basic " CREDENTIAL_MASK);
    buf_clear(&out);
    credential_mask(&none, SPAN_LIT("as it was"), &out);
    assert_string_equal(buf_str(&out), "as it was");
    buf_done(&out);
    buf_done(&basic);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guard_knows_addresses_that_are_not_public),
        cmocka_unit_test(guard_allows_by_name_and_port),
        cmocka_unit_test(guard_refuses_names_that_lead_inside),
        cmocka_unit_test(credential_goes_to_its_own_host_only),
        cmocka_unit_test(credential_is_masked_in_every_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
