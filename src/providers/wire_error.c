#include "base/mem.h"
#include "providers/wire_priv.h"
#include "text/utf8.h"

#include <ctype.h>
#include <stdio.h>

/* ---- finding the parts ---- */

static void read_code(const json_t *v, struct wire_problem *p)
{
    if (json_is_string(v)) {
        p->code = json_span(v);
        uint64_t n;
        if (parse_u64(p->code, &n) && n >= 400 && n < 600 && !p->status)
            p->status = (int)n;
    } else if (json_is_integer(v)) {
        int64_t n = json_integer_value(v);
        snprintf(p->number, sizeof p->number, "%lld", (long long)n);
        p->code = span_str(p->number);
        if (n >= 400 && n < 600 && !p->status)
            p->status = (int)n;
    }
}

/* Gemini names the reason ("API_KEY_INVALID") in a list of details. */
static void read_details(const json_t *details, struct wire_problem *p)
{
    size_t i;
    json_t *d;
    json_array_foreach(details, i, d)
    {
        struct span reason = json_span(json_object_get(d, "reason"));
        if (reason.len && !p->extra.len)
            p->extra = reason;
    }
}

static bool read_object(const json_t *e, struct wire_problem *p)
{
    static const char *const messages[] = {"message", "Message", "msg", "detail", "error"};
    static const char *const codes[] = {"code", "statusCode", "__type"};
    for (size_t i = 0; i < ARRAY_LEN(messages) && !p->message.len; i++)
        p->message = json_span(json_object_get(e, messages[i]));
    for (size_t i = 0; i < ARRAY_LEN(codes) && !p->code.len; i++)
        read_code(json_object_get(e, codes[i]), p);
    p->type = json_span(json_object_get(e, "type"));
    if (!p->type.len)
        p->type = json_span(json_object_get(e, "status"));
    read_details(json_object_get(e, "details"), p);
    /* OpenRouter hands on what its own provider said; Azure what its filter found. */
    const json_t *meta = json_object_get(e, "metadata");
    if (!p->extra.len)
        p->extra = json_span(json_object_get(meta, "raw"));
    if (!p->extra.len)
        p->extra = json_span(json_object_get(json_object_get(e, "innererror"), "code"));
    return p->message.len || p->code.len;
}

bool wire_problem_read(const json_t *body, struct wire_problem *p)
{
    if (json_is_array(body))
        body = json_array_get(body, 0);
    const json_t *e = json_object_get(body, "error");
    if (json_is_object(e))
        return read_object(e, p);
    if (json_is_string(e)) {
        p->message = json_span(e);
        read_code(json_object_get(body, "code"), p);
        return true;
    }
    const json_t *detail = json_object_get(body, "detail");
    if (json_is_array(detail)) /* a validating server's list */
        return read_object(json_array_get(detail, 0), p);
    return read_object(body, p);
}

/* ---- what it means ---- */

struct pattern {
    const char *text;
    bool is_weak; /* also said about rates: does not count there */
};

static const struct pattern too_long[] = {
    {"context_length_exceeded", false},
    {"context length exceeded", false},
    {"maximum context length", false},
    {"max context length", false},
    {"model_context_window_exceeded", false},
    {"context_window_exceeded", false},
    {"context window exceed", false},
    {"prompt is too long", false},
    {"prompt too long", false},
    {"prompt length exceed", false},
    {"input is too long", false},
    {"input too long", false},
    {"string too long", false},
    {"request too large for", false},
    {"request_too_large", false},
    {"exceeds the context window", false},
    {"exceeds the available context size", false},
    {"exceeds context window", false},
    {"exceed context limit", false},
    {"exceeds the model's maximum context", false},
    {"exceed_context_size_error", false},
    {"range of input length should be", false},
    {"total tokens of image and text exceed", false},
    {"input length and `max_tokens` exceed", false},
    {"input length exceeds", false},
    {"reduce the length of the messages", false},
    {"context overflow", false},
    {"larger context length", false},
    {"too many input tokens", false},
    {"exceeds the maximum number of tokens", false},
    {"exceeds max input tokens", false},
    {"maximum prompt length", false},
    {"token limit", true},
    {"too many tokens", true},
    {"tokens_exceed", true},
    {"maximum number of tokens", true},
};

