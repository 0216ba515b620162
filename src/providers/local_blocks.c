#include "providers/local_priv.h"

#include "base/mem.h"
#include "text/sentence.h"
#include "text/utf8.h"

static bool ends_nocase(struct span s, const char *end)
{
    struct span e = span_str(end);
    return s.len >= e.len && span_eq_nocase(span_skip(s, s.len - e.len), e);
}

bool language_is_prose(struct span language, struct span path)
{
    static const char *const prose[] = {"markdown", "text", "rst",   "restructuredtext",
                                        "asciidoc", "org",  "html",  "pdf",
                                        "docx",     "odt",  "latex", "tex",
                                        "mdx"};
    for (size_t i = 0; i < ARRAY_LEN(prose); i++)
        if (span_is(language, prose[i]))
            return true;
    return language.len == 0 &&
           (ends_nocase(path, ".md") || ends_nocase(path, ".txt") || ends_nocase(path, ".rst"));
}

struct span language_for_fence(const struct chat_passage *p)
{
    struct span l = p->language;
    if (l.len == 0 || l.len > 20 || span_is(l, "text"))
        return SPAN_NULL;
    for (size_t i = 0; i < l.len; i++)
        if (!((l.ptr[i] >= 'a' && l.ptr[i] <= 'z') || (l.ptr[i] >= '0' && l.ptr[i] <= '9') ||
              strchr("+#-_.", l.ptr[i])))
            return SPAN_NULL;
    return span_is(l, "shell") ? SPAN_LIT("sh") : l;
}

/* ---- comment syntax ---- */

enum {
    MARK_SLASH = 1,
    MARK_HASH = 2,
    MARK_DASH = 4,
    MARK_TRIPLE = 8,
    MARK_PERCENT = 16,
    MARK_SEMI = 32,
    MARK_XML = 64
};

static unsigned marks_of(struct span language)
{
    static const struct {
        const char *names; /* each between spaces */
        unsigned marks;
    } table[] = {
        {" python starlark cython ", MARK_HASH | MARK_TRIPLE},
        {" elixir julia nim gdscript ", MARK_HASH | MARK_TRIPLE},
        {" ruby perl shell fish make cmake meson dockerfile yaml toml r powershell awk crystal "
         "coffeescript nix "
         "graphql ini conf properties terraform gitignore nginx tcl ",
         MARK_HASH},
        {" lua sql ada vhdl haskell elm ", MARK_DASH},
        {" matlab latex tex erlang prolog ", MARK_PERCENT},
        {" lisp scheme clojure elisp assembly asm ", MARK_SEMI},
        {" html xml svg ", MARK_XML},
        {" php ", MARK_SLASH | MARK_HASH},
        {" vue ", MARK_SLASH | MARK_XML},
    };
    char key[40];
    if (language.len == 0 || language.len > 36)
        return MARK_SLASH;
    key[0] = ' ';
    memcpy(key + 1, language.ptr, language.len);
    key[language.len + 1] = ' ';
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (span_find(span_str(table[i].names), span_of(key, language.len + 2)) >= 0)
            return table[i].marks;
    return MARK_SLASH;
}

static bool starts(struct span s, const char *with)
{
    return span_starts(s, span_str(with));
}

static struct span without(struct span s, const char *mark)
{
    while (starts(s, mark))
        s = span_skip(s, strlen(mark));
    return s;
}

/* A comment that takes a whole line: its text, marker stripped. False for program text. */
static bool line_comment(unsigned marks, struct span line, struct span *ret)
{
    if ((marks & MARK_SLASH) && starts(line, "//")) {
        *ret = without(line, "/");
        if (starts(*ret, "!"))
            *ret = span_skip(*ret, 1);
        return true;
    }
    if ((marks & MARK_HASH) && starts(line, "#")) {
        *ret = without(line, "#");
        return !starts(*ret, "!");
    }
    if ((marks & MARK_DASH) && starts(line, "--")) {
        *ret = without(line, "-");
        return true;
    }
    if ((marks & MARK_PERCENT) && starts(line, "%")) {
        *ret = without(line, "%");
        return true;
    }
    if ((marks & MARK_SEMI) && starts(line, ";")) {
        *ret = without(line, ";");
        return true;
    }
    return false;
}

/* ---- cutting ---- */

