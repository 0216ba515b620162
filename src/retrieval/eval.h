#pragma once
/*
 * Measures search on a judged collection ("pack"): corpus.jsonl {"id","title","text"[,"path"]},
 * queries.jsonl {"id","text"}, qrels.tsv (query, document, relevance). Each document is one chunk;
 * documents of one path in a row are one file; the analyser is chosen by the content of the
 * collection. Blocks for seconds. Thread: a worker.
 */
#include "base/buf.h"
#include "base/err.h"

struct eval_options {
    const char *run_file; /* a TREC run is written there; NULL: none */
    const char *
        vectors_file; /* one JSON object a line: {"id": document or "query": id, "vector": [numbers]};
                                 NULL: words only */
    unsigned depth;   /* hits a query; 0 = 1000 */
};

/*
 * Builds an index in a temporary directory (removed after), runs all queries, and appends the report as one JSON object:
 * {"pack","documents","queries","judged","analyzer","collapsed",
 *  "ndcg_at_10","mrr_at_10","recall_at_100",
 *  "latency_us":{"p50","p99"},"build":{"text_bytes","cpu_seconds","mb_per_cpu_second"}}
 * and with vectors "vectors":{"documents","queries","dims"}: how many have one. options may be NULL.
 * nDCG@10, MRR@10 and Recall@100 as trec_eval -c: over all queries with a relevant document, ties
 * by document id descending; documents "path#…" are collapsed to their path where the judgements name paths.
 * -ERR_NOT_FOUND / -ERR_INVALID (names file and line), -ERR_TOO_LARGE, -ERR_NO_MEMORY, -ERR_IO.
 */
int eval_run(const char *pack_dir, const struct eval_options *options, struct buf *out_report_json,
             struct err *err) MUST_CHECK;
