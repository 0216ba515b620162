/* Promises of the option table, its sources and the configuration file. */
#include "../cm.h"
#include "app/config_file.h"
#include "app/help.h"
#include "app/options.h"
#include "app/suggest.h"
#include "base/fault.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WORDS_MAX 12

static int load(enum command_id command, const char *const *words, const char *const *env,
                struct options **ret, struct err *err)
{
    int n = 0;
    while (words && words[n])
        n++;
    *err = (struct err){0};
    struct options_input in = {command, n, words, env};
    return options_load(&in, ret, err);
}

/* A configuration file with that text; the caller unlinks it. */
static char *config_with(const char *text)
{
    char *path = mem_strdup("/tmp/headwater-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void a_stronger_source_wins_over_each_weaker_one(void **state)
{
    (void)state;
    static const struct {
        const char *flag, *env, *compat, *file, *expect;
        enum option_source source;
    } rows[] = {
        {"debug", "warn", "error", "log-level = off", "debug", SOURCE_FLAG},
        {NULL, "warn", "error", "log-level = off", "warn", SOURCE_ENV},
        {NULL, NULL, "error", "log-level = off", "error", SOURCE_COMPAT_ENV},
        {NULL, NULL, NULL, "log-level = off", "off", SOURCE_FILE},
        {NULL, NULL, NULL, "", "info", SOURCE_DEFAULT},
        {NULL, "", "", "", "info", SOURCE_DEFAULT}, /* empty is not set */
        {"debug", NULL, NULL, "log-level = off", "debug", SOURCE_FLAG},
        {NULL, NULL, "WARNING", "", "warn", SOURCE_COMPAT_ENV}, /* a synonym, in any case */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *path = config_with(rows[i].file), env[3][128] = {"HOME=/home/x"};
        const char *words[WORDS_MAX] = {"--config", path}, *env_list[4] = {env[0]};
        size_t n = 1;
        if (rows[i].flag) {
            words[2] = "--log-level";
            words[3] = rows[i].flag;
        }
        if (rows[i].env) {
            snprintf(env[1], sizeof env[1], "HEADWATER_LOG_LEVEL=%s", rows[i].env);
            env_list[n++] = env[1];
        }
        if (rows[i].compat) {
            snprintf(env[2], sizeof env[2], "LOG_LEVEL=%s", rows[i].compat);
            env_list[n++] = env[2];
        }
        struct options *o = NULL;
        struct err err;
        if (load(CMD_SERVE, words, env_list, &o, &err) < 0)
            fail_msg("row %zu: %s", i, err.msg);
        assert_string_equal(option_str(o, OPT_LOG_LEVEL), rows[i].expect);
        assert_int_equal(option_source(o, OPT_LOG_LEVEL), rows[i].source);
        options_free(o);
        unlink(path);
        mem_free(path);
    }
}

static void the_first_compatible_variable_wins(void **state)
{
    (void)state;
    const char *env[] = {"HOME=/h", "DEEPWIKI_CHAT_DEFAULT_PROVIDER=b", "DEEPWIKI_CHAT_PROVIDER=a",
                         NULL};
    struct options *o;
    struct err err;
    assert_int_equal(load(CMD_SERVE, NULL, env, &o, &err), 0);
    assert_string_equal(option_str(o, OPT_PROVIDER), "a");
    assert_string_equal(option_where(o, OPT_PROVIDER), "DEEPWIKI_CHAT_PROVIDER");
    options_free(o);
}

static void defaults_are_those_of_the_design(void **state)
{
    (void)state;
    const char *env[] = {"HOME=/h", NULL}, *xdg[] = {"HOME=/h", "XDG_DATA_HOME=/x", NULL};
    struct options *o;
    struct err err;
    assert_int_equal(load(CMD_SERVE, NULL, env, &o, &err), 0);
    assert_int_equal(option_count(o, OPT_LISTEN), 2);
    assert_string_equal(option_item(o, OPT_LISTEN, 0), "127.0.0.1:8001");
    assert_string_equal(option_item(o, OPT_LISTEN, 1), "[::1]:8001");
    assert_string_equal(option_str(o, OPT_DATA), "/h/.local/share/headwater");
    assert_true(option_u64(o, OPT_LOG_MAX_SIZE) == 10u << 20);
    assert_true(option_u64(o, OPT_STREAM_RETENTION) == 30ull * 86400000);
    assert_true(option_u64(o, OPT_STREAM_SYNC) == 1000);
    assert_true(option_u64(o, OPT_DRAIN_TIMEOUT) == 10000);
    assert_int_equal(options_check(o, &err), 0);
    options_free(o);
    assert_int_equal(load(CMD_SERVE, NULL, xdg, &o, &err), 0);
    assert_string_equal(option_str(o, OPT_DATA), "/x/headwater");
    options_free(o);
}

static void no_home_is_an_error_only_where_data_is_needed(void **state)
{
    (void)state;
    const char *env[] = {NULL}, *data[] = {"--data", "/d", NULL};
    struct options *o;
    struct err err;
    assert_int_equal(load(CMD_SERVE, NULL, env, &o, &err), -ERR_INVALID);
    assert_non_null(strstr(err.hint, "--data"));
    assert_int_equal(load(CMD_SERVE, data, env, &o, &err), 0);
    options_free(o);
    assert_int_equal(load(CMD_HELP, NULL, env, &o, &err), 0);
    options_free(o);
}

static void port_changes_both_default_addresses(void **state)
{
    (void)state;
    const char *env[] = {"HOME=/h", "PORT=9000", NULL}, *bad[] = {"HOME=/h", "PORT=9000x", NULL},
               *both[] = {"HOME=/h", "PORT=9000", "HEADWATER_LISTEN=127.0.0.1:7", NULL};
    struct options *o;
    struct err err;
    assert_int_equal(load(CMD_SERVE, NULL, env, &o, &err), 0);
    assert_string_equal(option_item(o, OPT_LISTEN, 1), "[::1]:9000");
    assert_int_equal(option_count(o, OPT_LISTEN), 2);
    options_free(o);
    assert_int_equal(load(CMD_SERVE, NULL, both, &o, &err), 0);
    assert_int_equal(option_count(o, OPT_LISTEN), 1);
    options_free(o);
    assert_int_equal(load(CMD_SERVE, NULL, bad, &o, &err), -ERR_INVALID);
    assert_string_equal(err.msg, "PORT: '9000x' is not a port");
}

static void lists_gather_flags_and_split_only_where_they_may(void **state)
{
    (void)state;
    const char *words[] = {"--allow-path",        "/a,b", "--allow-path=/c:d", "--listen",
                           "127.0.0.1:1,[::1]:2", NULL};
    const char *env[] = {"HOME=/h", "HEADWATER_ALLOW_PATH=/e:/f", NULL};
    struct options *o;
    struct err err;
    assert_int_equal(load(CMD_SERVE, words, env, &o, &err), 0);
    assert_int_equal(option_count(o, OPT_ALLOW_PATH), 2);
    assert_string_equal(option_item(o, OPT_ALLOW_PATH, 0), "/a,b");
    assert_string_equal(option_item(o, OPT_ALLOW_PATH, 1), "/c:d");
    assert_int_equal(option_count(o, OPT_LISTEN), 2);
    options_free(o);
    assert_int_equal(load(CMD_SERVE, NULL, env, &o, &err), 0);
    assert_int_equal(option_count(o, OPT_ALLOW_PATH), 2);
    assert_string_equal(option_item(o, OPT_ALLOW_PATH, 1), "/f");
    options_free(o);
}

static void words_are_read_in_all_their_forms(void **state)
{
    (void)state;
    const char *env[] = {"HOME=/h", NULL};
    const char *words[] = {"-qk5", "src", "--json=false", "--", "--k", NULL};
    struct options *o;
    struct err err;
    if (load(CMD_ASK, words, env, &o, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(option_bool(o, OPT_QUIET));
    assert_false(option_bool(o, OPT_JSON));
    assert_true(option_u64(o, OPT_K) == 5);
    assert_string_equal(options_operand(o, 1), "--k");
    options_free(o);
    const char *alias[] = {"--collection", "n", "src", NULL};
    assert_int_equal(load(CMD_INDEX, alias, env, &o, &err), 0);
    assert_string_equal(option_str(o, OPT_NAME), "n");
    options_free(o);
}

static void a_wrong_command_line_says_what_to_do(void **state)
{
    (void)state;
    static const struct {
        enum command_id command;
        const char *words[4];
        const char *msg, *hint; /* parts of them */
    } rows[] = {
        {CMD_SERVE, {"--lisen", "x"}, "unknown option '--lisen' for 'serve'", "'--listen'"},
        {CMD_ASK, {"--listen", "x"}, "unknown option '--listen' for 'ask'", "'headwater serve'"},
        {CMD_ASK, {"a"}, "'ask' needs SOURCE", "--help"},
        {CMD_ASK, {"a", "b", "c"}, "there is 'c'", "quotes"},
        {CMD_SOURCES, {"a"}, "takes no words", "--help"},
        {CMD_ASK, {"a", "b", "-k"}, "option '--k' needs a value", ""},
        {CMD_ASK, {"a", "b", "-x"}, "unknown option '-x'", "--help"},
        {CMD_ASK, {"a", "b", "-k0"}, "allowed are 1 to 1000", ""},
        {CMD_SERVE, {"--log-max-size", "0"}, "allowed are 1 to 1T", ""},
        {CMD_SERVE, {"--stream-sync", "2h"}, "allowed are 0s to 1m", ""},
        {CMD_SERVE, {"--threads", "many"}, "a whole number is expected", ""},
        {CMD_SERVE, {"--log-format", "xml"}, "allowed are text, json", ""},
        {CMD_SERVE, {"--insecure=perhaps"}, "yes or no is expected", ""},
        {CMD_ASK,
         {"a", "b", "--server-key=s3cret"},
         "is a secret and no flag",
         "HEADWATER_SERVER_KEY"},
    };
    const char *env[] = {"HOME=/h", NULL};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *words[5] = {0};
        memcpy(words, rows[i].words, sizeof rows[i].words);
        struct options *o;
        struct err err;
        assert_int_equal(load(rows[i].command, words, env, &o, &err), -ERR_INVALID);
        if (!strstr(err.msg, rows[i].msg) || !strstr(err.hint, rows[i].hint))
            fail_msg("row %zu: '%s', hint '%s'", i, err.msg, err.hint);
        assert_null(strstr(err.msg, "s3cret"));
    }
}

static void help_is_given_in_spite_of_missing_words(void **state)
{
    (void)state;
    const char *words[] = {"--help", NULL}, *env[] = {NULL};
    struct options *o;
    struct err err;
    assert_int_equal(load(CMD_ASK, words, env, &o, &err), 0);
    assert_true(option_bool(o, OPT_HELP));
    options_free(o);
}

static void a_wrong_configuration_names_file_and_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned line;
        const char *msg, *hint;
    } rows[] = {
        {"\n# c\nlisten 8001\n", 3, "a setting is written name = value", ""},
        {"[server\n", 1, "a section is written [name]", ""},
        {"[nowhere]\ndata = /x\n", 2, "unknown section [nowhere]", ""},
        {"[log]\ndata = /x\n", 2, "data belongs in [server], not in [log]", ""},
        {"dat = /x\n", 1, "unknown setting 'dat'", "did you mean 'data'?"},
        {"zzzzzz = 1\n", 1, "unknown setting 'zzzzzz'", "headwater help --config"},
        {"json = true\n", 1, "unknown setting 'json'", ""},
        {"data = \"/x\n", 1, "without its closing quote", ""},
        {"data = \"/x\" y\n", 1, "unexpected text after a quoted value", ""},
        {"data = \"\\q\"\n", 1, "unknown escape", ""},
        {"threads = 999\n", 1, "'999' is not a value of threads: allowed are 0 to 256", ""},
        {"data =\n", 1, "it is empty", ""},
        {"server-key = \"\"\n", 1, "'***' is not a value", ""},
    };
    const char *env[] = {"HOME=/h", NULL};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *path = config_with(rows[i].text), where[128];
        const char *words[] = {"--config", path, NULL};
        struct options *o;
        struct err err;
        assert_int_equal(load(CMD_SERVE, words, env, &o, &err), -ERR_INVALID);
        snprintf(where, sizeof where, "%s:%u: ", path, rows[i].line);
        if (!strstr(err.msg, where) || !strstr(err.msg, rows[i].msg) ||
            !strstr(err.hint, rows[i].hint))
            fail_msg("row %zu: '%s', hint '%s'", i, err.msg, err.hint);
        unlink(path);
        mem_free(path);
    }
}

