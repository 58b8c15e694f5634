"""The answer to a request that is not served."""


class RefusalError(Exception):
    """A request that is not served: one sentence for the one who asked.

    Attributes:
        status: of HTTP, 400 to 503.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
