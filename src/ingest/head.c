#include "ingest/head.h"

#include <ctype.h>
#include <stdio.h>

#define TOKENS_MAX 96

struct token {
    const char *ptr;
    size_t len;
    char type; /* 'w' a word, '(' a whole group with what is in it, else the character */
};

struct tokens {
    struct token items[TOKENS_MAX];
    size_t count;
};

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static size_t group_end(struct span s, size_t i)
{
    size_t depth = 0;
    for (; i < s.len; i++) {
        if (s.ptr[i] == '(' || s.ptr[i] == '[')
            depth++;
        else if ((s.ptr[i] == ')' || s.ptr[i] == ']') && --depth == 0)
            return i + 1;
    }
    return i;
}

/* "<" as a bracket: only when it closes before anything that types do not contain. */
static size_t angle_end(struct span s, size_t i)
{
    size_t depth = 0;
    for (; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '<')
            depth++;
        else if (c == '>' && (i == 0 || (s.ptr[i - 1] != '-' && s.ptr[i - 1] != '='))) {
            if (--depth == 0)
                return i + 1;
        } else if (c == ';' || c == '{')
            return 0;
    }
    return 0;
}

static void tokenize(struct span s, struct tokens *t)
{
    t->count = 0;
    for (size_t i = 0; i < s.len && t->count < TOKENS_MAX;) {
        size_t start = i;
        char type = s.ptr[i];
        if (isspace((unsigned char)type)) {
            i++;
            continue;
        }
        if (is_word_char(type)) {
            type = 'w';
            while (i < s.len && is_word_char(s.ptr[i]))
                i++;
        } else if (type == '(' || type == '[') {
            i = group_end(s, i);
        } else if (type == '<' && angle_end(s, i)) {
            i = angle_end(s, i);
        } else {
            i++;
        }
        t->items[t->count++] = (struct token){s.ptr + start, i - start, type};
    }
}

static bool is_word(const struct tokens *t, size_t i, const char *word)
{
    return i < t->count && t->items[i].type == 'w' &&
           span_is(span_of(t->items[i].ptr, t->items[i].len), word);
}

static bool is_type(const struct tokens *t, size_t i, char type)
{
    return i < t->count && t->items[i].type == type;
}

static bool in_list(const struct token *w, const char *list)
{
    for (size_t n; *list; list += list[n] ? n + 1 : n) {
        n = 0;
        while (list[n] && list[n] != ' ')
            n++;
        if (n == w->len && memcmp(list, w->ptr, n) == 0)
            return true;
    }
    return false;
}

static bool is_lang(const struct language *lang, const char *list)
{
    struct token w = {lang->name, strlen(lang->name), 'w'};
    return in_list(&w, list);
}

static void set_name(struct head *h, const char *kind, bool open)
{
    static const char not_types[] = "namespace module suite";
    struct token k = {kind, strlen(kind), 'w'};
    h->kind = h->name[0] ? kind : NULL;
    h->is_open = open;
    h->is_type = open && h->kind && !in_list(&k, not_types);
}

static void put(struct head *h, const char *ptr, size_t len)
{
    size_t at = strlen(h->name);
    if (at + len < sizeof h->name) {
        memcpy(h->name + at, ptr, len);
        h->name[at + len] = '\0';
    }
}

/* Words joined by :: . -> or \ from token i on, written with dots. Returns the index after them. */
static size_t put_qualified(struct head *h, const struct tokens *t, size_t i)
{
    while (i < t->count) {
        if (is_type(t, i, '~') || is_type(t, i, '#'))
            put(h, t->items[i].ptr, 1), i++;
        if (!is_type(t, i, 'w'))
            break;
        put(h, t->items[i].ptr, t->items[i].len);
        i++;
        if (is_type(t, i, '<') && t->items[i].len > 1 &&
            (is_type(t, i + 1, ':') || is_type(t, i + 1, '.')))
            i++;
        if (is_type(t, i, ':') && is_type(t, i + 1, ':') &&
            (is_type(t, i + 2, 'w') || is_type(t, i + 2, '~')))
            i += 2;
        else if ((is_type(t, i, '.') || is_type(t, i, '\\')) && is_type(t, i + 1, 'w'))
            i++;
        else
            break;
        put(h, ".", 1);
    }
    return i;
}

