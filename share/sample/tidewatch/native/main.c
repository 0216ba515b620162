/*
 * despike: reads levels, one a line, oldest first, and prints the newest with a mark:
 *     2.1340 good        2.1295 spike (the median in place of the level)
 * Exit status 2 for input that is not one to DESPIKE_WINDOW_MAX numbers.
 */
#include "despike.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int parse_level(const char *line, double *ret)
{
    char *end;

    errno = 0;
    *ret = strtod(line, &end);
    if (end == line || errno == ERANGE || !isfinite(*ret))
        return -1;
    while (*end == ' ' || *end == '\r' || *end == '\n')
        end++;
    return *end ? -1 : 0;
}

int main(void)
{
    double levels[DESPIKE_WINDOW_MAX];
    struct despike_result result;
    size_t count = 0;
    char line[64];

    while (fgets(line, sizeof line, stdin)) {
        if (count == DESPIKE_WINDOW_MAX) {
            fprintf(stderr, "despike: more than %d levels\n", DESPIKE_WINDOW_MAX);
            return 2;
        }
        if (parse_level(line, &levels[count]) < 0) {
            fprintf(stderr, "despike: line %zu is no level\n", count + 1);
            return 2;
        }
        count++;
    }
    if (despike(levels, count, &result) < 0) {
        fprintf(stderr, "despike: no levels\n");
        return 2;
    }
    printf("%.4f %s\n", result.level, result.is_spike ? "spike" : "good");
    return 0;
}
