#pragma once
/*
 * Every bound on what comes from outside, by name. docs/operations.md lists them (a lint keeps it so:
 * tests/lint/operations.py --write); a module that needs another adds it here. Bytes unless the name says otherwise.
 */
#define LIMIT_HTTP_HEAD (64u << 10)        /* request line and headers; past it 431 */
#define LIMIT_HTTP_TARGET (16u << 10)      /* request target; past it 414 */
#define LIMIT_HTTP_HEADER_COUNT 100        /* past it 431 */
#define LIMIT_HTTP_BODY (16u << 20)        /* past it 413 */
#define LIMIT_WS_MESSAGE (16u << 20)       /* incoming, DeepWiki paths; past it close 1009 */
#define LIMIT_WS_MESSAGE_SMALL (64u << 10) /* incoming, other paths */
#define LIMIT_WS_FRAGMENTS_COUNT 65536     /* of one message; past it close 1009 */
#define LIMIT_WS_CONTROL 125               /* RFC 6455 §5.5 */
#define LIMIT_WS_UNSENT (1u << 20)         /* ws_send past it: -ERR_LIMIT */
#define LIMIT_WS_PONGS_UNSENT 4096 /* past it the connection is not read until they are sent */
#define LIMIT_HTTP_ANSWER_HEADERS (32u << 10) /* headers a handler adds */
#define LIMIT_WRITE_TURN (1u << 20) /* bytes one connection may write before the others' turn */
#define LIMIT_READ_TURN (64u << 10) /* bytes one connection may read before the others' turn */
#define LIMIT_SSE_FIELD 1024        /* an event's name, its id; of a line: what is not its data */
#define LIMIT_HTTP_CALLS_COUNT 8192 /* requests to upstreams under way on one loop */
#define LIMIT_HTTP_POOL_COUNT 512   /* connections to upstreams a loop keeps open */
#define LIMIT_HTTP_PENDING (64u << 10) /* an upstream's bytes read and not yet handed over */
#define LIMIT_HTTP_PACE_US \
    100 /* what many upstreams send may wait for company that long, no longer */
#define LIMIT_HTTP_REDIRECT_BODY (64u << 10) /* read past to keep the connection; past it closed */
#define LIMIT_HTTP_RETRY_AFTER_MS (INT64_C(30) * 24 * 3600 * 1000) /* later is taken as this */
#define LIMIT_JSON_DEPTH 64            /* objects and lists within each other */
#define LIMIT_JSON_ON_LOOP (64u << 10) /* of a body read at once; more is read by a worker */
#define LIMIT_TASK_BODY (1u << 20)     /* of requests under /v1 but answers; past it 413 */
#define LIMIT_CONNECTIONS_COUNT 19500  /* per process, below the descriptor limit */
#define LIMIT_MESSAGES_COUNT 1000      /* messages in one chat request */
#define LIMIT_STREAM_EVENT (1u << 20)  /* one event's payload */
#define LIMIT_STREAM_TAIL (256u << 10) /* unspilled bytes kept in memory per stream */
#define LIMIT_STREAM_BACKLOG \
    (4u << 20)                        /* past it the producer is refused: the log cannot keep up */
#define LIMIT_STREAM_KEEP (32u << 10) /* spilled events of a live stream that stay in memory */
#define LIMIT_STREAM_BLOCK \
    (64u << 10)                    /* events stored as one block (one larger event is one block) */
#define LIMIT_STREAMS_COUNT 100000 /* streams in memory; past it none is created */
#define LIMIT_JOURNAL_PENDING \
    (16u << 20)                       /* bytes waiting for the log thread; past it producers wait */
