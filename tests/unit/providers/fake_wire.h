#pragma once
/*
 * A wire format of lines, so that tests of a run do not depend on a provider's:
 *   t:text   r:reasoning   u:prompt:completion[:cached:cache_write:reasoning]   f:finish   e:class:message   .  (end; without it
 *   the answer was cut)
 */
#include "providers/wire.h"

extern const struct wire_format fake_wire;