struct cutter {
    struct local *l;
    struct part *part;
    uint32_t passage;
    unsigned marks;
    uint64_t heading_mask;
    struct span heading;
    /* the comment being collected in l->clean */
    size_t block_start, block_indent;
    uint32_t block_line;
    bool in_block; /* inside a comment with an end mark */
    const char *block_end;
    int failed;
};

/* Links of a bar or a list of them. */
static size_t links_in(struct span text)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < text.len; i++)
        n += text.ptr[i] == ']' && text.ptr[i + 1] == '(';
    return n;
}

static bool is_boilerplate(struct span text)
{
    static const char *const marks[] = {"copyright",
                                        "spdx-license",
                                        "licensed under",
                                        "all rights reserved",
                                        "warranties or conditions",
                                        "permission is hereby",
                                        "eslint-",
                                        "clang-format o",
                                        "shields.io",
                                        "noqa",
                                        "@ts-ignore",
                                        "table of contents"};
    if (span_find(text, SPAN_LIT("```")) >= 0 || starts(text, "~~~") || starts(text, "|--") ||
        starts(text, "[![") || starts(text, "@") || span_find(text, SPAN_LIT("{%")) >= 0 ||
        span_find(text, SPAN_LIT("</")) >= 0 || span_find(text, SPAN_LIT("/>")) >= 0 ||
        (links_in(text) > 2 && text.len < 80 * links_in(text)) || starts(text, "![") ||
        starts(text, "<"))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (span_find_nocase(text, span_str(marks[i])) >= 0)
            return true;
    return false;
}

static bool has_balanced_ticks(struct span text)
{
    size_t ticks = 0;
    for (size_t i = 0; i < text.len; i++)
        ticks += text.ptr[i] == '`';
    return ticks % 2 == 0;
}

static void add_unit(struct cutter *c, enum unit_kind kind, struct span text, uint32_t first,
                     uint32_t last, bool is_leading)
{
    struct local *l = c->l;
    if (c->failed || l->unit_count >= LIMIT_LOCAL_UNITS_COUNT)
        return;
    if (l->unit_count == l->unit_cap) {
        size_t cap = l->unit_cap ? l->unit_cap * 2 : 256;
        struct unit *grown = mem_try_realloc(l->units, cap * sizeof *grown);
        if (!grown) {
            c->failed = -ERR_NO_MEMORY;
            return;
        }
        l->units = grown;
        l->unit_cap = cap;
    }
    struct unit *u = &l->units[l->unit_count++];
    *u = (struct unit){.text = text, .passage = c->passage, .kind = kind, .is_leading = is_leading};
    u->start_line = c->part->in->start_line + first;
    u->end_line = c->part->in->start_line + last;
    u->is_leaning = kind != UNIT_CODE && kind != UNIT_COMMAND && is_leaning(text);
    u->mask = words_mask(&l->words, text);
    u->near_mask = c->heading_mask;
    u->heading = c->heading;
    u->is_boilerplate = kind != UNIT_CODE && kind != UNIT_COMMAND &&
                        (is_boilerplate(text) || !has_balanced_ticks(text));
}

static uint32_t newlines(struct span s)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += s.ptr[i] == '\n';
    return n;
}

/* "- item", "3. item": the text after the marker. */
static struct span without_marker(struct span s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9')
        n++;
    if (n > 0 && n < 4 && n + 1 < s.len && (s.ptr[n] == '.' || s.ptr[n] == ')') &&
        s.ptr[n + 1] == ' ')
        return span_trim(span_skip(s, n + 2));
    if (s.len > 2 && strchr("-*+>", s.ptr[0]) && s.ptr[1] == ' ')
        return span_trim(span_skip(s, 2));
    return s;
}

/* "@brief Text", "@fileoverview Text": the text. Other tags are for tools. */
static struct span without_tag(struct span s)
{
    static const char *const tags[] = {"@fileoverview ", "@brief ",    "@summary ",
                                       "@description ",  "@overview ", "\\brief "};
    for (size_t i = 0; i < ARRAY_LEN(tags); i++)
        if (starts(s, tags[i]))
            return span_trim(span_skip(s, strlen(tags[i])));
    return s;
}

/* A title with a line drawn behind it: the title. */
static struct span without_rule(struct span s)
{
    size_t n = 0;
    while (n < s.len && strchr("-=*~#", s.ptr[s.len - n - 1]))
        n++;
    return n > 3 ? span_trim(span_first(s, s.len - n)) : s;
}

