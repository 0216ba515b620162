/*
 * Loading: words first (they may name the configuration file), then environment, file and defaults. A value
 * replaces another only from a stronger source, so the order of reading does not matter beyond that.
 */
#include "app/options.h"

#include "app/config_file.h"
#include "app/suggest.h"
#include "base/bug.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPTION_ITEMS_MAX_COUNT 256u
#define OPTION_TEXT_MAX 65536u
#define OPERANDS_MAX_COUNT 16u

struct value {
    enum option_source source;
    bool is_set;
    char *text;   /* owned; of strings and secrets */
    uint64_t num; /* int, size, duration, bool */
    char **items; /* owned, each owned; of lists */
    size_t count;
    char *where; /* owned */
};

struct options {
    enum command_id command;
    const char *const *env; /* borrowed, outlives us */
    struct value values[OPT_COUNT];
    const char *operands[OPERANDS_MAX_COUNT]; /* borrowed from argv */
    size_t operand_count;
};

static void value_clear(struct value *v)
{
    mem_free(v->text);
    for (size_t i = 0; i < v->count; i++)
        mem_free(v->items[i]);
    mem_free(v->items);
    mem_free(v->where);
    *v = (struct value){0};
}

void options_free(struct options *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < OPT_COUNT; i++)
        value_clear(&o->values[i]);
    mem_free(o);
}

static bool applies(const struct option *row, enum command_id command)
{
    return row->commands & CMD_BIT(command);
}

int option_find(struct span name, enum command_id command)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct option *row = &option_table[i];
        if (applies(row, command) &&
            (span_is(name, row->name) || (row->alias && span_is(name, row->alias))))
            return i;
    }
    return -1;
}

int option_find_in_file(struct span name)
{
    for (int i = 0; i < OPT_COUNT; i++)
        if (!(option_table[i].flags & (OPTION_FLAG_ONLY | OPTION_NOT_IN_FILE)) &&
            span_is(name, option_table[i].name))
            return i;
    return -1;
}

/* ---- one value ---- */

static int bad_value(struct err *err, const struct option *row, struct span text, const char *why)
{
    if (row->type == OPTION_SECRET)
        text = SPAN_LIT("***");
    return err_set(err, ERR_INVALID, "'" SPAN_FMT "' is not a value of %s: %s", SPAN_ARG(text),
                   row->name, why);
}

static int check_range(struct err *err, const struct option *row, struct span text, uint64_t v)
{
    if (v >= row->min && v <= row->max)
        return 0;
    struct buf why = BUF_INIT(256);
    void (*put)(struct buf *, uint64_t) = row->type == OPTION_SIZE       ? put_size
                                          : row->type == OPTION_DURATION ? put_duration
                                                                         : buf_put_u64;
    buf_puts(&why, "allowed are ");
    put(&why, row->min);
    buf_puts(&why, " to ");
    put(&why, row->max);
    int r = bad_value(err, row, text, buf_str(&why));
    buf_done(&why);
    return r;
}

/* The choice that text names (any case; "a=b": b is read as a), or empty. */
static struct span choose(const char *choices, struct span text)
{
    struct span rest = span_str(choices), choice, name;
    while (span_next(&rest, '|', &choice)) {
        struct span first = choice;
        ptrdiff_t equals = span_find_char(choice, '=');
        if (equals >= 0)
            first = span_first(choice, (size_t)equals);
        while (span_next(&choice, '=', &name))
            if (span_eq_nocase(name, text))
                return first;
    }
    return SPAN_NULL;
}

static int parse_string(struct value *v, const struct option *row, struct span text,
                        struct err *err)
{
    if (row->choices) {
        struct span choice = choose(row->choices, text);
        if (!choice.len) {
            struct buf why = BUF_INIT(256);
            buf_puts(&why, "allowed are ");
            struct span rest = span_str(row->choices), one;
            for (bool first = true; span_next(&rest, '|', &one); first = false) {
                struct span name;
                if (span_next(&one, '=', &name)) {
                    buf_puts(&why, first ? "" : ", ");
                    buf_put_span(&why, name);
                }
            }
            int r = bad_value(err, row, text, buf_str(&why));
            buf_done(&why);
            return r;
        }
        text = choice;
    }
    if (!text.len)
        return bad_value(err, row, text, "it is empty");
    v->text = mem_try_strndup(text.ptr, text.len);
    return v->text ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for %s", row->name);
}

