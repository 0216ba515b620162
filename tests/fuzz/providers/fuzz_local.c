/* A question (first line), then passages separated by a zero byte: sound Markdown, exact quotes, whatever they hold. */
#include "../../unit/providers/local_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const languages[] = {"c", "markdown", "python", "", "html", "lua", "shell"};
    static const char *const paths[] = {"src/a.c",  "README.md", "b.py",  "notes",
                                        "x y.html", "a`b.lua",   "run.sh"};
    struct chat_passage p[7];
    size_t count = 0;
    if (size < 2 || size > 16384)
        return 0;
    struct span rest = span_of((const char *)data + 1, size - 1), question, text;
    if (!span_next(&rest, '\n', &question))
        return 0;
    while (count < ARRAY_LEN(p) && span_next(&rest, '\0', &text)) {
        uint32_t lines = lines_count(text);
        p[count] =
            (struct chat_passage){.path = span_str(paths[count]),
                                  .symbol = span_first(text, count % 2 ? utf8_cut(text, 5) : 0),
                                  .language = span_str(languages[(count + data[0]) % 7]),
                                  .text = text,
                                  .start_line = 1 + data[0] % 9,
                                  .score = 1};
        p[count].end_line = p[count].start_line + (lines ? lines - 1 : 0);
        count++;
    }
    struct chat_request r = {.question = question,
                             .passages = p,
                             .passage_count = count,
                             .language = data[0] % 2 ? "ru" : "en",
                             .research_round = data[0] / 16 % 7,
                             .model = "local"};
    struct answer a = {0};
    struct chat_usage usage;
    if (answer_run(&a, &r, &usage, NULL) < 0)
        abort();
    const char *fault = answer_fault(&r, buf_span(&a.text));
    if (fault && utf8_is_valid(span_of((const char *)data + 1, size - 1))) {
        fprintf(stderr, "%s:\n%s\n", fault, buf_str(&a.text));
        abort();
    }
    buf_done(&a.text);
    return 0;
}
