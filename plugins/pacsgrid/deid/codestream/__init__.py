"""What compressed pixel data holds beside the image: found by each codestream's own grammar.

A codestream carries text of whoever wrote it. What a decoder needs stays as it is, to the bit;
all else becomes zeros of the same length, so that offsets hold. What cannot be parsed by the
grammar that the transfer syntax names is held.
"""
