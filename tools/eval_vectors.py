#!/usr/bin/env python3
"""Stand-in vectors for `headwater eval PACK --vectors FILE`, where no embedding model is at hand.

    eval_vectors.py PACK KIND [DIMS] > FILE      needs numpy and scipy

One JSON object a line: {"id": document, "vector": [...]} and {"query": id, "vector": [...]}.
An embedder of your choice can write the same form; embed "path\\ntitle\\n\\ntext".

KIND  lsa       truncated SVD of the collection's own BM25 matrix, questions folded in (256)
      rp        random projection of the same term vectors: a weaker stand-in (256)
      random    no signal: every vector random
      constant  all vectors the same
      negated   lsa, the questions negated: the best becomes the worst
      foreign   lsa, each document with the vector of another one
"""
import json
import re
import sys
from collections import Counter

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
K1, B = 1.2, 0.75


def words(text):
    """Lower case, parts of names apart, plural endings off."""
    for w in WORD.findall(text):
        w = w.lower()
        for end in ("ing", "ed", "es", "s"):
            if len(w) > len(end) + 3 and w.endswith(end):
                w = w[: -len(end)]
                break
        if len(w) > 1:
            yield w


def read(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def matrices(documents, questions):
    """BM25 weights of the documents, idf weights of the questions, over the documents' words."""
    counts = [Counter(words(d.get("path", "") + " " + d.get("title", "") + " " + d["text"])) for d in documents]
    df = Counter(w for c in counts for w in c)
    known = {w: i for i, w in enumerate(sorted(w for w, n in df.items() if n > 1))}
    lengths = np.array([max(1, sum(c.values())) for c in counts])
    average, total = lengths.mean(), len(counts)
    idf = {w: np.log(1 + (total - df[w] + 0.5) / (df[w] + 0.5)) for w in known}

    def matrix(rows, weigh):
        data, row, col = [], [], []
        for r, c in enumerate(rows):
            for w, tf in c.items():
                if w in known:
                    row.append(r)
                    col.append(known[w])
                    data.append(idf[w] * weigh(tf, r))
        return sparse.csr_matrix((data, (row, col)), shape=(len(rows), len(known)))

    docs = matrix(counts, lambda tf, r: tf * (K1 + 1) / (tf + K1 * (1 - B + B * lengths[r] / average)))
    asked = matrix([Counter(words(q["text"])) for q in questions], lambda tf, r: tf)
    return docs, asked


def project(docs, asked, kind, dims):
    rng = np.random.default_rng(20261121)
    if kind == "rp":
        basis = rng.standard_normal((docs.shape[1], dims))
    else:
        basis = svds(docs, k=min(dims, min(docs.shape) - 1), v0=rng.standard_normal(min(docs.shape)))[2].T
    return docs @ basis, asked @ basis


def vectors(documents, questions, kind, dims):
    rng = np.random.default_rng(7)
    if kind == "random":
        return rng.standard_normal((len(documents), dims)), rng.standard_normal((len(questions), dims))
    if kind == "constant":
        return np.ones((len(documents), dims)), np.ones((len(questions), dims))
    docs, asked = project(*matrices(documents, questions), kind, dims)
    if kind == "negated":
        asked = -asked
    if kind == "foreign":
        docs = docs[rng.permutation(len(documents))]
    return docs, asked


def write(key, items, rows):
    for item, row in zip(items, rows):
        length = np.linalg.norm(row)
        if length > 0:
            print(json.dumps({key: item["id"], "vector": [round(float(x), 5) for x in row / length]}))


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    pack, kind = sys.argv[1:3]
    dims = int(sys.argv[3]) if len(sys.argv) > 3 else 256
    documents, questions = read(f"{pack}/corpus.jsonl"), read(f"{pack}/queries.jsonl")
    docs, asked = vectors(documents, questions, kind, dims)
    write("id", documents, docs)
    write("query", questions, asked)


if __name__ == "__main__":
    main()
