/* Completion scripts of bash, zsh and fish. */
#include "app/help.h"
#include "app/options.h"

static bool has_flag(int id, enum command_id c)
{
    const struct option *row = &option_table[id];
    return row->commands & CMD_BIT(c) && row->type != OPTION_SECRET;
}

static bool is_directory(const struct option *row)
{
    return row->arg && !strcmp(row->arg, "DIR");
}

static bool is_file(const struct option *row)
{
    return row->arg && !strcmp(row->arg, "FILE");
}

/* First names of the choices, with a blank between them. */
static void put_choices(struct buf *out, const char *choices)
{
    struct span rest = span_str(choices), one, name;
    for (bool first = true; span_next(&rest, '|', &one); first = false)
        if (span_next(&one, '=', &name)) {
            buf_puts(out, first ? "" : " ");
            buf_put_span(out, name);
        }
}

/* In single quotes; a quote itself cannot be inside them, so it becomes a typographic one. */
static void put_quoted(struct buf *out, const char *text, const char *escape)
{
    for (; *text; text++) {
        if (*text == '\'') {
            buf_puts(out, "’");
            continue;
        }
        if (strchr(escape, *text))
            buf_putc(out, '\\');
        buf_putc(out, *text);
    }
}

static void put_first_sentence(struct buf *out, const char *text, const char *escape)
{
    const char *end = strstr(text, ". ");
    char line[256];
    size_t n = end ? (size_t)(end - text) : strlen(text);
    if (n && text[n - 1] == '.')
        n--;
    n = n < sizeof line - 1 ? n : sizeof line - 1;
    memcpy(line, text, n);
    line[n] = 0;
    put_quoted(out, line, escape);
}

static void put_names(struct buf *out)
{
    for (int c = 0; c < CMD_COUNT; c++)
        buf_printf(out, "%s%s", c ? " " : "", commands[c].name);
}

