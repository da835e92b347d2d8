"""Remove what compressed pixel data holds beside the image.

Codestreams may contain comments and metadata of the software that wrote them. Each is parsed by
the grammar of its format. What a decoder needs stays bit for bit; the rest is overwritten with
zeros, so that all offsets stay valid. A codestream that does not follow its grammar is held.
"""