static void a_configuration_is_read_with_sections_quotes_and_comments(void **state)
{
    (void)state;
    char *path =
        config_with("\xef\xbb\xbf# sample\r\nthreads = 3 # three\n[server]\n"
                    "data = \"/a b#c\\\"d\" # why\nallow-path = /one\nallow-path = \"/two,2\"\n"
                    "cors-origins = http://a, http://b\n[log]\nlog-max-size = 7\n"
                    "log-level=debug");
    const char *words[] = {"--config", path, NULL}, *env[] = {"HOME=/h", NULL};
    struct options *o;
    struct err err;
    if (load(CMD_SERVE, words, env, &o, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(option_u64(o, OPT_THREADS) == 3);
    assert_string_equal(option_str(o, OPT_DATA), "/a b#c\"d");
    assert_int_equal(option_count(o, OPT_ALLOW_PATH), 2);
    assert_string_equal(option_item(o, OPT_ALLOW_PATH, 1), "/two,2");
    assert_int_equal(option_count(o, OPT_CORS_ORIGINS), 2);
    assert_string_equal(option_item(o, OPT_CORS_ORIGINS, 1), "http://b");
    assert_true(option_u64(o, OPT_LOG_MAX_SIZE) == 7u << 20);
    assert_string_equal(option_str(o, OPT_LOG_LEVEL), "debug");
    options_free(o);
    unlink(path);
    mem_free(path);
}

static void a_named_configuration_file_must_exist(void **state)
{
    (void)state;
    const char *words[] = {"--config", "/nonexistent/h.conf", NULL},
               *env[] = {"HOME=/nonexistent", NULL};
    struct options *o;
    struct err err;
    assert_int_equal(load(CMD_SERVE, words, env, &o, &err), -ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "/nonexistent/h.conf"));
    assert_int_equal(load(CMD_SERVE, NULL, env, &o, &err), 0); /* the default one need not */
    options_free(o);
}

/* The sample with every setting made real where it has a default must be accepted. */
static void the_sample_configuration_is_accepted(void **state)
{
    (void)state;
    struct buf sample = BUF_INIT(HELP_MAX), real = BUF_INIT(HELP_MAX);
    help_sample_config(&sample);
    struct span rest = buf_span(&sample), line;
    int count = 0;
    while (span_next(&rest, '\n', &line)) {
        bool is_setting = span_starts(line, SPAN_LIT("#; "));
        if (is_setting)
            line = span_skip(line, 3);
        count += is_setting;
        buf_put_span(&real, line);
        buf_putc(&real, '\n');
    }
    assert_true(count > 15);
    char *path = config_with(buf_str(&real));
    const char *words[] = {"--config", path, NULL}, *env[] = {"HOME=/h", NULL};
    struct options *o;
    struct err err;
    if (load(CMD_SERVE, words, env, &o, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(option_source(o, OPT_LISTEN), SOURCE_FILE);
    options_free(o);
    unlink(path);
    mem_free(path);
    buf_done(&real);
    buf_done(&sample);
}

static void sizes_and_durations_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_ok;
        uint64_t value;
    } sizes[] = {{"10", true, 10 << 20},
                 {"10M", true, 10 << 20},
                 {"512k", true, 512 << 10},
                 {"2GiB", true, 2ull << 30},
                 {"3b", true, 3},
                 {"1TB", true, 1ull << 40},
                 {"", false, 0},
                 {"M", false, 0},
                 {"10X", false, 0},
                 {"10MM", false, 0},
                 {"-1", false, 0},
                 {"1 M", false, 0},
                 {"99999999999T", false, 0},
                 {"3bb", false, 0},
                 {"1.5M", false, 0}},
      times[] = {{"45", true, 45000},
                 {"250ms", true, 250},
                 {"1s", true, 1000},
                 {"1h30m", true, 5400000},
                 {"30d", true, 2592000000},
                 {"2w", true, 1209600000},
                 {"1m30s250ms", true, 90250},
                 {"0", true, 0},
                 {"", false, 0},
                 {"s", false, 0},
                 {"1m30m", false, 0},
                 {"30s1h", false, 0},
                 {"1x", false, 0},
                 {"1h30", false, 0},
                 {"99999999999999999w", false, 0},
                 {"18446744073709551615s", false, 0}};
    uint64_t v;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        bool ok = parse_size(span_str(sizes[i].text), 1 << 20, &v);
        if (ok != sizes[i].is_ok || (ok && v != sizes[i].value))
            fail_msg("size '%s'", sizes[i].text);
    }
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        bool ok = parse_duration(span_str(times[i].text), &v);
        if (ok != times[i].is_ok || (ok && v != times[i].value))
            fail_msg("duration '%s'", times[i].text);
        struct buf b = BUF_INIT(64);
        uint64_t again = 0;
        put_duration(&b, times[i].value);
        assert_true(parse_duration(buf_span(&b), &again) && again == times[i].value);
        buf_done(&b);
    }
}