/* The qualified name that ends at token `last`: where does it start? */
static size_t qualified_start(const struct tokens *t, size_t last)
{
    size_t i = last;
    for (;;) {
        if (i >= 1 && (is_type(t, i - 1, '~') || is_type(t, i - 1, '#')))
            i--;
        size_t j;
        if (i >= 2 && is_type(t, i - 1, ':') && is_type(t, i - 2, ':'))
            j = i - 2;
        else if (i >= 1 && is_type(t, i - 1, '.'))
            j = i - 1;
        else
            return i;
        if (j >= 2 && is_type(t, j - 1, '<') && is_type(t, j - 2, 'w'))
            i = j - 2;
        else if (j >= 1 && is_type(t, j - 1, 'w'))
            i = j - 1;
        else
            return i;
    }
}

static bool in_c_family(const struct language *lang)
{
    return is_lang(lang, "c cpp objective-c glsl");
}

static bool is_js(const struct language *lang)
{
    return is_lang(lang, "javascript typescript");
}

/* First "(…)" that may hold parameters: its index, or t->count. */
static size_t find_group(const struct tokens *t)
{
    static const char not_names[] =
        "__attribute__ __declspec alignas decltype noexcept throw requires if for while switch "
        "catch return sizeof do else synchronized using lock foreach fixed new elif when match "
        "unless until with select guard repeat __extension__ typeof __typeof__ asm __asm__ "
        "explicit "
        "defer go case default assert in and or not";
    for (size_t i = 1; i < t->count; i++) {
        const struct token *w = &t->items[i - 1];
        if (!is_type(t, i, '(') || (w->type != 'w' && w->type != '<'))
            continue;
        if (i >= 2 && is_type(t, i - 2, '@'))
            continue; /* an annotation's arguments */
        if (w->type == 'w' && in_list(w, not_names))
            continue;
        /* MACRO(x) int f(void): an all-capitals word is taken only when nothing else offers itself. */
        bool caps = w->type == 'w';
        for (size_t k = 0; caps && k < w->len; k++)
            caps = !islower((unsigned char)w->ptr[k]);
        bool more = false;
        for (size_t k = i + 1; caps && k + 1 < t->count; k++) {
            if (is_type(t, k, ':') || is_type(t, k, '='))
                break;
            more |=
                is_type(t, k, 'w') && is_type(t, k + 1, '(') && !in_list(&t->items[k], not_names);
        }
        if (!more)
            return i;
    }
    return t->count;
}

static bool has_type(const struct tokens *t, char type, size_t before)
{
    for (size_t i = 0; i < before && i < t->count; i++)
        if (is_type(t, i, type))
            return true;
    return false;
}

static bool judge_operator(struct head *h, const struct tokens *t, enum head_place place)
{
    for (size_t i = 0; i < t->count; i++) {
        if (!is_word(t, i, "operator"))
            continue;
        size_t from = qualified_start(t, i), k = put_qualified(h, t, from);
        if (is_type(t, k, '(') && is_type(t, k + 1, '('))
            put(h, "()", 2);
        for (; k < t->count && !is_type(t, k, '('); k++)
            put(h, t->items[k].ptr, t->items[k].len);
        set_name(h, place == HEAD_IN_TYPE ? "method" : "function", false);
        return true;
    }
    return false;
}

static bool is_all_caps(const struct token *w)
{
    for (size_t i = 0; i < w->len; i++)
        if (islower((unsigned char)w->ptr[i]))
            return false;
    return w->type == 'w';
}

