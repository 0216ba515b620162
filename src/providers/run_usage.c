#include "providers/run_priv.h"

#include "text/tokens.h"

/*
 * The text is kept in pieces so that an estimate does not depend on how the provider cut its
 * deltas.
 */
#define ESTIMATE_PIECE (64u << 10)

static void count_piece(struct attempt *a)
{
    a->estimated += tokens_estimate(buf_span(&a->uncounted));
    buf_clear(&a->uncounted);
}

void usage_text(struct attempt *a, struct span text)
{
    if (a->uncounted.len + text.len > ESTIMATE_PIECE)
        count_piece(a);
    if (text.len > ESTIMATE_PIECE)
        a->estimated += tokens_estimate(text);
    else
        buf_put_span(&a->uncounted, text);
    if (buf_failed(&a->uncounted)) { /* no memory: piece by piece is near enough */
        buf_clear(&a->uncounted);
        a->estimated += tokens_estimate(text);
    }
}

static void keep(uint64_t *to, uint64_t said)
{
    if (said)
        *to = said;
}

void usage_told(struct attempt *a, const struct wire_event *e)
{
    keep(&a->figures.prompt, e->prompt_tokens);
    keep(&a->figures.completion, e->completion_tokens);
    keep(&a->figures.cached, e->cached_tokens);
    keep(&a->figures.cache_write, e->cache_write_tokens);
    keep(&a->figures.reasoning, e->reasoning_tokens);
}

static uint64_t at_most(uint64_t part, uint64_t whole)
{
    return part < whole ? part : whole;
}

static void add(struct figures *sum, const struct figures *f)
{
    uint64_t cached = at_most(f->cached, f->prompt);
    sum->prompt += f->prompt;
    sum->completion += f->completion;
    sum->cached += cached;
    sum->cache_write += at_most(f->cache_write, f->prompt - cached);
    sum->reasoning += at_most(f->reasoning, f->completion);
}

void usage_add_attempt(struct run *r)
{
    struct attempt *a = &r->now;
    /*
     * Figures sent before the end (Anthropic starts with 1) are too low when the rest was cut off: only a finished answer's
     * stand against our own count, which need not be made then.
     */
    bool is_told = a->has_figures && a->figures.completion && a->has_finish;
    if (is_told)
        buf_clear(&a->uncounted);
    else
        count_piece(a);
    if (!a->is_accepted && !a->has_figures)
        return; /* refused or never reached: nothing was read, nothing is charged */
    struct figures f = a->figures;
    if (!f.prompt) {
        f.prompt = tokens_estimate(span_of(r->prompt, r->prompt_len));
        r->is_estimate = true;
    }
    if (!is_told && a->estimated > f.completion) {
        f.completion = a->estimated;
        r->is_estimate = true;
    }
    add(&r->sum, &f);
    a->is_accepted = a->has_figures = false;
    a->estimated = 0;
}

static double cost_of(const struct figures *f, const struct provider_price *p)
{
    if (!p->is_known)
        return 0;
    return ((double)(f->prompt - f->cached - f->cache_write) * p->input_per_million +
            (double)f->cached * p->cached_per_million +
            (double)f->cache_write * p->cache_write_per_million +
            (double)f->completion * p->output_per_million) /
           1e6;
}

struct chat_usage usage_total(const struct run *r, const char *finish)
{
    return (struct chat_usage){.prompt_tokens = r->sum.prompt,
                               .completion_tokens = r->sum.completion,
                               .cached_tokens = r->sum.cached,
                               .cache_write_tokens = r->sum.cache_write,
                               .reasoning_tokens = r->sum.reasoning,
                               .cost = cost_of(&r->sum, &r->model.price),
                               .is_estimate = r->is_estimate,
                               .finish = finish};
}
