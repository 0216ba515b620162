/* The manual page, the options reference and the sample configuration. */
#include "app/help.h"
#include "app/options.h"

static const char *type_name(const struct option *row)
{
    static const char *const names[] = {
        [OPTION_STRING] = "text",   [OPTION_INT] = "number",     [OPTION_SIZE] = "size",
        [OPTION_DURATION] = "time", [OPTION_BOOL] = "yes or no", [OPTION_LIST] = "list",
        [OPTION_SECRET] = "secret"};
    return names[row->type];
}

/* groff reads '-' as a hyphen, '\' as an escape, and '.' or ''' at the start of a line as a request. */
static void put_man(struct buf *out, struct span text)
{
    bool is_line_start = true;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (is_line_start && (c == '.' || c == '\''))
            buf_puts(out, "\\&");
        is_line_start = c == '\n';
        if (c == '-')
            buf_puts(out, "\\-");
        else if (c == '\\')
            buf_puts(out, "\\e");
        else if (c == '\'')
            buf_puts(out, "\\(aq");
        else if (span_starts(span_skip(text, i), SPAN_LIT("…"))) {
            buf_puts(out, "\\&...");
            i += 2;
        } else
            buf_putc(out, c);
    }
}

static void man_str(struct buf *out, const char *text)
{
    put_man(out, span_str(text));
}

static void man_paragraphs(struct buf *out, const char *text)
{
    struct span rest = span_str(text), line;
    while (span_next(&rest, '\n', &line)) {
        if (line.len) {
            put_man(out, line);
            buf_putc(out, '\n');
        } else {
            buf_puts(out, ".PP\n");
        }
    }
}

static void man_option(struct buf *out, int id)
{
    const struct option *row = &option_table[id];
    buf_puts(out, ".TP\n");
    if (row->type == OPTION_SECRET) {
        buf_printf(out, ".B %s\n", row->env);
    } else {
        bool is_letter_only = row->letter && row->name[1] == 0;
        buf_puts(out, ".BR ");
        if (row->letter)
            buf_printf(out, "\\-%c", row->letter);
        if (!is_letter_only) {
            buf_puts(out, row->letter ? " \", \" \\-\\-" : "\\-\\-");
            man_str(out, row->name);
        }
        if (row->arg) {
            buf_puts(out, " \" \\fI");
            man_str(out, row->arg);
            buf_puts(out, "\\fR\"");
        }
        buf_putc(out, '\n');
    }
    man_str(out, row->help);
    if (row->type != OPTION_BOOL && (row->fallback || row->fallback_text)) {
        buf_puts(out, " Default: ");
        man_str(out, help_default(id));
        buf_putc(out, '.');
    }
    buf_putc(out, '\n');
    if (row->env && row->type != OPTION_SECRET) {
        buf_printf(out, "Variable: %s", row->env);
        for (size_t i = 0; i < ARRAY_LEN(row->compat) && row->compat[i].name; i++)
            buf_printf(out, ", else %s", row->compat[i].name);
        buf_puts(out, ".\n");
    }
}

static void man_commands(struct buf *out)
{
    for (int c = 0; c < CMD_COUNT; c++) {
        buf_puts(out, ".SS ");
        struct buf usage = BUF_INIT(512);
        help_put_usage(&usage, (enum command_id)c);
        struct span rest = buf_span(&usage), piece;
        for (bool first = true; span_next(&rest, '"', &piece); first = false) {
            buf_puts(out, first ? "" : "\\(dq");
            put_man(out, piece);
        }
        out->failed = out->failed || buf_failed(&usage);
        buf_done(&usage);
        buf_putc(out, '\n');
        man_str(out, commands[c].summary);
        buf_puts(out, ".\n.PP\n");
        man_paragraphs(out, commands[c].text);
        bool is_first = true;
        for (int i = 0; i < OPT_COUNT; i++) {
            if (!help_lists(i, (enum command_id)c))
                continue;
            buf_puts(out, is_first ? ".PP\nOptions:" : "");
            buf_puts(out, is_first ? " " : ", ");
            const struct option *row = &option_table[i];
            if (row->type == OPTION_SECRET)
                buf_printf(out, "\\fB%s\\fR", row->env);
            else {
                buf_puts(out, row->name[1] ? "\\fB\\-\\-" : "\\fB\\-");
                man_str(out, row->name);
                buf_puts(out, "\\fR");
            }
            is_first = false;
        }
        buf_puts(out, is_first ? "" : ".\n");
    }
}

static void man_examples(struct buf *out)
{
    buf_puts(out, ".SH EXAMPLES\n");
    for (int c = 0; c < CMD_COUNT; c++)
        for (size_t i = 0; i < ARRAY_LEN(commands[c].examples) && commands[c].examples[i].line;
             i++) {
            buf_puts(out, ".TP\n.nf\n\\fB");
            man_str(out, commands[c].examples[i].line);
            buf_puts(out, "\\fR\n.fi\n");
            man_str(out, commands[c].examples[i].what);
            buf_putc(out, '\n');
        }
}

