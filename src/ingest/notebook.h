#pragma once
/*
 * Jupyter notebooks (nbformat 3 and 4) as text: the sources of the cells, one below the other, without outputs and
 * metadata. Before each stands a line "# %% cell 3" or "# %% [markdown] cell 2", after each an empty one. This text is
 * what is indexed and shown, so line numbers are those of this text, not of the JSON. Pure. Thread: any.
 */
#include "base/buf.h"
#include "ingest/symbols.h"

/*
 * Appends the text to *out and to *cells a symbol for each cell ("cell" for code, "note" for text; named by its first
 * heading, or "cell 3") and for what its code defines. 1; 0: not a notebook (*out may hold a beginning);
 * -ERR_NO_MEMORY.
 */
int notebook_text(struct span json, struct buf *out, struct symbol_list *cells) MUST_CHECK;
