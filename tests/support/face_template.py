"""Derive the template head of `pacsgrid.deid.faces` from two published templates.

The head is pydeface's mean of many heads (MIT licence); the brain is the MNI152 2009a template that
nilearn ships (ICBM, free for any use). Run it with the wheels of both unpacked:

    python tests/support/face_template.py pydeface/data nilearn/datasets/data head.npz
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

_SPACING = 3.0
# First voxel and size in mm, left, posterior, superior: a head with ears, nose and chin.
_ORIGIN, _SIZE = (-102.0, -132.0, -135.0), (69, 90, 84)


def derive(head: Path, brain: Path, out: Path) -> None:
    """Write head and brain on one grid of 3 mm in MNI space."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    inner = sitk.ReadImage(str(brain), sitk.sitkFloat32)
    whole = sitk.ReadImage(str(head), sitk.sitkFloat32)
    found = _register(sitk, inner, whole)
    grid = sitk.Image(_SIZE, sitk.sitkFloat32)
    grid.SetSpacing((_SPACING,) * 3)
    grid.SetOrigin(_ORIGIN)
    smooth = sitk.SmoothingRecursiveGaussian(whole, 1.5)
    there = sitk.Resample(smooth, grid, found, sitk.sitkLinear, -1.0)
    values = sitk.GetArrayFromImage(there)
    top = float(np.percentile(values[values > 50], 99.5))
    mask = sitk.BinaryMorphologicalClosing(inner > 0, (4, 4, 4))
    mask = sitk.BinaryFillhole(mask)
    inside = sitk.Resample(
        sitk.Cast(mask, sitk.sitkFloat32), grid, sitk.Transform(), sitk.sitkLinear
    )
    np.savez_compressed(
        out,
        head=np.clip(values / top * 255, 0, 255).astype(np.uint8),
        seen=np.packbits(values >= 0),
        brain=np.packbits(sitk.GetArrayFromImage(inside) > 0.3),
        origin=np.array(_ORIGIN),
        spacing=np.array(_SPACING),
    )


def _register(sitk: Any, inner: Any, whole: Any) -> Any:
    start = sitk.AffineTransform(3)
    start.SetCenter((0.0, 20.0, 0.0))
    # The MNI152 brain is larger than the mean of real ones.
    start.Scale(0.88)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(40)
    # With a rim, which is dark in the brain's template: it keeps the brain inside the skull.
    method.SetMetricFixedMask(sitk.BinaryDilate(inner > 0, (2, 2, 2)))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.1, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.01, 300)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([3, 2])
    method.SetInitialTransform(start, True)
    method.Execute(inner, whole)
    print("mutual information", method.GetMetricValue())
    return start


if __name__ == "__main__":
    derive(
        Path(sys.argv[1]) / "mean_reg2mean.nii.gz",
        Path(sys.argv[2]) / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
        Path(sys.argv[3]),
    )