/* TEST(suite, name) {   EXPORT(int f(void)) { : the macro's arguments tell the name. */
static bool judge_macro(struct head *h, const struct tokens *t, enum head_place place)
{
    struct tokens in;
    size_t at = is_word(t, 0, "static") ? 1 : 0;
    if (!is_type(t, at + 1, '(') || at + 2 != t->count || !is_all_caps(&t->items[at]) ||
        t->items[at + 1].len < 3)
        return false;
    tokenize(span_of(t->items[at + 1].ptr + 1, t->items[at + 1].len - 2), &in);
    size_t group = find_group(&in);
    if (group < in.count) {
        put_qualified(h, &in, qualified_start(&in, group - 1));
    } else {
        for (size_t i = 0; i < in.count; i++) {
            if (is_type(&in, i, 'w') && i + 1 < in.count && !is_type(&in, i + 1, ','))
                return h->name[0] = '\0', false; /* not a list of names */
            put(h, is_type(&in, i, ',') ? "." : in.items[i].ptr, in.items[i].len);
        }
    }
    set_name(h, place == HEAD_IN_TYPE ? "method" : "function", false);
    return h->kind;
}

/* A() : x{1}, y{2} { : the first brace is no body. */
static bool is_initializer(const struct tokens *t, size_t group)
{
    for (size_t i = group + 1; i + 1 < t->count; i++)
        if (is_type(t, i, ':') && !is_type(t, i + 1, ':') && !is_type(t, i - 1, ':'))
            return is_type(t, t->count - 1, 'w') || is_type(t, t->count - 1, '<');
    return false;
}

/* name(parameters) { : C and its relatives, and methods of classes in most others. */
static void judge_call_shape(const struct language *lang, struct head *h, const struct tokens *t,
                             enum head_place place)
{
    if (in_c_family(lang) && judge_macro(h, t, place))
        return;
    size_t group = find_group(t);
    if (is_lang(lang, "kotlin") && group == 1 && (is_word(t, 0, "get") || is_word(t, 0, "set")))
        return;
    if (is_lang(lang, "cpp") && is_initializer(t, group)) {
        h->is_inline = true;
        return;
    }
    if (group == t->count || has_type(t, '=', group) || is_word(t, 0, "new") ||
        is_word(t, 0, "return") || is_word(t, 0, "else") || is_word(t, 0, "try"))
        return;
    for (size_t i = 0; i < group; i++)
        if (is_word(t, i, "new"))
            return;
    size_t last = group - 1;
    if (is_type(t, last, '<') && last > 0)
        last--;
    put_qualified(h, t, qualified_start(t, last));
    set_name(h, place == HEAD_IN_TYPE ? "method" : "function", false);
}

static bool judge_container(const struct language *lang, struct head *h, const struct tokens *t)
{
    static const struct {
        const char *word, *kind, *languages; /* NULL: all */
    } words[] = {
        {"class", "class", NULL},
        {"interface", "interface", NULL},
        {"struct", "struct", NULL},
        {"enum", "enum", NULL},
        {"union", "union", NULL},
        {"trait", "trait", NULL},
        {"namespace", "namespace", NULL},
        {"record", "class", "java csharp"},
        {"object", "object", "scala kotlin"},
        {"mod", "module", "rust"},
        {"module", "module", "typescript"},
        {"protocol", "protocol", "swift"},
        {"extension", "extension", "swift dart"},
        {"actor", "class", "swift"},
        {"mixin", "class", "dart"},
        {"message", "class", "protobuf"},
        {"service", "service", "protobuf thrift"},
        {"contract", "contract", "solidity"},
        {"library", "contract", "solidity"},
        {"type", "class", "graphql"},
        {"input", "class", "graphql"},
        {"exception", "class", "thrift"},
    };
    if (has_type(t, '=', t->count))
        return false; /* a value of that type */
    if (is_lang(lang, "kotlin") && is_word(t, 0, "companion") && t->count == 2) {
        h->is_open = h->is_type = true;
        return true;
    }
    for (size_t i = 0; i + 1 < t->count; i++) {
        if (is_type(t, i, '(') && (i == 0 || !is_type(t, i - 1, 'w')))
            return false;
        for (size_t k = 0; k < ARRAY_LEN(words); k++) {
            if (!is_word(t, i, words[k].word) ||
                (words[k].languages && !is_lang(lang, words[k].languages)))
                continue;
            size_t n = i + 1;
            if ((i > 0 && is_word(t, i - 1, "new")) || is_word(t, n, "extends") ||
                is_word(t, n, "implements"))
                return false; /* it has no name */
            while (is_word(t, n, "class") || is_word(t, n, "struct") || is_type(t, n, '[') ||
                   (is_type(t, n, 'w') && is_type(t, n + 1, '(') && in_c_family(lang)))
                n += is_type(t, n, 'w') && is_type(t, n + 1, '(') ? 2 : 1;
            /* struct EXPORT name {: the last of the words is the name. */
            while (in_c_family(lang) && is_type(t, n, 'w') && is_type(t, n + 1, 'w') &&
                   !is_word(t, n + 1, "final"))
                n++;
            if (in_c_family(lang) && find_group(t) != t->count && !is_type(t, n, ':'))
                return false; /* struct x *f(void) { */
            put_qualified(h, t, n);
            set_name(h, words[k].kind, true);
            return h->kind;
        }
    }
    return false;
}

