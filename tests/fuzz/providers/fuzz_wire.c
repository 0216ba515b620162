/*
 * Any bytes as the answer of one wire format (FORMAT): whole and in pieces whose size the first byte chooses, the same
 * events. For the binary format a first byte over 127 makes each line a message with right checksums, since chance never would.
 */
#include "../../unit/providers/wire_trace.h"
#include "base/bug.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_lines(struct buf *out, struct span s)
{
    static const char *const names[] = {"contentBlockDelta", "messageStop", "metadata", "x"};
    struct span line;
    for (size_t i = 0; span_next(&s, '\n', &line); i++) {
        unsigned kind = line.len ? (unsigned char)line.ptr[0] : 0;
        bool is_event = kind % 8 != 0;
        trace_put_frame(out, is_event ? "event" : "exception",
                        is_event ? ":event-type" : ":exception-type",
                        span_str(names[kind % ARRAY_LEN(names)]), span_skip(line, 1));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct buf framed = BUF_INIT(16u << 20);
    struct span s = span_of((const char *)data + 1, size - 1);
    if (span_is(span_str(FORMAT.name), "bedrock") && data[0] > 127) {
        put_lines(&framed, s);
        s = buf_span(&framed);
    }
    size_t step = 1u + data[0] % 13u;
    struct replay whole = trace_replay(&FORMAT, s, SIZE_MAX, SIZE_MAX);
    struct replay cut = trace_replay(&FORMAT, s, step, step);
    BUG_ON(whole.result != cut.result || !span_eq(buf_span(&whole.out), buf_span(&cut.out)));
    replay_done(&whole);
    replay_done(&cut);
    buf_done(&framed);
    return 0;
}
