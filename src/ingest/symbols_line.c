/*
 * Languages whose structure shows at the start of lines: indentation (Python), keyword … end, shell functions,
 * SQL statements, headings of markup.
 */
#include "ingest/symbols.h"

#include "base/limits.h"

#include <ctype.h>

#define OPEN_MAX_COUNT 64

struct opened {
    uint32_t first;
    uint32_t indent; /* columns; for headings the level */
    struct span name;
    const char *kind;
};

struct scan {
    struct symbol_list *out;
    const struct language *lang;
    struct span rest;
    struct span line;   /* current, without its end */
    uint32_t number;    /* of the current line */
    uint32_t last_code; /* the last line that was not blank (Python: nor a comment) */
    struct opened open[OPEN_MAX_COUNT];
    size_t depth;
    struct span until; /* the line that ends what is no code: a here-document, a long comment */
    size_t wasted;     /* bytes searched in vain for such a line */
    bool no_memory;
};

static bool next_line(struct scan *s)
{
    if (!span_next(&s->rest, '\n', &s->line))
        return false;
    s->number++;
    if (s->line.len && s->line.ptr[s->line.len - 1] == '\r')
        s->line.len--;
    return true;
}

/* Does the line end what `until` says? Here-documents end with a line of their own, comments within one. */
static bool ends_inert(struct span line, struct span until)
{
    struct span t = span_trim(line);
    return isalnum((unsigned char)until.ptr[0]) || until.ptr[0] == '_' || until.ptr[0] == '='
               ? span_eq(t, until)
               : span_find(t, until) >= 0;
}

static bool is_ended(struct scan *s, struct span until)
{
    struct span rest = s->rest, line;
    if (s->wasted / 4 > s->rest.len + 4096)
        return false;
    while (span_next(&rest, '\n', &line))
        if (ends_inert(line, until))
            return true;
    s->wasted += s->rest.len;
    return false;
}

static void emit(struct scan *s, const struct opened *o, uint32_t last)
{
    if (symbols_add(s->out, o->first, last, o->name, o->kind) < 0)
        s->no_memory = true;
}

/* Closes what is indented at least `indent`. */
static void close_from(struct scan *s, uint32_t indent, uint32_t last)
{
    while (s->depth > 0 && s->open[s->depth - 1].indent >= indent)
        emit(s, &s->open[--s->depth], last);
}

static void open_at(struct scan *s, uint32_t indent, struct span name, const char *kind)
{
    if (s->depth < OPEN_MAX_COUNT && name.len)
        s->open[s->depth++] = (struct opened){s->number, indent, name, kind};
}

static uint32_t indent_of(struct span line)
{
    uint32_t n = 0;
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] == ' ')
            n++;
        else if (line.ptr[i] == '\t')
            n = (n / 8 + 1) * 8;
        else
            break;
    }
    return n;
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static struct span first_word(struct span s)
{
    size_t n = 0;
    while (n < s.len && is_name_char(s.ptr[n]))
        n++;
    return span_first(s, n);
}

static bool in_list(const char *list, struct span word)
{
    struct span rest = span_str(list), item;
    while (word.len && span_next(&rest, ' ', &item))
        if (span_eq_nocase(item, word))
            return true;
    return false;
}

/* Drops words of `list` and the white space after them. */
static struct span skip_words(struct span s, const char *list)
{
    for (;;) {
        struct span w = first_word(s);
        if (!in_list(list, w))
            return s;
        s = span_trim(span_skip(s, w.len));
    }
}

/* ---- Python ---- */

struct python {
    char quote;      /* of an open triple-quoted string, or 0 */
    uint32_t parens; /* open brackets */
    bool continued;  /* the line ended with a backslash */
};

static bool is_triple(struct span l, size_t i, char quote)
{
    return i + 2 < l.len && l.ptr[i] == quote && l.ptr[i + 1] == quote && l.ptr[i + 2] == quote;
}

