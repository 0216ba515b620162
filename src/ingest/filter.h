#pragma once
/*
 * What is left out without being asked: by name (directories of version control, dependencies, caches and build
 * outputs; lock files, media, archives, compiled files, secrets) and by content (generated, minified).
 * Judged with care where a name may also hold source:
 *   dist, build, out, target, bin, obj, vendor, env  only next to (or holding) the file of the tool that makes them,
 *     e.g. target beside Cargo.toml or pom.xml, bin and obj beside a .csproj, vendor with modules.txt in it;
 *   any directory with CACHEDIR.TAG, pyvenv.cfg, CMakeCache.txt or .ninja_log in it is an output, whatever its name.
 * A negated pattern in an ignore file ("!dist/") overrides all of these but version control. Pure. Thread: any.
 */
#include "base/span.h"

/* Says whether a directory holds a file of that name; "*.x" asks for an ending. */
typedef bool (*filter_has_fn)(const void *dir, const char *name);

/* NULL, or the reason (a static sentence). Directories of version control: never entered. */
const char *filter_is_vcs(struct span name);
/* `parent` holds the directory, `self` is the directory. */
const char *filter_directory(struct span name, const void *parent, filter_has_fn parent_has);
const char *filter_directory_inside(struct span name, const void *self, filter_has_fn self_has);
const char *filter_file(struct span name);
/* By decoded content; `language` as in ingest.h. */
const char *filter_content(struct span text, struct span language);
