"""placeholder"""
from .data import Data, Patches
def needless(data: Data, syntax: str) -> Patches:
    return Patches()