static int parse_scalar(struct value *v, const struct option *row, struct span text,
                        struct err *err)
{
    bool flag;
    switch (row->type) {
    case OPTION_INT:
        if (!parse_u64(text, &v->num))
            return bad_value(err, row, text, "a whole number is expected");
        return check_range(err, row, text, v->num);
    case OPTION_SIZE:
        if (!parse_size(text, row->unit, &v->num))
            return bad_value(err, row, text, "a size is written 512k, 10M or 2G");
        return check_range(err, row, text, v->num);
    case OPTION_DURATION:
        if (!parse_duration(text, &v->num))
            return bad_value(err, row, text, "a time is written 250ms, 30s, 1h30m or 30d");
        return check_range(err, row, text, v->num);
    case OPTION_BOOL:
        if (!parse_bool(text, &flag))
            return bad_value(err, row, text, "yes or no is expected");
        v->num = flag;
        return 0;
    case OPTION_STRING:
    case OPTION_SECRET:
        return parse_string(v, row, text, err);
    case OPTION_LIST:
        break;
    }
    BUG_ON(true);
    return 0;
}

static int append_item(struct value *v, const struct option *row, struct span item, struct err *err)
{
    if (v->count >= OPTION_ITEMS_MAX_COUNT)
        return err_set(err, ERR_TOO_LARGE, "more than %u values for %s", OPTION_ITEMS_MAX_COUNT,
                       row->name);
    char **items = mem_try_realloc(v->items, (v->count + 1) * sizeof *items);
    if (items)
        v->items = items;
    char *copy = items ? mem_try_strndup(item.ptr, item.len) : NULL;
    if (!copy)
        return err_set(err, ERR_NO_MEMORY, "no memory for %s", row->name);
    v->items[v->count++] = copy;
    return 0;
}

/* separator 0: the text is one item. */
static int parse_list(struct value *v, const struct option *row, struct span text, char separator,
                      struct err *err)
{
    struct span item;
    size_t before = v->count;
    while (separator ? span_next(&text, separator, &item) : text.ptr != NULL) {
        if (!separator) {
            item = text;
            text = SPAN_NULL;
        }
        item = span_trim(item);
        if (item.len) {
            int r = append_item(v, row, item, err);
            if (r < 0)
                return r;
        }
    }
    return v->count > before ? 0 : bad_value(err, row, SPAN_LIT(""), "it is empty");
}

struct assignment {
    enum option_source source;
    struct span text;
    bool is_whole; /* a quoted list item: commas are part of it */
    const char *where;
};

static char separator_of(const struct option *row, const struct assignment *a)
{
    if (a->is_whole)
        return 0;
    if (!(row->flags & OPTION_NO_COMMAS))
        return ',';
    return a->source == SOURCE_ENV || a->source == SOURCE_COMPAT_ENV ? ':' : 0;
}

/* Checks the value in any case; keeps it when it comes from a source at least as strong. */
static int assign(struct options *o, int id, const struct assignment *a, struct err *err)
{
    const struct option *row = &option_table[id];
    struct value *old = &o->values[id], v = {.source = a->source, .is_set = true};
    bool is_stronger = !old->is_set || a->source >= old->source;
    bool appends = row->type == OPTION_LIST && old->is_set && a->source == old->source;
    int r;
    if (a->text.len > OPTION_TEXT_MAX || span_find_char(a->text, 0) >= 0)
        r = err_set(err, ERR_INVALID, "value of %s is too long or holds a NUL byte", row->name);
    else if (appends)
        r = parse_list(old, row, a->text, separator_of(row, a), err);
    else if (row->type == OPTION_LIST)
        r = parse_list(&v, row, a->text, separator_of(row, a), err);
    else
        r = parse_scalar(&v, row, a->text, err);
    if (r == 0 && is_stronger && !appends) {
        v.where = mem_try_strndup(a->where, strlen(a->where));
        if (v.where) {
            value_clear(old);
            *old = v;
            return 0;
        }
        r = err_set(err, ERR_NO_MEMORY, "no memory for %s", row->name);
    }
    value_clear(&v);
    return r;
}

