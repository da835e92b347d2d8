"""Caches of the anonymiser: the same bytes always give the same outcome.

All of them follow one idea.

Key
    The exact bytes of everything that the outcome depends on: an encoded element, with its tag and
    VR in front, or the elements that a decision has read. Nothing is normalised, so two keys are
    equal only if the outcomes have to be.
Invalidation
    None by time. A cache belongs to one study's `Anonymiser` or to one collection of identifiers,
    and goes with it. One that grows too large is emptied as a whole (`BoundedCache`).

Modules
-------
bounded_cache
    The store below the others.
read_tracking
    Decisions about a header, by the elements that were read to take them.
element_cache
    Elements of a header as the profile rewrites them.
seen_elements
    Elements that an earlier file of the study had.

The checker has caches of its own (`check.verdict_cache`), since it shares no code with what it
checks.
"""
