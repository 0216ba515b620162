/* Promises of a tree's manifest: what was written reads back, what is damaged reads as nothing, and no memory is an error. */
#include "../cm.h"

#include "base/fault.h"
#include "fetch/clone_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int open_dir(char path[32])
{
    snprintf(path, 32, "/tmp/hw-manifest-XXXXXX");
    assert_non_null(mkdtemp(path));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void close_dir(int fd, const char *path)
{
    unlinkat(fd, "manifest", 0);
    unlinkat(fd, "manifest.new", 0);
    close(fd);
    assert_int_equal(rmdir(path), 0);
}

static int fill(struct manifest *m)
{
    manifest_init(m);
    snprintf(m->revision, sizeof m->revision, "%040d", 7);
    int r = manifest_add(m, SPAN_LIT("a b/c\n.md"), "0123456789012345678901234567890123456789");
    if (r == 0)
        r = manifest_add(m, SPAN_LIT("d"), "1123456789012345678901234567890123456789");
    return r == 0 ? manifest_skip(m, SPAN_LIT("link\tx"), CLONE_SKIP_SYMLINK) : r;
}

static void manifest_reads_back_what_was_written(void **state)
{
    (void)state;
    char path[32];
    int fd = open_dir(path);
    struct manifest m, back;
    assert_int_equal(fill(&m), 0);
    assert_int_equal(manifest_write(fd, &m, NULL), 0);
    manifest_init(&back);
    assert_int_equal(manifest_read(fd, &back, NULL), 0);
    assert_string_equal(back.revision, m.revision);
    assert_int_equal(back.files.count, 2);
    assert_string_equal(map_get(&back.files, SPAN_LIT("a b/c\n.md")),
                        "0123456789012345678901234567890123456789");
    assert_int_equal(back.skipped_count, 1);
    assert_string_equal(back.skipped[0].path, "link\tx");
    assert_string_equal(back.skipped[0].reason, CLONE_SKIP_SYMLINK);
    manifest_done(&m);
    manifest_done(&back);
    close_dir(fd, path);
}

static void manifest_that_is_damaged_is_none(void **state)
{
    (void)state;
    static const struct span texts[] = {
        SPAN_INIT(""),
        SPAN_INIT("headwater-tree 1 abc"),
        SPAN_INIT("headwater-tree 2 abc\0"),
        SPAN_INIT("headwater-tree 1 abc\0nospace\0"),
        SPAN_INIT("headwater-tree 1 abc\0! unknown reason\tx\0"),
        SPAN_INIT("headwater-tree 1 abc\0id path\0id pa"),
    };
    char path[32];
    int fd = open_dir(path);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct manifest m;
        int file = openat(fd, "manifest", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(write(file, texts[i].ptr, texts[i].len), texts[i].len);
        close(file);
        manifest_init(&m);
        assert_int_equal(manifest_read(fd, &m, NULL), 0);
        assert_string_equal(m.revision, "");
        assert_int_equal(m.files.count, 0);
        manifest_done(&m);
    }
    close_dir(fd, path);
}

static void manifest_survives_every_failing_allocation(void **state)
{
    (void)state;
    char path[32];
    int fd = open_dir(path);
    bool touched = true;
    for (uint64_t n = 1; touched && n < 200; n++) {
        struct manifest m, back;
        struct err err = {0};
        manifest_init(&back);
        fault_arm(FAULT_ALLOC, n, 0);
        int r = fill(&m);
        if (r == 0)
            r = manifest_write(fd, &m, &err);
        if (r == 0)
            r = manifest_read(fd, &back, &err);
        fault_disarm();
        touched = r < 0;
        assert_true(r == 0 || r == -ERR_NO_MEMORY);
        manifest_done(&m);
        manifest_done(&back);
    }
    assert_false(touched);
    close_dir(fd, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifest_reads_back_what_was_written),
        cmocka_unit_test(manifest_that_is_damaged_is_none),
        cmocka_unit_test(manifest_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
