#pragma once
/* Files of the web page, compiled into the program by tools/embed.py. Thread: any. */
#include <stddef.h>

struct asset {
    const char *name, *content_type, *etag;
    const unsigned char *bytes;
    size_t len;
};
extern const struct asset assets[];
extern const size_t asset_count;
