#include "despike.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Makes the median absolute deviation of normal noise its standard deviation. */
#define MAD_SCALE 1.4826

static int compare_levels(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts its argument. */
static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_levels);
    if (count % 2)
        return values[count / 2];
    return (values[count / 2 - 1] + values[count / 2]) / 2.0;
}

int despike(const double *levels, size_t count, struct despike_result *ret)
{
    double sorted[DESPIKE_WINDOW_MAX], deviation[DESPIKE_WINDOW_MAX];

    if (count < 1 || count > DESPIKE_WINDOW_MAX)
        return -1;
    double newest = levels[count - 1];
    ret->level = newest;
    ret->is_spike = 0;
    if (count < 3)
        return 0;

    memcpy(sorted, levels, count * sizeof *levels);
    double middle = median(sorted, count);
    for (size_t i = 0; i < count; i++)
        deviation[i] = fabs(levels[i] - middle);
    double spread = MAD_SCALE * median(deviation, count);

    double distance = fabs(newest - middle);
    if (distance > DESPIKE_MIN && distance > DESPIKE_FACTOR * spread) {
        ret->level = middle;
        ret->is_spike = 1;
    }
    return 0;
}