static bool is_item(struct span t)
{
    return t.len && without_marker(t).len != t.len && t.ptr[0] != '>';
}

/* Sentences of a run of text whose lines are lines first.. of the passage. */
static void add_sentences(struct cutter *c, enum unit_kind kind, struct span text, uint32_t first)
{
    struct span rest = text, sentence;
    bool is_list = is_item(span_trim(text));
    bool is_leading = !(is_list && kind == UNIT_COMMENT);
    struct local *l = c->l;
    while (!c->failed && sentence_next(&rest, &sentence)) {
        size_t before = l->unit_count;
        uint32_t line = first + newlines(span_of(text.ptr, (size_t)(sentence.ptr - text.ptr)));
        uint32_t last = line + newlines(sentence);
        struct span shown = without_rule(without_tag(without_marker(sentence)));
        size_t letters = 0, gaps = 0;
        for (size_t i = 0; i < shown.len; i++) {
            letters += (shown.ptr[i] | 32) >= 'a' && (shown.ptr[i] | 32) <= 'z';
            gaps += shown.ptr[i] == ' ' || shown.ptr[i] == '\n';
        }
        bool is_wide =
            shown.len && !utf8_is_valid(shown) ? false : letters * 3 < shown.len && shown.len > 6;
        bool is_text =
            (letters >= 8 && gaps >= 2) || (is_wide && (unsigned char)shown.ptr[0] >= 0x80);
        if (is_text && shown.len <= 700)
            add_unit(c, kind, shown,
                     line + newlines(span_of(sentence.ptr, (size_t)(shown.ptr - sentence.ptr))),
                     last, is_leading);
        if (l->unit_count > before)
            l->units[before].is_item = is_list;
        is_leading = false;
    }
}

/* ---- prose ---- */

static bool is_fence(struct span line)
{
    return starts(line, "```") || starts(line, "~~~");
}

static bool is_rule(struct span line)
{
    for (size_t i = 0; i < line.len; i++)
        if (!strchr("=-~^*_+|: .", line.ptr[i]))
            return false;
    return line.len > 2;
}

static size_t heading_level(struct span line)
{
    size_t n = 0;
    while (n < line.len && line.ptr[n] == '#')
        n++;
    return n > 0 && n < 7 && n < line.len && line.ptr[n] == ' ' ? n : 0;
}

/* "[name]: address", ":option: value", "\label": not for readers. */
static bool is_markup(struct span t)
{
    ptrdiff_t shut = starts(t, "[") ? span_find(t, SPAN_LIT("]:")) : -1;
    return shut > 0 || starts(t, ".. ") || starts(t, "<") || starts(t, ":param") ||
           starts(t, ":option") || starts(t, ":maxdepth") || starts(t, "![") || starts(t, "[![");
}

static size_t indent_of(struct span line)
{
    size_t n = 0;
    while (n < line.len && (line.ptr[n] == ' ' || line.ptr[n] == '\t'))
        n++;
    return n;
}

struct prose { /* where cutting stands */
    struct cutter *c;
    const char *run, *fence; /* start of the open paragraph, of the open block of code */
    uint32_t run_line, fence_line;
    struct span run_first; /* first line of the paragraph */
    bool expects_literal;  /* "::" went before: what is set in deeper is program text */
    size_t literal_indent; /* of the line before it */
};

static void paragraph_end(struct prose *p, const char *end, bool is_heading)
{
    struct cutter *c = p->c;
    if (!p->run)
        return;
    struct span text = span_of(p->run, (size_t)(end - p->run));
    if (is_heading) {
        c->heading = span_trim(text);
        c->heading_mask = words_mask(&c->l->words, text);
    } else {
        add_sentences(c, UNIT_SENTENCE, text, p->run_line);
        p->expects_literal = ends_nocase(span_trim(text), "::");
        p->literal_indent = indent_of(p->run_first);
    }
    p->run = NULL;
}

static void in_fence(struct prose *p, struct span line, struct span t, uint32_t here)
{
    if (!is_fence(t))
        return;
    struct span body = span_of(p->fence, (size_t)(line.ptr - p->fence));
    if (here > p->fence_line && span_trim(body).len)
        add_unit(p->c, UNIT_COMMAND, body, p->fence_line, here - 1, false);
    p->fence = NULL;
}

