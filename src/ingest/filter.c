#include "ingest/filter.h"

#include <ctype.h>

#define HEAD_LINES_COUNT 40
#define HEAD_BYTES (8u << 10)
#define MINIFIED_MIN_BYTES 4096
#define MINIFIED_LINE_BYTES 500 /* mean length of a line in what no person wrote */

static bool in_list(const char *list, struct span word)
{
    struct span rest = span_str(list), item;
    while (word.len && span_next(&rest, ' ', &item))
        if (item.len == word.len && span_eq_nocase(item, word))
            return true;
    return false;
}

const char *filter_is_vcs(struct span name)
{
    return in_list(".git .hg .svn .bzr _darcs CVS .jj .fossil", name) ? "version control data"
                                                                      : NULL;
}

struct dir_rule {
    const char *names;
    const char *markers; /* any of them has to be there; NULL: the name is enough */
    const char *reason;
};

static const char *judge(const struct dir_rule *rules, size_t count, struct span name,
                         const void *dir, filter_has_fn has)
{
    for (size_t i = 0; i < count; i++) {
        if (rules[i].names && !in_list(rules[i].names, name))
            continue;
        struct span rest = span_str(rules[i].markers), marker;
        if (!rules[i].markers)
            return rules[i].reason;
        while (span_next(&rest, ' ', &marker)) {
            char z[64];
            if (marker.len >= sizeof z)
                continue;
            memcpy(z, marker.ptr, marker.len);
            z[marker.len] = '\0';
            if (has(dir, z))
                return rules[i].reason;
        }
    }
    return NULL;
}

const char *filter_directory(struct span name, const void *parent, filter_has_fn parent_has)
{
    static const struct dir_rule rules[] = {
        {"node_modules bower_components jspm_packages .venv .virtualenv .tox .nox .eggs .bundle "
         ".yarn "
         ".pnpm-store .pnp site-packages elm-stuff",
         NULL, "third-party dependencies"},
        {"Pods", "Podfile", "third-party dependencies"},
        {"Carthage", "Cartfile", "third-party dependencies"},
        {"deps", "mix.exs", "third-party dependencies"},
        {"__pycache__ .mypy_cache .pytest_cache .ruff_cache .ipynb_checkpoints .cache "
         ".parcel-cache "
         ".turbo .gradle .sass-cache .nyc_output .terraform .serverless .hypothesis .pytype "
         ".eslintcache "
         "htmlcov .dart_tool .ccls-cache .clangd .angular .npm",
         NULL, "a cache"},
        {".next .nuxt .svelte-kit .output .stack-work dist-newstyle zig-cache .zig-cache zig-out "
         "DerivedData .docusaurus .vercel .netlify",
         NULL, "build output"},
        {".idea .vs .settings .history .metals .bloop", NULL, "an editor's own data"},
        {"dist", "package.json setup.py setup.cfg pyproject.toml bower.json", "build output"},
        {"build", "setup.py build.gradle build.gradle.kts pubspec.yaml settings.gradle",
         "build output"},
        {"out", "build.gradle package.json", "build output"},
        {"target", "Cargo.toml pom.xml build.sbt project.clj", "build output"},
        {"bin obj", "*.csproj *.fsproj *.vbproj", "build output"},
        {"_build", "mix.exs rebar.config dune-project conf.py", "build output"},
        {".build", "Package.swift", "build output"},
        {"coverage", "package.json", "a coverage report"},
    };
    if (span_ends(name, SPAN_LIT(".egg-info")) || span_ends(name, SPAN_LIT(".dist-info")))
        return "package metadata";
    return judge(rules, ARRAY_LEN(rules), name, parent, parent_has);
}

const char *filter_directory_inside(struct span name, const void *self, filter_has_fn self_has)
{
    static const struct dir_rule rules[] = {
        {NULL, "pyvenv.cfg", "third-party dependencies"},
        {NULL, "CACHEDIR.TAG", "a cache or build output"},
        {NULL, "CMakeCache.txt .ninja_log", "build output"},
        {"vendor", "modules.txt autoload.php", "third-party dependencies"},
    };
    return judge(rules, ARRAY_LEN(rules), name, self, self_has);
}

