#include "ingest/language.h"

#define LEX_C (LEX_SLASH | LEX_BLOCK)

/* Endings are unique across the table; names win over endings. */
static const struct {
    struct language language;
    const char *endings, *names, *interpreters; /* lists, a space after each item */
} table[] = {
    {{"text", CHUNK_PROSE, SCAN_NONE, 0, NULL},
     "txt text log ",
     "README LICENSE COPYING AUTHORS NEWS CHANGES ChangeLog INSTALL TODO NOTICE ",
     ""},
    {{"c", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_CHAR | LEX_PREPROC, "c"}, "c h ", "", ""},
    {{"cpp", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_CHAR | LEX_PREPROC | LEX_CPP, "cpp"},
     "cc cpp cxx c++ hh hpp hxx h++ ipp tpp inl cu cuh ino ",
     "",
     ""},
    {{"objective-c", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_CHAR | LEX_PREPROC, NULL},
     "m mm ",
     "",
     ""},
    {{"java", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_CHAR | LEX_TRIPLE, "java"}, "java ", "", ""},
    {{"csharp", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_CHAR | LEX_PREPROC | LEX_AT_STRING | LEX_TRIPLE,
      "cs"},
     "cs csx ",
     "",
     ""},
    {{"javascript", CHUNK_CODE, SCAN_BRACE,
      LEX_C | LEX_SQUOTE | LEX_TEMPLATE | LEX_REGEX | LEX_NO_SEMI, NULL},
     "js mjs cjs jsx es6 ",
     "",
     "node nodejs deno bun "},
    {{"typescript", CHUNK_CODE, SCAN_BRACE,
      LEX_C | LEX_SQUOTE | LEX_TEMPLATE | LEX_REGEX | LEX_NO_SEMI, NULL},
     "ts mts cts tsx ",
     "",
     "ts-node tsx "},
    {{"vue", CHUNK_CODE, SCAN_PARTS, LEX_C, NULL}, "vue svelte astro ", "", ""},
    {{"go", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_CHAR | LEX_BACKTICK | LEX_NO_SEMI, "go"},
     "go ",
     "",
     ""},
    {{"rust", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_NESTED | LEX_RUST | LEX_MULTI, NULL},
     "rs ",
     "",
     "rust-script "},
    {{"swift", CHUNK_CODE, SCAN_BRACE,
      LEX_C | LEX_NESTED | LEX_TRIPLE | LEX_NO_SEMI | LEX_PAREN_CODE, NULL},
     "swift ",
     "",
     "swift "},
    {{"kotlin", CHUNK_CODE, SCAN_BRACE,
      LEX_C | LEX_NESTED | LEX_CHAR | LEX_TRIPLE | LEX_NO_SEMI | LEX_DOLLAR, NULL},
     "kt kts ",
     "",
     "kotlin "},
    {{"scala", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_NESTED | LEX_CHAR | LEX_TRIPLE | LEX_NO_SEMI,
      NULL},
     "scala sc sbt ",
     "",
     "scala "},
    {{"groovy", CHUNK_CODE, SCAN_BRACE,
      LEX_C | LEX_SQUOTE | LEX_TRIPLE | LEX_TRIPLE_SINGLE | LEX_NO_SEMI | LEX_DOLLAR, NULL},
     "groovy gradle gvy ",
     "Jenkinsfile ",
     "groovy "},
    {{"dart", CHUNK_CODE, SCAN_BRACE,
      LEX_C | LEX_SQUOTE | LEX_TRIPLE | LEX_TRIPLE_SINGLE | LEX_DOLLAR, NULL},
     "dart ",
     "",
     "dart "},
    {{"php", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_HASH | LEX_SQUOTE | LEX_MULTI | LEX_HEREDOC,
      "php"},
     "php phtml php5 inc ",
     "",
     "php "},
    {{"zig", CHUNK_CODE, SCAN_BRACE, LEX_SLASH | LEX_CHAR, NULL}, "zig ", "", ""},
    {{"d", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_CHAR | LEX_BACKTICK, NULL}, "d di ", "", ""},
    {{"solidity", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_SQUOTE, NULL}, "sol ", "", ""},
    {{"protobuf", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_SQUOTE, NULL}, "proto ", "", ""},
    {{"thrift", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_HASH | LEX_SQUOTE, NULL}, "thrift ", "", ""},
    {{"graphql", CHUNK_CODE, SCAN_BRACE, LEX_HASH | LEX_TRIPLE | LEX_NO_SEMI, NULL},
     "graphql gql graphqls ",
     "",
     ""},
    {{"terraform", CHUNK_CODE, SCAN_BRACE,
      LEX_C | LEX_HASH | LEX_NO_SEMI | LEX_HEREDOC | LEX_DOLLAR, NULL},
     "tf hcl tfvars nomad ",
     "",
     ""},
    {{"css", CHUNK_CODE, SCAN_NONE, LEX_BLOCK, NULL}, "css ", "", ""},
    {{"scss", CHUNK_CODE, SCAN_NONE, LEX_C, NULL}, "scss sass less styl ", "", ""},
    {{"glsl", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_PREPROC, NULL},
     "glsl vert frag comp geom tesc tese hlsl wgsl metal ",
     "",
     ""},
    {{"verilog", CHUNK_CODE, SCAN_NONE, LEX_C, NULL}, "v sv svh vh ", "", ""},
    {{"vala", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_CHAR | LEX_TRIPLE, NULL}, "vala vapi ", "", ""},
    {{"haxe", CHUNK_CODE, SCAN_BRACE, LEX_C | LEX_SQUOTE, NULL}, "hx ", "", ""},
    {{"awk", CHUNK_CODE, SCAN_BRACE, LEX_HASH | LEX_NO_SEMI, NULL}, "awk ", "", "awk gawk mawk "},
    {{"perl", CHUNK_CODE, SCAN_BRACE, LEX_HASH | LEX_SQUOTE | LEX_HEREDOC, NULL},
     "pl pm t pod ",
     "",
     "perl "},
    {{"r", CHUNK_CODE, SCAN_BRACE, LEX_HASH | LEX_SQUOTE | LEX_NO_SEMI, NULL},
     "r rmd ",
     ".Rprofile ",
     "Rscript "},
    {{"powershell", CHUNK_CODE, SCAN_BRACE, LEX_HASH | LEX_SQUOTE | LEX_NO_SEMI, NULL},
     "ps1 psm1 psd1 ",
     "",
     "pwsh "},
    {{"python", CHUNK_CODE, SCAN_INDENT, LEX_HASH | LEX_SQUOTE | LEX_TRIPLE | LEX_TRIPLE_SINGLE,
      "py"},
     "py pyi pyw pyx pxd wsgi ",
     "SConstruct SConscript wscript BUILD WORKSPACE ",
     "python python2 python3 pypy "},
    {{"starlark", CHUNK_CODE, SCAN_INDENT, LEX_HASH | LEX_SQUOTE | LEX_TRIPLE | LEX_TRIPLE_SINGLE,
      NULL},
     "bzl bazel star ",
     "BUCK Tiltfile ",
     ""},
    {{"nim", CHUNK_CODE, SCAN_INDENT, LEX_HASH | LEX_TRIPLE, NULL}, "nim nims ", "", ""},
    {{"gdscript", CHUNK_CODE, SCAN_INDENT, LEX_HASH | LEX_SQUOTE | LEX_TRIPLE, NULL},
     "gd ",
     "",
     ""},
    {{"coffeescript", CHUNK_CODE, SCAN_NONE, LEX_HASH, NULL}, "coffee ", "", "coffee "},
    {{"ruby", CHUNK_CODE, SCAN_END, LEX_HASH | LEX_SQUOTE | LEX_HEREDOC, NULL},
     "rb rake gemspec ru ",
     "Rakefile Gemfile Vagrantfile Podfile Brewfile Guardfile ",
     "ruby "},
    {{"crystal", CHUNK_CODE, SCAN_END, LEX_HASH, NULL}, "cr ", "", "crystal "},
    {{"elixir", CHUNK_CODE, SCAN_END, LEX_HASH | LEX_TRIPLE, NULL}, "ex exs ", "", "elixir "},
    {{"lua", CHUNK_CODE, SCAN_END, LEX_DASH | LEX_SQUOTE, NULL}, "lua ", "", "lua luajit "},
    {{"julia", CHUNK_CODE, SCAN_END, LEX_HASH | LEX_TRIPLE, NULL}, "jl ", "", "julia "},
    {{"matlab", CHUNK_CODE, SCAN_END, LEX_PERCENT, NULL}, "matlab ", "", "octave "},
    {{"fortran", CHUNK_CODE, SCAN_END, 0, NULL}, "f f90 f95 f03 f08 for ", "", ""},
    {{"ada", CHUNK_CODE, SCAN_END, LEX_DASH, NULL}, "adb ads ", "", ""},
    {{"vhdl", CHUNK_CODE, SCAN_NONE, LEX_DASH, NULL}, "vhd vhdl ", "", ""},
    {{"shell", CHUNK_CODE, SCAN_SHELL, LEX_HASH | LEX_SQUOTE | LEX_MULTI | LEX_HEREDOC, NULL},
     "sh bash zsh ksh bats ebuild ",
     ".bashrc .profile .zshrc .bash_profile configure.ac PKGBUILD ",
     "sh bash zsh ksh dash ash "},
    {{"fish", CHUNK_CODE, SCAN_END, LEX_HASH, NULL}, "fish ", "", "fish "},
    {{"batch", CHUNK_CODE, SCAN_NONE, 0, NULL}, "bat cmd ", "", ""},
    {{"make", CHUNK_CODE, SCAN_NONE, LEX_HASH, NULL},
     "mk mak make ",
     "Makefile makefile GNUmakefile Makefile.am Makefile.in ",
     "make "},
    {{"cmake", CHUNK_CODE, SCAN_NONE, LEX_HASH, NULL}, "cmake ", "CMakeLists.txt ", ""},
    {{"meson", CHUNK_CODE, SCAN_NONE, LEX_HASH, NULL},
     "",
     "meson.build meson_options.txt meson.options ",
     ""},
    {{"dockerfile", CHUNK_CODE, SCAN_NONE, LEX_HASH, NULL},
     "dockerfile containerfile ",
     "Dockerfile Containerfile ",
     ""},
    {{"nix", CHUNK_CODE, SCAN_NONE, LEX_HASH | LEX_BLOCK, NULL}, "nix ", "", ""},
    {{"sql", CHUNK_CODE, SCAN_SQL, LEX_DASH | LEX_BLOCK | LEX_SQUOTE | LEX_MULTI, NULL},
     "sql ddl dml psql pgsql plsql ",
     "",
     ""},
    {{"haskell", CHUNK_CODE, SCAN_NONE, LEX_DASH, NULL}, "hs lhs ", "", "runhaskell "},
    {{"elm", CHUNK_CODE, SCAN_NONE, LEX_DASH, NULL}, "elm ", "", ""},
    {{"ocaml", CHUNK_CODE, SCAN_NONE, 0, NULL}, "ml mli ", "", "ocaml "},
    {{"fsharp", CHUNK_CODE, SCAN_NONE, LEX_SLASH, NULL}, "fs fsi fsx ", "", ""},
    {{"erlang", CHUNK_CODE, SCAN_NONE, LEX_PERCENT, NULL}, "erl hrl ", "rebar.config ", "escript "},
    {{"clojure", CHUNK_CODE, SCAN_NONE, LEX_SEMI, NULL}, "clj cljs cljc edn ", "", "clojure bb "},
    {{"lisp", CHUNK_CODE, SCAN_NONE, LEX_SEMI, NULL},
     "lisp cl el scm rkt ss ",
     ".emacs ",
     "sbcl guile racket "},
    {{"pascal", CHUNK_CODE, SCAN_NONE, LEX_SLASH, NULL}, "pas pp dpr ", "", ""},
    {{"assembly", CHUNK_CODE, SCAN_NONE, LEX_HASH | LEX_SEMI | LEX_SLASH, NULL},
     "s asm nasm ",
     "",
     ""},
    {{"tcl", CHUNK_CODE, SCAN_NONE, LEX_HASH, NULL}, "tcl tk ", "", "tclsh wish "},
    {{"vim", CHUNK_CODE, SCAN_END, 0, NULL}, "vim ", ".vimrc ", ""},
    {{"prolog", CHUNK_CODE, SCAN_NONE, LEX_PERCENT, NULL}, "pro prolog ", "", "swipl "},
    {{"yacc", CHUNK_CODE, SCAN_NONE, LEX_C, NULL}, "y yy l ll g4 ", "", ""},
    {{"template", CHUNK_CODE, SCAN_NONE, 0, NULL},
     "erb ejs hbs mustache j2 jinja jinja2 tmpl tpl liquid pug haml twig ",
     "",
     ""},
    {{"autoconf", CHUNK_CODE, SCAN_NONE, LEX_HASH, NULL}, "ac m4 am ", "", ""},
    {{"diff", CHUNK_DATA, SCAN_NONE, 0, NULL}, "diff patch ", "", ""},
    {{"html", CHUNK_PROSE, SCAN_PARTS, 0, NULL}, "html htm xhtml ", "", ""},
    {{"markdown", CHUNK_PROSE, SCAN_MARKDOWN, 0, NULL}, "md markdown mdx mkd mdown qmd ", "", ""},
    {{"rst", CHUNK_PROSE, SCAN_RST, 0, NULL}, "rst rest ", "", ""},
    {{"asciidoc", CHUNK_PROSE, SCAN_ASCIIDOC, 0, NULL}, "adoc asciidoc ", "", ""},
    {{"org", CHUNK_PROSE, SCAN_ORG, 0, NULL}, "org ", "", ""},
    {{"tex", CHUNK_PROSE, SCAN_TEX, LEX_PERCENT, NULL}, "tex ltx sty cls bib ", "", ""},
    {{"roff", CHUNK_PROSE, SCAN_NONE, 0, NULL}, "1 2 3 4 5 6 7 8 9 man mdoc ", "", ""},
    {{"json", CHUNK_DATA, SCAN_NONE, 0, NULL},
     "json jsonc json5 geojson webmanifest jsonl ndjson ",
     ".babelrc .eslintrc .prettierrc composer.json ",
     ""},
    {{"notebook", CHUNK_CODE, SCAN_NONE, LEX_HASH | LEX_SQUOTE | LEX_TRIPLE | LEX_TRIPLE_SINGLE,
      NULL},
     "ipynb ",
     "",
     ""},
    {{"yaml", CHUNK_DATA, SCAN_NONE, LEX_HASH, NULL},
     "yaml yml cff ",
     ".clang-format .clang-tidy ",
     ""},
    {{"toml", CHUNK_DATA, SCAN_NONE, LEX_HASH, NULL}, "toml ", "Pipfile ", ""},
    {{"ini", CHUNK_DATA, SCAN_NONE, LEX_HASH | LEX_SEMI, NULL},
     "ini cfg conf properties service socket timer desktop editorconfig ",
     ".gitconfig .editorconfig .npmrc .flake8 ",
     ""},
    {{"xml", CHUNK_DATA, SCAN_NONE, 0, NULL},
     "xml xsd xsl xslt wsdl plist csproj fsproj vbproj props targets pom resx ui xaml rss ",
     "",
     ""},
    {{"csv", CHUNK_DATA, SCAN_NONE, 0, NULL}, "csv tsv psv ", "", ""},
    {{"po", CHUNK_DATA, SCAN_NONE, LEX_HASH, NULL}, "po pot ", "", ""},
};

