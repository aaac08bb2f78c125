"""A match as a picture: a broadcast tactics view of the pitch, drawn from the state arrays, no OpenGL.

The pitch is painted once, three times too large, and scaled down; players, ticks and texts are small cached
images at half-pixel places, so a frame costs a copy of the background and some thirty pastes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from touchline.envs.simulator import GAME_MODES, MatchState

METRES_X, METRES_Y = 54.4, 83.6
"""Metres in one observation unit along and across the pitch."""

HALF_LENGTH, HALF_WIDTH = 55.0, 36.0
GOAL_HALF_WIDTH, GOAL_DEPTH = 3.7, 2.55
BOX_DEPTH, BOX_HALF_WIDTH = 16.5, 20.15
SIX_DEPTH, SIX_HALF_WIDTH = 5.5, 9.15
SPOT, CIRCLE = 11.0, 9.15
MARGIN_X, MARGIN_Y = 5.0, 4.2
"""Grass drawn beyond the lines, metres; balls and players leave the lines a little."""

GRASS = ((61, 128, 69), (70, 141, 77))
SURROUND = (47, 103, 58)
LINE = (236, 243, 236)
BAR = (15, 22, 36)
BAR_TEXT = (233, 238, 246)
DIM_TEXT = (141, 153, 174)
ALERT = (255, 209, 71)
INK = (16, 20, 28)
WHITE = (255, 255, 255)


class Kit(NamedTuple):
    """Colours (red, green, blue; 0 to 255) of a side: field players' shirt and number, then the keeper's."""

    shirt: tuple[int, int, int]
    number: tuple[int, int, int]
    keeper_shirt: tuple[int, int, int]
    keeper_number: tuple[int, int, int]


KITS = (
    Kit((18, 78, 170), WHITE, (120, 200, 245), INK),
    Kit((240, 148, 12), INK, (250, 238, 120), INK),
)
"""Left and right: blue against orange, which stay apart under every common colour blindness and in grey."""

_SUPERSAMPLE = 4
_ANGLES = 64
_CACHE_LIMIT = 4096


class _Sprite(NamedTuple):
    rgb: Image.Image
    alpha: Image.Image
    anchor: int  # pixels from the sprite's left and top edge to the point it stands on


class Renderer:
    """Draws states of one picture size and keeps what can be used again.

    Args:
        width: pixels, rounded up to a multiple of 16; the height follows (video codecs want multiples of 16).
        names: what the scoreboard calls the left and the right side.
        kits: colours of the left and the right side.
    """

    def __init__(
        self,
        width: int = 960,
        *,
        names: tuple[str, str] = ("Left", "Right"),
        kits: tuple[Kit, Kit] = KITS,
    ) -> None:
        if width < 320:
            raise ValueError(f"expected a width of at least 320 pixels, got {width}")
        self.width = -(-width // 16) * 16
        self.names = names
        self.kits = kits
        self._scale = self.width / 960
        self._header = round(54 * self._scale)
        self._pixels_per_metre = self.width / (2 * (HALF_LENGTH + MARGIN_X))
        pitch = 2 * (HALF_WIDTH + MARGIN_Y) * self._pixels_per_metre
        self.height = -(-round(self._header + pitch) // 16) * 16
        self._centre = (self.width / 2, self._header + (self.height - self._header) / 2)
        self._radius = 11.2 * self._scale
        self._background: Image.Image | None = None
        self._sprites: dict[tuple, _Sprite] = {}
        self._texts: dict[tuple, tuple[Image.Image, tuple[int, int]]] = {}
        self._fonts: dict[float, ImageFont.FreeTypeFont] = {}

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """(column, row) of a point on the ground given in observation units."""
        return (
            self._centre[0] + x * METRES_X * self._pixels_per_metre,
            self._centre[1] + y * METRES_Y * self._pixels_per_metre,
        )

    def frame(
        self,
        state: MatchState,
        index: int = 0,
        *,
        trail: np.ndarray | None = None,
        title: str | None = None,
        subtitle: str | None = None,
        caption: str | None = None,
        names: tuple[str, str] | None = None,
    ) -> np.ndarray:
        """The picture of one match.

        Args:
            state: the matches; `index` picks one.
            trail: [K, 2 or 3] latest ball positions (x, y, z), oldest first.
            title: event in large letters across the pitch ("GOAL"), `subtitle` the smaller line under it.
            caption: one line at the bottom of the picture.
            names: overrides the names of the sides for this frame.

        Returns:
            [H, W, 3] uint8, red, green, blue.
        """
        if not 0 <= index < len(state.floats):
            raise ValueError(f"expected an index below {len(state.floats)} matches, got {index}")
        one = MatchState(state.floats[index : index + 1], state.ints[index : index + 1])
        if not np.isfinite(one.floats).all():
            raise ValueError(f"match {index} cannot be drawn: its state holds numbers that are not finite")
        if self._background is None:
            self._background = self._paint_pitch()
        image = self._background.copy()
        ball = [float(v) for v in one.get("ball_position")[0]]
        if trail is not None and len(trail) > 1:
            self._draw_trail(image, np.asarray(trail, np.float64))
        self._draw_ball_shadow(image, ball)
        self._draw_players(image, one)
        self._draw_ball(image, ball)
        self._draw_scoreboard(image, one, names or self.names)
        if caption:
            self._draw_caption(image, caption)
        if title:
            self._draw_title(image, title, subtitle)
        return np.array(image)

    # ---- the pitch, painted once --------------------------------------------------------------------------

    def _paint_pitch(self) -> Image.Image:
        k = 3
        size = (self.width * k, self.height * k)
        unit = self._pixels_per_metre * k
        cx, cy = self._centre[0] * k, self._centre[1] * k
        image = Image.new("RGB", size, SURROUND)
        draw = ImageDraw.Draw(image)

        def box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
            """Metres from the centre to pixels, corners in order."""
            left, right = sorted((x0, x1))
            top, bottom = sorted((y0, y1))
            return (cx + left * unit, cy + top * unit, cx + right * unit, cy + bottom * unit)

        stripes = 20
        for i in range(stripes):
            x0 = -HALF_LENGTH + i * 2 * HALF_LENGTH / stripes
            x1 = x0 + 2 * HALF_LENGTH / stripes
            draw.rectangle(box(x0, -HALF_WIDTH - 1.6, x1, HALF_WIDTH + 1.6), fill=GRASS[i % 2])
        draw.rectangle(box(-HALF_LENGTH - 1.6, -HALF_WIDTH - 1.6, -HALF_LENGTH, HALF_WIDTH + 1.6), fill=GRASS[1])
        draw.rectangle(box(HALF_LENGTH, -HALF_WIDTH - 1.6, HALF_LENGTH + 1.6, HALF_WIDTH + 1.6), fill=GRASS[0])

        # A 12 cm line is one pixel at this size; drawn a little wider it survives video compression.
        line = max(round(0.22 * unit), k)
        half = line / 2 / unit

        def frame_of(x0: float, y0: float, x1: float, y1: float) -> None:
            draw.rectangle(
                box(min(x0, x1) - half, min(y0, y1) - half, max(x0, x1) + half, max(y0, y1) + half),
                outline=LINE,
                width=line,
            )

        def dot(x: float, y: float, radius: float) -> None:
            draw.ellipse(box(x - radius, y - radius, x + radius, y + radius), fill=LINE)

        for side in (-1, 1):
            goal_line = side * HALF_LENGTH
            # The arc of the penalty area: only the part of the circle that lies outside the box.
            reach = CIRCLE + half
            angle = math.degrees(math.acos((BOX_DEPTH - SPOT) / CIRCLE))
            middle = 0 if side < 0 else 180
            spot = goal_line - side * SPOT
            draw.arc(
                box(spot - reach, -reach, spot + reach, reach),
                middle - angle,
                middle + angle,
                fill=LINE,
                width=line,
            )
            frame_of(goal_line, -BOX_HALF_WIDTH, goal_line - side * BOX_DEPTH, BOX_HALF_WIDTH)
            frame_of(goal_line, -SIX_HALF_WIDTH, goal_line - side * SIX_DEPTH, SIX_HALF_WIDTH)
            dot(spot, 0, 0.32)
            for end in (-1, 1):
                corner = box(goal_line - 1, end * HALF_WIDTH - 1, goal_line + 1, end * HALF_WIDTH + 1)
                start = {(-1, -1): 0, (1, -1): 90, (1, 1): 180, (-1, 1): 270}[side, end]
                draw.arc(corner, start, start + 90, fill=LINE, width=line)
        frame_of(-HALF_LENGTH, -HALF_WIDTH, HALF_LENGTH, HALF_WIDTH)
        draw.rectangle(box(-half, -HALF_WIDTH, half, HALF_WIDTH), fill=LINE)
        reach = CIRCLE + half
        draw.ellipse(box(-reach, -reach, reach, reach), outline=LINE, width=line)
        dot(0, 0, 0.4)

        for side in (-1, 1):
            goal_line = side * (HALF_LENGTH + half)
            back = goal_line + side * GOAL_DEPTH
            net = Image.new("L", size, 0)
            pen = ImageDraw.Draw(net)
            pen.rectangle(box(goal_line, -GOAL_HALF_WIDTH, back, GOAL_HALF_WIDTH), fill=70)
            mesh = 0.55
            for i in range(int(2 * GOAL_HALF_WIDTH / mesh) + 1):
                y = -GOAL_HALF_WIDTH + i * mesh
                pen.line(box(goal_line, y, back, y), fill=185, width=2)
            for i in range(int(GOAL_DEPTH / mesh) + 1):
                x = goal_line + side * i * mesh
                pen.line(box(x, -GOAL_HALF_WIDTH, x, GOAL_HALF_WIDTH), fill=185, width=2)
            image.paste(Image.new("RGB", size, (225, 232, 228)), (0, 0), net)
            post = 0.28
            draw.rectangle(box(goal_line, -GOAL_HALF_WIDTH - post, back + side * post, -GOAL_HALF_WIDTH), fill=WHITE)
            draw.rectangle(box(goal_line, GOAL_HALF_WIDTH, back + side * post, GOAL_HALF_WIDTH + post), fill=WHITE)
            draw.rectangle(box(back, -GOAL_HALF_WIDTH - post, back + side * post, GOAL_HALF_WIDTH + post), fill=WHITE)

        image = image.resize((self.width, self.height), Image.Resampling.BOX)
        return self._light(image)

    def _light(self, image: Image.Image) -> Image.Image:
        """Floodlight from the middle, a breath of grass texture, and the bar of the scoreboard on top."""
        pixels = np.asarray(image, np.float32)
        column = (np.arange(self.width) - self._centre[0]) / self.width
        row = (np.arange(self.height) - self._centre[1]) / self.height
        glow = 1.07 - 0.42 * (column[None, :] ** 2 + 0.8 * row[:, None] ** 2)
        texture = np.random.default_rng(0).normal(0.0, 1.6, (self.height, self.width))
        pixels = pixels * glow[..., None] + texture[..., None]
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 0, self.width, self._header - 1), fill=BAR)
        draw.rectangle((0, self._header - 1, self.width, self._header - 1), fill=(46, 57, 80))
        return image

    # ---- players and ball ---------------------------------------------------------------------------------

    def _draw_players(self, image: Image.Image, state: MatchState) -> None:
        owner = (int(state.get("ball_owned_team")[0]), int(state.get("ball_owned_player")[0]))
        players = []
        for team, side in enumerate(("left", "right")):
            positions = state.get(f"{side}_position")[0].tolist()
            directions = state.get(f"{side}_direction")[0].tolist()
            active = state.get(f"{side}_active")[0].tolist()
            roles = state.get(f"{side}_role")[0].tolist()
            yellow = state.get(f"{side}_yellow")[0].tolist()
            controlled = set(state.get(f"{side}_controlled")[0].tolist())
            for i in range(min(int(state.get(f"{side}_count")[0]), len(positions))):
                if active[i]:
                    look = (team, i, roles[i] == 0, bool(yellow[i]), i in controlled, (team, i) == owner)
                    players.append((positions[i][1], positions[i][0], directions[i], look))
        players.sort(key=lambda player: player[0])
        for y, x, (dx, dy), (team, _, keeper, _, controlled, _) in players:
            speed = math.hypot(dx * METRES_X, dy * METRES_Y) * 10.0  # metres per second
            if speed > 0.4:
                angle = round(math.atan2(dy * METRES_Y, dx * METRES_X) / (2 * math.pi) * _ANGLES) % _ANGLES
                length = min(round(speed), 9)
                self._stamp(image, self._sprite("tick", team, keeper, controlled, angle, length), *self.pixel(x, y))
        for y, x, _, look in players:
            column, row = self.pixel(x, y)
            fx, fy = round(column * 2) % 2, round(row * 2) % 2
            self._stamp(image, self._sprite("player", *look, fx, fy), math.floor(column), math.floor(row))

    def _draw_trail(self, image: Image.Image, trail: np.ndarray) -> None:
        points = [self._lifted(*p[:2], p[2] if len(p) > 2 else 0.0) for p in trail]
        k, pad = 2, 6
        left = math.floor(min(p[0] for p in points)) - pad
        top = math.floor(min(p[1] for p in points)) - pad
        right = math.ceil(max(p[0] for p in points)) + pad
        bottom = math.ceil(max(p[1] for p in points)) + pad
        left, top = max(left, 0), max(top, self._header)
        right, bottom = min(right, self.width), min(bottom, self.height)
        if right <= left or bottom <= top:
            return
        mask = Image.new("L", ((right - left) * k, (bottom - top) * k), 0)
        draw = ImageDraw.Draw(mask)
        local = [((px - left) * k, (py - top) * k) for px, py in points]
        for i in range(len(local) - 1):
            share = (i + 1) / (len(local) - 1)
            width = max(1, round((1.0 + 3.4 * share) * self._scale * k))
            strength = round(20 + 150 * share)
            draw.line((*local[i], *local[i + 1]), fill=strength, width=width)
            radius = width / 2
            ex, ey = local[i + 1]
            draw.ellipse((ex - radius, ey - radius, ex + radius, ey + radius), fill=strength)
        mask = mask.reduce(k)
        image.paste(Image.new("RGB", mask.size, WHITE), (left, top), mask)

    def _lifted(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Pixel of a point `z` metres above the ground: height is shown as a shift up the picture."""
        column, row = self.pixel(x, y)
        return column, row - max(z - 0.11, 0.0) * 0.75 * self._pixels_per_metre

    def _draw_ball_shadow(self, image: Image.Image, ball: list[float]) -> None:
        height = min(round(max(ball[2] - 0.11, 0.0) * 2), 40)
        self._stamp(image, self._sprite("shadow", height), *self.pixel(ball[0], ball[1]))

    def _draw_ball(self, image: Image.Image, ball: list[float]) -> None:
        column, row = self._lifted(*ball)
        height = min(round(max(ball[2] - 0.11, 0.0) * 4), 60)
        fx, fy = round(column * 2) % 2, round(row * 2) % 2
        self._stamp(image, self._sprite("ball", height, fx, fy), math.floor(column), math.floor(row))

    def _stamp(self, image: Image.Image, sprite: _Sprite, column: float, row: float) -> None:
        # A diverged or hostile state must not make Pillow work with boundless boxes.
        if -200 < column < self.width + 200 and -200 < row < self.height + 200:
            at = (round(column) - sprite.anchor, round(row) - sprite.anchor)
            image.paste(sprite.rgb, at, sprite.alpha)

    def _sprite(self, kind: str, *look: object) -> _Sprite:
        key = (kind, *look)
        if key not in self._sprites:
            if len(self._sprites) >= _CACHE_LIMIT:
                self._sprites.clear()
            paint = {
                "player": self._paint_player,
                "tick": self._paint_tick,
                "ball": self._paint_ball,
                "shadow": self._paint_shadow,
            }[kind]
            self._sprites[key] = paint(*look)
        return self._sprites[key]

    def _canvas(self, reach: float) -> tuple[Image.Image, int]:
        """An empty supersampled square that reaches `reach` pixels around its anchor, and the anchor."""
        anchor = math.ceil(reach)
        return Image.new("RGBA", ((2 * anchor + 1) * _SUPERSAMPLE,) * 2, (0, 0, 0, 0)), anchor

    @staticmethod
    def _finish(canvas: Image.Image, anchor: int) -> _Sprite:
        small = canvas.resize((2 * anchor + 1,) * 2, Image.Resampling.BOX)
        return _Sprite(small.convert("RGB"), small.getchannel("A"), anchor)

    def _paint_player(
        self,
        team: int,
        index: int,
        keeper: bool,
        yellow: bool,
        controlled: bool,
        owner: bool,
        fx: int,
        fy: int,
    ) -> _Sprite:
        k, s, radius = _SUPERSAMPLE, self._scale, self._radius
        canvas, anchor = self._canvas(radius * 2.3)
        cx, cy = (anchor + fx / 2) * k, (anchor + fy / 2) * k
        kit = self.kits[team]
        shirt = kit.keeper_shirt if keeper else kit.shirt
        number = kit.keeper_number if keeper else kit.number

        shadow = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
        pen = ImageDraw.Draw(shadow)
        r = radius * k
        pen.ellipse((cx - r + 2 * s * k, cy - r + 3 * s * k, cx + r + 2 * s * k, cy + r + 3 * s * k), (0, 0, 0, 120))
        canvas = Image.alpha_composite(canvas, shadow.filter(ImageFilter.GaussianBlur(1.6 * s * k)))
        draw = ImageDraw.Draw(canvas)

        def disc(r: float, fill: tuple[int, ...]) -> None:
            draw.ellipse((cx - r * k, cy - r * k, cx + r * k, cy + r * k), fill=fill)

        if controlled:
            disc(radius + 5.2 * s, (*INK, 255))
            disc(radius + 4.2 * s, (*WHITE, 255))
            disc(radius + 1.9 * s, (*INK, 255))
        if owner:
            disc(radius + 1.0 * s, (*ALERT, 255))
        else:
            disc(radius + 0.6 * s, (*(INK if keeper or controlled else WHITE), 255))
        disc(radius - 1.0 * s, (*shirt, 255))
        draw.text(
            (cx, cy - 0.2 * s * k),
            str(index + 1),
            font=self._font(13.5 * s * k),
            fill=(*number, 255),
            anchor="mm",
            stroke_width=round(0.3 * s * k),
            stroke_fill=(*number, 255),
        )
        if controlled:
            tip, base, half = cy - (radius + 5.5 * s) * k, cy - (radius + 12 * s) * k, 5.2 * s * k
            draw.polygon(((cx, tip), (cx - half, base), (cx + half, base)), fill=(*INK, 255))
            tip, base, half = tip - 1.6 * s * k, base + 1.0 * s * k, 3.3 * s * k
            draw.polygon(((cx, tip), (cx - half, base), (cx + half, base)), fill=(*WHITE, 255))
        if yellow:
            x0, y0 = cx + radius * 0.55 * k, cy - radius * 1.1 * k
            draw.rectangle(
                (x0, y0, x0 + 5 * s * k, y0 + 7 * s * k),
                fill=(*ALERT, 255),
                outline=(*INK, 255),
                width=k // 2,
            )
        return self._finish(canvas, anchor)

    def _paint_tick(self, team: int, keeper: bool, controlled: bool, angle: int, length: int) -> _Sprite:
        """A wedge out of the disc: it points where he runs and grows with his speed (metres per second)."""
        k, s = _SUPERSAMPLE, self._scale
        edge = self._radius + (5.2 * s if controlled else 0.6 * s)
        reach = edge + (2.5 + 1.8 * length) * s
        canvas, anchor = self._canvas(reach + 3 * s)
        draw = ImageDraw.Draw(canvas)
        c = (anchor + 0.5) * k
        turn = angle * 2 * math.pi / _ANGLES
        cos, sin = math.cos(turn), math.sin(turn)
        kit = self.kits[team]
        shirt = kit.keeper_shirt if keeper else kit.shirt

        def wedge(tip: float, half: float, fill: tuple[int, ...]) -> None:
            corners = ((tip, 0.0), (0.0, half), (0.0, -half))
            draw.polygon([(c + (u * cos - v * sin) * k, c + (u * sin + v * cos) * k) for u, v in corners], fill)

        wedge(reach + 2.4 * s, edge * 1.02, (*INK, 150))
        wedge(reach + 0.8 * s, edge * 0.94, (*WHITE, 240))
        wedge(reach - 2.0 * s, edge * 0.72, (*shirt, 255))
        return self._finish(canvas, anchor)

    def _paint_ball(self, height: int, fx: int, fy: int) -> _Sprite:
        k, s = _SUPERSAMPLE, self._scale
        radius = (4.2 + 0.12 * height) * s
        canvas, anchor = self._canvas(radius + 3 * s)
        draw = ImageDraw.Draw(canvas)
        cx, cy = (anchor + fx / 2) * k, (anchor + fy / 2) * k
        for r, fill in ((radius + 1.3 * s, INK), (radius, WHITE)):
            draw.ellipse((cx - r * k, cy - r * k, cx + r * k, cy + r * k), fill=(*fill, 255))
        patch = radius * 0.42 * k
        pentagon = [
            (cx + patch * math.sin(i * 2 * math.pi / 5), cy - patch * math.cos(i * 2 * math.pi / 5)) for i in range(5)
        ]
        draw.polygon(pentagon, fill=(*INK, 255))
        return self._finish(canvas, anchor)

    def _paint_shadow(self, height: int) -> _Sprite:
        k, s = _SUPERSAMPLE, self._scale
        metres = height / 2
        radius = (4.6 + 0.45 * metres) * s
        canvas, anchor = self._canvas(radius * 1.5 + 4 * s)
        c = (anchor + 0.5) * k
        draw = ImageDraw.Draw(canvas)
        strength = round(150 / (1 + 0.06 * metres))
        draw.ellipse(
            (c - radius * k, c - 0.72 * radius * k, c + radius * k, c + 0.72 * radius * k),
            (0, 0, 0, strength),
        )
        canvas = canvas.filter(ImageFilter.GaussianBlur((0.8 + 0.16 * metres) * s * k))
        return self._finish(canvas, anchor)

    # ---- texts --------------------------------------------------------------------------------------------

    def _font(self, size: float) -> ImageFont.FreeTypeFont:
        if size not in self._fonts:
            self._fonts[size] = ImageFont.load_default(size)
        return self._fonts[size]

    def _text(
        self,
        image: Image.Image,
        at: tuple[float, float],
        text: str,
        size: float,
        fill: tuple[int, int, int],
        *,
        align: str = "middle",
        bold: bool = False,
        room: float | None = None,
    ) -> float:
        """Writes one line, vertically centred on `at`, cut to `room`; returns its width in pixels."""
        key = (text, size, bold, room)
        if key not in self._texts:
            if len(self._texts) >= _CACHE_LIMIT:
                self._texts.clear()
            self._texts[key] = self._paint_text(*key)
        mask, (dx, dy) = self._texts[key]
        width = mask.width - 2
        left = at[0] - {"left": 0.0, "middle": width / 2, "right": width}[align]
        image.paste(
            fill,
            (
                round(left) + dx,
                round(at[1]) + dy,
                round(left) + dx + mask.width,
                round(at[1]) + dy + mask.height,
            ),
            mask,
        )
        return width

    def _paint_text(
        self, text: str, size: float, bold: bool, room: float | None
    ) -> tuple[Image.Image, tuple[int, int]]:
        font = self._font(size * self._scale)
        text = text.replace("\n", " ")
        if room is not None and font.getlength(text) > room:
            while text and font.getlength(text + "...") > room:
                text = text[:-1]
            text = text.rstrip() + "..."
        # Sizes of a fixed string, so that lines with and without descenders stand on the same base line.
        ascent, descent = font.getmetrics()
        stroke = 0.022 * size * self._scale if bold else 0
        width = math.ceil(font.getlength(text)) + 2 + 2 * math.ceil(stroke)
        height = ascent + descent + 2
        mask = Image.new("L", (width, height), 0)
        pen = ImageDraw.Draw(mask)
        pen.text((1 + math.ceil(stroke), 1), text, font=font, fill=255, stroke_width=stroke, stroke_fill=255)
        cap = font.getbbox("H")
        return mask, (-1, -round((cap[1] + cap[3]) / 2) - 1)

    def _draw_scoreboard(self, image: Image.Image, state: MatchState, names: tuple[str, str]) -> None:
        s, middle = self._scale, self._header / 2
        draw = ImageDraw.Draw(image)
        cx = self.width / 2
        top, bottom = round(9 * s), round(self._header - 10 * s)
        score_half, name_width = 52 * s, 168 * s
        for team, sign in ((0, -1), (1, 1)):
            kit = self.kits[team]
            inner, outer = cx + sign * score_half, cx + sign * (score_half + name_width)
            draw.rectangle((min(inner, outer), top, max(inner, outer), bottom), fill=kit.shirt)
            self._text(
                image,
                ((inner + outer) / 2, middle),
                names[team],
                17,
                kit.number,
                bold=True,
                room=name_width - 16 * s,
            )
        draw.rectangle((cx - score_half, top, cx + score_half, bottom), fill=(245, 247, 250))
        left, right = int(state.get("left_score")[0]), int(state.get("right_score")[0])
        self._text(image, (cx - 25 * s, middle), str(left), 23, INK, bold=True)
        self._text(image, (cx, middle - 1 * s), ":", 21, (110, 118, 132), bold=True)
        self._text(image, (cx + 25 * s, middle), str(right), 23, INK, bold=True)

        tenths = max(int(state.get("steps_left")[0]), 0)
        clock = f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"
        x = 20 * s
        self._text(image, (x, middle), clock, 21, BAR_TEXT, align="left", bold=True)
        if s > 0.6:  # unreadable below
            self._text(image, (x + 84 * s, middle + 1 * s), f"{tenths} steps left", 12, DIM_TEXT, align="left")

        mode = GAME_MODES[int(state.get("game_mode")[0]) % len(GAME_MODES)]
        x = self.width - 20 * s
        if mode == "normal":
            width = self._text(image, (x, middle + 1 * s), "open play", 12, DIM_TEXT, align="right")
        else:
            label = mode.replace("_", " ").upper()
            width = self._font(12 * s).getlength(label) + 16 * s
            draw.rectangle((x - width, middle - 11 * s, x, middle + 11 * s), fill=ALERT)
            self._text(image, (x - width / 2, middle), label, 12, INK)
        team, player = int(state.get("ball_owned_team")[0]), int(state.get("ball_owned_player")[0])
        x -= width + 16 * s
        if team in (0, 1):
            r = 6 * s
            label = f"ball: {player + 1}" if player >= 0 else "ball"
            width = self._text(image, (x, middle), label, 14, BAR_TEXT, align="right")
            x -= width + 12 * s
            self._stamp(image, self._chip(team, r), x, middle)
        else:
            self._text(image, (x, middle), "ball: free", 14, DIM_TEXT, align="right")

    def _chip(self, team: int, radius: float) -> _Sprite:
        key = ("chip", team)
        if key not in self._sprites:
            canvas, anchor = self._canvas(radius + 1)
            c, r = (anchor + 0.5) * _SUPERSAMPLE, radius * _SUPERSAMPLE
            ImageDraw.Draw(canvas).ellipse(
                (c - r, c - r, c + r, c + r), (*self.kits[team].shirt, 255), (*WHITE, 255), 4
            )
            self._sprites[key] = self._finish(canvas, anchor)
        return self._sprites[key]

    def _shade(self, image: Image.Image, box: tuple[int, int, int, int], share: float) -> None:
        """Darkens a rectangle towards the colour of the bar."""
        part = image.crop(box)
        image.paste(Image.blend(part, Image.new("RGB", part.size, BAR), share), box[:2])

    def _draw_caption(self, image: Image.Image, caption: str) -> None:
        height = round(24 * self._scale)
        self._shade(image, (0, self.height - height, self.width, self.height), 0.72)
        at = (16 * self._scale, self.height - height / 2)
        self._text(image, at, caption, 13, BAR_TEXT, align="left", room=self.width - 32 * self._scale)

    def _draw_title(self, image: Image.Image, title: str, subtitle: str | None) -> None:
        s, (cx, cy) = self._scale, self._centre
        half = round((44 if subtitle else 32) * s)
        # Above the middle, where it covers neither goal.
        cy = round(cy - 0.27 * (self.height - self._header))
        self._shade(image, (0, cy - half, self.width, cy + half), 0.78)
        draw = ImageDraw.Draw(image)
        for row in (cy - half, cy + half - 2):
            draw.rectangle((0, row, self.width, row + 1), fill=ALERT)
        room = self.width - 40 * s
        self._text(image, (cx, cy - (13 * s if subtitle else 0)), title, 38, WHITE, bold=True, room=room)
        if subtitle:
            self._text(image, (cx, cy + 24 * s), subtitle, 16, BAR_TEXT, room=room)
