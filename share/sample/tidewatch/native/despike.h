#ifndef TIDEWATCH_DESPIKE_H
#define TIDEWATCH_DESPIKE_H

#include <stddef.h>

/*
 * A Hampel filter over a short window of levels in metres. The newest level is a spike when it is further
 * from the window's median than DESPIKE_FACTOR scaled median deviations, and further than DESPIKE_MIN.
 */
#define DESPIKE_WINDOW_MAX 31
#define DESPIKE_FACTOR 3.0
#define DESPIKE_MIN 0.10 /* metres; waves in the stilling well stay below it */

struct despike_result {
    double level; /* the newest level, or the median in its place */
    int is_spike;
};

/* count is 1 to DESPIKE_WINDOW_MAX; fewer than 3 levels are never judged. 0, or -1 for a bad count. */
int despike(const double *levels, size_t count, struct despike_result *ret);

#endif