static bool list_has(const char *list, struct span item, bool fold)
{
    struct span rest = span_str(list), word;
    while (item.len && span_next(&rest, ' ', &word))
        if (word.len == item.len && (fold ? span_eq_nocase(word, item) : span_eq(word, item)))
            return true;
    return false;
}

/* "#!/usr/bin/env -S python3.11 -x" → "python3.11", then "python3" and "python" by the caller. */
static struct span interpreter(struct span text)
{
    struct span line, word = SPAN_NULL;
    if (!span_starts(text, SPAN_LIT("#!")) || !span_next(&text, '\n', &line))
        return SPAN_NULL;
    line = span_trim(span_skip(line, 2));
    while (span_next(&line, ' ', &word)) {
        ptrdiff_t slash = span_rfind_char(word, '/');
        word = span_trim(span_skip(word, (size_t)(slash + 1)));
        if (word.len && word.ptr[0] != '-' && !span_is(word, "env") &&
            span_find_char(word, '=') < 0)
            return word;
    }
    return SPAN_NULL;
}

static const struct language *by_shebang(struct span text)
{
    struct span name = interpreter(text);
    while (name.len) {
        for (size_t i = 0; i < ARRAY_LEN(table); i++)
            if (list_has(table[i].interpreters, name, false))
                return &table[i].language;
        char last = name.ptr[name.len - 1];
        if (last != '.' && !(last >= '0' && last <= '9'))
            break;
        name.len--;
    }
    return NULL;
}