void help_man(struct buf *out)
{
    buf_puts(
        out,
        ".\\\" Made by 'headwater help --man'; do not edit.\n"
        ".TH HEADWATER 1 \"\" \"headwater " HEADWATER_VERSION "\" \"User Commands\"\n"
        ".SH NAME\n"
        "headwater \\- repositories and documents as a live, cited wiki and streaming answers\n"
        ".SH SYNOPSIS\n.B headwater\n.I COMMAND\n[\\fIOPTION\\fR]\\&...\n"
        ".SH DESCRIPTION\n"
        "Headwater reads repositories and documents and answers questions about them, with "
        "citations that are checked against the stored text. Commands work without a running "
        "server; where one holds the data directory they talk to it.\n"
        ".SH COMMANDS\n");
    man_commands(out);
    buf_puts(
        out,
        ".SH OPTIONS\nA flag wins over a HEADWATER_* variable, that over another variable, that "
        "over the configuration file.\nSizes are written 512k, 10M or 2G; times 250ms, 30s, "
        "1h30m or 30d.\n");
    for (int i = 0; i < OPT_COUNT; i++)
        man_option(out, i);
    man_examples(out);
    buf_puts(
        out,
        ".SH EXIT STATUS\n.TP\n.B 0\nDone.\n.TP\n.B 1\nFailed; the reason is on standard error.\n"
        ".TP\n.B 2\nThe command line, a variable or the configuration file is wrong.\n"
        ".TP\n.B 130\nInterrupted.\n"
        ".SH FILES\n.TP\n.I ~/.config/headwater/headwater.conf\nConfiguration; "
        "\\fBheadwater help \\-\\-config\\fR prints a sample.\n"
        ".TP\n.I ~/.local/share/headwater\nData.\n");
}

/* ---- Markdown ---- */

static void md_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_putc(out, '\\');
        buf_putc(out, *text);
    }
}

static void md_row(struct buf *out, int id)
{
    const struct option *row = &option_table[id];
    buf_puts(out, "| `");
    if (row->type == OPTION_SECRET)
        buf_puts(out, row->name);
    else if (row->letter && row->name[1] == 0)
        buf_printf(out, "-%c", row->letter);
    else
        buf_printf(out, "--%s", row->name);
    if (row->arg && row->type != OPTION_SECRET)
        buf_printf(out, " %s", row->arg);
    buf_putc(out, '`');
    if (row->letter && row->name[1])
        buf_printf(out, ", `-%c`", row->letter);
    if (row->alias)
        buf_printf(out, ", `--%s`", row->alias);
    buf_printf(out, " | %s | ", type_name(row));
    md_cell(out, help_default(id));
    buf_puts(out, " | ");
    if (row->env)
        buf_printf(out, "`%s`", row->env);
    for (size_t i = 0; i < ARRAY_LEN(row->compat) && row->compat[i].name; i++)
        buf_printf(out, ", `%s`", row->compat[i].name);
    buf_puts(out, " | ");
    if (row->commands == CMD_ALL)
        buf_puts(out, "all");
    else
        for (int c = 0, n = 0; c < CMD_COUNT; c++)
            if (row->commands & CMD_BIT(c))
                buf_printf(out, "%s%s", n++ ? " " : "", commands[c].name);
    buf_printf(out, " | %s%s |\n", row->help,
               row->flags & OPTION_RELOADABLE ? " Can change while the server runs." : "");
}

void help_markdown(struct buf *out)
{
    buf_puts(
        out,
        "# Options\n\n"
        "Made by `headwater help --markdown`; do not edit.\n\n"
        "A flag wins over a `HEADWATER_*` variable, that over the other variables of its row in "
        "their order, that over the configuration file, that over the default. An empty variable "
        "counts as not set. Sizes are written `512k`, `10M` or `2G`; times `250ms`, `30s`, "
        "`1h30m` or `30d`.\n\n"
        "The configuration file has one `name = value` a line, under the `[section]` of the "
        "table or under none; `headwater help --config` prints a sample.\n\n## Commands\n\n"
        "| command | what |\n|---|---|\n");
    for (int c = 0; c < CMD_COUNT; c++)
        buf_printf(out, "| `headwater %s%s%s` | %s |\n", commands[c].name,
                   commands[c].operands[0] ? " " : "", commands[c].operands, commands[c].summary);
    const char *section = "";
    for (int i = 0; i < OPT_COUNT; i++) {
        if (strcmp(section, option_table[i].section) != 0) {
            section = option_table[i].section;
            bool is_in_file = strcmp(section, "command") != 0;
            if (is_in_file)
                buf_printf(out, "\n## [%s]\n\n", section);
            else
                buf_puts(out, "\n## Of one call\n\n");
            buf_puts(out, "| option | type | default | variables | commands | what |\n"
                          "|---|---|---|---|---|---|\n");
        }
        md_row(out, i);
    }
}

/* ---- sample configuration ---- */

static void config_comment(struct buf *out, const char *text)
{
    struct span rest = span_str(text), word;
    size_t at = 0;
    while (span_next(&rest, ' ', &word)) {
        if (at && at + 1 + word.len > 96) {
            buf_putc(out, '\n');
            at = 0;
        }
        buf_puts(out, at ? " " : "# ");
        buf_put_span(out, word);
        at += 1 + word.len + (at ? 0 : 1);
    }
    buf_putc(out, '\n');
}

void help_sample_config(struct buf *out)
{
    buf_puts(out, "# Configuration of Headwater. Remove '#; ' to change a setting.\n");
    const char *section = "";
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct option *row = &option_table[i];
        if (option_find_in_file(span_str(row->name)) != i)
            continue;
        if (strcmp(section, row->section) != 0) {
            section = row->section;
            buf_printf(out, "\n[%s]\n", section);
        }
        buf_putc(out, '\n');
        config_comment(out, row->help);
        if (row->fallback_text)
            buf_printf(out, "# Default: %s.\n", row->fallback_text);
        buf_printf(out, "#; %s = %s\n", row->name, row->fallback ? row->fallback : row->arg);
    }
}