static const struct pattern filtered[] = {
    {"content_filter", false},
    {"content_policy", false},
    {"content management policy", false},
    {"responsibleaipolicyviolation", false},
    {"data_inspection_failed", false},
    {"datainspectionfailed", false},
    {"inappropriate content", false},
    {"content policy", false},
    {"prompt_blocked", false},
    {"blocked by content", false},
    {"safety system", false},
    {"requires moderation", false},
    {"content exists risk", false},
    {"blocked by the guardrail", false},
    {"blocked by our content filter", false},
    {"refused for safety", false},
};

/* Words of code, type and reason. The first that occurs decides, so the specific come first. */
static const struct {
    const char *word;
    enum wire_error_class class;
} words[] = {
    {"insufficient_quota", WIRE_ERROR_RATE},
    {"insufficient balance", WIRE_ERROR_RATE},
    {"rate_limit", WIRE_ERROR_RATE},
    {"resource_exhausted", WIRE_ERROR_RATE},
    {"throttling", WIRE_ERROR_RATE},
    {"servicequotaexceeded", WIRE_ERROR_RATE},
    {"too_many_requests", WIRE_ERROR_RATE},
    {"billing_error", WIRE_ERROR_RATE},
    {"arrearage", WIRE_ERROR_RATE},
    {"authentication", WIRE_ERROR_AUTH},
    {"permission", WIRE_ERROR_AUTH},
    {"invalid_api_key", WIRE_ERROR_AUTH},
    {"invalidapikey", WIRE_ERROR_AUTH},
    {"api_key_invalid", WIRE_ERROR_AUTH},
    {"api key not valid", WIRE_ERROR_AUTH},
    {"api key expired", WIRE_ERROR_AUTH},
    {"incorrect api key", WIRE_ERROR_AUTH},
    {"unauthenticated", WIRE_ERROR_AUTH},
    {"unauthorized", WIRE_ERROR_AUTH},
    {"accessdenied", WIRE_ERROR_AUTH},
    {"access_denied", WIRE_ERROR_AUTH},
    {"unrecognizedclient", WIRE_ERROR_AUTH},
    {"invalidsignature", WIRE_ERROR_AUTH},
    {"incompletesignature", WIRE_ERROR_AUTH},
    {"expiredtoken", WIRE_ERROR_AUTH},
    {"security token included in the request is", WIRE_ERROR_AUTH},
    {"overloaded", WIRE_ERROR_OVERLOADED},
    {"server_error", WIRE_ERROR_OVERLOADED},
    {"serviceunavailable", WIRE_ERROR_OVERLOADED},
    {"internalserver", WIRE_ERROR_OVERLOADED},
    {"internal_error", WIRE_ERROR_OVERLOADED},
    {"modelnotready", WIRE_ERROR_OVERLOADED},
    {"modeltimeout", WIRE_ERROR_OVERLOADED},
    {"modelstreamerror", WIRE_ERROR_OVERLOADED},
    {"timeout_error", WIRE_ERROR_OVERLOADED},
    {"unavailable", WIRE_ERROR_OVERLOADED},
    {"deadline_exceeded", WIRE_ERROR_OVERLOADED},
    {"api_error", WIRE_ERROR_OVERLOADED},
    {"not_found", WIRE_ERROR_INVALID},
    {"resourcenotfound", WIRE_ERROR_INVALID},
    {"deploymentnotfound", WIRE_ERROR_INVALID},
    {"validationexception", WIRE_ERROR_INVALID},
    {"failed_precondition", WIRE_ERROR_INVALID},
    {"invalid_argument", WIRE_ERROR_INVALID},
    {"invalidparameter", WIRE_ERROR_INVALID},
    {"invalid_request", WIRE_ERROR_INVALID},
};