static void completion_bash(struct buf *out)
{
    buf_puts(out, "# bash completion of headwater; made by 'headwater completion bash'\n"
                  "_headwater() {\n"
                  "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                  "    local cmd=${COMP_WORDS[1]} words=\n"
                  "    COMPREPLY=()\n"
                  "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                  "        COMPREPLY=($(compgen -W '");
    put_names(out);
    buf_puts(out, " --help --version' -- \"$cur\"))\n        return\n    fi\n"
                  "    case $cmd:$prev in\n");
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct option *row = &option_table[i];
        if (!row->arg || row->type == OPTION_SECRET)
            continue;
        buf_printf(out, "    *:--%s)", row->name);
        if (row->choices) {
            buf_puts(out, " COMPREPLY=($(compgen -W '");
            put_choices(out, row->choices);
            buf_puts(out, "' -- \"$cur\"));");
        } else if (is_directory(row)) {
            buf_puts(out, " COMPREPLY=($(compgen -d -- \"$cur\"));");
        } else if (is_file(row)) {
            /* the option 'config' of help takes no value */
            buf_puts(out, " [ \"$cmd\" = help ] || COMPREPLY=($(compgen -f -- \"$cur\"));");
        }
        buf_puts(out, " return ;;\n");
    }
    buf_puts(out, "    esac\n    case $cmd in\n");
    for (int c = 0; c < CMD_COUNT; c++) {
        buf_printf(out, "    %s) words='", commands[c].name);
        const char *between = "";
        for (int i = 0; i < OPT_COUNT; i++)
            if (has_flag(i, (enum command_id)c)) {
                buf_printf(out, "%s--%s", between, option_table[i].name);
                between = " ";
            }
        if (c == CMD_HELP) {
            buf_putc(out, ' ');
            put_names(out);
        }
        buf_printf(out, "%s' ;;\n", c == CMD_COMPLETION ? " bash zsh fish" : "");
    }
    buf_puts(out, "    esac\n"
                  "    if [[ $cur == -* || $cmd == help || $cmd == completion ]]; then\n"
                  "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                  "    else\n"
                  "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                  "    fi\n}\n"
                  "complete -o filenames -F _headwater headwater\n");
}

static void zsh_option(struct buf *out, int id)
{
    const struct option *row = &option_table[id];
    buf_printf(out, " \\\n            '%s--%s%s[", row->type == OPTION_LIST ? "*" : "", row->name,
               row->arg ? "=" : "");
    put_first_sentence(out, row->help, "[]:\\");
    buf_putc(out, ']');
    if (row->arg) {
        buf_putc(out, ':');
        put_quoted(out, row->arg, ":\\");
        buf_putc(out, ':');
        if (row->choices) {
            buf_putc(out, '(');
            put_choices(out, row->choices);
            buf_putc(out, ')');
        } else if (is_directory(row)) {
            buf_puts(out, "_files -/");
        } else if (is_file(row)) {
            buf_puts(out, "_files");
        }
    }
    buf_putc(out, '\'');
}

static void completion_zsh(struct buf *out)
{
    buf_puts(out, "#compdef headwater\n# made by 'headwater completion zsh'\n_headwater() {\n"
                  "    local -a commands\n    commands=(\n");
    for (int c = 0; c < CMD_COUNT; c++) {
        buf_printf(out, "        '%s:", commands[c].name);
        put_quoted(out, commands[c].summary, ":\\");
        buf_puts(out, "'\n");
    }
    buf_puts(out, "    )\n    if (( CURRENT == 2 )); then\n"
                  "        _describe command commands\n        return\n    fi\n"
                  "    local cmd=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
                  "    case $cmd in\n");
    for (int c = 0; c < CMD_COUNT; c++) {
        buf_printf(out, "    %s)\n        _arguments", commands[c].name);
        for (int i = 0; i < OPT_COUNT; i++)
            if (has_flag(i, (enum command_id)c))
                zsh_option(out, i);
        if (c == CMD_COMPLETION)
            buf_puts(out, " \\\n            '1:shell:(bash zsh fish)'");
        else if (c == CMD_HELP) {
            buf_puts(out, " \\\n            '1:command:(");
            put_names(out);
            buf_puts(out, ")'");
        } else if (commands[c].max_operands)
            buf_puts(out, " \\\n            '1:source:_files'");
        buf_puts(out, "\n        ;;\n");
    }
    buf_puts(out, "    esac\n}\n_headwater \"$@\"\n");
}

static void completion_fish(struct buf *out)
{
    buf_puts(out, "# fish completion of headwater; made by 'headwater completion fish'\n");
    for (int c = 0; c < CMD_COUNT; c++) {
        buf_printf(out, "complete -c headwater -n __fish_use_subcommand -f -a %s -d '",
                   commands[c].name);
        put_quoted(out, commands[c].summary, "\\");
        buf_puts(out, "'\n");
    }
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct option *row = &option_table[i];
        if (row->type == OPTION_SECRET)
            continue;
        buf_puts(out, "complete -c headwater -n '__fish_seen_subcommand_from");
        for (int c = 0; c < CMD_COUNT; c++)
            if (has_flag(i, (enum command_id)c))
                buf_printf(out, " %s", commands[c].name);
        buf_putc(out, '\'');
        if (row->name[1])
            buf_printf(out, " -l %s", row->name);
        if (row->letter)
            buf_printf(out, " -s %c", row->letter);
        if (row->choices) {
            buf_puts(out, " -x -a '");
            put_choices(out, row->choices);
            buf_putc(out, '\'');
        } else if (is_directory(row)) {
            buf_puts(out, " -x -a '(__fish_complete_directories)'");
        } else if (row->arg) {
            buf_puts(out, is_file(row) ? " -r" : " -x");
        }
        buf_puts(out, " -d '");
        put_first_sentence(out, row->help, "\\");
        buf_puts(out, "'\n");
    }
    buf_puts(
        out,
        "complete -c headwater -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'\n"
        "complete -c headwater -n '__fish_seen_subcommand_from help' -f -a '");
    put_names(out);
    buf_puts(out, "'\n");
}

bool help_completion(struct buf *out, struct span shell)
{
    if (span_is(shell, "bash"))
        completion_bash(out);
    else if (span_is(shell, "zsh"))
        completion_zsh(out);
    else if (span_is(shell, "fish"))
        completion_fish(out);
    else
        return false;
    return true;
}
