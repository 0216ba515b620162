"""Each lint fails on a tree with the fault it is for, at the right place, and passes on a good one."""
import contextlib
import io
import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import banned
import common
import format as layout
import headers
import hosts
import layers
import length
import licence
import links
import operations
import scripts
import spelling

GOOD = {
    "LICENSE": common.read(common.ROOT, "LICENSE"),
    ".clang-format": common.read(common.ROOT, ".clang-format"),
    "meson.build": "project('x', 'c',\n  license: 'Apache-2.0')\n",
    "src/LAYERS": "# table\nbase:\nnet: base\n",
    "src/base/mem.h": "#pragma once\n/* Memory. */\nvoid *mem_try(unsigned long size);\n",
    "src/base/mem_priv.h": "#pragma once\n/* Inside of memory. */\nextern int mem_count;\n",
    "src/base/mem.c": "#include \"base/mem.h\"\n#include <stdlib.h>\n\nvoid *mem_try(unsigned long size)\n"
                      "{\n    return malloc(size); /* the one place, see TODOS */\n}\n",
    "src/net/conn.h": "#pragma once\n/* A connection. */\n#include \"base/mem.h\"\n",
    "src/net/conn.c": "#include \"net/conn.h\"\n\nint conn_find(const char *strcpy_me)\n{\n"
                      "    return strcpy_me[0] == '\"'; /* strcpy( in a comment */\n}\n",
    "README.md": "# Good tree\n\n[layers](src/LAYERS) [top](#good-tree) `[no](link.md)` [web](https://example.org/x)\n",
    "package-lock.json": "{\n  \"packages\": {\"a\": {\"integrity\": \"sha512-x\"}}\n}\n",
}


class LintTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        for name, text in GOOD.items():
            self.put(name, text)

    def put(self, name, text):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def found(self, lint):
        with contextlib.redirect_stderr(io.StringIO()):
            return common.findings(lint.check, self.root)

    def assert_found(self, lint, path, line, part):
        hits = [f for f in self.found(lint) if f[0] == path and f[1] == line and part in f[2]]
        self.assertEqual(len(hits), 1, self.found(lint))

    def test_good_tree_passes_every_lint(self):
        for lint in (layers, headers, banned, length, layout, links, hosts, licence,
                     scripts, spelling):
            with self.subTest(lint=lint.__name__):
                self.assertEqual(self.found(lint), [])

    def test_report_prints_place_and_fails(self):
        self.put("src/base/up.c", "#include \"net/conn.h\"\n")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertFalse(common.report(layers.check, self.root))
        self.assertTrue(out.getvalue().startswith("src/base/up.c:1: "))

    def test_layers_refuses_an_include_upward(self):
        self.put("src/base/up.c", "\n#include \"net/conn.h\"\n")
        self.assert_found(layers, "src/base/up.c", 2, "may not include 'net'")

    def test_layers_refuses_anothers_private_header(self):
        self.put("src/net/x.c", "#include \"base/mem_priv.h\"\n")
        self.assert_found(layers, "src/net/x.c", 1, "private to 'base'")
        self.put("src/base/own.c", "#include \"base/mem_priv.h\"\n")
        self.assertEqual([f for f in self.found(layers) if f[0] == "src/base/own.c"], [])

    def test_layers_refuses_unknown_modules(self):
        self.put("src/zeta/z.c", "int z;\n")
        self.put("src/net/y.c", "#include \"zeta/z.h\"\n")
        self.assert_found(layers, "src/zeta/z.c", 1, "not in src/LAYERS")
        self.assert_found(layers, "src/net/y.c", 1, "not a module")

    def test_layers_refuses_escape_by_relative_path(self):
        self.put("src/net/y.c", "#include \"../base/mem.h\"\n")
        self.assert_found(layers, "src/net/y.c", 1, "leaves the module")

    def test_layers_refuses_a_cycle_in_the_table(self):
        self.put("src/LAYERS", "base: net\nnet: base\n")
        self.assert_found(layers, "src/LAYERS", 1, "not listed before")

    def test_headers_must_compile_alone(self):
        self.put("src/net/bad.h", "#pragma once\n/* Bad. */\n\nsize_t net_len(void);\n")
        self.assert_found(headers, "src/net/bad.h", 4, "does not compile alone")

    def test_headers_start_with_pragma_and_comment(self):
        self.put("src/net/a.h", "/* A. */\n#pragma once\n")
        self.put("src/net/b.h", "#pragma once\nint b;\n")
        self.assert_found(headers, "src/net/a.h", 1, "#pragma once")
        self.assert_found(headers, "src/net/b.h", 2, "comment")

    def test_banned_calls(self):
        for name in ("strcpy", "strcat", "strncpy", "strncat", "sprintf", "vsprintf", "strtok", "atoi",
                     "atol", "gets", "alloca"):
            with self.subTest(name=name):
                self.put("src/net/x.c", f"int x;\nint y = {name} (x);\n")
                self.assert_found(banned, "src/net/x.c", 2, f"{name} is banned")

    def test_banned_memory_outside_mem_c(self):
        for name in ("malloc", "calloc", "realloc", "free"):
            with self.subTest(name=name):
                self.put("src/net/x.c", f"int x;\nint y = {name}(x);\n")
                self.assert_found(banned, "src/net/x.c", 2, "outside base/mem.c")
        self.put("src/net/x.c", "int y = ops->free(x) + ops.free(x) + mem_free(x);\n")
        self.assertEqual(self.found(banned), [])

    def test_banned_attribute_outside_attr_h(self):
        self.put("src/base/attr.h", "#define A __attribute__((cold))\n")
        self.put("src/base/hash.c", "__attribute__((target(\"sse4.2\"))) int a;\n")
        self.assertEqual(self.found(banned), [])
        self.put("src/net/x.c", "__attribute__((cold)) int a;\n")
        self.assert_found(banned, "src/net/x.c", 1, "attr.h")

    def test_banned_sql_outside_store(self):
        text = "const char *q = \"SELECT a FROM b\";\n"
        self.put("src/store/q.c", text)
        self.assertEqual(self.found(banned), [])
        self.put("src/net/q.c", text)
        self.put("src/net/s.c", "#include <sqlite3.h>\n")
        self.assert_found(banned, "src/net/q.c", 1, "SQL outside")
        self.assert_found(banned, "src/net/s.c", 1, "SQLite outside")

    def test_banned_reminders_line_comments_and_tabs(self):
        self.put("src/net/x.c", "int a; // why\n\tint b;\n/* TO" "DO: c */\nchar *u = \"http://x\";\n")
        self.assert_found(banned, "src/net/x.c", 1, "// comment")
        self.assert_found(banned, "src/net/x.c", 2, "tab")
        self.assert_found(banned, "src/net/x.c", 3, "NEEDSWORK")
        self.assertEqual(len(self.found(banned)), 3)
        self.put("src/net/x.c", "char *names[] = {\"TO" "DO\", \"README\"};\n/* a\n   FIX" "ME */\n")
        self.put("tools/x.py", "a = 'TO" "DO' # fine\nb = 1 # TO" "DO: c\n")
        self.assert_found(banned, "src/net/x.c", 3, "NEEDSWORK")
        self.assert_found(banned, "tools/x.py", 2, "NEEDSWORK")
        self.assertEqual(len(self.found(banned)), 2)

    def test_exempt_line_needs_a_reason(self):
        self.put("src/net/x.c", "int y = atoi(x); /* lint-ok: given by the kernel */\n")
        self.assertEqual(self.found(banned), [])
        self.put("src/net/x.c", "int y = atoi(x); /* lint-ok: */ int z = 1;\n")
        self.put("src/net/x.c", "int y = atoi(x); /* lint-ok */\n")
        self.assertEqual(len(self.found(banned)), 1)

    def test_length_of_functions(self):
        def body(n):
            return "int f(int a,\n      int b)\n{\n" + "    a++;\n" * (n - 2) + "}\n"
        self.put("src/net/x.c", body(60))
        self.assertEqual(self.found(length), [])
        self.put("src/net/x.c", body(61))
        self.assert_found(length, "src/net/x.c", 3, "warning: f() has 61")
        self.put("src/net/x.c", body(101))
        self.assert_found(length, "src/net/x.c", 3, "f() has 101 lines, more")

    def test_length_of_files(self):
        self.put("src/net/x.c", "int a;\n" * 801)
        self.assert_found(length, "src/net/x.c", 1, "warning: the file")
        self.put("src/net/x.c", "int a;\n" * 1001)
        self.assert_found(length, "src/net/x.c", 1, "the file has 1001 lines, more")

    @unittest.skipUnless(layout.version() == 14, "clang-format 14 is not installed")
    def test_format_finds_wrong_indent(self):
        self.put("src/net/x.c", "int f(void)\n{\n  return 1;\n}\n")
        self.assert_found(layout, "src/net/x.c", 2, "make fmt")

    def test_links_must_exist(self):
        self.put("docs/a.md", "x\n[a](gone.md)\n[b](../README.md#nowhere)\n[c](../README.md#good-tree)\n"
                              "```\n[d](gone.md)\n```\n[e](../../out.md)\n\n[ref]: gone-too.md\n")
        self.assert_found(links, "docs/a.md", 2, "does not exist")
        self.assert_found(links, "docs/a.md", 3, "no heading")
        self.assert_found(links, "docs/a.md", 8, "out of the checkout")
        self.assert_found(links, "docs/a.md", 10, "does not exist")
        self.assertEqual(len(self.found(links)), 4)

    def test_hosts_refuses_registries_paths_and_resolved(self):
        self.put("a.txt", "x\nhttps://registry.npm" "js.org/ws\n")
        self.put("b.sh", f"cd {self.root}\n")
        self.put("web/package-lock.json", "{\n  \"resolved\": \"https://example.org/a.tgz\"\n}\n")
        self.assert_found(hosts, "a.txt", 2, "package registry")
        self.assert_found(hosts, "b.sh", 1, "absolute path")
        self.assert_found(hosts, "web/package-lock.json", 2, "resolved")

    def test_licence_must_be_whole_and_the_same_everywhere(self):
        self.put("web/package.json", "{\n  \"license\": \"MIT\"\n}\n")
        self.assert_found(licence, "web/package.json", 2, "MIT")
        self.put("LICENSE", GOOD["LICENSE"].replace("royalty-free", "royalty-laden"))
        self.assert_found(licence, "LICENSE", 1, "unchanged text")
        os.unlink(os.path.join(self.root, "LICENSE"))
        self.assert_found(licence, "LICENSE", 1, "missing")

    def test_scripts_must_parse_and_be_executable(self):
        self.put("dev/a", "#!/bin/bash\nif true\n")
        self.put("dev/b.py", "x = 1\ndef f(:\n")
        self.put("dev/c", "echo\n")
        os.chmod(os.path.join(self.root, "dev/c"), 0o755)
        self.assert_found(scripts, "dev/a", 1, "not executable")
        self.assert_found(scripts, "dev/a", 1, "does not parse")
        self.assert_found(scripts, "dev/b.py", 2, "does not parse")
        self.assert_found(scripts, "dev/c", 1, "does not start with #!")

    def test_hosts_path_of_checkout_is_told_from_longer_ones(self):
        self.put("b.sh", f"cd {self.root}-other; cd x{self.root}; cd /app\n")
        self.assertEqual(self.found(hosts), [])
        self.assertIsNone(hosts.own_path("/app").search("src/app/x /app/x"))

    @unittest.skipUnless(shutil.which("codespell"), "codespell is not installed")
    def test_spelling_finds_a_known_mistake(self):
        self.put("docs/a.md", "x\n" "We rec" "ieve it.\n")
        self.assert_found(spelling, "docs/a.md", 2, "receive")


