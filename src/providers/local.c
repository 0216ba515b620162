#include "providers/local_priv.h"

#include "base/mem.h"
#include "text/tokens.h"

static size_t prompt_tokens(const struct chat_request *request)
{
    if (request->prompt.len)
        return tokens_estimate(request->prompt);
    size_t sum = tokens_estimate(request->question);
    for (size_t i = 0; i < request->passage_count; i++)
        sum += tokens_estimate(request->passages[i].text);
    return sum;
}

static int prepare(struct local *l)
{
    size_t count = l->request->passage_count;
    l->part_count = count < LIMIT_LOCAL_PASSAGES_COUNT ? count : LIMIT_LOCAL_PASSAGES_COUNT;
    words_read(&l->words, l->request->question);
    if (l->part_count == 0)
        return 0;
    l->parts = mem_try_array(l->part_count, sizeof *l->parts);
    l->order = mem_try_array(l->part_count, sizeof *l->order);
    if (!l->parts || !l->order)
        return -ERR_NO_MEMORY;
    int r = blocks_cut(l);
    if (r < 0)
        return r;
    rank_all(l);
    return 0;
}

static void finish(struct local *l)
{
    mem_free(l->parts);
    mem_free(l->order);
    mem_free(l->units);
    mem_free(l->clean);
    mem_free(l->cited);
    mem_free(l);
}

static int answer(struct local *l)
{
    if (l->request->research_round > 0)
        return research_answer(l);
    if (l->part_count == 0)
        compose_nothing(l);
    else
        compose_plain(l);
    return 0;
}

int local_chat(const struct chat_request *request, const struct chat_sink *sink,
               struct chat_usage *ret_usage, struct err *err)
{
    struct local_out out = {.sink = sink, .cancel = request->cancel, .line_end = '\n'};
    *ret_usage = (struct chat_usage){
        .prompt_tokens = prompt_tokens(request), .is_estimate = true, .finish = "stop"};
    struct local *l = mem_try(sizeof *l);
    if (!l)
        return err_set(err, ERR_NO_MEMORY, "local answer: no memory left");
    l->request = request;
    l->texts = local_texts(request->language);
    l->out = &out;
    int r = prepare(l);
    if (r == 0)
        r = answer(l);
    finish(l);
    ret_usage->completion_tokens = out.tokens;
    if (r == -ERR_NO_MEMORY)
        return err_set(err, ERR_NO_MEMORY, "local answer: no memory left for %zu passages",
                       request->passage_count);
    if (out.failed == -ERR_CANCELLED)
        return err_set(err, ERR_CANCELLED, "local answer: stopped");
    if (out.failed)
        return err_set(err, (enum err_code) - out.failed,
                       "local answer: the reader refused more text");
    return r;
}