/* Follows strings and brackets over one line. */
static void python_follow(struct python *p, struct span l)
{
    p->continued = l.len && l.ptr[l.len - 1] == '\\';
    for (size_t i = 0; i < l.len; i++) {
        char c = l.ptr[i];
        if (p->quote) {
            if (c == '\\')
                i++;
            else if (is_triple(l, i, p->quote))
                p->quote = 0, i += 2;
        } else if (c == '#') {
            p->continued = false;
            return;
        } else if (c == '"' || c == '\'') {
            if (is_triple(l, i, c)) {
                p->quote = c;
                i += 2;
                continue;
            }
            for (i++; i < l.len && l.ptr[i] != c; i++)
                if (l.ptr[i] == '\\')
                    i++;
        } else if (c == '(' || c == '[' || c == '{') {
            p->parens++;
        } else if ((c == ')' || c == ']' || c == '}') && p->parens > 0) {
            p->parens--;
        }
    }
}

static void python_statement(struct scan *s, struct span code, uint32_t indent)
{
    bool is_python = span_is(span_str(s->lang->name), "python");
    struct span rest = skip_words(code, "async static");
    struct span word = first_word(rest);
    bool is_class = span_is(word, "class");
    if (!in_list(is_python ? "def class cdef cpdef"
                           : "def class func proc method macro template iterator",
                 word))
        return;
    rest = span_trim(span_skip(rest, word.len));
    rest =
        skip_words(rest, span_is(word, "cdef") || span_is(word, "cpdef")
                             ? "inline int void object double float bint list dict str bytes class"
                             : "");
    bool in_class = s->depth > 0 && span_is(span_str(s->open[s->depth - 1].kind), "class");
    open_at(s, indent, first_word(rest), is_class ? "class" : in_class ? "method" : "function");
}

static void scan_python(struct scan *s)
{
    struct python p = {0};
    while (next_line(s)) {
        struct span code = span_trim(s->line);
        bool inside = p.quote || p.parens > 0 || p.continued;
        bool is_comment = !inside && code.len && code.ptr[0] == '#';
        if (!code.len) {
            p.continued = false;
            continue;
        }
        if (is_comment)
            continue;
        if (!inside) {
            uint32_t indent = indent_of(s->line);
            close_from(s, indent, s->last_code);
            python_statement(s, code, indent);
        } else if (p.parens > 0 && !p.quote && indent_of(s->line) == 0 &&
                   in_list("def class async", first_word(code))) {
            p.parens = 0; /* a bracket that was never closed costs one definition, not the file */
            close_from(s, 0, s->last_code);
            python_statement(s, code, 0);
        }
        python_follow(&p, s->line);
        s->last_code = s->number;
    }
    close_from(s, 0, s->last_code);
}

/* ---- text within code: here-documents, long comments and strings ---- */

/* The tag of "<<TAG", "<<-TAG", "<<~'TAG'" in the line, or nothing. */
static struct span document_tag(struct span code)
{
    for (ptrdiff_t at; (at = span_find(code, SPAN_LIT("<<"))) >= 0;) {
        code = span_skip(code, (size_t)at + 2);
        if (!code.len || code.ptr[0] == '<') {
            while (code.len && code.ptr[0] == '<')
                code = span_skip(code, 1);
            continue;
        }
        while (code.len && strchr("-~ ", code.ptr[0]))
            code = span_skip(code, 1);
        if (code.len && strchr("'\"\\", code.ptr[0]))
            code = span_skip(code, 1);
        size_t n = 0;
        while (n < code.len && is_name_char(code.ptr[n]))
            n++;
        if (n > 1 && !isdigit((unsigned char)code.ptr[0]))
            return span_first(code, n);
    }
    return SPAN_NULL;
}

static bool has_odd(struct span code, struct span mark)
{
    bool odd = false;
    for (ptrdiff_t at; (at = span_find(code, mark)) >= 0; odd = !odd)
        code = span_skip(code, (size_t)at + mark.len);
    return odd;
}

/* Is the line (already) no code? What begins on it is remembered when it ends somewhere. */
static bool is_inert(struct scan *s)
{
    unsigned lex = s->lang->lex;
    struct span code = span_trim(s->line), until = SPAN_NULL;
    if (s->until.len) {
        if (ends_inert(s->line, s->until))
            s->until = SPAN_NULL;
        return true;
    }
    bool is_comment = false;
    if ((lex & LEX_HEREDOC) && code.len && code.ptr[0] != '#')
        until = document_tag(code);
    if (span_is(span_str(s->lang->name), "ruby") && span_starts(s->line, SPAN_LIT("=begin"))) {
        until = SPAN_LIT("=end");
        is_comment = true;
    } else if (s->lang->scanner == SCAN_END && (lex & LEX_TRIPLE) &&
               has_odd(code, SPAN_LIT("\"\"\""))) {
        until = SPAN_LIT("\"\"\"");
    } else if ((lex & LEX_DASH) && span_starts(code, SPAN_LIT("--[[")) &&
               span_find(code, SPAN_LIT("]]")) < 0) {
        until = SPAN_LIT("]]");
        is_comment = true;
    } else if (s->lang->scanner == SCAN_SQL && span_starts(code, SPAN_LIT("/*")) &&
               span_find(code, SPAN_LIT("*/")) < 0) {
        until = SPAN_LIT("*/");
        is_comment = true;
    }
    if (until.len && is_ended(s, until))
        s->until = until;
    return is_comment;
}

