"""Promises of the commands as people and scripts meet them: the program against a fake server.

Argument: the program, linked with the tests' runtime.
"""
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fake_server  # noqa: E402

PROGRAM = None
TEXT = "It starts in `src/main.c#L1-L9`, grüßt\x1b[31m and ends."


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="hw")
        self.data = os.path.join(self.dir.name, "d")
        os.mkdir(self.data)
        self.server = fake_server.start(os.path.join(self.data, "headwater.sock"))
        self.env = {"HOME": self.dir.name, "PATH": os.environ["PATH"], "HEADWATER_DATA": self.data}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]

    def tearDown(self):
        fake_server.stop(self.server)
        self.dir.cleanup()

    def run_it(self, *words, code=0, **env):
        r = subprocess.run([PROGRAM, *words], capture_output=True, timeout=60, env={**self.env, **env},
                           cwd=self.dir.name)
        out, err = r.stdout.decode(), r.stderr.decode()
        self.assertEqual(r.returncode, code, f"stdout: {out}\nstderr: {err}")
        return out, err

    def start_it(self, *words, **more):
        p = subprocess.Popen([PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                                env=self.env, cwd=self.dir.name, **more)
        self.addCleanup(self.end, p)
        return p

    @staticmethod
    def end(p):
        if p.poll() is None:
            p.kill()
            p.communicate()

    def posts(self, path):
        return [r for r in self.server.requests if r[:2] == ("POST", path)]


class Ask(Case):
    def test_prints_text_and_the_sources_that_the_text_lacks(self):
        out, err = self.run_it("ask", "demo", "where?")
        self.assertEqual(out, TEXT + "\n\nSources:\n  [2] src/old.c#L3-L4  stale\n")
        self.assertEqual(err, "search 50%: looking\nanswer\n")

    def test_sends_the_documented_request(self):
        self.run_it("ask", "demo", "where?", "--provider", "p", "--model", "m", "--language", "de", "-k", "3")
        _, _, headers, body = self.posts("/v1/answers")[0]
        self.assertEqual(body, {"repo_url": "demo", "messages": [{"role": "user", "content": "where?"}],
                                "type": "local", "provider": "p", "model": "m", "language": "de", "k": 3})
        self.assertEqual(headers["Accept"], "text/event-stream")

    def test_sends_an_existing_path_as_absolute_one(self):
        os.mkdir(os.path.join(self.dir.name, "repo"))
        self.run_it("ask", "./repo/../repo", "where?")
        self.assertEqual(self.posts("/v1/answers")[0][3]["repo_url"],
                         os.path.join(os.path.realpath(self.dir.name), "repo"))

    def test_json_is_one_object_with_the_fixed_fields(self):
        out, err = self.run_it("ask", "demo", "where?", "--json", "--quiet")
        r = json.loads(out)
        self.assertEqual(err, "")
        self.assertEqual(list(r), ["answer", "citations", "usage", "provider", "stream_id"])
        self.assertEqual(r["answer"], TEXT)
        self.assertEqual(r["citations"][0], {"path": "src/main.c", "start": 1, "end": 9, "revision": "r1",
                                             "state": "verified"})
        self.assertEqual((r["usage"]["completion_tokens"], r["provider"], r["stream_id"]), (5, "local", "st-1"))

    def test_quiet_shows_no_progress(self):
        self.assertEqual(self.run_it("ask", "demo", "where?", "-q")[1], "")

    def test_a_problem_is_said_in_words_with_a_hint(self):
        out, err = self.run_it("ask", "missing", "where?", code=1)
        self.assertEqual(out, "")
        self.assertEqual(err, "headwater: no such source: 'missing' is not indexed\n"
                              "hint: headwater index missing\n")

    def test_an_answer_that_is_no_json_is_an_error(self):
        self.assertIn("answered with status 502", self.run_it("ask", "html", "where?", code=1)[1])

    def test_a_failing_stream_keeps_its_text_and_fails(self):
        out, err = self.run_it("ask", "failing", "where?", "-q", code=1)
        self.assertEqual(out, "It starts in `src/main.c#L1-L9`\n")
        self.assertEqual(err, "headwater: cannot answer: the provider refused\nhint: set a key\n")

    def test_a_failing_stream_prints_no_json(self):
        self.assertEqual(self.run_it("ask", "failing", "where?", "-q", "--json", code=1)[0], "")

    def test_a_closed_pipe_is_an_error_and_no_signal(self):
        with open("/dev/full", "w") as full:
            r = subprocess.run([PROGRAM, "ask", "demo", "where?", "-q"], stdout=full, stderr=subprocess.PIPE,
                               env=self.env, timeout=60)
        self.assertEqual(r.returncode, 1)
        self.assertIn(b"cannot write to standard output", r.stderr)

    def test_on_a_terminal_progress_is_rewritten_and_controls_are_replaced(self):
        master, slave = pty.openpty()
        p = subprocess.Popen([PROGRAM, "ask", "demo", "where?"], stdout=slave, stderr=slave, env=self.env)
        self.assertEqual(p.wait(60), 0)
        os.close(slave)
        shown = os.read(master, 65536).decode()
        os.close(master)
        self.assertIn("\r\x1b[Ksearch 50%: looking\r\x1b[Kanswer\r\x1b[KIt starts", shown)
        self.assertIn("grüßt?[31m and", shown)


class Resume(Case):
    def full(self, scenario):
        out, err = self.run_it("ask", scenario, "where?", "-q")
        self.assertTrue(out.startswith(TEXT + "\n\nSources:"), out)
        self.assertEqual(err, "")
        self.assertEqual(len(self.posts("/v1/answers")), 1)
        return [r[2].get("Last-Event-ID") for r in self.server.requests if r[0] == "GET"]

    def test_goes_on_behind_the_last_event_after_each_cut(self):
        self.assertEqual(self.full("cut"), ["3", "5", "7"])

    def test_goes_on_after_a_server_that_is_restarting(self):
        self.assertEqual(self.full("flaky"), ["3", "3", "5", "7"])

    def test_shows_repeated_events_once(self):
        self.full("overlap")

    def test_follows_a_stream_that_was_only_accepted(self):
        self.assertEqual(self.full("accepted"), [None])

    def test_gives_up_after_five_tries_and_says_which_stream(self):
        began = time.monotonic()
        _, err = self.run_it("ask", "lost", "where?", "-q", code=1)
        self.assertEqual(self.server.resumes, 5)
        self.assertIn("does not answer", err)
        self.assertIn("hint: the answer goes on at the server as stream st-1", err)
        self.assertGreater(time.monotonic() - began, 2.5)  # 0.1 + 0.2 + 0.4 + 0.8 + 1.6 s between them

    def test_a_stream_that_is_gone_is_an_error_at_once(self):
        self.assertIn("no such stream: it is not kept any more", self.run_it("ask", "gone", "w", code=1)[1])
        self.assertEqual(self.server.resumes, 1)

    def test_never_posts_twice(self):
        self.run_it("ask", "noid", "where?", code=1)
        self.assertEqual(len(self.posts("/v1/answers")), 1)

    def test_a_stream_id_that_leads_elsewhere_is_not_followed(self):
        self.run_it("ask", "hostile", "where?", code=1)
        self.assertEqual([r[:2] for r in self.server.requests], [("POST", "/v1/answers")])


class Memory(Case):
    def test_a_command_without_memory_does_all_of_its_work_or_fails_aloud(self):
        for words in (["ask", "demo", "w", "-q"], ["ask", "demo", "w", "--json", "-q"], ["sources"],
                      ["index", "demo", "--report", "--json", "-q"], ["search", "demo", "main"], ["help"], ["help", "--man"]):
            whole, codes = self.run_it(*words)[0], set()
            for nth in range(1, 75):
                r = subprocess.run([PROGRAM, *words], capture_output=True, timeout=60, cwd=self.dir.name,
                                   env={**self.env, "HEADWATER_FAULT": f"alloc:{nth}"})
                where = f"{words} alloc:{nth}: {r.stdout.decode()} {r.stderr.decode()}"
                codes.add(r.returncode)
                if r.returncode:
                    self.assertIn(r.returncode, (1, 2), where)
                    self.assertRegex(r.stderr, rb"(?m)^headwater: ", where)
                else:
                    self.assertEqual(r.stdout.decode(), whole, where)
            self.assertEqual(codes, {0, 1, 2}, words)


class Interrupt(Case):
    def wait_for_text(self, p):
        text = p.stdout.read(10)
        self.assertTrue(text)
        return text

    def test_once_stops_the_stream_and_waits_for_its_end(self):
        p = self.start_it("ask", "slow", "where?", "-q")
        begin = self.wait_for_text(p)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 130)
        self.assertEqual(begin + out, b"It starts in `src/main.c#L1-L9` cut\n")
        self.assertEqual(len(self.posts("/v1/streams/st-1/stop")), 1)
        self.assertIn(b"kept as stream st-1", err)

    def test_twice_leaves_at_once(self):
        p = self.start_it("ask", "deaf", "where?", "-q")
        self.wait_for_text(p)
        p.send_signal(signal.SIGINT)
        self.assertTrue(self.server.stopped.wait(10))
        began = time.monotonic()
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=30)
        self.assertEqual(p.returncode, 130)
        self.assertLess(time.monotonic() - began, 5)


    def test_ends_a_plain_request_at_once(self):
        p = self.start_it("search", "demo", "hang")
        deadline = time.monotonic() + 20
        while not self.posts("/v1/search") and time.monotonic() < deadline:
            time.sleep(0.01)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=20)
        self.assertEqual((p.returncode, err), (130, b"headwater: cannot search: interrupted\n"))

    def test_twice_does_not_wait_for_a_server_of_its_own(self):
        log = os.path.join(self.dir.name, "log")
        socket_path = os.path.join(self.data, "headwater.sock")
        self.env.update(FAKE_RUNTIME_LOG=log, FAKE_RUNTIME_SOCKET=socket_path, HEADWATER_DATA=self.dir.name)
        p = self.start_it("ask", "deaf", "where?", "-q")
        self.wait_for_text(p)
        p.send_signal(signal.SIGINT)
        self.assertTrue(self.server.stopped.wait(10))
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=30)
        self.assertEqual(p.returncode, 130)
        with open(log) as f:
            self.assertEqual(f.read(), "start\n")


