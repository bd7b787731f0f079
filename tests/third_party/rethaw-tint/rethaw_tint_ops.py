"""The operator, imported when a pipeline is built."""

from rethaw.ops import per_image


class TintOp:
    """D(x0, u) = (1 - u) x0 + u · colour."""

    def __init__(self, params):
        self.colour = params.colour

    def draw(self, like, generator):
        return {}

    def degrade(self, x0, u, state):
        return x0.lerp(x0.new_tensor(self.colour).view(3, 1, 1), per_image(u, x0))