class OperationsTest(unittest.TestCase):
    LIMITS = ("#define LIMIT_A (64u << 10) /* of a */\n#define LIMIT_B \\\n    (2u * LIMIT_A) /* of b,\n two lines */\n"
              "#define TIMEOUT_C_MS 1500 /* waits */\n#define LIMIT_E_US 100 /* a pause */\n#define LIMIT_D_COUNT 1000 /* many */\n")
    METRICS = "METRIC_COUNTER(\"hw_\"\n \"x_total\",\n \"Things\" \" done\"),\nMETRIC_TIMES(\"hw_s\", \"Long\", b)\n"
    DOC = ("<!-- metrics: from the source -->\n| metric | kind | what |\n|---|---|---|\n| `hw_s` | histogram | Long |\n"
           "| `hw_x_total` | counter | Things done |\n<!-- end of metrics -->\n<!-- limits: from the source -->\n"
           "| bound | value | of what, and past it |\n|---|---|---|\n| `LIMIT_A` | 64 KiB | of a |\n"
           "| `LIMIT_B` | 128 KiB | of b, two lines |\n| `TIMEOUT_C_MS` | 1.5 s | waits |\n"
           "| `LIMIT_E_US` | 0.1 ms | a pause |\n"
           "| `LIMIT_D_COUNT` | 1,000 | many |\n<!-- end of limits -->\n")

    def found(self, doc, limits):
        with tempfile.TemporaryDirectory() as root:
            for name, text in (("docs/operations.md", doc), ("src/base/limits.h", limits), ("src/net/m.c", self.METRICS)):
                os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
                with open(os.path.join(root, name), "w", encoding="utf-8") as f:
                    f.write(text)
            return [message for _, _, message in operations.check(root)]

    def test_good(self):
        self.assertEqual(self.found(self.DOC, self.LIMITS), [])

    def test_a_changed_value_a_missing_row_and_a_row_too_many(self):
        self.assertIn("`LIMIT_A` | 128 KiB", self.found(self.DOC, self.LIMITS.replace("64u", "128u"))[0])
        self.assertIn("hw_s", self.found(self.DOC.replace("| `hw_s` | histogram | Long |\n", ""), self.LIMITS)[0])
        self.assertIn("not in the source", self.found(self.DOC.replace("|\n<!-- end of l", "|\n| `X` |\n<!-- end of l"), self.LIMITS)[0])

    def test_a_bound_without_words(self):
        self.assertIn("no comment", self.found(self.DOC.replace("| many |", "|  |"), self.LIMITS.replace(" /* many */", ""))[0])


if __name__ == "__main__":
    unittest.main()