static bool judge_impl(struct head *h, const struct tokens *t)
{
    size_t at = t->count;
    for (size_t i = 0; i < t->count && i < 3; i++)
        if (is_word(t, i, "impl"))
            at = i + 1;
    if (at == t->count)
        return false;
    for (size_t i = at; i < t->count; i++)
        if (is_word(t, i, "for") && !is_type(t, i + 1, '<'))
            at = i + 1;
    while (at < t->count && (!is_type(t, at, 'w') || is_word(t, at, "mut") ||
                             is_word(t, at, "dyn") || is_word(t, at, "const")))
        at++;
    put_qualified(h, t, at);
    set_name(h, "impl", true);
    return h->kind;
}

static bool judge_go(struct head *h, const struct tokens *t)
{
    if (is_word(t, 0, "type") && is_type(t, 1, 'w')) {
        bool is_interface = false;
        for (size_t i = 2; i < t->count; i++)
            is_interface |= is_word(t, i, "interface");
        put(h, t->items[1].ptr, t->items[1].len);
        set_name(h, is_interface ? "interface" : "struct", false);
        return true;
    }
    if (t->count == 2 && is_type(t, 0, 'w') &&
        (is_word(t, 1, "struct") || is_word(t, 1, "interface"))) { /* in type ( … ) */
        put(h, t->items[0].ptr, t->items[0].len);
        set_name(h, is_word(t, 1, "struct") ? "struct" : "interface", false);
        return h->kind;
    }
    if (!is_word(t, 0, "func"))
        return false;
    size_t name = 1;
    if (is_type(t, 1, '(') && is_type(t, 2, 'w')) { /* (r *Receiver[T]) */
        struct tokens in;
        tokenize(span_of(t->items[1].ptr + 1, t->items[1].len > 2 ? t->items[1].len - 2 : 0), &in);
        for (size_t i = in.count; i > 0; i--)
            if (is_type(&in, i - 1, 'w')) {
                put(h, in.items[i - 1].ptr, in.items[i - 1].len);
                put(h, ".", 1);
                break;
            }
        name = 2;
    }
    if (is_type(t, name, 'w'))
        put(h, t->items[name].ptr, t->items[name].len);
    set_name(h, name == 2 ? "method" : "function", false);
    return true;
}

