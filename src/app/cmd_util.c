#include "app/cmd_util.h"

#include "app/options.h"
#include "base/mem.h"
#include "fetch/credential.h"

#include <inttypes.h>
#include <stdlib.h>

static const char *environment(void *ctx, const char *name)
{
    return options_env(ctx, name);
}

static char *copy(const char *text)
{
    return mem_try_strndup(text, strlen(text));
}

/* A repository of another machine. */
static int read_remote(const struct options *o, const struct source_name *n, const char *word,
                       struct source_operand *ret, struct err *err)
{
    union { /* the callback's context is not const */
        const struct options *in;
        void *out;
    } options = {.in = o};
    bool is_near = !option_str(o, OPT_SERVER), is_url = strstr(word, "://") || strchr(word, '@');
    struct credential c;
    struct buf location = BUF_INIT(2 * SOURCE_URL_MAX);
    int r = credential_pick(n, SPAN_NULL, is_near ? environment : NULL, options.out, &c, err);
    if (r < 0)
        return r;
    source_name_location(n, &location);
    /* A name of the user's own choice goes with the password: then the URL stays as it was. */
    bool keeps_url = n->user[0] || !is_url;
    ret->is_remote = true;
    ret->location = copy(buf_str(&location));
    ret->text = copy(keeps_url ? word : buf_str(&location));
    if (!n->user[0] && credential_is_set(&c))
        ret->token = copy(c.secret);
    credential_done(&c);
    buf_done(&location);
    return 0;
}

int source_operand_read(const struct options *o, struct source_operand *ret, struct err *err)
{
    const char *word = options_operand(o, 0);
    char *real = realpath(word, NULL);
    struct source_name n;
    *ret = (struct source_operand){.branch = option_str(o, OPT_BRANCH)};
    int r = real ? -ERR_NOT_FOUND
                 : source_name_parse(span_str(word), SPAN_NULL, span_str(ret->branch), &n, err);
    if (r == 0) {
        r = read_remote(o, &n, word, ret, err);
        source_name_done(&n);
    } else if (r == -ERR_NOT_FOUND) {
        ret->text = copy(real ? real : word);
        ret->location = copy(real ? real : word);
        r = 0;
    }
    mem_free(real);
    if (r == 0 && (!ret->text || !ret->location))
        r = err_set(err, ERR_NO_MEMORY, "no memory for the source's name");
    return r;
}

void source_operand_done(struct source_operand *s)
{
    if (s->token)
        explicit_bzero(s->token, strlen(s->token));
    mem_free(s->text);
    mem_free(s->location);
    mem_free(s->token);
    *s = (struct source_operand){0};
}

void put_source_operand(struct json_writer *w, const char *key, const struct source_operand *s)
{
    jw_kstr(w, key, s->text);
    if (s->branch && s->is_remote)
        jw_kstr(w, "branch", s->branch);
    if (s->token)
        jw_kstr(w, "token", s->token);
}

int exit_code_of(int result)
{
    if (result == -ERR_CANCELLED)
        return EXIT_INTERRUPTED;
    return result < 0 ? EXIT_FAILED : EXIT_OK;
}

void put_json(struct json_writer *w, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text)
        jw_raw(w, span_str(text));
    else
        jw_null(w);
    w->out->failed = w->out->failed || (value && !text);
    mem_free(text);
}

static void put_list(struct json_writer *w, const struct options *o, const char *key,
                     enum option_id id)
{
    if (!option_count(o, id))
        return;
    jw_key(w, key);
    jw_arr(w);
    for (size_t i = 0; i < option_count(o, id); i++)
        jw_str(w, option_item(o, id, i));
    jw_end_arr(w);
}

void put_filters(struct json_writer *w, const struct options *o)
{
    put_list(w, o, "include", OPT_INCLUDE);
    put_list(w, o, "exclude", OPT_EXCLUDE);
}

void put_citation(struct buf *out, const char *path, int64_t start, int64_t end)
{
    buf_puts(out, path);
    if (start > 0)
        buf_printf(out, "#L%" PRId64 "-L%" PRId64, start, end);
}
