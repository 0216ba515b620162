#include "providers/local_priv.h"

#include "base/buf.h"
#include "text/lines.h"
#include "text/tokens.h"
#include "text/utf8.h"

#include <stdio.h>

#define PIECE_BYTES 40   /* about a word group */
#define LINE_BYTES 240   /* longer code lines are cut */
#define BLOCK_BYTES 8192 /* one fenced block */

static void send(struct local_out *o, struct span piece)
{
    if (o->failed || piece.len == 0)
        return;
    if (o->cancel && atomic_load_explicit(o->cancel, memory_order_relaxed)) {
        o->failed = -ERR_CANCELLED;
        return;
    }
    int r = o->sink->delta(o->sink->ctx, piece);
    if (r < 0) {
        o->failed = r;
        return;
    }
    o->tokens += tokens_estimate(piece);
    o->line_end = piece.ptr[piece.len - 1];
    o->pieces++;
}

void out_whole(struct local_out *o, struct span text)
{
    send(o, text);
}

/* End of the next piece: at a space past PIECE_BYTES that is not inside `code`, or at a line's end. */
static size_t piece_end(struct span text)
{
    bool in_code = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        in_code ^= c == '`';
        if (c == '\n' && (i + 1 == text.len || text.ptr[i + 1] != '\n'))
            return i + 1;
        if (c == ' ' && i >= PIECE_BYTES && !in_code)
            return i + 1;
        if (i >= PIECE_BYTES && !in_code && (unsigned char)c >= 0xe0) /* scripts without spaces */
            return i;
        if (i >= 4096)
            return utf8_cut(text, i);
    }
    return text.len;
}

void out_text(struct local_out *o, struct span text)
{
    while (text.len && !o->failed) {
        size_t n = piece_end(text);
        n = n ? n : text.len;
        send(o, span_first(text, n));
        text = span_skip(text, n);
    }
}

void out_str(struct local_out *o, const char *text)
{
    out_text(o, span_str(text));
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

void out_joined(struct local_out *o, struct span text)
{
    char line[1024];
    size_t n = 0;
    bool is_gap = false;
    text = span_trim(text);
    for (size_t i = 0; i < text.len; i++) {
        if (is_space(text.ptr[i])) {
            is_gap = true;
            continue;
        }
        if (n + 8 > sizeof line) { /* units are shorter; kept for safety at a character border */
            n = utf8_cut(span_of(line, n), n);
            break;
        }
        if (is_gap)
            line[n++] = ' ';
        is_gap = false;
        line[n++] = text.ptr[i];
    }
    out_text(o, span_of(line, n));
}

/* Ticks inside are left out: they would end the code, and three of them at the start of a line would open a block. */
void out_code(struct local_out *o, struct span text)
{
    char b[512];
    size_t n = 0;
    text = span_trim(span_first(text, utf8_cut(text, 480)));
    b[n++] = '`';
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != '`')
            b[n++] = is_space(text.ptr[i]) ? ' ' : text.ptr[i];
    b[n++] = '`';
    if (n > 2)
        send(o, span_of(b, n));
}

static struct span citation_text(char *b, size_t size, struct span path, uint32_t start,
                                 uint32_t end)
{
    bool has_tick = span_find_char(path, '`') >= 0;
    const char *tick = has_tick ? "" : "`";
    struct span p = span_first(path, size - 64);
    int n = start >= end ? snprintf(b, size, "%s" SPAN_FMT "#L%u%s", tick, SPAN_ARG(p), start, tick)
                         : snprintf(b, size, "%s" SPAN_FMT "#L%u-L%u%s", tick, SPAN_ARG(p), start,
                                    end, tick);
    return span_of(b, (size_t)n);
}

void out_citation(struct local_out *o, struct span path, uint32_t start, uint32_t end)
{
    char b[4300];
    send(o, citation_text(b, sizeof b, path, start, end));
}

void out_template(struct local_out *o, const char *text, const struct part *part, struct span name)
{
    const char *from = text, *at;
    for (at = text; *at; at++) {
        if (*at != '%')
            continue;
        out_text(o, span_of(from, (size_t)(at - from)));
        at++;
        if (*at == 'S')
            out_code(o, part->in->symbol);
        else if (*at == 'L')
            out_citation(o, part->in->path, part->in->start_line, part->in->end_line);
        else if (*at == 'N')
            out_code(o, name);
        from = at + 1;
    }
    out_text(o, span_of(from, (size_t)(at - from)));
}

/* ---- blocks ---- */

static size_t longest_tick_run(struct span s)
{
    size_t best = 0, run = 0;
    for (size_t i = 0; i < s.len; i++) {
        run = s.ptr[i] == '`' ? run + 1 : 0;
        best = run > best ? run : best;
    }
    return best;
}

/* White space that every line of the block begins with. */
static size_t common_indent(struct span body)
{
    struct span rest = body, line, indent = SPAN_NULL;
    bool is_first = true;
    while (span_next(&rest, '\n', &line)) {
        size_t n = 0;
        if (span_trim(line).len == 0)
            continue;
        while (n < line.len && (line.ptr[n] == ' ' || line.ptr[n] == '\t') &&
               (is_first || (n < indent.len && indent.ptr[n] == line.ptr[n])))
            n++;
        indent = span_first(line, n);
        is_first = false;
    }
    return indent.len;
}

void out_fence(struct local_out *o, struct span language, struct span body)
{
    char b[BLOCK_BYTES + 1024];
    char ticks[16] = "```";
    size_t want = longest_tick_run(body) + 1, n = 0;
    if (want > sizeof ticks - 1)
        return; /* nobody writes that; it could not be fenced */
    for (size_t i = 3; i < want; i++)
        ticks[i] = '`';
    n += (size_t)snprintf(b, sizeof b, "%s" SPAN_FMT "\n", ticks, SPAN_ARG(language));
    while (body.len && body.ptr[body.len - 1] == '\n')
        body.len--;
    size_t indent = common_indent(body);
    struct span rest = body, line;
    while (span_next(&rest, '\n', &line)) {
        line = span_skip(line, line.len > indent ? indent : line.len);
        line = span_first(line, utf8_cut(line, LINE_BYTES));
        while (line.len && is_space(line.ptr[line.len - 1]))
            line.len--;
        if (n + line.len + 2 > BLOCK_BYTES)
            break;
        if (line.len)
            memcpy(b + n, line.ptr, line.len);
        n += line.len;
        b[n++] = '\n';
    }
    n += (size_t)snprintf(b + n, sizeof b - n, "%s\n", ticks);
    send(o, span_of(b, n));
}

void out_excerpt(struct local_out *o, const struct part *part, struct excerpt e)
{
    uint32_t base = part->in->start_line;
    struct span body = lines_slice(part->in->text, e.start_line - base + 1, e.end_line - base + 1);
    if (body.len && body.ptr[body.len - 1] == '\n')
        body.len--;
    out_fence(o, language_for_fence(part->in), body);
}
