#include "app/cmd.h"

const struct command commands[CMD_COUNT] = {
    [CMD_SERVE] = {"serve",
                   "",
                   0,
                   0,
                   "Run the server",
                   "Serves the web interface and all protocols on one port, and prints 'listening "
                   "on http://…' when "
                   "it is ready. SIGTERM or Ctrl-C drains: running answers may finish within "
                   "--drain-timeout, and "
                   "resume from where they were otherwise.\n\n"
                   "Without authentication only this machine may connect: an address that others "
                   "can reach is "
                   "refused unless --insecure is given.",
                   {{"headwater serve", "on http://127.0.0.1:8001 and http://[::1]:8001"},
                    {"headwater serve --listen 127.0.0.1:9000 --data /srv/headwater",
                     "another port, another data directory"},
                    {"headwater serve --allow-path /srv/repos",
                     "clients may name repositories below /srv/repos"}},
                   cmd_serve},
    [CMD_INDEX] = {"index",
                   "SOURCE",
                   1,
                   1,
                   "Read a source and make it searchable",
                   "SOURCE is the path of a repository, a directory or a document. A source that "
                   "was indexed before "
                   "is brought up to date. A file that cannot be read is left out and counted, "
                   "never an error of "
                   "the whole; --report lists such files.",
                   {{"headwater index .", "the directory you are in"},
                    {"headwater index ~/src/linux --name linux --report",
                     "under a name, with what was left out"}},
                   cmd_index},
    [CMD_ASK] = {"ask",
                 "SOURCE \"QUESTION\"",
                 2,
                 2,
                 "Answer a question about a source, with citations",
                 "The answer is printed as it is written. Each citation names file and lines and "
                 "says whether the "
                 "quoted text was found there: verified, moved, stale or unsupported. The answer "
                 "survives a lost "
                 "connection: the command takes it up again where it was.\n\n"
                 "Ctrl-C stops the answer and keeps what there is; a second Ctrl-C leaves at once.",
                 {{"headwater ask . \"how does the parser recover from errors?\"",
                   "about this directory"},
                  {"headwater ask linux \"what locks a page?\" --json", "for a program"}},
                 cmd_ask},
    [CMD_SEARCH] = {"search",
                    "SOURCE \"QUERY\"",
                    2,
                    2,
                    "Find passages in a source",
                    "Prints the best passages with their file, lines and symbol, best first.",
                    {{"headwater search . \"retry with back-off\" -k 5", "the five best passages"},
                     {"headwater search . parse_url --explain", "with the weight of each word"}},
                    cmd_search},
    [CMD_SOURCES] = {"sources",
                     "",
                     0,
                     0,
                     "List what has been indexed",
                     "One line for each source: name, state, files, passages, size and location.",
                     {{"headwater sources", "a table"},
                      {"headwater sources --json", "for a program"}},
                     cmd_sources},
    [CMD_EVAL] =
        {"eval",
         "PACK",
         1,
         1,
         "Score retrieval against judged queries",
         "PACK is a directory with corpus.jsonl, queries.jsonl and qrels.tsv. Prints nDCG@10, "
         "MRR@10, Recall@100 and latency.",
         {{"headwater eval packs/code --run out.trec", "scores, and the ranking as a TREC run"}},
         cmd_eval},
    [CMD_DOCTOR] =
        {"doctor",
         "",
         0,
         0,
         "Check this machine and say what to do",
         "Checks the data directory, the socket, the port, helper programs and limits without "
         "starting anything. Each line is ok, warn or fail; exits with 1 when one fails.",
         {{"headwater doctor", "before asking for help"}},
         cmd_doctor},
    [CMD_COMPLETION] = {"completion",
                        "SHELL",
                        1,
                        1,
                        "Print the completion script of a shell",
                        "SHELL is bash, zsh or fish.",
                        {{"headwater completion bash > /etc/bash_completion.d/headwater", "bash"},
                         {"headwater completion zsh > ~/.zfunc/_headwater", "zsh"},
                         {"headwater completion fish > ~/.config/fish/completions/headwater.fish",
                          "fish"}},
                        cmd_completion},
    [CMD_HELP] = {"help",
                  "[COMMAND]",
                  0,
                  1,
                  "Explain a command, or print a manual",
                  "Without a word it lists the commands.",
                  {{"headwater help ask", "the same as headwater ask --help"},
                   {"headwater help --config > headwater.conf", "a sample configuration file"},
                   {"headwater help --man | man -l -", "the manual page"}},
                  cmd_help},
};

int command_find(struct span name)
{
    for (int i = 0; i < CMD_COUNT; i++)
        if (span_is(name, commands[i].name))
            return i;
    return -1;
}