class Index(Case):
    def test_prints_progress_and_a_summary(self):
        out, err = self.run_it("index", "demo")
        self.assertRegex(out, r"^indexed demo: 12 files, 34 passages, 56.8 KB, 3 skipped, "
                              r"revision 0123456789ab, in \d+\.\d s\n--report lists the skipped files\n$")
        self.assertEqual(err, "read 25%: 3 of 12 files\nwrite 100%\n")
        self.assertEqual(self.posts("/v1/sources")[0][3], {"source": "demo"})

    def test_report_pages_through_all_skipped_files(self):
        out, _ = self.run_it("index", "/demo-is-elsewhere", "--name", "demo", "--force", "--report", "-q")
        self.assertEqual(out.splitlines()[1:], [f"  f{i}.bin: binary" for i in range(3)])
        self.assertEqual(self.posts("/v1/sources")[0][3],
                         {"source": "/demo-is-elsewhere", "name": "demo", "force": True})

    def test_json_holds_source_and_skipped(self):
        r = json.loads(self.run_it("index", "demo", "--json", "--report", "-q")[0])
        self.assertEqual((r["source"]["chunks"], len(r["skipped"])), (34, 3))

    def test_a_refused_path_is_an_error(self):
        _, err = self.run_it("index", "bad", code=1)
        self.assertEqual(err, "headwater: path not allowed: the server may not read it\nhint: use --allow-path\n")

    def test_a_source_that_failed_is_an_error(self):
        self.server.sources = [{**fake_server.SOURCE, "state": "failed", "error": "no disk"}]
        self.assertIn("cannot index 'demo': no disk", self.run_it("index", "demo", "-q", code=1)[1])