#define LIMIT_FEED_BYTES (256u << 10) /* shared frames kept per feed of a live stream */
#define LIMIT_FEED_REPLAY_BYTES (1u << 20) /* the same of a closed stream */
#define LIMIT_SEGMENT_EVENTS_COUNT 8192    /* events encoded into one shared block of frames */
#define LIMIT_FRAME (8u << 20) /* one event as a dialect writes it (escapes can grow it sixfold) */
#define LIMIT_FRAME_SEGMENT (32u << 10)        /* one shared block of encoded frames */
#define LIMIT_MERGED_FRAME (32u << 10)         /* text merged for a reader that is behind */
#define LIMIT_FILE_BYTES (2u << 20)            /* larger files are not indexed */
#define LIMIT_WALK_DEPTH 64                    /* folders within each other */
#define LIMIT_WALK_FILES_COUNT 1000000         /* of one source */
#define LIMIT_CHUNK_BYTES (8u << 10)           /* a chunk never exceeds it */
#define LIMIT_PATH_BYTES 4096                  /* relative to a source's root */
#define LIMIT_SKIPPED_COUNT 200000             /* kept with their reasons; past it only counted */
#define LIMIT_IGNORE_FILE_BYTES (512u << 10)   /* .gitignore and the like; the rest is not read */
#define LIMIT_IGNORE_PATTERN_BYTES 1024        /* longer patterns are ignored */
#define LIMIT_IGNORE_PATTERNS_COUNT 16384      /* per ignore file */
#define LIMIT_FILTERS_COUNT 1000               /* requested for one source */
#define LIMIT_FILTERS_BYTES (32u << 10)        /* their canonical text */
#define LIMIT_SYMBOLS_COUNT 65536              /* per file */
#define LIMIT_SYMBOL_BYTES 256                 /* a qualified name is cut there */
#define LIMIT_SYMBOL_DEPTH 24                  /* symbols within each other */
#define LIMIT_BATCH_FILES_COUNT 256            /* files in one run of the symbol program */
#define LIMIT_BATCH_BYTES (4u << 20)           /* their text */
#define LIMIT_INDEX_SEGMENTS_COUNT 48          /* of one source's index */
#define LIMIT_INDEX_MANIFEST_BYTES (64u << 20) /* the list of a source's segments and files */
#define LIMIT_INDEX_CHECKPOINT_BYTES \
    (64u << 20) /* text indexed between two points where a run that was cut off goes on */
#define LIMIT_VECTORS_COUNT 4000000   /* rows of one vector file; past it none is added */
#define LIMIT_QUERY_BYTES (64u << 10) /* of a question that are searched for */
#define LIMIT_QUERY_TERMS_COUNT 256   /* words of a question that are searched for */
#define LIMIT_WORK_QUEUE_COUNT 4096   /* tasks waiting for a worker; past it refused */
#define LIMIT_ANSWERS_COUNT \
    8192 /* answers and index jobs at a time; past it new ones are refused */
#define LIMIT_CHILD_OUTPUT (256u << 20) /* of a program that was started */
#define LIMIT_GIT_REDIRECTS_COUNT 5     /* from a repository's address to where it is */
#define LIMIT_GIT_PACKS_COUNT 24        /* refreshes of a clone before it is begun anew */
#define LIMIT_GIT_FILES_COUNT 500000    /* in one commit */
#define LIMIT_GIT_REFS (1u << 20)       /* a remote's answer about one branch */
#define LIMIT_GIT_MANIFEST (256u << 20) /* the list of a commit's files */
#define LIMIT_PROMPT_BYTES \
    (20u << 20) /* a provider prompt; above LIMIT_HTTP_BODY, which holds the question */
