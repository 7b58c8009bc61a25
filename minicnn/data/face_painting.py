"""Everything about a synthetic face but its mouth's expression: the head in space, and one function for each feature.

The head is an ellipsoid. Eyes, brows, nose and mouth are painted in the coordinates (u, v) of its surface, so turning
the head moves, tilts and foreshortens them as it should.
"""

from dataclasses import dataclass

import numpy as np

from .drawing import Array, Canvas, Dice, blur, box, cover, ellipse, length, outline, smooth_noise, soft

SKIN = [(255, 224, 196), (247, 205, 170), (236, 188, 150), (217, 160, 116), (190, 130, 88), (150, 98, 64),
        (130, 86, 60), (110, 72, 52)]
HAIR = [(28, 22, 22), (52, 34, 26), (88, 56, 34), (132, 84, 44), (184, 132, 66), (226, 188, 112), (168, 70, 36),
        (120, 58, 36), (70, 46, 36), (198, 152, 90), (150, 148, 150), (226, 224, 220), (64, 84, 160), (206, 92, 140)]
CLOTH = [(214, 69, 65), (244, 164, 66), (250, 214, 96), (88, 172, 104), (62, 142, 190), (60, 74, 130), (150, 94, 176),
         (240, 240, 236), (60, 62, 70), (232, 130, 150)]
BACKGROUND = [(160, 205, 235), (248, 214, 160), (190, 226, 190), (236, 180, 180), (204, 186, 228), (120, 150, 180),
              (90, 110, 110), (235, 235, 230), (70, 74, 96), (226, 160, 110), (150, 190, 190), (110, 84, 80)]
LIPSTICK = [(200, 36, 51), (120, 30, 66), (140, 90, 70), (236, 180, 170), (64, 36, 44), (160, 130, 170)]
IRIS = [(70, 44, 26), (104, 66, 34), (70, 110, 150), (88, 136, 96), (96, 100, 110), (40, 32, 30)]
FRAME = [(30, 28, 32), (96, 54, 36), (170, 46, 50), (46, 66, 120), (190, 160, 80), (180, 184, 190)]


def _fixed(red: float, green: float, blue: float) -> Array:
    """One colour for all the pictures."""
    return np.array([red, green, blue], np.float32)[None, :, None, None]


LIPS = _fixed(0.68, 0.26, 0.28)
BLUSH = _fixed(1.0, 0.72, 0.7)
INK = _fixed(0.16, 0.1, 0.11)


@dataclass
class Head:
    """Where a head is and what it is like. Distances on it are in units of half its height."""

    x: Array  # position in the picture, relative to the head's centre, with its roll undone
    y: Array
    u: Array  # position on the surface of the face, seen straight from the front: 0 is the middle, 1 the chin
    v: Array
    depth: Array  # how far the surface points towards the viewer: 0 at the rim, 1 in the middle
    mask: Array  # the share of each pixel that the head covers
    lit: Array  # the share of each pixel that the lamp shines on: the head, and what grows on it
    pixel: Array  # width of a pixel
    width: Array
    yaw: Array
    skin: Array
    hair: Array


def make_head(canvas: Canvas, dice: Dice) -> Head:
    """Places the head: position, scale and roll in the picture, yaw and pitch in space."""
    scale = dice.between(0.8, 0.92)
    left, top = canvas.x - dice.between(-0.05, 0.05), canvas.y - dice.between(-0.04, 0.05)
    roll, yaw, pitch = dice.between(-0.14, 0.14), dice.between(-0.26, 0.26), dice.between(-0.12, 0.12)
    x = (left * np.cos(roll) + top * np.sin(roll)) / scale
    y = (top * np.cos(roll) - left * np.sin(roll)) / scale

    width, jaw = dice.between(0.74, 0.88), dice.between(0.02, 0.24)
    across = x / (width * (1 - jaw * np.clip(y, 0, 1) ** 2))
    radius = length(across, y)
    depth = np.sqrt(np.maximum(1 - radius * radius, 0))
    # Rotate the visible half of the unit sphere: first about the vertical axis, then about the line through the ears.
    turned = across * np.cos(yaw) - depth * np.sin(yaw)
    front = across * np.sin(yaw) + depth * np.cos(yaw)
    raised = y * np.cos(pitch) - front * np.sin(pitch)
    pixel = canvas.pixel / scale
    mask = cover((radius - 1) * width, pixel)
    return Head(x=x, y=y, u=width * turned, v=raised, depth=depth, mask=mask, lit=mask, pixel=pixel, width=width,
                yaw=yaw, skin=dice.colour(SKIN, 0.03), hair=dice.colour(HAIR, 0.04))


