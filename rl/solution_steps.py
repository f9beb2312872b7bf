"""Worked solutions cut into steps, as text and as places of tokens (process supervision, DeepSeekMath 4.1.3)."""

import re
from collections.abc import Callable, Sequence

# What is not looked into, because a stop inside it ends no sentence: formulas, abbreviations, numbers of list items.
_WHOLE = re.compile(
    r"\$\$.+?\$\$|\$[^$\n]+\$|\\\[.+?\\\]|\\\(.+?\\\)"
    r"|(?<!\w)(?:e\.g|i\.e|cf|vs|Mrs?|Ms|Dr)\.|(?<!\w)(?:[Ee]qs?|[Ff]igs?|No)\.(?=\s*\(?\d)|^[ \t]*\(?\d+\.(?=\s)",
    re.DOTALL | re.MULTILINE,
)
# A line break; a full stop of Chinese; one of English with a space behind it, so that 3.5 stays whole.
# Quotes and brackets that close behind the stop belong to the step.
_END = re.compile(r"\n+|[。！？][”’」』）\"']*|[.!?][\"')\]”’]*(?=\s)")


def split_steps(text: str) -> list[int]:
    """Where each step ends: rising offsets into `text`, each behind the step's last visible character.

    Steps end at line breaks and at the ends of sentences, English and Chinese, outside formulas. A piece without a
    letter, a digit or a Chinese character is no step of its own and belongs to the step before. The last offset is
    the end of the visible text; [] for a text without any.
    """
    masked = _WHOLE.sub(lambda found: "x" * len(found.group()), text)
    ends: list[int] = []
    start = 0
    for found in _END.finditer(masked + "\n"):
        end = len(masked[: found.start()].rstrip()) if found.group()[0] == "\n" else found.end()
        if any(character.isalnum() for character in masked[start:end]):
            ends.append(end)
        elif ends:
            ends[-1] = max(ends[-1], end)
        start = max(start, end)
    return ends


def step_ends(completion_ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[int]:
    """The place of each step's last token in a completion, rising; the last is the completion's last token.

    That token is the end token where there is one, so that the last step is judged with the knowledge that nothing
    follows. A step that shares its last token with the next (".\\n" as one token, say) is joined with it.
    """
    last = len(completion_ids) - 1
    if last < 0:
        return []
    text = decode(completion_ids)
    places = [_place(completion_ids, decode, text[:end]) for end in split_steps(text)[:-1]]
    return sorted({place for place in places if place < last} | {last})


def _place(completion_ids: Sequence[int], decode: Callable[[Sequence[int]], str], head: str) -> int:
    """The first token after which the decoded text begins with `head`."""
    low, high = 0, len(completion_ids) - 1
    while low < high:  # a longer prefix never takes away what a shorter one has: bisection
        middle = (low + high) // 2
        if decode(completion_ids[: middle + 1]).startswith(head):
            high = middle
        else:
            low = middle + 1
    return low