static void only_loopback_is_served_without_insecure(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        enum listen_kind kind;
    } rows[] = {{"127.0.0.1:8001", LISTEN_LOOPBACK},
                {"127.3.2.1:1", LISTEN_LOOPBACK},
                {"[::1]:8001", LISTEN_LOOPBACK},
                {"localhost:0", LISTEN_LOOPBACK},
                {"LocalHost:80", LISTEN_LOOPBACK},
                {"[::ffff:127.0.0.1]:1", LISTEN_LOOPBACK},
                {"0.0.0.0:8001", LISTEN_PUBLIC},
                {"[::]:8001", LISTEN_PUBLIC},
                {":8001", LISTEN_PUBLIC},
                {"*:8001", LISTEN_PUBLIC},
                {"192.168.1.5:8001", LISTEN_PUBLIC},
                {"[::ffff:10.0.0.1]:1", LISTEN_PUBLIC},
                {"wiki.example:8001", LISTEN_PUBLIC},
                {"localhost.example:1", LISTEN_PUBLIC},
                {"127.0.0.1.example:1", LISTEN_PUBLIC},
                {"unix:/run/h.sock", LISTEN_UNIX},
                {"8001", LISTEN_INVALID},
                {"127.0.0.1", LISTEN_INVALID},
                {"127.0.0.1:", LISTEN_INVALID},
                {"127.0.0.1:65536", LISTEN_INVALID},
                {"::1:8001", LISTEN_INVALID},
                {"[]:8001", LISTEN_INVALID},
                {"[127.0.0.1]:1", LISTEN_INVALID},
                {"a b:1", LISTEN_INVALID},
                {"unix:", LISTEN_INVALID},
                {"", LISTEN_INVALID},
                {"[::1:8001", LISTEN_INVALID}};
    const char *env[] = {"HOME=/h", NULL};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum listen_kind kind = listen_classify(span_str(rows[i].address));
        if (kind != rows[i].kind)
            fail_msg("'%s' is classified %d", rows[i].address, (int)kind);
        for (int insecure = 0; rows[i].address[0] && insecure < 2; insecure++) {
            const char *words[] = {"--listen", rows[i].address, insecure ? "--insecure" : NULL,
                                   NULL};
            struct options *o;
            struct err err;
            assert_int_equal(load(CMD_SERVE, words, env, &o, &err), 0);
            int expect = kind == LISTEN_INVALID               ? -ERR_INVALID
                         : kind == LISTEN_PUBLIC && !insecure ? -ERR_FORBIDDEN
                                                              : 0;
            assert_int_equal(options_check(o, &err), expect);
            options_free(o);
        }
    }
}

