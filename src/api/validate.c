#include "api/validate.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>

#define INPUT_SHOWN_MAX 50

static void add_issue(struct chat_fields *f, const char *loc, const char *type, const char *msg,
                      const json_t *input)
{
    if (f->issue_count == CHAT_ISSUES_MAX)
        return;
    struct chat_issue *i = &f->issues[f->issue_count++];
    snprintf(i->loc, sizeof i->loc, "%s", loc);
    i->type = type;
    i->msg = msg;
    i->input = input;
}

static struct span want_string(struct chat_fields *f, const json_t *obj, const char *key,
                               const char *loc, bool required)
{
    const json_t *v = json_object_get(obj, key);
    if (!v) {
        if (required)
            add_issue(f, loc, "missing", "Field required", obj);
        return SPAN_NULL;
    }
    if (json_is_string(v))
        return json_span(v);
    if (required || !json_is_null(v))
        add_issue(f, loc, "string_type", "Input should be a valid string", v);
    return SPAN_NULL;
}

static int decode_messages(struct chat_fields *f)
{
    const json_t *list = json_object_get(f->root, "messages");
    if (!list) {
        add_issue(f, "messages", "missing", "Field required", f->root);
        return 0;
    }
    if (!json_is_array(list)) {
        add_issue(f, "messages", "list_type", "Input should be a valid list", list);
        return 0;
    }
    size_t n = json_array_size(list);
    if (n > LIMIT_MESSAGES_COUNT)
        return -ERR_TOO_LARGE;
    f->turns = mem_try_array(n, sizeof *f->turns);
    if (!f->turns)
        return -ERR_NO_MEMORY;
    f->turn_count = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(list, i);
        char loc[64];
        snprintf(loc, sizeof loc, "messages.%zu", i);
        if (!json_is_object(m)) {
            add_issue(f, loc, "model_attributes_type",
                      "Input should be a valid dictionary or object to extract fields from", m);
            continue;
        }
        snprintf(loc, sizeof loc, "messages.%zu.role", i);
        f->turns[i].role = want_string(f, m, "role", loc, true);
        snprintf(loc, sizeof loc, "messages.%zu.content", i);
        f->turns[i].content = want_string(f, m, "content", loc, true);
    }
    return 0;
}

int chat_decode(json_t *root, struct chat_fields *f)
{
    *f = (struct chat_fields){.root = root};
    if (!root || json_is_null(root)) {
        add_issue(f, "", "missing", "Field required", NULL);
        return -ERR_INVALID;
    }
    if (!json_is_object(root)) {
        add_issue(f, "", "model_attributes_type",
                  "Input should be a valid dictionary or object to extract fields from", root);
        return -ERR_INVALID;
    }
    f->stream_id = want_string(f, root, "stream_id", "stream_id", false);
    f->is_resume = f->stream_id.len && !json_object_get(root, "messages");
    const json_t *after = json_object_get(root, "after");
    if (json_is_integer(after) && json_integer_value(after) >= 0)
        f->after = (uint64_t)json_integer_value(after);
    else if (after && !json_is_null(after))
        add_issue(f, "after", "int_type", "Input should be a valid integer", after);
    if (f->is_resume)
        return f->issue_count ? -ERR_INVALID : 0;
    f->repo_url = want_string(f, root, "repo_url", "repo_url", true);
    int r = decode_messages(f);
    if (r < 0)
        return r;
    f->type = want_string(f, root, "type", "type", false);
    f->file_path = want_string(f, root, "filePath", "filePath", false);
    f->token = want_string(f, root, "token", "token", false);
    f->branch = want_string(f, root, "branch", "branch", false);
    f->provider = want_string(f, root, "provider", "provider", false);
    f->model = want_string(f, root, "model", "model", false);
    f->language = want_string(f, root, "language", "language", false);
    f->filters = (struct engine_filters){
        .excluded_dirs = want_string(f, root, "excluded_dirs", "excluded_dirs", false),
        .excluded_files = want_string(f, root, "excluded_files", "excluded_files", false),
        .included_dirs = want_string(f, root, "included_dirs", "included_dirs", false),
        .included_files = want_string(f, root, "included_files", "included_files", false),
    };
    return f->issue_count ? -ERR_INVALID : 0;
}

static void keep_only(json_t *obj, const char *const *names, size_t count)
{
    const char *key;
    json_t *v;
    void *next;
    json_object_foreach_safe(obj, next, key, v)
    {
        bool is_kept = false;
        for (size_t i = 0; i < count && !is_kept; i++)
            is_kept = strcmp(key, names[i]) == 0;
        if (!is_kept)
            (void)json_object_del(obj, key); /* it is there */
    }
}