/* Zhipu's numbers. */
static const struct {
    const char *code;
    enum wire_error_class class;
} numbers[] = {
    {"1000", WIRE_ERROR_AUTH},       {"1001", WIRE_ERROR_AUTH},
    {"1002", WIRE_ERROR_AUTH},       {"1003", WIRE_ERROR_AUTH},
    {"1004", WIRE_ERROR_AUTH},       {"1110", WIRE_ERROR_AUTH},
    {"1112", WIRE_ERROR_AUTH},       {"1113", WIRE_ERROR_RATE},
    {"1210", WIRE_ERROR_INVALID},    {"1211", WIRE_ERROR_INVALID},
    {"1213", WIRE_ERROR_INVALID},    {"1214", WIRE_ERROR_INVALID},
    {"1220", WIRE_ERROR_AUTH},       {"1261", WIRE_ERROR_TOO_LONG},
    {"1301", WIRE_ERROR_FILTERED},   {"1302", WIRE_ERROR_RATE},
    {"1303", WIRE_ERROR_RATE},       {"1304", WIRE_ERROR_RATE},
    {"1305", WIRE_ERROR_OVERLOADED}, {"1308", WIRE_ERROR_RATE},
    {"1309", WIRE_ERROR_RATE},       {"1230", WIRE_ERROR_OVERLOADED},
    {"1234", WIRE_ERROR_OVERLOADED}, {"500", WIRE_ERROR_OVERLOADED},
};

static bool says(const struct wire_problem *p, const char *text)
{
    struct span t = span_str(text);
    return span_find_nocase(p->message, t) >= 0 || span_find_nocase(p->code, t) >= 0 ||
           span_find_nocase(p->type, t) >= 0 || span_find_nocase(p->extra, t) >= 0;
}

static bool says_one(const struct wire_problem *p, const struct pattern *list, size_t count,
                     bool is_about_rate)
{
    for (size_t i = 0; i < count; i++)
        if (!(list[i].is_weak && is_about_rate) && says(p, list[i].text))
            return true;
    return false;
}

/* "The input token count (1200000) exceeds the maximum …", "`inputs` tokens + `max_new_tokens` must be <= …" */
static bool counts_input(const struct wire_problem *p)
{
    return (says(p, "input token count") && says(p, "exceed")) ||
           (says(p, "inputs` tokens") && says(p, "must be <="));
}

static enum wire_error_class class_of_status(int status)
{
    switch (status) {
    case 401:
    case 403:
        return WIRE_ERROR_AUTH;
    case 402:
    case 429:
        return WIRE_ERROR_RATE;
    case 408:
    case 424:
        return WIRE_ERROR_OVERLOADED;
    case 413:
        return WIRE_ERROR_TOO_LONG;
    default:
        if (status >= 500)
            return WIRE_ERROR_OVERLOADED;
        return status >= 400 ? WIRE_ERROR_INVALID : WIRE_ERROR_OTHER;
    }
}

enum wire_error_class wire_problem_class(const struct wire_problem *p)
{
    bool is_about_rate = p->status == 429 || says(p, "rate_limit") || says(p, "throttling") ||
                         says(p, "resource_exhausted");
    if (says_one(p, too_long, ARRAY_LEN(too_long), is_about_rate) ||
        (!is_about_rate && counts_input(p)))
        return WIRE_ERROR_TOO_LONG;
    if (says_one(p, filtered, ARRAY_LEN(filtered), false))
        return WIRE_ERROR_FILTERED;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (span_is(p->code, numbers[i].code))
            return numbers[i].class;
    if (p->status == 401 || p->status == 429 || p->status == 413)
        return class_of_status(p->status);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (says(p, words[i].word))
            return words[i].class;
    return class_of_status(p->status);
}

