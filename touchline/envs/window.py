"""A window for `render_mode="human"` (needs pygame, the extra `window`)."""

from __future__ import annotations

from types import ModuleType

import numpy as np


class Window:
    """Shows pictures at a steady pace; closed by its user, it stays closed."""

    def __init__(self, title: str, fps: int) -> None:
        self._pygame = _pygame()
        self._title, self._fps = title, fps
        self._clock = self._pygame.time.Clock()
        self._screen = None
        self._closed = False

    def show(self, picture: np.ndarray) -> None:
        """Draws a picture [H, W, 3] uint8 and waits until its time is over."""
        if self._closed:
            return
        pygame = self._pygame
        if self._screen is None:
            pygame.display.init()
            pygame.display.set_caption(self._title)
            self._screen = pygame.display.set_mode((picture.shape[1], picture.shape[0]))
        self._screen.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
        pygame.display.flip()
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.close()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Takes the window away."""
        self._closed = True
        if self._screen is not None:
            self._pygame.display.quit()
            self._screen = None


def _pygame() -> ModuleType:
    try:
        import pygame
    except ImportError:
        raise ImportError('render_mode="human" needs pygame: pip install "touchline[window]"') from None
    return pygame