/* ---- words ---- */

static const char *command_name(const struct options *o)
{
    return commands[o->command].name;
}

static int unknown_flag(const struct options *o, struct span name, struct err *err)
{
    int r = err_set(err, ERR_INVALID, "unknown option '--" SPAN_FMT "' for '%s'", SPAN_ARG(name),
                    command_name(o));
    struct suggest s = suggest_for(name);
    for (int i = 0; i < OPT_COUNT; i++) {
        if (applies(&option_table[i], o->command)) {
            suggest_try(&s, option_table[i].name);
        } else if (span_is(name, option_table[i].name)) {
            for (int c = 0; c < CMD_COUNT; c++)
                if (applies(&option_table[i], (enum command_id)c)) {
                    err_hint(err, "it belongs to 'headwater %s'; see 'headwater %s --help'",
                             commands[c].name, command_name(o));
                    return r;
                }
        }
    }
    if (s.best)
        err_hint(err, "did you mean '--%s'?", s.best);
    else
        err_hint(err, "'headwater %s --help' lists them", command_name(o));
    return r;
}

static int assign_flag(struct options *o, int id, struct span text, struct err *err)
{
    char where[64];
    snprintf(where, sizeof where, "--%s", option_table[id].name);
    if (option_table[id].type == OPTION_SECRET) {
        int r = err_set(
            err, ERR_INVALID,
            "%s is a secret and no flag: other users could read it in the list of processes",
            option_table[id].name);
        err_hint(err, "set %s in the environment or '%s = …' in the configuration file",
                 option_table[id].env, option_table[id].name);
        return r;
    }
    return assign(o, id, &(struct assignment){.source = SOURCE_FLAG, .text = text, .where = where},
                  err);
}

/* The words of a command line, consumed from the front. */
struct words {
    const char *const *next, *const *end;
};

static int needs_value(struct err *err, int id)
{
    return err_set(err, ERR_INVALID, "option '--%s' needs a value: --%s %s", option_table[id].name,
                   option_table[id].name, option_table[id].arg);
}

static int long_flag(struct options *o, struct span word, struct words *w, struct err *err)
{
    struct span name = span_skip(word, 2), text = SPAN_NULL;
    ptrdiff_t equals = span_find_char(name, '=');
    if (equals >= 0) {
        text = span_skip(name, (size_t)equals + 1);
        name = span_first(name, (size_t)equals);
    }
    int id = option_find(name, o->command);
    if (id < 0)
        return unknown_flag(o, name, err);
    if (equals < 0 && option_table[id].type == OPTION_BOOL)
        text = SPAN_LIT("true");
    else if (equals < 0) {
        if (w->next == w->end)
            return needs_value(err, id);
        text = span_str(*w->next++);
    }
    return assign_flag(o, id, text, err);
}