/* A directive: of what is documented it is the heading; of program text it announces a block. */
static void directive(struct prose *p, struct span line, struct span t)
{
    struct cutter *c = p->c;
    ptrdiff_t at = starts(t, ".. ") ? span_find(t, SPAN_LIT("::")) : -1;
    if (at < 0)
        return;
    struct span name = span_first(t, (size_t)at);
    p->expects_literal = span_find(name, SPAN_LIT("code")) >= 0 ||
                         span_find(name, SPAN_LIT("include")) >= 0 ||
                         span_find(name, SPAN_LIT("toctree")) >= 0;
    p->literal_indent = indent_of(line);
    if (span_find(name, SPAN_LIT(":")) >= 0) {
        c->heading = span_trim(span_skip(t, (size_t)at + 2));
        c->heading_mask = words_mask(&c->l->words, c->heading);
    }
}

static void prose_line(struct prose *p, struct span line, uint32_t here)
{
    struct cutter *c = p->c;
    struct span t = span_trim(line);
    if (p->fence) {
        in_fence(p, line, t, here);
        return;
    }
    if (p->expects_literal && t.len && !p->run) {
        if (indent_of(line) > p->literal_indent)
            return;
        p->expects_literal = false;
    }
    bool is_underline = is_rule(t) && t.ptr[0] != '|';
    if (is_fence(t) || heading_level(t) || is_rule(t) || t.len == 0 || starts(t, "|") ||
        is_markup(t)) {
        bool is_title = is_underline && p->run && p->run_line + 1 == here;
        paragraph_end(p, line.ptr, is_title);
    } else {
        if (is_item(t))
            paragraph_end(p, line.ptr, false);
        if (!p->run) {
            p->run = line.ptr;
            p->run_line = here;
            p->run_first = line;
        }
        return;
    }
    if (is_fence(t)) {
        p->fence = line.ptr + line.len + 1;
        p->fence_line = here + 1;
    } else if (heading_level(t)) {
        c->heading = t;
        c->heading_mask = words_mask(&c->l->words, t);
    } else if (starts(t, "|") && !is_rule(t) && t.len < 300) {
        add_unit(c, UNIT_SENTENCE, t, here, here, false);
    } else {
        directive(p, line, t);
    }
}

static void cut_prose(struct cutter *c, struct span text)
{
    struct prose p = {.c = c};
    struct span rest = text, line;
    uint32_t at = 0;
    while (!c->failed && span_next(&rest, '\n', &line))
        prose_line(&p, line, at++);
    paragraph_end(&p, text.ptr + text.len, false);
}

/* ---- program text ---- */

static void clean_put(struct cutter *c, struct span s)
{
    struct local *l = c->l;
    if (l->clean_len + s.len + 1 > l->clean_cap)
        return; /* cannot happen: stripped text is shorter than its source */
    if (s.len)
        memcpy(l->clean + l->clean_len, s.ptr, s.len);
    l->clean_len += s.len;
    l->clean[l->clean_len++] = '\n';
}

static void comment_close(struct cutter *c, bool *is_open)
{
    if (!*is_open)
        return;
    *is_open = false;
    struct span text = span_of(c->l->clean + c->block_start, c->l->clean_len - c->block_start);
    add_sentences(c, UNIT_COMMENT, text, c->block_line);
}

static void comment_line(struct cutter *c, struct span text, uint32_t line, bool *is_open)
{
    size_t indent = indent_of(text);
    struct span t = span_trim(text);
    if (is_rule(t)) { /* a line drawn above or below a title */
        comment_close(c, is_open);
        return;
    }
    if (starts(t, "@") || starts(t, "\\") || is_item(t))
        comment_close(c, is_open);
    /* A line set in or out is an item of its own, not the rest of the sentence above it. */
    if (*is_open && indent < text.len && indent != c->block_indent &&
        (indent > c->block_indent + 1 || indent + 1 < c->block_indent))
        comment_close(c, is_open);
    if (!*is_open) {
        *is_open = true;
        c->block_indent = indent;
        c->block_start = c->l->clean_len;
        c->block_line = line;
    }
    clean_put(c, span_trim(text));
}