/* ---- the message ---- */

static bool is_secret_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.' || c == '=' || c == '+' ||
           c == '*' || c == '~' || c == '/';
}

static size_t run_length(struct span s, bool (*is_in)(char c))
{
    size_t n = 0;
    while (n < s.len && is_in(s.ptr[n]))
        n++;
    return n;
}

static bool is_opaque_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '+' || c == '=';
}

/* Long, letters and digits mixed, no separators: a key rather than a word, a model or a request's id with dashes. */
static size_t opaque_length(struct span s)
{
    size_t n = run_length(s, is_opaque_char), digits = 0, letters = 0;
    for (size_t i = 0; i < n; i++) {
        digits += isdigit((unsigned char)s.ptr[i]) != 0;
        letters += isalpha((unsigned char)s.ptr[i]) != 0;
    }
    return n >= 32 && digits >= 4 && letters >= 4 ? n : 0;
}

/* Bytes of a secret at s and, in *ret_keep, how many of them may be shown. 0 when there is none. `is_start`: no word runs into s. */
static size_t secret_length(struct span s, bool is_start, size_t *ret_keep)
{
    static const struct {
        struct span mark;
        size_t keep;
    } marks[] = {
        {SPAN_INIT("sk-"), 3},         {SPAN_INIT("sk_"), 3},
        {SPAN_INIT("AIza"), 0},        {SPAN_INIT("AKIA"), 0},
        {SPAN_INIT("ASIA"), 0},        {SPAN_INIT("gsk_"), 4},
        {SPAN_INIT("xai-"), 4},        {SPAN_INIT("eyJ"), 0},
        {SPAN_INIT("ghp_"), 4},        {SPAN_INIT("hf_"), 3},
        {SPAN_INIT("Bearer "), 7},     {SPAN_INIT("bearer "), 7},
        {SPAN_INIT("api_key="), 8},    {SPAN_INIT("apikey="), 7},
        {SPAN_INIT("key="), 4},        {SPAN_INIT("token="), 6},
        {SPAN_INIT("api-key: "), 9},   {SPAN_INIT("x-api-key: "), 11},
        {SPAN_INIT("Signature="), 10}, {SPAN_INIT("Credential="), 11},
        {SPAN_INIT("ABSK"), 0},
    };
    for (size_t i = 0; is_start && i < ARRAY_LEN(marks); i++) {
        if (!span_starts(s, marks[i].mark))
            continue;
        size_t n = run_length(span_skip(s, marks[i].mark.len), is_secret_char);
        /* "sk-" in prose, "key=1": too short to be one */
        if (n >= (marks[i].keep >= 4 ? 6u : 8u)) {
            *ret_keep = marks[i].keep;
            return marks[i].mark.len + n;
        }
    }
    *ret_keep = 0;
    return is_start ? opaque_length(s) : 0;
}

struct text_out {
    char *ptr;
    size_t len, size;
};

static void put_text(struct text_out *o, struct span s)
{
    size_t room = o->size - 1 - o->len;
    s = span_first(s, utf8_cut(s, room));
    if (s.len)
        memcpy(o->ptr + o->len, s.ptr, s.len);
    o->len += s.len;
}

/* One line of whole characters, secrets masked. */
static void put_clean(struct text_out *o, struct span s)
{
    char before = ' ';
    while (s.len && o->len + 4 < o->size) {
        size_t keep, n = secret_length(s, !is_opaque_char(before), &keep);
        if (n) {
            put_text(o, span_first(s, keep));
            put_text(o, SPAN_LIT("***"));
            before = '*';
        } else if ((n = utf8_decode(s, NULL)) == 0) {
            put_text(o, SPAN_LIT("\xef\xbf\xbd"));
            n = 1;
        } else if ((unsigned char)s.ptr[0] <= 0x20 || s.ptr[0] == 0x7f) {
            if (o->len && o->ptr[o->len - 1] != ' ')
                put_text(o, SPAN_LIT(" "));
            before = ' ';
        } else {
            put_text(o, span_first(s, n));
            before = s.ptr[0];
        }
        s = span_skip(s, n);
    }
}