/* -q, -k 5, -k5, -qk5 */
static int short_flags(struct options *o, struct span word, struct words *w, struct err *err)
{
    for (struct span rest = span_skip(word, 1); rest.len;) {
        char letter = rest.ptr[0];
        int id = -1;
        for (int i = 0; i < OPT_COUNT && id < 0; i++)
            if (option_table[i].letter == letter && applies(&option_table[i], o->command))
                id = i;
        if (id < 0) {
            int r =
                err_set(err, ERR_INVALID, "unknown option '-%c' for '%s'", letter, command_name(o));
            err_hint(err, "'headwater %s --help' lists them", command_name(o));
            return r;
        }
        rest = span_skip(rest, 1);
        struct span text = SPAN_LIT("true");
        if (option_table[id].type != OPTION_BOOL) {
            if (!rest.len && w->next == w->end)
                return needs_value(err, id);
            text = rest.len ? rest : span_str(*w->next++);
            rest = SPAN_NULL;
        }
        int r = assign_flag(o, id, text, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int load_words(struct options *o, const struct options_input *in, struct err *err)
{
    struct words w = {in->argv, in->argv + in->argc};
    bool only_operands = false;
    while (w.next < w.end) {
        const char *text = *w.next++;
        struct span word = span_str(text);
        int r = 0;
        if (!only_operands && span_is(word, "--"))
            only_operands = true;
        else if (!only_operands && span_starts(word, SPAN_LIT("--")))
            r = long_flag(o, word, &w, err);
        else if (!only_operands && word.len > 1 && word.ptr[0] == '-')
            r = short_flags(o, word, &w, err);
        else if (o->operand_count >= OPERANDS_MAX_COUNT)
            r = err_set(err, ERR_INVALID, "too many words for '%s'", command_name(o));
        else
            o->operands[o->operand_count++] = text;
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_operands(const struct options *o, struct err *err)
{
    const struct command *c = &commands[o->command];
    int r;
    if (o->operand_count < c->min_operands)
        r = err_set(err, ERR_INVALID, "'%s' needs %s", c->name, c->operands);
    else if (o->operand_count > c->max_operands && !c->max_operands)
        r = err_set(err, ERR_INVALID, "'%s' takes no words, but there is '%s'", c->name,
                    o->operands[0]);
    else if (o->operand_count > c->max_operands)
        r = err_set(err, ERR_INVALID, "'%s' takes %s and nothing more, but there is '%s'", c->name,
                    c->operands, o->operands[c->max_operands]);
    else
        return 0;
    err_hint(err, "words that belong together go in quotes; see 'headwater %s --help'", c->name);
    return r;
}

/* ---- environment ---- */

const char *options_env(const struct options *o, const char *name)
{
    size_t n = strlen(name);
    for (const char *const *e = o->env; e && *e; e++)
        if (strncmp(*e, name, n) == 0 && (*e)[n] == '=')
            return *e + n + 1;
    return NULL;
}

static const char *env_value(const struct options *o, const char *name)
{
    const char *v = name ? options_env(o, name) : NULL;
    return v && *v ? v : NULL;
}

static int assign_env(struct options *o, int id, const char *name, bool is_port, const char *text,
                      enum option_source source, struct err *err)
{
    struct assignment a = {.source = source, .text = span_str(text), .where = name};
    char both[96];
    if (is_port) {
        uint64_t port;
        if (!parse_u64(a.text, &port) || port > 65535)
            return err_set(err, ERR_INVALID, "%s: '%s' is not a port", name, text);
        snprintf(both, sizeof both, "127.0.0.1:%u,[::1]:%u", (unsigned)port, (unsigned)port);
        a.text = span_str(both);
    }
    int r = assign(o, id, &a, err);
    if (r < 0)
        err_prefix(err, "%s", name);
    return r;
}

static int load_env(struct options *o, struct err *err)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct option *row = &option_table[i];
        const char *text = env_value(o, row->env);
        int r = 0;
        if (!applies(row, o->command) || row->flags & OPTION_FLAG_ONLY)
            continue;
        if (text)
            r = assign_env(o, i, row->env, false, text, SOURCE_ENV, err);
        for (size_t c = 0; !text && c < ARRAY_LEN(row->compat) && row->compat[c].name; c++) {
            const struct option_env *e = &row->compat[c];
            text = env_value(o, e->name);
            if (text)
                r = assign_env(o, i, e->name, e->is_port, text, SOURCE_COMPAT_ENV, err);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- configuration file ---- */

struct file_load {
    struct options *o;
    const char *path;
};

static bool is_section(struct span name)
{
    for (int i = 0; i < OPT_COUNT; i++)
        if (!(option_table[i].flags & OPTION_FLAG_ONLY) && span_is(name, option_table[i].section))
            return true;
    return false;
}

static int set_from_file(void *ctx, unsigned line, struct span section, struct span name,
                         struct span value, bool is_quoted, struct err *err)
{
    struct file_load *f = ctx;
    if (section.len && !is_section(section))
        return err_set(err, ERR_INVALID, "unknown section [" SPAN_FMT "]", SPAN_ARG(section));
    int id = option_find_in_file(name);
    if (id < 0) {
        struct suggest s = suggest_for(name);
        for (int i = 0; i < OPT_COUNT; i++)
            if (option_find_in_file(span_str(option_table[i].name)) == i)
                suggest_try(&s, option_table[i].name);
        int r = err_set(err, ERR_INVALID, "unknown setting '" SPAN_FMT "'", SPAN_ARG(name));
        if (s.best)
            err_hint(err, "did you mean '%s'?", s.best);
        else
            err_hint(err, "'headwater help --config' lists the settings");
        return r;
    }
    const struct option *row = &option_table[id];
    if (section.len && !span_is(section, row->section))
        return err_set(err, ERR_INVALID, "%s belongs in [%s], not in [" SPAN_FMT "]", row->name,
                       row->section, SPAN_ARG(section));
    char where[4200];
    snprintf(where, sizeof where, "%s:%u", f->path, line);
    struct assignment a = {SOURCE_FILE, value, is_quoted, where};
    return assign(f->o, id, &a, err);
}

static int read_config(const char *path, bool may_be_missing, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && may_be_missing)
        return 0;
    if (fd < 0)
        return err_errno(err, errno, "cannot read configuration file '%s'", path);
    ssize_t n = 0;
    do {
        buf_reserve(out, 4096);
        n = buf_failed(out) ? 0 : read(fd, out->ptr + out->len, 4096);
        if (n > 0)
            out->len += (size_t)n;
    } while (n > 0 || (n < 0 && errno == EINTR));
    int r = 0;
    if (n < 0)
        r = err_errno(err, errno, "cannot read configuration file '%s'", path);
    else if (buf_failed(out))
        r = err_set(err, ERR_TOO_LARGE, "configuration file '%s' is larger than %u bytes", path,
                    CONFIG_FILE_MAX);
    close(fd);
    return r;
}

/* $XDG/headwater or $HOME/dir/headwater, then the suffix; NULL when neither variable is an absolute path. */
static char *xdg_path(const struct options *o, const char *xdg, const char *dir, const char *suffix)
{
    const char *base = env_value(o, xdg), *home = env_value(o, "HOME");
    struct buf path = BUF_INIT(4096);
    if (base && base[0] == '/')
        buf_printf(&path, "%s/headwater%s", base, suffix);
    else if (home && home[0] == '/')
        buf_printf(&path, "%s/%s/headwater%s", home, dir, suffix);
    else
        return NULL;
    return buf_detach(&path);
}

static int load_file(struct options *o, struct err *err)
{
    if (!applies(&option_table[OPT_CONFIG], o->command))
        return 0;
    const char *path = option_str(o, OPT_CONFIG);
    bool is_default = !path;
    char *made CLEANUP(mem_freep) = NULL;
    if (is_default) {
        made = xdg_path(o, "XDG_CONFIG_HOME", ".config", "/headwater.conf");
        path = made;
    }
    if (!path)
        return 0;
    struct buf text = BUF_INIT(CONFIG_FILE_MAX + 4096);
    int r = read_config(path, is_default, &text, err);
    struct file_load f = {o, path};
    if (r == 0)
        r = config_file_parse(buf_span(&text), path, set_from_file, &f, err);
    buf_done(&text);
    return r;
}

/* ---- defaults, all together ---- */

static int load_defaults(struct options *o, struct err *err)
{
    char *data CLEANUP(mem_freep) = xdg_path(o, "XDG_DATA_HOME", ".local/share", "");
    for (int i = 0; i < OPT_COUNT; i++) {
        const char *text = i == OPT_DATA ? data : option_table[i].fallback;
        if (!text || o->values[i].is_set)
            continue;
        struct assignment a = {SOURCE_DEFAULT, span_str(text), false, "default"};
        int r = assign(o, i, &a, err);
        if (r < 0)
            return r;
    }
    if (!o->values[OPT_DATA].is_set && applies(&option_table[OPT_DATA], o->command)) {
        int r =
            err_set(err, ERR_INVALID, "no data directory: neither HOME nor XDG_DATA_HOME is set");
        err_hint(err, "name one with --data DIR");
        return r;
    }
    return 0;
}

int options_load(const struct options_input *in, struct options **ret, struct err *err)
{
    struct options *o = mem_alloc(sizeof *o);
    o->command = in->command;
    o->env = in->env;
    int r = load_words(o, in, err);
    bool only_asks = r == 0 && (option_bool(o, OPT_HELP) || option_bool(o, OPT_VERSION));
    if (r == 0 && !only_asks)
        r = check_operands(o, err);
    if (r == 0 && !only_asks)
        r = load_env(o, err);
    if (r == 0 && !only_asks)
        r = load_file(o, err);
    if (r == 0 && !only_asks)
        r = load_defaults(o, err);
    if (r < 0) {
        options_free(o);
        return r;
    }
    *ret = o;
    return 0;
}

/* ---- reading ---- */

enum command_id options_command(const struct options *o)
{
    return o->command;
}

size_t options_operand_count(const struct options *o)
{
    return o->operand_count;
}

const char *options_operand(const struct options *o, size_t i)
{
    return i < o->operand_count ? o->operands[i] : NULL;
}

const char *option_str(const struct options *o, enum option_id id)
{
    BUG_ON(option_table[id].type != OPTION_STRING && option_table[id].type != OPTION_SECRET);
    return o->values[id].text;
}

uint64_t option_u64(const struct options *o, enum option_id id)
{
    enum option_type t = option_table[id].type;
    BUG_ON(t != OPTION_INT && t != OPTION_SIZE && t != OPTION_DURATION);
    return o->values[id].num;
}

bool option_bool(const struct options *o, enum option_id id)
{
    BUG_ON(option_table[id].type != OPTION_BOOL);
    return o->values[id].num;
}

size_t option_count(const struct options *o, enum option_id id)
{
    BUG_ON(option_table[id].type != OPTION_LIST);
    return o->values[id].count;
}

const char *option_item(const struct options *o, enum option_id id, size_t i)
{
    BUG_ON(i >= option_count(o, id));
    return o->values[id].items[i];
}

enum option_source option_source(const struct options *o, enum option_id id)
{
    return o->values[id].source;
}

const char *option_where(const struct options *o, enum option_id id)
{
    return o->values[id].where ? o->values[id].where : "default";
}

int options_check(const struct options *o, struct err *err)
{
    for (size_t i = 0; i < option_count(o, OPT_LISTEN); i++) {
        const char *address = option_item(o, OPT_LISTEN, i);
        enum listen_kind kind = listen_classify(span_str(address));
        if (kind == LISTEN_INVALID) {
            int r = err_set(err, ERR_INVALID, "%s: '%s' is not an address to listen on",
                            option_where(o, OPT_LISTEN), address);
            err_hint(err, "write 127.0.0.1:8001, [::1]:8001, :8001 or unix:/path");
            return r;
        }
        if (kind == LISTEN_PUBLIC && !option_bool(o, OPT_INSECURE)) {
            int r =
                err_set(err, ERR_FORBIDDEN,
                        "%s: '%s' is an address that other machines may reach, and nothing asks "
                        "who is calling",
                        option_where(o, OPT_LISTEN), address);
            err_hint(err,
                     "listen on 127.0.0.1 behind a proxy that authenticates, or accept the risk "
                     "with --insecure");
            return r;
        }
    }
    return 0;
}