/* Where a comment with an end mark begins at the start of a line; the text after the mark. */
static bool block_opens(struct cutter *c, struct span t, struct span *ret)
{
    static const struct {
        unsigned mark;
        const char *open, *close;
    } forms[] = {{MARK_SLASH, "/*", "*/"},
                 {MARK_TRIPLE, "\"\"\"", "\"\"\""},
                 {MARK_TRIPLE, "'''", "'''"},
                 {MARK_TRIPLE, "r\"\"\"", "\"\"\""},
                 {MARK_XML, "<!--", "-->"}};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (!(c->marks & forms[i].mark) || !starts(t, forms[i].open))
            continue;
        c->block_end = forms[i].close;
        *ret = span_skip(t, strlen(forms[i].open));
        return true;
    }
    return false;
}

static struct span strip_star(struct span t, const char *block_end)
{
    if (block_end[0] != '*')
        return t;
    t = without(t, "*");
    return starts(t, "/") && t.len == 1 ? SPAN_NULL : t;
}

static void cut_code(struct cutter *c, struct span text)
{
    struct span rest = text, line;
    bool is_open = false;
    uint32_t at = 0;
    while (!c->failed && span_next(&rest, '\n', &line)) {
        struct span t = span_trim(line), body;
        uint32_t here = at++;
        bool opens = !c->in_block && block_opens(c, t, &body);
        if (opens || c->in_block) {
            if (!opens)
                body = t;
            else
                comment_close(c, &is_open);
            ptrdiff_t end = span_find(body, span_str(c->block_end));
            c->in_block = end < 0;
            comment_line(c,
                         strip_star(end < 0 ? body : span_first(body, (size_t)end), c->block_end),
                         here, &is_open);
            if (end >= 0)
                comment_close(c, &is_open);
            continue;
        }
        if (t.len && line_comment(c->marks, t, &body)) {
            comment_line(c, body, here, &is_open);
            continue;
        }
        comment_close(c, &is_open);
        if (t.len)
            add_unit(c, UNIT_CODE, line, here, here, false);
    }
    comment_close(c, &is_open);
}

/* A passage may begin inside a comment: then its first lines look like " * text" up to the end mark. */
static bool begins_in_comment(unsigned marks, struct span text)
{
    if (!(marks & MARK_SLASH))
        return false;
    ptrdiff_t open = span_find(text, SPAN_LIT("/*")), close = span_find(text, SPAN_LIT("*/"));
    return starts(span_trim(text), "*") && close >= 0 && (open < 0 || open > close);
}

static bool is_readme_path(struct span path)
{
    ptrdiff_t slash = span_rfind_char(path, '/');
    struct span name = slash < 0 ? path : span_skip(path, (size_t)slash + 1);
    return name.len >= 6 && span_eq_nocase(span_first(name, 6), SPAN_LIT("readme"));
}

static int cut_part(struct local *l, uint32_t i)
{
    struct part *part = &l->parts[i];
    const struct chat_passage *in = &l->request->passages[i];
    struct cutter c = {
        .l = l, .part = part, .passage = i, .marks = marks_of(in->language), .block_end = "*/"};
    struct span text = span_first(in->text, utf8_cut(in->text, LIMIT_LOCAL_PASSAGE_BYTES));
    part->in = in;
    part->first_unit = l->unit_count;
    part->is_prose =
        language_is_prose(in->language, in->path) || (in->is_prose && in->language.len == 0);
    part->is_readme = is_readme_path(in->path);
    part->symbol_mask = words_mask(&l->words, in->symbol);
    part->path_mask = words_mask(&l->words, in->path);
    part->mask = words_mask(&l->words, text);
    c.heading_mask = part->is_prose ? part->symbol_mask : 0;
    c.in_block = begins_in_comment(c.marks, text);
    if (part->is_prose)
        cut_prose(&c, text);
    else
        cut_code(&c, text);
    part->unit_count = l->unit_count - part->first_unit;
    return c.failed;
}

int blocks_cut(struct local *l)
{
    size_t total = 1;
    for (size_t i = 0; i < l->part_count; i++) {
        size_t len = l->request->passages[i].text.len;
        total += (len < LIMIT_LOCAL_PASSAGE_BYTES ? len : LIMIT_LOCAL_PASSAGE_BYTES) + 2;
    }
    l->clean = mem_try(total);
    l->clean_cap = total;
    if (!l->clean)
        return -ERR_NO_MEMORY;
    for (size_t i = 0; i < l->part_count; i++) {
        int r = cut_part(l, (uint32_t)i);
        if (r < 0)
            return r;
    }
    return 0;
}