def draw_background(canvas: Canvas, dice: Dice) -> None:
    """Two colours along a random direction, with stripes, discs out of focus, or blotches over them."""
    size = canvas.pixels.shape[-1]
    angle = dice.between(0, 2 * np.pi)
    along = canvas.x * np.cos(angle) + canvas.y * np.sin(angle)
    canvas.pixels[:] = dice.colour(BACKGROUND)
    canvas.paint(cover(along, 2.2), dice.colour(BACKGROUND))
    stripes = np.sin(along * dice.between(6, 22) + dice.between(0, 6))
    canvas.shade(1 + dice.chance(0.3) * dice.between(0.03, 0.12) * np.clip(3 * stripes, -1, 1))
    canvas.shade(1 + dice.chance(0.5) * dice.between(0.02, 0.1) * smooth_noise(dice, size, 7))
    for _ in range(3):
        disc = length(canvas.x - dice.between(-1, 1), canvas.y - dice.between(-1, 1)) - dice.between(0.1, 0.35)
        canvas.paint(dice.chance(0.35) * dice.between(0.1, 0.4) * soft(disc, 0.1), dice.colour(BACKGROUND))


def draw_back_hair(canvas: Canvas, head: Head, dice: Dice) -> None:
    """The hair behind the head: none, a rim, a mane down to the shoulders, or a cloud of curls; sometimes a bun."""
    volume = dice.between(0.03, 0.2)
    curls = dice.chance(0.3) * dice.between(0.02, 0.06) * np.sin(dice.between(9, 16) * np.arctan2(head.x, head.y))
    crown = ellipse(head.x, head.y + 0.15, head.width + volume, 0.92 + volume) + curls
    mane = box(head.x, head.y - 0.4, head.width + volume, 0.75, 0.3)
    long = dice.chance(0.4)
    low = head.y - dice.between(-0.25, 0.2)
    shape = np.where(long > 0, np.minimum(crown, mane), np.maximum(crown, low))
    bun = ellipse(head.x - dice.between(-0.3, 0.3), head.y + 1.08 + volume, 0.32, 0.28)
    shape = np.where(dice.chance(0.12) > 0, np.minimum(shape, bun), shape)
    share = cover(shape, head.pixel)
    canvas.paint(share, 0.82 * head.hair)
    head.lit = np.maximum(head.lit, share)


def draw_body(canvas: Canvas, head: Head, dice: Dice) -> None:
    """Neck, shoulders and a shirt, with the shadow that the chin throws on the neck."""
    neck = box(head.x, head.y - 1.1, dice.between(0.3, 0.42), 0.5, 0.1)
    canvas.paint(cover(neck, head.pixel), head.skin)
    canvas.paint(0.45 * soft(ellipse(head.x, head.y - 0.2, 0.62, 1.02), 0.3) * cover(neck, head.pixel), 0.5 * head.skin)
    shirt = ellipse(head.x, head.y - 2.15, dice.between(1.1, 1.5), dice.between(0.9, 1.02))
    collar = ellipse(head.x, head.y - 1.16, dice.between(0.34, 0.5), dice.between(0.14, 0.36))
    canvas.paint(cover(np.maximum(shirt, -collar), head.pixel), dice.colour(CLOTH))


