"""Every target is asked every input, by turns, so that none is measured in a better moment."""

from collections.abc import Callable, Sequence

from ops.answers import THROTTLED
from ops.aws import CannotAsk
from ops.faces import Reply
from ops.local import Picture
from ops.parity.comparing import Heard
from ops.parity.facts import Facts
from ops.parity.sides import Side
from ops.targets import IDENTITY


def ask(
    sides: Sequence[Side], pictures: Sequence[Picture], repeats: int, tick: Callable[[str], None]
) -> tuple[list[Facts], list[list[Heard]]]:
    """The sides' facts with their identities; a list for each input, with each side's answer.

    The first call of a side is not counted: it may wait for a cold start. `tick` hears of each of
    the others. Raises CannotAsk, also where a target is throttled or answers for two deployments.
    """
    identities: list[set[str]] = [set() for _ in sides]
    for side in sides:
        side.post(pictures[0])
    heard = []
    for picture in pictures:
        replies: list[list[Reply]] = [[] for _ in sides]
        for _ in range(repeats):
            for side, told, known in zip(sides, replies, identities):
                tick(picture.name)
                reply = side.post(picture)
                told.append(reply)
                known.add(reply.headers.get(IDENTITY, ""))
        answers = [Heard.of(told) for told in replies]
        for side, answer in zip(sides, answers):
            if answer.error.get("code") == THROTTLED:
                raise CannotAsk(
                    f"{side.facts.name} is throttled: {answer.error['message']}",
                    "ask less (--repeats 1), or when others ask less",
                )
        heard.append(answers)
    facts = [side.facts.identified(known) for side, known in zip(sides, identities)]
    return facts, heard
