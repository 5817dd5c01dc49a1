"""Find the holes of a photo that came without a mask: flat regions of one colour with a sharp border.

The rule, set by looking at about a hundred photos with and without holes. A hole is a connected region that

1. is flat: no channel varies by more than 4/255 within 3x3 pixels, and at least 45 % of its pixels have exactly one
   colour (an editor fills with one value, and a good JPEG file moves that by 2/255 near borders only; walls, skies and
   blurred backgrounds are hardly ever exact);
2. covers between 0.05 % and 70 % of the photo;
3. ends abruptly: just outside, at least 40 % of the pixels differ from its colour by more than 16/255, and one pixel
   further 70 % do (skies, lamps and the night fade out over several pixels). Black and white, to which sensors clip,
   and regions below 1 % of the photo have to be sharper, up to 90 % and 97 % (the sun, reflections);
4. does not lie along the frame: it touches less than 30 % of the photo's outline and leaves at least a tenth of every
   side free (skies and letterbox bars do not);
5. has the colour that 80 % of all such area shares (a screenshot or a drawing has flat regions of many colours).

In doubt nothing is a hole: repainting a real wall harms more than leaving a hole, and the caller can send a mask.
Regions are labelled here in torch, because SciPy's labelling would add a large dependency for this one function.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from model.degradation.errors import DegradationError

_FLAT_RANGE = 4.0
_EXACT_SHARE = 0.45
_COLOUR_TOLERANCE, _SAME_COLOUR = 8.0, 2.0
_LEAST_SHARE, _GREATEST_SHARE = 0.0005, 0.7
_SHARP_STEP = 16.0
# What share of the border's pixels must differ from the region, one and two pixels outside. Keys: is the region small,
# and what colour has it? Deep shadows are exactly black and fairly sharp; large white regions fade or are holes.
_SHARP_SHARES = {
    (False, "other"): (0.4, 0.7),
    (False, "white"): (0.45, 0.85),
    (False, "black"): (0.7, 0.94),
    (True, "other"): (0.75, 0.9),
    (True, "white"): (0.9, 0.97),
    (True, "black"): (0.9, 0.97),
}
_SMALL_SHARE = 0.01
_BLACK, _WHITE = 2.0, 253.0
_FRAME_SHARE, _SIDE_SHARE = 0.3, 0.9
_ONE_COLOUR_SHARE = 0.8
# A photo has a handful of holes; hundreds of flat regions are a drawing, and judging each would take long.
_MOST_REGIONS = 256
# Pixels around a flat core in which the rest of its region, such as thin ends of strokes, is looked for.
_MARGIN = 16
# Larger photos are searched on every 2nd, 3rd, ... pixel (which keeps colours exact); what is found is judged in full.
_SEARCH_PIXELS = 1_000_000

_Window = tuple[slice, slice]


def find_holes(image: Tensor) -> Tensor:
    """Return the mask of holes that somebody cut into a photo; all zeros if there are none or in doubt.

    Args:
        image: (1,3,H,W) RGB in [0,1].

    Returns:
        (1,1,H,W) float, 1 = missing, on the device of the image.

    Raises:
        DegradationError: For another shape or an integer image.
    """
    found = locate_holes(image)
    return torch.zeros_like(image[:, :1], dtype=torch.float32) if found is None else found.float()


def locate_holes(image: Tensor) -> Tensor | None:
    """Return where the holes of a photo are, as `find_holes` does, or None if there are none or in doubt.

    A photo without flat regions takes no memory of its own size: it is read where it is searched, and that is a grid.

    Args:
        image: (1,3,H,W) RGB in [0,1].

    Returns:
        (1,1,H,W) bool, on the device of the image.

    Raises:
        DegradationError: For another shape or an integer image.
    """
    if image.ndim != 4 or image.shape[:2] != (1, 3) or not image.is_floating_point():
        raise DegradationError(
            f"got {image.dtype} of shape {tuple(image.shape)}, expected one floating point photo (1,3,H,W) in [0,1]"
        )
    height, width = image.shape[-2:]
    if min(height, width) < 3:
        return None
    found: list[tuple[_Window, Tensor, Tensor]] = []
    step = math.ceil(math.sqrt(height * width / _SEARCH_PIXELS))
    for window, core in _candidates(image, step):
        levels = _levels(image[..., window[0], window[1]])
        region, colour = _grow(levels, core, step)
        if _is_hole(levels, region, colour, height * width):
            found.append((window, region, colour))
    areas = torch.tensor([int(region.sum()) for _, region, _ in found])
    if not found or int(areas.sum()) > _GREATEST_SHARE * height * width:
        return None
    colours = torch.stack([colour.flatten() for _, _, colour in found]).cpu()
    alike = ((colours - colours[areas.argmax()]).abs() <= _COLOUR_TOLERANCE).all(1)
    if int(areas[alike].sum()) < _ONE_COLOUR_SHARE * int(areas.sum()):
        return None
    mask = torch.zeros_like(image[:, :1], dtype=torch.bool)
    for (window, region, _), same in zip(found, alike.tolist(), strict=True):
        if same:
            mask[..., window[0], window[1]] |= region
    return mask


def label_regions(mask: Tensor) -> Tensor:
    """Number the 8-connected regions of a boolean mask.

    Every pixel starts with a number of its own and takes the largest one around it; then whole regions follow the
    pixel that gave them their number. The reach doubles each round, so a few rounds do for any shape.

    Args:
        mask: (..., H, W) booleans with leading dimensions of size 1.

    Returns:
        Whole numbers of the same shape: 0 outside, one positive number per region.
    """
    numbers = torch.arange(mask.numel() + 1, device=mask.device)
    labels = torch.where(mask, numbers[1:].view_as(mask), 0)
    while True:
        around = torch.where(mask, _neighbourhood_max(labels), 0).flatten()
        parent = numbers.scatter_reduce(0, labels.flatten(), around, "amax")
        for _ in range(4):
            parent = parent[parent]
        merged = parent[around].view_as(labels)
        if torch.equal(merged, labels):
            return labels
        labels = merged


def _neighbourhood_max(labels: Tensor) -> Tensor:
    """Return the largest whole number within 3x3 (pooling wants floats, which are exact up to 2^24 only)."""
    for dim in (-2, -1):
        side = labels.shape[dim]
        ahead, behind = labels.narrow(dim, 1, side - 1), labels.narrow(dim, 0, side - 1)
        best = labels.clone()
        best.narrow(dim, 1, side - 1).copy_(torch.maximum(ahead, behind))
        best.narrow(dim, 0, side - 1).copy_(torch.maximum(best.narrow(dim, 0, side - 1), ahead))
        labels = best
    return labels


def _levels(part: Tensor) -> Tensor:
    """Part of a photo on the 0..255 scale, in whole numbers."""
    return (part.detach().float() * 255.0).round()


def _candidates(photo: Tensor, step: int) -> list[tuple[_Window, Tensor]]:
    """Return flat, mostly exact regions, each as a window of the photo and its rough mask (1,1,h,w) in there.

    Args:
        photo: (1,3,H,W) in [0,1].
        step: Look at every so many pixels both ways.
    """
    levels = _levels(photo[..., ::step, ::step])
    height, width = levels.shape[-2:]
    padded = F.pad(levels, (1, 1, 1, 1), mode="replicate")
    spread = (F.max_pool2d(padded, 3, 1) + F.max_pool2d(-padded, 3, 1)).amax(1, keepdim=True)
    smallest = max(4.0, 0.5 * _LEAST_SHARE * height * width)
    # Most photos end here, before any labelling.
    if int((spread == 0.0).sum()) < smallest * 0.5:
        return []
    labels = label_regions(spread <= _FLAT_RANGE)
    where = labels.flatten().nonzero().flatten()
    names, region, sizes = torch.unique(labels.flatten()[where], return_inverse=True, return_counts=True)
    exact = torch.zeros_like(sizes).scatter_add_(0, region, (spread.flatten()[where] == 0.0).long())
    # The 3x3 test is stricter than the share of exact pixels that counts in the end, so ask for less here.
    keep = ((sizes >= smallest) & (exact >= 0.4 * _EXACT_SHARE * sizes)).nonzero().flatten()
    if len(keep) > _MOST_REGIONS:
        return []
    edges = [
        torch.zeros_like(sizes).scatter_reduce_(0, region, axis, how, include_self=False)[keep].tolist()
        for axis in (where // width, where % width)
        for how in ("amin", "amax")
    ]
    found = []
    for name, top, bottom, left, right in zip(names[keep].tolist(), *edges, strict=True):
        box = labels[..., top : bottom + 1, left : right + 1] == name
        ends = (
            (top == 0, box[..., 0, :]),
            (bottom == height - 1, box[..., -1, :]),
            (left == 0, box[..., 0]),
            (right == width - 1, box[..., -1]),
        )
        touched = [int(line.sum()) if touches else 0 for touches, line in ends]
        whole_side = max(touched[:2]) > _SIDE_SHARE * width or max(touched[2:]) > _SIDE_SHARE * height
        if not whole_side and sum(touched) < _FRAME_SHARE * 2 * (height + width):
            found.append(_enlarge(box, (top, left), step, (photo.shape[-2], photo.shape[-1])))
    return found


def _enlarge(box: Tensor, corner: tuple[int, int], step: int, size: tuple[int, int]) -> tuple[_Window, Tensor]:
    """Bring a mask found on every `step`-th pixel to full size, with a margin where the photo has one."""
    window, pads = [], []
    for dim, start in enumerate(corner):
        low = max(0, start * step - _MARGIN)
        high = min(size[dim], (start + box.shape[dim - 2]) * step + _MARGIN)
        window.append(slice(low, high))
        pads.append((start * step - low, high - (start + box.shape[dim - 2]) * step))
    whole = box.repeat_interleave(step, -2).repeat_interleave(step, -1)
    return (window[0], window[1]), F.pad(whole, (*pads[1], *pads[0]))


def _dilate(region: Tensor, pixels: int = 1) -> Tensor:
    return F.max_pool2d(region.float(), 2 * pixels + 1, 1, pixels) > 0.5


def _grow(levels: Tensor, core: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Extend a flat core by the border pixels that the 3x3 test, the search grid and JPEG took away.

    That is two pixels of about its colour, and whatever of just its colour hangs together with it.

    Returns:
        The region (1,1,h,w) and its colour (1,3,1,1) on the 0..255 scale.
    """
    colour = levels[:, :, core[0, 0]].median(2).values[..., None, None]
    close = ((levels - colour).abs() <= _COLOUR_TOLERANCE).all(1, keepdim=True)
    region = _dilate(core, step) & close
    region = _dilate(region) & close
    same = ((levels - colour).abs() <= _SAME_COLOUR).all(1, keepdim=True)
    labels = label_regions(region | same)
    return torch.isin(labels, torch.unique(labels[region])) & (labels > 0), colour


def _is_hole(levels: Tensor, region: Tensor, colour: Tensor, pixels: int) -> bool:
    """Test size, exactness and the sharpness of the border of one region."""
    area = int(region.sum())
    if not _LEAST_SHARE * pixels <= area <= _GREATEST_SHARE * pixels:
        return False
    difference = (levels - colour).abs().amax(1, keepdim=True)
    if float((difference[region] == 0.0).float().mean()) < _EXACT_SHARE:
        return False
    name = "black" if bool((colour <= _BLACK).all()) else "white" if bool((colour >= _WHITE).all()) else "other"
    for share in _SHARP_SHARES[area < _SMALL_SHARE * pixels, name]:
        wider = _dilate(region)
        ring = difference[wider & ~region]
        if not ring.numel() or float((ring > _SHARP_STEP).float().mean()) < share:
            return False
        region = wider
    return True