def draw_ears(canvas: Canvas, head: Head, dice: Dice) -> None:
    radius = dice.between(0.12, 0.18)
    x, y = np.abs(head.x) - head.width, head.y - dice.between(-0.02, 0.1)
    share = cover(ellipse(x, y, radius, 1.4 * radius), head.pixel)
    canvas.paint(share, 0.94 * head.skin)
    canvas.paint(soft(ellipse(x, y, 0.5 * radius, 0.8 * radius), 0.12), 0.75 * head.skin)
    head.lit = np.maximum(head.lit, share)


def draw_skin(canvas: Canvas, head: Head, dice: Dice) -> None:
    """The head itself, with cheeks that blush more or less."""
    canvas.paint(head.mask, head.skin)
    cheeks = ellipse(np.abs(head.u) - 0.44, head.v - dice.between(0.2, 0.3), 0.17, 0.13)
    canvas.paint(dice.between(0, 0.8) * soft(cheeks, 0.2) * head.mask, BLUSH * head.skin)


def draw_beard(canvas: Canvas, head: Head, dice: Dice) -> None:
    """Stubble or a full beard on the lower face, and, apart from it, a moustache."""
    u, v = head.u, head.v
    cheeks = dice.between(0.3, 0.42) - 1.6 * np.maximum(np.abs(u) - 0.45, 0) - v
    bare = ellipse(u, v - 0.42, dice.between(0.36, 0.46), dice.between(0.2, 0.26))
    strength = dice.chance(0.2) * dice.between(0.15, 0.9)
    canvas.paint(strength * soft(np.maximum(cheeks, -bare), 0.25) * head.mask, 0.7 * head.hair)
    moustache = ellipse(u, v - 0.28 - 0.5 * u * u, dice.between(0.2, 0.32), dice.between(0.04, 0.07))
    canvas.paint(dice.chance(0.12) * dice.between(0.4, 1) * cover(moustache, head.pixel), 0.9 * head.hair)


def draw_nose(canvas: Canvas, head: Head, dice: Dice) -> None:
    """A nose stands out of the face, so it moves further than the face when the head turns."""
    u = head.u - 0.16 * np.sin(head.yaw)
    v = head.v - dice.between(0.12, 0.18)
    radius = dice.between(0.08, 0.13)
    side = dice.sign()  # the side in shadow
    canvas.paint(0.5 * soft(ellipse(u - 0.05 * side, v + 0.08, 0.6 * radius, 0.24), 0.08), 0.8 * head.skin)
    canvas.paint(soft(ellipse(u, v - 0.02, 1.15 * radius, radius), 0.06), 0.78 * head.skin)
    canvas.paint(soft(ellipse(u + 0.01 * side, v + 0.01, radius, 0.85 * radius), 0.06), head.skin)
    canvas.paint(0.5 * soft(ellipse(u + 0.03 * side, v + 0.03, 0.03, 0.03), 0.06), 1.15 * head.skin)


def draw_eyes(canvas: Canvas, head: Head, dice: Dice) -> None:
    """White, iris, pupil, a glint and the line of the upper lid."""
    # Folding the face along its middle draws both eyes at once; what is not symmetric is multiplied by the side.
    side = np.sign(head.u)
    u, v = np.abs(head.u) - dice.between(0.27, 0.34), head.v - dice.between(-0.16, -0.06)
    wide, open_ = dice.between(0.12, 0.16), dice.between(0.7, 1.1)
    white = ellipse(u, v, wide, wide * open_)
    inside = cover(white, head.pixel)
    canvas.paint(inside, 0.96)
    look_u, look_v = u - side * dice.between(-0.04, 0.04), v - dice.between(-0.02, 0.02)
    iris = dice.between(0.07, 0.095)
    canvas.paint(inside * cover(ellipse(look_u, look_v, iris, iris), head.pixel), dice.colour(IRIS, 0.04))
    canvas.paint(inside * cover(ellipse(look_u, look_v, 0.55 * iris, 0.55 * iris), head.pixel), INK)
    glint = ellipse(look_u + 0.03 * side, look_v + 0.035, 0.025, 0.025)
    canvas.paint(inside * cover(glint, head.pixel), 1.0)
    lid = np.maximum(outline(white, dice.between(0.02, 0.06)), v + 0.02)
    canvas.paint(cover(lid, head.pixel), INK)


