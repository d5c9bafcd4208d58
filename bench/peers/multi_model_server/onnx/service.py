"""A handler of AWS's multi-model-server around the graph, engine and decode that we serve with."""

from handling import handler
from pasted import load

handle = handler(load)