static void suggestions_are_near_or_none(void **state)
{
    (void)state;
    static const struct {
        const char *typed, *expect;
    } rows[] = {
        {"srve", "serve"},    {"sevre", "serve"}, {"searhc", "search"}, {"comp", "completion"},
        {"doctro", "doctor"}, {"xyzzy", NULL},    {"q", NULL},          {"hlep", "help"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct suggest s = suggest_for(span_str(rows[i].typed));
        for (int c = 0; c < CMD_COUNT; c++)
            suggest_try(&s, commands[c].name);
        if ((s.best == NULL) != (rows[i].expect == NULL) ||
            (s.best && strcmp(s.best, rows[i].expect)))
            fail_msg("'%s' → '%s'", rows[i].typed, s.best ? s.best : "nothing");
    }
    assert_int_equal(suggest_distance(SPAN_LIT("ab"), SPAN_LIT("ba")), 1);
    assert_int_equal(suggest_distance(SPAN_LIT(""), SPAN_LIT("abc")), 3);
    assert_int_equal(suggest_distance(SPAN_LIT("kitten"), SPAN_LIT("sitting")), 3);
}

static void loading_survives_every_failed_allocation(void **state)
{
    (void)state;
    char *path = config_with("listen = 127.0.0.1:1\nlisten = \"127.0.0.1:2\"\ndata = /d\n");
    const char *words[] = {"--config", path, "--allow-path", "/a", "--allow-path", "/b", NULL};
    const char *env[] = {"HOME=/h", "LOG_FILE_PATH=/l", NULL};
    int failures = 0;
    for (uint64_t nth = 1; nth < 500; nth++) {
        struct options *o = NULL;
        struct err err;
        fault_arm(FAULT_ALLOC, nth, 0);
        int r = load(CMD_SERVE, words, env, &o, &err);
        bool was_hit = fault_seen(FAULT_ALLOC) >= nth;
        fault_disarm();
        failures += r < 0;
        if (r == 0)
            options_free(o);
        else
            assert_true(err.msg[0]);
        if (!was_hit)
            break;
        assert_true(nth < 499);
    }
    assert_true(failures > 10);
    unlink(path);
    mem_free(path);
}

static void every_row_is_complete(void **state)
{
    (void)state;
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct option *row = &option_table[i];
        assert_non_null(row->name);
        assert_non_null(row->help);
        assert_non_null(row->section);
        assert_true(row->commands != 0);
        assert_true((row->type == OPTION_BOOL) == (row->arg == NULL));
        bool is_flag_only = row->flags & OPTION_FLAG_ONLY;
        assert_true(is_flag_only == (row->env == NULL));
        for (int j = 0; j < i; j++) /* one meaning of a name within a command */
            if (!strcmp(row->name, option_table[j].name))
                assert_int_equal(row->commands & option_table[j].commands, 0);
    }
    for (int c = 0; c < CMD_COUNT; c++) {
        assert_non_null(commands[c].run);
        assert_non_null(commands[c].examples[0].line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stronger_source_wins_over_each_weaker_one),
        cmocka_unit_test(the_first_compatible_variable_wins),
        cmocka_unit_test(defaults_are_those_of_the_design),
        cmocka_unit_test(no_home_is_an_error_only_where_data_is_needed),
        cmocka_unit_test(port_changes_both_default_addresses),
        cmocka_unit_test(lists_gather_flags_and_split_only_where_they_may),
        cmocka_unit_test(words_are_read_in_all_their_forms),
        cmocka_unit_test(a_wrong_command_line_says_what_to_do),
        cmocka_unit_test(help_is_given_in_spite_of_missing_words),
        cmocka_unit_test(a_wrong_configuration_names_file_and_line),
        cmocka_unit_test(a_configuration_is_read_with_sections_quotes_and_comments),
        cmocka_unit_test(a_named_configuration_file_must_exist),
        cmocka_unit_test(the_sample_configuration_is_accepted),
        cmocka_unit_test(sizes_and_durations_are_read_or_refused),
        cmocka_unit_test(only_loopback_is_served_without_insecure),
        cmocka_unit_test(suggestions_are_near_or_none),
        cmocka_unit_test(loading_survives_every_failed_allocation),
        cmocka_unit_test(every_row_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