/* ---- keyword … end, and shell ---- */

struct end_language {
    const char *name;
    const char *modifiers, *containers, *functions, *ends;
};

static const struct end_language end_languages[] = {
    {"ruby", "private protected public private_class_method module_function", "class module", "def",
     "end"},
    {"crystal", "private protected abstract", "class module struct lib enum", "def macro", "end"},
    {"elixir", "", "defmodule defimpl defprotocol", "def defp defmacro defmacrop defguard", "end"},
    {"lua", "local", "", "function", "end"},
    {"julia", "mutable abstract", "module baremodule", "function macro struct", "end"},
    {"matlab", "", "classdef", "function", "end endfunction"},
    {"fortran", "pure elemental recursive integer real logical character complex impure",
     "module program", "subroutine function type", "end endsubroutine endfunction endmodule"},
    {"ada", "overriding", "package", "procedure function task", "end"},
    {"fish", "", "", "function", "end"},
    {"vim", "", "", "function func def", "endfunction endfunc endf enddef"},
};

static struct span end_name(struct span s, bool may_be_operator)
{
    size_t n = 0;
    while (n < s.len && (is_name_char(s.ptr[n]) || strchr(".:!?=<>+-*/[]@", s.ptr[n])))
        n++;
    while (n > 0 && strchr(":=,", s.ptr[n - 1]) && !is_name_char(s.ptr[0]))
        n--;
    s = span_first(s, n);
    if (span_starts(s, SPAN_LIT("self.")))
        s = span_skip(s, 5);
    return s.len && (is_name_char(s.ptr[0]) || (may_be_operator)) ? s : SPAN_NULL;
}

static const struct end_language *end_language_of(const struct language *lang)
{
    for (size_t i = 0; i < ARRAY_LEN(end_languages); i++)
        if (span_is(span_str(lang->name), end_languages[i].name))
            return &end_languages[i];
    return NULL;
}

/* "def f() = 1", "def f; 1; end", "…, do: x": nothing follows. */
static bool is_one_line(const struct scan *s, struct span code)
{
    if (span_ends(code, SPAN_LIT(" end")) || span_ends(code, SPAN_LIT(";end")))
        return true;
    if (s->lang->name[0] == 'e' && span_find(code, SPAN_LIT(", do:")) >= 0)
        return true;
    return span_is(span_str(s->lang->name), "ruby") && span_find(code, SPAN_LIT(") = ")) >= 0;
}

/* describe "a thing" do   it "does" do */
static bool ruby_block(struct scan *s, struct span code, struct span word, uint32_t indent)
{
    if (span_starts(code, SPAN_LIT("RSpec."))) {
        code = span_skip(code, 6);
        word = first_word(code);
    }
    bool is_suite = in_list("describe context feature shared_examples", word);
    bool is_test = in_list("it specify scenario test", word);
    if ((!is_suite && !is_test) || !span_is(span_str(s->lang->name), "ruby") ||
        !span_ends(code, SPAN_LIT(" do")))
        return false;
    struct span name = span_trim(
        span_first(span_skip(code, word.len), code.len - word.len - 3)); /* without " do" */
    while (name.len && strchr("'\"(:", name.ptr[0]))
        name = span_skip(name, 1);
    while (name.len && strchr("'\")", name.ptr[name.len - 1]))
        name.len--;
    close_from(s, indent, s->last_code);
    open_at(s, indent, span_first(name, 100), is_suite ? "suite" : "test");
    return true;
}

static const char *end_kind(const struct scan *s, struct span word, bool is_container)
{
    if (is_container)
        return in_list("class classdef struct enum lib", word) ? "class" : "module";
    const char *up = s->depth > 0 ? s->open[s->depth - 1].kind : "";
    bool has_methods = in_list("ruby crystal matlab", span_str(s->lang->name));
    return has_methods && in_list("class module", span_str(up)) ? "method" : "function";
}

