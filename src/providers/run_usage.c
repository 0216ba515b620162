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

void usage_add_attempt(struct run *r)
{
    struct attempt *a = &r->now;
    /*
     * Figures sent before the end (Anthropic starts with 1) are too low when the rest was cut off: only a finished answer's
     * stand against our own count, which need not be made then.
     */
    bool is_told = a->has_figures && a->completion_tokens && a->has_finish;
    if (is_told)
        buf_clear(&a->uncounted);
    else
        count_piece(a);
    if (!a->is_accepted && !a->has_figures)
        return; /* refused or never reached: nothing was read, nothing is charged */
    uint64_t prompt = a->prompt_tokens, completion = a->completion_tokens;
    if (!prompt) {
        prompt = tokens_estimate(span_of(r->prompt, r->prompt_len));
        r->is_estimate = true;
    }
    if (!is_told && a->estimated > completion) {
        completion = a->estimated;
        r->is_estimate = true;
    }
    r->prompt_sum += prompt;
    r->completion_sum += completion;
    a->is_accepted = a->has_figures = false;
    a->estimated = 0;
}

struct chat_usage usage_total(const struct run *r, const char *finish)
{
    const struct provider_price *p = &r->model.price;
    double cost = p->is_known ? ((double)r->prompt_sum * p->input_per_million +
                                 (double)r->completion_sum * p->output_per_million) /
                                    1e6
                              : 0;
    return (struct chat_usage){.prompt_tokens = r->prompt_sum,
                               .completion_tokens = r->completion_sum,
                               .cost = cost,
                               .is_estimate = r->is_estimate,
                               .finish = finish};
}