class Search(Case):
    def test_prints_a_table(self):
        out, _ = self.run_it("search", "demo", "main", "-k", "4")
        self.assertEqual(out, " 1  0.750  a.c#L1-L3  main\n    | int main(void)\n    | {\n")
        self.assertEqual(self.posts("/v1/search")[0][3],
                         {"source": "demo", "query": "main", "k": 4, "explain": False})

    def test_explains(self):
        out, _ = self.run_it("search", "demo", "main", "--explain")
        self.assertTrue(out.endswith("    because: main 1.500, int 0.250\n"))

    def test_json_is_what_the_server_said(self):
        self.assertEqual(json.loads(self.run_it("search", "demo", "main", "--json")[0])["hits"][0]["score"], 0.75)

    def test_nothing_found_says_why(self):
        self.assertEqual(self.run_it("search", "demo", "none")[0],
                         "nothing found\nnote: no word of the query occurs\n")

    def test_a_broken_reply_is_an_error(self):
        self.assertIn("cannot search: the server's answer is not JSON",
                      self.run_it("search", "demo", "notjson", code=1)[1])


class Sources(Case):
    def test_lists_and_says_how_to_begin(self):
        out, _ = self.run_it("sources")
        self.assertRegex(out, r"demo +ready +12 +34 +56.8 KB +3  /demo\n$")
        self.server.sources = []
        self.assertIn("headwater index .", self.run_it("sources")[0])