#define LIMIT_CITATION_TEXT 512               /* answer text held back while it may be a citation */
#define LIMIT_CITATIONS_COUNT 512             /* distinct citations of one answer */
#define LIMIT_LOCAL_PASSAGES_COUNT 64         /* read by the local provider; the rest is left out */
#define LIMIT_LOCAL_PASSAGE_BYTES (64u << 10) /* of a passage that the local provider reads */
#define LIMIT_LOCAL_TERMS_COUNT 64            /* of the question; one bit each */
#define LIMIT_LOCAL_UNITS_COUNT 20000         /* sentences and lines looked at */
#define LIMIT_LOCAL_CITED_COUNT 4096          /* citations read from a research's history */
#define LIMIT_ENDPOINTS_COUNT 1024            /* whose health is kept; more count as healthy */
#define LIMIT_PROVIDER_KEYS_COUNT 32          /* endpoints of one provider: keys, base URLs */
#define LIMIT_PROVIDERS_COUNT 64              /* in generator.json */
#define LIMIT_MODEL_NAME 200                  /* with NUL */
#define LIMIT_PROVIDER_MODELS_COUNT 1024      /* of one provider */
#define LIMIT_PRICES_COUNT 8192               /* in model_pricing.json */
#define LIMIT_PROVIDER_CONFIG (1u << 20)      /* bytes of generator.json or model_pricing.json */
#define LIMIT_PROVIDER_VALUE (64u << 10)      /* a string of them after ${NAME} is replaced */
#define LIMIT_PROVIDER_ERROR (64u << 10)      /* body of a refused request that is read */
#define LIMIT_RUN_TEXT (8u << 20)     /* one answer of a model; past it the run ends as "length" */
#define LIMIT_RUN_HELD (1u << 20)     /* text decoded but held back by a reader that is behind */
#define LIMIT_WIRE_EVENT (4u << 20)   /* one event, line or message of a provider's stream */
#define LIMIT_WIRE_ANSWER (16u << 20) /* one answer's text */
#define LIMIT_WIRE_REASONING (4u << 20) /* one answer's thinking; the rest is dropped */
#define LIMIT_WIRE_HEADERS_COUNT 64     /* of a request, of a binary message */
#define LIMIT_WIRE_HEADER (16u << 10)   /* one header of a request */
#define LIMIT_WIRE_URL (8u << 10)       /* address of a request to a model */
#define LIMIT_WIRE_PARAMS (256u << 10)  /* parameters of a model */
#define LIMIT_WIRE_BODY \
    (6u * LIMIT_PROMPT_BYTES + (1u << 20)) /* escapes can grow a prompt sixfold */
#define LIMIT_WIRE_ERROR_BODY (64u << 10)  /* of an error's body, read for its message */
#define LIMIT_EMBED_TEXTS_COUNT 1024       /* texts of one embed_run; past it refused */
#define LIMIT_EMBED_TEXT (32u << 10)       /* one of them; the rest is left out */
#define LIMIT_EMBED_ANSWER (32u << 20)     /* one answer of an embedder; past it it failed */
#define LIMIT_EMBED_DIMS_COUNT 8192        /* numbers of one vector; past it malformed */
#define LIMIT_EMBED_CALLS_COUNT 4          /* requests of one embed_run under way; others wait */
#define LIMIT_EMBED_BATCH_COUNT 512        /* texts in one request, whatever is configured */
#define LIMIT_LOG_LINE (8u << 10)          /* a longer record is cut */
#define LIMIT_LOG_BACKLOG \
    (1u << 20) /* records not yet written; past it they are dropped and counted */

#define TIMEOUT_HTTP_HEAD_MS 10000 /* first byte of a request to the end of its head */
#define TIMEOUT_HTTP_BODY_MS 30000 /* between two reads of a body */
#define TIMEOUT_HTTP_IDLE_MS 75000 /* keep-alive */
#define TIMEOUT_WS_PING_MS 20000   /* a ping every … */
#define TIMEOUT_WS_PONG_MS 20000   /* … and a pong within */
#define TIMEOUT_WS_CLOSE_MS \
    2000 /* the peer's close frame after ours; also: a refused request's last bytes */
#define TIMEOUT_WRITE_STALL_MS 60000  /* no byte accepted by the peer: cut off, it may resume */
#define TIMEOUT_SYMBOLS_MS 30000      /* one run of the symbol program */
#define TIMEOUT_HTTP_CONNECT_MS 10000 /* to an upstream: name, connection and TLS */
#define TIMEOUT_GIT_LOOK_MS 60000     /* asking a remote where its branch is */
#define TIMEOUT_GIT_FETCH_MS 3600000  /* one transfer */
#define TIMEOUT_GIT_STALL_MS 60000    /* no byte of it arrives */
#define TIMEOUT_GIT_LOCAL_MS 1800000  /* listing and reading what was fetched */
#define TIMEOUT_DRAIN_MS 10000        /* from SIGTERM to the end */
#define KEEPALIVE_SSE_MS 15000        /* between two signs of life on an event stream */
