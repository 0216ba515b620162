#include "retrieval/retrieval.h"