static const char *by_ending(struct span ending)
{
    static const struct {
        const char *endings, *reason;
    } table[] = {
        {"png jpg jpeg gif bmp ico tif tiff webp avif heic svg psd ai eps xcf raw cr2 icns cur",
         "an image"},
        {"mp3 wav ogg flac m4a aac wma mid midi opus", "audio"},
        {"mp4 mov avi mkv webm wmv flv m4v mpg mpeg", "video"},
        {"ttf otf woff woff2 eot pfb fon", "a font"},
        {"zip tar gz tgz bz2 xz zst 7z rar lz4 lzma br jar war ear whl egg gem deb rpm apk ipa dmg "
         "iso "
         "crate nupkg cab msi",
         "an archive"},
        {"exe dll so dylib a o obj lib ko class pyc pyo wasm bin elf pdb beam rlib rmeta node dex "
         "gch "
         "pch nib swiftmodule",
         "compiled"},
        {"db sqlite sqlite3 mdb parquet arrow feather npy npz pkl pickle h5 hdf5 onnx pt pth "
         "safetensors "
         "gguf tflite pb ckpt rdb",
         "a data or model file"},
        {"pdf doc docx xls xlsx ppt pptx odt ods odp epub mobi", "a document, which is not source"},
        {"pem key p12 pfx jks keystore kdbx asc gpg pgp", "may hold secrets"},
        {"lock lockb", "a lock file"},
        {"swp swo bak orig rej tmp", "a left-over of an editor or merge"},
        {"log", "a log"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (in_list(table[i].endings, ending))
            return table[i].reason;
    return NULL;
}

const char *filter_file(struct span name)
{
    static const struct span minified[] = {
        SPAN_INIT(".min.js"),    SPAN_INIT(".min.css"),  SPAN_INIT(".min.mjs"),
        SPAN_INIT(".min.cjs"),   SPAN_INIT("-min.js"),   SPAN_INIT(".min.html"),
        SPAN_INIT(".bundle.js"), SPAN_INIT(".chunk.js"),
    };
    static const struct span generated[] = {
        SPAN_INIT(".pb.go"),  SPAN_INIT("_pb2.py"),       SPAN_INIT("_pb2_grpc.py"),
        SPAN_INIT(".pb.cc"),  SPAN_INIT(".pb.h"),         SPAN_INIT("_pb.js"),
        SPAN_INIT(".g.dart"), SPAN_INIT(".freezed.dart"), SPAN_INIT(".designer.cs"),
        SPAN_INIT(".g.cs"),
    };
    static const struct span maps[] = {SPAN_INIT(".js.map"), SPAN_INIT(".css.map"),
                                       SPAN_INIT(".mjs.map"), SPAN_INIT(".cjs.map"),
                                       SPAN_INIT(".ts.map")};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        if (span_ends(name, maps[i]))
            return "a source map";
    for (size_t i = 0; i < ARRAY_LEN(minified); i++)
        if (span_ends(name, minified[i]))
            return "minified";
    for (size_t i = 0; i < ARRAY_LEN(generated); i++)
        if (span_ends(name, generated[i]))
            return "generated";
    if (in_list("package-lock.json npm-shrinkwrap.json pnpm-lock.yaml go.sum packages.lock.json "
                "gradle.lockfile Package.resolved .terraform.lock.hcl bun.lockb",
                name))
        return "a lock file";
    if (in_list(".DS_Store Thumbs.db desktop.ini .gitkeep .keep", name))
        return "housekeeping of other tools";
    if (in_list("id_rsa id_dsa id_ecdsa id_ed25519 .env .netrc .pgpass .htpasswd", name))
        return "may hold secrets";
    if (span_starts(name, SPAN_LIT(".env.")) &&
        !in_list("example sample template dist test", span_skip(name, 5)))
        return "may hold secrets";
    ptrdiff_t dot = span_rfind_char(name, '.');
    return dot < 0 ? NULL : by_ending(span_skip(name, (size_t)dot + 1));
}

static bool is_comment_line(struct span line)
{
    static const struct span marks[] = {SPAN_INIT("//"), SPAN_INIT("/*"),   SPAN_INIT("*"),
                                        SPAN_INIT("#"),  SPAN_INIT("--"),   SPAN_INIT(";"),
                                        SPAN_INIT("%"),  SPAN_INIT("<!--"), SPAN_INIT("\"\"\""),
                                        SPAN_INIT("(*"), SPAN_INIT("{-"),   SPAN_INIT("'")};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (span_starts(line, marks[i]))
            return true;
    return false;
}

static bool has(struct span line, const char *what)
{
    return span_find_nocase(line, span_str(what)) >= 0;
}

/* The conventions of the tools that write code: one comment line near the top says so. */
static bool says_generated(struct span line)
{
    ptrdiff_t at = span_find(line, SPAN_LIT("@generated"));
    if (at >= 0) {
        struct span after = span_skip(line, (size_t)at + 10);
        bool opened_by_word = at > 0 && (isalnum((unsigned char)line.ptr[at - 1]) ||
                                         strchr("`\"'", line.ptr[at - 1]));
        if (!opened_by_word && (!after.len || !isalnum((unsigned char)after.ptr[0])))
            return true;
    }
    if (has(line, "<auto-generated"))
        return true;
    if (has(line, "generated") && (has(line, "do not edit") || has(line, "do not modify") ||
                                   has(line, "don't edit") || has(line, "do not change")))
        return true;
    return has(line, "generated by gnu autoconf") ||
           has(line, "generated automatically by aclocal") || has(line, "generated by automake") ||
           has(line, "generated by cython") || has(line, "a bison parser, made by") ||
           has(line, "generated by protoc") || has(line, "automatically generated by swig") ||
           has(line, "generated by flex");
}

static bool is_generated(struct span text)
{
    struct span head = span_first(text, HEAD_BYTES), line;
    for (int n = 0; n < HEAD_LINES_COUNT && span_next(&head, '\n', &line); n++) {
        line = span_trim(line);
        if (line.len >= 10 && line.len < 400 && is_comment_line(line) && says_generated(line))
            return true;
    }
    return false;
}

static bool is_minified(struct span text)
{
    size_t lines = 1;
    for (const char *p = text.ptr, *end = p + text.len;
         (p = memchr(p, '\n', (size_t)(end - p))) != NULL && ++p < end;)
        lines++;
    return text.len / lines > MINIFIED_LINE_BYTES;
}

const char *filter_content(struct span text, struct span language)
{
    if (!span_trim(text).len)
        return "empty";
    if (in_list("markdown rst asciidoc org text json notebook csv tex roff po", language))
        return NULL;
    if (is_generated(text))
        return "generated";
    if (text.len >= MINIFIED_MIN_BYTES &&
        in_list("javascript css typescript scss html", language) && is_minified(text))
        return "generated (minified)";
    return NULL;
}
