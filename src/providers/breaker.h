#pragma once
/*
 * Health of endpoints, shared by the runs of all loops: who may be tried now. Per endpoint a
 * circuit breaker and a cooling time.
 *
 *            BREAKER_FAILURES in a row                  cooldown over, one run asks
 *   CLOSED ───────────────────────────────▶ OPEN ──────────────────────────────────▶ HALF_OPEN
 *     ▲                                       ▲                                         │  │
 *     │                                       └──────────── the probe fails ────────────┘  │
 *     └──────────────────────────────── any success ──────────────────────────────────────┘
 *
 * A run that tried the endpoint before it opened is an insider: it may go on within its own retry
 * budget, and its success closes the breaker early. Leaving an endpoint out serves those who have
 * another one: a run that has none asks as one without choice and is let in. Cooling (Retry-After)
 * holds for everybody.
 * Times are the caller's clock, in milliseconds. Thread: any.
 */
#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum breaker_verdict {
    BREAKER_GO,
    BREAKER_PROBE,   /* go, and report by _success, _failure or _release: others wait for it */
    BREAKER_COOLING, /* the provider asked to wait: *ret_wait_ms */
    BREAKER_OUT,     /* left out: *ret_wait_ms until the next probe, 0 when one is under way */
};

enum breaker_asker { BREAKER_NEWCOMER, BREAKER_INSIDER, BREAKER_WITHOUT_CHOICE };

struct breaker;
/* failures and cooldown_ms as in run.h. 0 or -ERR_NO_MEMORY. */
int breaker_new(unsigned failures, uint64_t cooldown_ms, struct breaker **ret) MUST_CHECK;
void breaker_free(struct breaker *b);

/*
 * May `endpoint` (an address, only compared) be used? Takes the probe when the answer is
 * BREAKER_PROBE.
 */
enum breaker_verdict breaker_ask(struct breaker *b, const void *endpoint, enum breaker_asker asker,
                                 uint64_t now_ms, uint64_t *ret_wait_ms);
void breaker_success(struct breaker *b, const void *endpoint);
/* True when this failure opened the breaker. */
bool breaker_failure(struct breaker *b, const void *endpoint, uint64_t now_ms);
void breaker_cool(struct breaker *b, const void *endpoint, uint64_t until_ms);
/* A probe that ended without a verdict (cancelled): the next run may probe. */
void breaker_release(struct breaker *b, const void *endpoint);