static void scan_end(struct scan *s, const struct end_language *l)
{
    while (next_line(s)) {
        struct span code = span_trim(s->line);
        if (!code.len)
            continue;
        uint32_t indent = indent_of(s->line);
        struct span word = first_word(code);
        if (is_inert(s)) {
            s->last_code = s->number;
            continue;
        }
        if (ruby_block(s, code, word, indent)) {
            s->last_code = s->number;
            continue;
        }
        if (in_list(l->ends, word) && s->depth > 0 && s->open[s->depth - 1].indent >= indent) {
            close_from(s, indent + 1, s->last_code);
            close_from(s, indent, s->number);
            s->last_code = s->number;
            continue;
        }
        struct span rest = skip_words(code, l->modifiers);
        word = first_word(rest);
        bool is_container = in_list(l->containers, word);
        if (is_container || in_list(l->functions, word)) {
            rest = span_trim(span_skip(rest, word.len));
            if (rest.len && rest.ptr[0] == '!')
                rest = span_trim(span_skip(rest, 1));
            rest = skip_words(rest, "body");
            struct span name = end_name(rest, !is_container && span_is(word, "def"));
            close_from(s, indent, s->last_code);
            if (is_one_line(s, code) && name.len)
                emit(s, &(struct opened){s->number, 0, name, end_kind(s, word, is_container)},
                     s->number);
            else
                open_at(s, indent, name, end_kind(s, word, is_container));
        }
        s->last_code = s->number;
    }
    close_from(s, 0, s->last_code);
}

/* "name() {", "function name {", "name ()" with the brace on the next line. Empty when it is none. */
static struct span shell_function(struct span code)
{
    bool keyword = span_is(first_word(code), "function");
    if (keyword)
        code = span_trim(span_skip(code, 8));
    size_t n = 0;
    while (n < code.len && (is_name_char(code.ptr[n]) || strchr("-.:+@", code.ptr[n])))
        n++;
    struct span rest = span_trim(span_skip(code, n));
    bool parens = span_starts(rest, SPAN_LIT("()"));
    if (parens)
        rest = span_trim(span_skip(rest, 2));
    if (!n || (!parens && !(keyword && (!rest.len || rest.ptr[0] == '{'))))
        return SPAN_NULL;
    if (rest.len && rest.ptr[0] != '{' && rest.ptr[0] != '(' && rest.ptr[0] != '#')
        return SPAN_NULL;
    return span_first(code, n);
}

/* @test "name" { */
static struct span bats_name(struct span code)
{
    struct span name = span_trim(span_of(code.ptr + 6, code.len - 7));
    while (name.len && strchr("'\"", name.ptr[0]))
        name = span_skip(name, 1);
    while (name.len && strchr("'\"", name.ptr[name.len - 1]))
        name.len--;
    return span_first(name, 100);
}

static void scan_shell(struct scan *s)
{
    while (next_line(s)) {
        struct span code = span_trim(s->line);
        if (!code.len)
            continue;
        if (is_inert(s)) {
            s->last_code = s->number;
            continue;
        }
        uint32_t indent = indent_of(s->line);
        bool closes = code.ptr[0] == '}' || code.ptr[0] == ')';
        bool is_test = span_starts(code, SPAN_LIT("@test ")) && span_ends(code, SPAN_LIT("{"));
        struct span name = is_test ? bats_name(code) : shell_function(code);
        if (closes && s->depth > 0 && s->open[s->depth - 1].indent == indent) {
            close_from(s, indent, s->number);
        } else if (name.len && (s->depth == 0 || s->open[s->depth - 1].indent == indent)) {
            close_from(s, indent, s->last_code);
            open_at(s, indent, name, is_test ? "test" : "function");
            if (code.ptr[code.len - 1] == '}')
                close_from(s, indent, s->number);
        }
        s->last_code = s->number;
    }
    close_from(s, 0, s->last_code);
}

/* ---- SQL ---- */

static struct span cut_word(struct span *s)
{
    *s = span_trim(*s);
    size_t n = 0;
    while (n < s->len && !isspace((unsigned char)s->ptr[n]) && !strchr("(;", s->ptr[n]))
        n++;
    struct span w = span_first(*s, n);
    *s = span_skip(*s, n);
    return w;
}