def draw_brows(canvas: Canvas, head: Head, dice: Dice) -> None:
    u = np.abs(head.u) - dice.between(0.27, 0.34)
    v = head.v - dice.between(-0.4, -0.3) - dice.between(-0.3, 0.3) * u - dice.between(0, 2.2) * (u * u - 0.02) - 0.02
    canvas.paint(cover(ellipse(u, v, dice.between(0.12, 0.18), dice.between(0.02, 0.05)), head.pixel), 0.7 * head.hair)


@dataclass
class Mouth:
    """The one thing that differs between the classes, each value (B, 1, 1) in head units."""

    bend: Array  # how far the corners are above the middle; negative when they are below it
    half_width: Array
    gap: Array  # half the distance between the lips in the middle; 0 for a closed mouth
    teeth: Array  # 1 when the teeth show


def draw_mouth(canvas: Canvas, head: Head, mouth: Mouth, dice: Dice) -> None:
    """Lips along a bent line; when they part, the dark inside, teeth along the upper lip and a tongue."""
    u, v = head.u - 0.04 * np.sin(head.yaw) - dice.between(-0.02, 0.02), head.v - dice.between(0.41, 0.47)
    along = u / mouth.half_width
    arc = along * along
    # Less its mean over the width, so that a bend moves the corners up and the middle down by as much.
    middle = mouth.bend * (1 / 3 - arc) + dice.between(-0.06, 0.06) * u
    half_gap = mouth.gap * np.sqrt(np.maximum(1 - arc, 0))
    beyond = (np.abs(along) - 1) * mouth.half_width
    steep = np.sqrt(1 + np.square(2 * mouth.bend * along / mouth.half_width))
    inside = np.maximum((np.abs(v - middle) - half_gap) / steep, beyond)

    lip = dice.between(0.05, 0.08) * np.sqrt(np.clip(1.2 - arc, 0, 1))
    colour = np.where(dice.chance(0.4)[:, None] > 0, dice.colour(LIPSTICK), LIPS + 0.2 * head.skin)
    canvas.paint(cover(inside - lip, head.pixel), colour)

    opening = cover(inside - dice.between(0.008, 0.016), head.pixel)
    canvas.paint(opening, dice.colour([(70, 20, 24), (50, 16, 20), (96, 34, 36)], 0.03))
    tongue = ellipse(u, v - middle - mouth.gap, 0.7 * mouth.half_width, 0.7 * mouth.gap + 0.01)
    canvas.paint(opening * cover(tongue, head.pixel) * (mouth.gap > 0), dice.colour([(206, 96, 96)]))
    teeth = v - middle + half_gap - dice.between(0.4, 1.3) * mouth.gap
    canvas.paint(opening * cover(teeth, head.pixel) * mouth.teeth * (mouth.gap > 0), dice.between(0.88, 0.98)[:, None])


def draw_front_hair(canvas: Canvas, head: Head, dice: Dice) -> None:
    """What falls over the forehead: a hairline that may be bent, parted or ragged; some heads are bald."""
    u = head.u
    line = dice.between(-0.68, -0.45) + dice.between(-0.1, 0.5) * u * u + dice.between(-0.3, 0.3) * u
    strands = dice.chance(0.6) * dice.between(0.02, 0.07) * np.sin(dice.between(12, 30) * u + dice.between(0, 6))
    hair = np.maximum(head.v - line - strands, ellipse(head.x, head.y, head.width + 0.03, 1.03))
    share = cover(hair, head.pixel) * (1 - dice.chance(0.08))
    canvas.paint(share, head.hair)
    gloss = np.abs(head.v + 0.82 - 0.4 * u * u + 0.1 * strands) - 0.03
    canvas.paint(dice.between(0, 0.35) * share * soft(gloss, 0.14), np.minimum(1.3 * head.hair + 0.12, 1))


