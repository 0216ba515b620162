/* headwater help, headwater completion */
#include "app/cmd_util.h"
#include "app/help.h"
#include "app/options.h"
#include "app/suggest.h"

static int print(struct buf *out, struct err *err)
{
    struct terminal t;
    terminal_init(&t, true);
    int r = buf_failed(out) ? err_set(err, ERR_NO_MEMORY, "no memory for the text")
                            : terminal_write(&t, buf_span(out), err);
    buf_done(out);
    return exit_code_of(r);
}

int cmd_help(const struct options *o, struct err *err)
{
    struct buf out = BUF_INIT(HELP_MAX);
    const char *name = options_operand(o, 0);
    int id = name ? command_find(span_str(name)) : -1;
    if (name && id < 0) {
        err_set(err, ERR_INVALID, "there is no command '%s'", name);
        struct suggest s = suggest_for(span_str(name));
        for (int i = 0; i < CMD_COUNT; i++)
            suggest_try(&s, commands[i].name);
        if (s.best)
            err_hint(err, "did you mean 'headwater help %s'?", s.best);
        return EXIT_USAGE;
    }
    if (option_bool(o, OPT_MAN))
        help_man(&out);
    else if (option_bool(o, OPT_MARKDOWN))
        help_markdown(&out);
    else if (option_bool(o, OPT_SAMPLE_CONFIG))
        help_sample_config(&out);
    else if (name)
        help_command(&out, (enum command_id)id);
    else
        help_program(&out);
    return print(&out, err);
}

int cmd_completion(const struct options *o, struct err *err)
{
    struct buf out = BUF_INIT(HELP_MAX);
    if (!help_completion(&out, span_str(options_operand(o, 0)))) {
        err_set(err, ERR_INVALID, "there is no completion for '%s'", options_operand(o, 0));
        err_hint(err, "the shells are bash, zsh and fish");
        return EXIT_USAGE;
    }
    return print(&out, err);
}
