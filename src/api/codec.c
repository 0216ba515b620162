/* Events → bytes: two dialects in the framings of each transport. Stateless, shared by all readers. */
#include "api/codec.h"

#include "base/json.h"
#include "net/server.h"

#include <stdio.h>

#define EVENT_TEXT_MAX (4u << 20)

void deliver_error_text(struct span payload, struct buf *out)
{
    json_t *e = json_read(payload, NULL, NULL);
    const char *message = json_str(e, "message", "the answer failed"),
               *hint = json_str(e, "hint", "");
    const char *text = json_str(e, "text", "");
    if (text[0]) { /* the protocol's own words for this failure */
        buf_puts(out, text);
        json_decref(e);
        return;
    }
    bool preparing = strcmp(json_str(e, "phase", ""), "prepare") == 0;
    buf_puts(out, preparing ? "Error preparing retriever: " : "\nError: ");
    buf_puts(out, message);
    if (hint[0]) {
        buf_puts(out, ". ");
        buf_puts(out, hint);
    }
    json_decref(e);
}

/* The plain text of an event; false when the dialect does not carry it. */
static bool event_text(const struct stream_event *event, struct buf *error, struct span *ret)
{
    if (event->type == STREAM_TOKEN) {
        *ret = event->payload;
        return event->payload.len > 0;
    }
    if (event->type == STREAM_RESET) { /* what was sent cannot be taken back: it is said instead */
        *ret = SPAN_LIT("\n\n[The model's connection failed. The answer begins again:]\n\n");
        return true;
    }
    if (event->type != STREAM_ERROR)
        return false;
    deliver_error_text(event->payload, error);
    *ret = buf_span(error);
    return !buf_failed(error);
}

static void put_chunk(struct buf *out, struct span data)
{
    buf_printf(out, "%zx\r\n", data.len);
    buf_put_span(out, data);
    buf_puts(out, "\r\n");
}

static void text_ws(const struct stream_event *event, struct buf *out)
{
    struct buf error = BUF_INIT(EVENT_TEXT_MAX);
    struct span text;
    if (event_text(event, &error, &text)) {
        ws_frame_header(out, 1, text.len);
        buf_put_span(out, text);
    }
    buf_done(&error);
}

static void text_chunked(const struct stream_event *event, struct buf *out)
{
    struct buf error = BUF_INIT(EVENT_TEXT_MAX);
    struct span text;
    if (event_text(event, &error, &text))
        put_chunk(out, text);
    buf_done(&error);
}

static void text_raw(const struct stream_event *event, struct buf *out)
{
    struct buf error = BUF_INIT(EVENT_TEXT_MAX);
    struct span text;
    if (event_text(event, &error, &text))
        buf_put_span(out, text);
    buf_done(&error);
}

static void put_data(struct buf *out, const struct stream_event *event)
{
    if (event->type == STREAM_TOKEN) {
        buf_puts(out, "{\"text\":");
        json_put_string(out, event->payload);
        buf_putc(out, '}');
    } else {
        buf_put_span(out, event->payload);
    }
}

static void put_sse(struct buf *out, const struct stream_event *event)
{
    buf_puts(out, "id: ");
    buf_put_u64(out, event->seq);
    buf_puts(out, "\nevent: ");
    buf_puts(out, stream_event_name(event->type));
    buf_puts(out, "\ndata: ");
    put_data(out, event);
    buf_puts(out, "\n\n");
}

static void native_raw(const struct stream_event *event, struct buf *out)
{
    put_sse(out, event);
}

static void native_chunked(const struct stream_event *event, struct buf *out)
{
    struct buf sse = BUF_INIT(EVENT_TEXT_MAX * 2);
    put_sse(&sse, event);
    if (buf_failed(&sse))
        out->failed = true;
    else
        put_chunk(out, buf_span(&sse));
    buf_done(&sse);
}

/*
 * Written once, into `out`: this is done for every token. The header's room is what the longest takes with the NUL that a
 * buf puts after it; the JSON moves up to it. An event that does not fit fails `out`, like everywhere.
 */
static void native_ws(const struct stream_event *event, struct buf *out)
{
    static const char room[WS_FRAME_HEADER_MAX + 1];
    size_t at = out->len;
    buf_put(out, room, sizeof room);
    buf_puts(out, "{\"id\":");
    buf_put_u64(out, event->seq);
    buf_puts(out, ",\"event\":\"");
    buf_puts(out, stream_event_name(event->type));
    buf_puts(out, "\",\"data\":");
    put_data(out, event);
    buf_putc(out, '}');
    if (buf_failed(out))
        return;
    size_t json = at + sizeof room, len = out->len - json;
    out->len = at;
    ws_frame_header(out, 1, len); /* within the room: cannot fail */
    memmove(out->ptr + out->len, out->ptr + json, len);
    out->len += len;
    out->ptr[out->len] = 0;
}

static void gate(const struct stream_event *event, struct buf *out)
{
    if (event->type == STREAM_TOKEN || event->type == STREAM_DONE) {
        buf_putc(out, 'T');
    } else if (event->type == STREAM_ERROR) {
        /* A provider's failure is told in the text, after 200 (deepwiki.md §10 row 9). */
        bool preparing = span_find(event->payload, SPAN_LIT("\"phase\":\"prepare\"")) >= 0;
        buf_putc(out, preparing ? 'E' : 'T');
        if (!preparing)
            return;
        buf_put_span(out, event->payload);
    }
}

const struct stream_codec codec_text_ws = {"text-ws", text_ws, true};
const struct stream_codec codec_text_chunked = {"text-chunked", text_chunked, true};
const struct stream_codec codec_text_raw = {"text-raw", text_raw, true};
const struct stream_codec codec_native_ws = {"native-ws", native_ws, true};
const struct stream_codec codec_native_chunked = {"native-chunked", native_chunked, true};
const struct stream_codec codec_native_raw = {"native-raw", native_raw, true};
const struct stream_codec codec_gate = {"gate", gate, false};
