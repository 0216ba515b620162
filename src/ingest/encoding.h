#pragma once
/*
 * Bytes of a file → valid UTF-8, or the reason why they are not text. Recognised: UTF-8 (with or without a
 * byte order mark, which is dropped), UTF-16 with a mark, and, when UTF-8 fails, Windows-1252 (of which
 * Latin-1's printable part is a subset) if the bytes look like it. A few damaged sequences in what is
 * otherwise UTF-8 become U+FFFD. Pure. Thread: any.
 */
#include "base/buf.h"

/*
 * NULL: *ret is the text, a view of `bytes` when nothing had to change, else of `out` (cleared first).
 * Otherwise why not, as a static sentence; "not enough memory" when out's maximum or the memory was hit.
 */
const char *encoding_decode(struct span bytes, struct buf *out, struct span *ret);

bool encoding_is_utf8(struct span s);
/* Appends s; what is not UTF-8 becomes U+FFFD, a byte at a time. */
void encoding_put_lossy(struct buf *out, struct span s);
/* Largest n <= max that does not cut a character of valid UTF-8. */
size_t encoding_cut(struct span s, size_t max);
