#include "app/help.h"

#include "app/options.h"

#include <stdio.h>

#define COLUMNS 80
#define HELP_COLUMN 28

void help_put_usage(struct buf *out, enum command_id id)
{
    const struct command *c = &commands[id];
    buf_printf(out, "headwater %s%s%s [OPTION]…", c->name, c->operands[0] ? " " : "", c->operands);
}

const char *help_default(int id)
{
    const struct option *row = &option_table[id];
    if (row->fallback_text)
        return row->fallback_text;
    return row->fallback ? row->fallback : "none";
}

bool help_lists(int id, enum command_id command)
{
    return option_table[id].commands & CMD_BIT(command) && id != OPT_HELP && id != OPT_VERSION;
}

/* Columns of UTF-8 text: code points, which is right for the texts of our tables. */
static size_t width(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

/* Words of one paragraph from column `at` on, later lines indented. Ends the line. */
static void put_wrapped(struct buf *out, struct span text, size_t at, size_t indent)
{
    struct span word;
    bool is_first = true;
    while (span_next(&text, ' ', &word)) {
        size_t n = width(word);
        if (!is_first && at + 1 + n > COLUMNS) {
            buf_printf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!is_first) {
            buf_putc(out, ' ');
            at++;
        }
        buf_put_span(out, word);
        at += n;
        is_first = false;
    }
    buf_putc(out, '\n');
}

static void put_entry(struct buf *out, const char *left, struct span text)
{
    buf_printf(out, "  %s", left);
    size_t at = 2 + width(span_str(left));
    if (at + 2 > HELP_COLUMN) {
        buf_putc(out, '\n');
        at = 0;
    }
    buf_printf(out, "%*s", (int)(HELP_COLUMN - at), "");
    put_wrapped(out, text, HELP_COLUMN, HELP_COLUMN);
}

static void put_option(struct buf *out, int id)
{
    const struct option *row = &option_table[id];
    struct buf left = BUF_INIT(256), text = BUF_INIT(4096);
    bool is_letter_only = row->letter && row->name[1] == 0;
    if (row->type == OPTION_SECRET)
        buf_printf(&left, "    %s", row->env);
    else if (is_letter_only)
        buf_printf(&left, "-%c", row->letter);
    else if (row->letter)
        buf_printf(&left, "-%c, --%s", row->letter, row->name);
    else
        buf_printf(&left, "    --%s", row->name);
    if (row->arg && row->type != OPTION_SECRET)
        buf_printf(&left, " %s", row->arg);
    buf_puts(&text, row->help);
    if (row->alias)
        buf_printf(&text, " Also --%s.", row->alias);
    if (row->type == OPTION_SECRET)
        buf_puts(&text, " Only as a variable or in the configuration file.");
    else if (row->type != OPTION_BOOL && (row->fallback || row->fallback_text))
        buf_printf(&text, " [%s]", help_default(id));
    put_entry(out, buf_str(&left), buf_span(&text));
    out->failed = out->failed || buf_failed(&left) || buf_failed(&text);
    buf_done(&left);
    buf_done(&text);
}

static void put_paragraphs(struct buf *out, const char *text)
{
    struct span rest = span_str(text), line;
    while (span_next(&rest, '\n', &line))
        put_wrapped(out, line, 0, 0);
}

void help_program(struct buf *out)
{
    buf_puts(out,
             "headwater: repositories and documents as a live, cited wiki and streaming answers\n\n"
             "Usage: headwater COMMAND [OPTION]…\n\nCommands:\n");
    for (int i = 0; i < CMD_COUNT; i++)
        put_entry(out, commands[i].name, span_str(commands[i].summary));
    buf_puts(out, "\nOptions:\n");
    put_option(out, OPT_HELP);
    put_option(out, OPT_VERSION);
    buf_puts(out, "\nTo begin:\n"
                  "  headwater ask . \"where does this program start?\"\n"
                  "  headwater serve\n\n"
                  "'headwater COMMAND --help' explains a command.\n");
}

void help_command(struct buf *out, enum command_id id)
{
    const struct command *c = &commands[id];
    buf_puts(out, "Usage: ");
    help_put_usage(out, id);
    buf_printf(out, "\n\n%s.\n\n", c->summary);
    put_paragraphs(out, c->text);
    buf_puts(out, "\nOptions:\n");
    for (int i = 0; i < OPT_COUNT; i++)
        if (help_lists(i, id))
            put_option(out, i);
    put_option(out, OPT_HELP);
    buf_puts(out, "\nExamples:\n");
    for (size_t i = 0; i < ARRAY_LEN(c->examples) && c->examples[i].line; i++)
        buf_printf(out, "  %s\n      %s\n", c->examples[i].line, c->examples[i].what);
}

void help_version(struct buf *out)
{
    buf_puts(out, "headwater " HEADWATER_VERSION "\n");
}
