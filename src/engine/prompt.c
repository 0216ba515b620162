#include "engine/prompt.h"

#include "base/limits.h"
#include "base/mem.h"
#include "text/tokens.h"

#define DEFAULT_BUDGET 24000
#define PASSAGE_OVERHEAD 24 /* its file heading and its line of lines */
#define TURN_OVERHEAD 16
#define SHAPE_OVERHEAD 48 /* the marks around the parts */

struct fitting {
    size_t left; /* tokens */
    struct span file;
    size_t first_turn;
    bool *is_in; /* owned; one a passage */
};

static size_t take(size_t *left, size_t tokens)
{
    *left = *left > tokens ? *left - tokens : 0;
    return tokens;
}

/* At most max tokens of the file, whole lines. */
static struct span fit_file(struct span text, size_t max, bool *ret_is_cut)
{
    struct span cut = tokens_cut(text, max);
    *ret_is_cut = cut.len < text.len;
    if (*ret_is_cut) {
        ptrdiff_t end = span_rfind_char(cut, '\n');
        cut = span_first(cut, end < 0 ? 0 : (size_t)end + 1);
    }
    return cut;
}

static void fit_turns(const struct prompt_input *in, struct fitting *f)
{
    size_t room = f->left / 3, count = in->turn_count & ~(size_t)1;
    if (in->passage_count == 0 || in->note != PROMPT_NOTE_NONE)
        room = f->left;
    f->first_turn = count;
    while (f->first_turn >= 2) {
        const struct chat_turn *pair = &in->turns[f->first_turn - 2];
        size_t need =
            tokens_estimate(pair[0].content) + tokens_estimate(pair[1].content) + TURN_OVERHEAD;
        if (need > room)
            break;
        room -= need;
        take(&f->left, need);
        f->first_turn -= 2;
    }
}

static void fit_passages(const struct prompt_input *in, struct fitting *f)
{
    for (size_t i = 0; i < in->passage_count && in->note == PROMPT_NOTE_NONE; i++) {
        size_t need = tokens_estimate(in->passages[i].text) +
                      tokens_estimate(in->passages[i].path) + PASSAGE_OVERHEAD;
        f->is_in[i] = need <= f->left;
        if (f->is_in[i])
            take(&f->left, need);
    }
}

static void put_turns(struct buf *out, const struct prompt_input *in, size_t first)
{
    size_t count = in->turn_count & ~(size_t)1;
    if (first >= count)
        return;
    buf_puts(out, "<conversation_history>\n");
    for (size_t i = first; i < count; i += 2) {
        buf_puts(out, "<turn>\n<user>");
        buf_put_span(out, in->turns[i].content);
        buf_puts(out, "</user>\n<assistant>");
        buf_put_span(out, in->turns[i + 1].content);
        buf_puts(out, "</assistant>\n</turn>\n");
    }
    buf_puts(out, "</conversation_history>\n\n");
}

static void put_file(struct buf *out, const struct prompt_input *in, struct span text)
{
    if (in->file_path.len == 0 || text.len == 0)
        return;
    buf_puts(out, "<currentFileContent path=\"");
    buf_put_span(out, in->file_path);
    buf_puts(out, "\">\n");
    buf_put_span(out, text);
    buf_puts(out, "\n</currentFileContent>\n\n");
}

static void put_passage(struct buf *out, const struct chat_passage *p)
{
    if (p->end_line > p->start_line)
        buf_printf(out, "Lines %u-%u", p->start_line, p->end_line);
    else
        buf_printf(out, "Line %u", p->start_line);
    if (p->symbol.len) {
        buf_puts(out, " (");
        buf_put_span(out, p->symbol);
        buf_puts(out, ")");
    }
    buf_puts(out, ":\n");
    buf_put_span(out, p->text);
}

