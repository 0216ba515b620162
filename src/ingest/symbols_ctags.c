/*
 * universal-ctags in its interactive mode: for each file a JSON request line and the file's bytes on standard
 * input, JSON lines back, in order, each file's ended by "completed". File names are ours ("7.py"), so nothing
 * from the source reaches an argument or a path.
 */
#include "ingest/symbols.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/proc.h"

#include <stdio.h>

#define CTAGS_MEMORY (1024ull << 20)
#define CTAGS_CPU_SECONDS 20
#define LINE_MAX_BYTES (64u << 10) /* a longer answer line is not one of ours */

/* Kinds that are units of code; ctags has many more (variables, imports, prototypes). */
static const char *known_kind(const char *kind)
{
    static const struct {
        const char *ctags, *ours;
    } kinds[] = {
        {"function", "function"}, {"method", "method"},       {"member", "method"},
        {"class", "class"},       {"struct", "struct"},       {"interface", "interface"},
        {"enum", "enum"},         {"union", "union"},         {"namespace", "namespace"},
        {"module", "module"},     {"trait", "trait"},         {"implementation", "impl"},
        {"func", "function"},     {"subroutine", "function"}, {"singletonMethod", "method"},
        {"methodSpec", "method"}, {"generator", "function"},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (span_is(span_str(kind), kinds[i].ctags))
            return kinds[i].ours;
    return NULL;
}

/* The scope is kept only where the lines do not show it: methods defined outside of their class. */
static const char *full_name(struct symbols_job *job, const json_t *tag, const char *kind)
{
    const char *name = json_str(tag, "name", ""), *scope = json_str(tag, "scope", "");
    struct buf b = BUF_INIT(LIMIT_SYMBOL_BYTES);
    bool is_outside =
        span_is(span_str(job->lang->name), "go") || span_is(span_str(job->lang->name), "cpp");
    if (span_is(span_str(json_str(tag, "scopeKind", "")), "package"))
        scope = "";
    if (is_outside && scope[0] &&
        (span_is(span_str(kind), "function") || span_is(span_str(kind), "method"))) {
        struct span s = span_str(scope);
        if (span_is(span_str(job->lang->name), "go") && span_rfind_char(s, '.') >= 0)
            s = span_skip(s, (size_t)span_rfind_char(s, '.') + 1); /* without the package */
        for (size_t i = 0; i < s.len; i++)
            if (s.ptr[i] != ':')
                buf_putc(&b, s.ptr[i]);
            else if (i > 0 && s.ptr[i - 1] == ':')
                buf_putc(&b, '.');
        buf_putc(&b, '.');
    }
    bool is_operator = span_starts(span_str(name), SPAN_LIT("operator "));
    buf_puts(&b, is_operator ? "operator" : name); /* "operator +": ours has no blank */
    buf_puts(&b, is_operator ? name + strlen("operator ") : "");
    const char *copy = buf_failed(&b) ? pool_copy(&job->symbols.names, SPAN_LIT("?"))
                                      : pool_copy(&job->symbols.names, buf_span(&b));
    buf_done(&b);
    return copy;
}

static int take_tag(struct symbols_job *job, const json_t *tag)
{
    const char *name = json_str(tag, "name", "");
    const char *kind = known_kind(json_str(tag, "kind", ""));
    int64_t first = json_int(tag, "line", 0), last = json_int(tag, "end", 0);
    /* Go's members are struct fields; Python's are methods. Both say "member". */
    bool is_field = span_is(span_str(json_str(tag, "kind", "")), "member") &&
                    !span_is(span_str(job->lang->name), "python");
    if (!kind || is_field || !name[0] || strncmp(name, "__anon", 6) == 0 || first < 1 ||
        last < first || last > UINT32_MAX)
        return 0;
    const char *copy = full_name(job, tag, kind);
    if (!copy)
        return -ERR_NO_MEMORY;
    return symbols_add(&job->symbols, (uint32_t)first, (uint32_t)last, span_str(copy), kind);
}

int symbols_ctags_parse(struct symbols_job *jobs, size_t count, struct span output)
{
    struct span line;
    size_t at = 0; /* the job whose tags come now */
    while (at < count && span_next(&output, '\n', &line)) {
        if (!line.len || line.len > LINE_MAX_BYTES || line.ptr[0] != '{')
            continue;
        json_t *v = json_read(line, NULL, NULL);
        struct span type = v ? span_str(json_str(v, "_type", "")) : SPAN_NULL;
        int r = 0;
        if (span_is(type, "completed")) {
            jobs[at++].is_done = true;
        } else if (span_is(type, "tag")) {
            /* "7.py": an answer for another file than the one whose turn it is, is not believed. */
            struct span path = span_str(json_str(v, "path", ""));
            uint64_t index;
            ptrdiff_t dot = span_find_char(path, '.');
            if (dot > 0 && parse_u64(span_first(path, (size_t)dot), &index) && index == at)
                r = take_tag(&jobs[at], v);
        }
        json_decref(v);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool put_requests(struct buf *in, const struct symbols_job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_printf(in, "{\"command\":\"generate-tags\",\"filename\":\"%zu.%s\",\"size\":%zu}\n", i,
                   jobs[i].lang->ctags_ext, jobs[i].text.len);
        buf_put_span(in, jobs[i].text);
    }
    return !buf_failed(in);
}

int symbols_ctags(struct symbols_job *jobs, size_t count, const _Atomic bool *cancel,
                  struct err *err)
{
    static const char *const argv[] = {"ctags",
                                       "--options=NONE",
                                       "--_interactive=sandbox",
                                       "--output-format=json",
                                       "--fields=+neZ",
                                       "--sort=no",
                                       NULL};
    struct buf in =
        BUF_INIT(LIMIT_BATCH_BYTES + LIMIT_FILE_BYTES * 3 + (size_t)LIMIT_BATCH_FILES_COUNT * 128);
    struct buf out = BUF_INIT(LIMIT_CHILD_OUTPUT);
    int status = 0;
    int r = put_requests(&in, jobs, count) ? 0 : err_set(err, ERR_NO_MEMORY, "preparing ctags");
    if (r == 0) {
        struct proc_options o = {.argv = argv,
                                 .cwd = "/",
                                 .input = buf_span(&in),
                                 .timeout_ms = TIMEOUT_SYMBOLS_MS,
                                 .cpu_seconds = CTAGS_CPU_SECONDS,
                                 .memory_bytes = CTAGS_MEMORY,
                                 .cancel = cancel};
        r = proc_run(&o, &out, NULL, &status, err);
    }
    int parsed = symbols_ctags_parse(jobs, count, buf_span(&out));
    if (r == 0 && parsed < 0)
        r = err_set(err, ERR_NO_MEMORY, "reading what ctags found");
    if (r == 0 && count > 0 && !jobs[count - 1].is_done)
        r = err_set(err, jobs[0].is_done ? ERR_IO : ERR_UNAVAILABLE,
                    "ctags stopped early with status %d", status);
    buf_done(&in);
    buf_done(&out);
    return r;
}