static void put_extra(struct text_out *o, struct span extra)
{
    struct wire_problem inner = {0};
    json_t *v = span_starts(extra, SPAN_LIT("{")) ? json_read(extra, NULL, NULL) : NULL;
    struct span text =
        v && wire_problem_read(v, &inner) && inner.message.len ? inner.message : extra;
    put_clean(o, SPAN_LIT(": "));
    put_clean(o, text);
    json_decref(v);
}

void wire_problem_text(const struct wire_problem *p, char *ret, size_t size)
{
    struct text_out o = {ret, 0, size};
    if (size < 8) {
        if (size)
            ret[0] = 0;
        return;
    }
    if (p->message.len) {
        put_clean(&o, p->message);
        if (p->extra.len && span_find(p->extra, SPAN_LIT(" ")) >= 0)
            put_extra(&o, p->extra);
    } else if (p->code.len || p->type.len) {
        put_clean(&o, p->code.len ? p->code : p->type);
    } else if (p->status) {
        char text[64];
        snprintf(text, sizeof text, "status %d without explanation", p->status);
        put_clean(&o, span_str(text));
    } else {
        put_clean(&o, SPAN_LIT("error without explanation"));
    }
    while (o.len && ret[o.len - 1] == ' ')
        o.len--;
    ret[o.len] = 0;
}

/* A page of a gateway: its text without tags, in place of a message. */
static struct span page_text(struct span body, char *ret, size_t size)
{
    size_t n = 0;
    bool in_tag = false;
    for (size_t i = 0; i < body.len && n < size; i++) {
        if (body.ptr[i] == '<')
            in_tag = true;
        if (!in_tag)
            ret[n++] = body.ptr[i];
        else if (body.ptr[i] == '>') {
            in_tag = false;
            ret[n++] = ' ';
        }
    }
    return span_trim(span_of(ret, n));
}

enum wire_error_class wire_classify(int status, struct span body, char *ret_message, size_t size)
{
    struct wire_problem p = {.status = status};
    char page[400];
    body = span_trim(span_first(body, LIMIT_WIRE_ERROR_BODY));
    if (span_starts(body, SPAN_LIT("data:"))) /* an event where a plain body was due */
        body = span_trim(span_skip(body, 5));
    json_t *v = body.len ? json_read(body, NULL, NULL) : NULL;
    bool has_parts = v && wire_problem_read(v, &p);
    if (!has_parts)
        p.message = page_text(body, page, sizeof page);
    p.status = status;
    enum wire_error_class class = wire_problem_class(&p);
    wire_problem_text(&p, ret_message, size);
    json_decref(v);
    return class;
}

#define MASK_MIN 6 /* shorter ones cannot be told from a word */

static void mask_one(char *message, const char *secret)
{
    size_t n = secret ? strlen(secret) : 0;
    if (n < MASK_MIN)
        return;
    for (char *at; (at = strstr(message, secret)) != NULL; message = at + 3) {
        memcpy(at, "***", 3);
        memmove(at + 3, at + n, strlen(at + n) + 1);
    }
    size_t len = strlen(message);
    for (size_t part = len < n ? len : n - 1; part >= MASK_MIN; part--)
        if (memcmp(message + len - part, secret, part) == 0) {
            memcpy(message + len - part, "***", 4);
            return;
        }
}

void wire_mask_target(char *message, const struct wire_target *t)
{
    mask_one(message, t->api_key);
    mask_one(message, t->secret_access_key);
    mask_one(message, t->session_token);
    mask_one(message, t->access_key_id);
}
