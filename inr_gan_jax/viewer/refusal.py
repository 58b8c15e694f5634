"""The answer to a rejected request."""


class RefusalError(Exception):
    """A rejected request: one sentence for the client.

    Attributes:
        status: of HTTP, 400 to 503.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