def draw_hat(canvas: Canvas, head: Head, dice: Dice) -> None:
    """A woollen hat on one head in eight, with a band and a bobble."""
    worn, cloth = dice.chance(0.12), dice.colour(CLOTH)
    line = dice.between(-0.56, -0.44)
    cap = ellipse(head.x, head.y + 0.1, head.width + 0.1, 1.04)
    canvas.paint(worn * cover(ellipse(head.x, head.y + 1.2, 0.17, 0.17), head.pixel), np.minimum(1.2 * cloth, 1))
    share = worn * cover(np.maximum(cap, head.v - line), head.pixel)
    canvas.paint(share, cloth)
    canvas.paint(worn * cover(np.maximum(cap - 0.03, np.abs(head.v - line) - 0.09), head.pixel), 0.8 * cloth)
    head.lit = np.maximum(head.lit, share)


def draw_light(canvas: Canvas, head: Head, dice: Dice) -> None:
    """Lambert's law on the ellipsoid: the cosine between the surface and a lamp above, beside or below the viewer."""
    angle, height = dice.between(0, 2 * np.pi), dice.between(0.3, 0.9)
    flat = np.sqrt(1 - height * height)
    across = head.x / head.width
    rim = np.maximum(length(across, head.y), 1)  # hair and ears beyond the rim are lit like the rim
    lit = (across * np.cos(angle) + head.y * np.sin(angle)) * flat / rim + head.depth * height
    strength = dice.between(0.25, 0.75)
    shade = (1 - 0.75 * strength + strength * np.maximum(lit, 0)) / (1 - 0.35 * strength)
    canvas.shade(1 + head.lit * (np.minimum(shade, 1.15) - 1))


def draw_glasses(canvas: Canvas, head: Head, dice: Dice) -> None:
    """Round or square glasses, clear or tinted, on every third nose."""
    worn, thick, colour = dice.chance(0.3), dice.between(0.03, 0.06), dice.colour(FRAME, 0.03)
    apart, radius = dice.between(0.29, 0.34), dice.between(0.19, 0.24)
    side = head.u - 0.06 * np.sin(head.yaw)
    u, v = np.abs(side) - apart, head.v - dice.between(-0.12, -0.05)
    lens = box(u, v, radius, 0.85 * radius, dice.between(0.25, 0.84) * radius)
    canvas.paint(worn * dice.chance(0.3) * dice.between(0.2, 0.75) * cover(lens, head.pixel), INK)
    glare = np.maximum(lens, np.abs(np.sign(side) * u + 0.8 * v + 0.06) - 0.025)
    canvas.paint(worn * dice.between(0, 0.35) * cover(glare, head.pixel), 1.0)
    bridge = np.maximum(np.abs(v + 0.02) - thick / 2, u + radius)
    canvas.paint(worn * cover(np.minimum(outline(lens, thick), bridge), head.pixel), colour)


def take_photo(canvas: Canvas, dice: Dice) -> Array:
    """What the camera does: exposure, a colour cast, less or no colour, blur, grain; gives uint8 (B, size, size, 3)."""
    pixels = canvas.pixels
    pixels = pixels * dice.between(0.8, 1.1)[:, None] * (1 + 0.04 * dice.noise(3, 1, 1))
    grey = pixels.mean(1, keepdims=True)
    pixels = grey + (pixels - grey) * (dice.between(0.6, 1.1) * (1 - dice.chance(0.06)))[:, None]
    pixels = blur(pixels, dice.between(0, 0.15))
    pixels = pixels + dice.between(0, 0.02)[:, None] * dice.noise(1, *pixels.shape[2:])
    return np.rint(pixels.clip(0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