/* CREATE [OR REPLACE …] kind [IF NOT EXISTS] name */
static void sql_create(struct scan *s, struct span code)
{
    static const char *const kinds[] = {"table", "view",   "function", "procedure", "trigger",
                                        "index", "schema", "type",     "sequence",  "package"};
    for (int words = 0; words < 8 && code.len; words++) {
        struct span w = cut_word(&code);
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
            if (!span_eq_nocase(w, span_str(kinds[i])))
                continue;
            struct span name = cut_word(&code);
            while (in_list("if not exists body concurrently", name))
                name = cut_word(&code);
            while (name.len && strchr("\"`[", name.ptr[0]))
                name = span_skip(name, 1);
            while (name.len && strchr("\"`]", name.ptr[name.len - 1]))
                name.len--;
            open_at(s, 0, name, kinds[i]);
            return;
        }
    }
}

static bool is_routine(const struct scan *s)
{
    return s->depth > 0 &&
           in_list("function procedure trigger package", span_str(s->open[s->depth - 1].kind));
}

/* The end of a routine is judged by the line: its body holds semicolons. */
static bool sql_routine_ends(struct span code, uint32_t indent)
{
    struct span word = first_word(code);
    if (span_is(code, "/") || span_is(code, "$$;") || span_is(code, "$$"))
        return true;
    if (indent == 0 && span_eq_nocase(word, SPAN_LIT("end")))
        return true; /* END; END // END$$ END name; */
    if (code.ptr[0] == '$' && span_ends(code, SPAN_LIT("$;")))
        return true;
    if (span_find_nocase(code, SPAN_LIT("language ")) >= 0 && span_ends(code, SPAN_LIT(";")))
        return true;
    return span_eq_nocase(word, SPAN_LIT("go")) && code.len == 2;
}

static void scan_sql(struct scan *s)
{
    while (next_line(s)) {
        struct span code = span_trim(s->line);
        if (!code.len)
            continue;
        bool is_comment = is_inert(s) || span_starts(code, SPAN_LIT("--"));
        if (!is_comment && indent_of(s->line) == 0 &&
            span_eq_nocase(first_word(code), SPAN_LIT("create"))) {
            close_from(s, 0, s->last_code);
            sql_create(s, span_skip(code, 6));
        }
        if (!is_comment)
            s->last_code = s->number;
        if (!is_comment && (is_routine(s) ? sql_routine_ends(code, indent_of(s->line))
                                          : code.ptr[code.len - 1] == ';'))
            close_from(s, 0, s->number);
    }
    close_from(s, 0, s->last_code);
}

/* ---- headings ---- */

static void heading(struct scan *s, uint32_t line, uint32_t level, struct span title)
{
    close_from(s, level, line > 1 ? line - 1 : 1);
    if (s->depth < OPEN_MAX_COUNT)
        s->open[s->depth++] = (struct opened){line, level, title, "heading"};
}

static size_t run_length(struct span l, char c)
{
    size_t n = 0;
    while (n < l.len && l.ptr[n] == c)
        n++;
    return n;
}

static bool is_all(struct span l, char c)
{
    l = span_trim(l);
    return l.len > 0 && run_length(l, c) == l.len;
}

static struct span strip_marks(struct span title, char mark)
{
    title = span_trim(title);
    while (title.len && title.ptr[title.len - 1] == mark)
        title.len--;
    return span_trim(title);
}

static void scan_markdown(struct scan *s)
{
    char fence = 0;
    size_t fence_len = 0;
    struct span previous = SPAN_NULL; /* a paragraph's first line, for underlines */
    bool front_matter = false;
    while (next_line(s)) {
        struct span code = span_trim(s->line);
        uint32_t indent = indent_of(s->line);
        size_t ticks = code.len ? run_length(code, code.ptr[0]) : 0;
        if (s->number == 1 && span_is(s->line, "---")) {
            front_matter = true;
        } else if (front_matter) {
            front_matter = !span_is(s->line, "---");
        } else if (fence) {
            if (code.len && code.ptr[0] == fence && ticks >= fence_len && ticks == code.len)
                fence = 0;
        } else if (ticks >= 3 && (code.ptr[0] == '`' || code.ptr[0] == '~')) {
            fence = code.ptr[0];
            fence_len = ticks;
        } else if (indent < 4 && ticks >= 1 && ticks <= 6 && code.ptr[0] == '#' &&
                   (ticks == code.len || isspace((unsigned char)code.ptr[ticks]))) {
            heading(s, s->number, (uint32_t)ticks, strip_marks(span_skip(code, ticks), '#'));
        } else if (indent < 4 && previous.len &&
                   (is_all(code, '=') || (is_all(code, '-') && code.len > 1))) {
            heading(s, s->number - 1, code.ptr[0] == '=' ? 1 : 2, previous);
        } else if (indent < 4 && code.len && !previous.len && !strchr("-*+>|<", code.ptr[0])) {
            previous = code; /* only one-line paragraphs: longer ones are rarely headings */
            continue;
        }
        previous = SPAN_NULL;
    }
    close_from(s, 0, s->number);
}