/* fn name, func name, def name …: languages with a word for it. */
static bool judge_keyword(const struct language *lang, struct head *h, const struct tokens *t,
                          enum head_place place)
{
    if (in_c_family(lang) || is_lang(lang, "java csharp vala d"))
        return false;
    for (size_t i = 0; i < t->count; i++) {
        if (is_type(t, i, '=') || (is_type(t, i, '(') && i > 0 && !is_word(t, i - 1, "pub")))
            break;
        if (is_lang(lang, "swift") && is_type(t, i, 'w') &&
            in_list(&t->items[i], "init deinit subscript")) {
            put(h, t->items[i].ptr, t->items[i].len);
            set_name(h, "method", false);
            return true;
        }
        if (is_type(t, i, 'w') &&
            in_list(&t->items[i], "fn func fun function def sub rpc filter macro modifier "
                                  "macro_rules")) {
            size_t n = i + 1;
            while (is_type(t, n, '*') || is_type(t, n, '!') || is_type(t, n, '&') ||
                   is_type(t, n, '<'))
                n++;
            if (is_type(t, n, '`')) { /* fun `a name in words`() */
                for (n++; n < t->count && !is_type(t, n, '`'); n++) {
                    put(h, " ", h->name[0] != '\0');
                    put(h, t->items[n].ptr, t->items[n].len);
                }
                set_name(h, place == HEAD_IN_TYPE ? "method" : "function", false);
                return h->kind;
            }
            if (!is_type(t, n, 'w'))
                continue;
            size_t after = put_qualified(h, t, n);
            while (is_lang(lang, "powershell") && is_type(t, after, '-')) { /* Get-Thing */
                put(h, "-", 1);
                after = put_qualified(h, t, after + 1);
            }
            set_name(h, place == HEAD_IN_TYPE ? "method" : "function", false);
            return true;
        }
    }
    return false;
}

/* const name = (…) => {   name: function (…) {   a.b = class {   name <- function(…) { */
static bool judge_assigned(struct head *h, const struct tokens *t)
{
    size_t eq = 0;
    while (eq < t->count && !is_type(t, eq, '=') && !is_type(t, eq, ':') &&
           !(is_type(t, eq, '<') && is_type(t, eq + 1, '-')))
        eq++;
    if (eq == 0 || eq >= t->count)
        return false;
    size_t name = eq - 1;
    for (size_t i = 0; is_type(t, eq, ':') && i < t->count; i++)
        if (is_type(t, i, '=') && !is_type(t, i + 1, '>') && i > eq)
            eq = i; /* const name: Type = … */
    if (!is_type(t, name, 'w'))
        return false;
    bool is_function =
        t->count >= 2 && is_type(t, t->count - 1, '>') && is_type(t, t->count - 2, '=');
    bool is_class = false;
    for (size_t i = eq + 1; i < t->count; i++) {
        is_function |= is_word(t, i, "function");
        is_class |= is_word(t, i, "class");
    }
    bool is_object = eq + 1 == t->count && is_type(t, eq, '=');
    if (!is_function && !is_class && !is_object)
        return false;
    put_qualified(h, t, qualified_start(t, name));
    for (size_t i = eq + 1; i + 1 < t->count && span_is(span_str(h->name), "module.exports"); i++)
        if ((is_word(t, i, "function") || is_word(t, i, "class")) && is_type(t, i + 1, 'w') &&
            !is_word(t, i + 1, "extends")) {
            h->name[0] = '\0'; /* it has a name of its own */
            put(h, t->items[i + 1].ptr, t->items[i + 1].len);
        }
    set_name(h, is_function ? "function" : is_class ? "class" : "object", !is_function);
    h->has_comma_items = is_object;
    return true;
}

/* create({   Vue.component("x", {   an object that is given to a call, and no pattern among parameters */
static bool is_argument(struct span text)
{
    size_t i = text.len, depth = 0;
    if (!text.len || !strchr("(,", text.ptr[text.len - 1]) ||
        span_find(text, SPAN_LIT("function")) >= 0)
        return false;
    while (i > 0) {
        char c = text.ptr[--i];
        if (c == ')' || c == ']')
            depth++;
        else if (c == '(' && depth == 0)
            break;
        else if ((c == '(' || c == '[') && depth > 0)
            depth--;
    }
    struct span before = span_trim(span_first(text, i));
    return before.len &&
           (is_word_char(before.ptr[before.len - 1]) || span_ends(before, SPAN_LIT(")"))) &&
           !span_is(before, "async") && !span_ends(before, SPAN_LIT(" async"));
}