void chat_fields_trim(struct chat_fields *f)
{
    static const char *const of_root[] = {
        "stream_id",     "repo_url",       "messages",      "type",
        "token",         "branch",         "filePath",      "provider",
        "model",         "language",       "excluded_dirs", "excluded_files",
        "included_dirs", "included_files", "include",       "exclude"};
    static const char *const of_message[] = {"role", "content"};
    keep_only(f->root, of_root, ARRAY_LEN(of_root));
    size_t i;
    json_t *m;
    json_array_foreach(json_object_get(f->root, "messages"), i, m)
        keep_only(m, of_message, ARRAY_LEN(of_message));
}

void chat_fields_done(struct chat_fields *f)
{
    mem_free(f->turns);
    json_decref(f->root);
    f->turns = NULL;
    f->root = NULL;
}

static const char *python_type(const json_t *v)
{
    if (!v || json_is_null(v))
        return "NoneType";
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "dict";
    case JSON_ARRAY:
        return "list";
    case JSON_STRING:
        return "str";
    case JSON_INTEGER:
        return "int";
    case JSON_REAL:
        return "float";
    case JSON_TRUE:
    case JSON_FALSE:
        return "bool";
    case JSON_NULL:
    default:
        return "NoneType";
    }
}

/* Compact JSON of a value, for people, cut in the middle of nothing but bytes. */
static void put_input(struct buf *out, const json_t *v)
{
    char *text = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    struct span s = text ? span_str(text) : SPAN_LIT("None");
    buf_put_span(out, span_first(s, INPUT_SHOWN_MAX));
    if (s.len > INPUT_SHOWN_MAX)
        buf_puts(out, "...");
    mem_free(text); /* jansson's */
}

void chat_issues_text(const struct chat_fields *f, struct buf *out)
{
    buf_printf(out, "%zu validation error%s for ChatCompletionRequest", f->issue_count,
               f->issue_count == 1 ? "" : "s");
    for (size_t i = 0; i < f->issue_count; i++) {
        const struct chat_issue *is = &f->issues[i];
        buf_printf(out, "\n%s\n  %s [type=%s, input_value=", is->loc, is->msg, is->type);
        put_input(out, is->input);
        buf_printf(out,
                   ", input_type=%s]\n    For further information visit "
                   "https://errors.pydantic.dev/2.11/v/%s",
                   python_type(is->input), is->type);
    }
}

static void put_loc(struct json_writer *w, const char *loc)
{
    jw_key(w, "loc");
    jw_arr(w);
    jw_str(w, "body");
    struct span rest = loc[0] ? span_str(loc) : SPAN_NULL, piece;
    while (span_next(&rest, '.', &piece)) {
        uint64_t index;
        if (parse_u64(piece, &index))
            jw_u64(w, index);
        else
            jw_span(w, piece);
    }
    jw_end_arr(w);
}

static void put_value(struct json_writer *w, const json_t *v)
{
    char *text = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    jw_key(w, "input");
    if (text)
        jw_raw(w, span_str(text));
    else
        jw_null(w);
    mem_free(text); /* jansson's */
}

void chat_issues_json(const struct chat_fields *f, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_obj(&w);
    jw_key(&w, "detail");
    jw_arr(&w);
    for (size_t i = 0; i < f->issue_count; i++) {
        jw_obj(&w);
        jw_kstr(&w, "type", f->issues[i].type);
        put_loc(&w, f->issues[i].loc);
        jw_kstr(&w, "msg", f->issues[i].msg);
        put_value(&w, f->issues[i].input);
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    jw_end_obj(&w);
}

void chat_syntax_json(const char *why, size_t offset, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_obj(&w);
    jw_key(&w, "detail");
    jw_arr(&w);
    jw_obj(&w);
    jw_kstr(&w, "type", "json_invalid");
    jw_key(&w, "loc");
    jw_arr(&w);
    jw_str(&w, "body");
    jw_u64(&w, offset);
    jw_end_arr(&w);
    jw_kstr(&w, "msg", "JSON decode error");
    jw_key(&w, "input");
    jw_obj(&w);
    jw_end_obj(&w);
    jw_key(&w, "ctx");
    jw_obj(&w);
    jw_kstr(&w, "error", why);
    jw_end_obj(&w);
    jw_end_obj(&w);
    jw_end_arr(&w);
    jw_end_obj(&w);
}