static void scan_rst(struct scan *s)
{
    char order[16];
    size_t levels = 0;
    struct span before = SPAN_NULL, previous = SPAN_NULL;
    while (next_line(s)) {
        struct span code = span_trim(s->line);
        bool is_rule = code.len >= 3 && ispunct((unsigned char)code.ptr[0]) &&
                       is_all(code, code.ptr[0]) && !strchr(":.", code.ptr[0]);
        bool is_title = previous.len && !ispunct((unsigned char)previous.ptr[previous.len - 1]);
        is_title |= previous.len && code.len >= previous.len && !is_all(previous, previous.ptr[0]);
        if (is_rule && is_title && code.len + 2 >= previous.len && indent_of(s->line) == 0) {
            bool over = before.len && span_eq(before, code);
            char mark = (char)(over ? code.ptr[0] | (char)0x80 : code.ptr[0]);
            size_t level = 0;
            while (level < levels && order[level] != mark)
                level++;
            if (level == levels && levels < sizeof order)
                order[levels++] = mark;
            heading(s, s->number - (over ? 2 : 1), (uint32_t)level + 1, previous);
            before = previous = SPAN_NULL;
            continue;
        }
        before = previous;
        previous = code;
    }
    close_from(s, 0, s->number);
}

/* = Title (AsciiDoc), * Title (Org) */
static void scan_marked(struct scan *s, char mark)
{
    while (next_line(s)) {
        size_t n = run_length(s->line, mark);
        if (n >= 1 && n <= 8 && n + 1 < s->line.len && s->line.ptr[n] == ' ')
            heading(s, s->number, (uint32_t)n, strip_marks(span_skip(s->line, n), mark));
    }
    close_from(s, 0, s->number);
}

static void scan_tex(struct scan *s)
{
    static const char *const marks[] = {"\\part", "\\chapter", "\\section", "\\subsection",
                                        "\\subsubsection"};
    while (next_line(s)) {
        struct span code = span_trim(s->line);
        for (uint32_t i = 0; i < ARRAY_LEN(marks); i++) {
            struct span rest = span_skip(code, strlen(marks[i]));
            if (!span_starts(code, span_str(marks[i])))
                continue;
            if (rest.len && rest.ptr[0] == '*')
                rest = span_skip(rest, 1);
            ptrdiff_t close = span_rfind_char(rest, '}');
            if (rest.len && rest.ptr[0] == '{' && close > 1)
                heading(s, s->number, i + 1, span_of(rest.ptr + 1, (size_t)close - 1));
        }
    }
    close_from(s, 0, s->number);
}

int symbols_scan_lines(struct symbol_list *l, struct span text, const struct language *lang)
{
    struct scan s = {.out = l, .lang = lang, .rest = text};
    const struct end_language *end = end_language_of(lang);
    if (lang->scanner == SCAN_INDENT)
        scan_python(&s);
    else if (lang->scanner == SCAN_SHELL)
        scan_shell(&s);
    else if (lang->scanner == SCAN_SQL)
        scan_sql(&s);
    else if (lang->scanner == SCAN_MARKDOWN)
        scan_markdown(&s);
    else if (lang->scanner == SCAN_RST)
        scan_rst(&s);
    else if (lang->scanner == SCAN_ASCIIDOC || lang->scanner == SCAN_ORG)
        scan_marked(&s, lang->scanner == SCAN_ORG ? '*' : '=');
    else if (lang->scanner == SCAN_TEX)
        scan_tex(&s);
    else if (end)
        scan_end(&s, end);
    return s.no_memory ? -ERR_NO_MEMORY : 0;
}
