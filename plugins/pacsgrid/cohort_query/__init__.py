"""The language of cohort queries: one parser for command line, DAG, REST and page."""

from pacsgrid.cohort_query.attributes import Attribute, Kind, attributes, find_attribute
from pacsgrid.cohort_query.nodes import (
    All,
    Any,
    InZone,
    Node,
    Not,
    Numbers,
    Present,
    Texts,
    Words,
)
from pacsgrid.cohort_query.parser import CohortQueryError, parse, parse_all

__all__ = [
    "All",
    "Any",
    "Attribute",
    "CohortQueryError",
    "InZone",
    "Kind",
    "Node",
    "Not",
    "Numbers",
    "Present",
    "Texts",
    "Words",
    "attributes",
    "find_attribute",
    "parse",
    "parse_all",
]
