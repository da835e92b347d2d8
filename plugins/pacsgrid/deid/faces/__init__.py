"""Remove faces from CT and MR volumes of heads.

A series is assembled (`volume`), a template head is registered to it (`registration`), and the
voxels of face and ears outside a margin around the brain are marked (`removal`). The marked voxels
become air when a file's pixels are rewritten (`removal.FaceRemoval.erase`).
"""
