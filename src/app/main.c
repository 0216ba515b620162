/* The program: finds the command, loads its options, starts the log, runs it, prints why it failed. */
#include "app/cmd.h"
#include "app/help.h"
#include "app/options.h"
#include "app/suggest.h"
#include "base/fault.h"
#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int print(void (*write)(struct buf *out))
{
    struct buf out = BUF_INIT(HELP_MAX);
    write(&out);
    bool is_ok = !buf_failed(&out) && fwrite(out.ptr, 1, out.len, stdout) == out.len;
    is_ok = fflush(stdout) == 0 && is_ok;
    buf_done(&out);
    if (!is_ok)
        fputs("headwater: cannot print the text\n", stderr);
    return is_ok ? EXIT_OK : EXIT_FAILED;
}

static void print_error(const struct err *err)
{
    fprintf(stderr, "headwater: %s\n",
            err->msg[0] ? err->msg : "failed without a reason; please report it");
    if (err->hint[0])
        fprintf(stderr, "hint: %s\n", err->hint);
}

static int unknown_command(const char *name)
{
    struct err err;
    err_set(&err, ERR_INVALID, "unknown command '%s'", name);
    struct suggest s = suggest_for(span_str(name));
    for (int i = 0; i < CMD_COUNT; i++)
        suggest_try(&s, commands[i].name);
    if (s.best)
        err_hint(&err, "did you mean 'headwater %s'?", s.best);
    else
        err_hint(&err, "'headwater --help' lists the commands");
    print_error(&err);
    return EXIT_USAGE;
}

/* serve logs as it is told; other commands only what a person at a terminal must know. */
static int start_log(const struct options *o, struct err *err)
{
    struct log_options lo = {.level = LOG_LEVEL_WARN};
    bool is_serve = options_command(o) == CMD_SERVE;
    if (is_serve || option_source(o, OPT_LOG_LEVEL) != SOURCE_DEFAULT)
        (void)log_parse_level(span_str(option_str(o, OPT_LOG_LEVEL)),
                              &lo.level); /* checked on loading */
    lo.json = !strcmp(option_str(o, OPT_LOG_FORMAT), "json");
    if (is_serve) {
        lo.path = option_str(o, OPT_LOG_FILE);
        lo.max_bytes = option_u64(o, OPT_LOG_MAX_SIZE);
        lo.backups_count = (unsigned)option_u64(o, OPT_LOG_BACKUPS);
    }
    return log_start(&lo, err);
}

static int run(const struct options *o, struct err *err)
{
    const struct command *c = &commands[options_command(o)];
    if (option_bool(o, OPT_VERSION))
        return print(help_version);
    if (option_bool(o, OPT_HELP)) {
        struct buf out = BUF_INIT(HELP_MAX);
        help_command(&out, options_command(o));
        bool is_ok = !buf_failed(&out) && fputs(buf_str(&out), stdout) >= 0 && fflush(stdout) == 0;
        buf_done(&out);
        if (!is_ok)
            err_set(err, ERR_IO, "cannot print the help");
        return is_ok ? EXIT_OK : EXIT_FAILED;
    }
    /* The log's thread must take no signal: the command decides later which ones it waits for. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int r = start_log(o, err);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r < 0)
        return EXIT_FAILED;
    int code = c->run(o, err);
    log_stop();
    return code;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    const char *fault =
        getenv("HEADWATER_FAULT"); /* NOLINT(concurrency-mt-unsafe): one thread yet */
    if (fault && !fault_arm_from_text(fault)) {
        fprintf(stderr, "headwater: HEADWATER_FAULT: '%s' is not of the form site:nth[:repeat]\n",
                fault);
        return EXIT_USAGE;
    }
    struct span word = span_str(argc > 1 ? argv[1] : "");
    if (span_is(word, "--help") || span_is(word, "-h"))
        return print(help_program);
    if (span_is(word, "--version"))
        return print(help_version);
    if (!word.len) {
        struct buf out = BUF_INIT(HELP_MAX);
        help_program(&out);
        fputs(buf_str(&out), stderr);
        buf_done(&out);
        return EXIT_USAGE;
    }
    int id = command_find(word);
    if (id < 0)
        return unknown_command(argv[1]);
    struct err err = {0};
    struct options *o = NULL;
    struct options_input in = {(enum command_id)id, argc - 2, (const char *const *)argv + 2,
                               (const char *const *)environ};
    if (options_load(&in, &o, &err) < 0) {
        print_error(&err);
        return EXIT_USAGE;
    }
    int code = run(o, &err);
    if (code != EXIT_OK && err.msg[0])
        print_error(&err);
    options_free(o);
    return code;
}