/* describe("…", () => {   it("…", function () {   (function () {   define([…], function () { */
static void judge_js_call(struct head *h, const struct tokens *t, struct span text,
                          struct span first_string, enum head_place place)
{
    bool is_suite = false, is_test = false;
    if (is_type(t, 0, 'w')) {
        is_suite = in_list(&t->items[0], "describe context suite fdescribe xdescribe");
        is_test = in_list(&t->items[0], "it test fit xit specify");
    }
    if ((is_suite || is_test) && first_string.len) {
        put(h, first_string.ptr, first_string.len < 100 ? first_string.len : 100);
        for (char *c = h->name; *c; c++)
            if (*c == '\n' || *c == '\r')
                *c = ' ';
        set_name(h, is_suite ? "suite" : "test", is_suite);
        return;
    }
    /* A module wrapped in a call: look inside as if it were the file. */
    if (span_ends(text, SPAN_LIT("=>")) ||
        (span_ends(text, SPAN_LIT(")")) && span_find(text, SPAN_LIT("function")) >= 0))
        h->is_open = true;
    else if (place == HEAD_IN_FILE && is_argument(text))
        h->is_open = h->is_type = h->has_comma_items = true;
}

/* "Program:exit"(node) {   "a b": function () { */
static bool judge_quoted(struct head *h, const struct tokens *t, struct span first_string)
{
    bool is_function = is_type(t, 1, '(');
    if (!is_type(t, 0, '"') || !first_string.len || first_string.len > 100 ||
        memchr(first_string.ptr, '\n', first_string.len))
        return false;
    for (size_t i = 2; is_type(t, 1, ':') && i < t->count; i++)
        is_function |= is_word(t, i, "function") || is_type(t, i, '>');
    if (!is_function)
        return false;
    put(h, first_string.ptr, first_string.len);
    set_name(h, "method", false);
    return true;
}

static void judge_js(const struct language *lang, struct head *h, const struct tokens *t,
                     struct span first_string, enum head_place place)
{
    if (judge_keyword(lang, h, t, place))
        return;
    if (is_word(t, 0, "return") && t->count == 1) {
        h->is_open = h->is_type = h->has_comma_items = true;
        return;
    }
    if (place == HEAD_IN_TYPE && judge_quoted(h, t, first_string))
        return;
    if (is_word(t, 0, "export") && is_word(t, 1, "default")) {
        put(h, "default", 7);
        bool is_function = t->count > 2 && !is_word(t, 2, "class");
        set_name(h, is_function ? "function" : t->count > 2 ? "class" : "object", !is_function);
        h->has_comma_items = t->count == 2;
        return;
    }
    if (judge_assigned(h, t)) {
        if (place == HEAD_IN_TYPE && span_is(span_str(h->kind), "function"))
            h->kind = "method";
        return;
    }
    if (place == HEAD_IN_TYPE)
        judge_call_shape(lang, h, t, place);
}

static struct span skip_labels(struct span s)
{
    static const struct span labels[] = {SPAN_INIT("public"), SPAN_INIT("private"),
                                         SPAN_INIT("protected"), SPAN_INIT("signals")};
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        struct span rest = span_trim(span_skip(s, labels[i].len));
        if (span_starts(s, labels[i]) && rest.len && rest.ptr[0] == ':' &&
            !span_starts(rest, SPAN_LIT("::")))
            return skip_labels(span_trim(span_skip(rest, 1)));
    }
    return s;
}

static void judge_objc(struct head *h, const struct tokens *t)
{
    for (size_t i = 1; i < t->count && i < 3; i++)
        if (is_type(t, i, 'w')) {
            put(h, t->items[i].ptr, t->items[i].len);
            set_name(h, "method", false);
            return;
        }
}

static void judge_block(struct head *h, struct span text, struct span first_string)
{
    struct span word = text;
    for (size_t i = 0; i < word.len; i++)
        if (!is_word_char(word.ptr[i]))
            word.len = i;
    if (!word.len)
        return;
    put(h, word.ptr, word.len);
    if (first_string.len && first_string.len < 150) {
        put(h, ".", 1);
        put(h, first_string.ptr, first_string.len);
    }
    set_name(h, "block", false);
}

/* type ( A struct { … } B struct { … */
static bool judge_go_group(struct head *h, struct span text)
{
    struct tokens t;
    if (span_starts(text, SPAN_LIT("type (")))
        text = span_skip(text, 6);
    tokenize(text, &t);
    return t.count == 2 && judge_go(h, &t);
}

