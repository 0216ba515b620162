/* Any bytes as a chat request: decoded or refused in both forms, with valid JSON and UTF-8 coming back. */
#include "api/validate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    size_t offset;
    struct buf out = BUF_INIT(1u << 22);
    struct json_writer w = json_writer(&out);
    json_t *root = json_read(span_of((const char *)data, size), &err, &offset);
    if (!root) {
        chat_syntax_json(err.msg, offset, &out);
    } else {
        struct chat_fields f;
        int r = chat_decode(root, &f);
        if (r == -ERR_INVALID) {
            chat_issues_text(&f, &out);
            buf_clear(&out);
            chat_issues_json(&f, &out);
        } else {
            if (r == 0)
                chat_fields_trim(&f); /* what the fields point at stays */
            jw_arr(&w);
            for (size_t i = 0; i < (r == 0 ? f.turn_count : 0); i++)
                jw_span(&w, f.turns[i].content);
            jw_span(&w, f.repo_url);
            jw_span(&w, f.language);
            jw_end_arr(&w);
        }
        chat_fields_done(&f);
    }
    json_t *again = buf_failed(&out) ? NULL : json_read(buf_span(&out), &err, NULL);
    if (!again && !buf_failed(&out))
        __builtin_trap();
    json_decref(again);
    buf_done(&out);
    return 0;
}