class WhichServer(Case):
    def test_url_wins_and_gets_the_key_which_the_socket_does_not(self):
        remote = fake_server.start()
        url = f"http://127.0.0.1:{remote.server_address[1]}/"
        try:
            self.run_it("sources", "--server", url, HEADWATER_SERVER_KEY="k1", http_proxy="")
            self.run_it("sources", HEADWATER_SERVER_KEY="k1", http_proxy="http://127.0.0.1:9")
        finally:
            fake_server.stop(remote)
        self.assertEqual([r[2].get("X-API-Key") for r in remote.requests], ["k1"])
        self.assertEqual([r[2].get("X-API-Key") for r in self.server.requests], [None])

    def test_a_dead_url_is_an_error_with_a_hint(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            _, err = self.run_it("sources", "--server", f"http://127.0.0.1:{s.getsockname()[1]}", code=1)
        self.assertIn("does not answer", err)
        self.assertIn("hint: check the URL", err)
        self.assertIn("is not the URL of a server", self.run_it("sources", "--server", "file:///etc", code=1)[1])

    def test_without_a_server_one_is_started_and_stopped(self):
        log = os.path.join(self.dir.name, "log")
        other = os.path.join(self.dir.name, "other")
        self.run_it("sources", "--data", other, FAKE_RUNTIME_LOG=log,
                    FAKE_RUNTIME_SOCKET=os.path.join(self.data, "headwater.sock"))
        with open(log) as f:
            self.assertEqual(f.read(), "start\nstop\n")
        self.assertIn("another process holds the data directory", self.run_it("sources", "--data", other, code=1)[1])


class Program(Case):
    def test_serve_waits_for_a_signal_and_drains(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            log = os.path.join(self.dir.name, "log")
            env = {**self.env, "FAKE_RUNTIME_LOG": log, "FAKE_RUNTIME_SOCKET": "x"}
            p = subprocess.Popen([PROGRAM, "serve"], env=env, stderr=subprocess.PIPE)
            self.addCleanup(self.end, p)
            deadline = time.monotonic() + 20
            while not os.path.exists(log) and time.monotonic() < deadline:
                time.sleep(0.01)
            p.send_signal(signal.SIGHUP)
            self.assertIsNone(p.poll())
            p.send_signal(number)
            p.communicate(timeout=20)
            self.assertEqual(p.returncode, 0)
            with open(log) as f:
                self.assertEqual(f.read(), "serve\nstop\n")
            os.unlink(log)

    def test_serve_refuses_a_public_address(self):
        self.assertIn("--insecure", self.run_it("serve", "--listen", "0.0.0.0:8001", code=2)[1])

    def test_usage_errors_exit_with_2(self):
        self.assertIn("did you mean 'headwater search'", self.run_it("searhc", code=2)[1])
        self.assertIn("Commands:", self.run_it(code=2)[1])
        self.run_it("ask", "demo", code=2)
        self.run_it("completion", "tcsh", code=2)
        self.assertIn("did you mean 'headwater help ask'", self.run_it("help", "axk", code=2)[1])
        self.assertIn("HEADWATER_FAULT", self.run_it("help", code=2, HEADWATER_FAULT="bogus")[1])

    def test_help_and_version(self):
        self.assertRegex(self.run_it("--version")[0], r"^headwater \d+\.\d+\.\d+\n$")
        self.assertEqual(self.run_it("help", "ask")[0], self.run_it("ask", "--help")[0])
        self.assertEqual(self.run_it("help")[0], self.run_it("--help")[0])

    def test_doctor_checks_without_a_server_and_fails_where_it_must(self):
        fine = json.loads(self.run_it("doctor", "--json", "--listen", "127.0.0.1:0", OPENAI_API_KEY="s3cret")[0])
        states = {c["name"]: c for c in fine["checks"]}
        self.assertTrue(fine["ok"])
        self.assertIn("a server answers", states["socket"]["detail"])
        self.assertIn("openai", states["providers"]["detail"])
        self.assertNotIn("s3cret", json.dumps(fine))
        file = os.path.join(self.dir.name, "file")
        with open(file, "w"):
            pass
        out, _ = self.run_it("doctor", "--data", file + "/sub", "--listen", "0.0.0.0:0", code=1)
        self.assertRegex(out, r"(?m)^fail +data directory")
        self.assertRegex(out, r"(?m)^fail +listen")
        long = os.path.join(self.dir.name, "x" * 120)
        self.assertRegex(self.run_it("doctor", "--data", long, "--listen", "127.0.0.1:0", code=1)[0],
                         r"(?m)^fail +socket")

    def test_doctor_sees_a_port_in_use_and_a_missing_program(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            out, _ = self.run_it("doctor", "--data", os.path.join(self.dir.name, "n"), "--listen",
                                 f"127.0.0.1:{s.getsockname()[1]}", PATH="/nonexistent")
        self.assertRegex(out, r"(?m)^warn +port .*in use by another program")
        self.assertRegex(out, r"(?m)^warn +git ")
        self.assertRegex(out, r"(?m)^warn +ctags ")

    def test_bash_completion_completes(self):
        script = self.run_it("completion", "bash")[0]
        probe = script + ('\nCOMP_WORDS=(headwater se); COMP_CWORD=1; _headwater; echo "${COMPREPLY[@]}"'
                          '\nCOMP_WORDS=(headwater ask --pro); COMP_CWORD=2; _headwater; echo "${COMPREPLY[@]}"'
                          '\nCOMP_WORDS=(headwater serve --log-level w); COMP_CWORD=3; _headwater; '
                          'echo "${COMPREPLY[@]}"')
        r = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, timeout=20)
        self.assertEqual(r.stdout, "serve search\n--provider\nwarn\n", r.stderr)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
