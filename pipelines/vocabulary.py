"""The words that the keyword model tells apart, and those that sound like them."""

COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SILENCE, UNKNOWN = "silence", "unknown"
LABELS = (SILENCE, UNKNOWN, *COMMANDS, *DIGITS)
SILENCE_INDEX, UNKNOWN_INDEX = LABELS.index(SILENCE), LABELS.index(UNKNOWN)
KEYWORDS = frozenset(COMMANDS + DIGITS)

HOMOPHONES = frozenset({"know", "right", "write", "rite", "wright", "won", "ate", "too", "fore", "knows"})
"""Words that sound like a keyword: never used as negatives. ("to" and "for" are, in sentences: there they
are short and weak, and must not count.)"""

SCARCE = ("no", "two", "three", "four", "six", "seven", "nine")
"""Fewer than a hundred recordings of these."""

NEAR_MISSES = (  # noqa: SIM905
    "yet yell yell yeah chess guess less mess dress yesterday nose note now nor new near knee mow low bow "
    "show so nope north nobody cup pup us pop hop app op under upper town gown dawn dumb drown noun round "
    "lift let lap laugh leaf lead list loft night light ride write-off bright tight fight rice riot won't "
    "gone dawn don awn own arm honest often of cough soft offer golf awful staff step stock stuff top shop "
    "stopper spot store goat gold goal ghost good girl grow toe dough ago goal hero zebra sero where hear "
    "wine wand want when win what sun done run tool tune took true tooth tree free thread the throw through "
    "fork fall force ford form floor fire fine file knife live dive hive fit fix sick sink sit sticks mix "
    "heaven even eleven several sever egg late hate eat age aid ape wait mine line nice night nun none pine "
    "hello please thanks computer music lamp kitchen window weather table happy bed cat dog bird house tree "
    "marvin sheila wow forward backward follow learn visual red green blue open close start play pause next"
).split()


def synthesis_plan() -> dict[str, int]:
    """How many times to synthesise each word."""
    plan = dict.fromkeys(sorted(set(NEAR_MISSES) - KEYWORDS - HOMOPHONES - {"write-off"}), 14)
    plan |= dict.fromkeys(sorted(KEYWORDS), 120)
    return plan | dict.fromkeys(SCARCE, 400)