/* f(): { a: string } {   <T extends { … }>   what begins here is a type, not a body. */
static bool ends_in_type(const struct tokens *t)
{
    size_t last = t->count - 1;
    bool is_mark = t->count > 1 && t->items[last].len == 1 &&
                   (is_type(t, last, ':') || is_type(t, last, '|') || is_type(t, last, '&') ||
                    is_type(t, last, '<'));
    return (is_mark || (t->count > 1 && is_word(t, last, "extends"))) && !is_word(t, 0, "case") &&
           !is_word(t, 0, "default");
}

/* int Count {   var body: some View { : accessors */
static void judge_property(const struct language *lang, struct head *h, const struct tokens *t,
                           enum head_place place)
{
    size_t name = t->count;
    bool is_swift = is_lang(lang, "swift");
    for (size_t i = 0; i + 1 < t->count && is_swift; i++)
        if (is_word(t, i, "var"))
            name = i + 1;
    for (size_t i = 0; i < t->count; i++) {
        if (is_type(t, i, '=') || (!is_swift && is_type(t, i, '(')))
            return;
        if (!is_swift && is_type(t, i, 'w') && place == HEAD_IN_TYPE && t->count > 1 && i > 0)
            name = i;
    }
    if (!is_type(t, name, 'w') || (!is_swift && !is_lang(lang, "csharp")))
        return;
    put(h, t->items[name].ptr, t->items[name].len);
    set_name(h, "property", false);
}

struct head head_judge(const struct language *lang, struct span text, struct span first_string,
                       enum head_place place, bool in_parens)
{
    struct head h = {0};
    struct tokens t;
    text = skip_labels(span_trim(text));
    tokenize(text, &t);
    if (is_lang(lang, "terraform")) {
        judge_block(&h, text, first_string);
        return h;
    }
    if (in_parens) {
        if (is_js(lang))
            judge_js_call(&h, &t, text, first_string, place);
        else if (is_lang(lang, "go"))
            (void)judge_go_group(&h, text);
        h.is_inline = !h.is_open && !h.kind;
        return h;
    }
    if (is_js(lang) && ends_in_type(&t)) {
        h.is_inline = true;
        return h;
    }
    size_t skip = 0;
    while (is_type(&t, skip, '#') && is_type(&t, skip + 1, '[')) /* Rust and PHP attributes */
        skip += 2;
    t.count -= skip;
    memmove(t.items, t.items + skip, t.count * sizeof t.items[0]);
    if (t.count == 0) {
        h.is_open = is_js(lang); /* a block without a name */
        return h;
    }
    if (is_word(&t, 0, "extern") || (is_word(&t, 0, "namespace") && t.count == 1)) {
        h.is_open = in_c_family(lang) && find_group(&t) == t.count;
        if (h.is_open)
            return h;
    }
    if (is_lang(lang, "rust") && judge_impl(&h, &t))
        return h;
    if (is_lang(lang, "go")) {
        (void)judge_go(&h, &t); /* whether it was one is in h */
        return h;
    }
    if (is_lang(lang, "objective-c") && (is_type(&t, 0, '-') || is_type(&t, 0, '+'))) {
        judge_objc(&h, &t);
        return h;
    }
    if (judge_container(lang, &h, &t))
        return h;
    if (is_js(lang)) { /* functions in functions are of interest when those are large */
        judge_js(lang, &h, &t, first_string, place);
        h.is_open |= h.kind != NULL;
        return h;
    }
    if (judge_keyword(lang, &h, &t, place))
        return h;
    if (is_lang(lang, "r") && judge_assigned(&h, &t))
        return h;
    if (is_lang(lang, "swift csharp"))
        judge_property(lang, &h, &t, place);
    if (h.kind)
        return h;
    if (is_lang(lang, "c cpp objective-c java csharp d dart vala glsl groovy solidity kotlin") &&
        !(is_lang(lang, "cpp csharp dart") && judge_operator(&h, &t, place)))
        judge_call_shape(lang, &h, &t, place);
    return h;
}