/* Grouped by file, files in order of their best passage. */
static void put_context(struct buf *out, const struct prompt_input *in, struct fitting *f,
                        struct prompt *p)
{
    buf_puts(out, "<START_OF_CONTEXT>\n\n\n----------");
    for (size_t i = 0; i < in->passage_count; i++) {
        if (!f->is_in[i])
            continue;
        struct span path = in->passages[i].path;
        buf_puts(out, p->passage_count ? "\n\n## File Path: " : "## File Path: ");
        buf_put_span(out, path);
        for (size_t k = i; k < in->passage_count; k++) {
            if (!f->is_in[k] || !span_eq(in->passages[k].path, path))
                continue;
            f->is_in[k] = false;
            p->passages[p->passage_count++] = (uint32_t)k;
            buf_puts(out, "\n\n");
            put_passage(out, &in->passages[k]);
        }
    }
    buf_puts(out, "\n<END_OF_CONTEXT>\n\n");
}

static void put_note(struct buf *out, enum prompt_note note)
{
    buf_puts(out, note == PROMPT_NOTE_TOO_LARGE
                      ? "<note>The context was left out because the request was too long; answer "
                        "without retrieval.</note>\n\n"
                      : "<note>Answer without retrieval: no passages of the repository are "
                        "given.</note>\n\n");
}

static bool fit_all(const struct prompt_input *in, struct fitting *f, struct prompt *p)
{
    size_t max = in->passage_count ? in->passage_count : 1;
    f->is_in = mem_try_array(max, sizeof *f->is_in);
    p->passages = mem_try_array(max, sizeof *p->passages);
    if (!f->is_in || !p->passages)
        return false;
    f->left = in->token_budget ? in->token_budget : DEFAULT_BUDGET;
    take(&f->left,
         tokens_estimate(buf_span(&p->text)) + tokens_estimate(in->question) + SHAPE_OVERHEAD);
    if (in->file_path.len)
        f->file = fit_file(in->file_text, f->left / 3, &p->is_file_cut);
    take(&f->left, tokens_estimate(f->file));
    fit_turns(in, f);
    p->turn_count = (in->turn_count & ~(size_t)1) - f->first_turn;
    fit_passages(in, f);
    return true;
}

int prompt_build(const struct prompt_input *in, struct prompt *ret, struct err *err)
{
    struct prompt p = {.text = BUF_INIT(LIMIT_PROMPT_BYTES)};
    struct fitting f = {0};
    buf_puts(&p.text, "/no_think ");
    prompt_put_system(&p.text, in);
    buf_puts(&p.text, "\n\n");
    bool has_memory = fit_all(in, &f, &p), has_context = false;
    for (size_t i = 0; has_memory && i < in->passage_count; i++)
        has_context |= f.is_in[i];
    if (has_memory) {
        put_turns(&p.text, in, f.first_turn);
        put_file(&p.text, in, f.file);
        if (has_context)
            put_context(&p.text, in, &f, &p);
        else
            put_note(&p.text, in->note);
        buf_puts(&p.text, "<query>\n");
        buf_put_span(&p.text, in->question);
        buf_puts(&p.text, "\n</query>\n\nAssistant: ");
        buf_puts(&p.text, in->suffix ? in->suffix : "");
    }
    mem_free(f.is_in);
    if (!has_memory || buf_failed(&p.text)) {
        bool is_large = in->question.len > LIMIT_PROMPT_BYTES / 2;
        prompt_done(&p);
        if (is_large)
            return err_set(err, ERR_TOO_LARGE,
                           "the question of %zu bytes does not fit into a prompt of %u",
                           in->question.len, LIMIT_PROMPT_BYTES);
        return err_set(err, ERR_NO_MEMORY, "no memory left for the prompt");
    }
    p.tokens = tokens_estimate(buf_span(&p.text));
    *ret = p;
    return 0;
}

void prompt_done(struct prompt *p)
{
    buf_done(&p->text);
    mem_free(p->passages);
    *p = (struct prompt){0};
}
