"""img2img's pictures, made ready as AUTOMATIC1111 does it: proportions, mask, what is under it."""

from __future__ import annotations

import io

from PIL import Image, ImageChops, ImageOps
from PIL.Image import Resampling

from imagegen.edits import SentPicture, laid_on, upright
from imagegen.errors import FieldError
from imagegen.generation import GenerationRequest
from imagegen.web.a1111.bodies import Img2ImgBody

STRETCH, CUT, FILL_UP = 0, 1, 2  # resize_mode
AROUND, AS_IT_IS = 0, 1  # inpainting_fill
_MOST_PIXELS = 1 << 22  # of what is made here: as RGB it fits into a sent picture's 15 MiB
Size = tuple[int, int]


def faults_of(asked: Img2ImgBody) -> list[FieldError]:
    """What is wrong with what `with_pictures` works by."""
    faults = []
    if len(asked.init_images or []) != 1:
        faults.append(FieldError("init_images", "must hold one picture"))
    if asked.resize_mode not in (None, STRETCH, CUT, FILL_UP):
        faults.append(FieldError("resize_mode", "must be 0, 1 or 2"))
    if asked.inpainting_fill not in (None, AROUND, AS_IT_IS):
        faults.append(FieldError("inpainting_fill", "must be 0 or 1: the picture's own colours"))
    if asked.inpainting_mask_invert not in (None, 0, 1):
        faults.append(FieldError("inpainting_mask_invert", "must be 0 or 1"))
    if (size := _said_size(asked)) and _is_reshaped(asked, size) and _area(size) > _MOST_PIXELS:
        at_most = f"up to {_MOST_PIXELS:,} pixels; say 1 to cut off what juts out"
        faults.append(FieldError("resize_mode", f"0 and 2 change the proportions {at_most}"))
    return faults


def with_pictures(request: GenerationRequest, asked: Img2ImgBody) -> GenerationRequest:
    """`request` with the picture and the mask that `asked` means. Raises InvalidRequest.

    A picture that needs nothing stays the file that was sent. Decodes: not for many at a time.
    """
    [sent] = asked.init_images or []
    size = _said_size(asked)
    reshaped = size is not None and _is_reshaped(asked, size)
    if asked.mask is None and not reshaped:
        return request
    image = laid_on("white", upright("init_images", sent))
    mask = None if asked.mask is None else _mask(asked, asked.mask, image.size)
    if size is not None and reshaped:
        image = _reshape(image, size, asked.resize_mode)
        mask = mask and _reshape(mask, size, asked.resize_mode)
    fills = mask is not None and asked.inpainting_fill != AS_IT_IS
    if mask is not None and fills:
        image, mask = (_bounded(each) for each in (image, mask))
        image = fill(image, mask)
    pictures = {
        "init_image": _sent(image) if reshaped or fills else sent,
        "mask": mask and _sent(mask),
    }
    return request.model_copy(update=pictures)


def notes(asked: Img2ImgBody) -> list[str]:
    """What was said about a mask, or is meant by default, and is done in another way here."""
    if asked.mask is None:
        return []
    said = asked.model_extra or {}
    found = []
    if said.get("inpaint_full_res"):
        found.append("inpaint_full_res is not done: the whole picture was worked on")
    if any(said.get(name) for name in ("mask_blur", "mask_blur_x", "mask_blur_y")):
        found.append("mask_blur is not done: the mask's edge is where half its grey is")
    return found


def fill(image: Image.Image, mask: Image.Image) -> Image.Image:
    """`image` (RGB) with the colours around it where `mask` (L) is white.

    Pull and push: the rest is halved, its colours spreading, until nothing is left uncovered;
    then each stage is laid over the next coarser one. Cost: that of a few copies.
    """
    stages = [image.copy()]
    stages[0].putalpha(ImageChops.invert(mask))
    while max(stages[-1].size) > 1:
        stages.append(stages[-1].reduce(2))
    filled = stages.pop()
    if filled.getchannel("A").getbbox() is None:  # nothing is left that could spread
        return image
    filled.putalpha(255)
    for stage in reversed(stages):
        ground = filled.resize(stage.size, Resampling.BILINEAR)
        filled = Image.alpha_composite(ground, stage)
    return filled.convert("RGB")


def _mask(asked: Img2ImgBody, sent: SentPicture, size: Size) -> Image.Image:
    """Grey, white to repaint; of a picture with transparent parts it is what is opaque."""
    picture = upright("mask", sent)
    grey = picture.convert("L")
    if picture.mode == "RGBA":
        alpha = picture.getchannel("A")
        grey = alpha if ImageChops.invert(alpha).getbbox() else grey
    if asked.inpainting_mask_invert:
        grey = ImageChops.invert(grey)
    return grey if grey.size == size else grey.resize(size, Resampling.BILINEAR)


def _said_size(asked: Img2ImgBody) -> Size | None:
    return None if asked.width is None or asked.height is None else (asked.width, asked.height)


def _is_reshaped(asked: Img2ImgBody, size: Size) -> bool:
    """Whether its proportions are to change; cutting is what `POST /generate` does by itself."""
    sent = asked.init_images or []
    return (
        len(sent) == 1
        and min(size) > 0
        and asked.resize_mode != CUT
        and sent[0].width * size[1] != sent[0].height * size[0]
    )


def _area(size: Size) -> int:
    return size[0] * size[1]


def _reshape(image: Image.Image, size: Size, resize_mode: int | None) -> Image.Image:
    if resize_mode == FILL_UP:
        return _filled_up(image, size)
    return image.resize(size, Resampling.LANCZOS)


def _filled_up(image: Image.Image, size: Size) -> Image.Image:
    """All of `image` in the middle; its outermost pixels go on to the sides."""
    inner = ImageOps.contain(image, size, Resampling.LANCZOS)
    width, height = size
    left, top = (width - inner.width) // 2, (height - inner.height) // 2
    right, bottom = left + inner.width, top + inner.height
    canvas = Image.new(image.mode, size)
    canvas.paste(inner, (left, top))
    strips = [
        ((left, 0, left + 1, height), (0, 0, left, height)),
        ((right - 1, 0, right, height), (right, 0, width, height)),
        ((0, top, width, top + 1), (0, 0, width, top)),
        ((0, bottom - 1, width, bottom), (0, bottom, width, height)),
    ]
    for edge, place in strips:
        strip = place[2] - place[0], place[3] - place[1]
        if min(strip) > 0:
            canvas.paste(canvas.crop(edge).resize(strip), place)
    return canvas


def _bounded(image: Image.Image) -> Image.Image:
    """The same, made smaller where it is larger than any model draws."""
    shrink = (_MOST_PIXELS / _area(image.size)) ** 0.5
    if shrink >= 1:
        return image
    return image.resize((int(image.width * shrink) or 1, int(image.height * shrink) or 1))


def _sent(image: Image.Image) -> SentPicture:
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)
    return SentPicture.of_file(file.getvalue())
