/* Promises of the texts made from the tables. Arguments: the checked-in manual and options reference. */
#include "../cm.h"
#include "app/help.h"
#include "app/options.h"

#include <stdio.h>

static const char *man_path, *markdown_path;

static void must_equal_file(void (*write)(struct buf *), const char *path, const char *how)
{
    struct buf made = BUF_INIT(HELP_MAX), kept = BUF_INIT(HELP_MAX);
    char piece[4096];
    size_t n;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_put(&kept, piece, n);
    fclose(f);
    write(&made);
    bool is_same = !buf_failed(&made) && span_eq(buf_span(&made), buf_span(&kept));
    buf_done(&made);
    buf_done(&kept);
    if (!is_same)
        fail_msg("%s is stale: run 'headwater help %s > %s'", path, how, path);
}

static void the_manual_page_is_the_one_checked_in(void **state)
{
    (void)state;
    must_equal_file(help_man, man_path, "--man");
}

static void the_options_reference_is_the_one_checked_in(void **state)
{
    (void)state;
    must_equal_file(help_markdown, markdown_path, "--markdown");
}

static void help_names_every_option_of_a_command_within_80_columns(void **state)
{
    (void)state;
    for (int c = 0; c < CMD_COUNT; c++) {
        struct buf out = BUF_INIT(HELP_MAX);
        help_command(&out, (enum command_id)c);
        for (int i = 0; i < OPT_COUNT; i++) {
            if (!help_lists(i, (enum command_id)c))
                continue;
            char flag[64];
            const struct option *row = &option_table[i];
            snprintf(flag, sizeof flag, row->name[1] ? "--%s" : "-%s", row->name);
            if (row->type == OPTION_SECRET)
                snprintf(flag, sizeof flag, "%s", row->env);
            if (!strstr(buf_str(&out), flag))
                fail_msg("help of %s lacks %s", commands[c].name, flag);
        }
        struct span rest = buf_span(&out), line;
        while (span_next(&rest, '\n', &line)) {
            size_t columns = 0;
            for (size_t i = 0; i < line.len; i++)
                columns += ((unsigned char)line.ptr[i] & 0xc0) != 0x80;
            if (columns > 80)
                fail_msg("%s: '" SPAN_FMT "'", commands[c].name, SPAN_ARG(line));
        }
        buf_done(&out);
    }
}

static void completion_knows_three_shells_and_every_command(void **state)
{
    (void)state;
    static const char *const shells[] = {"bash", "zsh", "fish"};
    struct buf out = BUF_INIT(HELP_MAX);
    for (size_t s = 0; s < ARRAY_LEN(shells); s++) {
        buf_clear(&out);
        assert_true(help_completion(&out, span_str(shells[s])));
        for (int c = 0; c < CMD_COUNT; c++)
            assert_non_null(strstr(buf_str(&out), commands[c].name));
        assert_non_null(strstr(buf_str(&out), "stream-retention"));
        assert_null(strstr(buf_str(&out), "server-key"));
    }
    assert_false(help_completion(&out, SPAN_LIT("tcsh")));
    buf_done(&out);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    man_path = argv[1];
    markdown_path = argv[2];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manual_page_is_the_one_checked_in),
        cmocka_unit_test(the_options_reference_is_the_one_checked_in),
        cmocka_unit_test(help_names_every_option_of_a_command_within_80_columns),
        cmocka_unit_test(completion_knows_three_shells_and_every_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