/* A header that only C++ can read: the name does not tell. */
static bool looks_like_cpp(struct span text)
{
    static const struct span signs[] = {SPAN_INIT("\nnamespace "), SPAN_INIT("\nclass "),
                                        SPAN_INIT("\ntemplate"), SPAN_INIT("\nusing "),
                                        SPAN_INIT("\n#include <string>")};
    struct span head = span_first(text, 64u << 10);
    for (size_t i = 0; i < ARRAY_LEN(signs); i++)
        if (span_find(head, signs[i]) >= 0)
            return true;
    return false;
}

static const struct language *refine(const struct language *l, struct span ending, struct span text)
{
    if (span_is(ending, "h") && looks_like_cpp(text))
        return language_named(SPAN_LIT("cpp"));
    if (span_is(ending, "m") && !memchr(text.ptr ? text.ptr : "", '{', text.len))
        return language_named(SPAN_LIT("matlab"));
    return l;
}

const struct language *language_of(struct span path, struct span text)
{
    ptrdiff_t slash = span_rfind_char(path, '/');
    struct span name = span_skip(path, (size_t)(slash + 1));
    ptrdiff_t dot = span_rfind_char(name, '.');
    struct span stem = dot > 0 ? span_first(name, (size_t)dot) : name;
    struct span ending = dot >= 0 ? span_skip(name, (size_t)dot + 1) : SPAN_NULL;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (list_has(table[i].names, name, false))
            return &table[i].language;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (list_has(table[i].endings, ending, true))
            return refine(&table[i].language, ending, text);
    const struct language *l = by_shebang(text);
    /* Dockerfile.dev, README.old: the part before the unknown ending speaks. */
    for (size_t i = 0; !l && i < ARRAY_LEN(table); i++)
        if (list_has(table[i].names, stem, false))
            l = &table[i].language;
    return l ? l : &table[0].language;
}

const struct language *language_named(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (span_is(name, table[i].language.name))
            return &table[i].language;
    return NULL;
}

const struct language *language_at(size_t i)
{
    return i < ARRAY_LEN(table) ? &table[i].language : NULL;
}
