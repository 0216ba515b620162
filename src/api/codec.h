#pragma once
/* The codecs of api/deliver.h, one for each dialect and framing. Thread: any. */
#include "api/deliver.h"

extern const struct stream_codec codec_text_ws;      /* WebSocket text frames */
extern const struct stream_codec codec_text_chunked; /* HTTP/1.1 chunks */
extern const struct stream_codec codec_text_raw;     /* HTTP/1.0 body */
extern const struct stream_codec codec_native_ws;
extern const struct stream_codec codec_native_chunked; /* one SSE event a chunk */
extern const struct stream_codec codec_native_raw;
extern const struct stream_codec
    codec_gate; /* 'T' for text or the end, 'E' and the payload for an error */
