#include "app/config_file.h"

#include "base/buf.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static struct span skip_blanks(struct span s)
{
    while (s.len && is_blank(s.ptr[0]))
        s = span_skip(s, 1);
    return s;
}

static struct span cut_name(struct span *rest)
{
    size_t n = 0;
    while (n < rest->len && is_name_char(rest->ptr[n]))
        n++;
    struct span name = span_first(*rest, n);
    *rest = span_skip(*rest, n);
    return name;
}

/* Nothing but white space and a comment. */
static bool is_line_end(struct span rest)
{
    rest = skip_blanks(rest);
    return !rest.len || rest.ptr[0] == '#';
}

static struct span bare_value(struct span rest)
{
    for (size_t i = 0; i < rest.len; i++)
        if (rest.ptr[i] == '#' && (i == 0 || is_blank(rest.ptr[i - 1])))
            return span_trim(span_first(rest, i));
    return span_trim(rest);
}

static int quoted_value(struct span rest, struct buf *out, struct err *err)
{
    size_t i = 1; /* past the quote */
    for (; i < rest.len && rest.ptr[i] != '"'; i++) {
        char c = rest.ptr[i];
        if (c == '\\') {
            static const char codes[] = "\"\\nt", bytes[] = "\"\\\n\t";
            const char *at = ++i < rest.len && rest.ptr[i] ? strchr(codes, rest.ptr[i]) : NULL;
            if (!at)
                return err_set(err, ERR_INVALID,
                               "unknown escape in a quoted value (allowed: "
                               "\\\" \\\\ \\n \\t)");
            c = bytes[at - codes];
        }
        buf_putc(out, c);
    }
    if (i >= rest.len)
        return err_set(err, ERR_INVALID, "quoted value without its closing quote");
    if (!is_line_end(span_skip(rest, i + 1)))
        return err_set(err, ERR_INVALID, "unexpected text after a quoted value");
    return buf_failed(out) ? err_set(err, ERR_NO_MEMORY, "no memory for a quoted value") : 0;
}

static int parse_section(struct span line, struct span *ret_section, struct err *err)
{
    struct span rest = skip_blanks(span_skip(line, 1));
    struct span name = cut_name(&rest);
    rest = skip_blanks(rest);
    if (!name.len || !rest.len || rest.ptr[0] != ']' || !is_line_end(span_skip(rest, 1)))
        return err_set(err, ERR_INVALID, "a section is written [name]");
    *ret_section = name;
    return 0;
}

static int parse_assignment(struct span line, unsigned number, struct span section,
                            config_setter *set, void *ctx, struct err *err)
{
    struct span rest = line;
    struct span name = cut_name(&rest);
    rest = skip_blanks(rest);
    if (!name.len || !rest.len || rest.ptr[0] != '=')
        return err_set(err, ERR_INVALID, "a setting is written name = value");
    rest = skip_blanks(span_skip(rest, 1));
    if (!rest.len || rest.ptr[0] != '"')
        return set(ctx, number, section, name, bare_value(rest), false, err);
    struct buf text = BUF_INIT(CONFIG_LINE_MAX);
    int r = quoted_value(rest, &text, err);
    if (r == 0)
        r = set(ctx, number, section, name, span_of(buf_str(&text), text.len), true, err);
    buf_done(&text);
    return r;
}

static int parse_line(struct span line, unsigned number, struct span *section, config_setter *set,
                      void *ctx, struct err *err)
{
    if (line.len > CONFIG_LINE_MAX)
        return err_set(err, ERR_TOO_LARGE, "line longer than %u bytes", CONFIG_LINE_MAX);
    if (span_find_char(line, 0) >= 0)
        return err_set(err, ERR_INVALID, "a NUL byte; is this a text file?");
    line = skip_blanks(line);
    if (is_line_end(line))
        return 0;
    if (line.ptr[0] == '[')
        return parse_section(line, section, err);
    return parse_assignment(line, number, *section, set, ctx, err);
}

int config_file_parse(struct span text, const char *file_name, config_setter *set, void *ctx,
                      struct err *err)
{
    if (text.len > CONFIG_FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s: larger than %u bytes", file_name, CONFIG_FILE_MAX);
    if (span_starts(text, SPAN_LIT("\xef\xbb\xbf")))
        text = span_skip(text, 3);
    struct span line, section = SPAN_NULL;
    for (unsigned number = 1; span_next(&text, '\n', &line); number++) {
        int r = parse_line(line, number, &section, set, ctx, err);
        if (r < 0) {
            err_prefix(err, "%s:%u", file_name, number);
            return r;
        }
    }
    return 0;
}
