/*
 * Runs a fuzz target over files and directories named on the command line, so that each corpus is also an
 * ordinary test with any compiler. The empty input is always tried.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return -1;
    }
    size_t cap = 1u << 22;
    uint8_t *copy = malloc(cap);
    size_t n = copy ? fread(copy, 1, cap, f) : 0;
    uint8_t *exact = malloc(n ? n : 1); /* exact size, so that a sanitizer sees one byte too far */
    for (size_t i = 0; exact && i < n; i++)
        exact[i] = copy[i];
    if (exact)
        (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    free(copy);
    fclose(f);
    return 1;
}

static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        perror(path);
        return -1;
    }
    if (!S_ISDIR(st.st_mode))
        return run_file(path);
    DIR *d = opendir(path);
    int count = 0;
    struct dirent *e;
    while (d && (e = readdir(d))) {
        char child[4096];
        if (e->d_name[0] == '.')
            continue;
        snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        int r = run_path(child);
        if (r > 0)
            count += r;
    }
    if (d)
        closedir(d);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        int r = run_path(argv[i]);
        if (r < 0)
            return 1;
        count += r;
    }
    printf("%d inputs\n", count);
    return argc > 1 && count == 0; /* an empty corpus tests nothing */
}
